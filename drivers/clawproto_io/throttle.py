"""How fast the sessions of one process open sockets and refresh, so that a hub that comes back is not run down.

    sessions ──> turn: one after the other, at most so many a second ──> at most so many at once ──> the network

Each session spreads its own reconnects and refreshes already (CLOSE-3, TOK-10); this is for many of them. A session
waits for its turn for at most half of the time that it gives the whole attempt. What finds no turn in that time has
failed without anything being sent, so the core backs off, as it would after a refused connection (CLOSE-2, REF-21).
"""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

import anyio


class Crowded(Exception):
    """No turn could be had in time. Nothing was begun."""


class Gate:
    """Lets things begin one after the other.

    Args:
        per_second: how many may begin.
        at_once: how many may be under way.
        now: a monotonic clock, in seconds.

    Raises:
        ValueError: a number that cannot be.
    """

    def __init__(self, per_second: float, at_once: int, now: Callable[[], float] = time.monotonic) -> None:
        if per_second <= 0 or at_once < 1:
            raise ValueError("at least one must be able to begin")
        self._gap = 1 / per_second
        self._now = now
        self._next = 0.0
        self._room = anyio.Semaphore(at_once)

    @asynccontextmanager
    async def turn(self, patience: float) -> AsyncGenerator[None]:
        """Wait for a turn, and hold it for as long as the block runs.

        Args:
            patience: seconds to wait for it, at most.

        Raises:
            Crowded: too many are waiting already; at once if that can be told.
        """
        now = self._now()
        begin = max(now, self._next)
        if begin - now > patience:
            raise Crowded
        self._next = begin + self._gap
        await anyio.sleep(begin - now)
        try:
            self._room.acquire_nowait()
        except anyio.WouldBlock:
            with anyio.move_on_after(patience - (begin - now)) as bound:
                await self._room.acquire()
            if bound.cancelled_caught:
                raise Crowded from None
        try:
            yield
        finally:
            self._room.release()


class Throttle:
    """Shared by any number of sessions of one process: give it to each `connect`.

    Args:
        sockets_per_second: how many sockets may begin to be opened.
        sockets_at_once: how many may be on their way: name lookup, TCP, TLS and upgrade.
        refreshes_per_second: how many refresh requests may begin.
        refreshes_at_once: how many may be under way.

    Raises:
        ValueError: a number that cannot be.
    """

    def __init__(
        self,
        *,
        sockets_per_second: float = 20.0,
        sockets_at_once: int = 16,
        refreshes_per_second: float = 10.0,
        refreshes_at_once: int = 8,
    ) -> None:
        self.sockets = Gate(sockets_per_second, sockets_at_once)
        self.refreshes = Gate(refreshes_per_second, refreshes_at_once)


def turn_of(gate: Gate | None, patience: float) -> AbstractAsyncContextManager[None]:
    """A turn at ``gate``, or none where there is no gate."""
    return nullcontext() if gate is None else gate.turn(patience)
