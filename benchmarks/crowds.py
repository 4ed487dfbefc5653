"""Thousands of real sessions in one process, and the hub that they are connected to in another."""

import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from typing import Any

import anyio
import trio

import clawproto_asyncio
import clawproto_trio
from benchmarks.children import environment
from benchmarks.network import credentials
from clawproto.app_events import AppEvent
from clawproto.policy import Policy
from clawproto_io.stores import MemoryStore

AT_ONCE = 100  # sessions that are begun together; the next ones wait until they are ready
LOOPS = ("asyncio", "uvloop", "trio")


def loops() -> tuple[str, ...]:
    """Those that are installed."""
    try:
        import_module("uvloop")
    except ImportError:
        return "asyncio", "trio"
    return LOOPS


class HubProcess:
    """`benchmarks.crowd_hub`, listening."""

    def __init__(self, port: int = 0) -> None:
        command = [sys.executable, "-m", "benchmarks.crowd_hub", str(port)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    def kill(self) -> None:
        """As a crash: the system ends its connections."""
        self._process.kill()
        self._process.wait(30)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


@contextmanager
def hub() -> Iterator[HubProcess]:
    """One for as long as the block runs."""
    running = HubProcess()
    try:
        yield running
    finally:
        running.kill()


def run(loop: str, program: Callable[[], Awaitable[None]]) -> None:
    """Run a program on asyncio, on asyncio with uvloop's loop, or on trio."""
    if loop == "trio":
        trio.run(program)
    else:
        options: dict[str, Any] = {}
        if loop == "uvloop":
            options["loop_factory"] = import_module("uvloop").new_event_loop
        anyio.run(program, backend="asyncio", backend_options=options)


@asynccontextmanager
async def crowd(
    loop: str, url: str, count: int, policy: Policy | None = None, on_notice: Callable[[AppEvent], None] | None = None
) -> AsyncIterator[None]:
    """So many sessions, all of them ready when the block begins; each is iterated over by a task of its own."""
    driver: Any = clawproto_trio if loop == "trio" else clawproto_asyncio
    record = credentials(url)

    async def hold(ready: anyio.Semaphore) -> None:
        async with driver.connect(MemoryStore(record), policy=policy, proxy=None, on_notice=on_notice) as client:
            await client.wait_ready()
            ready.release()
            async for _ in client:
                pass

    async with anyio.create_task_group() as tasks:
        ready = anyio.Semaphore(AT_ONCE)
        for _ in range(count):
            await ready.acquire()
            tasks.start_soon(hold, ready)
        for _ in range(AT_ONCE):
            await ready.acquire()
        yield
        tasks.cancel_scope.cancel()
