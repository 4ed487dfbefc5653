"""Reading JSON at its limits: depth, digits, halves of characters; and which reader is found."""

import json
import math
import sys
from functools import partial
from typing import Any

import pytest

from clawproto.json_types import Json
from clawproto.wire import codec, json_backend, quick
from clawproto.wire.json_backend import MAX_DEPTH, NotJson, is_shallow, msgspec_loads, stdlib_loads
from clawproto.wire.values import Frame, MessagePayload
from tests.decoded import cost_of

both_readers = pytest.mark.parametrize(
    "loads", [pytest.param(stdlib_loads, id="stdlib"), pytest.param(msgspec_loads, id="msgspec")]
)
LENGTHS = [0, 1_999, 2_000, 2_001, 5_000]  # long texts are looked at in another way than short ones
BRACKETS = {"lists": "[" * 200, "objects": "{" * 200, "both": "[{" * 100, "a few lists": "[" * 3 + "{" * 200}


def padded(text: str, length: int, kind: type) -> Any:
    """With blanks behind it, as text or as bytes."""
    return text.ljust(length) if kind is str else text.ljust(length).encode()


@pytest.mark.parametrize("kind", [str, bytes])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("brackets", BRACKETS.values(), ids=BRACKETS)
def test_few_brackets_are_shallow(brackets: str, length: int, kind: type) -> None:
    for much, shallow in ((0, True), (1, True), (MAX_DEPTH, True), (MAX_DEPTH + 1, False), (200, False)):
        assert is_shallow(padded(brackets[:much], length, kind)) is shallow
        assert is_shallow(padded("x" + " ".join(brackets[:much]), length, kind)) is shallow


def nested(brackets: str) -> str:
    """A value that begins with these brackets, each in the one before it."""
    opened = "".join("[" if bracket == "[" else '{"a":' for bracket in brackets)
    return opened + "1" + "".join("]" if bracket == "[" else "}" for bracket in reversed(brackets))


@both_readers
@pytest.mark.parametrize("kind", [str, bytes])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("brackets", BRACKETS.values(), ids=BRACKETS)
def test_the_deepest_value(brackets: str, length: int, kind: type, loads: json_backend.Loads) -> None:
    for depth in (1, MAX_DEPTH - 1, MAX_DEPTH):
        text = nested(brackets[:depth])
        assert loads(padded(text, length, kind)) == json.loads(text)
    for depth in (MAX_DEPTH + 1, 150):
        with pytest.raises(NotJson) as caught:
            loads(padded(nested(brackets[:depth]), length, kind))
        assert caught.value.problem == str(caught.value) == "too-deep"


@both_readers
@pytest.mark.parametrize("kind", [str, bytes])
def test_many_brackets_side_by_side_are_not_deep(kind: type, loads: json_backend.Loads) -> None:
    for length in LENGTHS:
        for many in (MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, 300):
            text = f"[{','.join(['[]', '{}'] * many)}]"
            assert loads(padded(text, length, kind)) == [[], {}] * many


# --- digits --------------------------------------------------------------------------------------------------------


@both_readers
@pytest.mark.rule("ENV-14")
@pytest.mark.parametrize("limit", [640, 4_300, 0])  # of the interpreter; 0 is none
@pytest.mark.parametrize("before", [0, 1, 2, 4_298, 4_299, 4_300, 4_301])
def test_up_to_4300_digits_are_an_integer(loads: json_backend.Loads, limit: int, before: int) -> None:
    usual = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(limit)
    try:
        for sign in ("", "-"):
            for digits in (1, 640, 641, 4_299, 4_300, 4_301, 4_302, 8_600):
                value = loads(f"{' ' * before}[{sign}{'9' * digits}]")
                readable = digits <= 4_300 and (limit == 0 or digits <= limit)
                whole = 10**digits - 1 if readable else math.inf
                assert isinstance(value, list)
                assert value == [-whole if sign else whole]
                assert type(value[0]) is (int if readable else float)
    finally:
        sys.set_int_max_str_digits(usual)


