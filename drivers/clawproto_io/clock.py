"""The clocks and the randomness of the machine, which the pure core does without."""

import secrets
import time
from typing import Protocol

from clawproto.instant import Instant

_NS_PER_MS = 1_000_000


class Clock(Protocol):
    """Where a driver gets its time from. Replace it to let a demonstration run faster than life."""

    def now(self) -> Instant:
        """Both clocks, read together."""
        ...

    def seconds(self, delay_ms: int) -> float:
        """How many real seconds to sleep until ``delay_ms`` have passed on the monotonic clock."""
        ...


class SystemClock:
    """The clocks of the operating system.

    The monotonic clock of some systems stands still while the machine sleeps; the core allows for that (TOK-21).
    """

    def now(self) -> Instant:
        """Wall clock and monotonic clock in whole milliseconds."""
        return Instant(wall_ms=time.time_ns() // _NS_PER_MS, mono_ms=time.monotonic_ns() // _NS_PER_MS)

    def seconds(self, delay_ms: int) -> float:
        """``delay_ms`` in seconds, zero for what is already past."""
        return max(0, delay_ms) / 1000


class ScaledClock:
    """A clock that starts at the present and then runs ``factor`` times as fast, for demonstrations.

    Attributes:
        factor: 60 turns an hour into a minute.

    Raises:
        ValueError: a factor that is not positive.
    """

    def __init__(self, factor: float, base: Clock | None = None) -> None:
        if factor <= 0:
            raise ValueError(f"factor must be positive, not {factor}")
        self.factor = factor
        self._base = base or SystemClock()
        self._origin = self._base.now()

    def now(self) -> Instant:
        """The origin plus ``factor`` times what has passed since."""
        real = self._base.now()
        return Instant(
            wall_ms=self._origin.wall_ms + round((real.wall_ms - self._origin.wall_ms) * self.factor),
            mono_ms=self._origin.mono_ms + round((real.mono_ms - self._origin.mono_ms) * self.factor),
        )

    def seconds(self, delay_ms: int) -> float:
        """The delay in real seconds, ``factor`` times shorter."""
        return self._base.seconds(delay_ms) / self.factor


def system_seed() -> bytes:
    """16 unpredictable bytes for `clawproto.config.Config.seed`. Draw new ones for every session."""
    return secrets.token_bytes(16)
