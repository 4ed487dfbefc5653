"""``python -m tools.mutation MODULE…`` or ``--all``: which small changes of the core do its tests notice?

Prints a line for each module, every mutant that survived and is not explained, and a line for all of them together;
exit code 1 if the total score is below ``--least``. With ``--keep DIR`` verdicts are left in DIR; ``--again`` judges
only what survived there, ``--known`` nothing at all. ``--page docs/survivors.md`` writes scores and survivors there.
"""

import argparse
import ast
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from tools.defects.__main__ import ROOT, copy_tree
from tools.mutation.judging import VERDICTS, WANTED, Verdict, read_verdicts
from tools.mutation.making import MUTANTS
from tools.mutation.reasons import EXPLAINED, Reasons, change_in, section

# Not those about the source text, tools, benchmarks and programs: what they run of the core, the others run as well.
_NO_JUDGES: Final = frozenset(
    f"test_{subject}.py"
    for subject in (
        "benchmarks",
        "defects",
        "docs_snippets",
        "embedding_guide",
        "explore",
        "hygiene",
        "instructions",
        "mutation",
        "purity",
        "rules",
    )
)
TESTS: Final = (
    "tests/core",
    *sorted(f"tests/{path.name}" for path in (ROOT / "tests").glob("test_*.py") if path.name not in _NO_JUDGES),
)
CORE: Final = tuple(
    sorted(
        str(path.relative_to(ROOT / "clawproto").with_suffix(""))
        for directory in ("clawproto", "clawproto/wire")
        for path in (ROOT / directory).glob("*.py")
        if path.stem != "__init__"
    )
)


_HEAD: Final = """# Mutants that survive

Written by `python -m tools.mutation --all --keep DIR --page docs/survivors.md`; [mutation.md](mutation.md) says how to
read it. "Noticed" are the mutants that made some test fail.

| module | mutants | noticed | score | survived | of them explained |
|---|---|---|---|---|---|
"""


@frozen
class Score:
    """What became of the mutants of a module, or of several.

    Attributes:
        survivors: what those change that nobody noticed, as `change_in` names it.
    """

    name: str
    total: int
    survivors: tuple[str, ...]

    def __str__(self) -> str:
        """One line."""
        return f"{self.name:20} {self.total:5} mutants, {self.noticed:5} noticed, {self.percent:5.1f} %"

    @property
    def noticed(self) -> int:
        """Those that some test noticed."""
        return self.total - len(self.survivors)

    @property
    def percent(self) -> float:
        """The share of those that were noticed in all of them."""
        return 100 * self.noticed / self.total if self.total else 100.0

    def row(self, reasons: Reasons) -> str:
        """For the page."""
        explained = sum(reasons.why(change) is not None for change in self.survivors)
        return (
            f"| `{self.name}` | {self.total} | {self.noticed} | {self.percent:.1f} % | {len(self.survivors)} "
            f"| {explained} |"
        )


def measure(
    modules: Sequence[str],
    tests: Sequence[str],
    keep: Path,
    *,
    jobs: int,
    seconds: float,
    again: bool = False,
    alone: bool = False,
) -> None:
    """Judge the mutants of these modules, and leave the verdicts in ``keep``.

    Args:
        again: those that are known there to be noticed are not judged once more, if their module is as it was.
        alone: those that no test runs into are judged by `tools.mutation.alone`.

    Raises:
        RuntimeError: the tests cannot be run, or fail without mutants.
    """
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory)
        copy_tree(copy)
        _run(copy, "tools.mutation.making", *modules)
        made: dict[str, tuple[str, str]] = json.loads((copy / MUTANTS).read_text(encoding="utf-8"))
        known = {one.mutant: one for module in modules for one in _known(module, keep)} if again else {}
        wanted = {name: place for name, (place, _) in made.items() if name not in known or not known[name].noticed}
        (copy / WANTED).write_text(json.dumps(wanted), encoding="utf-8")
        if wanted:
            _run(copy, "tools.mutation.judging", str(jobs), str(seconds), *tests)
            if alone:
                _run(copy, "tools.mutation.alone", str(jobs), *tests)
            known |= {verdict.mutant: verdict for verdict in read_verdicts(copy / VERDICTS)}
    for module in modules:
        rows = [
            [name, known[name].word, known[name].test, change]
            for name, (_, change) in made.items()
            if _module_of(name) == module
        ]
        keep.mkdir(parents=True, exist_ok=True)
        _file(keep, module).write_text(
            json.dumps({"source": _fingerprint(module), "verdicts": rows}, indent=0), encoding="utf-8"
        )


