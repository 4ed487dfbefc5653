"""Secrets are taken out of everything that a session sees and does, and what stands for them acts like them."""

import base64
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from clawproto.credentials import Credentials, TokenPair
from clawproto.effects import Effect, RequestHttp, SendFrame
from clawproto.events import CallRest, Event, HttpAnswered, OpenFailed, Pair, Start
from clawproto.http import HttpAnswer, HttpRequest
from clawproto.journal_encoding import Encoder, decode
from clawproto.jwt import read_claims
from clawproto.redaction import BLANK, Redactor, redacted_token
from clawproto.rest_format import classify_refresh, refresh_request
from clawproto.results import RestRefused, RestSucceeded
from clawproto.secret import Secret
from clawproto.testing import strategies as claw
from tests.core.harness import IDENTITY, answer, jwt, rotated

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example, HealthCheck.filter_too_much]


ACCESS = jwt("a1", sub="u-1", phone="+491")
REFRESH = "-".join(["very", "secret", "refresh", "token"])


def told(*values: object) -> str:
    """The values, one after the other, as a journal shows them."""
    encode = Encoder(Redactor())
    return json.dumps([encode(value) for value in values])


# --- what stands for a token ---------------------------------------------------------------------------------------


@pytest.mark.rule("AUTH-9", "TOK-1")
@given(claw.access_tokens() | claw.refresh_tokens() | st.text(max_size=40).map(Secret))
def test_a_stand_in_decides_like_the_token(token: Secret) -> None:
    value = token.reveal()
    stand_in = Secret(redacted_token(value))
    assert stand_in.digest == token.digest
    assert stand_in.is_blank == token.is_blank
    assert read_claims(stand_in.reveal()) == read_claims(value)
    assert redacted_token(stand_in.reveal()) == stand_in.reveal()
    assert len(value) < 10 or token.is_blank or value not in stand_in.reveal()
    assert token.is_blank or stand_in.reveal().isascii()


@given(claw.access_tokens(), claw.access_tokens())
def test_different_tokens_have_different_stand_ins(one: Secret, other: Secret) -> None:
    assert (redacted_token(one.reveal()) == redacted_token(other.reveal())) is (one == other)


def test_only_the_claims_that_the_core_reads_are_kept() -> None:
    stand_in = redacted_token(ACCESS)
    assert read_claims(stand_in).sub == "u-1"
    assert b"phone" in base64.urlsafe_b64decode(ACCESS.split(".")[1] + "==")
    assert b"phone" not in base64.urlsafe_b64decode(stand_in.split(".")[1] + "==")
    assert stand_in.startswith("e30.") and len(stand_in.split(".")) == 3


def test_what_looks_like_a_stand_in_at_its_end_only_is_a_token() -> None:
    token = f"{REFRESH}.redacted-{'0' * 32}"
    assert not Secret(token).is_stand_in
    assert REFRESH not in redacted_token(token)


# --- by type -------------------------------------------------------------------------------------------------------

SECRETS = ("access-token-of-the-agent", "refresh-token-of-the-agent", "CODE2345")


