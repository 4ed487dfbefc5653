"""What a session is before it does anything: the time to import and to begin, and memory."""

import tracemalloc
from collections.abc import Iterator

from benchmarks import sessions
from benchmarks.children import figure, server, spent
from benchmarks.harness import Row, alternate, paired, single
from clawproto.config import Config
from clawproto.state import State

SESSIONS = 200  # states of the core
SOCKETS = 40  # real sessions in one process
IMPORT, MEMORY, STATE_KB = 1.25, 1.2, 2.0

ATTRS, ASYNCIO, TRIO = "attrs, cattrs", "websockets.asyncio.client", "trio, websockets.trio.client"
IMPORTS = [
    ("import", "clawproto", ATTRS),
    ("import drivers", "clawproto_asyncio", ASYNCIO),
    ("import drivers", "clawproto_trio", TRIO),
]


def importing(statement: str) -> float:
    """Milliseconds of processor time, the interpreter's own start not counted."""
    code = f"import time; t = time.process_time(); {statement}; print(time.process_time() - t)"
    return figure("-c", code) * 1e3


def imports(rounds: int) -> Iterator[Row]:
    """The imports, and what comes after them: an import that puts its work off has to do it then. So the same target
    holds for a program that has every public name."""
    for line, name, modules in IMPORTS:
        for statement in (f"import {name}", f"from {name} import *"):
            baseline = f"import {modules}"
            mine, theirs = alternate(lambda: importing(statement), lambda: importing(baseline), rounds)  # noqa: B023
            yield paired("import", statement, baseline, "ms", mine, theirs).held_to(line, IMPORT)
    yield from _starts(rounds)


def _starts(rounds: int) -> Iterator[Row]:
    """Of a fresh interpreter until it has done something, by the clock of its processor, its own start included."""
    group, attrs = "start of a fresh interpreter, its own included", ("-c", f"import {ATTRS}")
    for what in ("step", "message"):
        mine, theirs = alternate(lambda: _first(what), lambda: spent(*attrs).cpu_seconds * 1e3, rounds)  # noqa: B023
        yield paired(group, f"a session's first {what}", f"import {ATTRS}", "ms", mine, theirs)
    with server() as url:
        for loop in ("asyncio", "trio"):
            for what, rest in (("socket", ()), ("ack", (f"{url}/echo",))):
                mine, theirs = alternate(
                    lambda: _first(what, loop, *rest),  # noqa: B023
                    lambda: _first("bare", what, loop, *rest),  # noqa: B023
                    rounds,
                )
                done = "to the socket asked for" if what == "socket" else "to the first ack of a send"
                yield paired(group, f"{done}, {loop}", "bare websockets", "ms", mine, theirs)


def _first(*arguments: str) -> float:
    return spent("-m", "benchmarks.first", *arguments).cpu_seconds * 1e3


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


def state(rounds: int) -> Iterator[Row]:
    """What the core holds of a session, in kilobytes of 1000 bytes."""
    rounds = min(rounds, 5)
    row = single("core state", "after hello-ok", "kB", [_state_bytes() / 1e3 for _ in range(rounds)])
    yield row.held_to("state", STATE_KB)
    for count in (4_096, 8_192):
        name = f"{count} messages later"
        yield single("core state", name, "kB", [_seasoned_bytes(count) / 1e3 for _ in range(min(rounds, 3))])


def memory(rounds: int) -> Iterator[Row]:
    """Kibibytes of resident memory: a real session on loopback against a bare connection."""
    rounds = min(rounds, 5)
    with server() as url:
        for loop in ("asyncio", "trio"):
            crowd, count = ("-m", "benchmarks.crowd"), str(SOCKETS)
            mine, theirs = alternate(
                lambda: figure(*crowd, "driver", loop, url, count),  # noqa: B023
                lambda: figure(*crowd, "bare", loop, url, count),  # noqa: B023
                rounds,
            )
            row = paired("memory", loop, "a bare websockets connection, resident memory", "KiB", mine, theirs)
            yield row.held_to("memory", MEMORY)
            files = [figure(*crowd, "kept", loop, url, count) for _ in range(min(rounds, 3))]
            yield single("memory of a ready session with an SQLite file", loop, "KiB", files)
