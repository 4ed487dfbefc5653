"""Whose message it is, what an agent should answer, and where an uplink may go."""

import pytest

from clawproto.app_events import MessageReceived, UnknownEvent
from clawproto.effects import SendFrame
from clawproto.json_types import Json
from clawproto.policy import Policy
from clawproto.results import SendRejected
from clawproto.wire.values import Peer
from tests.core.harness import emitted, of
from tests.core.link_harness import CHAT, SENDER, LinkBench, message_payload

OWN: Json = {"id": "u-1", "type": "direct", "nick_name": "Me"}


def received(bench: LinkBench) -> MessageReceived:
    """The one message that went to the application."""
    ((message, _),) = bench.delivered()
    return message


# --- self echo -----------------------------------------------------------------------------------------------------


@pytest.mark.rule("ROUTE-6")
def test_only_the_own_user_on_the_own_device_is_self_echo() -> None:
    bench = LinkBench()
    bench.message("msg-1", sender=OWN, origin_device_id="lab-01")
    assert not bench.delivered()


@pytest.mark.rule("ROUTE-6")
@pytest.mark.parametrize("origin", ["sibling", "", None, 5])
def test_the_own_user_elsewhere_is_a_sibling(origin: Json) -> None:
    bench = LinkBench()
    bench.message("msg-1", sender=OWN, origin_device_id=origin)
    message = received(bench)
    assert message.own and not message.conversational


@pytest.mark.rule("ROUTE-6")
@pytest.mark.parametrize("sender", ["usr_friend", "U-1", "u-1 ", "u-10"])
def test_other_users_are_never_echo_whatever_their_device(sender: str) -> None:
    bench = LinkBench()
    bench.message("msg-1", sender={"id": sender}, origin_device_id="lab-01")
    message = received(bench)
    assert not message.own and message.conversational


@pytest.mark.rule("ROUTE-6", "AUTH-10")
def test_a_message_without_a_sender_is_shown_but_not_answered() -> None:
    bench = LinkBench()
    bench.down("message.send", message_payload("msg-1"), chat_id=CHAT, origin_device_id="lab-01")
    message = received(bench)
    assert message.sender is None and not message.own and not message.conversational


@pytest.mark.rule("ROUTE-6", "R2-9")
def test_a_suppressed_echo_is_acknowledged_under_v2() -> None:
    bench = LinkBench(grant="v2")
    bench.message("msg-1", sender=OWN, origin_device_id="lab-01")
    bench.run_for(200)
    assert [one["payload"]["dseq"] for one in bench.uplinks("message.sync_ack")] == [1]


# --- what is conversational ----------------------------------------------------------------------------------------


@pytest.mark.rule("ROUTE-9")
def test_the_platform_is_nobody_to_talk_to() -> None:
    bench = LinkBench(grant="v2")
    effects = bench.message("sys-1", sender={"id": "system", "type": "direct", "nick_name": "System"})
    message = received(bench)
    assert message.system and not message.conversational
    assert not of(effects, SendFrame)  # no receipt, no reply


@pytest.mark.rule("SEND-21", "SEND-22", "EVT-4")
@pytest.mark.parametrize(
    ("mode", "conversational"),
    [("normal", True), ("", True), (None, True), (7, True), ("thinking", False), ("later", False), ("Normal", False)],
)
@pytest.mark.parametrize("chat_type", ["direct", "group", "a later type", None])
def test_only_ordinary_messages_are_input_for_an_agent(mode: Json, conversational: bool, chat_type: Json) -> None:
    bench = LinkBench(grant="v2")
    bench.stamped(
        "message.send",
        message_payload("msg-1", message_mode=mode),
        chat_id=CHAT,
        chat_type=chat_type,
        sender=SENDER,
    )
    assert received(bench).conversational is conversational
    bench.settle(bench.delivered()[0][1])
    bench.run_for(200)
    assert bench.uplinks("message.sync_ack")[0]["payload"]["dseq"] == 1  # stored, counted, acknowledged


@pytest.mark.rule("EVT-4", "CAP-6", "ENV-7")
@pytest.mark.parametrize("stamp", [{}, {"dseq": 1}])
def test_what_the_envelope_says_is_handed_over_with_the_message(stamp: dict[str, Json]) -> None:
    bench = LinkBench(grant="v2")
    hidden: Json = [{"alg": "later", "data": ["x"]}]
    bench.down("message.reply", message_payload("msg-1"), at_ms=7, sender=SENDER, ciphertext_fragments=hidden, **stamp)
    message = received(bench)
    assert (message.event, message.chat_id, message.chat_type, message.emitted_at_ms) == ("message.reply", "", None, 7)
    assert message.ciphertext_fragments == hidden and not message.streamed
    assert message.sender == Peer("usr_friend", "direct", "Friend")


@pytest.mark.rule("ROUTE-10")
@pytest.mark.parametrize("sender", ["usr_1", "agt_1", "anything", "0"])
def test_the_form_of_ids_says_nothing(sender: str) -> None:
    bench = LinkBench()
    bench.message("not an id at all", sender={"id": sender, "type": "agent"})
    message = received(bench)
    assert message.sender == Peer(sender, "agent") and message.conversational
    assert not hasattr(message, "is_agent")


@pytest.mark.rule("EVT-4", "EVT-5")
@pytest.mark.parametrize("event", ["message.send", "message.reply"])
def test_both_kinds_of_message_are_handed_over(event: str) -> None:
    bench = LinkBench()
    bench.down(event, message_payload("msg-1"), chat_id=CHAT, sender=SENDER)
    assert received(bench).event == event and received(bench).text == "hi"


