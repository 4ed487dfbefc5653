"""Nothing a peer can send makes the hub raise, answer with broken JSON, or lose its footing."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from clawproto.hub import HttpReceived, SocketText
from clawproto.hub.uplinks import HANDLERS
from tests.hub.harness import V2, World, frame

TEXT = st.text(st.characters(), max_size=12)
LEAF = (
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.sampled_from(["cnv_x", "all", "\0", "\ud800"])
)
JSON = st.recursive(LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))
FIELDS = (
    "message_id",
    "message",
    "fragments",
    "emoji",
    "target_message_id",
    "removed",
    "is_typing",
    "seq",
    "dseq",
    "epoch",
    "user_id",
    "last_read_emitted_at",
    "streaming",
)
PAYLOAD = JSON | st.dictionaries(st.sampled_from(FIELDS), JSON)


@given(st.lists(st.tuples(st.sampled_from(sorted(HANDLERS)), PAYLOAD, JSON, st.booleans(), JSON), max_size=8))
def test_any_uplink_is_survived(uplinks: list[tuple[str, Any, Any, bool, Any]]) -> None:
    world = World()
    agent = world.agent()
    client = world.connect(agent.access_token, "d1", "history_sync", "multi_device", *V2)
    other = world.connect(world.token(agent.owner_id), "d1", "delivery_receipt", *V2)
    for event, payload, to, right_chat, stray in uplinks:
        chat = agent.conversation_id if right_chat else stray
        uplink = frame(event, payload, chat_id=chat, to=to, target_device_id=stray, sender=stray)
        if client.ended is None:
            client.send(json.dumps(uplink))
    for text in (*client.texts, *other.texts):
        text.encode()
        assert isinstance(json.loads(text, parse_constant=pytest.fail), dict)
    assert client.ended is None or "device.cursor.reset" in {event for event, *_ in uplinks}


@given(st.binary(max_size=60) | TEXT | JSON.map(json.dumps))
def test_any_first_frame_and_any_later_one_is_survived(data: str | bytes) -> None:
    world = World()
    client = world.open()
    world.handle(SocketText(client.conn, data))
    assert client.ended is not None
    live = world.connect(world.agent().access_token)
    world.handle(SocketText(live.conn, data))
    assert live.ended is None


@given(
    st.sampled_from(["/v1/auth/refresh", "/v1/agents/connect", "/v1/agents/connect/check", "/v1/users/me", "/", "x"]),
    st.sampled_from(["GET", "POST", "PATCH"]),
    st.binary(max_size=40) | PAYLOAD.map(lambda value: json.dumps(value).encode()),
    TEXT,
)
def test_any_request_has_one_answer(path: str, method: str, body: bytes, header: str) -> None:
    world = World()
    headers = {"x-device-id": header, "authorization": header}
    world.handle(HttpReceived(1, method, path, {}, headers, body))
    assert len(world.http_effects) == 1


def test_deep_nesting_is_no_frame() -> None:
    world = World()
    client = world.connect(world.agent().access_token)
    client.take()
    for depth, fate in ((50, "SILENT-2"), (5_000, "SILENT-3"), (200_000, "SILENT-3")):
        text = '{"version":"2","event":"x","p":' + "[" * depth + '"\\u0000"' + "]" * depth + "}"
        assert client.send(text) == []
        assert world.hub.uplink_records[-1].fate == fate
