"""``python -m tests.fuzz TARGET --runs N``: coverage-guided fuzzing of one target, with libFuzzer through atheris.

Ends with a report in one line: executions, time, what was new, and how much the memory has grown. New inputs that reach
code which the committed ones do not are kept in ``--keep``; what makes a target raise is written to the current
directory, and belongs into ``tests/fuzz/corpus`` once it is mended.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
GROWTH_LIMIT_MB = 256
_WARM = 20_000  # executions after which the memory is looked at first


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=["codec", "jwt", "hub-http", "session"])
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--keep", type=Path, default=None, help="folder for inputs that reach something new")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest", type=int, default=4096, help="bytes of the longest input")
    parser.add_argument("--growth", type=int, default=GROWTH_LIMIT_MB, help="MiB by which the memory may grow")
    options = parser.parse_args()
    import atheris  # type: ignore[import-untyped]

    with atheris.instrument_imports(include=["clawproto"]):  # pyright: ignore[reportAttributeAccessIssue]
        from tests.fuzz.targets import TARGETS
    folders = [CORPUS / options.target]
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
        folders.insert(0, options.keep)  # libFuzzer writes to the first
    counted = _Counted(TARGETS[options.target], options.target, options.runs, options.growth)
    dictionary = CORPUS / f"{options.target}.dict"
    arguments = [f"-atheris_runs={options.runs}", f"-max_len={options.longest}", f"-seed={options.seed}"]
    arguments += ["-rss_limit_mb=2048", "-print_final_stats=0", "-timeout=30", f"-dict={dictionary}"]
    atheris.Setup([sys.argv[0], *arguments, *map(str, folders)], counted)
    atheris.Fuzz()


class _Counted:
    """The target, counted; reports at the last execution, since libFuzzer ends the process itself."""

    def __init__(self, target: Callable[[bytes], None], name: str, runs: int, growth_mb: int) -> None:
        self._target, self._name, self._runs, self._growth_mb = target, name, runs, growth_mb
        self._count, self._begin, self._first_peak = 0, time.monotonic(), 0

    def __call__(self, data: bytes) -> None:
        self._target(data)
        self._count += 1
        if self._count == min(_WARM, self._runs):
            self._first_peak = _peak_mb()
        if self._count >= self._runs:
            self._report()

    def _report(self) -> None:
        seconds = time.monotonic() - self._begin
        grown = _peak_mb() - self._first_peak
        figures = {
            "target": self._name,
            "executions": self._count,
            "seconds": round(seconds),
            "per_second": round(self._count / seconds),
            "peak_mb": _peak_mb(),
            "grown_mb": grown,
        }
        print(json.dumps(figures), flush=True)
        assert grown <= self._growth_mb, f"the memory has grown by {grown} MiB"


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


main()
