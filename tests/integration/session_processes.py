"""Child processes that hold sessions, see `exclusive_child`."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHILD = Path(__file__).with_name("exclusive_child.py")
TERM = 1.0  # seconds
PATIENCE = 60.0


class Process:
    """One child and what it has said so far."""

    def __init__(self, driver: str, store: Path | str, term: float = TERM) -> None:
        path = os.pathsep.join((str(ROOT), str(ROOT / "drivers")))
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD), driver, str(store), str(term)],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.strip())

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def write(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def got(self) -> list[str]:
        return [line.removeprefix("got ") for line in self.said if line.startswith("got ")]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(10)
        assert self.process.stdout is not None and self.process.stdin is not None
        self.process.stdout.close()
        self.process.stdin.close()


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def owners(processes: list[Process]) -> list[Process]:
    return [one for one in processes if "owner" in one.said and one.process.poll() is None]