@both_readers
@pytest.mark.parametrize("text", ["x", "-", '"', "[", "{", "]", "1x", "[1", "[]]", "[1]1", "é", "[,]", "nul", "+1"])
def test_what_is_damaged_is_refused(loads: json_backend.Loads, text: str) -> None:
    for length in (0, 4_299, 4_300, 5_000):
        for data in (padded(text, length, str), padded(text, length, bytes)):
            with pytest.raises(NotJson) as caught:
                loads(data)
            assert caught.value.problem == str(caught.value) == "not-json"


@both_readers
@pytest.mark.parametrize("text", ["1", "12", "-1", '"a"', "[]", "{}", "null", "true", '""', "[12]", '"é"', "1.5"])
def test_short_values_are_read_whole(loads: json_backend.Loads, text: str) -> None:
    for around in ("", " ", "\n\t ", " " * 4_300):
        for data in (text + around, around + text, around + text + around):
            assert repr(loads(data)) == repr(loads(data.encode())) == repr(json.loads(text))


# --- halves of characters ------------------------------------------------------------------------------------------


@both_readers
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"\\ud800"', "\ufffd"),
        ('"\\uD800"', "\ufffd"),
        ('"\\ud800\\uD800"', "\ufffd\ufffd"),
        ('"\\uDfFf"', "\ufffd"),
        ('"\\udbff\\udfff"', "\U0010ffff"),
        ('"\\uDBFF\\uDFFF"', "\U0010ffff"),
        ('"\\udfff\\udbff"', "\ufffd\ufffd"),
        ('"\\ud7ff\\ue000"', "\ud7ff\ue000"),
        ('"\\n\\u00e9"', "\né"),
        ('"é\\ud800"', "é\ufffd"),
        ('{"\\uD800":["\\udc00",{"a":"\\n"}]}', {"\ufffd": ["\ufffd", {"a": "\n"}]}),
        ('[1,true,null,1.5,"\\ud800"]', [1, True, None, 1.5, "\ufffd"]),
    ],
)
def test_half_of_a_pair_is_replaced(loads: json_backend.Loads, text: str, expected: Json) -> None:
    for length in LENGTHS:
        assert loads(padded(text, length, str)) == loads(padded(text, length, bytes)) == expected


# --- the short way -------------------------------------------------------------------------------------------------


def test_a_usual_text_is_read_at_once() -> None:
    """Fewer instructions than for what the decoder proper has to see; the value is the same."""
    padding = "x" * 5_000
    for usual, other in (
        ('{"a":1}', ' {"a":1}'),  # space before it
        (f'{{"a":"{padding}"}}', f'{{"a":"{padding[:4_293]}5{padding[:700]}"}}'),  # a digit where a long row has one
    ):
        assert cost_of(partial(stdlib_loads, usual)) < cost_of(partial(stdlib_loads, other))


# --- which reader --------------------------------------------------------------------------------------------------

READER = ("loads", "msgspec_loads", "name")