@pytest.mark.rule("ENV-7", "RPL-6")
def test_the_order_and_the_identity_of_messages_do_not_depend_on_emitted_at() -> None:
    bench = LinkBench()
    for message_id, at_ms in (("msg-2", 2_000), ("msg-1", 1_000), ("msg-3", 1_000), ("msg-2", 9_000)):
        bench.message(message_id, at_ms=at_ms)
    assert [one.message.message_id for one, _ in bench.delivered()] == ["msg-2", "msg-1", "msg-3"]
    bench.message("msg-4", at_ms="yesterday")
    assert bench.delivered()[-1][0].emitted_at_ms is None


# --- any downlink, any order ---------------------------------------------------------------------------------------

CATALOGUE = [
    "message.created",
    "message.add",
    "message.done",
    "message.failed",
    "message.delivered",
    "message.reaction",
    "message.read",
    "history.transit",
    "presence.snapshot",
    "presence.update",
    "chat.metadata.invalidated",
    "permission.request",
    "permission.resolved",
    "history.truncated",
    "message.recall",
    "typing.update",
    "notify.signal",
    "replay.done",
    "sync.mark",
    "pong",
    "message.ack",
    "message.error",
    "message.send",
    "message.reply",
]


@pytest.mark.rule("EVT-6", "EVT-2", "RPL-4")
@pytest.mark.parametrize("grant", ["v1", "v2"])
def test_any_catalogued_downlink_may_come_first(grant: str) -> None:
    for event in CATALOGUE:
        bench = LinkBench(grant="v2" if grant == "v2" else "v1", liveness=False)
        payloads: list[dict[str, Json]] = [{}, {"is_typing": True, "code": "x", "type": "y"}, message_payload("msg-1")]
        for payload in payloads:
            bench.down(event, payload, chat_id=CHAT, sender=SENDER)
        assert bench.online and not bench.refreshes


@pytest.mark.rule("LEGACY-1", "RPL-10", "EVT-1", "D-28")
@pytest.mark.parametrize("event", ["offline.batch", "offline.ack", "offline.done"])
def test_retired_events_are_unknown_ones(event: str) -> None:
    bench = LinkBench(grant="v2")
    effects = bench.down(event, {"messages": [{"message_id": "msg-1"}]}, chat_id=CHAT)
    assert [one.frame.event for one in emitted(effects, UnknownEvent)] == [event]
    assert not of(effects, SendFrame) and not bench.delivered()
    assert bench.state.inbox.replay_until is not None  # and no replay.done


@pytest.mark.rule("EVT-2")
@pytest.mark.parametrize("event", ["", "message.later", "x" * 300, "MESSAGE.SEND", "message.send "])
def test_an_unknown_event_is_passed_on_and_disturbs_nothing(event: str) -> None:
    bench = LinkBench()
    effects = bench.down(event, {"x": 1}, chat_id=CHAT, later_field={"y": 2})
    assert [one.frame.event for one in emitted(effects, UnknownEvent)] == [event]
    assert bench.online and not of(effects, SendFrame)


@pytest.mark.rule("ENV-12")
def test_what_is_no_frame_is_counted_and_dropped() -> None:
    bench = LinkBench()
    for text in ("", "no json", "[]", "5", '{"version":"2"}', '{"version":2,"event":"pong"}', b"\xff"):
        bench.raw(text)
    bench.message("msg-1")
    assert bench.state.link.frames_rejected == 7
    assert bench.online and len(bench.delivered()) == 1


@pytest.mark.rule("ENV-15")
@pytest.mark.parametrize("message_id", ["", " ", "reaction:1:👍", "notify:x", "m" * 5_000, "\u0000"])
def test_ids_on_downlinks_are_taken_as_they_are(message_id: str) -> None:
    bench = LinkBench()
    bench.down("message.send", message_payload(message_id), chat_id="any chat", sender=SENDER)
    assert received(bench).message.message_id == message_id
    assert received(bench).chat_id == "any chat"


# --- uplinks -------------------------------------------------------------------------------------------------------


@pytest.mark.rule("ROUTE-7")
@pytest.mark.parametrize("chat_id", ["", "usr_1", "chat", "CNV_1", " cnv_1"])
def test_a_foreign_chat_id_is_refused_locally(chat_id: str) -> None:
    bench = LinkBench()
    result = bench.results[bench.send(chat_id)]
    assert isinstance(result, SendRejected) and result.code == "invalid_chat_id"
    assert result.reason is not None and "cnv_" in result.reason
    bench.type(chat_id=chat_id)
    assert [one["event"] for one in bench.uplinks()] == ["connect"]


@pytest.mark.rule("ROUTE-7")
def test_the_check_can_be_switched_off() -> None:
    bench = LinkBench(policy=Policy(require_chat_prefix=False))
    assert bench.send("room") not in bench.results
    bench.type(chat_id="room")
    assert [one["chat_id"] for one in bench.uplinks()[1:]] == ["room", "room"]


@pytest.mark.rule("ROUTE-7", "ENV-10")
def test_frames_without_a_chat_id_pass_the_check() -> None:
    bench = LinkBench(grant="v2")
    bench.message("msg-1")
    bench.settle(bench.delivered()[0][1])
    bench.answers_pings = False
    bench.run_for(31_000)
    control = [one for one in bench.uplinks() if one["event"] != "message.send"]
    assert {one["event"] for one in control} == {"connect", "message.sync_ack", "ping"}
    assert not any({"chat_id", "chat_type", "to", "sender"} & one.keys() for one in control)
