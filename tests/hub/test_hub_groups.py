"""Receipts, typing, reactions, read marks, presence, streams and signals."""

from typing import Any

import pytest

from clawproto.hub import HubSettings
from tests.hub.harness import START_MS, V1, V2, Client, Frame, World, frame


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def people(world: World) -> tuple[str, str, str]:
    return world.pair_of_users()


def join(world: World, user_id: str, *flags: str, device: str = "d1") -> Client:
    client = world.connect(world.token(user_id), device, *flags)
    client.take()
    return client


@pytest.mark.rule("DEL-5", "DEL-6", "ENV-8")
def test_receipts_go_to_the_addressee_alone(world: World, people: tuple[str, str, str]) -> None:
    ann, bob, chat = people
    outsider = join(world, world.hub.create_user("Eve"))
    able, plain = join(world, ann, "delivery_receipt"), join(world, ann, device="d2")
    bystander = join(world, bob, "delivery_receipt")
    world.sleep(9)
    payload = {"message_id": "m", "delivered_at": 77}
    to = {"id": ann, "type": "x"}
    assert outsider.send(frame("message.delivered", payload, to=to, chat_id=chat)) == []
    [received] = able.take()
    eve = received["sender"]["id"]
    assert received == {
        "version": "2",
        "event": "message.delivered",
        "trace_id": received["trace_id"],
        "emitted_at": START_MS + 9,
        "chat_id": chat,
        "to": to,
        "sender": {"id": eve, "type": "direct", "nick_name": "Eve"},
        "payload": payload,
    }
    assert plain.take() == bystander.take() == []
    assert outsider.send(frame("message.delivered", payload, to={"id": "usr_gone"})) == []
    assert world.hub.uplink_records[-1].fate == "addressee offline"


@pytest.mark.rule("TYPE-4", "ENV-8")
def test_typing_is_relayed_to_the_others_and_forgotten(world: World, people: tuple[str, str, str]) -> None:
    ann, bob, chat = people
    typist, twin, peer = (
        join(world, ann, "multi_device"),
        join(world, ann, "multi_device", device="d2"),
        join(world, bob),
    )
    world.sleep(3)
    assert typist.send(frame("typing.update", {"is_typing": True}, chat_id=chat)) == []
    [received] = peer.take()
    assert received["payload"] == {"is_typing": True}
    assert received["emitted_at"] == START_MS + 3
    assert (received["sender"]["id"], received["chat_type"]) == (ann, "direct")
    assert twin.take() == []
    world.sleep(60_000)
    assert peer.take() == []
    assert join(world, bob, device="d3").take() == []


@pytest.mark.rule("RX-2", "RX-4", "RX-7", "ROUTE-2")
def test_reactions_are_slots(world: World, people: tuple[str, str, str]) -> None:
    ann, bob, chat = people
    reactor, twin = join(world, ann), join(world, ann, device="d2")
    slot = f"rxn:m-1:{ann}"
    for emoji, removed in (("👍", False), ("🎉", False), ("", True)):
        payload = {"target_message_id": "m-1", "emoji": emoji, "removed": removed, "reactor_user_id": "x"}
        [ack] = reactor.send(frame("message.reaction", {**payload, "message_id": "y"}, chat_id=chat))
        assert (ack["event"], ack["payload"]["message_id"]) == ("message.ack", slot)
    assert twin.take() == []
    client = world.connect(world.token(bob))
    frames = client.take()
    assert [item["event"] for item in frames] == ["message.reaction", "replay.done"]
    assert frames[0]["payload"] == {
        "message_id": slot,
        "target_message_id": "m-1",
        "emoji": "",
        "removed": True,
        "reactor_user_id": ann,
    }


@pytest.mark.rule("RX-5", "LIM-5", "ERR-1")
@pytest.mark.parametrize(
    ("payload", "good"),
    [
        ({"target_message_id": "m", "emoji": "x" * 64}, True),
        ({"target_message_id": "m", "emoji": "x" * 65}, False),
        ({"target_message_id": "m", "emoji": "👩‍👩‍👧‍👦" * 2}, True),
        ({"target_message_id": "m", "emoji": "👩‍👩‍👧‍👦" * 3}, False),
        ({"target_message_id": "m", "emoji": ""}, False),
        ({"target_message_id": "m"}, False),
        ({"target_message_id": "m", "removed": True}, True),
        ({"target_message_id": "m", "emoji": "x" * 99, "removed": True}, True),
        ({"target_message_id": "", "emoji": "x"}, False),
        ({"emoji": "x"}, False),
        ({"target_message_id": "m", "emoji": "\ud800"}, False),
        ({"target_message_id": "m", "emoji": 5}, False),
        ({"target_message_id": "m", "emoji": "x", "removed": 1}, False),
        ([], False),
    ],
)
def test_which_reactions_are_good(world: World, people: tuple[str, str, str], payload: Any, good: bool) -> None:
    ann, _, chat = people
    [answer] = join(world, ann).send(frame("message.reaction", payload, chat_id=chat))
    if good:
        assert answer["event"] == "message.ack"
    else:
        assert answer["payload"]["code"] == "bad_request"


