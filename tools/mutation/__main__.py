"""``python -m tools.mutation MODULE…`` or ``--all``: which small changes of the core do its tests notice?

Prints a line for each module, every mutant that survived, and a line for all of them together; exit code 1 if the
total score is below ``--least``. With ``--keep DIR`` verdicts are left in DIR, and ``--again`` judges only the mutants
that survived there.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from tools.defects.__main__ import ROOT, copy_tree
from tools.mutation.judging import VERDICTS, WANTED, Verdict, read_verdicts
from tools.mutation.making import MUTANTS

# Not those about the source text, tools and other programs: what they run of the core, the others run as well.
_NO_JUDGES: Final = frozenset(
    f"test_{subject}.py"
    for subject in (
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


@frozen
class Score:
    """What became of the mutants of a module, or of several."""

    name: str
    verdicts: tuple[Verdict, ...]

    def __str__(self) -> str:
        """One line."""
        survived, not_run = (sum(one.word == word for one in self.verdicts) for word in ("survived", "not run"))
        return (
            f"{self.name:20} {len(self.verdicts):5} mutants, {self.noticed:5} noticed, {self.percent:5.1f} %, "
            f"{survived} survived, {not_run} not run"
        )

    @property
    def noticed(self) -> int:
        """Those that some test noticed."""
        return sum(one.noticed for one in self.verdicts)

    @property
    def percent(self) -> float:
        """The share of those that were noticed in all of them."""
        return 100 * self.noticed / len(self.verdicts) if self.verdicts else 100.0


def measure(
    modules: Sequence[str], tests: Sequence[str], keep: Path, *, jobs: int, seconds: float, again: bool
) -> list[Score]:
    """Judge the mutants of these modules. Verdicts are left in ``keep``.

    Raises:
        RuntimeError: the tests cannot be run, or fail without mutants.
    """
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory)
        copy_tree(copy)
        _run(copy, "tools.mutation.making", *modules)
        changes: dict[str, str] = json.loads((copy / MUTANTS).read_text(encoding="utf-8"))
        known = _known(modules, keep) if again else {}
        wanted = [name for name in changes if name not in known or not known[name].noticed]
        (copy / WANTED).write_text(json.dumps(wanted), encoding="utf-8")
        if wanted:
            _run(copy, "tools.mutation.judging", str(jobs), str(seconds), *tests)
            known |= {verdict.mutant: verdict for verdict in read_verdicts(copy / VERDICTS)}
    by_module: defaultdict[str, list[Verdict]] = defaultdict(list)
    for name in changes:
        if name not in known:
            raise RuntimeError(f"there is no verdict on {name}")
        by_module[_module_of(name)].append(known[name])
    scores = [Score(module, tuple(by_module[module])) for module in modules]
    for score in scores:
        _write(score, changes, keep)
    return scores


def _module_of(mutant: str) -> str:
    return mutant.rpartition(".")[0].removeprefix("clawproto.").replace(".", "/")


def _run(copy: Path, program: str, *arguments: str) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{copy}{os.pathsep}{copy / 'drivers'}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", program, *arguments]
    done = subprocess.run(command, cwd=copy, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{program} has failed:\n{done.stdout[-3000:]}")


def _fingerprint(module: str) -> str:
    return hashlib.sha256((ROOT / "clawproto" / f"{module}.py").read_bytes()).hexdigest()


def _known(modules: Sequence[str], keep: Path) -> dict[str, Verdict]:
    """What was found before, for those modules that are as they were."""
    found: dict[str, Verdict] = {}
    for module in modules:
        path = _file(keep, module, ".json")
        if path.exists():
            before = json.loads(path.read_text(encoding="utf-8"))
            if before["source"] == _fingerprint(module):
                found |= {row[0]: Verdict(*row) for row in before["verdicts"]}
    return found


def _file(keep: Path, module: str, suffix: str) -> Path:
    return keep / f"{module.replace('/', '.')}{suffix}"


def _write(score: Score, changes: dict[str, str], keep: Path) -> None:
    keep.mkdir(parents=True, exist_ok=True)
    rows = [[one.mutant, one.word, one.test] for one in score.verdicts]
    _file(keep, score.name, ".json").write_text(
        json.dumps({"source": _fingerprint(score.name), "verdicts": rows}, indent=0), encoding="utf-8"
    )
    with _file(keep, score.name, ".txt").open("w", encoding="utf-8") as notes:
        for one in score.verdicts:
            if not one.noticed:
                notes.write(f"{one.mutant}: {one.word}\n{changes[one.mutant]}\n\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the modules that were named."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutation", description=__doc__)
    parser.add_argument("module", nargs="*", help="jwt, wire/codec, …")
    parser.add_argument("--all", action="store_true", help="every module of the core")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=10.0, help="CPU time of tests that a mutant must survive")
    parser.add_argument("--least", type=float, default=0.0, help="percent")
    parser.add_argument("--keep", type=Path, help="leave verdicts, and what survivors change, in this directory")
    parser.add_argument("--again", action="store_true", help="only what survived according to --keep")
    parser.add_argument("--tests", nargs="+", default=TESTS, help="files or directories of tests")
    options = parser.parse_args(arguments)
    modules: list[str] = list(CORE) if options.all else options.module
    if not modules or not set(modules) <= set(CORE):
        parser.error(f"modules are {', '.join(CORE)}")
    if options.again and options.keep is None:
        parser.error("--again needs --keep")
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        keep: Path = options.keep or Path(directory)
        scores = measure(modules, options.tests, keep, jobs=options.jobs, seconds=options.seconds, again=options.again)
        for score in scores:
            print(score)
            print(textwrap.indent(_file(keep, score.name, ".txt").read_text(encoding="utf-8"), "    "), end="")
    total = Score("all", tuple(verdict for score in scores for verdict in score.verdicts))
    print(total)
    print(f"{time.monotonic() - begin:.0f} s")
    return int(total.percent < options.least)


if __name__ == "__main__":
    sys.exit(main())
