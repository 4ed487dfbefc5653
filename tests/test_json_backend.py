"""Reading JSON: one result for every input, whichever reader is in use."""

import json
import math
import os
import subprocess
import sys

import pytest
from hypothesis import example, given, settings, strategies as st

from clawproto.json_types import Json
from clawproto.wire import json_backend
from clawproto.wire.json_backend import MAX_DEPTH, NotJson, msgspec_loads, stdlib_loads

READERS = [pytest.param(stdlib_loads, id="stdlib"), pytest.param(msgspec_loads, id="msgspec")]
both_readers = pytest.mark.parametrize("loads", READERS)


def outcome(loads: json_backend.Loads, data: str | bytes) -> str:
    """The result as text that tells 1 from 1.0 and True, 0.0 from -0.0, and one problem from another."""
    try:
        return describe(loads(data))
    except NotJson as error:
        return f"NotJson {error.problem}"


def describe(value: Json) -> str:
    """Like repr, without int's limit on decimal digits."""
    if isinstance(value, list):
        return f"[{','.join(map(describe, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key!r}:{describe(item)}' for key, item in value.items())}}}"
    return hex(value) if type(value) is int else repr(value)


# --- inputs --------------------------------------------------------------------------------------------------------

numbers = st.one_of(
    st.integers().map(str),
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(repr),
    st.sampled_from(["-0", "-0.0", "0e0", "1e400", "-1e400", "1E+5", "1e-400", "01", "1.", ".5", "-", "+1", "0x10"]),
    st.sampled_from(["NaN", "Infinity", "-Infinity", "nan", "inf"]),
    st.sampled_from([18, 19, 20, 309, 4299, 4300, 4301, 9000]).map(lambda n: "9" * n),
    st.sampled_from([18, 19, 20, 309, 4298, 4299, 4300, 9000]).map(lambda n: "-" + "9" * n),
    st.from_regex(r"-?[0-9]{1,30}(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,4})?", fullmatch=True),
)
string_parts = st.one_of(
    st.text(max_size=5),
    st.text(st.characters(min_codepoint=0xD7F0, max_codepoint=0xE00F), max_size=3),
    st.text(st.characters(max_codepoint=0x20), max_size=2),
    st.integers(0, 0xFFFF).map(lambda n: f"\\u{n:04x}"),
    st.integers(0xD800, 0xDFFF).map(lambda n: f"\\u{n:04X}"),
    st.sampled_from(["\\n", "\\/", "\\\\", '\\"', "\\x", "\\u12", "\\ud83d\\ude00", "\\ud83d\\u0041", "\\\\ud800"]),
)
strings = st.lists(string_parts, max_size=4).map(lambda parts: f'"{"".join(parts)}"')
spaces = st.sampled_from(["", "", "", " ", "\n", "\t", "\r", "\x0b", "\x0c", "\xa0", "\ufeff", "\0"])
scalars = st.one_of(numbers, strings, st.sampled_from(["true", "false", "null", "True", "nul"]))


def containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    lists = st.lists(inner, max_size=4).map(lambda items: f"[{','.join(items)}]")
    keys = st.one_of(strings, st.sampled_from(['"a"', '"b"', "a", "1"]))
    pairs = st.lists(st.tuples(keys, inner).map(":".join), max_size=4)
    return st.one_of(lists, pairs.map(lambda items: f"{{{','.join(items)}}}"))


values = st.tuples(spaces, scalars, spaces).map("".join)
documents = st.recursive(values, containers, max_leaves=12)
depths = st.one_of(st.integers(MAX_DEPTH - 3, MAX_DEPTH + 3), st.sampled_from([500, 1_000, 100_000]))
deep = st.one_of(
    depths.map(lambda depth: "[" * depth + "1" + "]" * depth),
    depths.map(lambda depth: '{"a":' * depth + "1" + "}" * depth),
)
inputs = st.one_of(documents, deep, documents.map(lambda text: text.encode("utf-8", "surrogatepass")), st.binary())


@settings(deadline=None)
@given(inputs)
@example('{"a":1,"a":2}')
@example(b"\xef\xbb\xbf{}")
@example('"\\ud800"')
@example('"\\ud83d\ude00"')
@example('"\ud83d\ude00"')
@example(b'"\xed\xa0\x80"')
@example(b'{"\xc0\x80":1}')
@example("{}".encode("utf-16"))
@example('{"x":' + "9" * 4300 + "}")
@example('{"x":-' + "9" * 4300 + "}")
@example("")
def test_readers_agree_on_every_input(data: str | bytes) -> None:
    assert outcome(msgspec_loads, data) == outcome(stdlib_loads, data)


