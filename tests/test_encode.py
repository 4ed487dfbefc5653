"""Uplinks: what is written, and what is refused."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import cast

import pytest
from hypothesis import given, settings, strategies as st

from clawproto.json_types import Json
from clawproto.wire import json_text
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
from clawproto.wire.json_text import write, write_text
from clawproto.wire.values import Frame, MessagePayload, TextFragment

LIMIT = 1_000_000
Object = dict[str, Json]
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


@pytest.mark.rule("SEND-1", "SEND-2")
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


def written_or_refused(write: Callable[[], str]) -> str:
    try:
        return write()
    except ValueError as error:
        return repr(error)


odd_values = st.one_of(
    st.sampled_from(
        ["text", "mention", "image", "custom", "", "\0", "a\0b", "\ud800", "\U0001f600", "\\u0000", '"', "\x1f\x7f"]
    ),
    st.text(),
    st.integers(),
    st.sampled_from([None, True, False, 2**63 - 1, 2**63, -(2**63), 10**5000, 0.5, float("nan"), [], [1], {"a": "\0"}]),
)
odd_fragments: st.SearchStrategy[object] = st.one_of(
    st.just({"kind": "text", "text": "hello"}),
    st.dictionaries(st.sampled_from(["kind", "text", "url", "delta", "size", "\0", "kind\0", "\ud800"]), odd_values),
    st.fixed_dictionaries({"kind": st.sampled_from(["text", "image", "custom"])}, optional={"text": odd_values}),
    st.sampled_from([{}, [], None, MappingProxyType({"kind": "text", "text": "x"}), {5: "a"}, {"kind": ["text"]}]),
)


@pytest.mark.rule("SEND-1", "SEND-5", "ENV-9", "FRAG-1", "FRAG-4", "STREAM-6")
@settings(deadline=None, max_examples=400)
@given(
    st.sampled_from(["msg-1", "", "a\0", "é", "\ud800", "x" * 513]),
    st.sampled_from(["normal", "", "thinking", "\0"]),
    st.lists(odd_fragments, max_size=3).map(tuple),
    st.booleans(),
)
def test_what_is_ordinary_is_written_as_everything_else(
    message_id: str, mode: str, fragments: tuple[Object, ...], stdlib: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "_write_all", getattr(json_text, "_stdlib_write_all"))  # noqa: B009 (private)
        if not stdlib:
            json_text.load()
        short = written_or_refused(lambda: encode_message_payload(message_id, mode, fragments, (), None))
    assert short == written_or_refused(lambda: encode_message_payload(message_id, mode, fragments, [], None))


@pytest.mark.rule("ENV-9")
@given(st.one_of(st.text(), st.sampled_from(["\0", "\ud800a", '"\\', "\\u0000"])))
def test_a_string_is_written_as_every_value(text: str) -> None:
    assert write_text(text) == write(text)


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
    text = encode_message_payload("m", "nor\0mal", [{"kind": "te\0xt", "text": "a\0b", "\0k": ["\0"]}], [MENTION], None)
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


MENTION: dict[str, Json] = {"kind": "mention", "user_id": "\0u"}

json_values: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
any_text = st.text(st.characters(codec=None))


@pytest.mark.rule("ENV-9")
@settings(deadline=None)
@given(st.text(), any_text, any_text, json_values)
def test_whatever_is_written_can_be_read_and_sent(message_id: str, text: str, chat_id: str, extra: Json) -> None:
    try:
        payload = encode_message_payload(
            message_id, "normal", [{"kind": "text", "text": text, "extra": extra}], [{**MENTION, "extra": extra}], None
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
    with pytest.raises(ValueError, match=r"\w"):
        encode_message_payload("m", "normal", [{"kind": "text", "text": "x", "extra": item}], [], None)
    with pytest.raises(ValueError, match=r"\w"):
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


def test_whatever_may_be_written_is_not_too_deep_to_be_read() -> None:
    def encode(depth: int) -> str:
        extra: Json = None
        for _ in range(depth):
            extra = [extra]
        return encode_message_payload("m", "normal", [{"kind": "text", "text": "x", "extra": extra}], [], None)

    depth = next(depth for depth in range(100) if not writable(encode, depth + 1))
    frame = decode(encode_envelope("message.send", trace_id="", emitted_at=0, payload_text=encode(depth)), LIMIT)
    assert isinstance(frame, Frame)
    assert depth > 50


def writable(encode: Callable[[int], str], depth: int) -> bool:
    try:
        encode(depth)
    except ValueError:
        return False
    return True


def test_foreign_mappings_and_tuples_are_written_too() -> None:
    assert write(MappingProxyType({"a": ({"b": ()},)})) == '{"a":[{"b":[]}]}'


def test_a_written_payload_owes_nothing_to_its_source() -> None:
    fragment: Object = {"kind": "text", "text": "before"}
    text = encode_message_payload("m", "normal", [fragment], [], None)
    fragment["text"] = "after"
    assert json.loads(text)["message"]["body"]["fragments"] == [{"kind": "text", "text": "before"}]
