"""Outbox and inbox: one message on its way out, one on its way in, and everything that may happen to either.

Small enough to be walked with real states: one of those that look alike (`_look`) stands for the others. The invariants
are checked on every step. What becomes of the one message is what the diagrams show.
"""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, TypeAlias

from attrs import evolve, field

from clawproto.app_events import SendSettled
from clawproto.config import Capabilities, Config
from clawproto.credentials import Credentials
from clawproto.deferred import frozen
from clawproto.effects import Effect, Emit, Resolve
from clawproto.events import (
    Closed,
    Event,
    FrameReceived,
    KeepFailed,
    Kept,
    Opened,
    Send,
    Settle,
    Start,
    Stop,
    Tick,
)
from clawproto.instant import Instant
from clawproto.link_state import Down, Ended, generation
from clawproto.policy import DAY_MS, SECOND_MS
from clawproto.session import step
from clawproto.state import State
from clawproto.testing.explore.pool import IDENTITY, NOW, PAIRS, POLICY
from clawproto.testing.explore.search import Counterexample, Report
from clawproto.testing.explore.totality import Violation
from clawproto.testing.invariants import History, check

Machine: TypeAlias = Literal["outbox", "inbox"]
CHAT: Final = "cnv_01K9F40000QRSTVWXYZ0123456"
MESSAGE: Final = "msg-01K9F40000QRSTVWXYZ0123456"
_POLICY: Final = evolve(
    POLICY,
    ping_after_ms=400 * DAY_MS,
    ack_timeout_ms=4 * SECOND_MS,
    ack_debounce_ms=SECOND_MS,
    ack_repeat_ms=8 * SECOND_MS,
    gate_ms=8 * SECOND_MS,
    offline_queue=1,
)


@frozen
class _Spot:
    """A session, and what is known of the message.

    Attributes:
        became: of the message, once it is out of the machine's hands.
        delivery: under which it was handed over last.
        frames: stamped frames on this connection.
        given: sends so far.
    """

    state: State
    history: History
    now: Instant
    became: str = ""
    delivery: int | None = None
    frames: int = 0
    given: int = 0


Edge: TypeAlias = tuple[str, str, str]


def _frame(number: int, event: str, payload: dict[str, Any], **more: Any) -> FrameReceived:
    text = {"version": "2", "event": event, "trace_id": "", "emitted_at": NOW.wall_ms, "payload": payload, **more}
    return FrameReceived(number, json.dumps(text))


def _payload(text: str) -> dict[str, Any]:
    fragments = [{"kind": "text", "text": text}]
    body: dict[str, Any] = {"body": {"fragments": fragments}, "context": {"mentions": [], "reply": None}}
    return {"message_id": MESSAGE, "message_mode": "normal", "message": body}


def _take(spot: _Spot, *events: Event) -> _Spot:
    for event in events:
        before = spot.state
        after, effects = step(before, event, spot.now)
        history = check(spot.history, before, event, spot.now, effects, after, liveness=False)
        spot = evolve(_noted(spot, effects), state=after, history=history)
    return spot


_ENDS: Final = {
    "Receipt": "accepted",
    "SendRejected": "rejected",
    "SendDropped": "dropped",
    "SendGated": "gated",
    "StoppedResult": "ended",
}


def _noted(spot: _Spot, effects: tuple[Effect, ...]) -> _Spot:
    for effect in effects:
        match effect:
            case Resolve(command=1, result=result):
                became = _ENDS.get(type(result).__name__)
                spot = spot if became is None else evolve(spot, became=became)
            case Emit(event=SendSettled(message_id=message_id, accepted=accepted)) if message_id == MESSAGE:
                spot = evolve(spot, became="accepted" if accepted else "rejected")
            case Emit(delivery=int(delivery)):
                spot = evolve(spot, delivery=delivery)
            case _:
                pass
    return spot


def _online(config: Config) -> _Spot:
    spot = _Spot(State(config), History(), NOW)
    spot = _take(spot, Start(Credentials(IDENTITY, PAIRS[0, "fresh"], 1)))
    return _greeted(spot)


