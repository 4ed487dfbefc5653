"""What the hub does with uplinks: order of inspection, routing, acks, refusals and silence."""

import json
import re
from typing import Any

import pytest

from clawproto.hub import CloseSocket, HubSettings
from tests.hub.harness import START_MS, V1, Client, Frame, World, frame, message


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def pair(world: World) -> tuple[Client, Client, str]:
    """Ann and Bob on live sockets, and their conversation."""
    ann, bob, chat = world.pair_of_users()
    clients = world.connect(world.token(ann), "d1"), world.connect(world.token(bob), "d1")
    for client in clients:
        client.take()
    return *clients, chat


def fates(world: World) -> list[str]:
    return [record.fate for record in world.hub.uplink_records]


def only(frames: list[Frame]) -> Frame:
    assert len(frames) == 1, frames
    return frames[0]


# --- send and ack --------------------------------------------------------------------------------------------------


@pytest.mark.rule("SEND-8", "ENV-6", "ROUTE-5", "ENV-10")
def test_the_ack_goes_to_the_sender_alone(world: World, pair: tuple[Client, Client, str]) -> None:
    ann, bob, chat = pair
    to = {"id": "whoever", "type": "mood", "x": [1]}
    world.sleep(5)
    ack = only(ann.send(message(chat, to=to, trace_id="s-31")))
    assert ack == {
        "version": "2",
        "event": "message.ack",
        "trace_id": "s-31",
        "emitted_at": START_MS + 5,
        "chat_id": chat,
        "to": to,
        "payload": {"message_id": "msg-1", "accepted_at": START_MS + 5},
    }
    assert bob.events() == ["message.send"]


@pytest.mark.rule("ENV-3", "ENV-4", "ENV-8", "ENV-5", "SEND-10", "ROUTE-2", "ENV-1")
def test_the_downlink_is_rebuilt(world: World, pair: tuple[Client, Client, str]) -> None:
    ann, bob, chat = pair
    forged = message(
        chat,
        sender={"id": "usr_other", "type": "agent", "nick_name": "Eve"},
        chat_type="group",
        origin_device_id="elsewhere",
        seq=9,
        dseq=9,
        to={"id": "x", "type": "y", "z": 1},
        surprise=True,
    )
    forged["payload"]["metadata"] = {"kind": "permission_result"}
    forged["payload"]["message"]["streaming"] = {"status": "streaming"}
    ann.send(forged)
    received = only(bob.take())
    user_id = received["sender"]["id"]
    assert user_id.startswith("usr_")
    assert received == {
        "version": "2",
        "event": "message.send",
        "trace_id": received["trace_id"],
        "emitted_at": START_MS,
        "chat_id": chat,
        "chat_type": "direct",
        "to": {"id": "x", "type": "y", "z": 1},
        "sender": {"id": user_id, "type": "direct", "nick_name": "Ann"},
        "origin_device_id": "d1",
        "payload": {
            "message_id": "msg-1",
            "message_mode": "normal",
            "message": {
                "body": {"fragments": [{"kind": "text", "text": "hi"}]},
                "context": {"mentions": [], "reply": None},
                "streaming": {
                    "status": "static",
                    "sequence": 0,
                    "mutation_policy": "sealed",
                    "started_at": None,
                    "completed_at": None,
                },
            },
        },
    }


@pytest.mark.rule("SEND-7")
@pytest.mark.parametrize("message_id", ["x", " odd id ✓ ", "notify:a:b"])
def test_client_ids_are_kept_verbatim(pair: tuple[Client, Client, str], message_id: str) -> None:
    ann, bob, chat = pair
    assert only(ann.send(message(chat, message_id=message_id)))["payload"]["message_id"] == message_id
    assert only(bob.take())["payload"]["message_id"] == message_id


