"""Downlinks that are not in order: nothing raises, and nothing is lost that can be kept."""

import json

import pytest

from clawproto.json_types import Json
from clawproto.wire.codec import decode
from clawproto.wire.values import (
    Ack,
    BadFrame,
    Frame,
    HelloFail,
    HelloOk,
    MalformedPayload,
    MediaFragment,
    MentionFragment,
    MessagePayload,
    NotifySignal,
    OpaquePayload,
    Payload,
    Peer,
    Pong,
    Refusal,
    ReplayDone,
    SyncMark,
    TextFragment,
)
from tests.decoded import backend as backend

LIMIT = 1_000_000
Object = dict[str, Json]


class Raw:
    """JSON text that json.dumps would not produce."""

    def __init__(self, text: str) -> None:
        self.text = text


def as_json(value: object) -> str:
    return value.text if isinstance(value, Raw) else json.dumps(value)


def frame_with(field: str, value: object, event: str = "pong") -> Frame:
    text = f'{{"version":"2","event":"{event}","payload":{{}},"{field}":{as_json(value)}}}'
    frame = decode(text, LIMIT)
    assert isinstance(frame, Frame)
    return frame


def payload_with(event: str, field: str, value: object, rest: Object | None = None) -> Payload:
    fields = [f'"{key}":{as_json(item)}' for key, item in (rest or {}).items() if key != field]
    return frame_with("payload", Raw("{" + ",".join([*fields, f'"{field}":{as_json(value)}']) + "}"), event).payload


NOT_A_STRING: list[object] = [None, 5, 0, -1.5, True, False, [], ["x"], {}, {"a": "b"}, Raw("1e400"), Raw("9" * 9000)]
NOT_AN_INTEGER: list[object] = [
    None,
    "",
    "5",
    1.0,
    1.5,
    True,
    False,
    [],
    [1],
    {},
    Raw("1e3"),
    Raw("1e400"),
    Raw("-1E400"),
]
NOT_AN_INT64: list[object] = [2**63, -(2**63) - 1, 10**100, Raw("9" * 4300), Raw("-" + "9" * 4300), Raw("9" * 9000)]
NOT_A_BOOLEAN: list[object] = [None, 0, 1, 1.0, "", "true", "false", [], [True], {}]
NOT_AN_OBJECT: list[Json] = [None, 5, 1.5, True, "", "{}", [], [{}]]
NOT_A_LIST: list[Json] = [None, 5, 1.5, True, "", "[]", {}, {"0": 1}]


# --- no frame at all -----------------------------------------------------------------------------------------------


@pytest.mark.rule("ENV-12", "ENV-1")
@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("", "not-json"),
        (b"", "not-json"),
        ("\0", "not-json"),
        ("ping", "not-json"),
        ('{"version":"2","event":"pong"', "not-json"),
        ('{"version":"2","event":"pong"}{}', "not-json"),
        ('{"version":"2","event":"pong","x":NaN}', "not-json"),
        ("\ufeff" + '{"version":"2","event":"pong"}', "not-json"),
        (b'\xef\xbb\xbf{"version":"2","event":"pong"}', "not-json"),
        (b'{"version":"2","event":"pong\xff"}', "not-utf8"),
        ('{"version":"2","event":"pong"}'.encode("utf-16"), "not-utf8"),
        ("[" * 100_000, "too-deep"),
        ('{"version":"2","event":"pong","x":' + "[" * 100 + "]" * 100 + "}", "too-deep"),
        ("null", "not-an-object"),
        ("5", "not-an-object"),
        ('"pong"', "not-an-object"),
        ("[]", "not-an-object"),
        ('[{"version":"2","event":"pong"}]', "not-an-object"),
        ("{}", "version"),
        ('{"event":"pong"}', "version"),
        ('{"version":2,"event":"pong"}', "version"),
        ('{"version":2.0,"event":"pong"}', "version"),
        ('{"version":"2.0","event":"pong"}', "version"),
        ('{"version":"3","event":"pong"}', "version"),
        ('{"version":["2"],"event":"pong"}', "version"),
        ('{"version":null,"event":"pong"}', "version"),
        ('{"version":"2"}', "no-event"),
        ('{"version":"2","event":null}', "no-event"),
        ('{"version":"2","event":5}', "no-event"),
        ('{"version":"2","event":true}', "no-event"),
        ('{"version":"2","event":["pong"]}', "no-event"),
        ('{"version":"2","event":{"pong":1}}', "no-event"),
        ('{"version":"2","event":"pong","event":null}', "no-event"),
    ],
)
def test_bad_frames(data: str | bytes, problem: str) -> None:
    frame = decode(data, LIMIT)
    assert isinstance(frame, BadFrame)
    assert frame.problem == problem
    assert len(frame.excerpt) <= 200
    assert not frame.excerpt or frame.excerpt not in repr(frame)


