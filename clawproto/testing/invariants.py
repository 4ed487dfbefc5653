"""The invariants I1 to I14 as one function, to be called after every step of a session.

    history = History()
    after, effects = step(before, event, now)
    history = check(history, before, event, now, effects, after)

I1  one refresh in flight at most            I7  nothing goes out after logout or stop, but the closing
I2  no Swap before that pair is saved        I8  acks never pass what was handled, and carry this connection's epoch
I3  no request with a spent token            I9  every command resolves exactly once
I4  no socket with a rejected token, nor     I10 a retransmission keeps its message byte for byte
    while a refresh is in flight             I11 whenever something is awaited there is a deadline; after a Tick
I5  Logout only when the store has nothing       none is in the past
    newer                                    I12 with a healthy hub and disk every state leads to Ready, or to a
I6  the floor between flights                    logout (see `clawproto.testing.liveness`)
I13 a stream of ours adds up piece by piece, and ends at most once
I14 with a message store nothing is transmitted before it is kept, and one batch is under way at most
"""

import hashlib
import json
from typing import Any, cast

from attrs import evolve, field

from clawproto.credentials import TokenPair
from clawproto.deferred import frozen
from clawproto.effects import (
    Effect,
    Keep,
    Logout,
    Open,
    Persist,
    RecordIntent,
    RequestHttp,
    RequestRefresh,
    Resolve,
    SendFrame,
    Swap,
)
from clawproto.events import (
    AppendStream,
    CallRest,
    CredentialsLoaded,
    Event,
    FinishStream,
    HttpAnswered,
    HttpFailed,
    KeepFailed,
    Kept,
    OpenStream,
    Pair,
    React,
    Refresh,
    Reloaded,
    ResetCursor,
    Send,
    Start,
    Stop,
    StoreConflicted,
    Stored,
    StoreFailed,
    Tick,
    TransferHistory,
    WatchPresence,
)
from clawproto.http import HttpRequest
from clawproto.instant import Instant
from clawproto.keeping import KeptSend
from clawproto.link_state import Closing, Greeting, Online, Opening, Waiting
from clawproto.outbox_keeping import is_idle
from clawproto.rest_format import Refused, Rotated, classify_refresh
from clawproto.session import is_finished
from clawproto.state import State
from clawproto.testing.liveness import outcome_if_healthy
from clawproto.tokens_state import Idle, LoggingOut, Requesting, Rereading, Saving, is_in_flight, is_rejected


class InvariantBroken(AssertionError):
    """A step broke an invariant. The message names it; it never shows a token."""


@frozen
class History:
    """What the checks must remember between steps.

    Attributes:
        refreshes: refresh requests that have not been answered.
        unsaved: pairs handed to the store, by operation.
        spent: digests of refresh tokens that the server has rotated, or refused for good.
        rejected: digests of access tokens that hubs have refused.
        open_commands: given and not resolved.
        resolved: commands resolved so far.
        messages: digest of the payload by message id.
        streams: our streams by message id: text so far, number of pieces, whether it has ended.
        keeping: the batch that the message store has been given and has not answered.
        kept: trace ids of the sends that it has.
        flight_began: monotonic ms of the last flight's begin.
        ended: Stop has come.
        logged_out: a Logout is in force.
    """

    refreshes: frozenset[int] = frozenset()
    unsaved: tuple[tuple[int, TokenPair | None], ...] = ()
    spent: frozenset[str] = frozenset()
    rejected: frozenset[str] = frozenset()
    open_commands: frozenset[int] = frozenset()
    resolved: frozenset[int] = frozenset()
    messages: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    streams: tuple[tuple[str, tuple[str, int, bool]], ...] = field(default=(), repr=False)
    keeping: Keep | None = field(default=None, repr=False)
    kept: frozenset[str] = field(default=frozenset(), repr=False)
    flight_began: int | None = None
    ended: bool = False
    logged_out: bool = False


def check(
    history: History,
    before: State,
    event: Event,
    now: Instant,
    effects: tuple[Effect, ...],
    after: State,
    *,
    liveness: bool = True,
) -> History:
    """Check one step.

    Args:
        liveness: also run a healthy world forward from ``after`` (I12); some dozens of steps.

    Returns:
        The history to pass to the next call.

    Raises:
        InvariantBroken: with the number of the invariant.
    """
    hash(after)
    history = _note_event(history, before, event)
    _check_swaps(history, event, effects)
    for effect in effects:
        history = _check_effect(history, before, event, now, effect, after)
    _check_inbox(after)
    _check_deadline(event, now, after)
    _require(not (is_finished(after) and history.open_commands), "I9", "a finished session left commands open")
    if liveness and after.started and not after.tokens.stopped:
        outcome = outcome_if_healthy(after, now)
        _require(outcome is not None, "I12", "stuck although hub and disk are healthy")
    return history


def _require(condition: bool, number: str, text: str) -> None:
    if not condition:
        raise InvariantBroken(f"{number}: {text}")