@pytest.mark.rule("SEND-7", "ROUTE-10")
@pytest.mark.parametrize("message_id", [None, "", "\0"])
def test_the_hub_mints_a_missing_id(pair: tuple[Client, Client, str], message_id: str | None) -> None:
    ann, bob, chat = pair
    minted = only(ann.send(message(chat, message_id=message_id)))["payload"]["message_id"]
    assert re.fullmatch(r"msg-[0-7][0-9A-HJKMNP-TV-Z]{25}", minted)
    assert only(bob.take())["payload"]["message_id"] == minted


@pytest.mark.rule("SEND-3", "SEND-23")
def test_mode_and_mentions_are_relayed_unjudged(pair: tuple[Client, Client, str]) -> None:
    ann, bob, chat = pair
    for mode, mentions in (
        ("thinking", [{"kind": "mention", "user_id": "all", "q": 1}, "usr_x", None, 5]),
        (None, None),
    ):
        uplink = message(chat)
        uplink["payload"]["message"]["context"]["mentions"] = mentions
        if mode is None:
            del uplink["payload"]["message_mode"]
            del uplink["payload"]["message"]["context"]["mentions"]
        else:
            uplink["payload"]["message_mode"] = mode
        ann.send(uplink)
        payload = only(bob.take())["payload"]
        assert payload["message_mode"] == (mode or "")
        assert payload["message"]["context"]["mentions"] == mentions


@pytest.mark.rule("FRAG-2", "FRAG-1")
def test_fragments_keep_exactly_the_named_fields(pair: tuple[Client, Client, str]) -> None:
    ann, bob, chat = pair
    known = {
        "text": "a",
        "user_id": "u",
        "display": "d",
        "url": "https://x/y",
        "name": "n",
        "mime": "m/x",
        "size": 1,
        "width": 2,
        "height": 3,
        "duration": 4,
    }
    kinds = ("text", "mention", "image", "video", "audio", "file", "weather")
    uplink = message(chat)
    uplink["payload"]["message"]["body"]["fragments"] = [
        {"kind": kind, **known, "delta": "x", "temperature": 5} for kind in kinds
    ]
    ann.send(uplink)
    fragments = only(bob.take())["payload"]["message"]["body"]["fragments"]
    assert fragments == [{"kind": kind, **known} for kind in kinds]


def test_replies_carry_their_preview(pair: tuple[Client, Client, str]) -> None:
    ann, bob, chat = pair
    uplink = message(chat)
    uplink["event"] = "message.reply"
    preview = {"id": "usr_b", "nick_name": "Bob", "fragments": [{"kind": "text", "text": "q", "x": 1}], "y": 2}
    uplink["payload"]["message"]["context"]["reply"] = {"reply_to_msg_id": "msg-0", "reply_preview": preview}
    ann.send(uplink)
    received = only(bob.take())
    assert received["event"] == "message.reply"
    assert received["payload"]["message"]["context"]["reply"] == {
        "reply_to_msg_id": "msg-0",
        "reply_preview": {"id": "usr_b", "nick_name": "Bob", "fragments": [{"kind": "text", "text": "q"}]},
    }


@pytest.mark.rule("ENV-9")
def test_nul_vanishes_from_every_string_live_and_replayed(world: World) -> None:
    ann, bob, chat = world.pair_of_users()
    sender, live = world.connect(world.token(ann)), world.connect(world.token(bob))
    for client in (sender, live):
        client.take()
    ack = only(sender.send(message(chat, "a\0b", "msg\0-1", to={"id": "x\0", "type": "direct"})))
    assert ack["payload"]["message_id"] == "msg-1"
    assert ack["to"]["id"] == "x"
    replayed = world.connect(world.token(bob), "d2")
    copies = only(live.take()), replayed.take()[0]
    assert copies[0] == copies[1]
    assert copies[0]["payload"]["message"]["body"]["fragments"] == [{"kind": "text", "text": "ab"}]
    assert all("\\u0000" not in text for client in (live, replayed) for text in client.texts)


# --- routing -------------------------------------------------------------------------------------------------------


