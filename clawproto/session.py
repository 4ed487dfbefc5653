"""The session: one state, one function that takes it from event to event, and a thin object around both.

Rules: EVT-4 to EVT-6, HS-9, HS-21, R2-7, R2-35, REF-26, REF-28, REF-32, REF-42, OUT-7, OUT-11, TOK-12.

    event --> the machine that it concerns --> signals to the others --> whatever is due --> effects
              tokens, link, inbox, outbox, rest, pairing,                (advance)
              typing, signals, streams, drafts, history
"""

from typing import Final, assert_never

from clawproto import (
    connection,
    deadlines,
    drafts,
    history,
    inbox,
    indicator,
    link,
    outbox,
    outbox_answers,
    outbox_keeping,
    pairing,
    rest,
    signals,
    streams,
    tokens,
    tokens_answers,
)
from clawproto.carrying_out import carry_out
from clawproto.config import Config
from clawproto.credentials import Credentials, Guard
from clawproto.downlink import receive
from clawproto.effects import Effect
from clawproto.errors import Misuse
from clawproto.events import (
    Closed,
    CredentialsLoaded,
    Event,
    FrameReceived,
    HttpAnswered,
    HttpFailed,
    KeepFailed,
    Kept,
    Opened,
    OpenFailed,
    ReceiverPaused,
    ReceiverResumed,
    Reloaded,
    Send,
    Settle,
    SetTyping,
    Start,
    Stop,
    StoreConflicted,
    Stored,
    StoreFailed,
    Tick,
)
from clawproto.evolving import evolve
from clawproto.instant import Instant
from clawproto.link import CODE_TOO_LARGE
from clawproto.link_state import Down, Ended, generation, is_online
from clawproto.results import LoggedOutResult, StoppedResult
from clawproto.state import State
from clawproto.timing import earliest
from clawproto.tokens_state import guard, is_in_flight, is_settled
from clawproto.traffic import Traffic
from clawproto.traffic_out import SendTraffic
from clawproto.turn import FlightEnded, LogoutBegun, LogoutEnded, Swapped, Turn


def step(state: State, event: Event, now: Instant) -> tuple[State, tuple[Effect, ...]]:
    """Take the session one event further.

    Returns:
        The new state, and what must be done, in this order.

    Raises:
        Misuse: the event makes no sense at this point (a second Start, anything before Start). The state is unchanged:
            it is a value. Nothing that a peer sends raises.
        AssertionError: the machines set each other off without end: a defect of this library. The state is unchanged.
    """
    _check(state, event)
    turn = Turn(state.config, state.counters, now)
    after = _dispatch(state, event, turn)
    if not turn.signals and not isinstance(event, Tick) and deadlines.is_traffic(state, after, turn):
        deadline = earliest(state.calm_until, deadlines.of_traffic(after, turn))
        if deadline is None or turn.mono < deadline:  # nothing has fallen due: there is no more to do
            if after.counters is not turn.counters or after.deadline != deadline:
                after = evolve(after, counters=turn.counters, deadline=deadline)
            return after, tuple(turn.effects)
    after = _advance(_settle_signals(after, turn), turn)
    calm = deadlines.of_others(after, turn)
    deadline = earliest(calm, deadlines.of_traffic(after, turn))
    if after.counters is not turn.counters or after.deadline != deadline or after.calm_until != calm:
        after = evolve(after, counters=turn.counters, deadline=deadline, calm_until=calm)
    return after, tuple(turn.effects)


def _check(state: State, event: Event) -> None:
    if isinstance(event, Start):
        if state.started:
            raise Misuse("the session was started before")
    elif not state.started:
        raise Misuse(f"{type(event).__name__} before Start")


def _dispatch(state: State, event: Event, turn: Turn) -> State:
    match event:
        case FrameReceived():
            return receive(state, event, turn)
        case Tick():
            return state
        case Settle(delivery=delivery):
            return evolve(state, inbox=inbox.settle(state.inbox, delivery, turn))
        case Start():
            return _start(state, event, turn)
        case Stop():
            return _stop(state, turn)
        case CredentialsLoaded():
            return _load(state, event, turn)
        case ReceiverPaused():
            return evolve(state, link=link.paused(state.link, turn))
        case ReceiverResumed():
            return evolve(state, link=link.resumed(state.link, turn))
        case Opened():
            return evolve(state, link=link.opened(state.link, event, turn))
        case OpenFailed():
            return evolve(state, link=link.open_failed(state.link, event, turn))
        case Closed():
            return _closed(state, event, turn)
        case Kept() | KeepFailed():
            online, over = connection.online_generation(state), state.tokens.stopped
            return evolve(state, outbox=outbox.keep_report(state.outbox, event, online, turn, is_stopped=over))
        case HttpAnswered() | HttpFailed():
            return _http_report(state, event, turn)
        case Stored() | StoreConflicted() | StoreFailed() | Reloaded():
            changed, paired = pairing.store_report(state.pairing, event, turn)
            after = evolve(state, pairing=changed, tokens=tokens_answers.store_report(state.tokens, event, turn))
            state = connection.under_user(after, state.tokens.credentials, turn)  # another process may have paired it
            return state if paired is None else _load(state, CredentialsLoaded(paired), turn, paired=True)
        case _:
            return carry_out(state, event, turn)