@pytest.mark.rule("READ-2")
def test_read_marks_go_to_the_readers_other_devices(world: World, people: tuple[str, str, str]) -> None:
    ann, bob, chat = people
    origin, twin, deaf = (
        join(world, ann, "multi_device"),
        join(world, ann, "multi_device", device="d2"),
        join(world, ann, device="d3"),
    )
    peer = join(world, bob, "multi_device")
    assert origin.send(frame("message.read", {"last_read_emitted_at": START_MS}, chat_id=chat)) == []
    [received] = twin.take()
    assert received["payload"] == {"last_read_emitted_at": START_MS}
    assert (received["chat_id"], received["sender"]["id"]) == (chat, ann)
    assert "chat_type" not in received
    assert deaf.take() == peer.take() == []


@pytest.mark.rule("READ-3", "RPL-2", "ENV-8")
def test_the_read_snapshot_comes_ahead_of_the_rows(world: World, people: tuple[str, str, str]) -> None:
    ann, bob, chat = people
    reader = join(world, ann)
    day = 86_400_000
    for number, mark in ((1, START_MS - 31 * day), (2, START_MS - 29 * day), (3, START_MS), (3, START_MS - 5)):
        reader.send(frame("message.read", {"last_read_emitted_at": mark}, chat_id=f"c{number}"))
    reader.hang_up()
    world.do(world.hub.post(chat, bob, "hi", "m1"))
    frames = world.connect(world.token(ann), "d1", "multi_device").take()
    assert [item["event"] for item in frames] == ["message.read", "message.read", "message.send", "replay.done"]
    assert [(item["chat_id"], item["emitted_at"], item["trace_id"]) for item in frames[:2]] == [
        ("c2", START_MS - 29 * day, ""),
        ("c3", START_MS, ""),
    ]
    assert world.connect(world.token(ann), "d2").events() == ["message.send", "replay.done"]


@pytest.mark.rule("READ-3")
def test_the_snapshot_holds_500_chats(world: World, people: tuple[str, str, str]) -> None:
    ann, _, _ = people
    reader = join(world, ann)
    for number in range(501):
        reader.send(frame("message.read", {"last_read_emitted_at": START_MS}, chat_id=f"c{number}"))
    frames = world.connect(world.token(ann), "d2", "multi_device").take()
    assert [item["chat_id"] for item in frames[:-1]] == [f"c{number}" for number in range(1, 501)]


@pytest.mark.rule("PRES-1", "PRES-2", "ENV-6")
def test_presence_follows_the_last_device(world: World, people: tuple[str, str, str]) -> None:
    ann, bob, _ = people
    watcher = join(world, ann)
    ask = frame("presence.subscribe", {"user_id": bob}, trace_id="p-1")
    [snapshot] = watcher.send(ask)
    assert (snapshot["event"], snapshot["trace_id"]) == ("presence.snapshot", "p-1")
    assert snapshot["payload"] == {"user_id": bob, "online": False}
    assert len(watcher.send(ask)) == 1
    first = join(world, bob)
    [update] = watcher.take()
    assert (update["event"], update["payload"]) == ("presence.update", {"user_id": bob, "online": True})
    second = join(world, bob, device="d2")
    first.hang_up()
    assert watcher.take() == []
    world.do(world.hub.kick(bob))
    assert second.ended is not None
    [update] = watcher.take()
    assert update["payload"] == {"user_id": bob, "online": False, "last_seen_at": "2026-09-21T14:13:20.000Z"}
    assert watcher.send(frame("presence.subscribe", {"user_id": ann}))[0]["payload"]["online"] is True
    assert watcher.send(frame("presence.unsubscribe", {"user_id": bob})) == []
    join(world, bob)
    assert watcher.take() == []


@pytest.mark.rule("PRES-2", "CLOSE-8")
def test_subscriptions_die_with_the_connection_and_takeover_is_no_absence(
    world: World, people: tuple[str, str, str]
) -> None:
    ann, bob, _ = people
    watcher = join(world, ann)
    watcher.send(frame("presence.subscribe", {"user_id": bob}))
    join(world, bob)
    assert len(watcher.take()) == 1
    join(world, bob)
    assert watcher.take() == []
    newer = join(world, ann)
    world.do(world.hub.kick(bob))
    assert newer.take() == []


