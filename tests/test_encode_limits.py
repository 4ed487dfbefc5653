"""Uplinks at their limits: depth, ids, oversized and unusual values; and the short way of what is usual."""

import enum
import json
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, cast

import pytest

from clawproto.json_types import Json
from clawproto.wire import json_text
from clawproto.wire.codec import (
    EXCERPT_LIMIT,
    UNROUTED_EVENTS,
    decode,
    encode_content,
    encode_cursor_ack,
    encode_envelope,
    encode_message_payload,
    encode_minted,
    encode_sync_ack,
    encode_transit,
    encode_typing,
    exceeds,
    excerpt,
)
from clawproto.wire.json_text import write, write_flat, write_text
from clawproto.wire.values import BadFrame, Frame
from tests.decoded import Object, cost_of

TEXT: Object = {"kind": "text", "text": "x"}
REPLY: Object = {"reply_to_msg_id": "msg-0", "reply_preview": {"id": "u"}}
MENTION: Object = {"kind": "mention", "user_id": "u"}


@pytest.fixture(params=["stdlib", "msgspec"])
def writer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flat objects are written with this."""
    monkeypatch.setattr(json_text, "_write_all", getattr(json_text, "_stdlib_write_all"))  # noqa: B009 (private)
    if request.param == "msgspec":
        json_text.load()


# --- size, and what is shown of what was not read ------------------------------------------------------------------


@pytest.mark.rule("ENV-12")
@pytest.mark.parametrize("character", ["a", "é", "€", "😀", "\ud800"])
def test_the_limit_counts_bytes_of_any_character(character: str) -> None:
    text = f'{{"version":"2","event":"pong","x":"{character * 1_000}"}}'
    size = len(text.encode("utf-8", "surrogatepass"))
    for limit in (0, len(text) - 1, len(text), size - 1, size, size + 1, 4 * len(text)):
        assert exceeds(text, limit) is (size > limit)
        frame = decode(text, limit)
        assert isinstance(frame, BadFrame if size > limit else Frame)
        if isinstance(frame, BadFrame):
            assert frame.problem == "too-long"
    data = text.encode("utf-8", "replace")
    for limit in (len(data) - 1, len(data), len(data) + 1):
        assert exceeds(data, limit) is (len(data) > limit)
        assert isinstance(decode(data, limit), BadFrame if len(data) > limit else Frame)


@pytest.mark.rule("ENV-12")
@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ("", ""),
        ("[]", "[]"),
        ("x" * 199, "x" * 199),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 200),
        ("é" * 201, "é" * 200),
        ("a\ud800b", "a?b"),
        (b"x" * 201, "x" * 200),
        (b"a\xffb", "a\ufffdb"),
        ("é".encode() * 150, "é" * 100),
        (b"x" + "é".encode() * 150, "x" + "é" * 99 + "\ufffd"),
    ],
)
def test_the_excerpt(data: str | bytes, shown: str) -> None:
    assert EXCERPT_LIMIT == 200
    assert excerpt(data) == shown
    frame = decode(data, 10_000)
    assert isinstance(frame, BadFrame) and frame.excerpt == shown


@pytest.mark.rule("ENV-12", "R2-32")
def test_each_problem_shows_the_beginning() -> None:
    texts = {
        "too-long": "x" * 300,
        "not-json": "x" * 90,
        "not-an-object": f'["{"x" * 80}"]',
        "version": '{"version":"3","event":"x","dseq":5}',
        "no-event": '{"version":"2","event":5,"dseq":5}',
        "too-deep": "[" * 70 + "]" * 70,
    }
    for problem, text in texts.items():
        dseq = 5 if "dseq" in text else None
        assert decode(text, 200) == BadFrame(problem, text[:200], dseq)


# --- envelopes -----------------------------------------------------------------------------------------------------


@pytest.mark.rule("ENV-10")
def test_what_has_no_routing_refuses_either_part() -> None:
    for event in UNROUTED_EVENTS:
        parts: list[dict[str, str]] = [{"chat_id": "c"}, {"to_text": "{}"}, {"chat_id": "c", "to_text": "{}"}]
        for routing in parts:
            with pytest.raises(ValueError, match="ENV-10"):
                encode_envelope(event, trace_id="t", emitted_at=1, payload_text="{}", **cast(Any, routing))
        plain = encode_envelope(event, trace_id="t", emitted_at=1, payload_text="{}")
        assert plain == f'{{"version":"2","event":"{event}","trace_id":"t","emitted_at":1,"payload":{{}}}}'


@pytest.mark.rule("ENV-1", "ENV-5", "ENV-9")
@pytest.mark.parametrize("chat_id", ["cnv_1", 'a"b', "é", "a\0b", "\ud800"])
@pytest.mark.parametrize("to_text", [None, '{"id":"u","type":"direct"}'])
def test_a_message_is_enveloped_in_one_form(chat_id: str, to_text: str | None) -> None:
    minted = encode_minted("message.send", "s-1", 5, '{"a":1}', chat_id, to_text)
    whole = encode_envelope(
        "message.send", trace_id="s-1", emitted_at=5, payload_text='{"a":1}', chat_id=chat_id, to_text=to_text
    )
    assert minted == whole
    to: Object = {} if to_text is None else {"to": {"id": "u", "type": "direct"}}
    expected: Object = {"version": "2", "event": "message.send", "trace_id": "s-1", "emitted_at": 5}
    assert json.loads(whole) == {**expected, "chat_id": chat_id.replace("\0", ""), **to, "payload": {"a": 1}}


@pytest.mark.rule("R2-34", "SILENT-7")
def test_the_least_marks() -> None:
    ack = json.loads(encode_sync_ack(trace_id="t", emitted_at=5, dseq=1, epoch='e"'))
    assert (ack["trace_id"], ack["emitted_at"], ack["payload"]) == ("t", 5, {"dseq": 1, "epoch": 'e"'})
    cursor = json.loads(encode_cursor_ack(trace_id="t", emitted_at=5, seq=1))
    assert (cursor["trace_id"], cursor["emitted_at"], cursor["payload"]) == ("t", 5, {"seq": 1})


@pytest.mark.rule("TYPE-1", "ENV-1")
@pytest.mark.parametrize("is_typing", [True, False])
def test_typing_as_a_whole(is_typing: bool) -> None:
    assert json.loads(encode_typing(trace_id="t", emitted_at=5, chat_id="c", is_typing=is_typing)) == {
        "version": "2",
        "event": "typing.update",
        "trace_id": "t",
        "emitted_at": 5,
        "chat_id": "c",
        "payload": {"is_typing": is_typing},
    }


@pytest.mark.rule("HIST-3", "ENV-2", "SILENT-9")
@pytest.mark.parametrize("hidden", [None, [], ["x", {"a": "b\0"}]])
def test_transit_as_a_whole(hidden: list[Json] | None) -> None:
    def encode(**changes: Any) -> Any:
        usual: dict[str, Any] = {"trace_id": "t", "emitted_at": 5, "target_device_id": "d2", "user_id": "u"}
        rest: dict[str, Any] = {"device_id": "d1", "kind": "k", "data": {"rows": []}, "ciphertext_fragments": hidden}
        return json.loads(encode_transit(**{**usual, **rest, **changes}))

    expected = {
        "version": "2",
        "event": "history.transit",
        "trace_id": "t",
        "emitted_at": 5,
        "target_device_id": "d2",
        "origin_device_id": "d1",
        "sender": {"id": "u", "type": "direct"},
        "payload": {"rows": [], "kind": "k"},
    }
    if hidden is not None:
        expected["ciphertext_fragments"] = json.loads(json.dumps(hidden).replace("\\u0000", ""))
    assert encode() == expected
    assert encode(data={"kind": "k"})["payload"] == {"kind": "k"}
    for refused in ({"target_device_id": ""}, {"data": {"kind": "other"}}, {"data": {"kind": None}}):
        with pytest.raises(ValueError, match=r"SILENT-9|another kind"):
            encode(**refused)


# --- messages ------------------------------------------------------------------------------------------------------


class Mode(enum.StrEnum):
    NORMAL = "normal"


@pytest.mark.rule("SEND-1", "SEND-3", "SEND-4", "LIM-4")
@pytest.mark.parametrize("message_id", ["m", "é", "x" * 512, "é" * 256])
@pytest.mark.parametrize("mode", ["normal", "thinking", ""])
@pytest.mark.parametrize(("mentions", "reply"), [([], None), ([MENTION], None), ([], REPLY), ([MENTION], REPLY)])
def test_a_payload_as_a_whole(message_id: str, mode: str, mentions: list[Json], reply: Object | None) -> None:
    context: Object = {"mentions": mentions, "reply": reply}
    message: Object = {"body": {"fragments": [TEXT]}, "context": context}
    expected = json.dumps(
        {"message_id": message_id, "message_mode": mode, "message": message}, ensure_ascii=False, separators=(",", ":")
    )
    for sequence in (list, tuple):
        fragments, mentioned = sequence([TEXT]), sequence(mentions)
        assert encode_message_payload(message_id, mode, fragments, mentioned, reply) == expected
        content = encode_content(mode, fragments, mentioned, reply)
        assert f'{{"message_id":"{message_id}",{content}' == expected


@pytest.mark.rule("SEND-1", "FRAG-1", "FRAG-4", "STREAM-6", "MENT-1", "SEND-4")
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"fragments": ({**TEXT, "delta": "x"},)}, "STREAM-6"),
        ({"fragments": (TEXT, {**TEXT, "delta": None})}, "STREAM-6"),
        ({"fragments": ({"kind": "poll"},)}, "FRAG-4"),
        ({"fragments": ({"kind": "image", "url": "u"}, {"kind": "poll"})}, "FRAG-4"),
        ({"fragments": ({"text": "x"},)}, "FRAG-1"),
        ({"fragments": (TEXT, {"kind": 5})}, "FRAG-1"),
        ({"fragments": (TEXT, "text")}, "FRAG-1"),
        ({"fragments": "text"}, "FRAG-1"),
        ({"fragments": TEXT}, "FRAG-1"),
        ({"fragments": None}, "FRAG-1"),
        ({"fragments": 5}, "FRAG-1"),
        ({"mentions": "u"}, "MENT-1"),
        ({"mentions": None}, "MENT-1"),
        ({"mentions": MENTION}, "MENT-1"),
        ({"mentions": ("u",)}, "MENT-1"),
        ({"mentions": (MENTION, {**MENTION, "kind": "role"})}, "MENT-1"),
        ({"mentions": ({**MENTION, "user_id": 5},)}, "MENT-1"),
        ({"mentions": ({"user_id": "u"},)}, "MENT-1"),
        ({"reply": {}}, "SEND-4"),
        ({"reply": {**REPLY, "reply_to_msg_id": None}}, "SEND-4"),
        ({"reply": {**REPLY, "reply_preview": "x"}}, "SEND-4"),
        ({"reply": "msg-0"}, "SEND-4"),
        ({"mode": Mode.NORMAL}, "Mode is not a JSON value"),
        ({"mode": 5, "fragments": ({"kind": Mode.NORMAL},)}, "Mode is not a JSON value"),
    ],
)
def test_what_is_no_message_is_refused(change: dict[str, Any], problem: str) -> None:
    whole: dict[str, Any] = {"mode": "normal", "fragments": (TEXT,), "mentions": (), "reply": None, **change}
    with pytest.raises(ValueError, match=problem):
        encode_message_payload("msg-1", **whole)
    with pytest.raises(ValueError, match=problem):
        encode_message_payload("é", **whole)


@pytest.mark.rule("LIM-4", "LIM-6")
@pytest.mark.parametrize("fragments", [(TEXT,), [TEXT]])
@pytest.mark.parametrize("message_id", ["", "\0", "a\0", "x" * 513, "é" * 257, "\0é"])
def test_an_id_that_cannot_be_one_is_refused(message_id: str, fragments: Any) -> None:
    with pytest.raises(ValueError, match="LIM-4"):
        encode_message_payload(message_id, "normal", fragments, (), None)


KINDS: list[Object] = [{"kind": kind, "url": "u"} for kind in ("image", "video", "audio", "file")]


@pytest.mark.rule("FRAG-1", "FRAG-4")
@pytest.mark.parametrize("fragments", [(), (TEXT,), (MENTION,), (*KINDS, MENTION), (*KINDS, MENTION, TEXT)])
def test_the_usual_message_is_written_the_short_way(fragments: tuple[Object, ...]) -> None:
    """Of a list, which is not looked at for that, the same is written with many more instructions."""
    short = cost_of(lambda: encode_content("normal", fragments, (), None))
    long = cost_of(lambda: encode_content("normal", list(fragments), (), None))
    assert encode_content("normal", fragments, (), None) == encode_content("normal", list(fragments), (), None)
    assert short < long * 0.8


# --- values --------------------------------------------------------------------------------------------------------

DEEPEST = 60


def wrapped(wrap: Callable[[Any], Any], times: int) -> Any:
    value: Any = "x"
    for _ in range(times):
        value = wrap(value)
    return value


WRAPPERS: list[Callable[[Any], Any]] = [
    lambda inner: [inner],
    lambda inner: (inner,),
    lambda inner: {"a": inner},
    lambda inner: MappingProxyType({"a": inner}),
    lambda inner: {"a": inner} if isinstance(inner, list) else [inner],
]


@pytest.mark.parametrize("wrap", WRAPPERS, ids=["list", "tuple", "dict", "mapping", "both"])
def test_the_deepest_value_that_is_written(wrap: Callable[[Any], Any]) -> None:
    for times in (0, 1, DEEPEST - 1, DEEPEST):
        value = wrapped(wrap, times)
        assert json.loads(write(value)) == json.loads(json.dumps(value, default=dict))
    for times in (DEEPEST + 1, DEEPEST + 2, 200, 5_000):
        with pytest.raises(ValueError, match="nested too deeply"):
            write(wrapped(wrap, times))


@pytest.mark.parametrize("kind", [list, dict])
def test_what_holds_itself_is_refused(kind: type) -> None:
    value: Any = kind()
    if kind is list:
        value.append(value)
    else:
        value["a"] = value
    with pytest.raises(ValueError, match="circular"):
        write(value)


@pytest.mark.rule("ENV-9")
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "null"),
        (True, "true"),
        (0, "0"),
        (2**64, "18446744073709551616"),
        (0.5, "0.5"),
        ("", '""'),
        ("a\0b\0", '"ab"'),
        ("\\u0000", '"\\\\u0000"'),
        ("é😀\x7f\u2028", '"é😀\x7f\u2028"'),
        ('"\\\n\x1f', '"\\"\\\\\\n\\u001f"'),
        ("é\ud800", '"\\u00e9\\ud800"'),
        ({"a\0": ["\0", {"\0": 0.5}]}, '{"a":["",{"":0.5}]}'),
    ],
)
def test_values_as_they_are_written(value: Any, expected: str) -> None:
    assert write(value) == expected
    if type(value) is str:
        assert write_text(value) == expected


@pytest.mark.parametrize("value", [b"x", {1}, object(), Mode.NORMAL, 1j, range(2), {5: 1}, {None: 1}, {Mode.NORMAL: 1}])
def test_what_is_no_json_is_refused(value: Any) -> None:
    for item in (value, [value], {"a": value}, {"a": [None, value]}):
        with pytest.raises(ValueError, match=r"is not a JSON value|not a string"):
            write(item)


@pytest.mark.usefixtures("writer")
@pytest.mark.rule("ENV-9")
@pytest.mark.parametrize(
    ("items", "written"),
    [
        ((), "[]"),
        (({},), "[{}]"),
        ((TEXT,), '[{"kind":"text","text":"x"}]'),
        ((TEXT, TEXT), '[{"kind":"text","text":"x"},{"kind":"text","text":"x"}]'),
        (({"a": 1, "b": None, "c": True, "d": "é😀"},), '[{"a":1,"b":null,"c":true,"d":"é😀"}]'),
        (({"a": 'x"\\\n'},), '[{"a":"x\\"\\\\\\n"}]'),
        (({"a": "\x1f\x7f"},), '[{"a":"\\u001f\x7f"}]'),
        (({"a": 2**63 - 1, "b": -(2**63)},), f'[{{"a":{2**63 - 1},"b":{-(2**63)}}}]'),
        ([TEXT], None),  # only what a command holds, which is a tuple
        (TEXT, None),
        (None, None),
        (5, None),
        ("x", None),
        (("x",), None),
        ((TEXT, None), None),
        ((TEXT, [TEXT]), None),
        ((MappingProxyType(TEXT),), None),
        (({5: "x"},), None),
        ((TEXT, {None: "x"}), None),
        (({Mode.NORMAL: "x"},), None),
        (({"a": 0.5},), None),
        (({"a": ["x"]},), None),
        (({"a": {}},), None),
        (({"a": b"x"},), None),
        (({"a": Mode.NORMAL},), None),
        ((TEXT, {"a": ()}), None),
        (({"a": "\0"},), None),
        (({"\0": "a"},), None),
        (({"a": "é\0"},), None),
        (({"a": "\ud800"},), None),
        (({"\ud800": "a"},), None),
        (({"a": 10**5_000},), None),
    ],
)
def test_flat_objects(items: object, written: str | None) -> None:
    assert write_flat(items) == written
