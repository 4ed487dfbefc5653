"""The Python in the guides runs, and says what it says it does."""

import re
from pathlib import Path

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