@pytest.mark.rule("PRES-4", "LIM-5")
def test_sixteen_subscriptions_per_connection(world: World, people: tuple[str, str, str]) -> None:
    ann, bob, _ = people
    watcher = join(world, ann)
    for number in range(16):
        watcher.send(frame("presence.subscribe", {"user_id": f"usr_{number}"}))
    assert watcher.send(frame("presence.subscribe", {"user_id": bob}))[0]["event"] == "presence.snapshot"
    join(world, bob)
    assert watcher.take() == []


@pytest.mark.rule("PRES-5", "SILENT-10", "HUB-6")
def test_the_visibility_gate_answers_nothing(world: World, people: tuple[str, str, str]) -> None:
    ann, bob, _ = people
    stranger = world.hub.create_user("Eve")
    world.hub.configure({"presence_gate": True})
    watcher = join(world, ann)
    for user_id, answers in ((stranger, 0), (bob, 1), (ann, 1)):
        assert len(watcher.send(frame("presence.subscribe", {"user_id": user_id}))) == answers


def test_an_agent_can_be_watched_under_its_agent_id(world: World) -> None:
    agent = world.agent()
    watcher = join(world, agent.owner_id)
    [snapshot] = watcher.send(frame("presence.subscribe", {"user_id": agent.agent_id}))
    assert snapshot["payload"]["online"] is False
    world.connect(agent.access_token)
    assert watcher.take()[0]["payload"] == {"user_id": agent.agent_id, "online": True}


def stream(chat: str, event: str, **payload: object) -> Frame:
    return frame(event, {"message_id": "s-1", **payload}, chat_id=chat)


@pytest.mark.rule("STREAM-7", "STREAM-11", "ROUTE-5")
def test_streams_are_relayed_and_merged_for_the_absent(world: World) -> None:
    ann, bob, cid = (world.hub.create_user(name) for name in ("Ann", "Bob", "Cid"))
    chat = world.hub.create_conversation([ann, bob, cid])
    author, viewer = join(world, ann), join(world, bob)
    parts = [{"kind": "text", "text": "he", "delta": "he", "x": 1}]
    for uplink in (
        stream(chat, "message.created", message_mode="normal"),
        stream(chat, "message.add", sequence=0, mutation={"type": "append"}, fragments=parts, added_at=5),
        stream(chat, "message.done", fragments=[{"kind": "text", "text": "hey", "delta": "y"}], completed_at=6),
    ):
        assert author.send(uplink) == []
    frames = viewer.take()
    assert [item["event"] for item in frames] == ["message.created", "message.add", "message.done"]
    assert all(item["sender"]["id"] == ann and item["origin_device_id"] == "d1" for item in frames)
    assert all(item["chat_type"] == "group" for item in frames)
    assert frames[1]["payload"]["fragments"] == [{"kind": "text", "text": "he", "delta": "he"}]
    assert frames[2]["payload"]["fragments"] == [{"kind": "text", "text": "hey"}]
    replayed = world.connect(world.token(cid)).take()
    assert [item["event"] for item in replayed] == ["message.reply", "replay.done"]
    payload = replayed[0]["payload"]
    assert (payload["message_id"], payload["stream_merged"]) == ("s-1", True)
    assert payload["message"]["body"]["fragments"] == [{"kind": "text", "text": "hey"}]
    assert payload["message"]["streaming"]["status"] == "static"
    assert world.connect(world.token(bob), "d2").events() == ["replay.done"]


@pytest.mark.rule("STREAM-11")
def test_a_failed_stream_leaves_nothing(world: World, people: tuple[str, str, str]) -> None:
    ann, bob, chat = people
    author = join(world, ann)
    author.send(stream(chat, "message.created"))
    author.send(stream(chat, "message.failed", fragments=[]))
    assert world.connect(world.token(bob)).events() == ["replay.done"]


@pytest.mark.rule("STREAM-13", "HUB-6")
def test_merge_mode_delivers_the_reply_live_too(people: tuple[str, str, str]) -> None:
    world = World(HubSettings(merge_streams_live=True))
    ann, bob, chat = world.pair_of_users()
    author, viewer = join(world, ann), join(world, bob)
    author.send(stream(chat, "message.done", fragments=[]))
    assert [(item["event"], item["payload"].get("stream_merged")) for item in viewer.take()] == [
        ("message.done", None),
        ("message.reply", True),
    ]


@pytest.mark.rule("STREAM-7", "ERR-1")
def test_refused_streams_get_an_error(world: World, people: tuple[str, str, str]) -> None:
    author = join(world, people[0])
    for event in ("message.created", "message.add", "message.done", "message.failed"):
        [error] = author.send(stream("nonsense", event))
        assert error["payload"]["code"] == "bad_request"