@pytest.mark.rule("ROUTE-1", "ROUTE-2", "ROUTE-3")
def test_groups_reach_every_member_but_the_sender(world: World) -> None:
    users = [world.hub.create_user(name) for name in ("Ann", "Bob", "Cid")]
    group, direct = world.hub.create_conversation(users), world.hub.create_conversation(users[:2])
    clients = [world.connect(world.token(user)) for user in users]
    for client in clients:
        client.take()
    clients[0].send(message(group, to={"id": users[1], "type": "direct"}))
    assert [client.take()[0]["chat_type"] for client in clients[1:]] == ["group", "group"]
    clients[0].send(message(direct, message_id="msg-2", to={"id": users[2], "type": "group"}))
    assert only(clients[1].take())["chat_type"] == "direct"
    assert clients[2].take() == []


@pytest.mark.rule("ROUTE-3")
def test_the_stored_alias_chat_never_reaches_the_wire(world: World, pair: tuple[Client, Client, str]) -> None:
    ann, bob, chat = pair
    world.hub.set_stored_chat_type(chat, "chat")
    ann.send(message(chat))
    assert only(bob.take())["chat_type"] == "direct"
    assert '"chat_type":"chat"' not in "".join(bob.texts)


@pytest.mark.rule("ROUTE-4", "ROUTE-5", "CAP-3")
def test_echo_depends_on_the_sending_connection(world: World) -> None:
    ann, bob, chat = world.pair_of_users()
    token = world.token(ann)
    phone, desk, plain = (
        world.connect(token, "phone", "multi_device"),
        world.connect(token, "desk"),
        world.connect(token, "plain"),
    )
    for client in (phone, desk, plain):
        client.take()
    assert [item["event"] for item in phone.send(message(chat))] == ["message.ack"]
    for client in (desk, plain):
        echo = only(client.take())
        assert (echo["sender"]["id"], echo["origin_device_id"]) == (ann, "phone")
    plain.send(message(chat, message_id="msg-2"))
    assert phone.take() == desk.take() == []
    assert world.connect(world.token(bob)).events() == ["message.send", "message.send", "replay.done"]


@pytest.mark.rule("ROUTE-8", "ERR-1", "ERR-6", "ERR-20")
def test_refusals_by_the_strict_resolver(world: World, pair: tuple[Client, Client, str]) -> None:
    ann, bob, chat = pair
    others = world.hub.create_conversation([world.hub.create_user("Cid"), world.hub.create_user("Eve")])
    for chat_id, code in (
        ("cnv_short", "bad_request"),
        ("usr_01K9F40000QRSTVWXYZ0123456", "bad_request"),
        ("cnv_01K9F40000QRSTVWXYZ0123456", "chat_not_found"),
        (others, "not_member"),
    ):
        error = only(ann.send(message(chat_id, trace_id="s-1", to={"id": "a", "type": "direct"})))
        assert error == {
            "version": "2",
            "event": "message.error",
            "trace_id": "s-1",
            "emitted_at": START_MS,
            "chat_id": chat_id,
            "to": {"id": "a", "type": "direct"},
            "payload": {"code": code, "message_id": "msg-1", "rejected_at": START_MS},
        }
    assert bob.take() == []
    assert ann.ended is None
    assert ann.send(message(chat))[0]["event"] == "message.ack"


@pytest.mark.rule("ROUTE-8")
def test_the_mock_resolver_takes_any_id() -> None:
    world = World(HubSettings(resolver="mock"))
    client = world.connect(world.token(world.hub.create_user("Ann")))
    client.take()
    assert only(client.send(message("direct:a:b")))["payload"]["code"] == "chat_not_found"


