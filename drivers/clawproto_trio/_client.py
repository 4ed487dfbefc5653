"""What a trio application holds."""

from collections.abc import Callable

import trio

from clawproto.app_events import AppEvent
from clawproto.events import Command
from clawproto.results import Result, StoppedResult
from clawproto_io.actions import Actions
from clawproto_io.setup import Parts
from clawproto_trio._driver import Driver

STREAK = 16  # events handed out in a row before others get their turn


class Client(Actions):
    """One session. Made by `clawproto_trio.connect`; every method is for tasks of the same run.

    Iterate over it for the events of `clawproto.app_events`, from one task at a time. Messages are settled when the
    loop comes back for the next event, so a message whose handling was cut short comes again (R2-9).
    """

    def __init__(self, driver: Driver, parts: Parts) -> None:
        super().__init__(parts)
        self._driver = driver
        self._send_limit = parts.send_limit
        self._room: trio.Semaphore | None = None  # made for the first send: an agent may only listen
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
            # It can be cancelled here each time. Letting others run each time would take as long as the event itself.
            self._streak += 1
            if self._streak > STREAK:
                self._streak = 0
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.checkpoint_if_cancelled()
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
        await trio.lowlevel.checkpoint()
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
        await trio.lowlevel.checkpoint()

    async def _call(self, build: Callable[[int], Command], *, limited: bool = False) -> Result:
        decision = _Decision()
        room = None
        if limited:
            room = self._room = self._room or trio.Semaphore(self._send_limit)
            await room.acquire()

        def resolve(result: Result) -> None:
            if room is not None:
                room.release()
            decision.make(result)

        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            self._engine.submit(build, resolve)
        except BaseException:
            if room is not None:
                room.release()
            raise
        return self._judged(await decision.wait())


class _Decision:
    """A result that is still to come."""

    def __init__(self) -> None:
        self._made = trio.Event()
        self._result: Result = StoppedResult()

    def make(self, result: Result) -> None:
        self._result = result
        self._made.set()

    async def wait(self) -> Result:
        await self._made.wait()
        return self._result
