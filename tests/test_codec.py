"""Frames that are in order: what is read from them, and what is written."""

import json

import pytest

from clawproto.json_types import Json
from clawproto.wire.codec import (
    decode,
)
from clawproto.wire.values import (
    Ack,
    Challenge,
    Frame,
    HelloFail,
    HelloOk,
    MediaFragment,
    Mention,
    MentionFragment,
    MessagePayload,
    NotifySignal,
    OpaquePayload,
    Payload,
    Peer,
    Pong,
    Refusal,
    ReplayDone,
    Reply,
    SyncMark,
    TextFragment,
    Typing,
    UnknownFragment,
)
from tests.decoded import backend as backend

LIMIT = 1_000_000
Object = dict[str, Json]


def downlink(event: str, payload: Json = None, **envelope: Json) -> str:
    frame: Object = {"version": "2", "event": event, "trace_id": "t", "emitted_at": 1, "payload": payload or {}}
    return json.dumps(frame | envelope)


def frame_of(data: str | bytes) -> Frame:
    frame = decode(data, LIMIT)
    assert isinstance(frame, Frame)
    return frame


def payload_of(event: str, payload: Json) -> Payload:
    return frame_of(downlink(event, payload)).payload


def message(fragments: Json, mentions: Json = None, reply: Json = None, **payload: Json) -> MessagePayload:
    body: Object = {"body": {"fragments": fragments}, "context": {"mentions": mentions, "reply": reply}}
    source: Object = {"message_id": "m", "message_mode": "normal", "message": body}
    result = payload_of("message.send", source | payload)
    assert isinstance(result, MessagePayload)
    return result


# --- envelope ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("ENV-1", "EVT-5")
def test_a_whole_downlink() -> None:
    body: Object = {
        "body": {"fragments": [{"kind": "text", "text": "lunch?"}]},
        "context": {"mentions": [], "reply": None},
        "streaming": {"status": "static", "sequence": 0, "mutation_policy": "sealed"},
    }
    text = downlink(
        "message.send",
        {"message_id": "msg-1", "message_mode": "normal", "message": body},
        trace_id="d-88",
        emitted_at=1_790_000_100_090,
        chat_id="cnv_1",
        chat_type="direct",
        to={"id": "usr_b", "type": "direct"},
        sender={"id": "usr_a", "type": "direct", "nick_name": "Dora"},
        origin_device_id="lab-01",
        seq=70,
        dseq=4,
    )
    expected = Frame(
        event="message.send",
        payload=MessagePayload("msg-1", "normal", (TextFragment("lunch?"),), ()),
        trace_id="d-88",
        emitted_at=1_790_000_100_090,
        chat_id="cnv_1",
        chat_type="direct",
        to=Peer("usr_b", "direct"),
        sender=Peer("usr_a", "direct", "Dora"),
        origin_device_id="lab-01",
        seq=70,
        dseq=4,
    )
    assert frame_of(text) == expected
    assert frame_of(text.encode()) == expected


@pytest.mark.rule("ENV-6", "D-24", "ENV-13")
def test_everything_but_version_and_event_may_be_missing() -> None:
    assert frame_of('{"version":"2","event":"pong"}') == Frame("pong", Pong())
    assert frame_of('{"version":"2","event":"pong","trace_id":""}').trace_id == ""


@pytest.mark.rule("ENV-13")
def test_unknown_fields_are_ignored_everywhere() -> None:
    frame = frame_of(downlink("message.ack", {"message_id": "m", "accepted_at": 5, "new": [1]}, new={"a": None}))
    assert frame == frame_of(downlink("message.ack", {"message_id": "m", "accepted_at": 5}))
    assert message([{"kind": "text", "text": "x", "new": {}}]).fragments == (TextFragment("x"),)


@pytest.mark.rule("ENV-15", "D-39")
@pytest.mark.parametrize("id_", ["", "rx:usr_1:msg-2", "notify:friend.added:usr_1", "5", "é" * 600, " ", "cnv"])
def test_ids_of_any_shape_are_taken(id_: str) -> None:
    frame = frame_of(downlink("message.ack", {"message_id": id_}, chat_id=id_, sender={"id": id_}))
    assert (frame.payload, frame.chat_id, frame.sender) == (Ack(id_, None), id_, Peer(id_))


