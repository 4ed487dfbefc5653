"""One state out of all that behave alike.

Sessions that differ only in when they are, in how many requests they have made, or in the names of their tokens do the
same things for ever. `canonical` maps such states to one: times are counted from `clawproto.testing.explore.pool.NOW`,
numbers from 1, pairs in the order in which they are met, and what is past, or beyond a ceiling, is as good as any other
instant past it. What is left out, and why it does not matter, is said at each field. That the same steps are taken at
any time is tested on random walks; that a ceiling makes no difference rests on those statements.

The canonical state is a `State` like any other. The exploration goes on from it, with the real ``step``.
"""

from collections.abc import Callable
from typing import Final

from clawproto.credentials import Credentials
from clawproto.deferred import frozen
from clawproto.evolving import evolve
from clawproto.inbox_state import InboxState, Stream
from clawproto.instant import Instant
from clawproto.link_state import (
    Closing,
    Down,
    Ended,
    Greeting,
    LinkPhase,
    LinkState,
    Online,
    Opening,
    Unstarted,
    Waiting,
)
from clawproto.state import State
from clawproto.testing.explore.names import Clock, Names
from clawproto.testing.explore.pool import (
    NOW,
    POLICY,
    Age,
)
from clawproto.testing.invariants import History
from clawproto.timing import token_times
from clawproto.tokens_state import (
    Flight,
    Idle,
    LoggingOut,
    Recording,
    Requesting,
    Rereading,
    Saving,
    TokenPhase,
    TokenState,
)
from clawproto.turn import Counters

GENERATION: Final = 100  # of the record in force; the others are counted from it
ENOUGH: Final = 3  # failures in a row, after which one more changes nothing (see POLICY)


@frozen
class Node:
    """A canonical state of the session, and what the invariants remember of how it came about."""

    state: State
    history: History


@frozen
class Renaming:
    """What the numbers of a state became in its canonical form.

    Attributes:
        pairs: by new number: the old one.
        ages: by new number.
        operations: new numbers of store operations, by old one; the session waits for no others.
        request: the old number of the request it waits for, which is 1 now; or None.
        generation: by how much the generations of records were lowered.
        commands: by new number less one: the old one.
    """

    pairs: tuple[int, ...]
    ages: tuple[Age, ...]
    operations: dict[int, int]
    request: int | None
    generation: int
    commands: tuple[int, ...]


def canonical(state: State, history: History, now: Instant, *, hours: bool = False) -> tuple[Node, Renaming]:
    """The canonical form of a session that has just made a step at ``now``. ``hours``: its tokens are hours older."""
    names, clock = Names(hours=hours), Clock(now)
    tokens = state.tokens
    _meet(names, tokens)
    if isinstance(state.link.phase, Greeting):
        names.meet_access(state.link.phase.presented)
    commands = tuple(sorted(history.open_commands))
    numbered = {command: index + 1 for index, command in enumerate(commands)}
    awaited = _operations(tokens)
    operations = {old: index + 1 for index, old in enumerate(awaited)}
    phase = tokens.phase
    request = phase.request if isinstance(phase, Requesting) else None
    lowered = 0 if tokens.credentials is None else tokens.credentials.generation - GENERATION
    renamed = _Rename(names, clock, operations, numbered, lowered)
    link = _link(state.link, names, clock)
    counters = Counters(
        request=0 if request is None else 1,
        operation=len(awaited),
        generation=0 if isinstance(link.phase, Unstarted | Down | Ended) else 1,
    )
    node = Node(
        evolve(
            state,
            deadline=clock.due(state.deadline),
            calm_until=clock.due(state.calm_until),
            counters=counters,
            tokens=renamed.tokens(tokens),
            link=link,
            inbox=_inbox(state.inbox, link, clock),
        ),
        renamed.history(history, request),
    )
    pairs, ages = names.result()
    return node, Renaming(pairs, ages, operations, request, lowered, commands)


def _operations(tokens: TokenState) -> list[int]:
    """The store operations that the session waits for."""
    phase = tokens.phase
    found = [None if isinstance(phase, Idle | Requesting) else phase.operation]
    found.append(None if tokens.cleanup is None else tokens.cleanup.operation)
    found.append(tokens.poll_operation)
    return [operation for operation in found if operation is not None]


