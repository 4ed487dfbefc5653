"""Inbox, replay and the three generations of acknowledgement."""

import json
from typing import Any

import pytest

from clawproto.hub import CutSocket, HubSettings
from tests.hub.harness import START_MS, V1, V2, Client, Frame, World, frame, message


@pytest.fixture
def world() -> World:
    return World()


class Mail:
    """Ann writes to Bob; Bob's devices come and go."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ann, self.bob, self.chat = world.pair_of_users()
        self.bob_token = world.token(self.bob)

    def post(self, *message_ids: str) -> None:
        for message_id in message_ids:
            self.world.do(self.world.hub.post(self.chat, self.ann, "hi", message_id))

    def connect(self, *flags: str, device: str = "d1") -> Client:
        return self.world.connect(self.bob_token, device, *flags)

    def cursor(self, device: str = "d1") -> int:
        cursors: Any = self.world.hub.state()["cursors"]
        return int(cursors[self.bob][device])


@pytest.fixture
def mail(world: World) -> Mail:
    return Mail(world)


def ids(frames: list[Frame]) -> list[str]:
    return [item["payload"].get("message_id", item["event"]) for item in frames]


def hello(client: Client) -> Frame:
    return json.loads(client.texts[1])["payload"]  # type: ignore[no-any-return]


def sync_ack(client: Client, dseq: int, epoch: str | None = None) -> list[Frame]:
    return client.send(frame("message.sync_ack", {"dseq": dseq, "epoch": epoch or hello(client)["ack_epoch"]}))


# --- replay --------------------------------------------------------------------------------------------------------


@pytest.mark.rule("RPL-1", "RPL-3", "RPL-4", "DEV-9", "ENV-8", "HUB-2")
def test_a_new_device_gets_the_whole_inbox_then_one_replay_done(world: World, mail: Mail) -> None:
    live = mail.connect()
    assert live.events() == ["replay.done"]
    mail.post("m1")
    world.sleep(1_000)
    mail.post("m2")
    world.sleep(1_000)
    fresh = mail.connect(device="d2")
    frames = fresh.take()
    assert ids(frames) == ["m1", "m2", "replay.done"]
    assert frames[:2] == live.take()
    assert [item["emitted_at"] for item in frames] == [START_MS, START_MS + 1_000, START_MS + 2_000]
    assert frames[-1]["payload"] == {}
    mail.post("m3")
    assert ids(fresh.take()) == ["m3"]
    fresh.hang_up()
    assert mail.connect(device="d2").events() == ["replay.done"]


@pytest.mark.rule("RPL-4", "RPL-2")
def test_nothing_live_overtakes_replay_done() -> None:
    world = World(HubSettings(replay_burst=2))
    mail = Mail(world)
    mail.post("m1", "m2", "m3")
    client = world.open()
    client.writing = False
    assert world.hello(client, mail.bob_token, "d1") is not None
    assert client.events() == ["hello-ok", "message.send"]  # the challenge is unwritten as well
    ann = world.connect(world.token(mail.ann))
    ann.take()
    ann.send(frame("typing.update", {"is_typing": True}, chat_id=mail.chat))
    mail.post("m4")
    assert client.take() == []
    client.writing = True
    client.write()
    assert ids(client.take()) == ["m2", "m3", "m4", "replay.done"]


@pytest.mark.rule("RPL-8")
def test_legacy_cursors_move_on_write(world: World, mail: Mail) -> None:
    mail.post("m1", "m2")
    client = world.open()
    client.writing = False
    world.hello(client, mail.bob_token, "d1")
    assert ids(client.take()[1:]) == ["m1", "m2", "replay.done"]
    world.handle_written(client, 3)  # challenge, hello-ok, m1
    client.hang_up()
    again = mail.connect()
    assert ids(again.take()) == ["m2", "replay.done"]
    again.hang_up()
    assert mail.connect().events() == ["replay.done"]


@pytest.mark.rule("R1-5", "RPL-8")
def test_v1_cursors_move_on_ack_to_the_maximum(world: World, mail: Mail) -> None:
    mail.post("m1", "m2", "m3")
    client = mail.connect(*V1)
    frames = client.take()
    seqs = [item["seq"] for item in frames if "seq" in item]
    assert seqs == sorted(seqs)
    assert len(seqs) == 3
    assert "seq" not in frames[-1]
    assert mail.cursor() == 0
    assert client.send(frame("message.cursor_ack", {"seq": seqs[1]})) == []
    client.send(frame("message.cursor_ack", {"seq": seqs[0]}))
    assert mail.cursor() == seqs[1]
    client.hang_up()
    assert ids(mail.connect(*V1).take()) == ["m3", "replay.done"]


@pytest.mark.rule("RPL-11", "ROUTE-4", "R2-20")
def test_own_messages_are_not_replayed_to_the_writing_device(world: World, mail: Mail) -> None:
    flags = ("multi_device", *V2)
    writer, sibling = mail.connect(*flags), mail.connect(*flags, device="d2")
    writer.take()
    sibling.take()
    writer.send(message(mail.chat, message_id="own"))
    assert ids(sibling.take()) == ["own"]
    writer.hang_up()
    again = mail.connect(*flags)
    assert again.events() == ["sync.mark", "replay.done"]
    third = mail.connect(*flags, device="d3")
    assert ids(third.take()) == ["own", "replay.done"]


@pytest.mark.rule("RPL-9", "DEL-6", "TYPE-4")
def test_ephemeral_frames_are_never_replayed(world: World, mail: Mail) -> None:
    ann = world.connect(world.token(mail.ann))
    ann.send(frame("typing.update", {"is_typing": True}, chat_id=mail.chat))
    ann.send(frame("message.delivered", {"message_id": "m", "delivered_at": 1}, to={"id": mail.bob}))
    ann.send(frame("message.failed", {"message_id": "m"}, chat_id=mail.chat))
    world.hub.invalidate_metadata(mail.chat)
    world.do()
    assert mail.connect("delivery_receipt", "chat_meta_events").events() == ["replay.done"]


@pytest.mark.rule("SEND-18")
def test_a_retransmission_leaves_one_row_and_earns_a_second_ack(world: World, mail: Mail) -> None:
    ann = world.connect(world.token(mail.ann))
    ann.take()
    live = mail.connect(*V1)
    live.take()
    for text in ("first", "second"):
        acks = ann.send(message(mail.chat, text, "same"))
        assert [ack["payload"]["message_id"] for ack in acks] == ["same"]
        ann.send(message(mail.chat, text, f"between {text}"))
    seqs = {item["payload"]["message_id"]: item["seq"] for item in live.take()}
    assert world.hub.state()["inboxes"] == {mail.ann: 0, mail.bob: 3}
    frames = mail.connect(device="d2").take()
    assert ids(frames) == ["between first", "same", "between second", "replay.done"]
    assert frames[1]["payload"]["message"]["body"]["fragments"][0]["text"] == "second"
    assert seqs["between first"] < seqs["same"] < seqs["between second"]


@pytest.mark.rule("SEND-18")
def test_two_authors_with_one_id_collide(world: World) -> None:
    users = [world.hub.create_user(name) for name in ("Ann", "Bob", "Cid")]
    group = world.hub.create_conversation(users)
    for user in users[:2]:
        client = world.connect(world.token(user))
        client.send(message(group, f"by {user}", "same"))
        client.hang_up()
    frames = world.connect(world.token(users[2])).take()
    assert ids(frames) == ["same", "replay.done"]
    assert frames[0]["sender"]["id"] == users[1]


# --- v2 ------------------------------------------------------------------------------------------------------------


@pytest.mark.rule("R2-4", "R2-5", "RPL-4")
def test_dseq_counts_from_one_without_gaps_on_stamped_frames_only(world: World, mail: Mail) -> None:
    flags = (*V2, "notify_signals", "history_sync", "delivery_receipt")
    mail.post("m1")
    world.do(world.hub.signal(mail.bob, "friend.added", "usr_x"))
    first = mail.connect(*flags)
    ann = world.connect(world.token(mail.ann))
    ann.send(frame("typing.update", {"is_typing": True}, chat_id=mail.chat))
    ann.send(frame("message.reaction", {"target_message_id": "m1", "emoji": "👍"}, chat_id=mail.chat))
    ann.send({**message(mail.chat, message_id="m2"), "event": "message.reply"})
    first.send(frame("ping", {}))
    sibling = mail.connect("history_sync", device="d2")
    sibling.send(frame("history.transit", {"kind": "x"}, target_device_id="d1", sender={"id": mail.bob}))
    first.send(message(mail.chat, message_id="mine"))
    stamped = {item["event"]: item["dseq"] for item in map(json.loads, first.texts) if "dseq" in item}
    assert stamped == {
        "message.send": 1,
        "notify.signal": 2,
        "replay.done": 3,
        "message.reply": 4,
        "history.transit": 5,
    }
    unstamped = {item["event"] for item in map(json.loads, first.texts) if "dseq" not in item}
    assert unstamped >= {"typing.update", "message.reaction", "pong", "message.ack", "hello-ok"}
    second = mail.connect(*flags)
    assert hello(second)["ack_epoch"] != hello(first)["ack_epoch"]
    assert second.take()[0]["dseq"] == 1


@pytest.mark.rule("R2-22", "RPL-8")
def test_an_ack_settles_everything_up_to_it_and_moves_the_cursor(world: World, mail: Mail) -> None:
    mail.post("m1", "m2", "m3")
    client = mail.connect(*V2)
    client.take()
    assert sync_ack(client, 2) == []
    client.hang_up()
    again = mail.connect(*V2)
    assert [(item["dseq"], *ids([item])) for item in again.take()] == [(1, "m3"), (2, "replay.done")]
    moved = mail.cursor()
    sync_ack(again, 1)
    assert mail.cursor() > moved


@pytest.mark.rule("R2-21", "SILENT-8", "R2-22")
def test_acks_that_do_not_count(world: World, mail: Mail) -> None:
    mail.post("m1", "m2")
    client = mail.connect(*V2)
    client.take()
    epoch = hello(client)["ack_epoch"]
    sync_ack(client, 2)
    cursor = mail.cursor()
    for payload in (
        {"dseq": 3, "epoch": "01K9F3T7WQ2M4X6Z8B0D1H5J7N"},
        {"dseq": 0, "epoch": epoch},
        {"dseq": -1, "epoch": epoch},
        {"dseq": 4, "epoch": epoch},
        {"dseq": 2, "epoch": epoch},
        {"dseq": 1, "epoch": epoch},
        {"dseq": True, "epoch": epoch},
        {"dseq": "3", "epoch": epoch},
        {"dseq": 3},
        {},
        None,
    ):
        assert client.send(frame("message.sync_ack", payload)) == []
    assert client.ended is None
    assert mail.cursor() == cursor
    assert [record.fate for record in world.hub.uplink_records] == ["handled"] + ["SILENT-8"] * 11


@pytest.mark.rule("R2-20")
def test_skipped_rows_are_covered_by_the_next_stamped_frame_or_by_a_mark(world: World, mail: Mail) -> None:
    world.do(world.hub.signal(mail.bob, "friend.added", "usr_x"))
    mail.post("m1")
    client = mail.connect(*V2)
    assert [(item["event"], item["dseq"]) for item in client.take()] == [("message.send", 1), ("replay.done", 2)]
    world.do(world.hub.signal(mail.bob, "friend.removed", "usr_x"))
    assert client.take() == []
    world.sleep(30_000)
    [mark] = client.take()
    assert (mark["event"], mark["dseq"]) == ("sync.mark", 3)
    assert mark["payload"] == {"covers_seq": mark["payload"]["covers_seq"]}
    sync_ack(client, 3)
    assert mail.cursor() == mark["payload"]["covers_seq"]
    client.hang_up()
    assert mail.connect(*V2).events() == ["replay.done"]


@pytest.mark.rule("R2-23")
def test_ack_silence_is_kicked_by_the_sweep(world: World, mail: Mail) -> None:
    silent = mail.connect(*V2)
    acking = mail.connect(*V2, device="d2")
    sync_ack(acking, 1)
    for client in (silent, acking):
        client.take()
    _keep_alive(world, silent, acking, 119_999)
    assert silent.ended is None
    _keep_alive(world, silent, acking, 30_001)
    assert silent.ended == CutSocket(silent.conn, flush=False)
    assert acking.ended is None
    assert world.hub.state()["kicks"] == 1


@pytest.mark.rule("R2-23")
def test_any_counting_ack_restarts_the_silence_and_a_repeated_one_does_not(world: World, mail: Mail) -> None:
    progressing, repeating = mail.connect(*V2), mail.connect(*V2, device="d2")
    mail.post("m1", "m2")
    sync_ack(repeating, 1)
    for number in (1, 2):
        _keep_alive(world, progressing, repeating, 100_000)
        if number == 1:
            sync_ack(progressing, 1)
            sync_ack(repeating, 1)
    assert progressing.ended is None
    assert repeating.ended is not None


@pytest.mark.rule("R2-24")
def test_after_three_kicks_in_a_row_the_hub_backs_off(world: World, mail: Mail) -> None:
    waits: list[int] = []
    for _ in range(5):
        client = mail.connect(*V2)
        waited = 0
        while client.ended is None:
            _keep_alive(world, client, client, 30_000)
            waited += 30_000
        waits.append(waited)
    assert waits[:3] == [120_000] * 3
    assert waits[3:] == [120_000, 240_000]
    client = mail.connect(*V2)
    sync_ack(client, 1)
    mail.post("m1")
    waited = 0
    while client.ended is None:
        _keep_alive(world, client, client, 30_000)
        waited += 30_000
    assert waited == 120_000


@pytest.mark.rule("R2-25", "LIM-5")
def test_the_live_window_holds_4096_and_the_replay_pauses_at_3500(world: World, mail: Mail) -> None:
    mail.post(*(f"m{number}" for number in range(3_600)))
    client = mail.connect(*V2)
    assert len(client.take()) == 3_500
    sync_ack(client, 1_000)
    client.hang_up()
    again = mail.connect(*V2)
    frames = again.take()
    assert frames[-1]["event"] == "replay.done"
    assert len(frames) == 2_601
    mail.post(*(f"n{number}" for number in range(4_096 - 2_601)))
    assert again.ended is None
    mail.post("over")
    assert again.ended == CutSocket(again.conn, flush=False)


@pytest.mark.rule("R2-25")
def test_a_paused_replay_goes_on_after_an_ack() -> None:
    world = World(HubSettings(replay_pause=2))
    mail = Mail(world)
    mail.post("m1", "m2", "m3")
    client = mail.connect(*V2)
    assert ids(client.take()) == ["m1", "m2"]
    assert ids(sync_ack(client, 1)) == ["m3", "replay.done"]


@pytest.mark.rule("HUB-6")
@pytest.mark.parametrize(("fault", "expected"), [("gap", 3), ("repeat", 1), ("back", 0), ("text", "2")])
def test_spoiled_dseqs(world: World, mail: Mail, fault: Any, expected: object) -> None:
    client = mail.connect(*V2)
    assert client.take()[0]["dseq"] == 1
    assert world.hub.dseq_fault(fault, user_id=mail.bob) == 1
    mail.post("m1")
    assert client.take()[0]["dseq"] == expected


@pytest.mark.rule("HUB-6")
def test_duplicates_strangers_and_garbage(world: World, mail: Mail) -> None:
    client = mail.connect(*V2)
    client.take()
    world.hub.duplicate(user_id=mail.bob)
    mail.post("m1")
    world.do(world.hub.inject({"event": "future.event"}, user_id=mail.bob, stamped=True))
    world.do(world.hub.inject({"event": "future.event", "payload": {"x": 1}}, user_id=mail.bob))
    world.do(world.hub.inject_text("{broken", user_id=mail.bob))
    frames = client.take()
    assert [(item["event"], item.get("dseq")) for item in frames] == [
        ("message.send", 2),
        ("message.send", 3),
        ("future.event", 4),
        ("future.event", None),
    ]
    assert frames[0]["seq"] == frames[1]["seq"]
    assert client.texts[-1] == "{broken"


# --- history -------------------------------------------------------------------------------------------------------


@pytest.mark.rule("HIST-11", "RPL-2", "HUB-6", "CAP-5")
def test_truncation_is_announced_first_and_only_with_reliable_delivery(world: World, mail: Mail) -> None:
    mail.post("m1", "m2", "m3")
    assert world.hub.prune(mail.bob, keep=1) == 2
    for number, flags in enumerate((V1, V2, ("reliable_delivery_v2",), ())):
        frames = mail.connect(*flags, device=f"d{number}").take()
        truncated = ["history.truncated"] if "reliable_delivery" in flags else []
        assert [item["event"] for item in frames] == [*truncated, "message.send", "replay.done"]
        if truncated:
            assert frames[0]["payload"] == {"oldest_seq": frames[1]["seq"]}
            assert "dseq" not in frames[0]


@pytest.mark.rule("HIST-11")
def test_a_cursor_beyond_the_pruned_rows_needs_no_announcement(world: World, mail: Mail) -> None:
    mail.post("m1")
    client = mail.connect(*V1)
    client.send(frame("message.cursor_ack", {"seq": client.take()[0]["seq"]}))
    client.hang_up()
    world.hub.prune(mail.bob)
    assert mail.connect(*V1).events() == ["replay.done"]


@pytest.mark.rule("HIST-13", "HIST-15")
def test_a_cursor_reset_closes_and_brings_everything_again(world: World, mail: Mail) -> None:
    mail.post("m1")
    client, other = mail.connect(), mail.connect(device="d2")
    for each in (client, other):
        each.take()
    world.hub.fail_cursor_reset()
    assert client.send(frame("device.cursor.reset", {})) == []
    assert client.ended is None
    world.hub.fail_cursor_reset(False)
    assert client.send(frame("device.cursor.reset", {})) == []
    assert client.ended == CutSocket(client.conn, flush=False)
    assert other.ended is None
    assert ids(mail.connect().take()) == ["m1", "replay.done"]
    other.hang_up()
    assert mail.connect(device="d2").events() == ["replay.done"]


@pytest.mark.rule("HIST-2", "HIST-4", "HIST-5", "HIST-6", "HIST-9", "HIST-10")
@pytest.mark.parametrize("flags", [(), V1, V2])
def test_transit_reaches_one_device_and_its_row_dies_there(world: World, mail: Mail, flags: tuple[str, ...]) -> None:
    source, sibling = mail.connect("history_sync", device="src"), mail.connect(*V1, device="sib")
    for each in (source, sibling):
        each.take()
    fields: Frame = {
        "sender": {"id": "forged", "type": "odd"},
        "origin_device_id": "src",
        "target_device_id": "new",
        "ciphertext_fragments": [{"x": 1}],
    }
    assert source.send(frame("history.transit", {"kind": "k", "deep": {"y": [1]}}, **fields)) == []
    assert sibling.take() == []
    target = mail.connect(*flags, device="new")
    received = target.take()[0]
    assert received["event"] == "history.transit"
    assert received["payload"] == {"kind": "k", "deep": {"y": [1]}}
    assert received["sender"] == {"id": "forged", "type": "odd"}
    assert received["ciphertext_fragments"] == [{"x": 1}]
    assert "origin_device_id" not in received
    kept = 1 if flags == V2 else 0
    assert world.hub.state()["inboxes"] == {mail.bob: kept}
    if kept:
        sync_ack(target, 1)
        assert world.hub.state()["inboxes"] == {mail.bob: 0}


@pytest.mark.rule("HIST-2", "HIST-6", "ERR-1")
def test_transit_needs_the_flag_and_can_keep_its_origin(world: World, mail: Mail) -> None:
    plain, able = mail.connect(device="d1"), mail.connect("history_sync", device="d2")
    plain.take()
    able.take()
    uplink = frame("history.transit", {}, target_device_id="d1", origin_device_id="d2", sender={"id": mail.bob})
    [error] = plain.send(uplink)
    assert error["payload"]["code"] == "capability_missing"
    world.hub.configure({"keep_transit_origin": True})
    assert able.send(uplink) == []
    assert plain.take()[0]["origin_device_id"] == "d2"


def _keep_alive(world: World, first: Client, second: Client, milliseconds: int) -> None:
    """Let time pass while both answer control pings."""
    from clawproto.hub import PongSeen

    while milliseconds > 0:
        step = min(10_000, milliseconds)
        world.sleep(step)
        milliseconds -= step
        for client in (first, second):
            world.handle(PongSeen(client.conn))
