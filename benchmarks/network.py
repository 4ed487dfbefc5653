"""Both drivers against a bare ``websockets`` loop with ``json.loads``, on the same event loop and the same server."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import trio
import websockets.asyncio.client
import websockets.trio.client
from attrs import evolve

import clawproto_asyncio
import clawproto_trio
from benchmarks import frames
from benchmarks.harness import Row, paired
from benchmarks.sessions import CREDENTIALS, access_token
from clawproto.app_events import MessageReceived
from clawproto.credentials import Credentials, TokenPair
from clawproto.secret import Secret
from clawproto.testing.client_api import ClientApi
from clawproto_io.stores import MemoryStore

MESSAGES = 3_000
TRIPS = 300
CHAT = "cnv_1"

Measure: TypeAlias = Callable[[str], Awaitable[float]]
"""From the server's address to seconds per operation."""


class Socket(Protocol):
    """What the two client connections of ``websockets`` have in common."""

    async def send(self, message: str) -> None: ...
    async def recv(self) -> str | bytes: ...


Dial: TypeAlias = Callable[[str], AbstractAsyncContextManager[Any]]


def environment() -> dict[str, str]:
    """That of a subprocess that imports what this one imports."""
    root = Path(__file__).resolve().parent.parent
    path = os.pathsep.join([str(root), str(root / "drivers"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path}


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


def _bare_flood(dial: Dial) -> Measure:
    async def measure(url: str) -> float:
        async with greeted(dial, f"{url}/flood/{MESSAGES}") as socket:
            json.loads(await socket.recv())
            began = time.perf_counter()
            for _ in range(MESSAGES - 1):
                json.loads(await socket.recv())
            return (time.perf_counter() - began) / (MESSAGES - 1)

    return measure


def _bare_trips(dial: Dial) -> Measure:
    body = {"body": {"fragments": [{"kind": "text", "text": "hello"}]}, "context": {"mentions": [], "reply": None}}
    payload: Any = {"message_id": "msg-01K5Z3NDEKTSV4RRFFQ69G5FAV", "message_mode": "normal", "message": body}

    async def measure(url: str) -> float:
        async with greeted(dial, f"{url}/echo") as socket:
            began = time.perf_counter()
            for _ in range(TRIPS):
                await socket.send(frames.envelope("message.send", payload, chat_id=CHAT))
                json.loads(await socket.recv())
            return (time.perf_counter() - began) / TRIPS

    return measure


# --- drivers -------------------------------------------------------------------------------------------------------

Connect: TypeAlias = Callable[[str], AbstractAsyncContextManager[ClientApi]]


def connect_asyncio(url: str) -> AbstractAsyncContextManager[ClientApi]:
    """A client on asyncio, with its credentials in memory."""
    return clawproto_asyncio.connect(MemoryStore(credentials(url)), proxy=None)


def connect_trio(url: str) -> AbstractAsyncContextManager[ClientApi]:
    """A client on trio, with its credentials in memory."""
    return clawproto_trio.connect(MemoryStore(credentials(url)), proxy=None)


def _driver_flood(connect: Connect) -> Measure:
    async def measure(url: str) -> float:
        async with connect(f"{url}/flood/{MESSAGES}") as client:
            seen, began = 0, 0.0
            async for event in client:
                if isinstance(event, MessageReceived):
                    seen += 1
                    if seen == 1:
                        began = time.perf_counter()
                    if seen == MESSAGES:
                        break
            return (time.perf_counter() - began) / (MESSAGES - 1)

    return measure


def _driver_trips(connect: Connect) -> Measure:
    async def measure(url: str) -> float:
        async with connect(f"{url}/echo") as client:
            await client.wait_ready()
            began = time.perf_counter()
            for _ in range(TRIPS):
                await client.send(CHAT, "hello")
            return (time.perf_counter() - began) / TRIPS

    return measure


def _run_asyncio(measure: Measure, url: str) -> float:
    async def main() -> float:
        return await measure(url)

    return asyncio.run(main())


def _run_trio(measure: Measure, url: str) -> float:
    async def main() -> float:
        return await measure(url)

    return trio.run(main)


def drivers(rounds: int) -> Iterator[Row]:
    """Microseconds of wall-clock time per message, and per send with its ack."""
    loops = [
        ("asyncio", _run_asyncio, connect_asyncio, dial_asyncio),
        ("trio", _run_trio, connect_trio, dial_trio),
    ]
    with server() as url:
        for name, execute, connect, dial in loops:
            kinds = [
                ("message, 700 bytes", _driver_flood(connect), _bare_flood(dial)),
                ("send and ack", _driver_trips(connect), _bare_trips(dial)),
            ]
            for kind, subject, baseline in kinds:
                execute(baseline, url)
                execute(subject, url)
                mine: list[float] = []
                theirs: list[float] = []
                for turn in range(rounds):
                    for series, measure in [(mine, subject), (theirs, baseline)][:: 1 if turn % 2 else -1]:
                        series.append(execute(measure, url) * 1e6)
                against = "bare websockets and json.loads on the same loop"
                yield paired("drivers", f"{kind}, {name}", against, "µs", mine, theirs)