def _meet(names: Names, tokens: TokenState) -> None:
    phase = tokens.phase
    if tokens.credentials is not None:  # while a flight lasts, it still counts which pair is the newer one
        names.meet(tokens.credentials.tokens, in_force=isinstance(phase, Idle))
    if not isinstance(phase, Idle):
        names.meet(phase.flight.tokens)
    if isinstance(phase, Saving):
        names.meet(phase.held.tokens)
    names.meet_access(tokens.latch)
    names.meet_access(tokens.rejected)
    names.meet_refresh(tokens.spent[-1] if tokens.spent else None)
    if tokens.cleanup is not None:
        names.meet_access(tokens.cleanup.refused)


class _Rename:
    def __init__(
        self, names: Names, clock: Clock, operations: dict[int, int], commands: dict[int, int], lowered: int
    ) -> None:
        self._names = names
        self._clock = clock
        self._operations = operations
        self._commands = commands
        self._lowered = lowered

    def tokens(self, tokens: TokenState) -> TokenState:
        names, clock, cleanup = self._names, self._clock, tokens.cleanup
        credentials = None if tokens.credentials is None else self._record(tokens.credentials)
        pair = None if credentials is None else credentials.tokens
        times = None
        if tokens.times is not None and pair is not None:  # without the jitter, which no age is close to
            times = token_times(pair.access, pair.obtained_at_ms, 0.5, POLICY)
        return evolve(
            tokens,
            credentials=credentials,
            times=times,
            phase=self._phase(tokens.phase),
            latch=names.access(tokens.latch),
            rejected=names.access(tokens.rejected),
            last_attempt=self._last_attempt(tokens),
            last_attempt_token=None,  # counts only with refresh_floor_scope="same-token"
            failures=min(tokens.failures, ENOUGH),
            backoff_until=clock.ahead(tokens.backoff_until),
            not_before=clock.ahead(tokens.not_before),
            hold_until=clock.ahead(tokens.hold_until),
            lost_until=None if tokens.lost_until is None else clock.ahead(tokens.lost_until) or None,
            spent=self._spent(tokens.spent),
            cleanup=None
            if cleanup is None
            else evolve(
                cleanup,
                refused=names.access(cleanup.refused) or "",
                replaces=cleanup.replaces - self._lowered,
                operation=None if cleanup.operation is None else self._operations[cleanup.operation],
                failures=min(cleanup.failures, ENOUGH),
                retry_at=clock.due(cleanup.retry_at),
            ),
            poll_at=clock.due(tokens.poll_at),
            poll_operation=None if tokens.poll_operation is None else self._operations[tokens.poll_operation],
            last_error=None,  # for display
        )

    def _spent(self, digests: tuple[str, ...]) -> tuple[str, ...]:
        """The last one, and of those before what the session may still come back to."""
        found = (self._names.refresh(digest) for digest in digests if self._names.knows_refresh(digest))
        return tuple(digest for digest in found if digest is not None)

    def _last_attempt(self, tokens: TokenState) -> Instant | None:
        """Counts for the floor, and from the begin of a flight for the server's grace."""
        last = tokens.last_attempt
        if last is None:
            return None
        ceiling = max(POLICY.refresh_floor_ms, POLICY.grace_ms)
        age = self._clock.age(last.mono_ms, ceiling)
        if age == ceiling and isinstance(tokens.phase, Idle):
            return None
        return Instant(NOW.wall_ms - age, NOW.mono_ms - age)

    def _record(self, record: Credentials) -> Credentials:
        """Intent and refusal are looked at when a record arrives, and in no record that is held."""
        pair = record.tokens
        return evolve(
            record,
            tokens=None if pair is None else self._names.pair(pair),
            generation=record.generation - self._lowered,
            intent=None,
            refused=None,
        )

    def _flight(self, flight: Flight) -> Flight:
        return evolve(
            flight,
            tokens=self._names.pair(flight.tokens),
            generation=flight.generation - self._lowered,
            callers=tuple(sorted(self._commands.get(command, 0) for command in flight.callers)),
        )

    def _phase(self, phase: TokenPhase) -> TokenPhase:
        match phase:
            case Idle():
                return phase
            case Recording():
                intent = phase.intent
                return evolve(
                    phase,
                    flight=self._flight(phase.flight),
                    operation=self._operations[phase.operation],
                    intent=evolve(
                        intent,
                        refresh_digest=self._names.pair(phase.flight.tokens).refresh.digest,  # type: ignore[union-attr]
                        generation=intent.generation - self._lowered,
                        wall_ms=NOW.wall_ms,
                    ),
                )
            case Requesting():
                return evolve(phase, flight=self._flight(phase.flight), request=1)
            case Saving():
                return evolve(
                    phase,
                    flight=self._flight(phase.flight),
                    held=self._record(phase.held),
                    replaces=None if phase.replaces is None else phase.replaces - self._lowered,
                    operation=None if phase.operation is None else self._operations[phase.operation],
                    failures=min(phase.failures, ENOUGH),
                    retry_at=self._clock.due(phase.retry_at),
                )
            case Rereading():
                operation = self._operations[phase.operation]
                return evolve(phase, flight=self._flight(phase.flight), operation=operation, text="")
            case LoggingOut():
                return evolve(
                    phase,
                    flight=self._flight(phase.flight),
                    operation=self._operations[phase.operation],
                    text="",
                    replaces=phase.replaces - self._lowered,
                )

    def history(self, history: History, request: int | None) -> History:
        """Of what is spent or unsaved only what the session may still come back to; the rest is checked outside."""
        began = history.flight_began
        refreshes = {1 if number == request else 100 + number for number in history.refreshes}
        spent = {self._names.refresh(digest) for digest in history.spent if self._names.knows_refresh(digest)}
        return History(
            refreshes=frozenset(refreshes),
            unsaved=tuple(
                (self._operations[operation], None if pair is None else self._names.pair(pair))
                for operation, pair in history.unsaved
                if operation in self._operations
            ),
            spent=frozenset(digest for digest in spent if digest is not None),
            open_commands=frozenset(range(1, len(history.open_commands) + 1)),
            flight_began=None
            if began is None or self._clock.age(began, POLICY.refresh_floor_ms) == POLICY.refresh_floor_ms
            else self._clock.since(began, POLICY.refresh_floor_ms),
            ended=history.ended,
            logged_out=history.logged_out,
        )


