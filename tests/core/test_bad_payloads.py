"""Bad input: whatever is wrong with any field of any event, nothing raises, nothing stalls, nothing grows.

Each spoiled frame comes stamped on a ready v2 session. It becomes an event for the application or is ignored by rule,
its place in the stream is settled, and the next good message gets through and is acknowledged.
"""

import json
from collections.abc import Iterator, Sized
from typing import Any, TypeAlias

import pytest

from clawproto.app_events import FrameRejected, MessageReceived
from clawproto.config import Features
from clawproto.effects import Close, Emit, Open
from clawproto.events import FrameReceived
from clawproto.json_types import Json
from clawproto.policy import Policy
from tests.core.harness import of
from tests.core.link_harness import CHAT, SENDER, LinkBench, acks

Form: TypeAlias = dict[str, Any]

FRAGMENTS: list[Json] = [
    {"kind": "text", "text": "hi", "delta": "hi"},
    {"kind": "mention", "user_id": "usr_1", "display": "Ann"},
    {"kind": "image", "url": "https://h/1", "name": "a", "mime": "image/png", "size": 1, "width": 2, "height": 3},
    {"kind": "video", "url": "https://h/2", "duration": 4},
    {"kind": "poll", "options": ["a"]},
]
REPLY: Form = {"reply_to_msg_id": "msg-0", "reply_preview": {"id": "u", "nick_name": "U", "fragments": FRAGMENTS[:1]}}
CONTENT: Form = {
    "message_id": "msg-1",
    "message_mode": "normal",
    "message": {
        "body": {"fragments": FRAGMENTS[:2]},
        "context": {"mentions": [{"kind": "mention", "user_id": "usr_1"}, "usr_2"], "reply": REPLY},
        "streaming": {"status": "static"},
    },
    "stream_merged": False,
    "metadata": {"kind": "permission_result", "request_id": "r", "outcome": "approved", "result": {"a": 1}},
}
STREAMING: Form = {"status": "streaming", "sequence": 0, "started_at": 1, "completed_at": None}

PAYLOADS: dict[str, Form] = {
    "connect.challenge": {"nonce": "n"},
    "hello-ok": {"device_id": "d", "delivery_mode": "device_replay", "ack_mode": "dseq", "ack_epoch": "e"},
    "hello-fail": {"reason": "r"},
    "message.send": CONTENT,
    "message.reply": CONTENT,
    "message.ack": {"message_id": "msg-1", "accepted_at": 5},
    "message.error": {"code": "not_member", "message_id": "msg-1", "reason": "r", "rejected_at": 5},
    "message.created": {"message_id": "msg-1", "message_mode": "normal"},
    "message.add": {"message_id": "msg-1", "sequence": 0, "fragments": FRAGMENTS[:1], "streaming": STREAMING},
    "message.done": {"message_id": "msg-1", "fragments": FRAGMENTS, "streaming": STREAMING, "completed_at": 5},
    "message.failed": {"message_id": "msg-1", "fragments": FRAGMENTS, "streaming": STREAMING, "completed_at": 5},
    "message.delivered": {"message_id": "msg-1", "delivered_at": 5},
    "message.reaction": {
        "target_message_id": "msg-1",
        "emoji": "x",
        "removed": False,
        "reactor_user_id": "usr_1",
        "message_id": "rxn:1",
    },
    "message.read": {"last_read_emitted_at": 5},
    "message.recall": {"message_id": "rcl:1", "target_message_id": "msg-0"},
    "history.transit": {"kind": "history_sync_request", "since": 1},
    "history.truncated": {"oldest_seq": 5},
    "typing.update": {"is_typing": True},
    "presence.snapshot": {"user_id": "usr_1", "online": True, "last_seen_at": "2026-01-01T00:00:00Z"},
    "presence.update": {"user_id": "usr_1", "online": False},
    "chat.metadata.invalidated": {"scope": ["title", "avatar"], "version": 5, "updated_at": 5},
    "notify.signal": {"type": "t", "entity_id": "e", "version": 1, "event_id": "ev", "message_id": "notify:t:e"},
    "permission.request": {
        "request_id": "r",
        "agent_id": "a",
        "operation": "o",
        "target": {"label": "l"},
        "expires_at": 1_990_000_000_000,
    },
    "permission.resolved": {"request_id": "r", "decision": "allow_once", "reason": "owner_allowed"},
    "sync.mark": {"covers_seq": 5},
    "pong": {},
    "replay.done": {},
    "a.later.event": {"any": {"thing": [1, None]}},
}
ENVELOPE: Form = {
    "version": "2",
    "trace_id": "t",
    "emitted_at": 1_790_000_000_000,
    "chat_id": CHAT,
    "chat_type": "direct",
    "to": {"id": "usr_1", "type": "direct"},
    "sender": SENDER,
    "origin_device_id": "d",
    "seq": 5,
    "target_device_id": "d",
    "ciphertext_fragments": [{"c": 1}],
}
DEEP = "[" * 50_000 + "]" * 50_000
RAW: dict[str, str] = {
    "missing": "",
    "null": "null",
    "true": "true",
    "false": "false",
    "zero": "0",
    "minus": "-1",
    "float": "1.5",
    "exponent": "1e400",
    "64-bits": str(2**63),
    "1000-digits": "9" * 1000,
    "empty-string": '""',
    "string": '"text"',
    "number-as-string": '"5"',
    "nul": '"a\\u0000b"',
    "lone-surrogate": '"\\ud83d"',
    "long-string": json.dumps("x" * 100_000),
    "empty-list": "[]",
    "list": '[1, null, "x", {}, [], {"kind": 7}, {"kind": "text"}, {"kind": "text", "text": 7}]',
    "long-list": "[" + ",".join(["1"] * 20_000) + "]",
    "empty-object": "{}",
    "object": '{"id": 7, "kind": null, "x": {"y": []}}',
    "duplicate-keys": '{"id": "a", "id": 7, "id": "b"}',
    "deep-list": "[" * 30 + "]" * 30,
}
MARK = "@@spoiled@@"


