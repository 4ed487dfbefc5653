"""Both drivers against a bare ``websockets`` loop with ``json.loads``, on the same event loop and the same server.

On asyncio also with uvloop's loop, where it is installed.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Protocol, TypeAlias

import trio
import websockets.asyncio.client
import websockets.trio.client
from attrs import evolve

import clawproto_asyncio
import clawproto_trio
from benchmarks import frames
from benchmarks.children import server
from benchmarks.harness import Row, alternate, paired, single
from benchmarks.sessions import CREDENTIALS, access_token
from clawproto.app_events import MessageReceived
from clawproto.credentials import Credentials, TokenPair
from clawproto.secret import Secret
from clawproto.testing.client_api import ClientApi
from clawproto_io import SqliteStore
from clawproto_io.stores import MemoryStore

MESSAGES = 3_000
TRIPS = 300
RATE, TRIP = 0.8, 1.4
CHAT = "cnv_1"
KEPT = "drivers, messages kept in an SQLite file"


class Took(NamedTuple):
    """Seconds per operation, by the clock and of this process's processor time; the server is another process."""

    wall: float
    cpu: float


Measure: TypeAlias = Callable[[str], Awaitable[Took]]
"""From the server's address to what an operation takes."""


class Watch:
    """Runs from its making."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def per(self, operations: int) -> Took:
        return Took((time.perf_counter() - self._wall) / operations, (time.process_time() - self._cpu) / operations)


class Socket(Protocol):
    """What the two client connections of ``websockets`` have in common."""

    async def send(self, message: str) -> None: ...
    async def recv(self) -> str | bytes: ...


Dial: TypeAlias = Callable[[str], AbstractAsyncContextManager[Any]]


def credentials(url: str) -> Credentials:
    """An agent whose hub is at ``url``, with a token that is not due before the day is over."""
    now = time.time_ns() // 1_000_000
    pair = TokenPair(Secret(access_token("a1", now)), Secret("refresh-" + "r" * 40), now)
    return evolve(CREDENTIALS, identity=evolve(CREDENTIALS.identity, ws_url=url), tokens=pair)


# --- bare ----------------------------------------------------------------------------------------------------------


def dial_asyncio(url: str) -> AbstractAsyncContextManager[Any]:
    """A bare connection on asyncio, with the drivers' settings."""
    return websockets.asyncio.client.connect(url, compression=None, proxy=None, ping_interval=None)


def dial_trio(url: str) -> AbstractAsyncContextManager[Any]:
    """A bare connection on trio, with the drivers' settings."""
    return websockets.trio.client.connect(url, compression=None, proxy=None, ping_interval=None)


@asynccontextmanager
async def greeted(dial: Dial, url: str) -> AsyncIterator[Socket]:
    """A bare connection after ``hello-ok``."""
    async with dial(url) as socket:
        json.loads(await socket.recv())
        await socket.send(frames.envelope("connect", {}))
        json.loads(await socket.recv())
        yield socket


def _uplink() -> str:
    body = {"body": {"fragments": [{"kind": "text", "text": "hello"}]}, "context": {"mentions": [], "reply": None}}
    payload: Any = {"message_id": "msg-01K5Z3NDEKTSV4RRFFQ69G5FAV", "message_mode": "normal", "message": body}
    return frames.envelope("message.send", payload, chat_id=CHAT)


def bare_flood(dial: Dial) -> Measure:
    async def measure(url: str) -> Took:
        async with greeted(dial, f"{url}/flood/{MESSAGES}") as socket:
            watch = Watch()
            await socket.send(_uplink())
            for _ in range(1 + MESSAGES):  # the ack is the first
                json.loads(await socket.recv())
            return watch.per(MESSAGES)

    return measure


def bare_trips(dial: Dial) -> Measure:
    async def measure(url: str) -> Took:
        async with greeted(dial, f"{url}/echo") as socket:
            watch = Watch()
            for _ in range(TRIPS):
                await socket.send(_uplink())
                json.loads(await socket.recv())
            return watch.per(TRIPS)

    return measure


# --- drivers -------------------------------------------------------------------------------------------------------

Connect: TypeAlias = Callable[[str], AbstractAsyncContextManager[ClientApi]]


def connect_asyncio(url: str) -> AbstractAsyncContextManager[ClientApi]:
    """A client on asyncio, with its credentials in memory."""
    return clawproto_asyncio.connect(MemoryStore(credentials(url)), proxy=None)


def connect_trio(url: str) -> AbstractAsyncContextManager[ClientApi]:
    """A client on trio, with its credentials in memory."""
    return clawproto_trio.connect(MemoryStore(credentials(url)), proxy=None)


