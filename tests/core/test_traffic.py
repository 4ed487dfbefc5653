"""The short way of ordinary messages comes to what ``step`` comes to, event by event."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from clawproto.app_events import MessageReceived, TypingChanged
from clawproto.config import Capabilities
from clawproto.effects import Effect, Emit, Resolve, SendFrame
from clawproto.events import Closed, Event, FrameReceived, React, Refresh, Send, Settle, Tick
from clawproto.evolving import evolve
from clawproto.ids import Minter
from clawproto.instant import Instant
from clawproto.json_types import Json
from clawproto.policy import Policy
from clawproto.results import Receipt
from clawproto.session import Session, step
from clawproto.state import State
from clawproto.traffic import Traffic
from tests.core.harness import MONO, T0, frame
from tests.core.link_harness import LinkBench


def said(number: int, dseq: object, sender: str = "u-2", text: str = "hi", **more: object) -> str:
    body = {"body": {"fragments": [{"kind": "text", "text": text}]}, "context": {"mentions": [], "reply": None}}
    payload = {"message_id": f"msg-{number}", "message_mode": "normal", "message": body}
    return frame("message.send", payload, chat_id="cnv_1", sender={"id": sender}, dseq=dseq, **more)  # type: ignore[arg-type]


HELLO = ({"kind": "text", "text": "hello"},)
ANSWERS = ["stray", "other id", "stamped", "null stamp", "by trace", "by id", "both wrong", "again", "odd", "refused"]
CONTENTS: list[dict[str, Any]] = [
    {"fragments": ({"kind": "text", "text": 'caf\u00e9 "1"'}, {"kind": "image", "url": "/m/1", "size": 5})},
    {"fragments": (), "to": {"id": "u-2", "type": "direct"}},
    {"fragments": ({"kind": "poll", "options": [1, 2]}, {"kind": "text", "text": "\ud83d\0"})},
    {"fragments": ({"kind": "text", "text": "re"},), "reply": {"reply_to_msg_id": "m", "reply_preview": {"id": "u-2"}}},
    {"fragments": ({"kind": "poll"},)},
    {"fragments": ({"kind": "text", "text": float("nan")},)},
    {"fragments": ({"kind": "text", "text": "x" * 300_000},)},
    {"fragments": ({"kind": "text", "text": "x" * 3_000_000},)},
    {
        "fragments": ({"kind": "text", "text": "hi"},),
        "mentions": ({"kind": "mention", "user_id": "u-2"},),
        "mode": "think",
    },
]

steps = st.one_of(
    st.tuples(st.just("message"), st.integers(0, 30), st.sampled_from(["u-2", "u-2", "u-2", "u-1", "system", ""])),
    st.tuples(st.just("message"), st.integers(0, 10_000), st.just("u-2")),
    st.tuples(st.just("message"), st.integers(0, 10_000), st.just("u-2")),
    st.tuples(st.just("settle"), st.just(0), st.just("")),
    st.tuples(st.just("settle"), st.just(0), st.just("")),
    st.tuples(st.just("settle"), st.integers(0, 60), st.just("any")),
    st.tuples(st.just("send"), st.integers(0, 3), st.sampled_from(["cnv_1", "cnv_1", "bad"])),
    st.tuples(st.just("say"), st.integers(0, 8), st.sampled_from(["cnv_1", "cnv_\u00e9", "cnv_\ud800\0", ""])),
    st.tuples(st.just("react"), st.integers(0, 1), st.sampled_from(["cnv_1", "bad"])),
    st.tuples(st.just("ack"), st.integers(0, 40), st.sampled_from(["", "", "first", "first", *ANSWERS])),
    st.tuples(st.just("ack"), st.integers(0, 40), st.sampled_from(["", "first"])),
    st.tuples(st.just("other"), st.integers(0, 9), st.just("")),
    st.tuples(st.just("typing"), st.integers(0, 5), st.sampled_from(["on", "on", "off", "nowhere", "stamped", "odd"])),
    st.tuples(st.just("time"), st.sampled_from([0, 1, 50, 250, 5_900, 31_000, 70_000]), st.just("")),
    st.tuples(st.just("wall"), st.sampled_from([-3_600_000, 3_600_000, 86_400_000]), st.just("")),
    st.tuples(st.just("look"), st.just(0), st.just("")),
)


def others(number: int, dseq: int, generation: int) -> tuple[Event, bool]:
    """Something that is no ordinary message, and whether it takes up the number ``dseq``."""
    recall = frame("message.recall", {"target_message_id": "msg-7"}, chat_id="cnv_1", dseq=dseq)
    provisional = said(number + 40, dseq).replace('"message_mode"', '"stream_merged":true,"message_mode"')
    table: list[tuple[Event, bool]] = [
        (FrameReceived(generation, frame("pong", {})), False),
        (FrameReceived(generation, recall), True),
        (FrameReceived(generation, "{"), False),
        (FrameReceived(generation, said(3, None, text="no stamp")), False),
        (FrameReceived(generation + 1, said(3, dseq)), False),
        (FrameReceived(generation, said(5, dseq, text="changed")), True),
        (FrameReceived(generation, provisional), True),
        (Tick(), False),
        (Refresh(1_000 + dseq * 10 + number), False),
        (FrameReceived(generation, said(4, dseq, ciphertext_fragments=[1]).encode()), True),
    ]
    return table[number]


def typing(number: int, word: str, dseq: int, generation: int) -> FrameReceived:
    """Somebody writes, or has stopped writing, or says so in an odd way."""
    sender = [{"id": "u-2"}, {"id": "u-3"}, {"id": "u-4"}, {"id": "u-1"}, {"id": ""}, None][number]
    body: dict[str, Json] = {"is_typing": word != "off"} if word != "odd" else {"is_typing": 1}
    more: dict[str, Json] = {} if word == "nowhere" else {"chat_id": "cnv_1"}
    if word == "stamped":
        more["dseq"] = dseq
    return FrameReceived(generation, frame("typing.update", body, sender=sender, **more))  # type: ignore[arg-type]


def answer(word: str, trace_id: str, message_id: str, dseq: int) -> str:
    """The ack of this message, in one way or another; or its refusal."""
    if word == "refused":
        return frame("message.error", {"code": "not_member", "message_id": message_id}, trace_id=trace_id)
    body: dict[str, Json] = {"message_id": message_id, "accepted_at": 5}
    more: dict[str, Json] = {"trace_id": trace_id, "chat_id": "cnv_1"}
    match word:
        case "other id":
            body["message_id"] = "another"
        case "stamped":
            more["dseq"] = dseq
        case "null stamp":
            more["dseq"] = None
        case "by trace":
            del body["message_id"]
        case "by id":
            more["trace_id"] = "s-other"
        case "both wrong":
            body, more["trace_id"] = {"message_id": 5, "accepted_at": True}, ""
        case "odd":
            body, more["trace_id"] = {"message_id": message_id, "accepted_at": 2**64, "x": [{}]}, 7
        case _:
            pass
    return frame("message.ack", body, **more)  # type: ignore[arg-type]


@settings(deadline=None)
@given(
    st.lists(steps, max_size=60),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0, 0, 3, 20]),
    st.sampled_from(
        [
            Policy(),
            Policy(retransmit_after_timeout=True, require_chat_prefix=False, undecided_kept=2),
            Policy(remembered_messages=3, typing_table=2),
        ]
    ),
)
@pytest.mark.rule(
    "SEND-19",
    "R2-6",
    "R2-9",
    "R2-13",
    "DEL-1",
    "TYPE-3",
    "SEND-5",
    "SEND-6",
    "SEND-11",
    "SEND-12",
    "SEND-13",
    "SEND-15",
)
def test_a_session_does_what_step_does(
    history: list[tuple[str, int, str]], receipts: bool, keep_sends: bool, former: int, policy: Policy
) -> None:
    bench = LinkBench(
        grant="v2", capabilities=Capabilities(delivery_receipt=receipts), keep_sends=keep_sends, policy=policy
    )
    assert bench.online
    state, session, now, dseq, unsettled = bench.state, Session.of(bench.state), bench.now, 0, list[int]()
    used, sent, commands = set[int](), list[tuple[str, str]](), 5_000_000
    history = [*(("send", 0, "cnv_1") for _ in range(former)), ("look", 0, ""), *history]
    for what, number, word in history:
        event: Event
        match what:
            case "message":
                dseq += 1
                event = FrameReceived(bench.generation, said(number, dseq, word))
            case "settle":
                event = Settle(number if word else unsettled.pop(0) if unsettled else 1)
            case "send":
                commands += 1
                given = f"own-{number}" if number else None
                event = Send(commands, word, HELLO, message_id=given)
            case "say":
                commands += 1
                event = Send(commands, word, **CONTENTS[number])
            case "react":
                commands += 1
                event = React(commands, word, "msg-1", "x" if number else None)
            case "ack":
                at = 0 if word == "first" else number % max(len(sent), 1)
                answered = sent[at] if sent and word != "stray" else ("s-none", "msg-none")
                if sent and word not in ("stray", "again"):
                    del sent[at]
                dseq += word == "stamped"
                event = FrameReceived(bench.generation, answer(word, *answered, dseq))
            case "other":
                event, counts = others(number, dseq + 1, bench.generation)
                dseq += counts
                if isinstance(event, Refresh) and event.command in used:
                    continue
                used.add(event.command if isinstance(event, Refresh) else -1)
            case "typing":
                dseq += word == "stamped"
                event = typing(number, word, dseq, bench.generation)
            case "time":
                now, event = Instant(now.wall_ms + number, now.mono_ms + number), Tick()
                if number < 100:
                    continue
            case "wall":
                now = Instant(now.wall_ms + number, now.mono_ms)
                continue
            case _:
                assert session.state == state
                continue
        state, expected = step(state, event, now)
        assert session.handle(event, now) == expected
        assert session.next_deadline() == state.deadline
        assert session.is_ready == (type(state.link.phase).__name__ == "Online")
        for uplink in (json.loads(effect.text) for effect in expected if isinstance(effect, SendFrame)):
            if uplink["event"] in ("message.send", "message.reply", "message.reaction"):
                sent.append((uplink["trace_id"], uplink["payload"].get("message_id", "rx-1")))
        unsettled += [effect.delivery for effect in expected if isinstance(effect, Emit) and effect.delivery]
    assert session.state == state


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["send", "send", "ack", "ack", "late", "look"]), st.integers(0, 40)), max_size=80
    ),
    st.sampled_from([0, 3, 30]),
    st.sampled_from([2_000, 15_000]),
)
@pytest.mark.rule("SEND-8", "SEND-11", "SEND-13", "SEND-15")
def test_sends_and_acks_in_any_order(history: list[tuple[str, int]], former: int, timeout: int) -> None:
    """Densely: each send has a deadline of its own, and any of them may be answered first, and again."""
    bench = LinkBench(grant="v2", policy=Policy(ack_timeout_ms=timeout))
    assert bench.online
    state, session, now = bench.state, Session.of(bench.state), bench.now
    sent: list[tuple[str, str]] = []
    decided: list[tuple[str, str]] = []
    for number, (what, at) in enumerate([*[("send", 0)] * former, ("look", 0), *history], 5_000_000):
        now = Instant(now.wall_ms + 1, now.mono_ms + 3)
        event: Event
        if what == "send":
            event = Send(number, "cnv_1", HELLO)
        elif what == "look":
            assert session.state == state
            continue
        else:
            source = sent if what == "ack" else decided
            if not source:
                continue
            answered = source.pop(0 if at % 3 else at % len(source))
            decided.append(answered)
            event = FrameReceived(bench.generation, answer("by id" if at % 5 == 4 else "", *answered, 0))
        state, expected = step(state, event, now)
        assert session.handle(event, now) == expected
        assert session.next_deadline() == state.deadline
        for effect in expected:
            if isinstance(effect, SendFrame):
                uplink = json.loads(effect.text)
                sent.append((uplink["trace_id"], uplink["payload"]["message_id"]))
    assert session.state == state


def both(bench: LinkBench, events: list[tuple[Event, int]]) -> tuple[list[Effect], State]:
    """Let a session and ``step`` do these, each so many ms after the one before, and compare."""
    state, session, now, done = bench.state, Session.of(bench.state), bench.now, list[Effect]()
    for event, later in events:
        now = Instant(now.wall_ms + later, now.mono_ms + later)
        state, expected = step(state, event, now)
        assert session.handle(event, now) == expected
        done += expected
    assert session.state == state
    return done, state


def uplinks(effects: Iterable[Effect]) -> list[tuple[str, str]]:
    """Trace and message id of what was sent."""
    sent = [json.loads(effect.text) for effect in effects if isinstance(effect, SendFrame)]
    return [(one["trace_id"], one["payload"].get("message_id", "")) for one in sent]


@pytest.mark.rule("SEND-11", "SEND-15")
def test_an_ack_that_comes_late_or_names_two_messages() -> None:
    """Late: its sender was told "undecided". Two: the trace is of one that is decided, so the message id tells."""
    bench = LinkBench(grant="v2", policy=Policy(ack_timeout_ms=2_000))
    assert bench.online
    one: tuple[Event, int] = (Send(1, "cnv_1", HELLO), 1)
    other: tuple[Event, int] = (Send(2, "cnv_1", HELLO), 1)
    tick: tuple[Event, int] = (Tick(), 5_000)
    look: tuple[Event, int] = (Tick(), 0)
    done, _ = both(bench, [one, other])
    (one_trace, one_id), (_, other_id) = uplinks(done)
    first: tuple[Event, int] = (FrameReceived(bench.generation, answer("", one_trace, one_id, 0)), 1)
    second: tuple[Event, int] = (FrameReceived(bench.generation, answer("", one_trace, other_id, 0)), 1)
    for events in ([one, other, first, second], [one, other, look, first, second], [one, look, other, first, second]):
        _, state = both(bench, [*events, second])
        assert not len(state.outbox.entries)
    _, state = both(bench, [one, other, tick, first, second])
    assert not len(state.outbox.entries) and not len(state.outbox.told)


@pytest.mark.rule("RX-1", "LIM-3")
def test_reactions_and_what_is_too_large_are_left_to_step() -> None:
    bench = LinkBench(grant="v2")
    assert bench.online
    react, send = (React(1, "cnv_1", "msg-1", "x"), 1), (Send(2, "cnv_1", HELLO), 1)
    done, _ = both(bench, [react])
    ack = FrameReceived(bench.generation, answer("by trace", uplinks(done)[0][0], "", 0)), 1
    _, state = both(bench, [react, send, ack])
    assert len(state.outbox.entries) == 1
    for size in (180_000, 900_000):
        for character in "x\U0001f600":
            done, _ = both(bench, [(Send(3, "cnv_1", ({"kind": "text", "text": character * size},)), 1)])
            assert [type(effect) for effect in done] == [SendFrame if size == 180_000 else Resolve]


def test_sends_go_the_short_way() -> None:
    """Else everything above would pass without it."""
    bench = LinkBench(grant="v2")
    assert bench.online
    traffic = Traffic.begin(bench.state)
    assert traffic is not None
    effects = traffic.handle(Send(1, "cnv_1", HELLO), bench.now)
    assert effects is not None
    (frame_sent,) = effects
    assert isinstance(frame_sent, SendFrame)
    assert len(traffic.state().outbox.entries) == 1 and not len(bench.state.outbox.entries)
    uplink = json.loads(frame_sent.text)
    ack = answer("", uplink["trace_id"], uplink["payload"]["message_id"], 0)
    effects = traffic.handle(FrameReceived(bench.generation, ack), bench.now)
    message_id = uplink["payload"]["message_id"]
    assert effects == (Resolve(1, Receipt("cnv_1", message_id, 5, message_id)),)
    assert not len(traffic.state().outbox.entries)
    assert traffic.handle(Send(2, "cnv_1", (), message_id="msg-own"), bench.now) is None
    assert traffic.handle(Send(2, "elsewhere", ()), bench.now) is None


@pytest.mark.rule("SEND-5")
def test_an_id_that_somebody_has_foreseen_is_left_to_step() -> None:
    """It would be the same twice; ids are minted from seed and clock, so a restarted host can know them."""
    bench = LinkBench(grant="v2")
    assert bench.online
    foreseen = f"msg-{Minter(bench.state.counters.ids, bench.state.config.seed).mint(bench.now.wall_ms)}"
    state, _ = step(bench.state, Send(1, "cnv_1", (), message_id=foreseen), bench.now)
    state = evolve(state, counters=evolve(state.counters, ids=bench.state.counters.ids))
    event = Send(2, "cnv_1", HELLO)
    traffic = Traffic.begin(state)
    assert traffic is not None and traffic.handle(event, bench.now) is None
    assert Session.of(state).handle(event, bench.now) == step(state, event, bench.now)[1]


def test_the_short_way_is_taken() -> None:
    """Else everything above would pass without it."""
    bench = LinkBench(grant="v2")
    assert bench.online
    traffic = Traffic.begin(bench.state)
    assert traffic is not None
    effects = traffic.handle(FrameReceived(bench.generation, said(1, 1)), bench.now)
    assert effects is not None
    (told,) = effects
    assert isinstance(told, Emit) and isinstance(told.event, MessageReceived) and told.delivery == 1
    assert traffic.handle(Settle(1), bench.now) == ()
    inbox = traffic.state().inbox
    assert inbox.stream is not None and (inbox.stream.last, inbox.stream.mark, len(inbox.places)) == (1, 1, 0)
    assert bench.state.inbox.stream is not None and bench.state.inbox.stream.last == 0, "the old state is a value"


@pytest.mark.rule("SEND-19", "R2-13")
@pytest.mark.parametrize("remembered", [0, 20, 300, 4096])
def test_many_messages_are_remembered_as_by_step(remembered: int) -> None:
    """More than are put into the memory at once, with repetitions of old ones and of young ones."""
    bench = LinkBench(grant="v2", policy=Policy(remembered_messages=remembered))
    assert bench.online
    state, session, now = bench.state, Session.of(bench.state), bench.now
    for dseq in range(1, 1_001):
        number = dseq - 500 if dseq % 97 == 0 else dseq - 9 if dseq % 89 == 0 else dseq
        now = Instant(now.wall_ms + 3, now.mono_ms + 3)
        for event in (FrameReceived(bench.generation, said(number, dseq)), Settle(dseq)):
            state, expected = step(state, event, now)
            assert session.handle(event, now) == expected
    assert session.state == state


@pytest.mark.rule("TYPE-3")
def test_typing_takes_the_short_way() -> None:
    bench = LinkBench(grant="v2")
    assert bench.online
    traffic = Traffic.begin(bench.state)
    assert traffic is not None
    assert traffic.handle(typing(0, "on", 0, bench.generation), bench.now) == (
        Emit(TypingChanged("cnv_1", "u-2", True), None),
    )
    assert traffic.state().calm_until == bench.now.mono_ms + Policy().typing_expiry_ms
    assert traffic.handle(typing(0, "on", 0, bench.generation), bench.now) == ()
    assert traffic.handle(typing(3, "on", 0, bench.generation), bench.now) == (), "our own"
    assert len(traffic.state().signals.typing) == 1


@pytest.mark.rule("R2-13")
def test_an_ack_that_is_due_goes_the_short_way() -> None:
    bench = LinkBench(grant="v2")
    assert bench.online
    traffic = Traffic.begin(bench.state)
    assert traffic is not None
    assert traffic.handle(FrameReceived(bench.generation, said(1, 1)), bench.now)
    assert traffic.handle(Settle(1), bench.now) == ()
    due = Instant(T0, bench.now.mono_ms + Policy().ack_debounce_ms)
    assert traffic.deadline == due.mono_ms
    effects = traffic.handle(Tick(), due)
    assert effects is not None and len(effects) == 1
    sent = effects[0]
    assert isinstance(sent, SendFrame) and json.loads(sent.text)["payload"]["dseq"] == 1
    assert traffic.handle(Tick(), due) == ()


def test_it_gives_way_when_something_is_due() -> None:
    bench = LinkBench(grant="v2")
    assert bench.online
    traffic = Traffic.begin(bench.state)
    assert traffic is not None and traffic.deadline is not None
    due = Instant(T0, traffic.deadline)
    assert traffic.handle(FrameReceived(bench.generation, said(1, 1)), due) is None
    assert traffic.handle(FrameReceived(bench.generation, said(1, 2)), Instant(T0, MONO)) is None, "out of turn"
    assert traffic.handle(FrameReceived(bench.generation, said(1, 1, "u-1")), Instant(T0, MONO)) is None, "our own"


def test_it_does_not_begin_on_a_closed_connection() -> None:
    bench = LinkBench(grant="v2")
    assert bench.online
    bench.step(Closed(bench.generation, 1006))
    assert Traffic.begin(bench.state) is None
