"""The refresh manager that clawproto grew from, as a model of its observable behaviour, and clawproto's amendments.

`Seed` says what the original does: which requests, saves, swaps and logouts it starts, in which order, and what its
callers are told. What the original leaves to promises is made explicit here: a flight stands at one of three places
(the call, the save, the logout) and goes on when the test says so. `Amended` changes exactly what the protocol decided
otherwise; docs/decisions/0003-differences-from-the-seed.md lists the same points.
"""

import copy
from typing import Literal, TypeAlias

from attrs import define, evolve, field, frozen

FLOOR_MS = 30_000
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS

Entry: TypeAlias = tuple[str, ...]
Verdict: TypeAlias = Literal["success", "permanent", "transient"]


# --- timing --------------------------------------------------------------------------------------------------------


def refresh_at_ms(expires_ms: int, issued_ms: int | None, jitter_ms: float) -> float:
    """The instant of the proactive refresh: a quarter of the life before expiry, within half an hour and two hours."""
    life = 24 * HOUR_MS if issued_ms is None else expires_ms - issued_ms
    margin = min(2 * HOUR_MS, life / 4)
    return expires_ms - max(margin, 30 * MINUTE_MS) + jitter_ms


def is_near_expiry(now_ms: int, expires_ms: int, issued_ms: int | None) -> bool:
    """The same instant without jitter has come."""
    return now_ms >= refresh_at_ms(expires_ms, issued_ms, 0)


# --- the original --------------------------------------------------------------------------------------------------


@frozen
class Pair:
    """A pair in memory or on the disk."""

    access: str
    refresh: str | None


@frozen
class Flight:
    """A refresh on its way.

    Attributes:
        begun_with: the pair in memory when it began.
        place: what it waits for.
        brought: the new pair, once the server has answered.
        callers: who shares its outcome.
        generation: of the stored record at its begin (amended only).
    """

    begun_with: Pair
    place: Literal["call", "save", "logout"]
    callers: tuple[int, ...]
    brought: Pair | None = None
    generation: int = 0


@define
class Seed:
    """The original's refresh manager together with the memory of its host."""

    memory: Pair
    now: int
    rejected: str | None = None
    last_attempt: int = 0
    stopped: bool = False
    flight: Flight | None = None
    log: list[Entry] = field(factory=list[Entry])

    def copy(self) -> "Seed":
        """An independent twin with an empty log."""
        twin = copy.copy(self)
        twin.log = []
        return twin

    # --- what a caller does

    def call(self, caller: int) -> None:
        """Ask for a refresh."""
        if self.stopped:
            self._tell(caller, "skipped", self._stopped_reason())
        elif self.flight is not None:
            self._join(self.flight, caller)
        elif self.rejected is not None and self.rejected == self.memory.access:
            self._tell(caller, "skipped", "rejected-latch")
        elif self._has_attempted() and self.now - self.last_attempt < FLOOR_MS:
            self._tell(caller, "skipped", "min-interval")
        elif not (self.memory.refresh or "").strip():
            self._tell(caller, "skipped", "no-refresh-token")
        else:
            self.last_attempt = self.now
            self._begin(caller)

    def _stopped_reason(self) -> str:
        return "in-flight"

    def _has_attempted(self) -> bool:
        return self.last_attempt != 0

    def _join(self, flight: Flight, caller: int) -> None:
        self.flight = evolve(flight, callers=(*flight.callers, caller))

    def _begin(self, caller: int) -> None:
        self.flight = Flight(self.memory, "call", (caller,))
        self.log.append(("request", str(self.memory.refresh)))

    # --- what the world answers

    def answered(self, verdict: Verdict, brought: Pair | None = None) -> None:
        """The server has answered the call."""
        flight = self._at("call")
        if verdict == "transient":
            self._end(flight, "transient")
        elif verdict == "permanent":
            self.rejected = flight.begun_with.access
            self.flight = evolve(flight, place="logout")
            self.log.append(("logout",))
        else:
            assert brought is not None
            self.flight = evolve(flight, place="save", brought=brought)
            self._save(brought)

    def _save(self, brought: Pair) -> None:
        self.log.append(("persist", brought.access, str(brought.refresh)))

    def saved(self, *, well: bool) -> None:
        """The store has answered the save."""
        flight = self._at("save")
        assert flight.brought is not None
        if well:
            self._swap(flight, flight.brought)
        else:
            self._end(flight, "transient")

    def _swap(self, flight: Flight, pair: Pair) -> None:
        self.memory = pair
        self.rejected = None
        self.log.append(("swap", pair.access, str(pair.refresh)))
        self._end(flight, "success", pair.access)

    def forgotten(self) -> None:
        """The logout has run to its end."""
        self._end(self._at("logout"), "permanent")

    def _at(self, place: str) -> Flight:
        assert self.flight is not None and self.flight.place == place
        return self.flight

    def _end(self, flight: Flight, *outcome: str) -> None:
        self.flight = None
        for caller in flight.callers:
            self._tell(caller, *outcome)

    def _tell(self, caller: int, *outcome: str) -> None:
        self.log.append(("outcome", str(caller), *outcome))

    # --- what else happens

    def replaced(self, pair: Pair) -> None:
        """The host puts another pair into memory (and on the disk)."""
        self.memory = pair

    def stop(self) -> None:
        """No new call is begun any more."""
        self.stopped = True

    def passes(self, ms: int) -> None:
        """Time passes."""
        self.now += ms

    def export(self) -> tuple[str | None, int]:
        """What outlives the manager: the token that was refused, if it is still the current one, and the last try."""
        return (self.rejected if self.rejected == self.memory.access else None), self.last_attempt


