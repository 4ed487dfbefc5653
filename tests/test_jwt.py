"""Claims of access tokens."""

import base64
import json

import pytest
from hypothesis import given, strategies as st

from clawproto.jwt import LONGEST_TOKEN, Claims, read_claims

NOTHING = Claims()


def token_of(payload: bytes) -> str:
    return f"eyJhbGciOiJIUzI1NiJ9.{base64.urlsafe_b64encode(payload).decode().rstrip('=')}.c2ln"


def token(**claims: object) -> str:
    return token_of(json.dumps(claims).encode())


@pytest.mark.rule("TOK-1", "TOK-2", "TOK-3", "AUTH-11")
def test_reads_exp_iat_and_sub() -> None:
    assert read_claims(token(exp=1_790_086_400, iat=1_790_000_000, sub="usr_1", iss="x")) == Claims(
        1_790_086_400, 1_790_000_000, "usr_1"
    )


@pytest.mark.rule("TOK-2")
def test_the_second_segment_counts_however_many_follow() -> None:
    claims = token(exp=1_790_000_000).split(".")[1]
    assert read_claims(f"head.{claims}").exp == 1_790_000_000
    assert read_claims(f"head.{claims}.more.and.more").exp == 1_790_000_000


def test_a_token_of_the_greatest_length_is_read_and_none_above() -> None:
    claims = token(exp=7).split(".")[1]
    longest = f"head.{claims}.".ljust(LONGEST_TOKEN, "s")
    assert read_claims(longest).exp == 7 and read_claims(longest + "s").exp is None


def test_fractions_are_numbers_too() -> None:
    claims = read_claims(token(exp=1_790_086_400.5))
    assert claims.exp == 1_790_086_400.5
    assert claims.exp_ms == 1_790_086_400_500


@pytest.mark.rule("TOK-2")
@pytest.mark.parametrize("length", range(8))
def test_padding_is_restored(length: int) -> None:
    payload = json.dumps({"exp": 5, "x": "y" * length}).encode()
    assert read_claims(token_of(payload)).exp == 5
    padded = base64.urlsafe_b64encode(payload).decode()
    assert read_claims(f"a.{padded}.b").exp == 5


@pytest.mark.rule("TOK-2")
def test_the_url_alphabet_is_read() -> None:
    payload = '{"exp":5,"x":"ÿ?~ÿ?~ÿ>>"}'.encode()
    encoded = base64.urlsafe_b64encode(payload).decode()
    assert "-" in encoded
    assert "_" in encoded
    assert read_claims(f"a.{encoded}").exp == 5
    assert read_claims(f"a.{base64.b64encode(payload).decode()}") == NOTHING


@pytest.mark.rule("TOK-2")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "opaque",
        ".",
        "..",
        "a.",
        "a..c",
        "a.b.c",
        "a.=.c",
        "a.e30===.c",
        "a. e30.c",
        "a.e30\n.c",
        "a.e3\0.c",
        "a.é.c",
        "a.\ud800.c",
        token_of(b""),
        token_of(b"\xff\xfe"),
        token_of(b"not json"),
        token_of(b"[1]"),
        token_of(b"null"),
        token_of(b"5"),
        token_of(b'"exp"'),
        token_of(b'{"exp":1} {"exp":2}'),
        token_of(b'{"exp":NaN}'),
        token_of(b'{"exp":Infinity,"iat":1}'),
        token_of(b"[" * 40_000),
        token_of(b'{"exp":1,"x":' + b"[" * 100 + b"]" * 100 + b"}"),
        token_of(b'{"exp":1,"x":"' + b"y" * LONGEST_TOKEN + b'"}'),
    ],
)
def test_anything_else_has_no_claims(text: str) -> None:
    assert read_claims(text) == NOTHING


UNUSABLE_NUMBERS = ["true", "false", "null", '"1790086400"', '""', "[]", "[1]", "{}", "1e400", "-1e400", "9" * 5000]


@pytest.mark.rule("TOK-2", "D-10", "ENV-14")
@pytest.mark.parametrize("value", UNUSABLE_NUMBERS)
def test_exp_is_a_finite_number_or_absent(value: str) -> None:
    claims = read_claims(token_of(f'{{"exp":{value},"iat":7,"sub":"s"}}'.encode()))
    assert claims == Claims(None, 7, "s")
    assert claims.exp_ms is None


@pytest.mark.rule("TOK-3", "D-10", "ENV-14")
@pytest.mark.parametrize("value", UNUSABLE_NUMBERS)
def test_a_bad_iat_does_not_spoil_exp(value: str) -> None:
    claims = read_claims(token_of(f'{{"exp":9,"iat":{value}}}'.encode()))
    assert claims == Claims(9, None)
    assert claims.iat_ms is None


@pytest.mark.rule("AUTH-11")
@pytest.mark.parametrize("value", ["1", "true", "null", "[]", "{}"])
def test_sub_is_a_string_or_absent(value: str) -> None:
    assert read_claims(token_of(f'{{"exp":9,"sub":{value}}}'.encode())) == Claims(9)


@pytest.mark.rule("TOK-2")
@pytest.mark.parametrize(
    ("seconds", "milliseconds"),
    [
        (0, 0),
        (-1, -1_000),
        (1_790_086_400, 1_790_086_400_000),
        (1e308, 8_640_000_000_000_000),
        (-1e308, -8_640_000_000_000_000),
        (10**400, 8_640_000_000_000_000),
    ],
)
def test_milliseconds_stay_within_the_calendar(seconds: float, milliseconds: int) -> None:
    claims = read_claims(token(exp=seconds, iat=seconds))
    assert claims.exp == seconds
    assert (claims.exp_ms, claims.iat_ms) == (milliseconds, milliseconds)


def test_the_subject_stays_out_of_the_repr() -> None:
    assert "usr_1" not in repr(read_claims(token(sub="usr_1")))


@pytest.mark.rule("TOK-2")
@given(st.one_of(st.text(), st.binary().map(token_of), st.text("ab.=-_+/ ")))
def test_never_raises(text: str) -> None:
    claims = read_claims(text)
    assert claims.exp is None or type(claims.exp) in (int, float)
    assert claims.exp_ms is None or abs(claims.exp_ms) <= 8_640_000_000_000_000
