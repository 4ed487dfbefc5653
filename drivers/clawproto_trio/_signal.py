"""An event that can be used again."""

import trio


class Signal:
    """Like `trio.Event`, but `clear` makes it wait again. Whoever waits already is not affected by `clear`."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def is_set(self) -> bool:
        """Whether `wait` would return at once."""
        return self._event.is_set()

    def set(self) -> None:
        """Wake whoever waits, and let through whoever comes."""
        self._event.set()

    def clear(self) -> None:
        """From now on, wait for the next `set`."""
        if self._event.is_set():
            self._event = trio.Event()

    async def wait(self) -> None:
        """Wait until it is set. A checkpoint."""
        await self._event.wait()
