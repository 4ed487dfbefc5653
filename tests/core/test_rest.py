"""Authenticated REST calls: headers, verdicts, and the single retry after a refresh."""

import pytest

from clawproto.calls import answer_of
from clawproto.effects import RequestHttp, RequestRefresh, Resolve
from clawproto.events import CallRest, HttpAnswered
from clawproto.http import FileBody, HttpAnswer, HttpRequest
from clawproto.policy import Policy
from clawproto.results import (
    NotPaired,
    RestFailed,
    RestRefused,
    RestSucceeded,
    RestUnauthorized,
    Result,
    StoppedResult,
)
from tests.core.harness import (
    INTERNAL,
    QUIET,
    REFUSED,
    T0,
    Bench,
    answer,
    credentials,
    jwt,
    of,
    pair,
    rotated,
    verdict,
)

NEW = jwt("a2", issued_ms=T0 + 1_000)
DENIED = verdict(1, "token expired", 401)
FINE = answer({"code": 0, "msg": "ok", "data": {"id": "u-1"}})


def outcome(reply: HttpAnswer) -> Result:
    """What becomes of a call that is answered so."""
    bench = Bench(credentials(), policy=QUIET)
    command = bench.rest()
    bench.reply_call(reply)
    return bench.results[command]


def authorization(call: RequestHttp) -> str:
    return dict(call.http.headers)["authorization"]


# --- the call ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("REST-1", "AUTH-1")
def test_the_request() -> None:
    bench = Bench(credentials())
    bench.rest("POST", "/v1/x?y=1", b'{"a":1}')
    bench.rest("GET", "/v1/users/me")
    posted, got = bench.all(RequestHttp)
    assert (posted.http.method, posted.http.url, posted.http.body) == (
        "POST",
        "https://api.example/v1/x?y=1",
        b'{"a":1}',
    )
    assert dict(posted.http.headers) == {
        "authorization": f"Bearer {jwt('a1')}",
        "x-device-id": "lab-01",
        "content-type": "application/json",
    }
    assert dict(got.http.headers) == {"authorization": f"Bearer {jwt('a1')}", "x-device-id": "lab-01"}
    assert posted.purpose == "rest"


@pytest.mark.rule("REST-3")
def test_the_timeout() -> None:
    bench = Bench(credentials())
    bench.rest()
    bench.step(CallRest(bench.command(), "GET", "/", timeout_ms=1_234))
    assert [call.timeout_ms for call in bench.all(RequestHttp)] == [30_000, 1_234]


@pytest.mark.rule("REST-1")
def test_another_content_type() -> None:
    bench = Bench(credentials())
    bench.step(
        CallRest(bench.command(), "POST", "/media/upload", b"--x", content_type="multipart/form-data; boundary=x")
    )
    assert dict(bench.all(RequestHttp)[0].http.headers)["content-type"] == "multipart/form-data; boundary=x"


@pytest.mark.rule("REST-1", "MEDIA-8")
def test_a_file_is_sent_like_any_other_body() -> None:
    bench = Bench(credentials())
    file = FileBody(7, b"<", b">", 3)
    bench.step(CallRest(bench.command(), "POST", "/media/upload", file, content_type="image/png"))
    headers = (("authorization", f"Bearer {jwt('a1')}"), ("x-device-id", "lab-01"), ("content-type", "image/png"))
    (call,) = bench.all(RequestHttp)
    assert call.http == HttpRequest("POST", "https://api.example/media/upload", headers, file=file)


# --- verdicts ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("REST-2")
def test_success_brings_the_data() -> None:
    found = outcome(FINE)
    assert isinstance(found, RestSucceeded)
    assert found.data == '{"id":"u-1"}' and found.answer == FINE


@pytest.mark.rule("REST-2")
def test_a_number_that_no_float_holds_is_data_like_any_other() -> None:
    found = outcome(answer(b'{"code":0,"data":{"size":1e999,"name":"Infinity"}}'))
    assert isinstance(found, RestSucceeded) and found.data == '{"size":1e999,"name":"Infinity"}'
    assert answer_of(found).data == {"size": float("inf"), "name": "Infinity"}


@pytest.mark.rule("REST-2", "REST-8")
@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (verdict(4, "bad", 400), RestRefused(400, 4, "bad", "{}")),
        (verdict(0, "odd", 400), RestRefused(400, 0, "odd", "{}")),
        (answer(b"<html>", 400), RestRefused(400, None, "")),
        (verdict(0, "odd", 404), RestRefused(404, 0, "odd", "{}")),
        (verdict(30_001, "needs the owner"), RestRefused(200, 30_001, "needs the owner", "{}")),
        (answer({"code": 7, "message": "other key"}), RestRefused(200, 7, "other key", None)),
        (answer({"code": 7, "data": {"expires_at": 1}}), RestRefused(200, 7, "", '{"expires_at":1}')),
        (answer(b"<html>", 502), RestRefused(502, None, "")),
        (answer(b"<html>"), RestFailed(True, "the answer is no JSON object")),
        (answer([1]), RestFailed(True, "the answer is no JSON object")),
        (answer({"code": 0}), RestFailed(True, "success without a code or without an object in data")),
        (answer({"code": 0, "data": []}), RestFailed(True, "success without a code or without an object in data")),
        (answer({"data": {}}), RestFailed(True, "success without a code or without an object in data")),
        (answer({"code": False, "data": {}}), RestFailed(True, "success without a code or without an object in data")),
    ],
)
def test_verdicts(reply: HttpAnswer, expected: Result) -> None:
    assert outcome(reply) == expected


