"""``python -m tools.mutation.making MODULE…``, in a copy of the repository: put all their mutants into modules.

mutmut finds the mutants and writes a module that has them all, each as a function of its own next to the original. Its
configuration, which it wants, is appended to ``pyproject.toml``. The originals, which run while no mutant is switched
on, are made to note which of their statements a test runs into. The names of all mutants, with the place and the lines
of each change, are left in `MUTANTS`.
"""

import ast
import difflib
import json
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from attrs import frozen

from tools.mutation.switch import NOTE

MUTANTS: Final = Path("mutants.json")

# Texts of errors are for people. Those that are reasons in events (NotJson, _Unusable) are behaviour, and stay.
_ERROR_TEXTS: Final = r"^\s*raise (?!NotJson|_Unusable)[\w.]+\((None, )?f?\""
_MUTMUT_IMPORT: Final = "from mutmut.mutation.trampoline import"
_OUR_IMPORT: Final = f"from tools.mutation.switch import note as {NOTE},"
_SETTINGS: Final = f"""
[tool.mutmut]
source_paths = ["clawproto"]
do_not_mutate_patterns = ['{_ERROR_TEXTS}']
"""


@frozen
class Mutant:
    """A change.

    Attributes:
        name: with its module.
        place: the statement that it is in, by the name that `noting` gives it.
        change: the lines that it takes out and puts in.
    """

    name: str
    place: str
    change: str


def make(module: str) -> list[Mutant]:
    """Mutate ``clawproto/MODULE.py`` in place."""
    from mutmut.mutation.file_mutation import mutate_file_contents

    path = Path("clawproto", f"{module}.py")
    mutated = mutate_file_contents(str(path), path.read_text(encoding="utf-8"))
    prefix = ".".join(path.with_suffix("").parts)
    code, places = noting(mutated.code.replace(_MUTMUT_IMPORT, _OUR_IMPORT), prefix)
    path.write_text(code, encoding="utf-8")
    lines = mutated.code.splitlines()
    sources = {name: lines[span.start - 1 : span.end] for name, span in mutated.line_span_by_function_name.items()}
    found: list[Mutant] = []
    for name in mutated.mutant_names:
        function = name.partition("__mutmut_")[0]
        before, after = sources[f"{function}__mutmut_orig"], sources[name]
        place = place_of(places[f"{prefix}.{function}"], first_change(before, after))
        found.append(Mutant(f"{prefix}.{name}", place, difference(before, after)))
    return found


def first_change(before: Sequence[str], after: Sequence[str]) -> int:
    """The first line that differs, counted from the ``def`` (0), which has the name of the mutant in it."""
    begin = next(index for index, line in enumerate(before) if line.lstrip().startswith("def "))
    operations = difflib.SequenceMatcher(None, _plain(before), _plain(after), autojunk=False).get_opcodes()
    return max(0, next(one[1] for one in operations if one[0] != "equal") - begin)


def difference(before: Sequence[str], after: Sequence[str]) -> str:
    """The lines that a mutant takes out and puts in."""
    changes = difflib.unified_diff(_plain(before), _plain(after), lineterm="", n=0)
    return "\n".join(line for line in changes if not line.startswith(("---", "+++", "@@")))


def _plain(lines: Sequence[str]) -> list[str]:
    text = textwrap.dedent("\n".join(lines))
    return re.sub(r"\bx(_|ǁ\w*ǁ)(\w+?)__mutmut_\w+", r"\2", text).splitlines()


def place_of(spans: Mapping[str, tuple[int, int]], line: int) -> str:
    """The innermost of the statements, given with their first and last lines, that has this line in it."""
    around = [(last - first, place) for place, (first, last) in spans.items() if first <= line <= last]
    return min(around)[1]


def noting(code: str, prefix: str) -> tuple[str, dict[str, dict[str, tuple[int, int]]]]:
    """Let every function that has mutants call `note` with the place before each of its statements.

    Returns:
        The code, and by function the places with their first and last lines, counted from its ``def``.
    """
    tree = ast.parse(code)
    found: dict[str, dict[str, tuple[int, int]]] = {}
    owners: list[ast.Module | ast.ClassDef] = [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]
    for owner in owners:
        class_name = f"ǁ{owner.name}ǁ" if isinstance(owner, ast.ClassDef) else "_"
        for node in owner.body:
            if isinstance(node, ast.FunctionDef) and any(
                "_mutmut_mutated" in ast.dump(one) for one in node.decorator_list
            ):
                name = f"{prefix}.x{class_name}{node.name}"
                found[name] = {name: (0, (node.end_lineno or 0) - node.lineno)}
                _note_statements(node, node.lineno, name, found[name])
                node.body.insert(0, _call_of_note(name))
    return ast.unparse(ast.fix_missing_locations(tree)), found


def _note_statements(node: ast.AST, begin: int, name: str, found: dict[str, tuple[int, int]]) -> None:
    for field, value in ast.iter_fields(node):
        if not isinstance(value, list):
            continue
        children = cast(list[ast.AST | str], value)  # `global` has names
        for child in children:
            if isinstance(child, ast.AST) and not isinstance(child, ast.FunctionDef):
                _note_statements(child, begin, name, found)
        if field in ("body", "orelse", "finalbody") and children and isinstance(children[0], ast.stmt):
            noted: list[ast.AST] = []
            for child in cast(list[ast.stmt], children):
                place = f"{name}:{child.lineno - begin}"
                found[place] = (child.lineno - begin, (child.end_lineno or child.lineno) - begin)
                noted += [_call_of_note(place), child]
            children[:] = noted


def _call_of_note(place: str) -> ast.stmt:
    return ast.Expr(ast.Call(ast.Name(NOTE, ast.Load()), [ast.Constant(place)], []))


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
    found = [mutant for module in modules for mutant in make(module)]
    rows = {mutant.name: [mutant.place, mutant.change] for mutant in found}
    MUTANTS.write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
