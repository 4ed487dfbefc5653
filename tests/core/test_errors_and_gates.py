"""``message.error`` and the chat gates that some of them close."""

import pytest

from clawproto.app_events import ChatGated, ChatUngated, FrameRejected, RefusalReceived
from clawproto.effects import Logout
from clawproto.gates import GateTable
from clawproto.json_types import Json
from clawproto.policy import Policy
from clawproto.results import Receipt, SendGated, SendRejected, SendUndecided
from tests.core.harness import QUIET, credentials, emitted, jwt, rotated
from tests.core.link_harness import CHAT, OTHER_CHAT, SENDER, LinkBench, closing, message_payload

WINDOW_MS = 600_000
GATING = ["chat_not_found", "not_member"]
OTHERS = [
    "bad_request",
    "capability_missing",
    "unsupported_version",
    "message_too_large",
    "message_id_too_long",
    "internal",
    "a code of a later hub",
    "",
    "Not_Member",
]


def gated_bench(code: str = "not_member", policy: Policy | None = None) -> LinkBench:
    """A bench whose chat has just been gated."""
    bench = LinkBench(policy=policy)
    bench.send()
    bench.refuse(bench.uplinks("message.send")[0], code)
    assert bench.told(ChatGated) == [ChatGated(CHAT, code, WINDOW_MS)]
    return bench


def is_gated(bench: LinkBench, chat_id: str = CHAT) -> bool:
    """Whether a send to this chat is stopped now."""
    return isinstance(bench.results.get(bench.send(chat_id)), SendGated)


def may_type(bench: LinkBench, chat_id: str = CHAT) -> bool:
    """Whether a typing update goes out now, when we begin to write."""
    bench.type(False, chat_id)
    return len(bench.uplinks("typing.update", bench.type(chat_id=chat_id))) == 1


# --- message.error -------------------------------------------------------------------------------------------------


@pytest.mark.rule("ERR-2", "ERR-3", "ERR-4", "ERR-7")
@pytest.mark.parametrize("code", GATING + OTHERS)
def test_every_code_ends_that_send_and_nothing_else(code: str) -> None:
    bench = LinkBench(grant="v2")
    bench.message("msg-in")
    command, other = bench.send(message_id="msg-a"), bench.send(OTHER_CHAT, message_id="msg-b")
    inbox = bench.state.inbox
    effects = bench.refuse(bench.uplinks("message.send")[0], code, reason="why")
    assert bench.results == {command: SendRejected(CHAT, "msg-a", code, "why")}
    assert not closing(effects) and not bench.all(Logout) and bench.state.inbox == inbox
    bench.run_for(14_000)
    bench.closed(1006)
    bench.wait_for_socket()
    again = [one["payload"]["message_id"] for one in bench.uplinks("message.send")[2:]]
    assert again == ["msg-b"]  # never the refused one
    bench.ack(bench.uplinks("message.send")[-1])
    assert isinstance(bench.results[other], Receipt)


@pytest.mark.rule("ERR-2")
def test_the_deadline_of_a_refused_send_is_cancelled() -> None:
    bench = LinkBench()
    command = bench.send()
    bench.refuse(bench.uplinks("message.send")[0], "bad_request")
    assert len(bench.state.outbox.due) == 0
    bench.run_for(60_000)
    assert isinstance(bench.results[command], SendRejected)


@pytest.mark.rule("ERR-2")
def test_an_error_is_matched_by_trace_id_else_by_message_id() -> None:
    bench = LinkBench()
    first, second = bench.send(message_id="msg-a"), bench.send(message_id="msg-b")
    one, _ = bench.uplinks("message.send")
    bench.down("message.error", {"code": "bad_request", "message_id": "msg-b"}, trace_id=one["trace_id"])
    assert first in bench.results and second not in bench.results
    bench.down("message.error", {"code": "bad_request", "message_id": "msg-b"}, trace_id="unknown")
    assert second in bench.results


@pytest.mark.rule("ERR-2")
def test_an_error_that_fits_nothing_is_told_and_fails_nothing() -> None:
    bench = LinkBench()
    command = bench.send()
    refusal: dict[str, Json] = {"code": "bad_request", "message_id": "msg-x", "reason": "r"}
    for envelope, chat_id in ({}, None), ({"chat_id": CHAT}, CHAT):
        effects = bench.down("message.error", refusal, **envelope)
        assert emitted(effects, RefusalReceived) == [RefusalReceived(chat_id, "msg-x", "bad_request", "r")]
    assert command not in bench.results


