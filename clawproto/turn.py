"""One call of ``step``: what the machines share while it lasts, and nothing that outlives it.

The machines are functions from a branch of the state to its successor. What they want done they append to the turn as
effects; what other machines must know they append as signals, which ``step`` passes on before it returns.
"""

from typing import TypeAlias

from clawproto.app_events import AppEvent
from clawproto.config import Config
from clawproto.deferred import frozen
from clawproto.effects import Effect, Emit, Resolve
from clawproto.entropy import unit
from clawproto.evolving import evolve
from clawproto.ids import IdState, Minter, next_ulid
from clawproto.instant import Instant
from clawproto.policy import Policy
from clawproto.results import RefreshOutcome, Result


@frozen
class Counters:
    """Numbers given out so far. Never reused within a session, so that a late answer can always be told."""

    request: int = 0
    operation: int = 0
    generation: int = 0
    draw: int = 0
    ids: IdState = IdState()


# --- signals between machines --------------------------------------------------------------------------------------

Trigger: TypeAlias = str
"""Why a flight began: startup, proactive, rejected, handshake, recovery, caller (REF-31). ``identity``: whatever began
it, it brought another user's pair."""


@frozen
class Swapped:
    """Another access token is in force. ``trigger`` is None if it did not come from a flight."""

    trigger: Trigger | None


@frozen
class FlightEnded:
    """The flight's callers have their outcome."""

    trigger: Trigger
    outcome: RefreshOutcome


@frozen
class LogoutBegun:
    """The pair was refused for good and is being cleared."""


@frozen
class LogoutEnded:
    """The pair is gone; everything that waits fails (OUT-11)."""


Signal: TypeAlias = Swapped | FlightEnded | LogoutBegun | LogoutEnded


class Turn:
    """The scratch pad of one step. Machines get it as an argument and must not keep it."""

    __slots__ = ("config", "counters", "effects", "minter", "mono", "now", "policy", "signals", "wall")

    def __init__(self, config: Config, counters: Counters, now: Instant, minter: Minter | None = None) -> None:
        self.config = config
        self.policy: Policy = config.policy
        self.counters = counters
        self.minter = minter  # counts the ids instead of the counters
        self.now = now
        self.mono = now.mono_ms
        self.wall = now.wall_ms
        self.effects: list[Effect] = []
        self.signals: list[Signal] = []

    def do(self, effect: Effect) -> None:
        self.effects.append(effect)

    def emit(self, event: AppEvent, delivery: int | None = None) -> None:
        self.effects.append(Emit(event, delivery))

    def resolve(self, command: int, result: Result) -> None:
        self.effects.append(Resolve(command, result))

    def signal(self, signal: Signal) -> None:
        self.signals.append(signal)

    def next_request(self) -> int:
        self.counters = evolve(self.counters, request=self.counters.request + 1)
        return self.counters.request

    def next_operation(self) -> int:
        self.counters = evolve(self.counters, operation=self.counters.operation + 1)
        return self.counters.operation

    def next_generation(self) -> int:
        self.counters = evolve(self.counters, generation=self.counters.generation + 1)
        return self.counters.generation

    def draw(self, label: str) -> float:
        """A number in [0, 1) from the seed; each draw gives another one."""
        self.counters = evolve(self.counters, draw=self.counters.draw + 1)
        return unit(self.config.seed, label, self.counters.draw)

    def mint(self) -> str:
        """A fresh ULID, above every earlier one (SEND-6)."""
        if self.minter is not None:
            return self.minter.mint(self.wall)
        ids, ulid = next_ulid(self.counters.ids, self.config.seed, self.now.wall_ms)
        self.counters = evolve(self.counters, ids=ids)
        return ulid