# --- commands ------------------------------------------------------------------------------------------------------


def _start(state: State, event: Start, turn: Turn) -> State:
    begun, sending = tokens.start(state.tokens, event, turn), outbox.restore(state.outbox, event, turn)
    if begun.status == "logged-out":  # the process ended before the store had been told
        sending = outbox.logged_out(sending, turn)
    return evolve(state, started=True, tokens=begun, link=link.start(state.link, turn), outbox=sending)


def _load(state: State, event: CredentialsLoaded, turn: Turn, *, paired: bool = False) -> State:
    """Credentials from outside (OUT-8). The live socket of another identity, or of before a pairing, is changed."""
    known = state.tokens.credentials
    state = evolve(state, tokens=tokens.credentials_loaded(state.tokens, event, turn))
    loaded = state.tokens.credentials
    other = known is not None and loaded is not None and known.identity != loaded.identity
    if not (paired or other):
        return state
    state = connection.under_user(connection.renew(state, turn), known, turn)
    return evolve(state, link=link.other_identity(state.link))


def _stop(state: State, turn: Turn) -> State:
    state = connection.flush(connection.end_activities(state, turn), turn)
    history.end_reset(state.reset, StoppedResult(), turn)
    return evolve(
        state,
        tokens=tokens.stop(state.tokens),
        link=link.stop(state.link, turn),
        outbox=outbox.stopped(state.outbox, turn),
        rest=rest.end_all(state.rest, StoppedResult(), turn),
        pairing=pairing.stop(state.pairing, turn),
        reset=None,
    )


# --- reports -------------------------------------------------------------------------------------------------------


def _closed(state: State, event: Closed, turn: Turn) -> State:
    if event.generation != generation(state.link):
        return state
    if event.code == CODE_TOO_LARGE:
        state = evolve(state, outbox=outbox_answers.frame_too_large(state.outbox, event.generation, turn))
    asked_for = is_online(state.link) and history.is_confirmation(state.reset, event.generation, event.code)
    if asked_for:
        state = connection.reset_confirmed(state, turn)
    return evolve(state, link=link.closed(state.link, event, turn, asked_for=asked_for))


def _http_report(state: State, event: HttpAnswered | HttpFailed, turn: Turn) -> State:
    calls, verdict = rest.http_report(state.rest, event, state.tokens, turn)
    if verdict == "refresh":
        state = evolve(state, rest=calls, tokens=tokens.request(state.tokens, "caller", None, turn))
        return state if is_in_flight(state.tokens) else evolve(state, rest=rest.give_up_waiting(calls, turn))
    if verdict is not None:
        return evolve(state, rest=calls)
    return evolve(
        state,
        tokens=tokens_answers.http_report(state.tokens, event, turn),
        pairing=pairing.http_report(state.pairing, event, state.tokens.credentials, turn),
    )


# --- signals -------------------------------------------------------------------------------------------------------


def _settle_signals(state: State, turn: Turn) -> State:
    """Tell the other machines what one of them has found out; they may find out more."""
    while turn.signals:
        signal = turn.signals.pop(0)
        match signal:
            case Swapped(trigger=trigger):
                state = _swapped(state, trigger, turn)
            case FlightEnded():
                state = evolve(state, rest=rest.give_up_waiting(state.rest, turn))
            case LogoutBegun():
                state = connection.close(connection.end_activities(state, turn), "logged out", turn)
            case LogoutEnded():
                history.end_reset(state.reset, LoggedOutResult(), turn)
                state = evolve(
                    state,
                    reset=None,
                    outbox=outbox.logged_out(state.outbox, turn),
                    rest=rest.end_all(state.rest, LoggedOutResult(), turn),
                )
            case _:
                assert_never(signal)
    return state


def _swapped(state: State, trigger: str | None, turn: Turn) -> State:
    """Another token is in force. A live socket is changed only where the session itself asked for the rotation
    (REF-26); one that REST asked for leaves it alone (REF-28). After a stop nothing is opened (REF-32)."""
    if state.tokens.stopped:
        return state
    state = evolve(state, rest=rest.token_swapped(state.rest, state.tokens, turn), link=link.hurry(state.link, turn))
    return connection.renew(state, turn) if trigger not in (None, "caller") else state


# --- what is due ---------------------------------------------------------------------------------------------------


