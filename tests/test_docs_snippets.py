"""The Python in the guides runs, and says what it says it does."""

import ast
import re
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name

import pytest

DOCS = Path(__file__).parents[1] / "docs"
FENCED = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SNIPPETS = [
    pytest.param(block, id=f"{name}-{number}")
    for name in ("messages.md", "signals.md", "media.md", "security.md", "stores.md", "durability.md")
    for number, block in enumerate(FENCED.findall((DOCS / name).read_text(encoding="utf-8")))
]


def test_there_are_some() -> None:
    assert len(SNIPPETS) >= 5


@pytest.mark.parametrize("block", SNIPPETS)
def test_a_snippet_runs(block: str) -> None:
    assert "assert" in block
    exec(compile(block, "guide", "exec"), {})


NAMED = re.compile(r"`(clawproto(?:_[a-z]+)?(?:\.\w+)+)[`(]")
PAGES = [*sorted(DOCS.glob("*.md")), DOCS.parent / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page: Path) -> None:
    """Also in the snippets that do not run by themselves."""
    text = page.read_text(encoding="utf-8")
    for name in NAMED.findall(text):
        resolve_name(name)
    for block in FENCED.findall(text):
        for found in ast.walk(ast.parse(block)):
            if isinstance(found, ast.ImportFrom) and (found.module or "").startswith("clawproto"):
                module = import_module(found.module or "")
                assert all(hasattr(module, one.name) for one in found.names), f"{found.module} in {page.name}"
