"""The core alone, as pieces of work: frames in, exchanges, idle steps. The machines' rows are made here, too."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from benchmarks import frames
from benchmarks.harness import Row, Work, compare
from benchmarks.sessions import (
    GAP_MS,
    access_token,
    moment,
    ready,
    run,
    seasoned,
)
from clawproto import inbox
from clawproto.app_signals import TypingChanged
from clawproto.effects import Effect, Emit, Persist, RecordIntent, RequestRefresh, SendFrame, Swap
from clawproto.events import Event, FrameReceived, HttpAnswered, Refresh, Send, Settle, Stored, Tick
from clawproto.http import HttpAnswer
from clawproto.instant import Instant
from clawproto.policy import Policy
from clawproto.session import Session, step
from clawproto.state import State
from clawproto.turn import Turn
from clawproto.wire import json_backend
from clawproto.wire.codec import decode
from clawproto.wire.values import Frame, MessagePayload

COUNT = 200  # frames in one pass
LIMIT = Policy().downlink_limit
LOADS = "json.loads, same bytes"


@contextmanager
def reader(name: str) -> Iterator[bool]:
    """Read as with msgspec, or as without it; false if it is not installed."""
    before = json_backend.loads
    if name == "stdlib":
        json_backend.loads = json_backend.stdlib_loads
    try:
        yield name in ("stdlib", json_backend.name)
    finally:
        json_backend.loads = before


def loading(texts: Sequence[str]) -> Work:
    def work() -> None:
        loads = json.loads
        for text in texts:
            loads(text)

    return work


def chain(state: State, events: Sequence[tuple[Event, Instant]]) -> Work:
    """Step through ``events``, from the same state in every pass."""

    def work() -> None:
        current = state
        for event, now in events:
            current, _ = step(current, event, now)

    return work


def _session(state: State, events: Sequence[tuple[Event, Instant]]) -> Work:
    """The same, by a `Session`, as a driver does it; its state is put together at the end."""

    def work() -> None:
        session = Session.of(state)
        for event, now in events:
            session.handle(event, now)
        assert session.state is not state

    return work


def decoding(texts: Sequence[str]) -> Work:
    def work() -> None:
        for text in texts:
            decode(text, LIMIT)

    return work


def messages(make: Callable[[int], str], first: int) -> list[str]:
    return [make(first + index) for index in range(COUNT)]


def delivered(state: State, generation: int, texts: Sequence[str], first: int) -> Work:
    """Every message arrives and is settled; an ack goes out as often as it falls due."""
    events: list[tuple[Event, Instant]] = []
    for index, text in enumerate(texts):
        now = moment(2_000 + (first + index) * GAP_MS)
        events += [(FrameReceived(generation, text), now), (Settle(first + index), now)]
    after, _ = run(state, events)
    assert after.inbox.stream is not None and after.inbox.stream.mark == first + len(texts) - 1
    return _session(state, events)


def acknowledged() -> tuple[Work, list[str]]:
    """A session with sends under way, and the acks that answer them."""
    state, generation = ready()
    texts: list[str] = []
    events: list[tuple[Event, Instant]] = []
    for index in range(COUNT):
        send = Send(index + 1, frames.chat(index), ({"kind": "text", "text": f"hello {index}"},))
        state, effects = step(state, send, moment(1_000 + index))
        sent = json.loads(next(effect.text for effect in effects if isinstance(effect, SendFrame)))
        texts.append(frames.ack(sent["trace_id"], sent["payload"]["message_id"]))
        events.append((FrameReceived(generation, texts[-1]), moment(2_000 + index)))
    after, _ = run(state, events)
    assert len(after.outbox.entries) == 0
    return _session(state, events), texts


def indicated() -> tuple[Work, list[str]]:
    """Somebody writes, and stops, `COUNT` times in all; each is told."""
    state, generation = ready()
    texts = [frames.typing(index // 2, is_typing=index % 2 == 0) for index in range(COUNT)]
    events: list[tuple[Event, Instant]] = [
        (FrameReceived(generation, text), moment(1_000 + index)) for index, text in enumerate(texts)
    ]
    _, effects = run(state, events)
    assert sum(isinstance(effect, Emit) and isinstance(effect.event, TypingChanged) for effect in effects) == COUNT
    return _session(state, events), texts


# --- one machine at a time -----------------------------------------------------------------------------------------


def rotation() -> tuple[Work, str]:
    """A refresh from the request to the swap: intent, call, save."""
    state, _ = ready()
    body = json.dumps({"code": 0, "msg": "ok", "data": {"access_token": access_token("a2"), "refresh_token": "r" * 48}})
    answer = HttpAnswer(200, (), body.encode())

    def rotate() -> tuple[Effect, ...]:
        now = moment(100_000)
        after, effects = step(state, Refresh(1), now)
        intent = next(effect for effect in effects if isinstance(effect, RecordIntent))
        after, effects = step(after, Stored(intent.operation, 2), now)
        request = next(effect for effect in effects if isinstance(effect, RequestRefresh))
        after, effects = step(after, HttpAnswered(request.request, answer), now)
        persist = next(effect for effect in effects if isinstance(effect, Persist))
        return step(after, Stored(persist.operation, 3), now)[1]

    assert any(isinstance(effect, Swap) for effect in rotate())
    return lambda: _ignore(rotate()), body


def _ignore(_: object) -> None:
    """For a result that nobody wants."""


def heartbeat() -> tuple[Work, str]:
    """The ping that is due, and its pong."""
    state, generation = ready()
    pong = frames.envelope("pong", {})
    tick, answer = (Tick(), moment(40_000)), (FrameReceived(generation, pong), moment(40_020))
    _, effects = step(state, *tick)
    assert any(isinstance(effect, SendFrame) and effect.event == "ping" for effect in effects)
    return chain(state, [tick, answer]), pong


def round_trip() -> tuple[Work, str]:
    """Messages are sent and acknowledged, one after the other, `COUNT` of them."""
    start, generation = ready()
    state, ack = start, ""
    events: list[tuple[Event, Instant]] = []
    for index in range(COUNT):
        send = Send(index + 1, frames.chat(index), ({"kind": "text", "text": f"hello {index}"},))
        state, effects = step(state, send, moment(1_000 + index))
        sent = json.loads(next(effect.text for effect in effects if isinstance(effect, SendFrame)))
        ack = frames.ack(sent["trace_id"], sent["payload"]["message_id"])
        answer = FrameReceived(generation, ack)
        state, _ = step(state, answer, moment(1_000 + index))
        events += [(send, moment(1_000 + index)), (answer, moment(1_000 + index))]
    assert len(state.outbox.entries) == 0
    return _session(start, events), ack


def _receipt() -> tuple[Work, str]:
    """The inbox alone: a decoded message is counted, handed over and settled."""
    state, _, first = seasoned()
    text = frames.message(first, 700)
    frame = decode(text, LIMIT)
    assert isinstance(frame, Frame)
    payload = frame.payload
    assert isinstance(payload, MessagePayload)
    before, now = state.inbox, moment(2_000 + first * GAP_MS)

    def work() -> None:
        turn = Turn(state.config, state.counters, now)
        counted, number = inbox.stamp(before, frame, turn)
        received = inbox.receive(counted, frame, payload, number, "usr_8f14e45fceea167a", "bench-01", turn)
        inbox.settle(received, received.deliveries, turn)

    return work, text


def machines(rounds: int) -> Iterator[Row]:
    """One step, or one exchange, of each machine."""
    idle, _, first = seasoned()
    later = moment(2_000 + first * GAP_MS)
    idle, _ = step(idle, Tick(), later)
    ack = frames.ack("s-01K5Z3NDEKTSV4RRFFQ69G5FAV", "msg-01K5Z3NDEKTSV4RRFFQ69G5FAV")
    parts: list[tuple[str, tuple[Work, str], str]] = [
        ("tokens: a whole rotation, 4 steps", rotation(), "json.loads, the refresh answer"),
        ("link: ping and pong, 2 steps", heartbeat(), "json.loads, the pong"),
        ("outbox: send and ack, 2 steps", round_trip(), "json.loads, the ack"),
        ("inbox: receive and settle, no step", _receipt(), LOADS),
        ("idle Tick", (chain(idle, [(Tick(), later)] * COUNT), ack), "json.loads, an ack of 200 bytes"),
    ]
    for name, (work, text), against in parts:
        count = COUNT if name in ("idle Tick", "outbox: send and ack, 2 steps") else 1
        loads = loading([text] * COUNT)
        yield compare(
            "machines",
            name,
            work,
            against,
            loads,
            operations=count,
            baseline_operations=COUNT,
            rounds=rounds,
        )