def _greeted(spot: _Spot) -> _Spot:
    number = generation(spot.state.link)
    assert number is not None
    hello = {"device_id": "device-1", "delivery_mode": "device_replay", "ack_mode": "dseq", "ack_epoch": f"e{number}"}
    events = (
        Opened(number),
        _frame(number, "connect.challenge", {"nonce": "nonce-nonce-nonce-nonce1"}),
        _frame(number, "hello-ok", hello),
    )
    return evolve(_take(spot, *events), frames=0)


def _later(spot: _Spot) -> _Spot:
    deadline = spot.state.deadline
    assert deadline is not None
    passed = max(0, deadline - spot.now.mono_ms)
    return _take(evolve(spot, now=Instant(spot.now.wall_ms + passed, spot.now.mono_ms + passed)), Tick())


# --- what may happen -----------------------------------------------------------------------------------------------


def _common(spot: _Spot) -> Iterator[tuple[str, _Spot]]:
    phase, number = spot.state.link.phase, generation(spot.state.link)
    if spot.state.connected:
        assert number is not None
        yield "connection lost", _take(spot, Closed(number, 1006))
        yield "stop", _take(spot, Stop())
    elif isinstance(phase, Down):
        back = spot
        while isinstance(back.state.link.phase, Down) and back.state.deadline is not None:
            back = _later(back)
        if not isinstance(back.state.link.phase, Down | Ended):
            yield "connected again", _greeted(back)
        yield "stop", _take(spot, Stop())
    elif number is not None:
        yield "closed", _take(spot, Closed(number, 1000))
    if spot.state.deadline is not None and (spot.state.connected or number is not None):
        yield "time", _later(spot)


def _outbox_next(spot: _Spot) -> Iterator[tuple[str, _Spot]]:
    yield from _common(spot)
    state = spot.state
    if not spot.given and not state.tokens.stopped:
        fragments = ({"kind": "text", "text": "hi"},)
        yield "send", _take(evolve(spot, given=1), Send(1, CHAT, fragments, (), None, "normal", MESSAGE))
    if spot.given == 1 and not state.connected and not state.tokens.stopped:
        yield "another send", _take(evolve(spot, given=2), Send(2, CHAT, ({"kind": "text", "text": "ho"},)))
    operation = state.outbox.keeping.operation
    if operation is not None:
        yield "kept", _take(spot, Kept(operation))
        yield "keep failed", _take(spot, KeepFailed(operation, "disk full"))
    number = generation(state.link)
    if not state.connected or number is None:
        return
    entry = next((one for one in state.outbox.entries.values() if one.message_id == MESSAGE), None)
    if entry is not None and entry.generation:
        ack = {"message_id": MESSAGE, "accepted_at": 5}
        yield "ack", _take(spot, _frame(number, "message.ack", ack, trace_id=entry.trace_id, chat_id=CHAT))
        echo = _frame(number, "message.send", _payload("hi"), chat_id=CHAT, sender={"id": IDENTITY.user_id})
        yield "own echo", _take(spot, echo)
        refusal = {"code": "not_a_member", "reason": "no"}
        error = _frame(number, "message.error", refusal, trace_id=entry.trace_id, chat_id=CHAT)
        yield "message.error", _take(spot, error)
        yield "closed as too large", _take(spot, Closed(number, 1009))


def _inbox_next(spot: _Spot) -> Iterator[tuple[str, _Spot]]:
    yield from _common(spot)
    state = spot.state
    number = generation(state.link)
    if state.connected and number is not None and spot.frames < 2:
        for text, label in (("yo", "message"), ("yo!", "edited message")):
            more = {"chat_id": CHAT, "chat_type": "direct", "sender": {"id": "usr_2"}, "dseq": spot.frames + 1}
            event = _frame(number, "message.send", _payload(text), **more)
            yield label, _take(evolve(spot, frames=spot.frames + 1), event)
        skipped = _frame(number, "pong", {}, dseq=spot.frames + 2)
        yield "gap", _take(spot, skipped)
    if spot.delivery is not None and spot.delivery in state.inbox.places:
        yield "settled", _take(spot, Settle(spot.delivery))


# --- what it looks like --------------------------------------------------------------------------------------------