@pytest.mark.rule("ERR-5")
@pytest.mark.parametrize("reason", ["not_member", "chat_not_found", "authentication failed", None, 5])
def test_the_reason_decides_nothing(reason: Json) -> None:
    bench = LinkBench()
    bench.send()
    bench.refuse(bench.uplinks("message.send")[0], "bad_request", reason=reason)
    assert not bench.told(ChatGated) and not bench.refreshes
    assert not is_gated(bench)


@pytest.mark.rule("ERR-5", "ENV-12")
@pytest.mark.parametrize("payload", [{}, {"code": 5}, {"code": None}, {"reason": "not_member"}])
def test_an_error_without_a_code_is_unusable(payload: dict[str, Json]) -> None:
    bench = LinkBench()
    command = bench.send()
    trace_id = bench.uplinks("message.send")[0]["trace_id"]
    effects = bench.down("message.error", payload, trace_id=trace_id, chat_id=CHAT)
    assert emitted(effects, FrameRejected)
    assert command not in bench.results and bench.online


# --- closing the gate ----------------------------------------------------------------------------------------------


@pytest.mark.rule("ERR-9", "ERR-10", "ERR-11")
@pytest.mark.parametrize("code", GATING)
def test_a_gate_stops_every_uplink_to_that_chat_at_once(code: str) -> None:
    bench = gated_bench(code)
    bench.run_for(1_000)
    before = len(bench.uplinks())
    command = bench.send()
    assert bench.results[command] == SendGated(CHAT, code, WINDOW_MS - 1_000)
    assert not may_type(bench)
    assert len(bench.uplinks()) == before
    assert not is_gated(bench, OTHER_CHAT) and may_type(bench, OTHER_CHAT)


@pytest.mark.rule("ERR-9")
@pytest.mark.parametrize("code", OTHERS)
def test_other_codes_close_no_gate(code: str) -> None:
    bench = LinkBench()
    bench.send()
    bench.refuse(bench.uplinks("message.send")[0], code)
    assert not is_gated(bench) and may_type(bench)


@pytest.mark.rule("ERR-9")
@pytest.mark.parametrize("code", GATING)
def test_an_error_without_a_pending_send_closes_the_gate_too(code: str) -> None:
    bench = LinkBench()
    bench.type()
    bench.refuse(bench.uplinks("typing.update")[0], code)
    assert is_gated(bench) and not may_type(bench)


@pytest.mark.rule("ERR-9")
def test_an_error_that_names_no_chat_gates_the_chat_of_its_send() -> None:
    bench = LinkBench()
    bench.send()
    trace_id = bench.uplinks("message.send")[0]["trace_id"]
    bench.down("message.error", {"code": "not_member"}, trace_id=trace_id)
    assert is_gated(bench)


@pytest.mark.rule("ERR-9", "ERR-10")
def test_a_late_error_gates_as_well() -> None:
    bench = LinkBench()
    bench.send()
    bench.run_for(20_000)
    bench.refuse(bench.uplinks("message.send")[0], "not_member")
    assert is_gated(bench)


@pytest.mark.rule("ERR-10", "ERR-11")
def test_the_gate_is_looked_at_again_when_the_queue_is_flushed() -> None:
    bench = LinkBench()
    bench.send()
    bench.answers_close = False
    bench.run_until_refresh()
    (uplink,) = bench.uplinks("message.send")
    bench.reply(rotated(jwt("a2", issued_ms=bench.now.wall_ms)))
    queued, other = bench.send(), bench.send(OTHER_CHAT)
    bench.refuse(uplink, "not_member")  # while closing
    bench.closed(1000)
    assert bench.online
    assert isinstance(bench.results[queued], SendGated)
    assert [one["chat_id"] for one in bench.uplinks("message.send")] == [CHAT, OTHER_CHAT]
    assert other not in bench.results
    bench.ack(bench.uplinks("message.send")[-1])
    bench.run_for(WINDOW_MS)
    assert bench.told(ChatUngated)
    bench.reconnect()
    assert len(bench.uplinks("message.send")) == 2, "what a gate has stopped does not wait for its end"


@pytest.mark.rule("ERR-10", "SEND-13", "SEND-17")
def test_a_gated_retransmission_stays_undecided_and_is_told_in_time() -> None:
    bench = LinkBench()
    command = bench.send()
    bench.down("message.error", {"code": "not_member"}, chat_id=CHAT)
    bench.closed(1006)
    bench.wait_for_socket()
    assert len(bench.uplinks("message.send")) == 1
    bench.run_for(15_000)
    assert isinstance(bench.results[command], SendUndecided)


