"""Import times in fresh interpreters, and memory per session."""

import statistics
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator

from benchmarks import sessions
from benchmarks.harness import Row, paired, single
from benchmarks.network import environment, server
from clawproto.config import Config
from clawproto.state import State

SESSIONS = 200  # states of the core
SOCKETS = 40  # real sessions in one process

IMPORTS = [
    ("clawproto", "import clawproto", "import attrs, cattrs"),
    ("clawproto.session", "import clawproto.session", "import attrs, cattrs"),
    ("clawproto_asyncio", "import clawproto_asyncio", "import websockets.asyncio.client"),
    ("clawproto_trio", "import clawproto_trio", "import trio, websockets.trio.client"),
]


def _python(*arguments: str) -> float:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    return float(done.stdout)


def imports(rounds: int) -> Iterator[Row]:
    """CPU time of an import, the interpreter's own start not counted."""
    for name, subject, baseline in IMPORTS:
        mine: list[float] = []
        theirs: list[float] = []
        for turn in range(rounds):
            pair = [(mine, subject), (theirs, baseline)]
            for series, statement in pair[:: 1 if turn % 2 else -1]:
                code = f"import time; t = time.process_time(); {statement}; print(time.process_time() - t)"
                series.append(_python("-c", code) * 1e3)
        yield paired("import", name, "what it imports: " + baseline.removeprefix("import "), "ms", mine, theirs)


def _state_bytes() -> float:
    """Of the core per idle session after ``hello-ok``; the configuration's policy is shared."""
    base = Config(seed=bytes(16))
    sessions.ready(config=base)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept: list[State] = [sessions.ready(config=base)[0] for _ in range(SESSIONS)]
        return (tracemalloc.get_traced_memory()[0] - before) / len(kept)
    finally:
        tracemalloc.stop()


def _seasoned_bytes(count: int) -> float:
    """Of the core of one session that has had ``count`` messages, all of them settled."""
    sessions.seasoned(1)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        state, _, _ = sessions.seasoned(count)
        used = tracemalloc.get_traced_memory()[0] - before
        assert state.started, "it must live until here"
        return used
    finally:
        tracemalloc.stop()


def memory(rounds: int) -> Iterator[Row]:
    """Kibibytes per session: the core's state alone, and a real session on loopback against a bare connection."""
    rounds = min(rounds, 5)
    yield single("memory", "core state, idle session", "KiB", [_state_bytes() / 1024 for _ in range(rounds)])
    for count in (4_096, 8_192):
        name = f"core state, {count} messages later"
        yield single("memory", name, "KiB", [_seasoned_bytes(count) / 1024 for _ in range(min(rounds, 3))])
    with server() as url:
        for loop in ("asyncio", "trio"):
            mine = [_python("-m", "benchmarks.crowd", "driver", loop, url, str(SOCKETS)) for _ in range(rounds)]
            theirs = [_python("-m", "benchmarks.crowd", "bare", loop, url, str(SOCKETS)) for _ in range(rounds)]
            against = "a bare websockets connection, resident memory"
            assert statistics.median(theirs) > 0
            yield paired("memory", f"ready session, {loop}", against, "KiB", mine, theirs)
