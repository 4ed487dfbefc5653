"""The HTTP runner: requests, answers, ready-made clients, and what its log does not say."""

import gzip
import logging
import socket
import ssl
import threading
from collections.abc import Callable

import anyio
import httpx2
import pytest

from clawproto.http import HttpAnswer, HttpRequest
from clawproto_io import HttpRunner
from tests.io.http_servers import TLS, TOKEN, Script, Server, answers, call, failure, reset_at_once, whole

pytestmark = pytest.mark.anyio


# --- answers -------------------------------------------------------------------------------------------------------


async def test_a_request_goes_out_as_it_is(runner: HttpRunner, serve: Callable[[Script], Server]) -> None:
    server = serve(answers(whole("200 OK")))
    await runner.send(call(f"{server.url}/v1/things?a=1&b=%20"), 10_000)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /v1/things?a=1&b=%20 HTTP/1.1"
    assert f"Authorization: Bearer {TOKEN}".encode() in lines
    assert b"X-Device-Id: Claw.1" in lines and b"Content-Type: x/y" in lines
    assert body == b'{"n":1}'


async def test_a_request_without_a_body(runner: HttpRunner, serve: Callable[[Script], Server]) -> None:
    server = serve(answers(whole("200 OK", b"hello")))
    answer = await runner.send(HttpRequest("GET", server.url), 10_000)
    assert server.requests[0].startswith(b"GET / HTTP/1.1\r\n") and server.requests[0].endswith(b"\r\n\r\n")
    assert answer.body == b"hello"


@pytest.mark.parametrize("status", [200, 401, 403, 404, 429, 500, 503])
async def test_every_status_is_an_answer_and_headers_survive(
    runner: HttpRunner, serve: Callable[[Script], Server], status: int
) -> None:
    content = whole(f"{status} x", b"body", "Retry-After: 17", "DATE: Mon, 23 Nov 2026 10:00:00 GMT", "X-Odd:  Two ")
    answer = await runner.send(call(serve(answers(content)).url), 10_000)
    assert answer.status == status and answer.body == b"body"
    assert answer.header("retry-after") == "17"
    assert answer.header("date") == "Mon, 23 Nov 2026 10:00:00 GMT"
    assert answer.header("x-odd") == "Two"


async def test_a_compressed_answer_is_unpacked(runner: HttpRunner, serve: Callable[[Script], Server]) -> None:
    server = serve(answers(whole("200 OK", gzip.compress(b"hello"), "Content-Encoding: gzip")))
    assert (await runner.send(call(server.url), 10_000)).body == b"hello"
    assert b"accept-encoding: identity" in server.requests[0].lower()


async def test_many_requests_at_once(runner: HttpRunner, serve: Callable[[Script], Server]) -> None:
    barrier = threading.Barrier(12)

    def script(connection: socket.socket, request: bytes) -> None:
        barrier.wait(30)  # answered only when all of them are under way
        connection.sendall(whole("200 OK"))

    server = serve(script)
    got: list[HttpAnswer] = []

    async def one() -> None:
        got.append(await runner.send(call(server.url), 30_000))

    async with anyio.create_task_group() as group:
        for _ in range(12):
            group.start_soon(one)
    assert [answer.status for answer in got] == [200] * 12


@pytest.mark.rule("AUTH-9")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_never_carries_the_token_elsewhere(serve: Callable[[Script], Server], status: int) -> None:
    other = serve(answers(whole("200 OK")))
    server = serve(answers(whole(f"{status} Go", b"", f"Location: {other.url}/steal")))
    async with httpx2.AsyncClient(follow_redirects=True, verify=TLS, trust_env=False) as client:
        for runner in (HttpRunner(ssl_context=TLS, trust_env=False), HttpRunner(client)):
            answer = await runner.send(call(server.url), 10_000)
            assert answer.status == status and answer.header("location") == f"{other.url}/steal"
            await runner.aclose()
    assert other.requests == []


async def test_cookies_are_not_kept(runner: HttpRunner, serve: Callable[[Script], Server]) -> None:
    server = serve(answers(whole("200 OK", b"", "Set-Cookie: who=me; Path=/")))
    for _ in range(2):
        await runner.send(call(server.url), 10_000)
    assert b"cookie" not in server.requests[1].lower()


# --- ready-made clients --------------------------------------------------------------------------------------------


async def test_a_ready_made_client_keeps_its_ways_but_not_its_credentials(serve: Callable[[Script], Server]) -> None:
    server = serve(answers(whole("200 OK")))
    async with httpx2.AsyncClient(
        auth=("user", "pass"), headers={"X-Mine": "1"}, verify=TLS, trust_env=False
    ) as client:
        runner = HttpRunner(client)
        await runner.send(call(server.url), 10_000)
        await runner.aclose()
        assert not client.is_closed
    assert b"X-Mine: 1" in server.requests[0]
    assert b"Authorization: Bearer " in server.requests[0] and b"Basic" not in server.requests[0]


