"""Delivery receipts: one for each message of somebody else, and what comes of ours."""

import pytest
from hypothesis import given, settings, strategies as st

from clawproto.app_events import MessageDelivered
from clawproto.config import Capabilities
from clawproto.json_types import Json
from clawproto.policy import Policy
from clawproto.results import Receipt
from tests.core.link_harness import CHAT, SENDER, Grant, LinkBench, message_payload

ON = Capabilities(delivery_receipt=True)


def receipts(bench: LinkBench) -> list[str]:
    return [one["payload"]["message_id"] for one in bench.uplinks("message.delivered")]


@pytest.mark.rule("DEL-1", "DEL-3", "RPL-5")
@pytest.mark.parametrize("grant", ["v1", "v2"])
def test_each_message_from_somebody_else_earns_one_live_or_replayed(grant: Grant) -> None:
    bench = LinkBench(grant=grant, capabilities=ON)
    bench.message("msg-1")
    deliver = bench.stamped if grant == "v2" else bench.down
    deliver("replay.done", {})
    deliver("message.reply", message_payload("msg-2"), chat_id=CHAT, sender=SENDER)
    assert receipts(bench) == ["msg-1", "msg-2"]
    one = bench.uplinks("message.delivered")[0]
    assert one["to"] == {"id": "usr_friend", "type": "direct"}
    assert one["chat_id"] == CHAT
    assert one["payload"] == {"message_id": "msg-1", "delivered_at": bench.now.wall_ms}


@pytest.mark.rule("DEL-2")
def test_none_without_the_capability() -> None:
    bench = LinkBench()
    bench.message("msg-1")
    assert receipts(bench) == []


@pytest.mark.rule("DEL-2", "ROUTE-9", "ROUTE-6")
@pytest.mark.parametrize(
    "envelope",
    [
        {"sender": {"id": "usr_agent"}},
        {"sender": {"id": "usr_agent"}, "origin_device_id": "lab-01"},
        {"sender": {"id": "system"}},
        {"sender": None},
        {"sender": {"id": ""}},
        {"sender": {"nick_name": "nobody"}},
    ],
)
def test_none_for_own_messages_for_the_platform_and_for_nobody(envelope: dict[str, Json]) -> None:
    bench = LinkBench(capabilities=ON)
    identity = bench.state.tokens.credentials.identity  # type: ignore[union-attr]
    if envelope["sender"] == {"id": "usr_agent"}:
        envelope = {**envelope, "sender": {"id": identity.user_id}}
    bench.message("msg-1", "hi", **envelope)
    assert receipts(bench) == []


@pytest.mark.rule("DEL-4", "DEL-1")
def test_at_most_one_for_each_message_and_connection() -> None:
    bench = LinkBench(grant="v2", capabilities=ON)
    bench.message("msg-1")
    bench.message("msg-1")
    bench.message("msg-1", "edited")
    assert receipts(bench) == ["msg-1"]
    bench.reconnect()
    bench.message("msg-1", "edited")
    bench.message("msg-1", "edited")
    assert receipts(bench) == ["msg-1", "msg-1"], "the first may have been lost with its connection"


def test_while_the_socket_closes_none_is_written() -> None:
    bench = LinkBench(grant="v2", capabilities=ON)
    bench.answers_close = False
    bench.stop()
    bench.message("msg-1")
    assert receipts(bench) == []


@pytest.mark.rule("DEL-3", "ROUTE-7")
@pytest.mark.parametrize(("chat_id", "checked"), [("chat-1", True), ("", True), ("", False), (None, False)])
def test_a_strange_chat_id_is_left_out(chat_id: str | None, checked: bool) -> None:
    bench = LinkBench(capabilities=ON, policy=Policy(require_chat_prefix=checked))
    bench.message("msg-1", chat_id=chat_id)
    (one,) = bench.uplinks("message.delivered")
    assert "chat_id" not in one and one["to"]["id"] == "usr_friend"


@pytest.mark.rule("DEL-7", "SEND-9")
def test_of_ours_the_application_is_told_and_silence_means_nothing() -> None:
    bench = LinkBench(capabilities=ON)
    command = bench.send()
    (sent,) = bench.uplinks("message.send")
    bench.ack(sent)
    assert isinstance(bench.results[command], Receipt)
    bench.run_for(600_000)
    assert not bench.told(MessageDelivered)
    payload: dict[str, Json] = {"message_id": sent["payload"]["message_id"], "delivered_at": 7}
    bench.down("message.delivered", payload, chat_id=CHAT, sender=SENDER)
    bench.down("message.delivered", {"message_id": "msg-x"})
    assert bench.told(MessageDelivered) == [
        MessageDelivered(sent["payload"]["message_id"], CHAT, "usr_friend", 7),
        MessageDelivered("msg-x", None, None, None),
    ]


@settings(max_examples=60)
@given(st.lists(st.one_of(st.none(), st.integers(0, 4)), max_size=25))
def test_one_receipt_for_each_message_and_connection_whatever_comes_again(arrivals: list[int | None]) -> None:
    """None stands for a broken connection."""
    bench = LinkBench(grant="v2", capabilities=ON)
    bench.liveness = False
    wanted: list[str] = []
    seen: set[int] = set()
    for number in arrivals:
        if number is None:
            bench.reconnect()
            seen.clear()
            continue
        bench.message(f"msg-{number}")
        if number not in seen:
            wanted.append(f"msg-{number}")
            seen.add(number)
    assert receipts(bench) == wanted
