"""The session under exploration: the real ``step``, folded into a finite automaton that grows where it is walked.

A node is a canonical state; a move is one event, given in the small vocabulary below, in which tokens, numbers and times
are those of the node. What a move leads to is worked out once, with the invariants, and remembered. An environment with
millions of states asks for the same few thousand moves.

Events::

    ("start", record, seconds)      begin with what the store holds, seconds after the last write to it
    ("restart", record)             a session that has ended begins again, with the guard of its earlier life
    ("refresh",)  ("stop",)  ("load", record)  ("pause",)  ("resume",)
    ("time",)                       until the next instant at which anything is different, with a Tick if that is due
    ("late",)                       the host slept, and wakes up late for everything
    ("age",)                        hours pass: the token in force is due
    ("http", answer)                rotated, rotated-due, refused, bad-request, internal, busy, garbage, unknown, unsent
    ("store", operation, answer)    stored, conflict, failed, reloaded
    ("opened",)  ("open-failed",)  ("frame", what)  ("closed", code)
    ("socket", what)                where the link is left out: ready, rejected, unwell, lost

A record is ``(generation, pair, intent, refused)`` with NONE for what is not there. Pairs that the node does not know
have the numbers above its own; their ages come along with the move.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from attrs import field, fields, frozen, mutable

from clawproto.app_events import AppEvent, LoggedOut
from clawproto.commands import Refresh
from clawproto.config import Capabilities, Config
from clawproto.credentials import Credentials, Intent
from clawproto.effects import (
    Abort,
    Close,
    Effect,
    Emit,
    Logout,
    Open,
    Persist,
    Reconnect,
    RecordIntent,
    Reload,
    RequestRefresh,
    Resolve,
    SendFrame,
    Swap,
)
from clawproto.errors import Misuse
from clawproto.events import (
    Closed,
    CredentialsLoaded,
    Event,
    FrameReceived,
    HttpAnswered,
    HttpFailed,
    Opened,
    OpenFailed,
    ReceiverPaused,
    ReceiverResumed,
    Reloaded,
    Start,
    Stop,
    StoreConflicted,
    Stored,
    StoreFailed,
    Tick,
)
from clawproto.evolving import evolve
from clawproto.http import HttpAnswer
from clawproto.inbox_state import InboxState
from clawproto.instant import Instant
from clawproto.link_state import Greeting, LinkState, Online, Unstarted
from clawproto.policy import SECOND_MS
from clawproto.session import is_finished, step
from clawproto.state import State
from clawproto.testing.explore.canonical import GENERATION, Node, canonical
from clawproto.testing.explore.pool import (
    ACCESS,
    DATE,
    IDENTITY,
    NOW,
    PAIRS,
    POLICY,
    REFRESH,
    Age,
    by_access,
    by_refresh,
)
from clawproto.testing.invariants import History, check
from clawproto.tokens_state import Idle, Requesting, Saving, floor_end, guard, is_rejected, may_open

NONE: Final = -1
Record: TypeAlias = tuple[int, int, int, int]
Move: TypeAlias = tuple[Any, ...]  # one of the events above
LATE_MS: Final = 1_000 * SECOND_MS


class Violation(Exception):
    """The session did what it must not. The message says what."""


@frozen(eq=False)
class View:
    """What the environment may know of a node.

    Attributes:
        ages: of the pairs that it refers to.
        phase: of the token machine.
        status: of the token machine.
        link: phase of the link machine.
        operations: how many store operations it waits for.
        waits: for the answer to a refresh.
        commands: how many are open.
        deadline: it has one.
        may_open: a socket would be opened now.
        settled: nothing is on its way, and the token is usable and not rejected, or credentials are needed.
        finished: stopped, and nothing left to do.
        online, overrun, paused: of the link.
        armed: the proactive timer runs.
        whole: the pairs that it could still use, not only tell apart.
    """

    ages: tuple[Age, ...]
    phase: str
    status: str
    link: str
    operations: int
    waits: bool
    commands: int
    deadline: bool
    started: bool
    stopped: bool
    may_open: bool
    settled: bool
    finished: bool
    paused: bool
    overrun: bool
    armed: bool
    whole: tuple[int, ...]


@frozen(eq=False)
class Outcome:
    """Where a move leads.

    Attributes:
        node: number.
        pairs: the pairs of that node, by their numbers in the old one.
        operations: new numbers of the operations 1… of the old node; 0 for those that it waits for no longer.
        generation: by how much generations count from another record now.
        kept: the request that was waited for still is.
        effects: in order, with pairs and generations as in the old node, operations as in the new one.
    """

    node: int
    pairs: tuple[int, ...]
    operations: tuple[int, ...]
    generation: int
    kept: bool
    effects: tuple[tuple[Any, ...], ...]


@mutable(eq=False)
class Client:
    """The automaton.

    Args:
        linked: the link machine takes part; else only what it tells the tokens does.
        stepper: the function under test; another one may be given to see that defects are found.

    Attributes:
        views: by node.
        edges: (phases before, event, phases after) of every move, for the diagrams.
        steps: how often ``step`` was called for moves.
        checked: how many stale, misdirected and untimely events were tried (totality).
    """

    linked: bool
    stepper: Callable[[State, Event, Instant], tuple[State, tuple[Effect, ...]]] = step
    total: bool = True
    views: list[View] = field(factory=list[View])
    edges: set[tuple[tuple[str, str], str, tuple[str, str]]] = field(factory=set[Any])
    steps: int = 0
    checked: int = 0
    _nodes: list[Node] = field(factory=list[Node])
    _numbers: dict[tuple[Any, ...], int] = field(factory=dict[Any, int])  # by all that is not the same in every node
    _outcomes: dict[tuple[int, Move, tuple[Age, ...]], Outcome] = field(factory=dict[Any, Outcome])

    def __attrs_post_init__(self) -> None:
        config = Config(seed=bytes(16), policy=POLICY, capabilities=Capabilities())
        node, renaming = canonical(State(config), History(), NOW)
        self._number(node, renaming.ages)

    def node(self, number: int) -> Node:
        """The canonical state itself."""
        return self._nodes[number]

    def move(self, number: int, event: Move, ages: tuple[Age, ...] = ()) -> Outcome:
        """Take ``event`` in a node. ``ages`` are those of the pairs that come with it.

        Raises:
            Violation: an invariant is broken, or something was raised.
        """
        key = number, event, ages
        known = self._outcomes.get(key)
        if known is None:
            known = self._outcomes[key] = self._work_out(number, event, ages)
        return known

    def _number(self, node: Node, ages: tuple[Age, ...]) -> int:
        state = node.state
        key = state.tokens, state.link, state.inbox, state.deadline, state.calm_until, state.connected, node.history
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._nodes)
            self._nodes.append(node)
            self.views.append(_view(node, ages))
            if self.total:
                self.checked += try_everything(node, self.stepper)
        return number

    def _work_out(self, number: int, event: Move, ages: tuple[Age, ...]) -> Outcome:
        node = self._nodes[number]
        before, history = node.state, node.history
        known = self.views[number].ages + ages
        self.steps += 1
        try:
            after, history, effects, now = self._take(before, history, event, known)
        except Violation:
            raise
        except AssertionError as error:
            raise Violation(str(error) or "an assertion of the core failed") from error
        except Exception as error:
            raise Violation(f"{type(error).__name__} was raised: {error}") from error
        reached, renaming = canonical(after, history, now, hours=event[0] == "age")
        new = self._number(reached, renaming.ages)
        old, view = self.views[number], self.views[new]
        self.edges.add(((old.phase, old.link), _name(event), (view.phase, view.link)))
        operations = tuple(renaming.operations.get(one, 0) for one in range(1, old.operations + 1))
        described = tuple(_describe(effect, renaming.operations) for effect in effects)
        return Outcome(
            new,
            renaming.pairs,
            operations,
            renaming.generation if after.tokens.credentials is not None else 0,
            old.waits and renaming.request == 1,
            tuple(one for one in described if one is not None),
        )

    def _take(
        self, state: State, history: History, event: Move, ages: tuple[Age, ...]
    ) -> tuple[State, History, tuple[Effect, ...], Instant]:
        match event[0]:
            case "time":
                return self._let_time_pass(state, history)
            case "late":
                now = Instant(NOW.wall_ms + LATE_MS, NOW.mono_ms + LATE_MS)
                return (*self._step(state, history, Tick(), now), now)
            case "age":
                return state, history, (), NOW
            case "socket":
                return (*self._socket(state, history, event[1]), NOW)
            case "restart":
                again = Start(None if event[1] is None else credentials_of(event[1], ages), guard(state.tokens))
                after, history, effects = self._step(State(state.config), History(), again, NOW)
                return (*self._cut(after, history, effects), NOW)
            case _:
                after, history, effects = self._step(state, history, _event(state, event, ages), NOW)
                return (
                    (*self._cut(after, history, effects), NOW)
                    if event[0] == "start"
                    else (after, history, effects, NOW)
                )

    def _step(
        self, state: State, history: History, event: Event, now: Instant
    ) -> tuple[State, History, tuple[Effect, ...]]:
        after, effects = self.stepper(state, event, now)
        _same(after, (), *self.stepper(after, Tick(), now), "a step leaves something undone that was due")
        return after, check(history, state, event, now, effects, after, liveness=False), effects

    def _let_time_pass(self, state: State, history: History) -> tuple[State, History, tuple[Effect, ...], Instant]:
        """To the next instant at which something is due, or at which the answer to some event would be another."""
        passed = min(until for until in thresholds(state) if until > 0)
        now = Instant(NOW.wall_ms + passed, NOW.mono_ms + passed)
        if state.deadline is not None and state.deadline <= now.mono_ms:
            return (*self._step(state, history, Tick(), now), now)
        return state, history, (), now

    def _cut(
        self, state: State, history: History, effects: tuple[Effect, ...]
    ) -> tuple[State, History, tuple[Effect, ...]]:
        """Leave the link out, unless it takes part."""
        if self.linked:
            return state, history, effects
        return self._without_link(state), history, tuple(e for e in effects if not isinstance(e, Open | Abort))

    # --- the link left out: it comes and goes as it likes, within what the tokens permit

    def _socket(self, state: State, history: History, what: str) -> tuple[State, History, tuple[Effect, ...]]:
        digest = state.tokens.credentials.tokens.access.digest  # type: ignore[union-attr]
        online = what == "lost"
        phase = Online(1, NOW.mono_ms, NOW.mono_ms) if online else Greeting(1, NOW.mono_ms + 1_000, "c-0", digest)
        linked = evolve(state, link=LinkState(phase), connected=online)
        events = {
            "ready": _frame("hello-ok", {"device_id": "device-1"}),
            "rejected": _frame("hello-fail", {"reason": "authentication failed"}),
            "unwell": _frame("hello-fail", {"reason": "not now"}),
            "lost": Closed(1, 1006),
        }
        return self._cut(*self._step(linked, history, events[what], NOW))

    def _without_link(self, state: State) -> State:
        unlinked = evolve(state, link=LinkState(Unstarted()), inbox=InboxState(), connected=False)
        after, effects = self.stepper(unlinked, Tick(), NOW)  # for the deadline of the tokens alone
        assert not effects, "a Tick at once has nothing to do"
        return after


# --- events --------------------------------------------------------------------------------------------------------


def _frame(event: str, payload: dict[str, Any]) -> FrameReceived:
    frame = {"version": "2", "event": event, "trace_id": "", "emitted_at": NOW.wall_ms, "payload": payload}
    return FrameReceived(1, json.dumps(frame))


FRAMES: Final = {
    "challenge": _frame("connect.challenge", {"nonce": "nonce-nonce-nonce-nonce1"}),
    "ready": _frame("hello-ok", {"device_id": "device-1", "delivery_mode": "device_replay"}),
    "rejected": _frame("hello-fail", {"reason": "authentication failed"}),
    "outage": _frame("hello-fail", {"reason": "auth service unavailable, try later"}),
    "unwell": _frame("hello-fail", {"reason": "not now"}),
    "pong": _frame("pong", {}),
    "garbage": FrameReceived(1, "{"),
}


def _json_answer(code: int, data: dict[str, str] | None = None) -> HttpAnswer:
    body = {"code": code, "msg": "", "data": data or {}}
    return HttpAnswer(200, (("date", DATE),), json.dumps(body).encode())


def credentials_of(record: Record, ages: tuple[Age, ...], seconds: int = 0) -> Credentials:
    """The record of a store, as a session gets it. ``seconds``: age of its intent."""
    generation, pair, intent, refused = record
    return Credentials(
        IDENTITY,
        None if pair == NONE else PAIRS[pair, ages[pair]],
        GENERATION + generation,
        None
        if intent == NONE
        else Intent(REFRESH[intent].digest, GENERATION + generation, NOW.wall_ms - seconds * SECOND_MS),
        None if refused == NONE else ACCESS[refused, ages[refused]].digest,
    )


def _event(state: State, move: Move, ages: tuple[Age, ...]) -> Event:
    match move:
        case ("start", record, seconds):
            return Start(None if record is None else credentials_of(record, ages, seconds))
        case ("load", record):
            return CredentialsLoaded(credentials_of(record, ages))
        case ("refresh",):
            return Refresh(1_000)
        case ("stop",):
            return Stop()
        case ("pause",):
            return ReceiverPaused()
        case ("resume",):
            return ReceiverResumed()
        case ("http", answer):
            return _http(answer, ages)
        case ("store", operation, answer):
            return _store_report(operation, answer, ages)
        case ("opened",):
            return Opened(1)
        case ("open-failed",):
            return OpenFailed(1, "unreachable")
        case ("closed", code):
            return Closed(1, code, "retry_after_ms=2000" if code == 4002 else "")
        case ("frame", what):
            return FRAMES[what]
        case _:
            raise ValueError(f"{move} is no event")


def _http(answer: tuple[Any, ...], ages: tuple[Age, ...]) -> Event:
    match answer:
        case ("rotated", pair):
            tokens = PAIRS[pair, ages[pair]]
            assert tokens.refresh is not None
            data = {"access_token": tokens.access.reveal(), "refresh_token": tokens.refresh.reveal()}
            return HttpAnswered(1, _json_answer(0, data))
        case ("refused",):
            return HttpAnswered(1, _json_answer(10003))
        case ("bad-request",):
            return HttpAnswered(1, _json_answer(400))
        case ("internal",):
            return HttpAnswered(1, _json_answer(1))
        case ("busy",):
            return HttpAnswered(1, HttpAnswer(429, (("retry-after", "6"),), b""))
        case ("garbage",):
            return HttpAnswered(1, HttpAnswer(502, (), b"<html>"))
        case ("unknown",):
            return HttpFailed(1, True, "connection reset")
        case ("unsent",):
            return HttpFailed(1, False, "name not found")
        case _:
            raise ValueError(f"{answer} is no answer")


def _store_report(operation: int, answer: tuple[Any, ...], ages: tuple[Age, ...]) -> Event:
    match answer:
        case ("stored", generation):
            return Stored(operation, GENERATION + generation)
        case ("conflict", record):
            return StoreConflicted(operation, None if record is None else credentials_of(record, ages))
        case ("reloaded", record):
            return Reloaded(operation, None if record is None else credentials_of(record, ages))
        case ("failed",):
            return StoreFailed(operation, "disk full")
        case _:
            raise ValueError(f"{answer} is no answer")


def _name(move: Move) -> str:
    """How the diagrams call an event."""
    match move:
        case ("http", answer) | ("store", _, answer):
            return f"{move[0]} {answer[0]}"
        case ("frame" | "closed" | "socket", what):
            return f"{move[0]} {what}"
        case _:
            return str(move[0])


# --- time ----------------------------------------------------------------------------------------------------------


def thresholds(state: State) -> Iterable[int]:
    """Milliseconds until each instant that some decision compares the clock with."""
    tokens, now = state.tokens, NOW.mono_ms
    instants = [tokens.backoff_until, tokens.not_before, tokens.hold_until, tokens.lost_until, state.deadline]
    if tokens.last_attempt is not None:
        instants.append(floor_end(tokens, POLICY))
        instants.append(tokens.last_attempt.mono_ms + POLICY.grace_ms)
    link = state.link
    if link.takeovers:
        instants.append(link.taken_over_at + POLICY.takeover_window_ms)
    if link.paused_since is not None:
        instants.append(link.paused_since + POLICY.receiver_stall_ms)
    phase = link.phase
    if isinstance(phase, Online):
        instants.append(phase.since + POLICY.stable_after_ms)
    for name in ("not_before", "floor"):
        instant = getattr(phase, name, None)
        if instant is not None:
            instants.append(instant)
    return [instant - now for instant in instants if instant is not None]


# --- totality ------------------------------------------------------------------------------------------------------

STALE: Final[tuple[Event, ...]] = (
    HttpAnswered(77, _json_answer(10003)),
    HttpFailed(77, True, "late"),
    Stored(77, GENERATION + 7),
    StoreConflicted(77, None),
    StoreFailed(77, "late"),
    Reloaded(77, None),
    Opened(77),
    OpenFailed(77, "late"),
    Closed(77, 4001),
    FrameReceived(77, "{"),
)


def try_everything(node: Node, stepper: Callable[[State, Event, Instant], tuple[State, tuple[Effect, ...]]]) -> int:
    """Reports with numbers that nobody waits for do what a Tick does, anywhere, and a second Start is refused.

    Returns:
        How many events were tried.

    Raises:
        Violation: something changed, or was raised.
    """
    state = node.state
    try:
        if not state.started:
            return _refuses(state, STALE, stepper)
        expected = stepper(state, Tick(), NOW)  # the wall clock may have made something due since the last step
        for event in STALE:
            after, effects = stepper(state, event, NOW)
            _same(
                after,
                effects,
                *expected,
                f"totality: {type(event).__name__}, which nobody waits for, changes something",
            )
        return len(STALE) + _refuses(state, (Start(),), stepper)
    except AssertionError as error:
        raise Violation(str(error) or "an assertion of the core failed") from error


def _same(state: State, effects: tuple[Effect, ...], after: State, expected: tuple[Effect, ...], problem: str) -> None:
    """Whether a step came to what a Tick leads to. It may look at the clock earlier than a Tick would, but not later."""
    late = after.deadline is not None and (state.deadline is None or state.deadline > after.deadline)
    if late or effects != expected:
        raise Violation(problem)
    for name in _TIMELESS:
        one, other = getattr(state, name), getattr(after, name)
        if one is not other and one != other:
            raise Violation(problem)


_TIMELESS: Final = tuple(one.name for one in fields(State) if one.name not in ("deadline", "calm_until"))


def _refuses(
    state: State,
    events: Iterable[Event],
    stepper: Callable[[State, Event, Instant], tuple[State, tuple[Effect, ...]]],
) -> int:
    tried = 0
    for event in events:
        tried += 1
        try:
            stepper(state, event, NOW)
        except Misuse:
            continue
        raise Violation(f"totality: {type(event).__name__} is not refused")
    return tried


# --- views and effects ---------------------------------------------------------------------------------------------


def _view(node: Node, ages: tuple[Age, ...]) -> View:
    state = node.state
    tokens, link = state.tokens, state.link
    usable = tokens.status == "usable" and not is_rejected(tokens) and not tokens.starting
    idle = isinstance(tokens.phase, Idle)
    return View(
        ages=ages,
        phase=_phase(state),
        status=tokens.status,
        link="" if not state.started else type(link.phase).__name__,
        operations=state.counters.operation,
        waits=isinstance(tokens.phase, Requesting),
        commands=len(node.history.open_commands),
        deadline=any(until > 0 for until in thresholds(state)),
        started=state.started,
        stopped=tokens.stopped,
        may_open=may_open(tokens),
        settled=state.started and idle and tokens.cleanup is None and (usable or tokens.status != "usable"),
        finished=is_finished(state),
        paused=link.paused_since is not None,
        overrun=link.overrun,
        armed=tokens.armed,
        whole=_whole(state),
    )


def _phase(state: State) -> str:
    """The phase of the token machine; where it does nothing, what it has."""
    tokens = state.tokens
    if not state.started:
        return ""
    if isinstance(tokens.phase, Idle) and tokens.status != "usable":
        return tokens.status
    return type(tokens.phase).__name__


def _whole(state: State) -> tuple[int, ...]:
    tokens = state.tokens
    phase, record = tokens.phase, tokens.credentials
    pairs = [None if record is None else record.tokens, None if isinstance(phase, Idle) else phase.flight.tokens]
    if isinstance(phase, Saving):
        pairs.append(phase.held.tokens)
    return tuple(by_access(pair.access.digest)[0] for pair in pairs if pair is not None)


def _describe(effect: Effect, operations: dict[int, int]) -> tuple[Any, ...] | None:
    match effect:
        case RecordIntent(operation=operation, intent=intent):
            number = operations.get(operation, 0)
            return "intent", number, by_refresh(intent.refresh_digest), intent.generation - GENERATION
        case RequestRefresh(http=http):
            token = json.loads(http.body or b"{}")["refresh_token"]
            return "request", int(token.removeprefix("refresh-"))
        case Persist(operation=operation, credentials=record, replaces=replaces):
            assert record.tokens is not None
            return (
                "persist",
                operations.get(operation, 0),
                by_access(record.tokens.access.digest)[0],
                record.generation - GENERATION,
                None if replaces is None else replaces - GENERATION,
            )
        case Logout(operation=operation, refused=refused, replaces=replaces):
            return "logout", operations.get(operation, 0), by_access(refused)[0], replaces - GENERATION
        case Reload(operation=operation):
            return "reload", operations.get(operation, 0)
        case Swap(tokens=tokens):
            return "swap", by_access(tokens.access.digest)[0]
        case Open() | Abort():
            return (type(effect).__name__.lower(),)
        case Close() | Reconnect():
            return type(effect).__name__.lower(), effect.reason
        case SendFrame(event=event):
            return "send", event
        case Resolve(result=result):
            return "resolve", type(result).__name__
        case Emit(event=event):
            return "tell", _told(event)
        case _:
            return None


def _told(event: AppEvent) -> str:
    return f"LoggedOut {event.cause}" if isinstance(event, LoggedOut) else type(event).__name__