@pytest.mark.rule("NOTIFY-4", "NOTIFY-5")
def test_signals_by_generation_and_flag(world: World, people: tuple[str, str, str]) -> None:
    _, bob, _ = people
    live, deaf = join(world, bob, "notify_signals"), join(world, bob, device="d2")
    for version in (1, 2):
        world.do(world.hub.signal(bob, "conversation.updated", "cnv_x", version))
    frames = live.take()
    assert [item["payload"]["version"] for item in frames] == [1, 2]
    assert len({item["payload"]["event_id"] for item in frames}) == 2
    assert frames[0]["payload"]["message_id"] == "notify:conversation.updated:cnv_x"
    assert not {"chat_id", "chat_type", "to", "sender"} & frames[0].keys()
    assert deaf.take() == []
    for number, (flags, count) in enumerate((((), 1), (V1, 1), (V2, 0), ((*V2, "notify_signals"), 1))):
        replayed = world.connect(world.token(bob), f"n{number}", *flags).events()
        assert replayed.count("notify.signal") == count


@pytest.mark.rule("NOTIFY-6", "META-5")
def test_signals_never_kick_a_full_connection(world: World, people: tuple[str, str, str]) -> None:
    _, bob, chat = people
    client = join(world, bob, "notify_signals", "chat_meta_events")
    world.do(world.hub.buffer_full(user_id=bob))
    world.do(world.hub.signal(bob, "friend.added", "x"))
    world.hub.invalidate_metadata(chat)
    world.do()
    assert client.ended is None
    assert client.take() == []
    assert world.connect(world.token(bob), "d2").events() == ["notify.signal", "replay.done"]


@pytest.mark.rule("META-5")
def test_metadata_needs_the_capability(world: World, people: tuple[str, str, str]) -> None:
    ann, bob, chat = people
    able, plain = join(world, ann, "chat_meta_events"), join(world, bob)
    world.hub.invalidate_metadata(chat, ["title"], 7)
    world.do()
    [received] = able.take()
    assert (received["chat_id"], received["chat_type"]) == (chat, "direct")
    assert received["payload"] == {"scope": ["title"], "version": 7, "updated_at": START_MS}
    assert plain.take() == []


@pytest.mark.rule("PERM-1", "PERM-10")
def test_permission_events_reach_the_owner_only(world: World) -> None:
    agent = world.agent()
    owner, deaf = join(world, agent.owner_id, "permission_events"), join(world, agent.owner_id, device="d2")
    robo = world.connect(agent.access_token, "d1", "permission_events")
    robo.take()
    payload: Any = {"request_id": "", "reason": "policy_forbidden", "odd": 1}
    world.do(world.hub.permission(agent.user_id, "resolved", payload))
    [received] = owner.take()
    assert (received["event"], received["chat_id"]) == ("permission.resolved", agent.conversation_id)
    assert received["payload"] == payload
    assert deaf.take() == robo.take() == []
    assert world.connect(world.token(agent.owner_id), "d3", "permission_events").events() == ["replay.done"]


@pytest.mark.rule("R2-4")
@pytest.mark.parametrize(
    ("stamps", "events"), [(False, ["message.reaction", "sync.mark", "replay.done"]), (True, None)]
)
def test_reactions_are_stamped_by_switch_only(stamps: bool, events: list[str] | None) -> None:
    world = World(HubSettings(stamp_reactions=stamps))
    ann, bob, chat = world.pair_of_users()
    join(world, ann).send(frame("message.reaction", {"target_message_id": "m", "emoji": "x"}, chat_id=chat))
    frames = world.connect(world.token(bob), "d1", *V2).take()
    assert [item["event"] for item in frames] == (events or ["message.reaction", "replay.done"])
    assert ("dseq" in frames[0]) is stamps


def test_recalls_are_kept_without_dseq(world: World, people: tuple[str, str, str]) -> None:
    ann, bob, chat = people
    world.hub.recall(chat, ann, "m-1")
    world.do()
    frames = world.connect(world.token(bob), "d1", *V2).take()
    assert [item["event"] for item in frames] == ["message.recall", "sync.mark", "replay.done"]
    assert frames[0]["payload"] == {"message_id": "rcl:m-1", "target_message_id": "m-1"}
    assert "dseq" not in frames[0]


def test_system_posts_without_an_account(world: World, people: tuple[str, str, str]) -> None:
    _, bob, chat = people
    world.do(world.hub.post(chat, "system", "notice"))
    assert world.connect(world.token(bob)).take()[0]["sender"]["id"] == "system"