@pytest.mark.rule("ENV-12")
@pytest.mark.parametrize("text", ['{"version":"2","event":"pong","x":""}', '{"version":"2","event":"pong","x":"é€😀"}'])
def test_the_limit_counts_bytes(text: str) -> None:
    size = len(text.encode())
    for data in (text, text.encode()):
        assert isinstance(decode(data, size), Frame)
        frame = decode(data, size - 1)
        assert frame == BadFrame("too-long", text)


@pytest.mark.rule("ENV-12")
def test_the_excerpt_is_short_and_printable_anywhere() -> None:
    for data in ("\ud800" * 1_000, "é" * 1_000, b"\xc3\xa9" * 1_000, b"\xff" * 1_000):
        frame = decode(data, 10_000)
        assert isinstance(frame, BadFrame)
        assert 0 < len(frame.excerpt) <= 200
        frame.excerpt.encode("utf-8")


@pytest.mark.rule("R2-32")
@pytest.mark.parametrize("text", ['{"version":"3","event":"x","dseq":%s}', '{"version":"2","event":5,"dseq":%s}'])
def test_an_object_that_is_no_frame_still_tells_its_dseq(text: str) -> None:
    for value, expected in (("7", 7), ("true", None), ("7.0", None), ('"7"', None)):
        frame = decode(text % value, LIMIT)
        assert isinstance(frame, BadFrame)
        assert frame.dseq == expected


# --- envelope fields -----------------------------------------------------------------------------------------------


@pytest.mark.rule("ENV-13", "ENV-6")
@pytest.mark.parametrize("value", NOT_A_STRING)
def test_strings_of_the_envelope_count_as_absent(value: object) -> None:
    assert frame_with("trace_id", value) == Frame("pong", Pong())
    assert frame_with("chat_id", value) == Frame("pong", Pong())
    assert frame_with("chat_type", value) == Frame("pong", Pong())
    assert frame_with("origin_device_id", value) == Frame("pong", Pong())


@pytest.mark.rule("ENV-13", "ENV-14")
@pytest.mark.parametrize("value", NOT_AN_INTEGER + NOT_AN_INT64)
def test_integers_of_the_envelope_count_as_absent(value: object) -> None:
    assert frame_with("emitted_at", value) == Frame("pong", Pong())
    assert frame_with("seq", value) == Frame("pong", Pong())


@pytest.mark.rule("R2-31", "ENV-14")
@pytest.mark.parametrize("value", NOT_AN_INTEGER + NOT_AN_INT64)
def test_a_dseq_that_is_no_integer_is_told(value: object) -> None:
    assert frame_with("dseq", value) == Frame("pong", Pong(), dseq_malformed=True)


@pytest.mark.rule("R2-31")
@pytest.mark.parametrize("value", [0, -1, 1, 2**63 - 1])
def test_any_integer_is_a_dseq(value: int) -> None:
    assert frame_with("dseq", value) == Frame("pong", Pong(), dseq=value)
    assert not frame_with("other", 1).dseq_malformed


