"""Requests that fail: was it sent or not? Against local servers that misbehave in every way."""

import gzip
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import anyio
import httpx2
import pytest

from clawproto.http import HttpRequest
from clawproto_io import HttpRunner
from tests.io.http_servers import (
    TLS,
    TOKEN,
    Script,
    Server,
    answers,
    call,
    failure,
    reset,
    reset_at_once,
    unused_port,
    whole,
)

pytestmark = pytest.mark.anyio


# --- not sent ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("REF-43", "PAIR-6")
async def test_a_refused_connection_was_not_sent(runner: HttpRunner) -> None:
    error = await failure(runner, call(f"http://127.0.0.1:{unused_port()}/"))
    assert not error.sent and error.detail.startswith("could not connect")


@pytest.mark.rule("REF-43", "PAIR-6")
async def test_an_unknown_name_was_not_sent(runner: HttpRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    error = await failure(runner, call("http://hub.example/"))
    assert not error.sent and error.detail == "could not connect: Name or service not known"


@pytest.mark.rule("REF-43", "PAIR-7")
async def test_a_name_lookup_that_hangs_ends_with_the_deadline(
    runner: HttpRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def lookup(host: str, port: int, family: int = 0, kind: int = 0, proto: int = 0, flags: int = 0) -> list[object]:
        if flags & socket.AI_NUMERICHOST:  # a quick look that trio takes first, without a thread
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        release.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    try:
        with anyio.fail_after(20):
            error = await failure(runner, call("http://hub.example/"), 100)
    finally:
        release.set()
    assert not error.sent and "timed out" in error.detail


@pytest.mark.rule("REF-43")
async def test_a_host_that_does_not_accept_was_not_sent(runner: HttpRunner) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        crowd = [socket.socket() for _ in range(3)]  # fills the queue; the next connect hangs
        for member in crowd:
            member.setblocking(False)
            member.connect_ex(listener.getsockname())
        error = await failure(runner, call(f"http://127.0.0.1:{listener.getsockname()[1]}/"), 150)
        assert not error.sent and "timed out" in error.detail
        for member in crowd:
            member.close()


@pytest.mark.rule("REF-43")
async def test_a_failed_tls_handshake_was_not_sent(runner: HttpRunner, serve: Callable[[Script], Server]) -> None:
    class Plain(Server):
        def _serve(self, connection: socket.socket) -> None:
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server = Plain(answers(b""))
    error = await failure(runner, call(f"https://127.0.0.1:{server.port}/"))
    server.close()
    assert not error.sent and error.detail.startswith("TLS failed: ")


@pytest.mark.rule("REF-43")
async def test_a_tls_handshake_that_hangs_was_not_sent(runner: HttpRunner, serve: Callable[[Script], Server]) -> None:
    server = serve(answers(b""))  # waits for the end of a request head, which never comes
    error = await failure(runner, call(f"https://127.0.0.1:{server.port}/"), 150)
    assert not error.sent and "timed out" in error.detail


@pytest.mark.rule("REF-43", "AUTH-9")
@pytest.mark.parametrize(
    "value", [f"Bearer {TOKEN}\n", f"Bearer {TOKEN}\r\nX: y", f"{TOKEN}é", f"{TOKEN}\x00", TOKEN + " "]
)
async def test_a_header_that_cannot_be_sent(runner: HttpRunner, serve: Callable[[Script], Server], value: str) -> None:
    server = serve(answers(whole("200 OK")))
    error = await failure(runner, HttpRequest("GET", server.url, (("authorization", value),)))
    assert not error.sent and error.detail == "header 'authorization' cannot be sent"
    assert server.requests == []


@pytest.mark.rule("REF-43")
@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "no address", "http://[::bad/", "http://127.0.0.1:99999999/"])
async def test_an_unusable_address_was_not_sent(runner: HttpRunner, url: str) -> None:
    assert not (await failure(runner, call(url))).sent


@pytest.mark.rule("REF-43")
async def test_waiting_for_a_free_connection_was_not_sent(serve: Callable[[Script], Server]) -> None:
    server = serve(answers(b""))
    server.script = server.hold
    client = httpx2.AsyncClient(limits=httpx2.Limits(max_connections=1), verify=TLS, trust_env=False)
    runner = HttpRunner(client)
    async with client, anyio.create_task_group() as group:
        group.start_soon(runner.send, call(server.url), 30_000)
        await anyio.to_thread.run_sync(server.asked.wait, 30)
        error = await failure(runner, call(server.url), 100)
        assert not error.sent and error.detail == "timed out while waiting for a free connection"
        group.cancel_scope.cancel()


# --- sent, answer unknown ------------------------------------------------------------------------------------------