def _note_event(history: History, before: State, event: Event) -> History:
    match event:
        case HttpAnswered() | HttpFailed():
            history = evolve(history, refreshes=history.refreshes - {event.request})
            phase = before.tokens.phase
            if isinstance(phase, Requesting) and phase.request == event.request and isinstance(event, HttpAnswered):
                verdict, spent = classify_refresh(event.answer), phase.flight.tokens.refresh
                if isinstance(verdict, Rotated | Refused) and spent is not None:
                    history = evolve(history, spent=history.spent | {spent.digest})
        case StoreFailed(operation=operation):
            phase = before.tokens.phase
            if (
                isinstance(phase, Rereading)
                and phase.operation == operation
                and phase.flight.tokens.refresh is not None
            ):
                # refused, but nobody could tell whether the store knew better: the question is asked again
                history = evolve(history, spent=history.spent - {phase.flight.tokens.refresh.digest})
        case Stop():
            history = evolve(history, ended=True)
        case (
            Refresh(command=command)
            | Send(command=command)
            | React(command=command)
            | CallRest(command=command)
            | Pair(command=command)
            | WatchPresence(command=command)
            | TransferHistory(command=command)
            | ResetCursor(command=command)
            | OpenStream(command=command)
            | AppendStream(command=command)
            | FinishStream(command=command)
        ):
            _require(command not in history.open_commands | history.resolved, "I9", f"the test reuses {command}")
            history = evolve(history, open_commands=history.open_commands | {command})
        case Kept(operation=operation) | KeepFailed(operation=operation):
            batch = history.keeping
            if batch is not None and batch.operation == operation:
                stored = batch.changes if isinstance(event, Kept) else ()
                added = {change.trace_id for change in stored if isinstance(change, KeptSend)}
                history = evolve(history, keeping=None, kept=history.kept | added)
        case Start(sends=sends):
            known = tuple((kept.message_id, _digest_of(json.loads(kept.payload))) for kept in sends)
            history = evolve(history, messages=known, kept=frozenset(kept.trace_id for kept in sends))
            history = evolve(history, logged_out=False)
        case CredentialsLoaded():
            history = evolve(history, logged_out=False)
        case _:
            pass
    return history


def _check_swaps(history: History, event: Event, effects: tuple[Effect, ...]) -> None:
    for effect in effects:
        if not isinstance(effect, Swap):
            continue
        match event:
            case Stored(operation=operation):
                saved = dict(history.unsaved).get(operation)
            case StoreConflicted(stored=stored) | Reloaded(credentials=stored):
                saved = None if stored is None else stored.tokens
            case _:
                saved = None
        _require(saved == effect.tokens, "I2", f"Swap on {type(event).__name__} of a pair that is not saved")


def _check_effect(history: History, before: State, event: Event, now: Instant, effect: Effect, after: State) -> History:
    match effect:
        case RecordIntent() if isinstance(before.tokens.phase, Idle):
            return _flight_begins(history, before, now)
        case RequestRefresh(request=request, http=http):
            if isinstance(before.tokens.phase, Idle):
                history = _flight_begins(history, before, now)
            history = evolve(history, refreshes=history.refreshes | {request})
            _require(len(history.refreshes) == 1, "I1", "two refreshes in flight")
            _require(_digest_of_refresh(http) not in history.spent, "I3", "a spent refresh token was sent")
        case Persist(operation=operation, credentials=credentials):
            history = evolve(history, unsaved=(*history.unsaved[-8:], (operation, credentials.tokens)))
        case Swap():
            history = evolve(history, logged_out=False)
        case Open():
            _require(not is_rejected(after.tokens), "I4", "a socket is opened with a rejected token")
            _require(not is_in_flight(after.tokens), "I4", "a socket is opened while a refresh is in flight")
            _require(not history.ended, "I7", "a socket is opened after Stop")
            history = evolve(history, logged_out=False)  # only credentials from outside lead here again
            _require(after.tokens.status == "usable", "I7", "a socket is opened after a logout")
        case Logout():
            _check_logout(before, event)
            return evolve(history, logged_out=True)
        case SendFrame():
            history = _check_frame(history, before, event, effect, after)
        case Keep():
            _require(history.keeping is None, "I14", "two batches are under way")
            history = evolve(history, keeping=effect)
        case RequestHttp(purpose="rest"):
            _require(not history.ended and after.tokens.status == "usable", "I7", "a REST call after the end")
        case Resolve(command=command):
            _require(command in history.open_commands, "I9", f"command {command} is resolved twice, or never given")
            history = evolve(
                history,
                open_commands=history.open_commands - {command},
                resolved=history.resolved | {command},
            )
        case _:
            pass
    return history


def _flight_begins(history: History, before: State, now: Instant) -> History:
    policy, began = before.config.policy, history.flight_began
    if began is not None and policy.refresh_floor_scope == "any":
        _require(now.mono_ms - began >= policy.refresh_floor_ms, "I6", "a flight begins within the floor")
    _require(not history.ended, "I7", "a flight begins after Stop")
    return evolve(history, flight_began=now.mono_ms)


