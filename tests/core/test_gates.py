"""Refusals, and the gates that they close."""

import pytest

from clawproto.app_events import ChatGated, ChatUngated, MessageReceived, RefusalReceived, UnknownEvent
from clawproto.events import Closed
from clawproto.json_types import Json
from clawproto.policy import Policy
from clawproto.results import Receipt, SendGated, SendRejected
from tests.core.harness import Bench
from tests.core.messaging import (
    CHAT,
    OTHER_CHAT,
    OWNER_CHAT,
    ack,
    message,
    online,
    refuse,
    says,
    send,
    told,
    type_in,
    uplinks,
)

GATE_MS = 600_000


def gated(code: str = "not_member", **settings: object) -> Bench:
    """A bench in which CHAT has just been gated."""
    bench = online(**settings)
    send(bench)
    refuse(bench, uplinks(bench)[-1], code)
    return bench


def is_gated(bench: Bench, chat_id: str = CHAT) -> bool:
    """Whether a send to this chat is stopped locally at this moment."""
    before = len(uplinks(bench))
    stopped = isinstance(bench.results.get(send(bench, chat_id=chat_id)), SendGated)
    assert stopped == (len(uplinks(bench)) == before)
    return stopped


def signal(bench: Bench, kind: str, entity_id: str) -> None:
    """A ``notify.signal``."""
    payload: dict[str, Json] = {"type": kind, "entity_id": entity_id, "version": 1, "event_id": f"e-{kind}"}
    says(bench, "notify.signal", payload)


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("ERR-2", "ERR-3", "ERR-4", "EVT-5")
@pytest.mark.parametrize(
    "code",
    [
        "chat_not_found",
        "not_member",
        "bad_request",
        "capability_missing",
        "unsupported_version",
        "message_too_large",
        "message_id_too_long",
        "code_of_a_later_hub",
    ],
)
def test_every_code_is_final_for_that_message(code: str) -> None:
    bench = online()
    command = send(bench)
    (frame,) = uplinks(bench)
    refuse(bench, frame, code, reason="because")
    rejected = SendRejected(CHAT, frame["payload"]["message_id"], code, "because")
    assert bench.results[command] == rejected
    bench.step(Closed(bench.generation, 1006))
    bench.run_for(60_000)
    assert len(uplinks(bench)) == 1  # never transmitted again


@pytest.mark.rule("ERR-2")
def test_a_refusal_is_matched_by_message_id_if_its_trace_is_unknown() -> None:
    bench = online()
    command = send(bench)
    (frame,) = uplinks(bench)
    message_id = frame["payload"]["message_id"]
    refuse(bench, {**frame, "trace_id": "stray"}, "bad_request", message_id=message_id)
    assert isinstance(bench.results[command], SendRejected)


@pytest.mark.rule("ERR-5")
def test_the_reason_decides_nothing() -> None:
    bench = online()
    send(bench)
    refuse(bench, uplinks(bench)[-1], "bad_request", reason="chat_not_found")
    assert not is_gated(bench)


@pytest.mark.rule("ERR-7", "ERR-6")
def test_a_refusal_touches_neither_the_connection_nor_what_was_received() -> None:
    bench = online()
    says(bench, "message.send", message(message_id="msg-a"), chat_id=CHAT, sender={"id": "u-2"})
    inbox = bench.state.inbox
    for code in ("chat_not_found", "not_member", "anything"):
        send(bench)
        if uplinks(bench):
            refuse(bench, uplinks(bench)[-1], code)
    assert bench.state.connected
    assert bench.state.inbox == inbox


def test_a_stray_refusal_is_passed_on() -> None:
    bench = online()
    says(bench, "message.error", {"code": "bad_request", "reason": "r"}, chat_id=CHAT)
    assert RefusalReceived(CHAT, None, "bad_request", "r") in told(bench)


# --- closing a gate ------------------------------------------------------------------------------------------------


@pytest.mark.rule("ERR-9", "ERR-10", "ERR-11")
@pytest.mark.parametrize("code", ["chat_not_found", "not_member"])
def test_these_two_codes_close_the_gate_for_every_uplink_of_that_chat(code: str) -> None:
    bench = gated(code)
    assert ChatGated(CHAT, code, GATE_MS) in told(bench)
    command = send(bench)
    assert bench.results[command] == SendGated(CHAT, code, GATE_MS)  # at once, and by a cause of its own
    type_in(bench)
    assert uplinks(bench, "typing.update") == []
    assert not is_gated(bench, OTHER_CHAT)


@pytest.mark.rule("ERR-9")
@pytest.mark.parametrize("code", ["bad_request", "capability_missing", "message_too_large", "code_of_a_later_hub"])
def test_other_codes_close_nothing(code: str) -> None:
    assert not is_gated(gated(code))


@pytest.mark.rule("ERR-9")
def test_a_refusal_that_matches_no_send_closes_the_gate_too() -> None:
    bench = online()
    says(bench, "message.error", {"code": "not_member"}, chat_id=CHAT)
    assert is_gated(bench)


