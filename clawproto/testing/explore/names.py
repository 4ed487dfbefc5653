"""Names and times of a state, made the same for all that behave alike; see `clawproto.testing.explore.canonical`."""

from clawproto.credentials import TokenPair
from clawproto.instant import Instant
from clawproto.testing.explore.pool import (
    ACCESS,
    FAR_MS,
    HOURS_LATER,
    IN_FORCE,
    NOW,
    PAIRS,
    REFRESH,
    Age,
    by_access,
    by_refresh,
)


class Names:
    """Collects the pairs of a state in the order in which they are met, then renames them."""

    def __init__(self, *, hours: bool) -> None:
        self._numbers: dict[int, int] = {}
        self._ages: dict[int, Age] = {}
        self._hours = hours

    def meet(self, pair: TokenPair | None, *, in_force: bool = False) -> None:
        if pair is not None:
            number, age = by_access(pair.access.digest)
            self._note(number)
            if self._hours:
                age = HOURS_LATER.get(age, age)
            if in_force:
                age = IN_FORCE.get(age, age)
            self._ages.setdefault(number, age)  # the pair in force is met first

    def meet_access(self, digest: str | None) -> None:
        if digest is not None:
            self._note(by_access(digest)[0])

    def meet_refresh(self, digest: str | None) -> None:
        if digest is not None:
            self._note(by_refresh(digest))

    def _note(self, number: int) -> None:
        self._numbers.setdefault(number, len(self._numbers))

    def knows_refresh(self, digest: str) -> bool:
        return by_refresh(digest) in self._numbers

    def _age(self, number: int) -> Age:
        return self._ages.get(number, "fresh")  # of the access token nothing but the digest is left

    def pair(self, pair: TokenPair) -> TokenPair:
        number = by_access(pair.access.digest)[0]
        return PAIRS[self._numbers[number], self._age(number)]

    def access(self, digest: str | None) -> str | None:
        if digest is None:
            return None
        number = by_access(digest)[0]
        return ACCESS[self._numbers[number], self._age(number)].digest

    def refresh(self, digest: str | None) -> str | None:
        return None if digest is None else REFRESH[self._numbers[by_refresh(digest)]].digest

    def result(self) -> tuple[tuple[int, ...], tuple[Age, ...]]:
        return tuple(self._numbers), tuple(self._age(number) for number in self._numbers)


class Clock:
    """Moves instants to `NOW`."""

    def __init__(self, now: Instant) -> None:
        self._now = now

    def ahead(self, mono_ms: int) -> int:
        """An instant before which something is not done. All that are past are alike."""
        left = mono_ms - self._now.mono_ms
        return 0 if left <= 0 else NOW.mono_ms + min(left, FAR_MS)

    def due(self, mono_ms: int | None) -> int | None:
        """An instant at which something is done."""
        return None if mono_ms is None else NOW.mono_ms + min(mono_ms - self._now.mono_ms, FAR_MS)

    def age(self, mono_ms: int, ceiling_ms: int) -> int:
        return min(self._now.mono_ms - mono_ms, ceiling_ms)

    def since(self, mono_ms: int, ceiling_ms: int) -> int:
        """An instant from which is counted, up to the ceiling."""
        return NOW.mono_ms - self.age(mono_ms, ceiling_ms)
