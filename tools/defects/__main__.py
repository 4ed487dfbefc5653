"""``python -m tools.defects``: put each defect into a copy of the core, and see who notices.

Prints a table; exit code 1 if a defect was noticed by nobody, or cannot be put in any more. ``--page docs/defects.md``
writes the table there.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from attrs import frozen

from tools.defects.catalogue import DEFECTS, Defect

ROOT: Final = Path(__file__).parents[2]
_COPIED: Final = ("clawproto", "drivers", "tests", "tools", "docs", "pyproject.toml", "README.md", "CHANGELOG.md")
_LIMIT: Final = "15000"
_PATIENCE: Final = 600  # seconds; a defect may make something run for ever

_HEAD: Final = """# Deliberate defects

What notices a mistake in the core? `python -m tools.defects --page docs/defects.md` puts each of these into a copy of
it, lets the explorer look for a counterexample (no further than 15,000 transitions in each world), and runs the tests
of that part. A dash stands for machines that the explorer does not walk.

| defect | rule | explorer | tests |
|---|---|---|---|
"""


@frozen
class Verdict:
    """Who noticed a defect: the explorer's words and the first test that failed; None for nobody."""

    defect: Defect
    explorer: str | None
    test: str | None

    @property
    def row(self) -> str:
        """For the page."""
        explorer = (self.explorer or "not noticed") if self.defect.explored else "–"
        test = f"`{self.test}`" if self.test else "not noticed"
        return f"| {self.defect.name} | {self.defect.rule} | {explorer} | {test} |"


def broken(defect: Defect, source: str) -> str:
    """The source with the defect in it.

    Raises:
        ValueError: the place is not there exactly once.
    """
    found = source.count(defect.old)
    if found != 1:
        raise ValueError(f"{defect.name}: the place in {defect.path} is there {found} times")
    return source.replace(defect.old, defect.new)


def copy_tree(target: Path) -> None:
    """A copy of what is needed to run explorer and tests."""
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / name)


def examine(defect: Defect, copy: Path) -> Verdict:
    """Put a defect into the copy, ask explorer and tests, and take it out again."""
    file = copy / "clawproto" / defect.path
    sound = file.read_text(encoding="utf-8")
    file.write_text(broken(defect, sound), encoding="utf-8")
    try:
        return Verdict(defect, _explorer(copy) if defect.explored else None, _test(defect, copy))
    finally:
        file.write_text(sound, encoding="utf-8")


def _run(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{copy}{os.pathsep}{copy / 'drivers'}", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE,
    )


def _explorer(copy: Path) -> str | None:
    try:
        done = _run(copy, "-m", "clawproto.testing.explore", "--first", "--limit", _LIMIT)
    except subprocess.TimeoutExpired:
        return "never ends"
    if done.returncode == 0:
        return None
    lines = done.stdout.splitlines()
    index = next((at for at, line in enumerate(lines) if line.rstrip().endswith("violation")), None)
    if index is None:
        raise RuntimeError(f"the explorer has not come to a verdict:\n{done.stderr[-2000:]}")
    steps = sum(re.match(r" *\d+  ", line) is not None for line in lines[index + 2 :])
    return f"{lines[index + 1]} ({steps} steps)"


def _test(defect: Defect, copy: Path) -> str | None:
    files = [str(Path("tests/core") / name) for name in defect.tests]
    try:
        done = _run(
            copy, "-m", "pytest", "-x", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "--no-header", *files
        )
    except subprocess.TimeoutExpired:
        return "never ends"
    found = re.search(r"^(?:FAILED|ERROR) \S*?([^/\s]+\.py(?:::\S+)?)", done.stdout, re.MULTILINE)
    return found[1].partition("[")[0] if found else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Examine the defects that were named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tools.defects", description=__doc__)
    parser.add_argument("name", nargs="*", help="part of a defect's name")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--page", type=Path, help="write the table here")
    options = parser.parse_args(arguments)
    names: list[str] = options.name
    wanted = [one for one in DEFECTS if not names or any(name in one.name for name in names)]
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(options.jobs) as pool:
        copies: SimpleQueue[Path] = SimpleQueue()
        for job in range(options.jobs):
            copy_tree(Path(directory) / str(job))
            copies.put(Path(directory) / str(job))

        def in_turn(defect: Defect) -> Verdict:
            copy = copies.get()
            try:
                return examine(defect, copy)
            finally:
                copies.put(copy)

        verdicts: list[Verdict] = []
        for verdict in pool.map(in_turn, wanted):
            print(verdict.row, flush=True)
            verdicts.append(verdict)
    missed = [verdict for verdict in verdicts if verdict.explorer is None and verdict.test is None]
    explored = [verdict for verdict in verdicts if verdict.defect.explored]
    by_explorer, by_tests = (
        sum(one.explorer is not None for one in explored),
        sum(one.test is not None for one in verdicts),
    )
    summary = (
        f"{len(verdicts)} defects; the explorer noticed {by_explorer} of {len(explored)}, the tests {by_tests}; "
        f"{len(missed)} nobody"
    )
    print(f"{summary}; {time.monotonic() - begin:.0f} s")
    if options.page is not None:
        page: Path = options.page
        page.write_text(_HEAD + "\n".join(one.row for one in verdicts) + f"\n\n{summary}.\n", encoding="utf-8")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