# --- clawproto -----------------------------------------------------------------------------------------------------


@define
class Amended(Seed):
    """The original with the decisions of the protocol. ``used`` names those that made a difference.

    Attributes:
        stored, stored_generation: the record on the disk; a sibling process may change it.
        generation: of the pair in memory.
        intents: an intent is recorded before each call (REF-46), which is a compare-and-swap as well.
        held: a pair that could not be saved; ``saving`` tells whether the save is under way.
    """

    intents: bool = True
    stored: Pair | None = None
    stored_generation: int = 1
    generation: int = 1
    held: bool = False
    saving: bool = False
    attempted: bool = False
    used: frozenset[str] = frozenset()

    def _differs(self, name: str) -> None:
        self.used |= {name}

    def _stopped_reason(self) -> str:
        self._differs("D-46")
        return "stopped"

    def _has_attempted(self) -> bool:
        return self.attempted  # D-47: only a clock that stands at zero can tell

    def _join(self, flight: Flight, caller: int) -> None:
        if self.held:
            self._differs("D-50")
            self._tell(caller, "skipped", "in-flight")
        else:
            super()._join(flight, caller)

    def _begin(self, caller: int) -> None:
        self.attempted = True
        if self.intents and self.stored_generation != self.generation and self.stored is not None:
            self._differs("REF-49")
            self._adopt(Flight(self.memory, "call", (caller,)))
            return
        super()._begin(caller)
        assert self.flight is not None
        self.flight = evolve(self.flight, generation=self.generation)

    def answered(self, verdict: Verdict, brought: Pair | None = None) -> None:
        flight = self._at("call")
        if verdict != "permanent":
            super().answered(verdict, brought)
        elif self.memory != flight.begun_with:
            self._differs("REF-45")
            self._end(flight, "transient")
        elif self.stored != flight.begun_with:
            self._differs("REF-45")
            self._adopt(flight)
        else:
            super().answered(verdict, brought)

    def _save(self, brought: Pair) -> None:
        self.saving = True
        super()._save(brought)

    def saved(self, *, well: bool) -> None:
        flight = self._at("save")
        self.saving = False
        if not well:
            if not self.held:
                for caller in flight.callers:
                    self._tell(caller, "transient")
            self._differs("D-50")
            self.held = True
            self.flight = evolve(flight, callers=())
        elif self.stored_generation != flight.generation:
            self._differs("REF-49")
            self.held = False
            self._adopt(flight)
        else:
            self.held = False
            self.stored, self.stored_generation = flight.brought, flight.generation + 1
            self.generation = self.stored_generation
            super().saved(well=True)

    def _adopt(self, flight: Flight) -> None:
        assert self.stored is not None
        self.generation = self.stored_generation
        self._swap(flight, self.stored)

    def forgotten(self) -> None:
        flight = self._at("logout")
        if self.stored_generation != flight.generation:
            self._differs("REF-45")
            self._adopt(flight)
        else:
            self.stored, self.stored_generation = None, flight.generation + 1
            super().forgotten()

    def rotated_by_sibling(self, pair: Pair) -> None:
        """Another process changes the record; memory knows nothing of it."""
        self.stored, self.stored_generation = pair, self.stored_generation + 1

    def replaced(self, pair: Pair) -> None:
        self.rotated_by_sibling(pair)
        if self.stopped:
            self._differs("REF-32")
        else:
            self.memory, self.generation = pair, self.stored_generation

    def passes(self, ms: int) -> None:
        super().passes(ms)
        if self.held and not self.saving:
            assert self.flight is not None and self.flight.brought is not None
            self._save(self.flight.brought)
