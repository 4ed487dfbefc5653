"""Downlinks, generated: every one is read or refused, none raises."""

import json

import pytest
from hypothesis import given, settings, strategies as st

from clawproto.json_types import Json
from clawproto.wire.codec import decode
from clawproto.wire.values import BadFrame, Frame
from tests.decoded import backend as backend

LIMIT = 1_000_000
Object = dict[str, Json]


json_values: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
EVENTS = [
    "connect.challenge",
    "hello-ok",
    "hello-fail",
    "message.ack",
    "message.error",
    "message.send",
    "message.reply",
    "typing.update",
    "pong",
    "replay.done",
    "sync.mark",
    "notify.signal",
    "other",
]
FIELDS = ["trace_id", "emitted_at", "chat_id", "chat_type", "to", "sender", "origin_device_id", "seq", "dseq"]
PAYLOAD_FIELDS = [
    *["nonce", "device_id", "delivery_mode", "ack_mode", "ack_epoch", "reason", "message_id", "accepted_at", "code"],
    *["rejected_at", "is_typing", "covers_seq", "type", "entity_id", "version", "event_id", "message_mode", "metadata"],
    "stream_merged",
]
fragments = st.dictionaries(
    st.sampled_from(
        ["kind", "text", "delta", "user_id", "display", "url", "name", "mime", "size", "width", "duration"]
    ),
    json_values | st.sampled_from(["text", "mention", "image", "audio"]),
)
contents = st.fixed_dictionaries(
    {"body": st.fixed_dictionaries({"fragments": st.lists(fragments, max_size=4)}) | json_values},
    optional={
        "context": st.fixed_dictionaries(
            {"mentions": st.lists(fragments | json_values, max_size=3) | json_values, "reply": json_values}
        )
    },
)
payloads = st.fixed_dictionaries(
    {}, optional={"message": contents | json_values, **dict.fromkeys(PAYLOAD_FIELDS, json_values)}
)
frames = st.fixed_dictionaries(
    {"version": st.just("2"), "event": st.sampled_from(EVENTS)},
    optional={"payload": payloads | json_values, **dict.fromkeys(FIELDS, json_values)},
)


@pytest.mark.rule("ENV-12", "ENV-13", "ENV-14")
@settings(deadline=None)
@given(frames, st.booleans())
def test_every_object_with_version_and_event_is_a_frame(source: Object, ensure_ascii: bool) -> None:
    text = json.dumps(source, ensure_ascii=ensure_ascii).replace("NaN", "null").replace("Infinity", "1e999")
    frame = decode(text, LIMIT)
    assert isinstance(frame, Frame)
    assert frame.event == source["event"]
    assert type(frame.trace_id) is str
    for value in (frame.emitted_at, frame.seq, frame.dseq):
        assert value is None or (type(value) is int and -(2**63) <= value < 2**63)
    assert frame.dseq_malformed is ("dseq" in source and frame.dseq is None)
    repr(frame).encode("utf-8")


@pytest.mark.rule("ENV-12")
@settings(deadline=None)
@given(st.text(st.characters(codec=None)) | st.binary(), st.integers(0, 50))
def test_no_input_raises(data: str | bytes, limit: int) -> None:
    assert isinstance(decode(data, limit), BadFrame)


@pytest.mark.rule("ENV-12")
@settings(deadline=None)
@given(frames, st.data())
def test_no_damage_raises(source: Object, data: st.DataObject) -> None:
    text = json.dumps(source).encode()
    at = data.draw(st.integers(0, len(text)))
    junk = data.draw(st.binary(max_size=3))
    assert isinstance(decode(text[:at] + junk + text[at + len(junk) :], LIMIT), Frame | BadFrame)
    assert isinstance(decode(text[:at], LIMIT), Frame | BadFrame)
