"""Where the children come from: a process that has imported everything and forks for each life.

A fork of it is ready in milliseconds, which makes hundreds of kills a matter of minutes. It runs no loop and no
thread, so a child begins as a fresh process does. ``python -m tests.crash.forge`` reads one plan a line; the children's
lines and its own come out of one pipe, between ``{"event": "born"}`` and ``{"event": "dead"}``.
"""

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.crash.life import Plan, live, say

ROOT = Path(__file__).parents[2]


class Forge:
    """The parent's side: one life at a time."""

    def __init__(self, errors: Path) -> None:
        path = os.pathsep.join((str(ROOT), str(ROOT / "drivers")))
        self.errors = errors
        with errors.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.crash.forge"],
                env={**os.environ, "PYTHONPATH": path},
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def __enter__(self) -> "Forge":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def live(self, plan: Plan, kill_after: float | None = None) -> Generator[dict[str, Any]]:
        """What happens in one life, as it happens; the last one is its death with its status.

        Args:
            kill_after: seconds from the birth to a kill from outside.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(plan.to_json() + "\n")
        self._process.stdin.flush()
        timers: list[threading.Timer] = []
        for line in self._process.stdout:
            event: dict[str, Any] = json.loads(line)
            if event["event"] == "born":
                for seconds in (plan.patience + 10, kill_after):
                    if seconds is not None:
                        timers.append(threading.Timer(seconds, _kill, (event["pid"],)))
                        timers[-1].start()
            if event["event"] == "dead":
                for timer in timers:
                    timer.cancel()
            yield event
            if event["event"] == "dead":
                return
        raise RuntimeError(f"the forge has died: {self.errors.read_text()[-5000:]}")


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _be_born(plan: Plan) -> int:
    """The child."""
    try:
        live(plan)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        return 1
    return 0


def _preload() -> None:
    """What is imported when the first request is made, and would be imported in each child."""
    for name in ("anyio._backends._asyncio", "anyio._backends._trio", "httpcore2"):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def main() -> None:
    """Fork for each line of the input, and wait for the child."""
    _preload()
    while line := sys.stdin.readline():
        plan = Plan.from_json(line)
        pid = os.fork()
        if pid == 0:
            os._exit(_be_born(plan))
        say("born", pid=pid)
        _, status = os.waitpid(pid, 0)
        say("dead", killed=os.WIFSIGNALED(status), status=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