def score(module: str, keep: Path) -> Score | None:
    """What is known in ``keep``; None if the module was not measured, or has changed since."""
    if not _file(keep, module).exists():
        return None
    found = json.loads(_file(keep, module).read_text(encoding="utf-8"))
    if found["source"] != _fingerprint(module):
        return None
    survivors = [change for name, word, test, change in found["verdicts"] if not Verdict(name, word, test).noticed]
    return Score(module, len(found["verdicts"]), tuple(change_in(module, change) for change in survivors))


def page(scores: Sequence[Score], total: Score, reasons: Reasons) -> str:
    """The page about the survivors."""
    rows = "\n".join(one.row(reasons) for one in (*scores, total))
    measured = {one.name for one in scores}
    others = ", ".join(f"`{module}`" for module in CORE if module not in measured)
    rest = f"Not measured: {others}.\n\n" if others else ""
    return f"{_HEAD}{rows}\n\n{rest}{section(total.survivors, reasons)}"


def _module_of(mutant: str) -> str:
    return mutant.rpartition(".")[0].removeprefix("clawproto.").replace(".", "/")


def _run(copy: Path, program: str, *arguments: str) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{copy}{os.pathsep}{copy / 'drivers'}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", program, *arguments]
    done = subprocess.run(command, cwd=copy, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{program} has failed:\n{done.stdout[-3000:]}")


def _fingerprint(module: str) -> str:
    """Of the functions of a module as they are: comments, imports and what classes declare have no mutants."""
    tree = ast.parse((ROOT / "clawproto" / f"{module}.py").read_text(encoding="utf-8"))
    owners: list[ast.Module | ast.ClassDef] = [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]
    functions = [ast.dump(node) for owner in owners for node in owner.body if isinstance(node, ast.FunctionDef)]
    return hashlib.sha256("\n".join(functions).encode()).hexdigest()


def _known(module: str, keep: Path) -> list[Verdict]:
    if score(module, keep) is None:
        return []
    found = json.loads(_file(keep, module).read_text(encoding="utf-8"))
    return [Verdict(*row[:3]) for row in found["verdicts"]]


def _file(keep: Path, module: str) -> Path:
    return keep / f"{module.replace('/', '.')}.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the modules that were named."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutation", description=__doc__)
    parser.add_argument("module", nargs="*", help="jwt, wire/codec, …")
    parser.add_argument("--all", action="store_true", help="every module of the core")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=10.0, help="CPU time of tests that a mutant must survive")
    parser.add_argument("--least", type=float, default=0.0, help="percent")
    parser.add_argument("--keep", type=Path, help="leave verdicts in this directory")
    parser.add_argument("--again", action="store_true", help="only what survived according to --keep")
    parser.add_argument("--alone", action="store_true", help="a run of pytest for each that no test runs into")
    parser.add_argument("--known", action="store_true", help="no judging; only what is known according to --keep")
    parser.add_argument("--page", type=Path, help="write scores and survivors here")
    parser.add_argument("--tests", nargs="+", default=TESTS, help="files or directories of tests")
    options = parser.parse_args(arguments)
    modules: list[str] = list(CORE) if options.all else options.module
    if not modules or not set(modules) <= set(CORE):
        parser.error(f"modules are {', '.join(CORE)}")
    if (options.again or options.known) and options.keep is None:
        parser.error("--again and --known need --keep")
    begin = time.monotonic()
    reasons = Reasons.read(EXPLAINED.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as directory:
        keep: Path = options.keep or Path(directory)
        if not options.known:
            how = {name: getattr(options, name) for name in ("jobs", "seconds", "again", "alone")}
            measure(modules, options.tests, keep, **how)
        scores = [found for module in modules if (found := score(module, keep)) is not None]
    for one in scores:
        print(one)
        for change in one.survivors:
            if reasons.why(change) is None:
                print(f"    {change}")
    total = Score("all", sum(one.total for one in scores), tuple(change for one in scores for change in one.survivors))
    print(total)
    print(f"{time.monotonic() - begin:.0f} s")
    if options.page is not None:
        options.page.write_text(page(scores, total, reasons), encoding="utf-8")
    return int(total.percent < options.least)


if __name__ == "__main__":
    sys.exit(main())
