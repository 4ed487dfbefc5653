"""What an asyncio application holds."""

import asyncio
from collections.abc import Callable

from clawproto.app_events import AppEvent
from clawproto.events import Command
from clawproto.results import Result
from clawproto_asyncio._driver import Driver
from clawproto_io.actions import Actions
from clawproto_io.setup import Parts

STREAK = 64  # events handed out in a row before others get their turn


class Client(Actions):
    """One session. Made by `clawproto_asyncio.connect`; every method is for tasks of the same loop.

    Iterate over it for the events of `clawproto.app_events`, from one task at a time. Messages are settled when the
    loop comes back for the next event, so a message whose handling was cut short comes again (R2-9).
    """

    def __init__(self, driver: Driver, parts: Parts) -> None:
        super().__init__(parts)
        self._driver = driver
        self._room = asyncio.Semaphore(parts.send_limit)
        self._iterating = False
        self._streak = 0

    def __aiter__(self) -> "Client":
        """The client itself: there is one stream of events."""
        return self

    async def __anext__(self) -> AppEvent:
        """The next event. After a stop this goes on until the session has come to its end.

        Raises:
            StopAsyncIteration: the session was stopped, or logged out and ``on_logout`` is ``end``.
            DriverFailed: the driver broke.
            RuntimeError: another task is iterating.
        """
        if self._iterating:
            raise RuntimeError("another task is iterating over this client")
        self._iterating = True
        try:
            self._streak += 1
            if self._streak > STREAK:
                self._streak = 0
                await asyncio.sleep(0)
            self._engine.mailbox.settle_handed_out()
            while (event := self._next_event()) is None:
                self._streak = 0
                self._driver.arrived.clear()
                await self._driver.arrived.wait()
            return event
        finally:
            self._iterating = False

    async def wait_ready(self) -> None:
        """Wait until messages flow.

        Raises:
            LoggedOut, NotPaired: they never will, unless somebody pairs the agent; not with ``on_logout="wait"``.
            SessionClosed: the session was stopped.
            DriverFailed: the driver broke.
        """
        while not self.is_ready:
            error = self._never_ready()
            if error is not None:
                raise error
            self._driver.changed.clear()
            await self._driver.changed.wait()

    async def aclose(self) -> None:
        """Stop the session and wait for its end; a rotation on its way is finished first (REF-32).

        Cancelling this ends the waiting, not the stopping. Leaving the ``connect`` block does the same.
        """
        self._driver.stop()
        await self._driver.finished()

    # --- inside ---

    @property
    def _failure(self) -> BaseException | None:
        return self._driver.failure

    async def _pause(self) -> None:
        await asyncio.sleep(0)

    async def _call(self, build: Callable[[int], Command], *, limited: bool = False) -> Result:
        waiter: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        if limited:
            await self._room.acquire()

        def resolve(result: Result) -> None:
            if limited:
                self._room.release()
            if not waiter.done():
                waiter.set_result(result)

        try:
            self._engine.submit(build, resolve)
        except BaseException:
            if limited:
                self._room.release()
            raise
        return self._judged(await waiter)
