"""An event that can be used again, and takes little room while nobody waits."""

import trio


class Signal:
    """Like `trio.Event`, but `clear` makes it wait again. Whoever waits already is not affected by `clear`."""

    __slots__ = ("_is_set", "_lot")

    def __init__(self) -> None:
        self._is_set = False
        self._lot: trio.lowlevel.ParkingLot | None = None  # made when somebody waits

    def is_set(self) -> bool:
        """Whether `wait` would return at once."""
        return self._is_set

    def set(self) -> None:
        """Wake whoever waits, and let through whoever comes."""
        if not self._is_set:
            self._is_set = True
            if self._lot is not None:
                self._lot.unpark_all()

    def clear(self) -> None:
        """From now on, wait for the next `set`."""
        self._is_set = False

    async def wait(self) -> None:
        """Wait until it is set. A checkpoint."""
        if self._is_set:
            await trio.lowlevel.checkpoint()
            return
        if self._lot is None:
            self._lot = trio.lowlevel.ParkingLot()
        await self._lot.park()