@pytest.mark.rule("ENV-5")
def test_any_type_is_taken_in_to_and_sender() -> None:
    frame = frame_of(downlink("pong", {}, to={"id": "x", "type": "robot"}, sender={"id": "y", "type": "direct"}))
    assert (frame.to, frame.sender) == (Peer("x", "robot"), Peer("y", "direct"))


@pytest.mark.rule("EVT-4")
@pytest.mark.parametrize("chat_type", [None, "direct", "group", "new"])
def test_the_event_alone_decides(chat_type: str | None) -> None:
    assert frame_of(downlink("typing.update", {"is_typing": True}, chat_type=chat_type)).payload == Typing(True)


@pytest.mark.rule("EVT-1", "EVT-2")
@pytest.mark.parametrize("event", ["message.edited", "presence.gone", "offline.batch", "x-local", "", "PONG", "é"])
def test_events_without_a_typed_form_are_opaque(event: str) -> None:
    frame = frame_of(downlink(event, {"a": [1, None]}, dseq=3))
    assert frame == Frame(event, OpaquePayload({"a": [1, None]}), "t", 1, dseq=3)


# --- payloads ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("EVT-5")
@pytest.mark.parametrize(
    ("event", "payload", "expected"),
    [
        ("connect.challenge", {"nonce": "q0Yx"}, Challenge("q0Yx")),
        (
            "hello-ok",
            {"device_id": "d", "delivery_mode": "device_replay", "ack_mode": "dseq", "ack_epoch": "01K"},
            HelloOk("d", "device_replay", "dseq", "01K"),
        ),
        ("hello-ok", {"device_id": "d", "delivery_mode": "device_replay"}, HelloOk("d", "device_replay", None, None)),
        ("hello-fail", {"reason": " authentication failed"}, HelloFail(" authentication failed")),
        ("message.ack", {"message_id": "m", "accepted_at": 5}, Ack("m", 5)),
        (
            "message.error",
            {"message_id": "m", "code": "not_member", "reason": "r", "rejected_at": 6},
            Refusal("not_member", "m", "r", 6),
        ),
        ("message.error", {"code": "later"}, Refusal("later")),
        ("typing.update", {"is_typing": False}, Typing(False)),
        ("pong", {}, Pong()),
        ("replay.done", {}, ReplayDone()),
        ("sync.mark", {"covers_seq": 9}, SyncMark(9)),
        ("sync.mark", {}, SyncMark()),
        (
            "notify.signal",
            {"type": "friend.added", "entity_id": "usr_1", "version": 3, "event_id": "e", "message_id": "notify:…"},
            NotifySignal("friend.added", "usr_1", 3, "e", "notify:…"),
        ),
    ],
)
def test_typed_payloads(event: str, payload: Json, expected: Payload) -> None:
    assert payload_of(event, payload) == expected


@pytest.mark.rule("SEND-21")
@pytest.mark.parametrize(("mode", "expected"), [("", ""), ("normal", "normal"), ("thinking", "thinking"), (5, "")])
def test_any_mode_is_taken(mode: Json, expected: str) -> None:
    assert message([], message_mode=mode).message_mode == expected


@pytest.mark.rule("SEND-21")
def test_an_absent_mode_reads_like_an_empty_one() -> None:
    body: Object = {"body": {"fragments": []}}
    assert payload_of("message.send", {"message_id": "m", "message": body}) == MessagePayload("m", "", (), ())


def test_send_and_reply_read_alike() -> None:
    preview: Object = {"id": "usr_a", "nick_name": "A", "fragments": [{"kind": "text", "text": "q"}, 5]}
    context: Object = {"mentions": ["u"], "reply": {"reply_to_msg_id": "msg-0", "reply_preview": preview}}
    payload: Object = {
        "message_id": "m",
        "message_mode": "normal",
        "message": {"body": {"fragments": [{"kind": "text", "text": "a"}]}, "context": context},
        "stream_merged": True,
        "metadata": {"kind": "permission_result"},
    }
    expected = MessagePayload(
        "m",
        "normal",
        (TextFragment("a"),),
        (Mention("u"),),
        Reply("msg-0", "usr_a", "A", (TextFragment("q"),)),
        stream_merged=True,
        metadata={"kind": "permission_result"},
    )
    assert payload_of("message.send", payload) == expected
    assert payload_of("message.reply", payload) == expected