def paths(form: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a form, its containers included."""
    if path:
        yield path
    if isinstance(form, dict):
        for key, value in form.items():
            yield from paths(value, (*path, key))
    elif isinstance(form, list):
        for index, value in enumerate(form[:3]):
            yield from paths(value, (*path, index))


def spoiled(form: Form, path: tuple[Any, ...], raw: str) -> str:
    """The form as JSON text, with ``raw`` in that place; an empty one takes the place away."""
    copy = json.loads(json.dumps(form))
    inner = copy
    for step in path[:-1]:
        inner = inner[step]
    if raw:
        inner[path[-1]] = MARK
        return json.dumps(copy).replace(json.dumps(MARK), raw)
    del inner[path[-1]]
    return json.dumps(copy)


def bench_for_bad_input() -> LinkBench:
    features = Features(receipts=True, own_devices=True, metadata=True, signals=True, permissions=True, history=True)
    bench = LinkBench(grant="v2", capabilities=features.capabilities)
    bench.liveness = False
    return bench


def forget(bench: LinkBench) -> None:
    """Thousands of effects would make looking for some slow."""
    bench.effects = [*of(bench.effects[:-20], Open), *bench.effects[-20:]]


def feed(bench: LinkBench, text: str, *, counted: bool) -> None:
    """A spoiled frame; then a good message, which must get through and be acknowledged, the spoiled one included."""
    before = len(bench.effects)
    bench.step(FrameReceived(bench.generation, text))
    effects = bench.effects[before:]
    assert not of(effects, Close), "one bad frame is no reason to leave"
    for emit in of(effects, Emit):
        if emit.delivery is not None:
            bench.settle(emit.delivery)
    bench.dseq += counted
    good = f"good-{bench.dseq}"
    event, delivery = bench.delivered(bench.message(good))[-1]
    assert event.message_id == good
    bench.settle(delivery)
    bench.run_for(200)
    assert acks(bench)[-1] == bench.dseq, "the stream is not held up"
    assert len(bench.all(Open)) == 1


@pytest.mark.rule("ENV-12", "ENV-13", "ENV-14", "R2-11", "EVT-2", "EVT-6")
@pytest.mark.parametrize("event", PAYLOADS)
def test_every_field_of_every_payload(event: str) -> None:
    bench = bench_for_bad_input()
    form = {**ENVELOPE, "event": event, "payload": PAYLOADS[event]}
    for path in paths(PAYLOADS[event]):
        for raw in RAW.values():
            stamped = {**form, "dseq": bench.dseq + 1}
            feed(bench, spoiled(stamped, ("payload", *path), raw), counted=True)
            forget(bench)


@pytest.mark.rule("ENV-12", "ENV-13", "ENV-14", "R2-11")
@pytest.mark.parametrize("event", ["message.send", "message.reaction", "notify.signal", "history.transit", "x.y"])
def test_every_field_of_the_envelope(event: str) -> None:
    bench = bench_for_bad_input()
    form = {**ENVELOPE, "event": event, "payload": PAYLOADS.get(event, {})}
    for path in [*paths(ENVELOPE), ("payload",), ("event",)]:
        for raw in RAW.values():
            stamped = {**form, "dseq": bench.dseq + 1}
            feed(bench, spoiled(stamped, path, raw), counted=True)
            forget(bench)


@pytest.mark.rule("ENV-12", "R2-31", "R2-7")
@pytest.mark.parametrize("name", [name for name in RAW if name != "missing"])
def test_a_spoiled_counter_breaks_the_count_and_nothing_else(name: str) -> None:
    bench = bench_for_bad_input()
    form = {**ENVELOPE, "event": "message.send", "payload": PAYLOADS["message.send"], "dseq": 1}
    bench.step(FrameReceived(bench.generation, spoiled(form, ("dseq",), RAW[name])))
    bench.run_for(60_000)
    assert bench.online and len(bench.all(Open)) == 2, "the replay fills the hole"
    bench.message("msg-2")
    assert bench.delivered()[-1][0].message_id == "msg-2"


@pytest.mark.rule("ENV-12", "ENV-1")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '"x"',
        "7",
        "{",
        "{}",
        DEEP,
        '{"a":' * 5_000 + "1" + "}" * 5_000,
        "\ufeff{}",
        "\x00",
        "NaN",
        '{"version":"2","event":NaN}',
        '{"version":2,"event":"message.send"}',
        '{"version":"2","event":"message.send","event":7}',
        "{'version':'2'}",
        b"\xff\xfe",
        b'{"version":"2","event":"\xed\xa0\x80"}',
        b"",
        "x" * (9 * 1024 * 1024),
    ],
    ids=lambda text: repr(text[:16]),
)
def test_what_is_no_frame_is_kept_in_quarantine_and_the_connection_goes_on(text: str | bytes) -> None:
    bench = bench_for_bad_input()
    effects = bench.step(FrameReceived(bench.generation, text))
    (rejected,) = [emit.event for emit in of(effects, Emit)]
    assert isinstance(rejected, FrameRejected)
    assert rejected.frame == text[: 64 * 1024] and rejected.problem
    assert "frame=" not in repr(rejected)
    bench.message("msg-1")
    assert [event.message_id for event, _ in bench.delivered()] == ["msg-1"]


@pytest.mark.rule("SEND-21", "FRAG-6", "MENT-2", "R2-11")
def test_a_frame_whose_payload_is_of_no_use_is_quarantined_and_settled() -> None:
    bench = bench_for_bad_input()
    bench.stamped("message.send", {"message_id": 7}, chat_id=CHAT, sender=SENDER)
    (rejected,) = bench.told(FrameRejected)
    assert (rejected.event, rejected.problem) == ("message.send", "payload.message_id is not a string")
    assert rejected.frame is not None and '"message_id":7' in str(rejected.frame).replace(" ", "")
    bench.run_for(200)
    assert acks(bench) == [1]
    assert not bench.told(MessageReceived)


def size(bench: LinkBench) -> int:
    """How many things the state holds on to."""
    state = bench.state
    inbox, signals, streams = state.inbox, state.signals, state.streams
    recents = (
        inbox.known,
        inbox.slots,
        inbox.signals,
        inbox.recalled,
        signals.marks,
        signals.versions,
        signals.decided,
    )
    tables: tuple[Sized, ...] = (
        *(*recents, streams.finished),
        *(signals.typing, signals.typing_due, signals.owed_marks, signals.cards, signals.card_numbers),
        *(streams.followed, streams.due, inbox.places, state.outbox.entries, state.drafts),
        *(state.outbox.gates.gated.gates, state.outbox.gates.muted.gates),
    )
    return sum(map(len, tables))


@pytest.mark.parametrize("event", PAYLOADS)
def test_nothing_grows_without_bound(event: str) -> None:
    """A thousand frames of a kind, every id in them another one."""
    policy = Policy(
        remembered_messages=20,
        remembered_slots=20,
        remembered_signals=20,
        typing_table=20,
        permission_cards=20,
        streams_followed=20,
        gate_table=20,
    )
    features = Features(receipts=True, own_devices=True, metadata=True, signals=True, permissions=True, history=True)
    bench = LinkBench(grant="v2", capabilities=features.capabilities, policy=policy)
    bench.liveness = False
    halfway = 0
    for number in range(1_000):
        payload = json.loads(json.dumps(PAYLOADS[event]))
        for key, value in payload.items():
            if isinstance(value, str):
                payload[key] = f"{value}-{number}" if key != "code" else value
        effects = bench.stamped(event, payload, chat_id=f"{CHAT}-{number}", sender={"id": f"usr_{number}"})
        for emit in of(effects, Emit):
            if emit.delivery is not None:
                bench.settle(emit.delivery)
        forget(bench)
        if number == 500:
            halfway = size(bench)
    assert size(bench) <= max(halfway, 100) <= 200