# --- the socket ----------------------------------------------------------------------------------------------------


def _link(link: LinkState, names: Names, clock: Clock) -> LinkState:
    policy = POLICY
    evicted = (
        link.takeovers > 0 and clock.age(link.taken_over_at, policy.takeover_window_ms) < policy.takeover_window_ms
    )
    paused = link.paused_since
    return LinkState(
        phase=_link_phase(link.phase, names, clock),
        attempts=min(link.attempts, ENOUGH),
        takeovers=min(link.takeovers, ENOUGH) if evicted else 0,
        taken_over_at=clock.since(link.taken_over_at, policy.takeover_window_ms) if evicted else 0,
        device_id=link.device_id,
        paused_since=None if paused is None else clock.since(paused, policy.receiver_stall_ms),
        overrun=link.overrun,
        frames_rejected=0,  # for display
    )


def _link_phase(phase: LinkPhase, names: Names, clock: Clock) -> LinkPhase:
    policy = POLICY
    match phase:
        case Unstarted() | Ended():
            return phase
        case Down(not_before=not_before, floor=floor):
            return Down(clock.ahead(not_before), clock.ahead(floor))
        case Opening():
            return Opening(1, _required(clock.due, phase.deadline))
        case Waiting():
            return Waiting(1, _required(clock.due, phase.deadline))
        case Greeting():
            presented = names.access(phase.presented)
            assert presented is not None
            return Greeting(1, _required(clock.due, phase.deadline), "c-0", presented)
        case Online():
            pinged = phase.pinged_at
            return Online(
                1,
                since=clock.since(phase.since, max(policy.stable_after_ms, policy.receiver_stall_ms)),
                heard_at=clock.since(phase.heard_at, policy.ping_after_ms),
                pinged_at=None if pinged is None else clock.since(pinged, policy.pong_timeout_ms),
            )
        case Closing():
            after = phase.not_before
            return evolve(
                phase,
                generation=1,
                deadline=_required(clock.due, phase.deadline),
                not_before=None if after is None else max(clock.ahead(after), 1),  # 0 would count as None
                reason="",
            )


def _required(due: Callable[[int | None], int | None], mono_ms: int) -> int:
    moved = due(mono_ms)
    assert moved is not None
    return moved


def _inbox(inbox: InboxState, link: LinkState, clock: Clock) -> InboxState:
    """Nothing is delivered in these worlds; the inbox only knows of the socket, and waits for the end of the replay."""
    stream = inbox.stream
    return InboxState(
        stream=None
        if stream is None
        else Stream(1 if isinstance(link.phase, Online | Closing) else 0, stream.delivery),
        repeat_due=clock.due(inbox.repeat_due),
        replay_until=clock.due(inbox.replay_until),
    )