@pytest.mark.rule("ERR-19", "LIM-4", "ERR-20")
def test_message_ids_are_measured_in_utf8_bytes_before_anything_else(pair: tuple[Client, Client, str]) -> None:
    ann, _, chat = pair
    assert ann.send(message(chat, message_id="é" * 256))[0]["event"] == "message.ack"
    for chat_id in (chat, "nonsense"):
        error = only(ann.send(message(chat_id, message_id="é" * 256 + "x")))
        assert error["payload"]["code"] == "message_id_too_long"
        assert "513" in error["payload"]["reason"]
        assert "512" in error["payload"]["reason"]


@pytest.mark.rule("ERR-19", "LIM-2")
def test_a_downlink_above_a_million_bytes_is_refused(pair: tuple[Client, Client, str]) -> None:
    ann, bob, chat = pair
    low, high = 990_000, 1_000_000
    while high - low > 1:
        middle = (low + high) // 2
        event = ann.send(message(chat, "x" * middle))[0]["event"]
        low, high = (middle, high) if event == "message.ack" else (low, middle)
    bob.take()
    ann.send(message(chat, "x" * low))
    assert 999_900 < len(bob.texts[-1].encode()) <= 1_000_000
    error = only(ann.send(message(chat, "x" * high)))
    assert error["payload"]["code"] == "message_too_large"
    assert only(bob.take())["event"] == "message.send"


@pytest.mark.rule("LIM-1")
def test_an_uplink_above_8_mib_closes_with_1009_and_no_error(pair: tuple[Client, Client, str]) -> None:
    ann, _, _ = pair
    text = json.dumps(frame("future", {}))
    assert ann.send(text + " " * (8 * 1024 * 1024 - len(text))) == []
    assert ann.ended is None
    assert ann.send(text + " " * (8 * 1024 * 1024 - len(text) + 1)) == []
    assert isinstance(ann.ended, CloseSocket)
    assert ann.ended.code == 1009


# --- inspection and silence ----------------------------------------------------------------------------------------


@pytest.mark.rule("ENV-11", "ERR-8", "ENV-1", "ERR-6")
@pytest.mark.parametrize("version", [2, "1", None, "2 ", True])
@pytest.mark.parametrize("event", ["message.send", "ping", "message.sync_ack", "future.event", "offline.ack", 5])
def test_a_wrong_version_is_answered_before_all_else(
    pair: tuple[Client, Client, str], version: object, event: object
) -> None:
    ann, _, _ = pair
    sent: Frame = {"version": version, "event": event, "trace_id": "v", "payload": {"message_id": "m"}}
    if version is None:
        del sent["version"]
    error = only(ann.send(sent))
    assert (error["event"], error["trace_id"]) == ("message.error", "v")
    assert error["payload"] == {"code": "unsupported_version", "message_id": "m", "rejected_at": START_MS}
    assert "chat_id" not in error
    assert ann.ended is None