@settings(deadline=None)
@given(inputs)
def test_whatever_is_read_can_be_stored_and_sent(data: str | bytes) -> None:
    try:
        value = stdlib_loads(data)
    except NotJson:
        return
    json.dumps(value, ensure_ascii=False).encode("utf-8")


json_values: st.SearchStrategy[Json] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
    max_leaves=10,
)


@both_readers
@settings(deadline=None)
@given(value=json_values, ensure_ascii=st.booleans())
def test_plain_json_is_read_exactly(loads: json_backend.Loads, value: Json, ensure_ascii: bool) -> None:
    text = json.dumps(value, ensure_ascii=ensure_ascii)
    assert describe(loads(text)) == describe(value)
    assert describe(loads(text.encode())) == describe(value)


# --- the points beyond the RFC -------------------------------------------------------------------------------------


@both_readers
@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b'"\xff"', "not-utf8"),
        (b"\xff\xfe{\x00}\x00", "not-utf8"),
        ("", "not-json"),
        ("{", "not-json"),
        ("NaN", "not-json"),
        ('{"a":-Infinity}', "not-json"),
        ("\ufeff{}", "not-json"),
        (b"\xef\xbb\xbf{}", "not-json"),
        ('"\x01"', "not-json"),
        ("{}{}", "not-json"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "too-deep"),
        ("[" * 200_000, "too-deep"),
        ('{"a":' * 200_000, "too-deep"),
    ],
)
def test_refusals(loads: json_backend.Loads, data: str | bytes, problem: str) -> None:
    with pytest.raises(NotJson) as caught:
        loads(data)
    assert caught.value.problem == problem


@both_readers
def test_nesting_up_to_the_limit_and_any_width_are_fine(loads: json_backend.Loads) -> None:
    value = loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    for _ in range(MAX_DEPTH - 1):
        assert isinstance(value, list)
        (value,) = value
    assert value == []
    assert loads("[" + ",".join(["{}"] * 10_000) + "]") == [{}] * 10_000
    assert loads('"' + "[" * 10_000 + '"') == "[" * 10_000


@both_readers
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e400", math.inf),
        ("-1e400", -math.inf),
        ("9" * 4301, math.inf),
        ("-" + "9" * 4301, -math.inf),
        ("9" * 1_000_000, math.inf),
        ("-0", 0),
        ("18446744073709551616", 2**64),
        ('"\\ud800"', "\ufffd"),
        ('"a\\udc00b"', "a\ufffdb"),
        ('"\ud800"', "\ufffd"),
        ('{"\\ud800":[{"\\ud83d\\ude00":"\\ud83d"}]}', {"\ufffd": [{"😀": "\ufffd"}]}),
        ('"\\\\ud800"', "\\ud800"),
        ('"\\u0000"', "\0"),
        ('{"a":1,"a":2}', {"a": 2}),
    ],
)
def test_special_values(loads: json_backend.Loads, text: str, expected: Json) -> None:
    assert describe(loads(text)) == describe(expected)


@both_readers
def test_the_interpreters_digit_limit_makes_no_frame_unreadable(loads: json_backend.Loads) -> None:
    limit = sys.get_int_max_str_digits()
    try:
        sys.set_int_max_str_digits(640)
        assert loads("9" * 641) == math.inf
        sys.set_int_max_str_digits(0)
        assert loads("9" * 100_000) == math.inf
    finally:
        sys.set_int_max_str_digits(limit)


def _printed_by(program: str) -> str:
    """What a fresh interpreter prints."""
    answer = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout


def test_msgspec_is_used_when_it_is_there() -> None:
    program = "from clawproto.wire import json_backend; print(json_backend.name, json_backend.loads.__name__)"
    assert _printed_by(program).split() == ["msgspec", "msgspec_loads"]


def test_the_standard_library_is_enough() -> None:
    program = """
import sys
sys.modules["msgspec"] = None
from clawproto.wire import json_backend
from clawproto.wire.codec import decode
print(json_backend.name, json_backend.loads is json_backend.stdlib_loads, decode('{"version":"2","event":"pong"}', 99))
"""
    assert _printed_by(program).startswith("stdlib True Frame(event='pong', payload=Pong()")