def _digest_of_refresh(http: HttpRequest) -> str:
    token = json.loads(http.body or b"{}")["refresh_token"]
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _check_logout(before: State, event: Event) -> None:
    phase = before.tokens.phase
    if before.tokens.cleanup is not None and isinstance(phase, Idle):
        return  # the store is asked again to forget what it could not forget before
    if isinstance(phase, LoggingOut) and isinstance(event, StoreConflicted):  # the same pair under another number
        held = None if event.stored is None else event.stored.tokens
        same = held is not None and held.refresh == phase.flight.tokens.refresh
        _require(same, "I5", "the store held a newer pair")
        return
    _require(isinstance(phase, Rereading) and isinstance(event, Reloaded), "I5", "Logout without reading the store")
    assert isinstance(phase, Rereading) and isinstance(event, Reloaded)
    stored = None if event.credentials is None else event.credentials.tokens
    _require(stored is None or stored.refresh == phase.flight.tokens.refresh, "I5", "the store held a newer pair")


def _check_frame(history: History, before: State, event: Event, effect: SendFrame, after: State) -> History:
    frame = cast(dict[str, Any], json.loads(effect.text))
    payload = frame["payload"]
    closing = isinstance(after.link.phase, Closing) and not isinstance(before.link.phase, Closing)
    if history.ended and not isinstance(event, Stop):
        raise InvariantBroken("I7: a frame goes out after Stop")
    if history.logged_out and not closing:
        raise InvariantBroken("I7: a frame goes out after a logout")
    if effect.event == "connect":
        digest = hashlib.sha256(payload["token"].encode("utf-8", "surrogatepass")).hexdigest()[:32]
        _require(digest != before.tokens.rejected, "I4", "a rejected token is presented again")
        return history
    online = isinstance(before.link.phase, Online) or isinstance(after.link.phase, Online)
    _require(online, "I7", f"{effect.event} goes out without hello-ok")
    if effect.event == "message.sync_ack":
        stream = after.inbox.stream
        assert stream is not None
        _require(stream.epoch == payload["epoch"], "I8", "an ack carries a foreign epoch")
        _require(effect.generation == stream.generation, "I8", "an ack goes to another socket")
        _require(1 <= payload["dseq"] <= stream.mark, "I8", "an ack passes the mark")
    if effect.event in _STREAM:
        return _check_stream(history, effect.event, payload)
    if effect.event in ("message.send", "message.reply", "message.reaction") and before.config.keep_sends:
        _require(frame["trace_id"] in history.kept, "I14", f"{effect.event} goes out before it was kept")
    if effect.event in ("message.send", "message.reply"):
        digest = _digest_of(payload)
        known = dict(history.messages)
        before_digest = known.get(payload["message_id"])
        number = after.outbox.by_message.get(payload["message_id"])
        if before_digest is not None and number is not None and before.outbox.by_message.get(payload["message_id"]):
            _require(before_digest == digest, "I10", "a retransmission differs")
        history = evolve(history, messages=(*history.messages[-256:], (payload["message_id"], digest)))
    return history


def _digest_of(payload: object) -> str:
    return hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()


_STREAM = ("message.created", "message.add", "message.done", "message.failed")


def _check_stream(history: History, event: str, payload: dict[str, Any]) -> History:
    streams = dict(history.streams)
    message_id = payload["message_id"]
    known = streams.pop(message_id, None)
    if event == "message.created":
        _require(known is None or known[2], "I13", "a stream begins twice")
        return evolve(history, streams=(*streams.items(), (message_id, ("", 0, False))))
    _require(known is not None and not known[2], "I13", f"{event} outside of a stream")
    assert known is not None
    text, pieces, _ = known
    if event == "message.add":
        (part,) = payload["fragments"]
        _require(payload["sequence"] == pieces, "I13", "a piece has the wrong number (STREAM-4)")
        _require(text + part["delta"] == part["text"], "I13", "the pieces do not add up (STREAM-5)")
        known = part["text"], pieces + 1, False
    else:
        _require(all("delta" not in part for part in payload["fragments"]), "I13", "an end has a delta (STREAM-6)")
        known = text, pieces, True
    return evolve(history, streams=(*list(streams.items())[-64:], (message_id, known)))


def _check_inbox(after: State) -> None:
    stream = after.inbox.stream
    if stream is None:
        return
    _require(stream.mark <= stream.last and stream.acked <= stream.mark, "I8", "the mark passes what arrived")
    for place in after.inbox.places.values():
        held = place.generation == stream.generation and 0 < place.number <= stream.mark
        _require(not held, "I8", "the mark passes an event that the application still holds")


def _check_deadline(event: Event, now: Instant, after: State) -> None:
    if isinstance(event, Tick) and after.deadline is not None:
        _require(after.deadline > now.mono_ms, "I11", "after a Tick a deadline lies in the past")
    awaiting = (
        isinstance(after.link.phase, Opening | Waiting | Greeting | Online | Closing) or len(after.outbox.due) > 0
    )
    phase = after.tokens.phase
    awaiting = awaiting or (isinstance(phase, Saving) and phase.operation is None)
    keeping = after.outbox.keeping
    awaiting = awaiting or (keeping.operation is None and not is_idle(keeping))
    _require(not awaiting or after.deadline is not None, "I11", "something is awaited without a deadline")