def _advance(state: State, turn: Turn) -> State:
    """Let every machine do what has fallen due, tokens first: they decide whether a socket may be opened. Repeated
    until nothing changes, so that no deadline is left behind."""
    for _ in range(_ROUNDS):
        before = state
        advanced = tokens.advance(state.tokens, turn)
        if advanced is not state.tokens:
            state = _settle_signals(evolve(state, tokens=advanced), turn)
        trouble = link.trouble(state.link, turn)
        if trouble is not None:
            state = connection.give_up(evolve(state, link=trouble.link), trouble.reason, turn, code=trouble.code)
        moved = link.advance(state.link, state.tokens, turn)
        if moved is not state.link:
            state = evolve(state, link=moved)
        if state.tokens.stopped and isinstance(state.link.phase, Down):
            state = evolve(state, link=evolve(state.link, phase=Ended()))
        state = connection.follow(state, turn)
        acked = inbox.advance(state.inbox, turn)
        if acked is not state.inbox:
            state = evolve(state, inbox=acked)
        sent = outbox.advance(state.outbox, connection.online_generation(state), turn)
        if sent is not state.outbox:
            state = evolve(state, outbox=sent)
        state = _advance_activities(state, turn)
        redeemed = pairing.advance(state.pairing, turn)
        if redeemed is not state.pairing:
            state = evolve(state, pairing=redeemed)
        if state is before:
            return state
    phases = type(state.tokens.phase).__name__, type(state.link.phase).__name__
    raise AssertionError(f"the machines do not come to rest in {' and '.join(phases)}: a defect of clawproto")


def _advance_activities(state: State, turn: Turn) -> State:
    """Typing, signals, streams: most of the time there is nothing of the kind."""
    online, way = connection.online_generation(state), state.outbox.gates
    if state.typing and (shown := indicator.advance(state.typing, way, online, turn)) is not state.typing:
        state = evolve(state, typing=shown)
    if (noted := signals.advance(state.signals, state.tokens.offset, way, online, turn)) is not state.signals:
        state = evolve(state, signals=noted)
    if (followed := streams.advance(state.streams, turn)) is not state.streams:
        state = evolve(state, streams=followed)
    if len(state.drafts) and (written := drafts.advance(state.drafts, way, online, turn)) is not state.drafts:
        state = evolve(state, drafts=written)
    if (reset := history.advance(state.reset, turn)) is not state.reset:
        state = evolve(state, reset=reset)
    return state


def is_finished(state: State) -> bool:
    """Whether the session was stopped, its socket is closed, and nothing is on its way to server or store."""
    stored = is_settled(state.tokens) and state.pairing is None and outbox_keeping.is_idle(state.outbox.keeping)
    return isinstance(state.link.phase, Ended) and stored


_ROUNDS: Final = 20  # two were enough wherever we looked; a mistake shall end the step, not hold up every session
_TRAFFIC = (FrameReceived, Settle, Send, SetTyping, Tick)


class Session:
    """A session as an object, for those who embed the core: it keeps the state and hands out the effects.

        session = Session(Config(seed=seed))
        effects = session.handle(Start(credentials), now)

    Carry out the effects in their order, report back what they bring, and hand in a `Tick` when `next_deadline`
    has come.
    """

    def __init__(self, config: Config) -> None:
        self._state = State(config)
        self._traffic: Traffic | None = None
        self._sends: SendTraffic | None = None

    @classmethod
    def of(cls, state: State) -> "Session":
        """A session that goes on from ``state``, which stays as it is."""
        session = cls(state.config)
        session._state = state
        return session

    def handle(self, event: Event, now: Instant) -> tuple[Effect, ...]:
        """One step; see `step`."""
        traffic = self._traffic
        if traffic is None and isinstance(event, _TRAFFIC):
            traffic = self._traffic = Traffic.begin(self._state, self._sends)
        if traffic is not None:
            effects = traffic.handle(event, now)
            if effects is not None:
                return effects
        self._state, effects = step(self.state, event, now)
        return effects

    @property
    def state(self) -> State:
        """The whole state, a hashable value."""
        if self._traffic is not None:
            self._state, self._sends, self._traffic = self._traffic.state(), self._traffic.sends, None
        return self._state

    def next_deadline(self) -> int | None:
        """When to hand in a `Tick` at the latest: monotonic milliseconds, None for never."""
        return self._state.deadline if self._traffic is None else self._traffic.deadline

    @property
    def is_ready(self) -> bool:
        """Whether ``hello-ok`` has arrived on the current socket."""
        return is_online(self._state.link)

    @property
    def is_finished(self) -> bool:
        """Whether the session was stopped, its socket is closed, and nothing is on its way to server or store."""
        return is_finished(self._state)

    @property
    def credentials(self) -> Credentials | None:
        """Identity and pair in force; the pair is None after a logout."""
        return self._state.tokens.credentials

    @property
    def guard(self) -> Guard:
        """What the next session of this agent should be started with (REF-33)."""
        return guard(self._state.tokens)