@asynccontextmanager
async def kept(connect: Callable[..., AbstractAsyncContextManager[ClientApi]], url: str) -> AsyncIterator[ClientApi]:
    """A client with an SQLite file for its credentials and messages, as most applications have it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "agent.db"
        store = SqliteStore(path)
        await store.save(credentials(url), None)
        await store.aclose()
        async with connect(path, proxy=None) as client:
            yield client


def kept_asyncio(url: str) -> AbstractAsyncContextManager[ClientApi]:
    """A client on asyncio whose messages are kept."""
    return kept(clawproto_asyncio.connect, url)


def kept_trio(url: str) -> AbstractAsyncContextManager[ClientApi]:
    """A client on trio whose messages are kept."""
    return kept(clawproto_trio.connect, url)


def _driver_flood(connect: Connect) -> Measure:
    async def measure(url: str) -> Took:
        async with connect(f"{url}/flood/{MESSAGES}") as client:
            await client.wait_ready()
            seen, watch = 0, Watch()
            await client.send(CHAT, "hello")
            async for event in client:
                if isinstance(event, MessageReceived):
                    seen += 1
                    if seen == MESSAGES:
                        break
            return watch.per(MESSAGES)

    return measure


def _driver_trips(connect: Connect) -> Measure:
    async def measure(url: str) -> Took:
        async with connect(f"{url}/echo") as client:
            await client.wait_ready()
            watch = Watch()
            for _ in range(TRIPS):
                await client.send(CHAT, "hello")
            return watch.per(TRIPS)

    return measure


class Loop(Protocol):
    """Runs one measurement to its end."""

    def __call__(self, measure: Measure, url: str) -> Took: ...


def on_asyncio(measure: Measure, url: str, *, new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None) -> Took:
    async def main() -> Took:
        return await measure(url)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main())


def on_trio(measure: Measure, url: str) -> Took:
    async def main() -> Took:
        return await measure(url)

    return trio.run(main)


def loops() -> Iterator[tuple[str, Loop, Connect, Dial]]:
    """Every event loop that there is, with a way to connect by the driver and a bare one."""
    yield "asyncio", on_asyncio, connect_asyncio, dial_asyncio
    try:
        uvloop: Any = import_module("uvloop")
    except ImportError:
        pass
    else:
        yield "asyncio with uvloop", partial(on_asyncio, new_loop=uvloop.new_event_loop), connect_asyncio, dial_asyncio
    yield "trio", on_trio, connect_trio, dial_trio


def drivers(rounds: int) -> Iterator[Row]:
    """Messages per second to the application, and microseconds per send with its ack, by the clock; among the
    details the processor time of the same runs, which a busy machine disturbs less."""
    with server() as url:
        for name, execute, connect, dial in loops():
            mine, theirs = _runs(execute, _driver_flood(connect), bare_flood(dial), url, rounds)
            against, what = "bare websockets and json.loads on the same loop", f"message.send, 700 bytes, {name}"
            rates = [1 / took.wall for took in mine], [1 / took.wall for took in theirs]
            row = paired("drivers", what, against, "msg/s", *rates)
            yield row.held_to("rate", RATE, at_least=True)
            yield _processor(what, mine, theirs)
            mine, theirs = _runs(execute, _driver_trips(connect), bare_trips(dial), url, rounds)
            trips = [took.wall * 1e6 for took in mine], [took.wall * 1e6 for took in theirs]
            row = paired("drivers", name, "a bare websockets round trip on the same loop", "µs", *trips)
            yield row.held_to("trip", TRIP)
            yield _processor(f"send → ack, {name}", mine, theirs)
        for name, execute, connect in (("asyncio", on_asyncio, kept_asyncio), ("trio", on_trio, kept_trio)):
            received = [1 / execute(_driver_flood(connect), url).wall for _ in range(min(rounds, 5))]
            yield single(KEPT, f"message.send, 700 bytes, {name}", "msg/s", received)
            sent = [execute(_driver_trips(connect), url).wall * 1e6 for _ in range(min(rounds, 5))]
            yield single(KEPT, f"send → ack, {name}", "µs", sent)


def _runs(execute: Loop, subject: Measure, baseline: Measure, url: str, rounds: int) -> tuple[list[Took], list[Took]]:
    for measure in (subject, baseline):
        execute(measure, url)  # whatever the first time makes and keeps
    return alternate(lambda: execute(subject, url), lambda: execute(baseline, url), rounds)


def _processor(name: str, mine: Sequence[Took], theirs: Sequence[Took]) -> Row:
    figures = [took.cpu * 1e6 for took in mine], [took.cpu * 1e6 for took in theirs]
    return paired("drivers, processor time of the client", name, "the same with bare websockets", "µs", *figures)
