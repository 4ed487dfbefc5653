"""``python -m tools.mutation.making MODULE…``, in a copy of the repository: put all their mutants into modules.

mutmut finds the mutants and writes a module that has them all, each as a function of its own next to the original. Its
configuration, which it wants, is appended to ``pyproject.toml``. The names of all mutants with what each of them
changes are left in `MUTANTS`.
"""

import difflib
import json
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

MUTANTS: Final = Path("mutants.json")

# Texts of errors are for people. Those that are reasons in events (NotJson, _Unusable) are behaviour, and stay.
_ERROR_TEXTS: Final = r"^\s*raise (?!NotJson|_Unusable)[\w.]+\((None, )?f?\""
_MUTMUT_IMPORT: Final = "from mutmut.mutation.trampoline import"
_SETTINGS: Final = f"""
[tool.mutmut]
source_paths = ["clawproto"]
do_not_mutate_patterns = ['{_ERROR_TEXTS}']
"""


def make(module: str) -> dict[str, str]:
    """Mutate ``clawproto/MODULE.py`` in place. Returns what each mutant changes, by its full name."""
    from mutmut.mutation.file_mutation import mutate_file_contents

    path = Path("clawproto", f"{module}.py")
    mutated = mutate_file_contents(str(path), path.read_text(encoding="utf-8"))
    code = mutated.code.replace(_MUTMUT_IMPORT, "from tools.mutation.switch import")
    path.write_text(code, encoding="utf-8")
    prefix = ".".join(path.with_suffix("").parts)
    lines = mutated.code.splitlines()
    sources = {
        name: "\n".join(lines[span.start - 1 : span.end]) for name, span in mutated.line_span_by_function_name.items()
    }
    return {f"{prefix}.{name}": difference(sources, name) for name in mutated.mutant_names}


def difference(sources: Mapping[str, str], mutant: str) -> str:
    """The lines that a mutant takes out and puts in."""
    original = f"{mutant.partition('__mutmut_')[0]}__mutmut_orig"
    before, after = (
        re.sub(r"\bx(_|ǁ\w*ǁ)(\w+?)__mutmut_\w+", r"\2", textwrap.dedent(sources[name])).splitlines()
        for name in (original, mutant)
    )
    changes = difflib.unified_diff(before, after, lineterm="", n=0)
    return "\n".join(line for line in changes if not line.startswith(("---", "+++", "@@")))


def leave_prose_alone() -> None:
    """Let mutmut change no string that has a blank in it: such are for people, and no wire name has any."""
    from libcst import BaseString, SimpleString
    from mutmut.mutation import mutators

    def changed(node: BaseString) -> Iterable[BaseString]:
        prose = isinstance(node, SimpleString) and " " in node.value
        return () if prose else mutators.operator_string(node)

    index = mutators.mutation_operators.index((BaseString, mutators.operator_string))
    cast(list[Any], mutators.mutation_operators)[index] = (BaseString, changed)


def main(modules: Sequence[str]) -> None:
    """Mutate these modules of the copy that is the working directory."""
    with Path("pyproject.toml").open("a", encoding="utf-8") as project:
        project.write(_SETTINGS)
    leave_prose_alone()
    found: dict[str, str] = {}
    for module in modules:
        found |= make(module)
    MUTANTS.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
