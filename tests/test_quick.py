"""The quick reader of messages and acks: whatever it answers, the ordinary reader answers as well."""

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from clawproto.json_types import Json
from clawproto.policy import Policy
from clawproto.wire import codec, json_backend
from clawproto.wire.codec import decode
from clawproto.wire.quick import Answer, Said, Writing, msgspec_read
from clawproto.wire.traffic import decode_traffic
from clawproto.wire.values import Ack, BadFrame, Frame, MessagePayload, Typing

LIMIT = Policy().downlink_limit


def slowly(data: str | bytes) -> Frame | BadFrame:
    """By the ordinary way, with the standard library's reader."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_backend, "loads", json_backend.stdlib_loads)
        return decode(data, LIMIT)


scalars: st.SearchStrategy[Json] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from([2**63, 2**63 - 1, -(2**63), -(2**63) - 1, 2**200, 1.0, 1e400, "2", "", "text", "\ud800", "x\0"]),
    st.text(max_size=4),
)
anything: st.SearchStrategy[Json] = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["id", "kind", "text", "user_id", "x"]), inner, max_size=3),
    ),
    max_leaves=6,
)


def one_of(fields: dict[str, st.SearchStrategy[Json]], *, odd: bool = True) -> st.SearchStrategy[Json]:
    """An object with some of these fields, of the usual types or of any."""
    whole = st.fixed_dictionaries({}, optional={**fields, "unknown": anything})
    return st.one_of(whole, st.fixed_dictionaries(fields), *([anything] if odd else []))


text = st.one_of(st.text(max_size=6), st.none())
integer = st.one_of(st.integers(-(2**65), 2**65), st.none())
flag = st.one_of(st.booleans(), st.none())
fragment = st.one_of(
    one_of({"kind": st.just("text"), "text": text, "delta": text}, odd=False),
    one_of({"kind": st.just("mention"), "user_id": text, "display": text}, odd=False),
    one_of({"kind": st.just("image"), "url": text, "size": integer, "width": integer, "mime": text}, odd=False),
    one_of({"kind": st.sampled_from(["file", "video", "poll", ""]), "url": text}),
)
message = one_of(
    {
        "message_id": text,
        "message_mode": text,
        "message": one_of(
            {
                "body": one_of({"fragments": st.one_of(st.lists(fragment, max_size=3), anything)}),
                "context": one_of({"mentions": st.lists(st.one_of(fragment, text), max_size=2), "reply": anything}),
                "streaming": one_of({"status": text, "sequence": integer, "started_at": integer}),
            }
        ),
        "stream_merged": st.one_of(st.booleans(), st.none()),
        "metadata": anything,
    }
)
peer = one_of({"id": text, "type": text, "nick_name": text})
frames = one_of(
    {
        "version": st.sampled_from(["2", "2", "2", "1", 2]),
        "event": st.sampled_from(["message.send", "message.reply", "message.ack", "typing.update", "message.error", 1]),
        "payload": st.one_of(message, one_of({"message_id": text, "accepted_at": integer, "is_typing": flag})),
        "trace_id": text,
        "emitted_at": integer,
        "chat_id": text,
        "to": peer,
        "sender": peer,
        "seq": integer,
        "dseq": integer,
        "origin_device_id": text,
        "ciphertext_fragments": anything,
    },
    odd=False,
)


def check(data: str | bytes) -> bool:
    quick = msgspec_read(data)
    if quick is not None:
        assert repr(quick) == repr(slowly(data))
    return quick is not None


@settings(deadline=None, max_examples=400)
@given(frames, st.booleans())
def test_whatever_it_reads_is_read_alike(frame: Json, ascii_only: bool) -> None:
    written = json.dumps(frame, ensure_ascii=ascii_only)
    check(written)
    check(written.encode("utf-8", "surrogatepass"))


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_damaged_frames_are_read_alike(data: st.DataObject) -> None:
    """A good frame in which some bytes are others."""
    good = json.dumps({**GOOD, "extra": "é"}, ensure_ascii=False).encode()
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(good) - 1))] = data.draw(
            st.one_of(st.sampled_from(list(b'"\\{}[],:0-\x00\xff\xc3 e.')), st.integers(0, 255))
        )
    check(bytes(damaged))


GOOD: dict[str, Json] = {
    "version": "2",
    "event": "message.send",
    "trace_id": "t",
    "chat_id": "cnv_1",
    "sender": {"id": "usr_1"},
    "dseq": 3,
    "payload": {
        "message_id": "msg-1",
        "message": {"body": {"fragments": [{"kind": "text", "text": "hi"}]}, "context": {"mentions": []}},
    },
}


@pytest.mark.rule("ENV-13", "ENV-14")
@pytest.mark.parametrize("as_bytes", [False, True])
def test_ordinary_frames_are_read_quickly(as_bytes: bool) -> None:
    for frame, kind in [
        (GOOD, MessagePayload),
        ({**GOOD, "event": "message.reply", "ciphertext_fragments": [1.5]}, MessagePayload),
        ({"version": "2", "event": "message.ack", "payload": {"message_id": "msg-1", "accepted_at": 5}}, Ack),
        ({"version": "2", "event": "typing.update", "chat_id": "cnv_1", "payload": {"is_typing": True}}, Typing),
    ]:
        written = json.dumps(frame)
        found = msgspec_read(written.encode() if as_bytes else written)
        assert found is not None and type(found.payload) is kind
        assert found == slowly(written)


@pytest.mark.parametrize(
    "change",
    [
        {"version": "1"},
        {"dseq": None},
        {"dseq": 2**63},
        {"sender": {}},
        {"to": 1},
        {"event": "message.x"},
        {"later": 1},
    ],
)
def test_what_is_not_ordinary_is_left_to_the_other(change: dict[str, Json]) -> None:
    assert msgspec_read(json.dumps({**GOOD, **change})) is None


def test_too_deep_for_one_is_too_deep_for_both() -> None:
    deep = json.dumps(GOOD)[:-1] + ',"x":' + "[" * 70 + "]" * 70 + "}"
    assert msgspec_read(deep) is None
    assert slowly(deep) == decode(deep, LIMIT)
    assert isinstance(decode(deep, LIMIT), BadFrame)


@pytest.mark.parametrize("part", ["ciphertext_fragments", "metadata", "mentions", "reply"])
def test_what_is_untyped_may_not_nest_too_deeply(part: str) -> None:
    payload: Any = {
        "message_id": "msg-1",
        "message": {"body": {"fragments": []}, "context": {"mentions": [], "reply": None}},
    }
    frame: dict[str, Json] = {**GOOD, "payload": payload}
    place = (
        frame if part == "ciphertext_fragments" else payload if part == "metadata" else payload["message"]["context"]
    )
    for depth, quickly in ((20, True), (100, False)):
        inner: Any = []
        for _ in range(depth):
            inner = [inner]
        place[part] = inner if part in ("ciphertext_fragments", "mentions") else {"x": inner}
        written = json.dumps(frame)
        assert check(written) is quickly
        assert isinstance(decode(written, LIMIT), Frame if quickly else BadFrame)


def test_brackets_in_a_text_are_no_depth() -> None:
    said = {"message_id": "m", "message": {"body": {"fragments": [{"kind": "text", "text": "{[" * 500}]}}}
    assert check(json.dumps({**GOOD, "payload": said}))


def test_messages_by_their_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without msgspec a message is known by how it begins; nothing is decoded twice for others."""
    monkeypatch.setattr(codec, "read_traffic", None)
    for written in (json.dumps(GOOD), json.dumps(GOOD).encode()):
        assert decode_traffic(written, LIMIT) == counting(slowly(written))
    for other in ('{"version":"2","event":"pong"}', b"", "[", '"message.send"', '"message.ack"', '["message.send"]'):
        assert decode_traffic(other, LIMIT) is None
    assert decode_traffic(json.dumps(GOOD), 10) is None