@pytest.mark.rule("ENV-13")
@pytest.mark.parametrize("field", ["to", "sender"])
def test_peers(field: str) -> None:
    for no_peer in NOT_AN_OBJECT:
        assert frame_with(field, no_peer) == Frame("pong", Pong())
    for value in NOT_A_STRING:
        peer = Raw(f'{{"id":{as_json(value)},"type":"direct"}}')
        assert frame_with(field, peer) == Frame("pong", Pong())
        for optional in ("type", "nick_name"):
            peer = Raw(f'{{"id":"u","{optional}":{as_json(value)}}}')
            assert getattr(frame_with(field, peer), field) == Peer("u")
    assert frame_with(field, {"type": "direct"}) == Frame("pong", Pong())


# --- payload as a whole --------------------------------------------------------------------------------------------


@pytest.mark.rule("ENV-13", "EVT-2")
@pytest.mark.parametrize("value", NOT_AN_OBJECT)
@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ("hello-ok", HelloOk()),
        ("hello-fail", HelloFail()),
        ("message.ack", Ack()),
        ("pong", Pong()),
        ("replay.done", ReplayDone()),
        ("sync.mark", SyncMark()),
        ("notify.signal", NotifySignal()),
        ("later.event", OpaquePayload({})),
    ],
)
def test_a_payload_that_is_no_object_counts_as_empty(event: str, expected: Payload, value: Json) -> None:
    assert frame_with("payload", value, event).payload == expected


@pytest.mark.parametrize("value", NOT_AN_OBJECT)
@pytest.mark.parametrize(
    ("event", "problem"),
    [
        ("connect.challenge", "payload.nonce is missing"),
        ("message.error", "payload.code is missing"),
        ("typing.update", "payload.is_typing is missing"),
        ("message.send", "payload.message_id is not a string"),
        ("message.reply", "payload.message_id is not a string"),
    ],
)
def test_a_payload_without_what_it_needs_is_malformed(event: str, problem: str, value: Json) -> None:
    assert frame_with("payload", value, event).payload == MalformedPayload(problem, value)
    assert decode(f'{{"version":"2","event":"{event}"}}', LIMIT) == Frame(event, MalformedPayload(problem, None))


# --- payload fields ------------------------------------------------------------------------------------------------


@pytest.mark.rule("EVT-5", "ENV-12")
@pytest.mark.parametrize(
    ("event", "field", "wrong", "problem"),
    [
        ("connect.challenge", "nonce", NOT_A_STRING, "payload.nonce is not a string"),
        ("message.error", "code", NOT_A_STRING, "payload.code is not a string"),
        ("typing.update", "is_typing", NOT_A_BOOLEAN, "payload.is_typing is not a boolean"),
        ("message.send", "message_id", NOT_A_STRING, "payload.message_id is not a string"),
        ("message.reply", "message_id", NOT_A_STRING, "payload.message_id is not a string"),
    ],
)
def test_a_required_field_of_a_wrong_type(event: str, field: str, wrong: list[object], problem: str) -> None:
    for value in wrong:
        payload = payload_with(event, field, value)
        assert isinstance(payload, MalformedPayload)
        assert payload.problem == problem
        assert isinstance(payload.data, dict)
        assert field in payload.data


@pytest.mark.rule("HS-17", "D-3")
@pytest.mark.parametrize("value", NOT_A_STRING)
def test_a_hello_fail_without_a_usable_reason_is_still_one(value: object) -> None:
    assert payload_with("hello-fail", "reason", value) == HelloFail(None)


OPTIONAL_STRINGS: list[tuple[str, str, Object, Payload]] = [
    ("hello-ok", "device_id", {}, HelloOk()),
    ("hello-ok", "delivery_mode", {}, HelloOk()),
    ("hello-ok", "ack_mode", {}, HelloOk()),
    ("hello-ok", "ack_epoch", {"ack_mode": "dseq"}, HelloOk(ack_mode="dseq")),
    ("message.ack", "message_id", {"accepted_at": 5}, Ack(None, 5)),
    ("message.error", "message_id", {"code": "c"}, Refusal("c")),
    ("message.error", "reason", {"code": "c"}, Refusal("c")),
    ("notify.signal", "type", {"version": 3}, NotifySignal(version=3)),
    ("notify.signal", "entity_id", {"type": "t"}, NotifySignal("t")),
    ("notify.signal", "event_id", {"type": "t"}, NotifySignal("t")),
    ("notify.signal", "message_id", {"type": "t"}, NotifySignal("t")),
]