async def test_settings_of_an_own_client_do_not_go_with_a_ready_made_one() -> None:
    async with httpx2.AsyncClient() as client:
        with pytest.raises(ValueError, match="ready-made client"):
            HttpRunner(client, proxy="http://127.0.0.1:1")
        with pytest.raises(ValueError, match="ready-made client"):
            HttpRunner(client, ssl_context=ssl.create_default_context())
        with pytest.raises(ValueError, match="ready-made client"):
            HttpRunner(client, trust_env=False)


async def test_extra_headers_of_an_own_client(serve: Callable[[Script], Server]) -> None:
    server = serve(answers(whole("200 OK")))
    async with HttpRunner(headers={"User-Agent": "test/1"}, ssl_context=TLS, trust_env=False) as runner:
        await runner.send(call(server.url), 10_000)
    assert b"User-Agent: test/1" in server.requests[0]


# --- cancellation and logging --------------------------------------------------------------------------------------


async def test_cancelling_is_not_a_failure(runner: HttpRunner, serve: Callable[[Script], Server]) -> None:
    server = serve(answers(b""))
    server.script = server.hold
    with anyio.move_on_after(0.1) as scope:
        await runner.send(call(server.url), 30_000)
    assert scope.cancelled_caught


@pytest.mark.rule("AUTH-9")
async def test_no_log_at_any_level_has_a_token_or_a_query(
    serve: Callable[[Script], Server], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve(answers(whole("200 OK", TOKEN.encode())))
    http = HttpRequest(
        "POST", f"{server.url}/v1?signature={TOKEN}", (("authorization", f"Bearer {TOKEN}"),), TOKEN.encode()
    )
    async with HttpRunner(ssl_context=TLS, trust_env=False) as runner:
        await runner.send(http, 10_000)
        server.script = reset_at_once
        await failure(runner, http)
        await failure(runner, HttpRequest("GET", f"{server.url}/?{TOKEN}", (("authorization", f"{TOKEN}\n"),)))
    async with httpx2.AsyncClient(verify=TLS, trust_env=False) as client:
        server.script = answers(whole("200 OK"))
        await client.get(f"{server.url}/of-the-application")
    texts = [record.getMessage() for record in caplog.records] + [str(record.args) for record in caplog.records]
    assert not [text for text in texts if TOKEN in text]
    assert "POST answered with status 200" in texts
    assert any("/of-the-application" in text for text in texts)  # other users of the library keep their log


# --- clients that sessions share -----------------------------------------------------------------------------------


@pytest.mark.rule("REF-43")
async def test_a_request_has_a_connection_of_its_own(serve: Callable[[Script], Server]) -> None:
    """One that was left open may be ended by the server just when a refresh is sent on it."""
    server = serve(answers(whole("200 OK")))
    first, second = HttpRunner(trust_env=False), HttpRunner(trust_env=False)
    try:
        for runner in (first, second, first):
            assert (await runner.send(call(server.url), 10_000)).status == 200
    finally:
        await first.aclose()
        await second.aclose()
    assert len(server.requests) == 3


async def test_after_the_end_nothing_is_sent(serve: Callable[[Script], Server]) -> None:
    server = serve(answers(whole("200 OK")))
    runner = HttpRunner(trust_env=False)
    await runner.aclose()
    failed = await failure(runner, call(server.url), 10_000)
    assert not failed.sent and server.requests == []


async def test_a_request_that_is_cancelled_while_the_last_runner_ends_is_cancelled(
    serve: Callable[[Script], Server],
) -> None:
    server = serve(reset_at_once)
    server.script = server.hold
    runner = HttpRunner(trust_env=False)
    ended: list[str] = []

    async def ask() -> None:
        try:
            await runner.send(call(server.url), 30_000)
        except anyio.get_cancelled_exc_class():
            ended.append("cancelled")
            raise
        except Exception as error:
            ended.append(type(error).__name__)

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await anyio.to_thread.run_sync(server.asked.wait, 10)
        group.start_soon(runner.aclose)
        group.cancel_scope.cancel()
    assert ended == ["cancelled"]


@pytest.mark.rule("REF-43")
async def test_a_proxy_of_the_environment_that_cannot_be_used_has_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "nonsense://127.0.0.1:1")
    runner = HttpRunner()
    try:
        failed = await failure(runner, call("http://127.0.0.1:9/x"), 2_000)
    finally:
        await runner.aclose()
    assert not failed.sent