def outbox_phase(spot: _Spot) -> str:
    """Where the message that is sent has got to."""
    entry = next((one for one in spot.state.outbox.entries.values() if one.message_id == MESSAGE), None)
    if entry is None:
        return spot.became
    if entry.command is None:
        return "undecided"
    if not entry.kept:
        return "not_kept"
    if not entry.generation:
        return "queued"
    return "sent" if spot.state.connected and entry.generation == generation(spot.state.link) else "unanswered"


def inbox_phase(spot: _Spot) -> str:
    """Where the message that was received has got to."""
    inbox = spot.state.inbox
    if spot.delivery is None:
        return ""
    place, stream = inbox.places.get(spot.delivery), inbox.stream
    live = spot.state.connected and stream is not None
    if place is not None:
        assert stream is not None
        return "held" if live and place.generation == stream.generation else "held_from_before"
    if not live or stream is None or stream.mark == 0:
        return "settled_from_before"
    return "acknowledged" if stream.acked == stream.mark else "settled"


def _look(spot: _Spot) -> object:
    """What tells spots apart: everything but the numbers and the time of day."""
    state, now = spot.state, spot.now.mono_ms
    outbox, inbox, keeping = state.outbox, state.inbox, state.outbox.keeping
    current = generation(state.link)

    def ahead(mono_ms: int | None) -> int | None:
        return None if mono_ms is None else mono_ms - now

    entries = tuple(
        (
            *(one.message_id == MESSAGE, one.command, one.generation and one.generation == current, one.kept),
            *(one.repeated, *(ahead(due) for due, number in outbox.due.values() if number == own)),
        )
        for own, one in outbox.entries.items()
    )
    stream, known = inbox.stream, inbox.known.get(MESSAGE)
    counted = None if stream is None else (stream.last, stream.mark, stream.acked, tuple(stream.ahead.items()))
    return (
        *(type(state.link.phase).__name__, state.connected, state.tokens.stopped, min(state.link.attempts, 2)),
        *(ahead(state.deadline), spot.became, spot.given, spot.frames, outbox_phase(spot), inbox_phase(spot)),
        *(entries, len(keeping.batch), len(keeping.waiting), keeping.operation is None, min(keeping.failures, 3)),
        *(ahead(keeping.retry_at), counted, len(inbox.places), ahead(inbox.ack_due), ahead(inbox.repeat_due)),
        None if known is None else known.fingerprint,
        repr(outbox.gates.gated.gates.items()) if len(outbox.gates.gated.gates) else "",
    )


@frozen
class Walk:
    """What was seen of a machine.

    Attributes:
        edges: phase of the message, event, phase afterwards.
    """

    report: Report
    edges: frozenset[Edge] = field(repr=False)


def walk(machine: Machine, *, keep: bool = False, limit: int = 4_000) -> Walk:
    """Walk a machine breadth first.

    Args:
        keep: sends are kept in a message store before they are transmitted.
        limit: of transitions.
    """
    begin = time.perf_counter()
    capabilities = Capabilities(reliable_delivery=True, reliable_delivery_v2=True)
    config = Config(seed=bytes(16), policy=_POLICY, capabilities=capabilities, keep_sends=keep)
    following: Callable[[_Spot], Iterator[tuple[str, _Spot]]] = _outbox_next if machine == "outbox" else _inbox_next
    phase: Callable[[_Spot], str] = outbox_phase if machine == "outbox" else inbox_phase
    layer, depth, transitions = [_online(config)], 0, 0
    seen = {_look(layer[0])}
    edges: set[Edge] = set()
    problem: Counterexample | None = None
    while layer and transitions < limit and problem is None:
        reached: list[_Spot] = []
        for spot in layer:
            before = phase(spot)
            try:
                for label, after in following(spot):
                    transitions += 1
                    edges.add((before, label, phase(after)))
                    look = _look(after)
                    if look not in seen:
                        seen.add(look)
                        reached.append(after)
            except (AssertionError, Violation) as error:
                problem = Counterexample(str(error), ())
                break
        depth += 1
        layer = reached
    seconds = time.perf_counter() - begin
    report = Report(machine, len(seen), transitions, len(seen), transitions, 0, depth, not layer, 0, seconds, problem)
    return Walk(report, frozenset(edges))
