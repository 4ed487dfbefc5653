"""Programs of their own: what is measured in a fresh interpreter, or must not share a process with what measures it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


def environment() -> dict[str, str]:
    """That of a subprocess that imports what this one imports."""
    root = Path(__file__).resolve().parent.parent
    path = os.pathsep.join([str(root), str(root / "drivers"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path}


def figure(*arguments: str) -> float:
    """The number that a Python program prints."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    return float(done.stdout)


class Spent(NamedTuple):
    """What a program took: processor time, time by the clock, and the most memory that it held at a time."""

    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int


def spent(*arguments: str) -> Spent:
    """Run a Python program to its end and see what it took.

    A small process in between starts it: Linux counts the memory of whoever starts a program as the program's own.

    Raises:
        CalledProcessError: it failed.
    """
    command = [sys.executable, "-m", "benchmarks.children", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    cpu, wall, peak = done.stdout.split()
    return Spent(float(cpu), float(wall), int(peak))


def _supervise(arguments: list[str]) -> int:
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024
    print(usage.ru_utime + usage.ru_stime, time.perf_counter() - began, usage.ru_maxrss * unit)
    return process.returncode


@contextmanager
def server() -> Iterator[str]:
    """The server of `benchmarks.server`, and its address."""
    command = [sys.executable, "-m", "benchmarks.server"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None and process.stdin is not None
    try:
        yield f"ws://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


if __name__ == "__main__":
    sys.exit(_supervise(sys.argv[1:]))
