"""The HTTP runner against real local servers that behave, and against many that do not."""

import gzip
import logging
import socket
import ssl
import struct
import threading
import traceback
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import suppress

import anyio
import httpx2
import pytest

from clawproto.http import HttpAnswer, HttpRequest
from clawproto_io import HttpFailure, HttpRunner

pytestmark = pytest.mark.anyio

TOKEN = "-".join(["very", "secret", "token"])
TLS = ssl.create_default_context()  # loaded once; loading it takes longer than most of these tests
Script = Callable[[socket.socket, bytes], None]


class Server:
    """Reads one request a connection, notes it, and lets ``script`` do what it likes with the socket."""

    def __init__(self, script: Script) -> None:
        self.requests: list[bytes] = []
        self.script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._released = threading.Event()
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def hold(self, connection: socket.socket, request: bytes) -> None:
        """A script: never answer."""
        self._released.wait(30)

    def close(self) -> None:
        self._released.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(30)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(30)
            request = b""
            while b"\r\n\r\n" not in request:
                chunk = connection.recv(65536)
                if not chunk:
                    break
                request += chunk
            head, _, body = request.partition(b"\r\n\r\n")
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    while len(body) < int(line.split(b":")[1]):
                        body += connection.recv(65536)
            self.requests.append(head + b"\r\n\r\n" + body)
            self.script(connection, self.requests[-1])


def answers(content: bytes) -> Script:
    def script(connection: socket.socket, request: bytes) -> None:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):  # to close with unread bytes would be a reset
            pass

    return script


def whole(status: str, body: bytes = b"{}", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.fixture
def serve() -> Generator[Callable[[Script], Server]]:
    servers: list[Server] = []

    def start(script: Script) -> Server:
        servers.append(Server(script))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
async def runner() -> AsyncGenerator[HttpRunner]:
    async with HttpRunner(ssl_context=TLS, trust_env=False, body_limit=100_000) as made:
        yield made


def call(url: str, body: bytes | None = b'{"n":1}') -> HttpRequest:
    return HttpRequest(
        "POST", url, (("Authorization", f"Bearer {TOKEN}"), ("X-Device-Id", "Claw.1"), ("Content-Type", "x/y")), body
    )


async def failure(runner: HttpRunner, http: HttpRequest, timeout_ms: int = 10_000) -> HttpFailure:
    with pytest.raises(HttpFailure) as caught:
        await runner.send(http, timeout_ms)
    assert TOKEN not in "".join(traceback.format_exception(caught.value)) and TOKEN not in repr(caught.value)
    assert caught.value.__cause__ is None and caught.value.__context__ is None
    return caught.value


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


# --- not sent ------------------------------------------------------------------------------------------------------


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


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

    def lookup(host: str, port: int, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> list[object]:
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
        while not server.requests:
            await anyio.sleep(0.001)
        error = await failure(runner, call(server.url), 100)
        assert not error.sent and error.detail == "timed out while waiting for a free connection"
        group.cancel_scope.cancel()


# --- sent, answer unknown ------------------------------------------------------------------------------------------


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def reset_at_once(connection: socket.socket, request: bytes) -> None:
    reset(connection)


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