SILENT: list[tuple[str, Any]] = [
    ("SILENT-1", frame("message.send", {})),
    ("SILENT-1", frame("message.reply", {}, chat_id="")),
    ("SILENT-1", frame("message.created", {}, chat_id=None)),
    ("SILENT-1", frame("message.add", {}, chat_id=5)),
    ("SILENT-1", frame("message.done", {})),
    ("SILENT-1", frame("message.failed", {})),
    ("SILENT-1", frame("typing.update", {"is_typing": True})),
    ("SILENT-1", frame("message.reaction", {"target_message_id": "m", "emoji": "x"})),
    ("SILENT-2", frame("future.event", {}, chat_id="cnv_x")),
    ("SILENT-2", frame("pong", {})),
    ("SILENT-2", frame("notify.signal", {})),
    ("SILENT-2", frame("message.recall", {"target_message_id": "m"})),
    ("SILENT-2", {"version": "2"}),
    ("SILENT-3", "{"),
    ("SILENT-3", "[]"),
    ("SILENT-3", "NaN"),
    ("SILENT-3", '{"version":"2","event":"ping","x":NaN}'),
    ("SILENT-3", b"\xff"),
    ("SILENT-3", "[" * 100_000),
    ("SILENT-4", frame("typing.update", {"is_typing": True}, chat_id="nonsense")),
    ("SILENT-4", frame("typing.update", {"is_typing": True}, chat_id="cnv_01K9F40000QRSTVWXYZ0123456")),
    ("SILENT-5", frame("message.delivered", {"message_id": "m", "delivered_at": 1})),
    ("SILENT-5", frame("message.delivered", {}, to={"type": "direct"})),
    ("SILENT-6", frame("message.read", {"last_read_emitted_at": 5})),
    ("SILENT-6", frame("message.read", {"last_read_emitted_at": 0}, chat_id="c")),
    ("SILENT-6", frame("message.read", {"last_read_emitted_at": True}, chat_id="c")),
    ("SILENT-6", frame("message.read", [], chat_id="c")),
    ("SILENT-7", frame("message.cursor_ack", {"seq": 0})),
    ("SILENT-7", frame("message.cursor_ack", {"seq": "5"})),
    ("SILENT-7", frame("message.cursor_ack", {"seq": True})),
    ("SILENT-8", frame("message.sync_ack", {"dseq": 1, "epoch": "foreign"})),
    ("SILENT-9", frame("history.transit", {"kind": "x"})),
    ("SILENT-10", frame("presence.subscribe", {"user_id": "cnv_1"})),
    ("SILENT-10", frame("presence.subscribe", {})),
    ("SILENT-10", frame("presence.unsubscribe", {"user_id": 5})),
    ("handled", frame("presence.unsubscribe", {"user_id": "usr_x"})),
    ("SILENT-13", frame("offline.ack", {"batch_id": 1})),
]


@pytest.mark.rule(
    "SILENT-1", "SILENT-2", "SILENT-3", "SILENT-4", "SILENT-5", "SILENT-6", "SILENT-7", "SILENT-8", "SILENT-9"
)
@pytest.mark.rule(
    "SILENT-10", "SILENT-13", "PRES-7", "EVT-1", "EVT-3", "SEND-24", "HUB-3", "HUB-4", "LEGACY-2", "TYPE-5"
)
@pytest.mark.parametrize(
    ("fate", "uplink"), SILENT, ids=[f"{number}-{fate}" for number, (fate, _) in enumerate(SILENT)]
)
def test_silence(world: World, fate: str, uplink: Any) -> None:
    client = world.connect(world.token(world.hub.create_user("Ann")), "d1", "history_sync")
    client.take()
    assert client.send(uplink) == []
    assert client.ended is None
    assert fates(world) == [fate]


@pytest.mark.rule("SILENT-4", "TYPE-5")
def test_typing_of_an_outsider_is_dropped(world: World, pair: tuple[Client, Client, str]) -> None:
    _, bob, chat = pair
    outsider = world.connect(world.token(world.hub.create_user("Eve")))
    outsider.take()
    assert outsider.send(frame("typing.update", {"is_typing": True}, chat_id=chat)) == []
    assert bob.take() == []
    assert fates(world) == ["SILENT-4"]


@pytest.mark.rule("SILENT-11", "CLOSE-14", "HUB-5")
def test_a_full_buffer_swallows_answers_after_the_deed(world: World, pair: tuple[Client, Client, str]) -> None:
    ann, bob, chat = pair
    world.do(world.hub.buffer_full(user_id=_user(world, ann)))
    assert ann.send(message(chat)) == []
    assert ann.send(frame("ping", {})) == []
    assert ann.send(message("nonsense")) == []
    assert only(bob.take())["event"] == "message.send"
    assert fates(world) == ["acked, ack lost", "handled", "error:bad_request"]
    world.do(world.hub.buffer_full(False))
    assert ann.send(frame("ping", {}))[0]["event"] == "pong"


