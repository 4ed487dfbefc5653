"""The short way of ordinary messages comes to what ``step`` comes to, event by event."""

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from clawproto.app_events import MessageReceived, TypingChanged
from clawproto.config import Capabilities
from clawproto.effects import Emit, SendFrame
from clawproto.events import Closed, Event, FrameReceived, React, Refresh, Send, Settle, SetTyping, Tick
from clawproto.instant import Instant
from clawproto.json_types import Json
from clawproto.policy import Policy
from clawproto.session import Session, step
from clawproto.traffic import Traffic
from tests.core.harness import MONO, T0, frame
from tests.core.link_harness import LinkBench
from tests.core.messaging import HELLO, answer


def said(number: int, dseq: object, sender: str = "u-2", text: str = "hi", **more: object) -> str:
    body = {"body": {"fragments": [{"kind": "text", "text": text}]}, "context": {"mentions": [], "reply": None}}
    payload = {"message_id": f"msg-{number}", "message_mode": "normal", "message": body}
    return frame("message.send", payload, chat_id="cnv_1", sender={"id": sender}, dseq=dseq, **more)  # type: ignore[arg-type]


ANSWERS = ["stray", "other id", "stamped", "null stamp", "by trace", "by id", "both wrong", "again", "odd", "refused"]
CONTENTS: list[dict[str, Any]] = [
    {"fragments": ({"kind": "text", "text": 'caf\u00e9 "1"'}, {"kind": "image", "url": "/m/1", "size": 5})},
    {"fragments": (), "to": {"id": "u-2", "type": "direct"}},
    {"fragments": (), "to": {"id": "\u00e9"}},
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
    st.tuples(st.just("say"), st.integers(0, 9), st.sampled_from(["cnv_1", "cnv_\u00e9", "cnv_\ud800\0", ""])),
    st.tuples(st.just("typing"), st.integers(0, 1), st.sampled_from(["cnv_1", "cnv_2", "bad"])),
    st.tuples(st.just("typing"), st.integers(0, 1), st.just("cnv_1")),
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
            case "typing":
                event = SetTyping(word, number == 1)
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


def test_a_session_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first of these events on, and again after somebody has looked at the state."""
    bench = LinkBench(grant="v2")
    session = Session.of(bench.state)
    ordinary: list[Event] = [
        FrameReceived(bench.generation, said(1, 1)),
        Settle(1),
        Send(1, "cnv_1", HELLO),
        SetTyping("cnv_1", True),
        Tick(),
    ]

    def long_way(*_: object) -> None:
        raise AssertionError("step was called")

    monkeypatch.setattr("clawproto.session.step", long_way)
    for event in ordinary:
        session.handle(event, bench.now)
        assert session.state.inbox.deliveries == 1
    with pytest.raises(AssertionError, match="step was called"):
        session.handle(Refresh(2), bench.now)