def counting(frame: Frame | BadFrame) -> Said | Answer | Writing | None:
    """What counts of a frame, by its whole reading."""
    if not isinstance(frame, Frame):
        return None
    payload = frame.payload
    has_stamp = frame.dseq is not None or frame.dseq_malformed
    if isinstance(payload, Ack) and not has_stamp:
        return frame.trace_id, payload.message_id, payload.accepted_at
    if isinstance(payload, Typing) and not has_stamp:
        return (frame.chat_id or "", "" if frame.sender is None else frame.sender.id), payload.is_typing
    if not isinstance(payload, MessagePayload) or frame.sender is None:
        return None
    chat, hidden = (frame.chat_id or "", frame.chat_type), frame.ciphertext_fragments
    return frame.event, *chat, frame.sender, payload, frame.emitted_at, hidden, frame.dseq


@settings(deadline=None, max_examples=400)
@given(frames, st.booleans(), st.booleans())
@pytest.mark.rule("ENV-13", "ENV-14")
def test_what_counts_of_a_message_is_read_alike(frame: Json, stdlib: bool, as_bytes: bool) -> None:
    """With either reader; the ordinary one knows every message by its name, wherever that stands early enough."""
    assert isinstance(frame, dict)
    event = frame.get("event")
    written = json.dumps({"event": event, **frame})
    with pytest.MonkeyPatch.context() as patch:
        if stdlib:
            patch.setattr(json_backend, "loads", json_backend.stdlib_loads)
        found = decode_traffic(written.encode() if as_bytes else written, LIMIT)
    expected = counting(slowly(written))
    assert repr(found) == repr(expected)


@settings(deadline=None, max_examples=300)
@given(frames, one_of({"message_id": text, "accepted_at": integer}), st.booleans(), st.booleans())
@pytest.mark.rule("ENV-13", "ENV-14", "R2-31")
def test_acks_are_read_alike(frame: Json, payload: Json, with_stamp: bool, stdlib: bool) -> None:
    """The short form of an ack says what its frame says; a stamp in any form is left to the frame."""
    assert isinstance(frame, dict)
    source = {**frame, "event": "message.ack", "payload": payload}
    if not with_stamp:
        source.pop("dseq", None)
    written = json.dumps({"event": source.pop("event"), **source})
    with pytest.MonkeyPatch.context() as patch:
        if stdlib:
            patch.setattr(json_backend, "loads", json_backend.stdlib_loads)
        found = decode_traffic(written, LIMIT)
    assert found == counting(slowly(written))


def test_an_ack_has_a_short_form() -> None:
    """Else everything above would pass without it."""
    ack = '{"version":"2","event":"message.ack","trace_id":"s-1","payload":{"message_id":"msg-1","accepted_at":5}}'
    for written in (ack, ack.encode()):
        assert decode_traffic(written, LIMIT) == ("s-1", "msg-1", 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_backend, "loads", json_backend.stdlib_loads)
        assert decode_traffic(ack, LIMIT) == ("s-1", "msg-1", 5)