# --- fragments and mentions ----------------------------------------------------------------------------------------


@pytest.mark.rule("FRAG-1", "FRAG-5")
def test_fragments_in_order_with_all_their_fields() -> None:
    url = "https://m/a?sig=%2F+b"
    assert message(
        [
            {"kind": "text", "text": "", "delta": "d"},
            {"kind": "mention", "user_id": "u", "display": "U"},
            {"kind": "image", "url": url, "name": "n", "mime": "m", "size": 1, "width": 2, "height": 3},
            {"kind": "video", "url": url, "size": 1, "width": 2, "height": 3, "duration": 4},
            {"kind": "audio", "url": url, "name": "n", "mime": "m", "size": 1, "duration": 4},
            {"kind": "file", "url": url, "name": "n", "mime": "m", "size": 1},
        ]
    ).fragments == (
        TextFragment("", "d"),
        MentionFragment("u", "U"),
        MediaFragment("image", url, "n", "m", 1, 2, 3),
        MediaFragment("video", url, None, None, 1, 2, 3, 4),
        MediaFragment("audio", url, "n", "m", 1, duration=4),
        MediaFragment("file", url, "n", "m", 1),
    )


@pytest.mark.rule("FRAG-3")
def test_fragments_of_unknown_kind_are_kept() -> None:
    source: Object = {"kind": "hologram", "url": 5, "deep": [{"a": None}]}
    result = message([source, {"kind": "Text", "text": "x"}])
    assert result.fragments == (
        UnknownFragment("hologram", source),
        UnknownFragment("Text", {"kind": "Text", "text": "x"}),
    )
    assert result.skipped_fragments == 0


@pytest.mark.rule("ENV-13")
@pytest.mark.parametrize(("kind", "foreign"), [("image", "duration"), ("audio", "width"), ("file", "height")])
def test_a_kind_does_not_look_at_the_fields_of_others(kind: str, foreign: str) -> None:
    assert message([{"kind": kind, "url": "u", foreign: "wide"}]).fragments == (MediaFragment(kind, "u"),)


@pytest.mark.rule("MENT-7")
def test_both_fields_of_a_mention_fragment_are_optional() -> None:
    result = message(
        [
            {"kind": "mention"},
            {"kind": "mention", "display": "Dora"},
            {"kind": "mention", "user_id": "all"},
            {"kind": "mention", "user_id": None, "display": None},
        ]
    )
    assert result.fragments == (
        MentionFragment(),
        MentionFragment(None, "Dora"),
        MentionFragment("all"),
        MentionFragment(),
    )


@pytest.mark.rule("MENT-2", "MENT-8", "D-43")
def test_mentions_are_read_tolerantly() -> None:
    result = message(
        [],
        [
            {"kind": "mention", "user_id": "a", "display": "A"},
            {"user_id": "b"},
            {"user_id": "c", "display": 5, "kind": None},
            "d",
            {"kind": "mention", "display": "nobody"},
            {"kind": "role", "user_id": "x"},
            {"kind": [], "user_id": "x"},
            {"id": "x"},
            {"user_id": 5},
            {"user_id": ""},
            "",
            None,
            7,
            True,
            ["x"],
        ],
    )
    assert result.mentions == (Mention("a", "A"), Mention("b"), Mention("c"), Mention("d"))


@pytest.mark.rule("MENT-2", "MENT-5")
@pytest.mark.parametrize("mentions", [None, {}, {"user_id": "a"}, "a", 5, True, []])
def test_a_mentions_list_that_is_none_names_nobody(mentions: Json) -> None:
    result = message([{"kind": "text", "text": "x"}], mentions)
    assert result.mentions == ()
    assert result.fragments == (TextFragment("x"),)