@pytest.mark.rule("ENV-13")
@pytest.mark.parametrize(("event", "field", "rest", "expected"), OPTIONAL_STRINGS)
def test_an_optional_string_of_a_wrong_type(event: str, field: str, rest: Object, expected: Payload) -> None:
    for value in NOT_A_STRING:
        assert payload_with(event, field, value, rest) == expected


@pytest.mark.rule("ENV-13", "ENV-14")
@pytest.mark.parametrize(
    ("event", "field", "rest", "expected"),
    [
        ("message.ack", "accepted_at", {"message_id": "m"}, Ack("m")),
        ("message.error", "rejected_at", {"code": "c"}, Refusal("c")),
        ("sync.mark", "covers_seq", {}, SyncMark()),
        ("notify.signal", "version", {"type": "t"}, NotifySignal("t")),
    ],
)
def test_an_optional_integer_of_a_wrong_type(event: str, field: str, rest: Object, expected: Payload) -> None:
    for value in NOT_AN_INTEGER + NOT_AN_INT64:
        assert payload_with(event, field, value, rest) == expected


# --- messages ------------------------------------------------------------------------------------------------------

TEXT: Object = {"kind": "text", "text": "x"}
CONTENT: Object = {"body": {"fragments": [TEXT]}, "context": {"mentions": ["u"], "reply": None}}
MESSAGE: Object = {"message_id": "m", "message_mode": "normal", "message": CONTENT}


@pytest.mark.parametrize("event", ["message.send", "message.reply"])
def test_a_message_without_a_list_of_fragments_is_malformed(event: str) -> None:
    problem = "payload.message.body.fragments is not a list"
    payloads: list[Object] = [{"message_id": "m"}, {"message_id": "m", "message": {"body": {}}}]
    payloads.extend({"message_id": "m", "message": value} for value in NOT_AN_OBJECT)
    payloads.extend({"message_id": "m", "message": {"body": value}} for value in NOT_AN_OBJECT)
    payloads.extend({"message_id": "m", "message": {"body": {"fragments": value}}} for value in NOT_A_LIST)
    for payload in payloads:
        assert frame_with("payload", payload, event).payload == MalformedPayload(problem, payload)


@pytest.mark.rule("R2-11", "ENV-13")
def test_a_malformed_message_keeps_its_envelope() -> None:
    frame = decode('{"version":"2","event":"message.send","chat_id":"c","seq":8,"dseq":9,"payload":[]}', LIMIT)
    assert isinstance(frame, Frame)
    assert isinstance(frame.payload, MalformedPayload)
    assert (frame.chat_id, frame.seq, frame.dseq) == ("c", 8, 9)


def message_with(field: str, value: object) -> MessagePayload:
    payload = payload_with("message.send", field, value, MESSAGE)
    assert isinstance(payload, MessagePayload)
    assert payload.fragments == (TextFragment("x"),)
    return payload


@pytest.mark.rule("SEND-21", "ENV-13", "ENV-14")
def test_optional_fields_of_a_message() -> None:
    for value in NOT_A_STRING:
        assert message_with("message_mode", value).message_mode == ""
    for value in NOT_A_BOOLEAN:
        assert message_with("stream_merged", value).stream_merged is False
    for no_object in NOT_AN_OBJECT:
        assert message_with("metadata", no_object).metadata is None
        content = message_with("message", {**CONTENT, "context": no_object})
        assert (content.mentions, content.reply) == ((), None)


def test_a_reply_that_does_not_say_what_it_answers_is_none() -> None:
    for no_reply in NOT_AN_OBJECT:
        assert message_with("message", {**CONTENT, "context": {"reply": no_reply}}).reply is None
    for value in NOT_A_STRING:
        context = Raw(f'{{"reply":{{"reply_to_msg_id":{as_json(value)}}}}}')
        content = Raw(f'{{"body":{{"fragments":[{json.dumps(TEXT)}]}},"context":{context.text}}}')
        assert message_with("message", content).reply is None


