"""What a received frame means to the application, whatever comes in whatever order."""

import itertools
from typing import Any

import pytest

from clawproto.app_events import FrameRejected, MessageReceived
from clawproto.events import Settle
from clawproto.json_types import Json
from clawproto.rest_format import websocket_url
from tests.core.messaging import CHAT, message, online, says, told, uplinks

CATALOGUE: dict[str, dict[str, Json]] = {
    "connect.challenge": {"nonce": "n"},
    "hello-ok": {"device_id": "other", "delivery_mode": "device_replay"},
    "hello-fail": {"reason": "authentication failed"},
    "message.send": message(message_id="msg-s"),
    "message.reply": message(message_id="msg-r"),
    "message.ack": {"message_id": "msg-x", "accepted_at": 1},
    "message.error": {"code": "bad_request", "rejected_at": 1},
    "message.created": {"message_id": "msg-c"},
    "message.add": {"message_id": "msg-c", "sequence": 0},
    "message.done": {"message_id": "msg-c"},
    "message.failed": {"message_id": "msg-c"},
    "message.delivered": {"message_id": "msg-d", "delivered_at": 1},
    "message.reaction": {"message_id": "rxn:a:b", "target_message_id": "a", "emoji": "x"},
    "message.read": {"last_read_emitted_at": 1},
    "message.recall": {"message_id": "rcl:a", "target_message_id": "a"},
    "history.transit": {"kind": "history_sync_request"},
    "history.truncated": {"oldest_seq": 5},
    "typing.update": {"is_typing": True},
    "presence.snapshot": {"user_id": "usr_1", "online": True},
    "presence.update": {"user_id": "usr_1", "online": False},
    "chat.metadata.invalidated": {"scope": ["title"]},
    "notify.signal": {"type": "friend.added", "entity_id": "e", "version": 1, "event_id": "i", "message_id": "m"},
    "permission.request": {"request_id": "q"},
    "permission.resolved": {"request_id": "q"},
    "replay.done": {},
    "sync.mark": {"covers_seq": 4},
    "pong": {},
}


@pytest.mark.rule("EVT-6", "EVT-2", "HS-21")
def test_any_two_catalogued_downlinks_may_follow_each_other() -> None:
    bench = online(liveness=False)
    for first, second in itertools.product(CATALOGUE, repeat=2):
        for event in (first, second):
            says(bench, event, CATALOGUE[event], chat_id=CHAT, sender={"id": "u-2", "type": "direct"})
    assert bench.state.connected
    assert not [event for event in told(bench) if isinstance(event, FrameRejected)]
    assert bench.state.link.device_id == "lab-01"


def received(sender: Json, **changes: Json) -> MessageReceived:
    """What the application is told of one message from ``sender``."""
    bench = online()
    says(bench, "message.send", message(**changes), chat_id=CHAT, sender=sender)
    (event,) = [event for event in told(bench) if isinstance(event, MessageReceived)]
    return event


@pytest.mark.rule("SEND-22", "SEND-21")
@pytest.mark.parametrize(
    ("mode", "conversational"), [("", True), ("normal", True), ("thinking", False), ("of a later hub", False)]
)
def test_an_agent_answers_ordinary_messages_only_but_is_told_of_all(mode: str, conversational: bool) -> None:
    event = received({"id": "u-2"}, message_mode=mode)
    assert event.conversational is conversational
    assert event.message.message_mode == mode


@pytest.mark.rule("SEND-22")
def test_what_an_agent_skips_is_counted_and_acknowledged_all_the_same() -> None:
    bench = online()
    bench.run_for(6_000)
    for number, mode in enumerate(["thinking", "normal"], 1):
        payload = message(message_id=f"msg-{number}", message_mode=mode)
        says(bench, "message.send", payload, chat_id=CHAT, sender={"id": "u-2"}, seq=number * 10)
    for event in range(1, 3):
        bench.step(Settle(event))
    bench.run_for(200)
    assert [frame["payload"]["seq"] for frame in uplinks(bench, "message.cursor_ack")] == [20]


@pytest.mark.rule("ROUTE-9")
def test_a_notice_of_the_platform_is_no_turn_of_a_conversation() -> None:
    metadata: dict[str, Any] = {"kind": "permission_result"}
    event = received({"id": "system", "type": "direct"}, metadata=metadata)
    assert event.system and not event.conversational
    assert event.message.metadata == metadata
    assert not received({"id": "u-2"}).system
    bench = online()
    says(bench, "message.send", message(), chat_id=CHAT, sender={"id": "system"})
    assert uplinks(bench, "message.delivered") == []


@pytest.mark.rule("AUTH-8")
@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        ("https://chat.example", "wss://chat.example/ws"),
        ("https://chat.example:8443/api/", "wss://chat.example:8443/ws"),
        ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/ws"),
    ],
)
def test_a_websocket_address_can_be_derived(base_url: str, expected: str) -> None:
    assert websocket_url(base_url) == expected


@pytest.mark.rule("AUTH-8")
@pytest.mark.parametrize("base_url", ["", "chat.example", "ftp://chat.example", "https://"])
def test_from_other_addresses_it_cannot(base_url: str) -> None:
    with pytest.raises(ValueError, match="http"):
        websocket_url(base_url)
