"""The session under exploration: the real ``step``, folded into a finite automaton that grows where it is walked.

A node is a canonical state; a move is one event of `clawproto.testing.explore.vocabulary`, in which tokens, numbers and
times are those of the node. What a move leads to is worked out once, with the invariants, and remembered. An
environment with millions of states asks for the same few thousand moves.
"""

from collections.abc import Iterable
from typing import Any, Final

from attrs import field, mutable

from clawproto.config import Capabilities, Config
from clawproto.deferred import frozen
from clawproto.effects import (
    Abort,
    Effect,
    Open,
)
from clawproto.events import (
    Closed,
    Event,
    Start,
    Tick,
)
from clawproto.evolving import evolve
from clawproto.inbox_state import InboxState
from clawproto.instant import Instant
from clawproto.link_state import Greeting, LinkState, Online, Unstarted
from clawproto.policy import SECOND_MS
from clawproto.session import is_finished, step
from clawproto.state import State
from clawproto.testing.explore.canonical import Node, canonical
from clawproto.testing.explore.pool import (
    NOW,
    POLICY,
    Age,
    by_access,
)
from clawproto.testing.explore.totality import Stepper, Violation, require_same, try_everything
from clawproto.testing.explore.vocabulary import Move, credentials_of, describe, event_of, frame, name_of
from clawproto.testing.invariants import History, check
from clawproto.tokens_state import Idle, Requesting, Saving, current_tokens, floor_end, guard, is_rejected, may_open

LATE_MS: Final = 1_000 * SECOND_MS


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
        outcomes: of every move so far, by node, event, and ages of the pairs that came with it.
        checked: how many stale, misdirected and untimely events were tried (totality).
    """

    linked: bool
    stepper: Stepper = step
    total: bool = True
    views: list[View] = field(factory=list[View])
    edges: set[tuple[tuple[str, str], str, tuple[str, str]]] = field(factory=set[Any])
    steps: int = 0
    checked: int = 0
    _nodes: list[Node] = field(factory=list[Node])
    _numbers: dict[tuple[Any, ...], int] = field(factory=dict[Any, int])  # by all that is not the same in every node
    outcomes: dict[tuple[int, Move, tuple[Age, ...]], Outcome] = field(factory=dict[Any, Outcome])

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
        known = self.outcomes.get(key)
        if known is None:
            known = self.outcomes[key] = self._work_out(number, event, ages)
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
        self.edges.add(((old.phase, old.link), name_of(event), (view.phase, view.link)))
        operations = tuple(renaming.operations.get(one, 0) for one in range(1, old.operations + 1))
        described = tuple(describe(effect, renaming.operations) for effect in effects)
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
                after, history, effects = self._step(state, history, event_of(state, event, ages), NOW)
                return (
                    (*self._cut(after, history, effects), NOW)
                    if event[0] == "start"
                    else (after, history, effects, NOW)
                )

    def _step(
        self, state: State, history: History, event: Event, now: Instant
    ) -> tuple[State, History, tuple[Effect, ...]]:
        after, effects = self.stepper(state, event, now)
        require_same(after, (), *self.stepper(after, Tick(), now), "a step leaves something undone that was due")
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
        pair = current_tokens(state.tokens)
        assert pair is not None
        online = what == "lost"
        phase = (
            Online(1, NOW.mono_ms, NOW.mono_ms)
            if online
            else Greeting(1, NOW.mono_ms + 1_000, "c-0", pair.access.digest)
        )
        linked = evolve(state, link=LinkState(phase), connected=online)
        events: dict[str, Event] = {
            "ready": frame("hello-ok", {"device_id": "device-1"}),
            "rejected": frame("hello-fail", {"reason": "authentication failed"}),
            "unwell": frame("hello-fail", {"reason": "not now"}),
            "lost": Closed(1, 1006),
        }
        return self._cut(*self._step(linked, history, events[what], NOW))

    def _without_link(self, state: State) -> State:
        unlinked = evolve(state, link=LinkState(Unstarted()), inbox=InboxState(), connected=False)
        after, effects = self.stepper(unlinked, Tick(), NOW)  # for the deadline of the tokens alone
        assert not effects, "a Tick at once has nothing to do"
        return after


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