@pytest.fixture
def unasked(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nobody has asked for a reader yet."""
    for wanted in READER:
        monkeypatch.delattr(json_backend, wanted)
    return monkeypatch


@pytest.mark.usefixtures("unasked")
@pytest.mark.parametrize("wanted", READER)
def test_msgspec_is_found_by_whoever_asks_first(wanted: str) -> None:
    found = getattr(json_backend, wanted)
    assert found == ("msgspec" if wanted == "name" else json_backend.msgspec_loads)
    assert json_backend.name == "msgspec"
    loads = json_backend.loads
    assert loads is json_backend.msgspec_loads and loads is not stdlib_loads
    assert loads('{"a":[1]}') == loads(b'{"a":[1]}') == {"a": [1]}
    assert loads('"\\ud800"') == "\ufffd", "as the standard library has it"
    assert loads("[" * MAX_DEPTH + "]" * MAX_DEPTH) == stdlib_loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert loads("[" + "[]," * MAX_DEPTH + "1]") == [*[[]] * MAX_DEPTH, 1]
    for deep in ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "[" * 100_000):
        with pytest.raises(NotJson, match="too-deep"):
            loads(deep)


@pytest.mark.parametrize("wanted", ["loads", "name"])
def test_without_msgspec_the_standard_library_is_found(unasked: pytest.MonkeyPatch, wanted: str) -> None:
    unasked.setitem(sys.modules, "msgspec", None)
    assert getattr(json_backend, wanted) == ("stdlib" if wanted == "name" else stdlib_loads)
    assert (json_backend.loads, json_backend.name) == (stdlib_loads, "stdlib")
    with pytest.raises(AttributeError, match="no attribute 'msgspec_loads'"):
        getattr(json_backend, "msgspec_loads")  # noqa: B009 (the type checker knows that it may be missing)


def test_a_reader_that_was_chosen_stays(unasked: pytest.MonkeyPatch) -> None:
    for there in (True, False):
        if not there:
            unasked.setitem(sys.modules, "msgspec", None)
        unasked.setattr(json_backend, "loads", print, raising=False)
        json_backend.load()
        assert json_backend.loads is print
        assert json_backend.name == ("msgspec" if there else "stdlib")


def test_nothing_else_is_made_up() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(json_backend, "nothing")  # noqa: B009


MESSAGE = json.dumps(
    {
        "version": "2",
        "event": "message.send",
        "sender": {"id": "u"},
        "payload": {"message_id": "m", "message": {"body": {"fragments": []}}},
    }
)


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No frame has been read yet."""
    monkeypatch.setattr(codec, "read_quickly", getattr(codec, "_load_and_read"))  # noqa: B009 (private)
    monkeypatch.setattr(codec, "read_traffic", getattr(codec, "_load_and_read_traffic"))  # noqa: B009
    monkeypatch.setattr(json_backend, "loads", msgspec_loads)
    monkeypatch.delitem(sys.modules, "clawproto.wire.structure", raising=False)
    return monkeypatch


@pytest.mark.usefixtures("unread")
def test_what_the_first_frames_need_can_be_loaded_before() -> None:
    assert not codec.is_loaded()
    for _ in range(2):
        codec.load()
        assert codec.is_loaded()
        assert "clawproto.wire.structure" in sys.modules
        assert (codec.read_quickly, codec.read_traffic) == (quick.read_quickly, quick.read_traffic)


@pytest.mark.usefixtures("unread")
def test_the_first_frame_is_read_quickly_as_well() -> None:
    first = codec.read_quickly
    assert first is not None
    frame = first(MESSAGE)
    assert isinstance(frame, Frame) and isinstance(frame.payload, MessagePayload)
    assert codec.is_loaded() and frame == codec.decode(MESSAGE, 1_000)


@pytest.mark.usefixtures("unread")
def test_the_first_traffic_is_read_quickly_as_well() -> None:
    first = codec.read_traffic
    assert first is not None
    found = first(MESSAGE)
    assert found is not None and found[0] == "message.send"
    assert codec.is_loaded() and codec.read_traffic is not None and codec.read_traffic(MESSAGE) == found


def test_without_msgspec_the_first_frame_is_left_to_the_other_reader(unread: pytest.MonkeyPatch) -> None:
    first, first_traffic = codec.read_quickly, codec.read_traffic
    unread.setattr(quick, "read_quickly", None)
    unread.setattr(quick, "read_traffic", None)
    assert first is not None and first(MESSAGE) is None
    assert codec.is_loaded() and codec.read_quickly is None
    assert first_traffic is not None and first_traffic(MESSAGE) is None
    frame = codec.decode(MESSAGE, 1_000)
    assert isinstance(frame, Frame) and isinstance(frame.payload, MessagePayload)