@pytest.mark.rule("REST-2", "REF-43")
@pytest.mark.parametrize("sent", [True, False])
def test_no_answer_is_a_transport_error(sent: bool) -> None:
    bench = Bench(credentials())
    command = bench.rest()
    bench.fail_call(sent=sent)
    found = bench.results[command]
    assert isinstance(found, RestFailed) and found.sent is sent
    assert bench.all(RequestRefresh) == []


# --- the retry -----------------------------------------------------------------------------------------------------


@pytest.mark.rule("REST-4", "REF-31", "REF-12")
@pytest.mark.parametrize("status", [401, 403])
def test_an_auth_error_refreshes_and_repeats_once(status: int) -> None:
    bench = Bench(credentials(), policy=QUIET)
    command = bench.rest("POST", "/v1/x", b"{}")
    bench.reply_call(verdict(0, "no", status))
    assert len(bench.refreshes) == 1 and command not in bench.results
    (again,) = of(bench.reply(rotated(NEW)), RequestHttp)
    first = bench.all(RequestHttp)[0]
    assert authorization(again) == f"Bearer {NEW}"
    assert (again.http.method, again.http.url, again.http.body) == (first.http.method, first.http.url, first.http.body)
    bench.reply_call(FINE)
    assert isinstance(bench.results[command], RestSucceeded)


@pytest.mark.rule("REST-5")
def test_there_is_no_third_try() -> None:
    bench = Bench(credentials(), policy=Policy(refresh_floor_ms=0))
    command = bench.rest()
    bench.reply_call(DENIED)
    bench.reply(rotated(NEW))
    bench.reply_call(DENIED)
    assert bench.results[command] == RestUnauthorized(401, "token expired")
    assert len(bench.all(RequestHttp)) == 2 and len(bench.all(RequestRefresh)) == 1


@pytest.mark.rule("REST-5", "REST-2")
def test_an_auth_error_without_an_envelope_is_one_all_the_same() -> None:
    bench = Bench(credentials(), policy=QUIET)
    command = bench.rest()
    bench.reply_call(answer(b"<html>", 403))
    bench.reply(rotated(NEW))
    bench.reply_call(answer(b"<html>", 401))
    assert bench.results[command] == RestUnauthorized(401, "")


@pytest.mark.rule("MEDIA-3", "REST-4", "REST-5")
@pytest.mark.parametrize("auth_codes", [(), (40101,), (7, 40101)])
def test_a_code_that_means_the_same_as_401_leads_to_the_same(auth_codes: tuple[int, ...]) -> None:
    bench = Bench(credentials(), policy=QUIET)
    denied, command = verdict(40101, "token expired"), bench.command()
    bench.step(CallRest(command, "POST", "/media/upload", b"x", auth_codes=auth_codes))
    bench.reply_call(denied)
    if auth_codes:
        bench.reply(rotated(NEW))
        bench.reply_call(denied)
    expected = RestUnauthorized(200, "token expired") if auth_codes else RestRefused(200, 40101, "token expired", "{}")
    assert bench.results[command] == expected
    assert len(bench.all(RequestHttp)) == 1 + bool(auth_codes)


@pytest.mark.rule("MEDIA-3", "REST-2")
@pytest.mark.parametrize("reply", [verdict(5, "too large"), answer(b"<html>"), answer({"data": {}}), FINE])
def test_whoever_names_such_a_code_is_told_of_others_as_usual(reply: HttpAnswer) -> None:
    bench = Bench(credentials(), policy=QUIET)
    command = bench.command()
    bench.step(CallRest(command, "POST", "/media/upload", b"x", auth_codes=(40101,)))
    bench.reply_call(reply)
    assert bench.results[command] == outcome(reply) and not bench.all(RequestRefresh)


@pytest.mark.rule("REST-5", "REF-24")
@pytest.mark.parametrize("how", ["transient", "unanswered", "floor", "no refresh token", "held pair"])
def test_without_a_new_token_the_caller_gets_the_auth_error(how: str) -> None:
    record = credentials(pair(jwt("a1"), None)) if how == "no refresh token" else credentials()
    bench = Bench(record, policy=QUIET)
    if how == "floor":
        bench.refresh()
        bench.reply(INTERNAL)
    command = bench.rest()
    bench.reply_call(verdict(1, "no", 403))
    if how == "transient":
        bench.reply(INTERNAL)
    elif how == "unanswered":
        bench.fail()
    elif how == "held pair":
        bench.store.failing = 1
        bench.reply(rotated(NEW))
    found = bench.results[command]
    assert isinstance(found, RestUnauthorized) and found.status == 403
    assert len(bench.all(RequestHttp)) == 1