@pytest.mark.rule("ERR-10", "ERR-11")
def test_the_gate_is_looked_at_again_when_the_queue_goes_out() -> None:
    bench = online()
    send(bench)
    (frame,) = uplinks(bench)
    bench.greet = False
    bench.step(Closed(bench.generation, 1006))
    queued = send(bench)
    other = send(bench, chat_id=OTHER_CHAT)
    bench.run_for(6_000)
    bench.greet = True
    bench.handshake()  # the first one goes again and is refused; the second went out before that was known
    assert frame["payload"] == uplinks(bench)[1]["payload"]
    refuse(bench, uplinks(bench)[1], "not_member")
    bench.greet = False
    bench.step(Closed(bench.generation, 1006))
    late = send(bench)
    assert isinstance(bench.results[late], SendGated)
    assert queued not in bench.results
    assert other not in bench.results
    before = len(uplinks(bench))
    bench.run_for(6_000)
    bench.greet = True
    bench.handshake()
    assert [frame["chat_id"] for frame in uplinks(bench)[before:]] == [OTHER_CHAT]


@pytest.mark.rule("ERR-15")
def test_the_owners_conversation_is_never_gated() -> None:
    bench = online()
    send(bench, chat_id=OWNER_CHAT)
    refuse(bench, uplinks(bench)[-1], "chat_not_found")
    assert not is_gated(bench, OWNER_CHAT)


@pytest.mark.rule("ERR-18")
def test_the_table_is_bounded_and_holds_chats_only() -> None:
    bench = online(policy=Policy(gate_table=3))
    for number in range(5):
        says(bench, "message.error", {"code": "not_member"}, chat_id=f"cnv_{number}x")
    assert [is_gated(bench, f"cnv_{number}x") for number in range(5)] == [False, False, True, True, True]
    says(bench, "message.error", {"code": "not_member"}, chat_id="no-chat")
    assert len(bench.state.outbox.gates.gated.gates) == 3
    for number in range(5):
        signal(bench, "conversation.dissolved", f"cnv_{number}y")
    assert len(bench.state.outbox.gates.muted.gates) == 3


@pytest.mark.rule("ERR-16")
def test_downlinks_pass_a_gate() -> None:
    bench = gated()
    signal(bench, "conversation.dissolved", OTHER_CHAT)
    for chat_id in (CHAT, OTHER_CHAT):
        says(bench, "message.send", message(message_id=chat_id), chat_id=chat_id, sender={"id": "u-2"})
    received = [event.chat_id for event in told(bench) if isinstance(event, MessageReceived)]
    assert received == [CHAT, OTHER_CHAT]


# --- opening it again ----------------------------------------------------------------------------------------------


@pytest.mark.rule("ERR-14")
def test_the_gate_falls_after_its_window_to_the_millisecond() -> None:
    bench = gated()
    bench.run_for(GATE_MS - 1)
    assert isinstance(bench.results[send(bench)], SendGated)
    bench.run_for(1)
    assert ChatUngated(CHAT) in told(bench)
    assert not is_gated(bench)


@pytest.mark.rule("ERR-14")
def test_a_new_refusal_starts_a_full_window() -> None:
    bench = gated()
    bench.run_for(400_000)
    says(bench, "message.error", {"code": "chat_not_found"}, chat_id=CHAT)
    bench.run_for(GATE_MS - 1)
    assert is_gated(bench)
    bench.run_for(1)
    assert not is_gated(bench)


@pytest.mark.rule("ERR-12")
@pytest.mark.parametrize("event", ["message.send", "typing.update", "message.reaction", "message.ack", "future.event"])
def test_any_downlink_from_the_chat_opens_it_but_a_refusal(event: str) -> None:
    bench = gated()
    says(bench, "message.error", {"code": "bad_request"}, chat_id=CHAT)
    assert is_gated(bench)
    says(bench, event, {"is_typing": True}, chat_id=CHAT)
    assert ChatUngated(CHAT) in told(bench)
    assert not is_gated(bench)


@pytest.mark.rule("ERR-13", "NOTIFY-7")
@pytest.mark.parametrize(
    ("kind", "opens"),
    [
        ("conversation.created", True),
        ("conversation.updated", True),
        ("conversation.dissolved", False),
        ("friend.added", False),
        ("agent.config.changed", False),
    ],
)
def test_a_conversation_signal_opens_it(kind: str, opens: bool) -> None:
    bench = gated()
    signal(bench, kind, CHAT)
    assert is_gated(bench) is not opens
    assert any(isinstance(event, UnknownEvent) for event in told(bench))


@pytest.mark.rule("ERR-17")
def test_a_dissolved_chat_stops_typing_and_nothing_else() -> None:
    bench = online()
    signal(bench, "conversation.dissolved", CHAT)
    type_in(bench)
    assert uplinks(bench, "typing.update") == []
    assert not is_gated(bench)
    type_in(bench, OTHER_CHAT)
    assert len(uplinks(bench, "typing.update")) == 1
    bench.run_for(2 * GATE_MS)
    type_in(bench)
    assert len(uplinks(bench, "typing.update")) == 1  # no window: evidence ends it


@pytest.mark.rule("ERR-17")
@pytest.mark.parametrize("evidence", ["downlink", "signal"])
def test_evidence_of_life_ends_the_weaker_gate(evidence: str) -> None:
    bench = online()
    signal(bench, "conversation.dissolved", CHAT)
    if evidence == "downlink":
        says(bench, "message.send", message(), chat_id=CHAT, sender={"id": "u-2"})
    else:
        signal(bench, "conversation.updated", CHAT)
    type_in(bench)
    assert len(uplinks(bench, "typing.update")) == 1


def test_a_gate_does_not_touch_what_is_already_under_way() -> None:
    bench = online()
    first = send(bench, "one")
    send(bench, "two")
    one, two = uplinks(bench)
    refuse(bench, two, "not_member")
    ack(bench, one)
    assert isinstance(bench.results[first], Receipt)