@pytest.mark.rule("ERR-10", "SEND-14")
def test_a_gate_stops_the_retransmission_after_the_deadline() -> None:
    bench = LinkBench(policy=Policy(retransmit_after_timeout=True))
    command = bench.send()
    bench.down("message.error", {"code": "not_member"}, chat_id=CHAT)
    bench.run_for(15_000)
    assert len(bench.uplinks("message.send")) == 1
    assert isinstance(bench.results[command], SendUndecided)


@pytest.mark.rule("ERR-15")
@pytest.mark.parametrize("code", GATING)
def test_the_conversation_with_the_owner_is_exempt(code: str) -> None:
    bench = LinkBench(credentials(conversation_id=CHAT))
    bench.send()
    bench.refuse(bench.uplinks("message.send")[0], code)
    assert not bench.told(ChatGated)
    assert not is_gated(bench) and may_type(bench)


# --- opening it again ----------------------------------------------------------------------------------------------


@pytest.mark.rule("ERR-14")
def test_the_gate_falls_after_six_hundred_seconds_to_the_millisecond() -> None:
    bench = gated_bench()
    bench.run_for(WINDOW_MS - 1)
    assert is_gated(bench) and not may_type(bench)
    effects = bench.run_for(1)
    assert emitted(effects, ChatUngated) == [ChatUngated(CHAT)]
    assert not is_gated(bench) and may_type(bench)


@pytest.mark.rule("ERR-14")
def test_an_idle_session_wakes_up_for_the_end_of_the_window() -> None:
    bench = gated_bench(policy=QUIET)
    assert not emitted(bench.run_for(WINDOW_MS - 1), ChatUngated)
    assert emitted(bench.run_for(1), ChatUngated) == [ChatUngated(CHAT)]


@pytest.mark.rule("ERR-14")
def test_at_the_end_of_the_window_the_gate_is_open_although_no_timer_ran() -> None:
    bench = gated_bench()
    bench.pass_time(WINDOW_MS)
    assert not is_gated(bench)


@pytest.mark.rule("ERR-14")
def test_a_new_rejection_starts_a_full_window() -> None:
    bench = gated_bench()
    bench.run_for(WINDOW_MS - 1_000)
    bench.down("message.error", {"code": "chat_not_found"}, chat_id=CHAT)
    bench.run_for(WINDOW_MS - 1)
    assert is_gated(bench)
    bench.run_for(1)
    assert not is_gated(bench)


@pytest.mark.rule("ERR-12", "ERR-16")
@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("message.send", message_payload("msg-1")),
        ("message.ack", {"message_id": "x", "accepted_at": 1}),
        ("typing.update", {"is_typing": True}),
        ("message.read", {}),
        ("message.reaction", {}),
        ("chat.metadata.invalidated", {}),
        ("a.later.event", {}),
        ("message.send", {"malformed": True}),
    ],
)
def test_any_downlink_of_the_chat_but_an_error_opens_the_gate(event: str, payload: dict[str, Json]) -> None:
    bench = gated_bench()
    bench.down(event, payload, chat_id=OTHER_CHAT, sender=SENDER)
    bench.down(event, payload, sender=SENDER)
    bench.down("message.error", {"code": "bad_request"}, chat_id=CHAT)
    assert is_gated(bench) and not bench.told(ChatUngated)
    effects = bench.down(event, payload, chat_id=CHAT, sender=SENDER)
    assert emitted(effects, ChatUngated) == [ChatUngated(CHAT)]
    assert not is_gated(bench) and may_type(bench)


@pytest.mark.rule("ERR-12", "ERR-17")
def test_evidence_of_life_of_one_chat_leaves_the_gates_of_others_alone() -> None:
    bench = gated_bench()
    third = f"{CHAT}3"
    for number, chat_id in enumerate((OTHER_CHAT, third)):
        dissolved: dict[str, Json] = {
            "type": "conversation.dissolved",
            "entity_id": chat_id,
            "event_id": f"evt-{number}",
        }
        bench.down("notify.signal", dissolved)
    bench.message("msg-1", chat_id=third)
    assert may_type(bench, third) and not may_type(bench, OTHER_CHAT) and is_gated(bench)
    bench.message("msg-2", chat_id=CHAT)
    assert may_type(bench) and not is_gated(bench) and not may_type(bench, OTHER_CHAT)


@pytest.mark.rule("ERR-16")
def test_a_gate_filters_no_downlink() -> None:
    bench = gated_bench()
    bench.message("msg-1")
    assert len(bench.delivered()) == 1


