"""What the companion API's requests are made of, and how its answers are read."""

import pytest

from clawproto.http import HttpAnswer
from clawproto.json_types import Json
from clawproto.rest_format import (
    ApiEnvelope,
    RefreshVerdict,
    Refused,
    Rotated,
    Unusable,
    classify_refresh,
    device_id_problem,
    read_envelope,
)
from clawproto.secret import Secret
from clawproto.wire import json_backend
from clawproto.wire.json_text import write_ascii
from tests.core.harness import answer

# --- requests ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("ENV-9")
@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, None, True], "b": "x y"}, '{"a":[1,null,true],"b":"x y"}'),
        ("ünï", '"\\u00fcn\\u00ef"'),
        ("ünï \ud83d", '"\\u00fcn\\u00ef \\ud83d"'),
    ],
)
def test_bodies_are_compact_and_ascii_whatever_the_strings_hold(value: Json, text: str) -> None:
    assert write_ascii(value) == text


@pytest.mark.parametrize(
    "text", ['{"a":[1e999,-1e999,1.5]}', '["Infinity",1e999,"-Infinity","\\"Infinity\\\\",-1e999]', '"Infinity"']
)
def test_a_number_that_no_float_holds_is_written_as_it_was_read(text: str) -> None:
    assert write_ascii(json_backend.loads(text)) == text


@pytest.mark.rule("DEV-3", "REF-3", "REF-37")
@pytest.mark.parametrize(
    ("device_id", "is_fit"),
    [
        ("lab-01_a.b:C", True),
        ("two words", True),
        ("d" * 128, True),
        ("d" * 129, False),
        ("", False),
        (" \t", False),
        (" lab", False),
        ("lab ", False),
        ("l\tab", False),
        ("l\x7fab", False),
        ("läb", False),
        ("\ud83d", False),
    ],
)
def test_a_device_id_fits_into_a_header(device_id: str, is_fit: bool) -> None:
    assert (device_id_problem(device_id) is None) == is_fit


# --- answers -------------------------------------------------------------------------------------------------------


@pytest.mark.rule("REF-5", "ENV-14")
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"code": 7, "msg": "no", "data": {"a": 1}}, ApiEnvelope(7, "no", {"a": 1})),
        ({"code": 7, "message": "other name"}, ApiEnvelope(7, "other name", None)),
        ({"code": 7, "msg": "one", "message": "two"}, ApiEnvelope(7, "one", None)),
        ({"code": True, "msg": 5}, ApiEnvelope(None, "", None)),
        ({"code": "7"}, ApiEnvelope(None, "", None)),
        ({"msg": "x" * 501}, ApiEnvelope(None, "x" * 500, None)),
        ({}, ApiEnvelope(None, "", None)),
        ([], None),
        (b"{", None),
    ],
)
def test_an_envelope_is_read(body: object, expected: ApiEnvelope | None) -> None:
    assert read_envelope(answer(body)) == expected


@pytest.mark.rule("REF-4", "REF-6", "REF-7", "REF-38", "REF-43")
@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (answer({"code": 0, "data": {"access_token": "a", "refresh_token": "r"}}), Rotated(Secret("a"), Secret("r"))),
        (answer({"code": 400, "msg": "device"}), Refused(400, "device")),
        (answer({"code": 10003, "msg": "spent"}), Refused(10003, "spent")),
        (answer({"code": 10003}, 429), Unusable("HTTP 429", answered=True)),
        (answer({"code": 10003}, 430), Unusable("HTTP 430", answered=False)),
        (answer(b"", 502), Unusable("HTTP 502", answered=False)),
        (answer(b"", 503), Unusable("HTTP 503", answered=True)),
        (answer(b"<html>"), Unusable("the answer is no JSON object", answered=False)),
        (answer({"code": 1}), Unusable("code 1", answered=True)),
        (answer({"code": "0"}), Unusable("code None", answered=False)),
        (answer({"code": 0, "data": []}), Unusable("code 0 without both tokens", answered=False)),
        (answer({"code": 0, "data": {"access_token": "a"}}), Unusable("code 0 without both tokens", answered=False)),
        (answer({"code": 0, "data": {"refresh_token": "r"}}), Unusable("code 0 without both tokens", answered=False)),
        (
            answer({"code": 0, "data": {"access_token": " ", "refresh_token": "r"}}),
            Unusable("code 0 without both tokens", answered=False),
        ),
        (
            answer({"code": 0, "data": {"access_token": "a", "refresh_token": "\t"}}),
            Unusable("code 0 without both tokens", answered=False),
        ),
    ],
)
def test_a_verdict_of_the_server_is_told_from_what_cannot_be_read(reply: HttpAnswer, expected: RefreshVerdict) -> None:
    assert classify_refresh(reply) == expected