@pytest.mark.rule("AUTH-9")
@pytest.mark.parametrize(
    "value",
    [
        Start(Credentials(IDENTITY, TokenPair(Secret(SECRETS[0]), Secret(SECRETS[1])))),
        SendFrame(1, '{"event":"connect","payload":{"token":"access-token-of-the-agent","nonce":"n"}}', "connect"),
        RequestHttp(1, refresh_request("https://h", "d", Secret("refresh-token-of-the-agent")), 1, "rest"),
        RequestHttp(1, HttpRequest("GET", "https://h/x?token=access-token-of-the-agent&a=b"), 1, "rest"),
        RequestHttp(1, HttpRequest("GET", "https://h", (("Authorization", f"Bearer {SECRETS[0]}"),)), 1, "rest"),
        RequestHttp(1, HttpRequest("GET", "https://h", (("cookie", f"a={SECRETS[0]}"),)), 1, "rest"),
        RequestHttp(
            1,
            HttpRequest("POST", "https://h/v1/agents/connect", (), b'{"code":"CODE2345","user_id":"u"}'),
            1,
            "pairing",
        ),
        Pair(1, " CODE2345 ", "https://h", "lab-01"),
        CallRest(1, "POST", "/v1/x", b'{"password": "access-token-of-the-agent", "n": 1}'),
        CallRest(1, "POST", "/v1/x?ticket=access-token-of-the-agent"),
        HttpAnswered(1, rotated("access-token-of-the-agent", "refresh-token-of-the-agent")),
        HttpAnswered(1, answer(b'{"data":{"acc\\u0065ss_token":"access-token-of-the-agent"}}')),
        HttpAnswered(1, answer(b'{"data":{"access_token":"access-token-of-the-agent')),  # cut off
        HttpAnswered(1, answer(b'\xff{"refresh_token" : "refresh-token-of-the-agent"}')),
        HttpAnswered(1, HttpAnswer(200, (("set-cookie", SECRETS[0]),), b"")),
        RestSucceeded('{"access_token":"access-token-of-the-agent"}', answer({"token": "access-token-of-the-agent"})),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_secret_is_shown(value: object) -> None:
    shown = told(value)
    assert not any(secret in shown for secret in SECRETS), shown
    assert "lab-01" in shown or type(value) is not Pair


OPAQUE = "opaque-token-without-claims"
STAND_IN = f"redacted-{Secret(OPAQUE).digest}"


def claims_of(stand_in: str) -> str:
    """The middle part, as it was written."""
    middle = stand_in.split(".")[1]
    assert "=" not in middle
    return base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)).decode()


def test_a_stand_in_is_made_of_the_digest_and_of_claims_that_are_there() -> None:
    assert redacted_token(OPAQUE) == STAND_IN
    assert redacted_token(STAND_IN) == STAND_IN and redacted_token(" ") == " "
    full = redacted_token(jwt("a1", issued_ms=1_000, expires_ms=5_000, sub="ü-1"))
    assert claims_of(full) == '{"exp":5,"iat":1,"sub":"ü-1"}'
    assert claims_of(redacted_token(jwt("a1", issued_ms=None, expires_ms=5_000))) == '{"exp":5}'


