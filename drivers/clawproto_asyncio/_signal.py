"""An event that can be used again, and takes no room while nobody waits."""

import asyncio


class Signal:
    """Like `asyncio.Event`, which holds a deque of 760 bytes. Whoever waits already is not affected by `clear`."""

    __slots__ = ("_is_set", "_waiters")

    def __init__(self) -> None:
        self._is_set = False
        self._waiters: list[asyncio.Future[None]] = []

    def is_set(self) -> bool:
        """Whether `wait` would return at once."""
        return self._is_set

    def set(self) -> None:
        """Wake whoever waits, and let through whoever comes."""
        if not self._is_set:
            self._is_set = True
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def clear(self) -> None:
        """From now on, wait for the next `set`."""
        self._is_set = False

    async def wait(self) -> None:
        """Wait until it is set; returns at once, and lets nobody else run, if it is."""
        if self._is_set:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            self._waiters.remove(waiter)