def reset_in_the_body(connection: socket.socket, request: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    reset(connection)


ROUGH: dict[str, Script] = {
    "reset": reset_at_once,
    "reset in the body": reset_in_the_body,
    "end of stream": answers(b""),
    "end in the head": answers(b"HTTP/1.1 200 OK\r\nContent-"),
    "end in the body": answers(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"),
    "end in a chunk": answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nhalf"),
    "no HTTP": answers(f"{TOKEN} is what I think of your token\r\n\r\n".encode()),
    "bad header": answers(f"HTTP/1.1 200 OK\r\nbad header {TOKEN}\r\n\r\n".encode()),
    "huge head": answers(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000 + b"\r\n\r\n"),
    "bad compression": answers(whole("200 OK", b"not gzip", "Content-Encoding: gzip")),
}


@pytest.mark.rule("REF-43", "PAIR-7", "AUTH-9")
@pytest.mark.parametrize("kind", ROUGH)
async def test_whatever_fails_after_the_first_byte_was_sent(
    runner: HttpRunner, serve: Callable[[Script], Server], kind: str
) -> None:
    server = serve(ROUGH[kind])
    error = await failure(runner, call(server.url))
    assert error.sent and error.detail
    assert len(server.requests) == 1  # and nothing repeats it


@pytest.mark.rule("REF-43", "PAIR-7")
async def test_a_server_that_never_answers_was_sent(runner: HttpRunner, serve: Callable[[Script], Server]) -> None:
    server = serve(answers(b""))
    server.script = server.hold
    error = await failure(runner, call(server.url), 150)
    assert error.sent and error.detail == "timed out"


@pytest.mark.rule("PAIR-7")
async def test_the_deadline_holds_for_a_body_that_drips(runner: HttpRunner, serve: Callable[[Script], Server]) -> None:
    done = threading.Event()

    def drip(connection: socket.socket, request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        with suppress(OSError):
            while not done.wait(0.01):
                connection.sendall(b"x")

    server = serve(drip)
    with anyio.fail_after(20):
        error = await failure(runner, call(server.url), 200)
    done.set()
    assert error.sent and error.detail == "timed out"


@pytest.mark.parametrize("kind", ["declared", "endless", "compressed"])
async def test_an_answer_that_is_too_large_is_cut_off(
    runner: HttpRunner, serve: Callable[[Script], Server], kind: str
) -> None:
    def endless(connection: socket.socket, request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:  # until the client hangs up
            connection.sendall(b"x" * 65536)

    scripts = {
        "declared": answers(whole("200 OK", b"x" * 100_001)),
        "endless": endless,
        "compressed": answers(whole("200 OK", gzip.compress(b"x" * 1_000_000), "Content-Encoding: gzip")),
    }
    error = await failure(runner, call(serve(scripts[kind]).url))
    assert error.sent and error.detail == "the answer is too large"


async def test_an_answer_at_the_limit_is_taken(runner: HttpRunner, serve: Callable[[Script], Server]) -> None:
    answer = await runner.send(call(serve(answers(whole("200 OK", b"x" * 100_000))).url), 10_000)
    assert len(answer.body) == 100_000


# --- proxies -------------------------------------------------------------------------------------------------------


async def test_plain_requests_go_through_the_proxy(serve: Callable[[Script], Server]) -> None:
    proxy = serve(answers(whole("200 OK", b"by proxy")))
    async with HttpRunner(proxy=proxy.url, ssl_context=TLS, trust_env=False) as runner:
        assert (await runner.send(call("http://hub.example/v1"), 10_000)).body == b"by proxy"
    assert proxy.requests[0].startswith(b"POST http://hub.example/v1 HTTP/1.1")


@pytest.mark.rule("REF-43")
@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (whole("403 Forbidden"), "the proxy refused"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "TLS failed"),
        (b"", "the server broke off or did not speak HTTP"),
    ],
)
async def test_a_tunnel_that_fails_was_not_sent(serve: Callable[[Script], Server], answer: bytes, detail: str) -> None:
    proxy = serve(answers(answer))
    async with HttpRunner(proxy=proxy.url, ssl_context=TLS, trust_env=False) as runner:
        error = await failure(runner, call("https://hub.example/v1"))
    assert not error.sent and error.detail.startswith(detail)
    assert len(proxy.requests) == 1 and proxy.requests[0].startswith(b"CONNECT hub.example:443 ")
    assert TOKEN.encode() not in proxy.requests[0]


@pytest.mark.rule("REF-43")
async def test_a_proxy_that_is_not_there_was_not_sent() -> None:
    async with HttpRunner(
        proxy=f"http://user:{TOKEN}@127.0.0.1:{unused_port()}", ssl_context=TLS, trust_env=False
    ) as runner:
        assert not (await failure(runner, call("https://hub.example/v1"))).sent


# --- ready-made clients --------------------------------------------------------------------------------------------


@pytest.mark.rule("REF-43")
@pytest.mark.parametrize(
    ("error", "sent"),
    [
        (httpx2.ConnectError(TOKEN), False),
        (httpx2.ConnectTimeout(TOKEN), False),
        (httpx2.PoolTimeout(TOKEN), False),
        (httpx2.ProxyError(TOKEN), False),
        (httpx2.ReadTimeout(TOKEN), True),
        (httpx2.ReadError(TOKEN), True),
        (httpx2.WriteError(TOKEN), True),
        (httpx2.RemoteProtocolError(TOKEN), True),
        (RuntimeError(TOKEN), True),
    ],
)
async def test_a_transport_that_does_not_trace_is_judged_by_its_exceptions(error: Exception, sent: bool) -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        raise error

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(handler)) as client:
        assert (await failure(HttpRunner(client), call("http://hub.example/"))).sent is sent


@pytest.mark.rule("REF-43")
async def test_the_deadline_of_a_transport_that_does_not_trace_counts_as_sent() -> None:
    async def handler(request: httpx2.Request) -> httpx2.Response:
        await anyio.sleep_forever()
        raise AssertionError

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(handler)) as client:
        assert (await failure(HttpRunner(client), call("http://hub.example/"), 10)).sent
