"""The two drivers, as the conformance suite sees them."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

import trio

import clawproto_asyncio
import clawproto_trio
from clawproto.credentials import Credentials
from clawproto.testing.client_api import ClientApi
from clawproto.testing.stage import DriverAdapter, Work


class AsyncioAdapter:
    name = "asyncio"

    def run(self, main: Callable[[], Awaitable[None]]) -> None:
        async def program() -> None:
            await main()

        asyncio.run(program())

    def connect(self, store: Any, **settings: Any) -> AbstractAsyncContextManager[ClientApi]:
        return clawproto_asyncio.connect(store, **settings)

    async def pair(self, store: Any, code: str, **settings: Any) -> Credentials:
        return await clawproto_asyncio.pair(store, code, **settings)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def within(self, seconds: float, work: Work) -> None:
        async with asyncio.timeout(seconds):
            await work()

    async def together(self, *works: Work) -> None:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work())

    async def cancelled(self, work: Callable[[Callable[[], None]], Coroutine[Any, Any, None]]) -> bool:
        def stop() -> None:
            task.cancel()

        task = asyncio.create_task(work(stop))
        try:
            await task
        except asyncio.CancelledError:
            if not task.cancelled():
                raise
        return task.cancelled()

    def leftovers(self) -> list[str]:
        return [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]


class UvloopAdapter(AsyncioAdapter):
    """The asyncio driver on uvloop's loop."""

    name = "uvloop"

    def run(self, main: Callable[[], Awaitable[None]]) -> None:
        async def program() -> None:
            await main()

        new_loop: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(program())


class TrioAdapter:
    name = "trio"

    def run(self, main: Callable[[], Awaitable[None]]) -> None:
        trio.run(main)

    def connect(self, store: Any, **settings: Any) -> AbstractAsyncContextManager[ClientApi]:
        return clawproto_trio.connect(store, **settings)

    async def pair(self, store: Any, code: str, **settings: Any) -> Credentials:
        return await clawproto_trio.pair(store, code, **settings)

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def within(self, seconds: float, work: Work) -> None:
        try:
            with trio.fail_after(seconds):
                await work()
        except trio.TooSlowError:
            raise TimeoutError from None

    async def together(self, *works: Work) -> None:
        async with trio.open_nursery() as nursery:
            for work in works:
                nursery.start_soon(work)

    async def cancelled(self, work: Callable[[Callable[[], None]], Coroutine[Any, Any, None]]) -> bool:
        with trio.CancelScope() as scope:
            await work(scope.cancel)
        return scope.cancelled_caught

    def leftovers(self) -> list[str]:
        nurseries = trio.lowlevel.current_task().child_nurseries
        return [child.name for nursery in nurseries for child in nursery.child_tasks]


class PairingAdapter(DriverAdapter, Protocol):
    async def pair(self, store: Any, code: str, **settings: Any) -> Credentials: ...


ADAPTERS: tuple[PairingAdapter, ...] = (AsyncioAdapter(), TrioAdapter())
WITH_UVLOOP = (*ADAPTERS, UvloopAdapter()) if find_spec("uvloop") else ADAPTERS
