"""Every field of messages, fragments and envelopes: what it comes to at its bounds, of a wrong type, and if missing."""

import json
from typing import Any, cast

import attrs
import pytest

from clawproto.json_types import Json
from clawproto.wire.values import (
    Ack,
    Fragment,
    Frame,
    MalformedPayload,
    MediaFragment,
    Mention,
    MentionFragment,
    MessagePayload,
    Payload,
    Peer,
    Pong,
    Reply,
    TextFragment,
    Typing,
)
from tests.decoded import LEAST, MOST, WRONG, Object, backend as backend, frame_of, payload_of

TEXT: Object = {"kind": "text", "text": "x"}


def evolve(value: Any, **changes: Any) -> Any:
    """A copy with other fields, of whatever type."""
    return attrs.evolve(value, **changes)


# --- messages ------------------------------------------------------------------------------------------------------

PREVIEW: Object = {"id": "a", "nick_name": "A", "fragments": [TEXT, 5]}
MESSAGE: Object = {
    "message_id": "m",
    "message_mode": "thinking",
    "message": {
        "body": {"fragments": [{**TEXT, "delta": "d"}, {"kind": "mention", "user_id": "u"}, 5, {"kind": 5}]},
        "context": {"mentions": ["u"], "reply": {"reply_to_msg_id": "q", "reply_preview": PREVIEW}},
    },
    "stream_merged": True,
    "metadata": {"kind": "k"},
}
READ = MessagePayload(
    "m",
    "thinking",
    (TextFragment("x", "d"), MentionFragment("u")),
    (Mention("u"),),
    Reply("q", "a", "A", (TextFragment("x"),)),
    stream_merged=True,
    metadata={"kind": "k"},
    skipped_fragments=2,
)
NO_LIST = "payload.message.body.fragments is not a list"
IN_A_MESSAGE: list[tuple[str, type, Any]] = [  # where, what is there, and what changes without it
    ("message_id", str, "payload.message_id is not a string"),
    ("message_mode", str, {"message_mode": ""}),
    ("stream_merged", bool, {"stream_merged": False}),
    ("metadata", dict, {"metadata": None}),
    ("message", dict, NO_LIST),
    ("message.body", dict, NO_LIST),
    ("message.body.fragments", list, NO_LIST),
    ("message.context", dict, {"mentions": (), "reply": None}),
    ("message.context.mentions", list, {"mentions": ()}),
    ("message.context.reply", dict, {"reply": None}),
    ("message.context.reply.reply_to_msg_id", str, {"reply": None}),
    ("message.context.reply.reply_preview", dict, {"reply": Reply("q")}),
    ("message.context.reply.reply_preview.id", str, {"reply": Reply("q", None, "A", (TextFragment("x"),))}),
    ("message.context.reply.reply_preview.nick_name", str, {"reply": Reply("q", "a", None, (TextFragment("x"),))}),
    ("message.context.reply.reply_preview.fragments", list, {"reply": Reply("q", "a", "A")}),
]


def changed(source: Object, path: str, *values: Json) -> Object:
    """A copy with another value in one place, or without any there."""
    copy: Object = json.loads(json.dumps(source))
    *steps, last = path.split(".")
    inner = copy
    for step in steps:
        inner = cast(Object, inner[step])
    inner.pop(last, None)
    if values:
        (inner[last],) = values
    return copy


@pytest.mark.rule("SEND-21", "FRAG-6", "MENT-2", "ENV-13")
@pytest.mark.parametrize("event", ["message.send", "message.reply"])
@pytest.mark.parametrize(("path", "type_", "without"), IN_A_MESSAGE, ids=[row[0] for row in IN_A_MESSAGE])
def test_every_field_of_a_message(event: str, path: str, type_: type, without: Any) -> None:
    assert payload_of(event, MESSAGE) == READ
    for bad in [changed(MESSAGE, path), *(changed(MESSAGE, path, wrong) for wrong in WRONG[type_])]:
        problem = isinstance(without, str)
        expected = MalformedPayload(without, bad) if problem else evolve(READ, **without)
        assert payload_of(event, bad) == expected


USUAL: Object = {
    "message_id": "m",
    "message_mode": "normal",
    "message": {"body": {"fragments": [TEXT]}, "context": {"mentions": [], "reply": None}},
}
PLAIN = MessagePayload("m", "normal", (TextFragment("x"),), ())