def test_a_real_backlog_fills_the_buffer_and_a_message_then_kicks() -> None:
    world = World(HubSettings(send_buffer_frames=3))
    ann, bob, chat = world.pair_of_users()
    sender, slow = world.connect(world.token(ann)), world.connect(world.token(bob))
    slow.take()
    slow.writing = False
    for number in range(3):
        sender.send(message(chat, message_id=f"m{number}"))
    assert slow.ended is None
    assert slow.events() == ["message.send"] * 3
    sender.send(message(chat, message_id="m3"))
    assert slow.ended is not None
    assert not isinstance(slow.ended, CloseSocket)
    assert world.connect(world.token(bob)).events() == ["message.send"] * 4 + ["replay.done"]


# --- injections ----------------------------------------------------------------------------------------------------


@pytest.mark.rule("HUB-6")
def test_lost_acks_and_scripted_errors(world: World, pair: tuple[Client, Client, str]) -> None:
    ann, bob, chat = pair
    world.hub.lose_acks()
    world.hub.reject_messages("moon_phase", "waning")
    assert only(ann.send(message(chat, message_id="m0")))["payload"] == {
        "code": "moon_phase",
        "message_id": "m0",
        "reason": "waning",
        "rejected_at": START_MS,
    }
    assert ann.send(message(chat)) == []
    assert ann.send(message(chat))[0]["event"] == "message.ack"
    assert bob.events() == ["message.send", "message.send"]
    assert fates(world) == ["error:moon_phase", "acked, ack lost", "acked"]


@pytest.mark.rule("HUB-3")
def test_the_record_of_uplinks_tells_who_and_what(world: World, pair: tuple[Client, Client, str]) -> None:
    ann, _, chat = pair
    ann.send(message(chat, trace_id="s-1"))
    record = world.hub.uplink_records[0]
    assert (record.conn, record.device_id, record.event) == (ann.conn, "d1", "message.send")
    assert (record.trace_id, record.chat_id, record.message_id) == ("s-1", chat, "msg-1")
    assert world.hub.uplinks(record.user_id) == [
        {
            "conn": ann.conn,
            "user_id": record.user_id,
            "device_id": "d1",
            "event": "message.send",
            "trace_id": "s-1",
            "chat_id": chat,
            "message_id": "msg-1",
            "fate": "acked",
            "at_ms": START_MS,
        }
    ]


def test_silence_processes_nothing_and_ends(world: World, pair: tuple[Client, Client, str]) -> None:
    ann, bob, chat = pair
    bob_id = next(user for user in _users(world) if user != _user(world, ann))
    world.hub.silence(user_id=bob_id)
    ann.send(message(chat))
    assert bob.take() == []
    assert bob.send(frame("ping", {})) == []
    world.hub.silence(False, user_id=bob_id)
    world.do()
    assert bob.events() == ["message.send"]
    assert fates(world) == ["acked", "silenced"]


def test_delay_is_told_to_the_driver(world: World, pair: tuple[Client, Client, str]) -> None:
    ann, _, _ = pair
    world.hub.delay(250)
    ann.send(frame("ping", {}))
    assert ann.sends[-1].delay_ms == 250
    world.hub.clear()
    ann.send(frame("ping", {}))
    assert ann.sends[-1].delay_ms == 0


def _user(world: World, client: Client) -> str:
    views: Any = world.hub.state()["connections"]
    return str(next(view["user_id"] for view in views if view["conn"] == client.conn))


def _users(world: World) -> set[str]:
    views: Any = world.hub.state()["connections"]
    return {view["user_id"] for view in views}


@pytest.mark.rule("R1-4")
def test_seq_is_stamped_for_v1_only(world: World) -> None:
    ann, bob, chat = world.pair_of_users()
    sender = world.connect(world.token(ann))
    v1, legacy = world.connect(world.token(bob), "v1", *V1), world.connect(world.token(bob), "old")
    for client in (v1, legacy):
        client.take()
    sender.send(message(chat))
    assert "seq" in only(v1.take())
    assert "seq" not in only(legacy.take())