def test_a_reply_survives_any_preview() -> None:
    previews: list[Json] = [*NOT_AN_OBJECT, {"id": 5, "nick_name": [], "fragments": {}}]
    for preview in previews:
        context: Json = {"reply": {"reply_to_msg_id": "q", "reply_preview": preview}}
        reply = message_with("message", {**CONTENT, "context": context}).reply
        assert reply is not None
        assert (reply.message_id, reply.author_id, reply.author_name, reply.fragments) == ("q", None, None, ())


# --- fragments -----------------------------------------------------------------------------------------------------

FRAGMENT_FIELDS: list[tuple[str, str, list[object]]] = [
    ("text", "text", NOT_A_STRING),
    ("text", "delta", NOT_A_STRING[1:]),
    ("mention", "user_id", NOT_A_STRING[1:]),
    ("mention", "display", NOT_A_STRING[1:]),
    *[(kind, "url", NOT_A_STRING) for kind in ("image", "video", "audio", "file")],
    *[(kind, "name", NOT_A_STRING[1:]) for kind in ("image", "video", "audio", "file")],
    *[(kind, "mime", NOT_A_STRING[1:]) for kind in ("image", "video", "audio", "file")],
    *[(kind, "size", [*NOT_AN_INTEGER[1:], *NOT_AN_INT64]) for kind in ("image", "video", "audio", "file")],
    *[(kind, "width", [*NOT_AN_INTEGER[1:], *NOT_AN_INT64]) for kind in ("image", "video")],
    *[(kind, "height", [*NOT_AN_INTEGER[1:], *NOT_AN_INT64]) for kind in ("image", "video")],
    *[(kind, "duration", [*NOT_AN_INTEGER[1:], *NOT_AN_INT64]) for kind in ("video", "audio")],
]


def fragments_of(*items: object) -> MessagePayload:
    texts = ",".join(as_json(item) for item in items)
    payload = frame_with(
        "payload", Raw(f'{{"message_id":"m","message":{{"body":{{"fragments":[{texts}]}}}}}}'), "message.send"
    )
    assert isinstance(payload.payload, MessagePayload)
    return payload.payload


@pytest.mark.rule("FRAG-6", "ENV-14")
@pytest.mark.parametrize(("kind", "field", "wrong"), FRAGMENT_FIELDS)
def test_a_fragment_with_a_wrong_type_is_skipped(kind: str, field: str, wrong: list[object]) -> None:
    required = {"text": {"text": "y"}, "mention": {}}.get(kind, {"url": "u"})
    for value in wrong:
        rest = {key: item for key, item in {"kind": kind, **required}.items() if key != field}
        bad = Raw(json.dumps(rest)[:-1] + f',"{field}":{as_json(value)}}}')
        result = fragments_of(TEXT, bad, TEXT)
        assert result.fragments == (TextFragment("x"), TextFragment("x"))
        assert result.skipped_fragments == 1


@pytest.mark.rule("FRAG-6")
def test_a_fragment_without_a_required_field_is_skipped() -> None:
    result = fragments_of(*({"kind": kind} for kind in ("text", "image", "video", "audio", "file")), TEXT)
    assert result.fragments == (TextFragment("x"),)
    assert result.skipped_fragments == 5


@pytest.mark.rule("FRAG-6")
def test_what_is_no_fragment_is_skipped() -> None:
    kinds = [Raw(f'{{"kind":{as_json(value)},"text":"y"}}') for value in NOT_A_STRING]
    result = fragments_of(*NOT_AN_OBJECT, {}, {"text": "y"}, *kinds, TEXT)
    assert result.fragments == (TextFragment("x"),)
    assert result.skipped_fragments == len(NOT_AN_OBJECT) + 2 + len(kinds)


@pytest.mark.rule("FRAG-6", "MENT-7")
def test_null_is_absent_in_a_fragment() -> None:
    media = {"kind": "video", "url": "u", "name": None, "mime": None, "size": None, "width": None, "height": None}
    result = fragments_of(media | {"duration": None}, {"kind": "mention", "user_id": None}, TEXT | {"delta": None})
    assert result.fragments == (MediaFragment("video", "u"), MentionFragment(), TextFragment("x"))