@pytest.mark.rule("REST-4", "REF-12", "REF-49")
def test_an_adopted_pair_repeats_the_call_as_well() -> None:
    bench = Bench(credentials(), policy=QUIET)
    bench.rest()
    bench.store.rotate(pair(NEW, "refresh-b"))
    bench.reply_call(DENIED)
    assert [authorization(call) for call in bench.all(RequestHttp)] == [f"Bearer {jwt('a1')}", f"Bearer {NEW}"]
    assert bench.all(RequestRefresh) == []


@pytest.mark.rule("REST-4", "REF-12")
def test_many_calls_wait_for_one_refresh() -> None:
    bench = Bench(credentials(), policy=QUIET)
    commands = [bench.rest() for _ in range(5)]
    for _ in range(5):
        bench.reply_call(DENIED)
    bench.reply(rotated(NEW))
    assert len(bench.all(RequestRefresh)) == 1 and len(bench.calls) == 5
    for _ in range(5):
        bench.reply_call(FINE)
    assert all(isinstance(bench.results[command], RestSucceeded) for command in commands)


@pytest.mark.rule("REST-6")
def test_swapped_while_the_call_was_under_way_it_is_repeated_without_a_refresh() -> None:
    bench = Bench(credentials(), policy=Policy(refresh_floor_ms=0))
    command = bench.rest()
    bench.refresh()
    bench.reply(rotated(NEW))
    (again,) = of(bench.reply_call(DENIED), RequestHttp)
    assert authorization(again) == f"Bearer {NEW}"
    assert len(bench.all(RequestRefresh)) == 1
    bench.reply_call(DENIED)
    assert isinstance(bench.results[command], RestUnauthorized)
    assert len(bench.all(RequestRefresh)) == 1


@pytest.mark.rule("REST-4", "REF-29")
def test_an_auth_error_during_a_refresh_joins_it() -> None:
    bench = Bench(credentials(), policy=QUIET)
    command = bench.rest()
    bench.refresh()
    bench.reply_call(DENIED)
    assert command not in bench.results
    bench.reply(rotated(NEW))
    bench.reply_call(FINE)
    assert isinstance(bench.results[command], RestSucceeded)


@pytest.mark.rule("REST-7", "REF-4")
def test_an_auth_error_of_the_refresh_itself_is_not_retried() -> None:
    bench = Bench(credentials(), policy=QUIET)
    command = bench.rest()
    bench.reply_call(DENIED)
    bench.reply(verdict(10003, status=401))
    assert isinstance(bench.results[command], RestUnauthorized)
    assert len(bench.all(RequestRefresh)) == 1 and len(bench.all(RequestHttp)) == 1


@pytest.mark.rule("REST-4", "REF-30")
def test_a_late_answer_after_a_logout_or_a_stop_means_nothing() -> None:
    for end in ("logout", "stop"):
        bench = Bench(credentials(), policy=QUIET)
        command = bench.rest()
        if end == "stop":
            bench.stop()
            assert isinstance(bench.results[command], StoppedResult)
        else:
            bench.refresh()
            bench.reply(REFUSED)
        before = bench.state
        assert bench.reply_call(FINE) == () and bench.state == before


@pytest.mark.rule("OUT-11", "REF-32")
@pytest.mark.parametrize("end", ["logout", "stop"])
def test_a_call_that_has_its_result_gets_no_other_at_the_end(end: str) -> None:
    bench = Bench(credentials(), policy=QUIET)
    command = bench.rest()
    bench.reply_call(FINE)
    if end == "stop":
        bench.stop()
    else:
        bench.refresh()
        bench.reply(REFUSED)
    assert isinstance(bench.results[command], RestSucceeded)
    assert [effect.command for effect in bench.all(Resolve)].count(command) == 1


@pytest.mark.rule("REST-5")
@pytest.mark.parametrize("first", [FINE, DENIED])
def test_an_answer_that_is_reported_twice_counts_once(first: HttpAnswer) -> None:
    bench = Bench(credentials(), policy=QUIET)
    command = bench.rest()
    (number,) = bench.calls
    bench.reply_call(first)
    before = bench.state
    assert bench.step(HttpAnswered(number, FINE)) == () and bench.state == before
    if first is DENIED:
        bench.reply(rotated(NEW))
        bench.reply_call(FINE)
    assert isinstance(bench.results[command], RestSucceeded)


@pytest.mark.rule("REF-32")
def test_calls_after_a_stop_and_without_a_pairing() -> None:
    bench = Bench(credentials())
    bench.stop()
    assert isinstance(bench.results[bench.rest()], StoppedResult)
    bench = Bench(None)
    assert isinstance(bench.results[bench.rest()], NotPaired)