@pytest.mark.rule("ERR-13", "ERR-17")
@pytest.mark.parametrize("kind", ["conversation.created", "conversation.member_added", "conversation.later"])
def test_a_conversation_signal_opens_both_gates(kind: str) -> None:
    bench = gated_bench()
    bench.down("notify.signal", {"type": "conversation.dissolved", "entity_id": CHAT, "event_id": "evt-1"})
    assert is_gated(bench)  # a dissolution is no evidence of life
    bench.down("notify.signal", {"type": kind, "entity_id": CHAT, "event_id": "evt-2"})
    assert not is_gated(bench) and may_type(bench)


@pytest.mark.rule("ERR-13")
@pytest.mark.parametrize(
    "payload",
    [
        {"type": "friend.request", "entity_id": CHAT},
        {"type": "conversation.created", "entity_id": OTHER_CHAT},
        {"type": "conversation.created"},
        {"type": "conversationcreated", "entity_id": CHAT},
        {"entity_id": CHAT},
        {"type": 5, "entity_id": CHAT},
    ],
)
def test_other_signals_open_nothing(payload: dict[str, Json]) -> None:
    bench = gated_bench()
    bench.down("notify.signal", {"event_id": "evt-1", **payload})
    assert is_gated(bench)


@pytest.mark.rule("ERR-17", "D-30")
def test_a_dissolved_conversation_stops_typing_and_nothing_else() -> None:
    bench = LinkBench()
    bench.down("notify.signal", {"type": "conversation.dissolved", "entity_id": CHAT, "event_id": "evt-1"})
    assert not may_type(bench) and not is_gated(bench)
    assert may_type(bench, OTHER_CHAT)
    bench.run_for(2 * WINDOW_MS)
    assert not may_type(bench)  # no window: evidence of life only
    bench.message("msg-1")
    assert len(bench.delivered()) == 1 and may_type(bench)


@pytest.mark.rule("ERR-12")
def test_gates_outlive_a_reconnect() -> None:
    bench = gated_bench()
    bench.closed(1006)
    bench.wait_for_socket()
    assert is_gated(bench)


# --- bounds --------------------------------------------------------------------------------------------------------


def chat(number: int) -> str:
    """A chat id."""
    return f"cnv_{number:026d}"


@pytest.mark.rule("ERR-18")
def test_the_gate_table_is_bounded_and_the_oldest_goes_first() -> None:
    bench = LinkBench(liveness=False)
    for number in range(513):
        bench.down("message.error", {"code": "not_member"}, chat_id=chat(number))
    assert not is_gated(bench, chat(0))
    assert is_gated(bench, chat(1)) and is_gated(bench, chat(512))
    assert len(bench.state.outbox.gates.gated.gates) == 512


@pytest.mark.rule("ERR-18", "ERR-17")
def test_the_table_of_dissolved_chats_is_bounded_as_well() -> None:
    bench = LinkBench(liveness=False, policy=Policy(gate_table=3))
    for number in range(4):
        dissolved: dict[str, Json] = {"type": "conversation.dissolved", "entity_id": chat(number)}
        bench.down("notify.signal", {**dissolved, "event_id": f"evt-{number}"})
    assert [may_type(bench, chat(number)) for number in range(4)] == [True, False, False, False]


@pytest.mark.rule("ERR-18", "ERR-14")
def test_a_renewed_gate_counts_as_young() -> None:
    bench = LinkBench(policy=Policy(gate_table=2))
    for number in (0, 1, 0, 2):
        bench.down("message.error", {"code": "not_member"}, chat_id=chat(number))
    assert [is_gated(bench, chat(number)) for number in range(3)] == [True, False, True]


@pytest.mark.rule("ERR-18", "ROUTE-7")
@pytest.mark.parametrize("foreign", ["", "chat-1", "usr_1", "CNV_1"])
def test_gates_are_kept_for_conversation_ids_only(foreign: str) -> None:
    bench = LinkBench()
    bench.down("message.error", {"code": "not_member"}, chat_id=foreign)
    bench.down("notify.signal", {"type": "conversation.dissolved", "entity_id": foreign, "event_id": "evt-1"})
    assert bench.state.outbox.gates.gated == GateTable() == bench.state.outbox.gates.muted


@pytest.mark.rule("ERR-18", "ROUTE-7")
def test_with_the_check_switched_off_other_chats_are_gated_too() -> None:
    bench = LinkBench(policy=Policy(require_chat_prefix=False))
    bench.down("message.error", {"code": "not_member"}, chat_id="room")
    assert is_gated(bench, "room")