@pytest.mark.parametrize(
    ("value", "redacted"),
    [
        (Secret(OPAQUE), Secret(STAND_IN)),
        (
            SendFrame(1, f'{{"event":"connect","payload":{{"token":"{OPAQUE}"}}}}', "connect"),
            SendFrame(1, f'{{"event":"connect","payload":{{"token":"{STAND_IN}"}}}}', "connect"),
        ),
        (SendFrame(1, f'{{"token":"{OPAQUE}"}}', "ping"), SendFrame(1, f'{{"token":"{OPAQUE}"}}', "ping")),
        (
            HttpRequest(
                "GET",
                f"https://h/x?a=b&token={OPAQUE}&SIG=1#f",
                (
                    ("Authorization", f"Bearer {OPAQUE}"),
                    ("Authorization", f"Digest {OPAQUE} {OPAQUE}"),
                    ("Proxy-Authorization", OPAQUE),
                    ("X-Api-Key", "k"),
                    ("x-auth-token", "k"),
                    ("Cookie", "k"),
                    ("Set-Cookie", "k"),
                    ("Date", "now"),
                ),
            ),
            HttpRequest(
                "GET",
                "https://h/x?a=b&token=redacted&SIG=redacted#f",
                (
                    ("Authorization", f"Bearer {STAND_IN}"),
                    ("Authorization", f"Digest {redacted_token(f'{OPAQUE} {OPAQUE}')}"),
                    ("Proxy-Authorization", STAND_IN),
                    ("X-Api-Key", "redacted"),
                    ("x-auth-token", "redacted"),
                    ("Cookie", "redacted"),
                    ("Set-Cookie", "redacted"),
                    ("Date", "now"),
                ),
            ),
        ),
        (
            HttpRequest(
                "POST", "https://h/v1/agents/connect", (), b'{"code":"CODE2345","ticket":"' + OPAQUE.encode() + b'"}'
            ),
            HttpRequest(
                "POST", "https://h/v1/agents/connect", (), b'{"code":"redacted","ticket":"' + STAND_IN.encode() + b'"}'
            ),
        ),
        (
            HttpRequest("POST", "https://h/v1/x", (), b'{"code":"CODE2345"}'),
            HttpRequest("POST", "https://h/v1/x", (), b'{"code":"CODE2345"}'),
        ),
        (
            CallRest(1, "POST", f"/v1/agents/connect?code={OPAQUE}", b'{"code":" "}'),
            CallRest(1, "POST", "/v1/agents/connect?code=redacted", b'{"code":" "}'),
        ),
        (
            HttpAnswer(200, (("set-cookie", OPAQUE), ("date", "now")), b'\xff{"secret":"' + OPAQUE.encode() + b'"}'),
            HttpAnswer(
                200, (("set-cookie", "redacted"), ("date", "now")), b'\xff{"secret":"' + STAND_IN.encode() + b'"}'
            ),
        ),
        (
            HttpAnswer(200, (), b'{"x":[{"p\\u0061ssword":"' + OPAQUE.encode() + b'","n":1,"t":"plain text"}]}'),
            HttpAnswer(200, (), b'{"x":[{"password":"' + STAND_IN.encode() + b'","n":1,"t":"plain text"}]}'),
        ),
        (HttpAnswer(200, (), b'{"x":"\\u00e4","n":[1.50]}'), HttpAnswer(200, (), b'{"x":"\\u00e4","n":[1.50]}')),
        (HttpAnswer(200, (), b'{"x":"\\u00e4"'), HttpAnswer(200, (), b'{"x":"\\u00e4"')),
        (Pair(1, " CODE2345 ", "https://h", "d"), Pair(1, " redacted ", "https://h", "d")),
        (Pair(1, "  ", "https://h", "d"), Pair(1, "  ", "https://h", "d")),
        (Pair(1, "redacted", "https://h", "d"), Pair(1, "redacted", "https://h", "d")),
        (RestRefused(400, 7, "no", None), RestRefused(400, 7, "no", None)),
        (
            RestRefused(400, 7, "no", f'{{"id_token":"{OPAQUE}"}}'),
            RestRefused(400, 7, "no", f'{{"id_token":"{STAND_IN}"}}'),
        ),
        (
            RestSucceeded(f'{{"token":"{OPAQUE}"}}', HttpAnswer(200)),
            RestSucceeded(f'{{"token":"{STAND_IN}"}}', HttpAnswer(200)),
        ),
        (OpenFailed(1, OPAQUE), OpenFailed(1, OPAQUE)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_value_looks_like_without_its_secrets(value: object, redacted: object) -> None:
    found = Redactor().value(value)
    assert found == redacted
    assert Redactor().value(found) == found, "a second time changes nothing"


def test_a_secret_is_found_however_it_is_written() -> None:
    def body_of(body: bytes, path: str = "/v1/agents/connect") -> bytes:
        redacted = Redactor().value(CallRest(1, "POST", path, body))
        assert isinstance(redacted, CallRest) and isinstance(redacted.body, bytes)
        return redacted.body

    assert (
        body_of(b'{"c\\u006fde":"CODE2345","n":[{"c\\u006fde":"X"}]}')
        == b'{"code":"redacted","n":[{"code":"redacted"}]}'
    )
    assert body_of(b'{"c\\u006fde":"CODE2345"}', "/v1/x") == b'{"c\\u006fde":"CODE2345"}'
    assert body_of(b'{"code":"CODE2345"}', "/v1/x") == b'{"code":"CODE2345"}'
    assert body_of(b'{"code":"CODE2345"}') == b'{"code":"redacted"}'
    odd = "a" + chr(92) + "xyz-and-more"
    assert body_of(f'{{"token":"{odd}"}}'.encode()) == f'{{"token":"{redacted_token(odd)}"}}'.encode()
    lines = "a\nb-and-more"
    assert body_of(f'{{"token":"{lines}"}}'.encode()) == f'{{"token":"{redacted_token(lines)}"}}'.encode()
    escaped = lines.replace("-", chr(92) + "u002d", 1)  # no JSON because of its line end; read as far as it can be
    assert body_of(f'{{"token":"{escaped}"}}'.encode()) == f'{{"token":"{redacted_token(lines)}"}}'.encode()
    untouched = b'{"t\\u006fken":5,"x":"\\u00e4"}'
    assert body_of(untouched) == untouched


def test_a_short_code_is_not_looked_for_in_other_texts_and_a_longer_one_is() -> None:
    redactor = Redactor()
    redactor.value(Pair(1, "ABCDE", "https://h", "d"))
    redactor.value(Pair(1, "ABCDEF", "https://h", "d"))
    assert redactor.text("ABCDE ABCDEF") == "ABCDE redacted"
    redactor.value(HttpRequest("POST", "https://h/v1/agents/connect", (), b'{"code":" GHIJKL "}'))
    assert redactor.text("GHIJKL") == "redacted"


def test_the_last_64_secrets_are_looked_for() -> None:
    redactor = Redactor()
    for number in range(65):
        redactor.token(f"secret-{number:02}")
    assert redactor.text("secret-00") == "secret-00" and redactor.text("secret-01") == redacted_token("secret-01")


def test_everything_else_in_a_body_stays_to_the_letter() -> None:
    body = b'{ "code":0 ,"data":{"access_token":"access-token-of-the-agent","refresh_token":"r"},"x":[1.50,"\\u00e9"]}'
    redacted = Redactor().value(HttpAnswer(200, (), body))
    assert isinstance(redacted, HttpAnswer)
    stand_in = redacted_token("access-token-of-the-agent").encode()
    assert redacted.body == body.replace(b"access-token-of-the-agent", stand_in).replace(
        b'"r"', f'"{redacted_token("r")}"'.encode()
    )


def test_a_body_that_has_to_be_written_anew_holds_what_it_held() -> None:
    body = b'{"code":0,"acc\\u0065ss_token":"access-token-of-the-agent","x":[1e999,"Infinity"]}'
    redacted = Redactor().value(HttpAnswer(200, (), body))
    assert isinstance(redacted, HttpAnswer)
    token = redacted_token("access-token-of-the-agent")
    assert redacted.body == f'{{"code":0,"access_token":"{token}","x":[1e999,"Infinity"]}}'.encode()


@given(claw.refresh_answers())
def test_a_redacted_answer_means_the_same(reply: HttpAnswer) -> None:
    redactor = Redactor()
    redacted = redactor.value(reply)
    assert isinstance(redacted, HttpAnswer)
    before, after = classify_refresh(reply), classify_refresh(redacted)
    encode = Encoder(redactor)
    assert encode(before) == encode(after)


def test_a_secret_that_turns_up_somewhere_else_is_found() -> None:
    redactor = Redactor()
    encode = Encoder(redactor)
    encode(Secret(REFRESH))
    encode(Pair(1, "CODE2345", "https://h", "d"))
    shown = json.dumps(encode(OpenFailed(1, f"proxy said: {REFRESH} for CODE2345")))
    assert REFRESH not in shown and "CODE2345" not in shown
    assert redacted_token(REFRESH) in shown and BLANK in shown


def test_only_so_many_secrets_are_looked_for() -> None:
    redactor = Redactor()
    for number in range(200):
        redactor.token(f"secret-number-{number:04}")
    text = redactor.text("secret-number-0000 secret-number-0199")
    assert "secret-number-0000" in text and "secret-number-0199" not in text


# --- encoding ------------------------------------------------------------------------------------------------------


@settings(max_examples=400, suppress_health_check=SLOW)
@given(claw.events() | claw.effects())
def test_every_event_and_effect_goes_there_and_back(value: Event | Effect) -> None:
    redactor = Redactor()
    encode = Encoder(redactor)
    encoded = json.loads(json.dumps(encode(value)))
    back = decode(encoded)
    assert type(back) is type(value)
    assert encode(back) == encoded
    again = decode(json.loads(json.dumps(Encoder(Redactor())(back))))
    assert again == back


@settings(max_examples=200, suppress_health_check=SLOW)
@given(claw.token_pairs(), claw.events() | claw.effects())
def test_no_token_survives_in_anything(pair: Any, value: Event | Effect) -> None:
    shown = told(pair, value)
    for token in (pair.access, pair.refresh):
        if token is not None and len(token.reveal()) >= 16:
            assert token.reveal() not in shown