@pytest.mark.rule("ENV-13", "FRAG-6", "MENT-2")
@pytest.mark.parametrize(
    ("path", "value", "change"),
    [
        ("message_id", "", {"message_id": ""}),
        ("message_id", 5, "payload.message_id is not a string"),
        ("message.body.fragments", {"kind": "text"}, NO_LIST),
        ("message.body.fragments", "x", NO_LIST),
        ("message_mode", "", {"message_mode": ""}),
        ("message_mode", 5, {"message_mode": ""}),
        ("message.body.fragments", [], {"fragments": ()}),
        ("message.body.fragments", [TEXT, TEXT], {"fragments": (TextFragment("x"),) * 2}),
        ("message.body.fragments", [{**TEXT, "delta": "d"}], {"fragments": (TextFragment("x", "d"),)}),
        ("message.body.fragments", [{**TEXT, "later": 1}], {}),
        ("message.body.fragments", [{"kind": "text", "text": 5}], {"fragments": (), "skipped_fragments": 1}),
        ("message.body.fragments", [{"kind": "mention", "text": "x"}], {"fragments": (MentionFragment(),)}),
        ("message.body.fragments", [["kind", "text"]], {"fragments": (), "skipped_fragments": 1}),
        ("message.context.mentions", ["u"], {"mentions": (Mention("u"),)}),
        ("message.context.mentions", "u", {}),
        ("message.context.reply", {"reply_to_msg_id": "q"}, {"reply": Reply("q")}),
        ("message.context.reply", {"reply_to_msg_id": 5}, {}),
        ("message.context", None, {}),
        ("message.later", 1, {}),
        ("message.body.later", 1, {}),
        ("message.context.later", 1, {}),
        ("later", 1, {}),
        ("metadata", {"a": 1}, {"metadata": {"a": 1}}),
        ("stream_merged", True, {"stream_merged": True}),
        ("stream_merged", 1, {}),
    ],
)
def test_a_usual_message_in_which_one_thing_differs(path: str, value: Json, change: Any) -> None:
    assert payload_of("message.send", USUAL) == PLAIN
    source = changed(USUAL, path, value)
    expected = MalformedPayload(change, source) if isinstance(change, str) else evolve(PLAIN, **change)
    assert payload_of("message.send", source) == expected


# --- fragments and mentions ----------------------------------------------------------------------------------------

MEDIA: Object = {"url": "u", "name": "n", "mime": "m", "size": 1}
PIXELS: Object = {"width": 2, "height": 3}
FRAGMENTS: list[tuple[str, Object, Fragment]] = [
    ("text", {"text": "x", "delta": "d"}, TextFragment("x", "d")),
    ("mention", {"user_id": "u", "display": "U"}, MentionFragment("u", "U")),
    ("image", {**MEDIA, **PIXELS}, MediaFragment("image", "u", "n", "m", 1, 2, 3)),
    ("video", {**MEDIA, **PIXELS, "duration": 4}, MediaFragment("video", "u", "n", "m", 1, 2, 3, 4)),
    ("audio", {**MEDIA, "duration": 4}, MediaFragment("audio", "u", "n", "m", 1, duration=4)),
    ("file", MEDIA, MediaFragment("file", "u", "n", "m", 1)),
]
every_fragment = pytest.mark.parametrize(("kind", "whole", "expected"), FRAGMENTS, ids=[row[0] for row in FRAGMENTS])


def fragments_of(*fragments: Json) -> tuple[tuple[Fragment, ...], int]:
    payload = payload_of("message.send", changed(USUAL, "message.body.fragments", list(fragments)))
    assert isinstance(payload, MessagePayload)
    return payload.fragments, payload.skipped_fragments


@pytest.mark.rule("FRAG-1", "FRAG-6", "ENV-14")
@every_fragment
def test_every_field_of_a_fragment(kind: str, whole: Object, expected: Fragment) -> None:
    source = {"kind": kind, **whole}
    last = TextFragment("x")
    assert fragments_of(source, TEXT) == ((expected, last), 0)
    for field, good in whole.items():
        required = field in ("text", "url")
        missing = {name: value for name, value in source.items() if name != field}
        for without in (missing, {**source, field: None}):
            left = () if required else (evolve(expected, **{field: None}),)
            assert fragments_of(without, TEXT) == ((*left, last), int(required))
        for wrong in WRONG[type(good)][1:]:
            assert fragments_of({**source, field: wrong}, TEXT) == ((last,), 1)
        for value in (LEAST, 0, MOST) if type(good) is int else ():
            same = evolve(expected, **{field: value})
            assert fragments_of({**source, field: value}, TEXT) == ((same, last), 0)


