"""Frames that are in order: what is read from them, and what is written."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawproto.json_types import Json
from clawproto.wire import json_backend
from clawproto.wire.codec import (
    decode,
    encode_connect,
    encode_cursor_ack,
    encode_envelope,
    encode_message_payload,
    encode_ping,
    encode_sync_ack,
    encode_typing,
)
from clawproto.wire.json_text import write
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

LIMIT = 1_000_000
Object = dict[str, Json]


@pytest.fixture(params=["stdlib", "msgspec"], autouse=True)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name = cast(str, request.param)
    monkeypatch.setattr(json_backend, "loads", getattr(json_backend, f"{name}_loads"))
    return name


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
    result = payload_of("message.send", {"message_id": "m", "message_mode": "normal", "message": body} | payload)
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


@pytest.mark.rule("ENV-5", "ENV-4")
def test_any_type_is_taken_in_to_and_sender() -> None:
    frame = frame_of(downlink("pong", {}, to={"id": "x", "type": "robot"}, sender={"id": "y", "type": "direct"}))
    assert (frame.to, frame.sender) == (Peer("x", "robot"), Peer("y", "direct"))


@pytest.mark.rule("EVT-4")
@pytest.mark.parametrize("chat_type", [None, "direct", "group", "new"])
def test_the_event_alone_decides(chat_type: str | None) -> None:
    assert frame_of(downlink("typing.update", {"is_typing": True}, chat_type=chat_type)).payload == Typing(True)


@pytest.mark.rule("EVT-1", "EVT-2")
@pytest.mark.parametrize("event", ["message.reaction", "presence.update", "offline.batch", "x-local", "", "PONG", "é"])
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


@pytest.mark.rule("FRAG-2", "ENV-13")
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


# --- uplinks -------------------------------------------------------------------------------------------------------

HUB_FIELDS = {"sender", "chat_type", "origin_device_id", "seq", "dseq"}


def uplink(text: str) -> Object:
    value = json.loads(text)
    assert json.dumps(value, separators=(",", ":"), ensure_ascii=False) == text, "not compact"
    return cast(Object, value)


def test_connect() -> None:
    text = encode_connect(
        trace_id="c-7",
        emitted_at=5,
        token="T1",
        nonce="q0Yx",
        device_id="lab-01",
        client_version="",
        capabilities={"reliable_delivery": True, "multi_device": False},
    )
    assert uplink(text) == {
        "version": "2",
        "event": "connect",
        "trace_id": "c-7",
        "emitted_at": 5,
        "payload": {
            "token": "T1",
            "nonce": "q0Yx",
            "device_id": "lab-01",
            "client_version": "",
            "protocol_version": 2,
            "capabilities": {"reliable_delivery": True, "multi_device": False},
        },
    }


@pytest.mark.rule("HS-2", "AUTH-1")
@pytest.mark.parametrize("text", ['q"\\\n', "\0n", "é😀", "\x7f\u2028", " x "])
def test_token_and_nonce_go_out_as_they_came(text: str) -> None:
    sent = json.loads(
        encode_connect(
            trace_id="", emitted_at=0, token=text, nonce=text, device_id="", client_version="", capabilities={}
        )
    )
    assert (sent["payload"]["token"], sent["payload"]["nonce"]) == (text, text)


@pytest.mark.rule("SEND-1", "SEND-2", "SEND-3", "MENT-1")
def test_message_payload_has_every_field_and_no_other() -> None:
    mention: Object = {"kind": "mention", "user_id": "u", "display": "U"}
    text = encode_message_payload("msg-1", "normal", [{"kind": "text", "text": "hi"}, mention], [mention], None)
    assert uplink(text) == {
        "message_id": "msg-1",
        "message_mode": "normal",
        "message": {
            "body": {"fragments": [{"kind": "text", "text": "hi"}, mention]},
            "context": {"mentions": [mention], "reply": None},
        },
    }


@pytest.mark.rule("SEND-4")
def test_reply_payload() -> None:
    reply: Object = {"reply_to_msg_id": "msg-0", "reply_preview": {"id": "u", "nick_name": "U", "fragments": []}}
    text = encode_message_payload("msg-1", "normal", [{"kind": "text", "text": "hi"}], [], reply)
    assert json.loads(text)["message"]["context"] == {"mentions": [], "reply": reply}


@pytest.mark.rule("SEND-4")
@pytest.mark.parametrize(
    "reply", [{}, {"reply_to_msg_id": "m"}, {"reply_to_msg_id": 5, "reply_preview": {}}, {"reply_preview": {}}, [], "m"]
)
def test_incomplete_replies_are_refused(reply: Json) -> None:
    with pytest.raises(ValueError, match="SEND-4"):
        encode_message_payload("m", "normal", [], [], cast(Object, reply))


@pytest.mark.rule("SEND-5")
def test_a_payload_text_is_inserted_byte_for_byte() -> None:
    payload_text = '{ "message_id":"msg-1", "x": 1.0e0 }'
    texts = [
        encode_envelope("message.send", trace_id=trace, emitted_at=5, payload_text=payload_text, chat_id="cnv_1")
        for trace in ("a", "b")
    ]
    assert all(text.endswith(f',"payload":{payload_text}}}') for text in texts)


@pytest.mark.rule("ENV-2", "ENV-1")
def test_envelope_of_a_business_uplink() -> None:
    text = encode_envelope(
        "message.send",
        trace_id='s"1',
        emitted_at=1_790_000_100_000,
        payload_text="{}",
        chat_id="cnv_1",
        to_text=write({"id": "cnv_1", "type": "group"}),
    )
    assert uplink(text) == {
        "version": "2",
        "event": "message.send",
        "trace_id": 's"1',
        "emitted_at": 1_790_000_100_000,
        "chat_id": "cnv_1",
        "to": {"id": "cnv_1", "type": "group"},
        "payload": {},
    }


@pytest.mark.rule("ENV-2", "ENV-10")
def test_frames_of_the_session_itself() -> None:
    assert uplink(encode_ping(trace_id="p", emitted_at=5)) == {
        "version": "2",
        "event": "ping",
        "trace_id": "p",
        "emitted_at": 5,
        "payload": {},
    }
    ack = uplink(encode_sync_ack(trace_id="a", emitted_at=5, dseq=7, epoch="01K"))
    assert (ack["event"], ack["payload"]) == ("message.sync_ack", {"dseq": 7, "epoch": "01K"})
    cursor = uplink(encode_cursor_ack(trace_id="a", emitted_at=5, seq=7))
    assert (cursor["event"], cursor["payload"]) == ("message.cursor_ack", {"seq": 7})
    for frame in (ack, cursor):
        assert not frame.keys() & (HUB_FIELDS | {"chat_id", "to"})


def test_typing() -> None:
    frame = uplink(encode_typing(trace_id="t", emitted_at=5, chat_id="cnv_1", is_typing=True))
    assert (frame["event"], frame["chat_id"], frame["payload"]) == ("typing.update", "cnv_1", {"is_typing": True})


@pytest.mark.rule("ENV-10")
@pytest.mark.parametrize("event", ["connect", "ping", "message.cursor_ack", "message.sync_ack", "presence.subscribe"])
def test_routing_on_frames_that_have_none_is_refused(event: str) -> None:
    with pytest.raises(ValueError, match="ENV-10"):
        encode_envelope(event, trace_id="", emitted_at=0, payload_text="{}", chat_id="")
    with pytest.raises(ValueError, match="ENV-10"):
        encode_envelope(event, trace_id="", emitted_at=0, payload_text="{}", to_text="{}")


@pytest.mark.rule("R2-34")
@pytest.mark.parametrize("mark", [0, -1])
def test_nothing_is_acknowledged_with_a_mark_below_one(mark: int) -> None:
    with pytest.raises(ValueError, match="R2-34"):
        encode_sync_ack(trace_id="", emitted_at=0, dseq=mark, epoch="e")
    with pytest.raises(ValueError, match="SILENT-7"):
        encode_cursor_ack(trace_id="", emitted_at=0, seq=mark)


@pytest.mark.rule("ENV-9")
def test_no_null_character_goes_out() -> None:
    text = encode_message_payload("m", "nor\0mal", [{"kind": "te\0xt", "text": "a\0b", "\0k": ["\0"]}], ["\0u"], None)
    assert "\\u0000" not in text
    assert "\0" not in text
    assert json.loads(text)["message"]["body"]["fragments"] == [{"kind": "text", "text": "ab", "k": [""]}]
    envelope = encode_envelope(
        "x\0", trace_id="t\0", emitted_at=0, payload_text="{}", chat_id="c\0", to_text=write("\0")
    )
    assert "u0000" not in envelope


def test_a_backslash_before_u0000_is_no_null_character() -> None:
    assert json.loads(write("\\u0000")) == "\\u0000"


def test_text_stays_readable_and_lone_surrogates_travel_escaped() -> None:
    assert write({"é": "😀\u2028"}) == '{"é":"😀\u2028"}'
    text = write(["é\ud800"])
    assert text == '["\\u00e9\\ud800"]'
    assert json.loads(text) == ["é\ud800"]


json_values: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
any_text = st.text(st.characters(codec=None))


@pytest.mark.rule("ENV-9")
@given(st.text(), any_text, any_text, json_values)
def test_whatever_is_written_can_be_read_and_sent(message_id: str, text: str, chat_id: str, extra: Json) -> None:
    try:
        payload = encode_message_payload(
            message_id, "normal", [{"kind": "text", "text": text, "extra": extra}], [extra], None
        )
    except ValueError:
        assert message_id == "" or "\0" in message_id or len(message_id.encode()) > 512
        return
    data = encode_envelope("message.send", trace_id=text, emitted_at=1, payload_text=payload, chat_id=chat_id)
    data.encode("utf-8")
    frame = decode(data, 10 * LIMIT)
    assert isinstance(frame, Frame)
    assert isinstance(frame.payload, MessagePayload)
    whole = text.replace("\0", "").encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert frame.payload.fragments == (TextFragment(whole),)
    assert frame.payload.message_id == message_id


def circular() -> list[Json]:
    value: list[Json] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        -float("inf"),
        10**5000,
        b"bytes",
        {1, 2},
        object(),
        {5: "key"},
        {None: 1},
        circular(),
        re.compile("x"),
        Path("x"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_express_is_refused(value: object) -> None:
    item = cast(Json, value)
    with pytest.raises(ValueError):  # noqa: PT011
        encode_message_payload("m", "normal", [{"kind": "text", "text": "x", "extra": item}], [], None)
    with pytest.raises(ValueError):  # noqa: PT011
        encode_message_payload("m", "normal", [], [item], None)


@pytest.mark.parametrize("fragment", [{}, {"kind": 5}, {"kind": None}, [], "text", None])
def test_fragments_without_a_kind_are_refused(fragment: object) -> None:
    with pytest.raises(ValueError, match="FRAG-1"):
        encode_message_payload("m", "normal", [cast(Mapping[str, Json], fragment)], [], None)


@pytest.mark.rule("FRAG-4")
def test_a_custom_kind_needs_a_text() -> None:
    custom: Object = {"kind": "poll", "choices": ["a"]}
    with pytest.raises(ValueError, match="FRAG-4"):
        encode_message_payload("m", "normal", [custom, {"kind": "image", "url": "u"}], [], None)
    assert encode_message_payload("m", "normal", [custom, {"kind": "text", "text": "a or b?"}], [], None)
    assert encode_message_payload("m", "normal", [{"kind": "image", "url": "u"}], [], None)


@pytest.mark.rule("STREAM-6")
def test_delta_is_for_streams_only() -> None:
    with pytest.raises(ValueError, match="STREAM-6"):
        encode_message_payload("m", "normal", [{"kind": "text", "text": "ab", "delta": "b"}], [], None)


@pytest.mark.rule("LIM-4", "LIM-6")
def test_length_of_message_ids_is_counted_in_bytes() -> None:
    for message_id in ("x", "x" * 512, "é" * 256):
        assert json.loads(encode_message_payload(message_id, "normal", [], [], None))["message_id"] == message_id
    for message_id in ("", "x" * 513, "é" * 257, "a\0"):
        with pytest.raises(ValueError, match="LIM-4"):
            encode_message_payload(message_id, "normal", [], [], None)


def test_foreign_mappings_and_tuples_are_written_too() -> None:
    assert write(MappingProxyType({"a": ({"b": ()},)})) == '{"a":[{"b":[]}]}'


def test_a_written_payload_owes_nothing_to_its_source() -> None:
    fragment: Object = {"kind": "text", "text": "before"}
    text = encode_message_payload("m", "normal", [fragment], [], None)
    fragment["text"] = "after"
    assert json.loads(text)["message"]["body"]["fragments"] == [{"kind": "text", "text": "before"}]
