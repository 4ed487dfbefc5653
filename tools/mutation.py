"""``python -m tools.mutation MODULE…``: mutation testing of single modules of the core with mutmut.

Each module is mutated in a copy of the repository and judged by the tests that are about it (`TESTS`). Prints a line
for each module and every mutant that survived; exit code 1 if a score is below ``--least``.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from tools.defects.__main__ import copy_tree

_TOKENS: Final = (
    *(
        f"tests/core/test_tokens_{part}.py"
        for part in ("flight", "late", "logout", "outside", "proactive", "recovery", "saving", "startup", "stop")
    ),
    "tests/core/test_hello_fail.py",
    "tests/core/test_rest.py",
    "tests/core/test_addresses.py",
)
_LINK: Final = tuple(
    f"tests/core/test_{part}.py"
    for part in ("handshake", "hello_fail", "close", "closing", "heartbeat", "receiver_pause", "tokens_proactive")
)

TESTS: Final[dict[str, tuple[str, ...]]] = {
    "timing": ("tests/core/test_timing.py",),
    "jwt": ("tests/test_jwt.py",),
    "ids": ("tests/test_ids.py",),
    "entropy": ("tests/test_entropy.py",),
    "gates": ("tests/core/test_errors_and_gates.py",),
    "secret": ("tests/core/test_tokens_flight.py", "tests/core/test_send.py"),
    "rest_format": ("tests/core/test_tokens_flight.py", "tests/core/test_rest.py", "tests/core/test_pairing.py"),
    "tokens": _TOKENS,
    "tokens_answers": _TOKENS,
    "tokens_outcome": _TOKENS,
    "tokens_state": _TOKENS,
    "link": _LINK,
}


@frozen
class Score:
    """What became of the mutants of a module.

    Attributes:
        found: names of those that some test noticed, a timeout included.
        survived: names of those that no test noticed.
        uncovered: names of those that no test runs into.
    """

    module: str
    found: int
    survived: tuple[str, ...]
    uncovered: tuple[str, ...]
    seconds: float

    @property
    def percent(self) -> float:
        """Of all mutants, those that were noticed."""
        total = self.found + len(self.survived) + len(self.uncovered)
        return 100 * self.found / total if total else 100.0


def measure(module: str, jobs: int, keep: Path | None = None) -> Score:
    """Mutate ``clawproto/MODULE.py`` and run its tests against every mutant."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "copy"
        copy.mkdir()
        copy_tree(copy)
        _configure(copy, module)
        done = _mutmut(copy, "run", "--max-children", str(jobs))
        said = _mutmut(copy, "results", "--all", "true")
        verdicts = re.findall(r"^\s*(\S+): (\w[\w ]*)$", said.stdout, re.MULTILINE)
        if not verdicts:
            raise RuntimeError(f"mutmut has judged nothing:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        survived = tuple(name for name, verdict in verdicts if verdict in ("survived", "suspicious", "skipped"))
        uncovered = tuple(name for name, verdict in verdicts if verdict in ("no tests", "not checked"))
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            with (keep / f"{module}.txt").open("w", encoding="utf-8") as notes:
                for name in survived + uncovered:
                    notes.write(f"{name}\n{_mutmut(copy, 'show', name).stdout}\n")
    counts = Counter(verdict for _, verdict in verdicts)
    found = sum(counts.values()) - len(survived) - len(uncovered)
    return Score(module, found, survived, uncovered, time.monotonic() - begin)


def _mutmut(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(Path(sys.executable).with_name("mutmut")), *arguments]
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)


def _configure(copy: Path, module: str) -> None:
    tests = ", ".join(f'"{name}"' for name in TESTS[module])
    with (copy / "pyproject.toml").open("a", encoding="utf-8") as project:
        project.write(
            "\n[tool.mutmut]\n"
            'source_paths = ["clawproto"]\n'
            f'only_mutate = ["clawproto/{module}.py"]\n'
            f"pytest_add_cli_args_test_selection = [{tests}]\n"
            'pytest_add_cli_args = ["-p", "no:randomly", "-p", "no:xdist"]\n'
            'also_copy = ["drivers", "docs", "tools", "README.md", "CHANGELOG.md"]\n'
            "use_setproctitle = false\n"
            "track_dependencies = false\n"
            "use_git_change_detection = false\n"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the modules that were named."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutation", description=__doc__)
    parser.add_argument("module", nargs="+", choices=sorted(TESTS))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--least", type=float, default=0.0, help="percent")
    parser.add_argument("--keep", type=Path, help="write the differences of survivors into this directory")
    options = parser.parse_args(arguments)
    modules: list[str] = options.module
    worst = 100.0
    for module in modules:
        score = measure(module, options.jobs, options.keep)
        worst = min(worst, score.percent)
        print(
            f"{module:16} {score.percent:5.1f} %  {score.found} noticed, {len(score.survived)} survived, "
            f"{len(score.uncovered)} not run, {score.seconds:.0f} s",
            flush=True,
        )
        for name in score.survived + score.uncovered:
            print(f"    {name}")
    return int(worst < options.least)


if __name__ == "__main__":
    sys.exit(main())