@pytest.mark.rule("FRAG-6")
@pytest.mark.parametrize("spoiled", [None, 5, "x", [], {}, {"kind": None}, {"kind": 5, "text": "x"}, {"kind": "text"}])
def test_what_is_no_fragment_hides_none_of_the_others(spoiled: Json) -> None:
    assert fragments_of(TEXT, spoiled, TEXT, spoiled) == ((TextFragment("x"),) * 2, 2)


@pytest.mark.rule("MENT-2", "MENT-5")
@pytest.mark.parametrize(
    "nobody", [None, 5, True, "", [], ["u"], {}, {"user_id": ""}, {"user_id": 5}, {"kind": "role", "user_id": "x"}]
)
def test_what_mentions_nobody_hides_none_of_the_others(nobody: Json) -> None:
    payload = payload_of(
        "message.send", changed(USUAL, "message.context.mentions", [nobody, "u", nobody, {"user_id": "v"}])
    )
    assert payload == evolve(PLAIN, mentions=(Mention("u"), Mention("v")))


# --- the envelope --------------------------------------------------------------------------------------------------

ENVELOPE: Object = {
    "trace_id": "t",
    "emitted_at": 1,
    "chat_id": "c",
    "chat_type": "group",
    "to": {"id": "b", "type": "direct", "nick_name": "B"},
    "sender": {"id": "a", "type": "agent", "nick_name": "A"},
    "origin_device_id": "d",
    "seq": 2,
    "dseq": 3,
}
WHOLE_FRAME = Frame("", Pong(), "t", 1, "c", "group", Peer("b", "direct", "B"), Peer("a", "agent", "A"), "d", 2, 3)
PAYLOADS: list[tuple[str, Json, Payload]] = [
    ("pong", {}, Pong()),
    ("message.send", USUAL, PLAIN),
    ("message.ack", {"message_id": "m"}, Ack("m")),
    ("typing.update", {"is_typing": True}, Typing(True)),
]
with_payload = pytest.mark.parametrize(("event", "payload", "read"), PAYLOADS, ids=[row[0] for row in PAYLOADS])


@pytest.mark.rule("ENV-13", "ENV-14", "R2-31")
@with_payload
def test_every_field_of_the_envelope(event: str, payload: Json, read: Payload) -> None:
    whole = evolve(WHOLE_FRAME, event=event, payload=read)
    assert frame_of(event, payload, **ENVELOPE) == whole
    for field, good in ENVELOPE.items():
        absent: Any = "" if field == "trace_id" else None
        without = evolve(whole, **{field: absent})
        assert frame_of(event, payload, **{name: value for name, value in ENVELOPE.items() if name != field}) == without
        for wrong in WRONG[type(good)]:
            malformed = field == "dseq"
            assert frame_of(event, payload, **{**ENVELOPE, field: wrong}) == evolve(without, dseq_malformed=malformed)
        for value in (LEAST, -1, 0, MOST) if type(good) is int else ():
            assert frame_of(event, payload, **{**ENVELOPE, field: value}) == evolve(whole, **{field: value})


@pytest.mark.rule("ENV-4", "ENV-5", "ENV-13")
@with_payload
@pytest.mark.parametrize("field", ["to", "sender"])
def test_every_field_of_a_peer(field: str, event: str, payload: Json, read: Payload) -> None:
    peer: Object = {"id": "a", "type": "direct", "nick_name": "A"}
    for name in peer:
        rest = {other: value for other, value in peer.items() if other != name}
        left = None if name == "id" else evolve(Peer("a", "direct", "A"), **{name: None})
        for source in [rest, *({**peer, name: wrong} for wrong in WRONG[str])]:
            assert frame_of(event, payload, **{field: source}) == evolve(Frame(event, read), **{field: left})


@pytest.mark.rule("CAP-6")
@with_payload
@pytest.mark.parametrize("hidden", [None, [], ["x", {"a": [1.5]}], {"a": 1}, "x", 5, True])
def test_ciphertext_is_carried_through(event: str, payload: Json, read: Payload, hidden: Json) -> None:
    assert frame_of(event, payload, ciphertext_fragments=hidden) == Frame(event, read, ciphertext_fragments=hidden)
