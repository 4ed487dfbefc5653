"""The HTTP of a session, which is loaded while its socket opens."""

import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
import httpx2
import pytest

import clawproto_io.http
from clawproto.http import FileBody, HttpRequest
from clawproto_io import HttpFailure, HttpRunner, session_http
from clawproto_io.session_http import SessionHttp
from tests.io.http_servers import TLS, Script, Server, answers, call, whole

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def first_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has loaded nothing yet."""
    monkeypatch.setattr(session_http, "_loaded", False)


@asynccontextmanager
async def session() -> AsyncGenerator[SessionHttp]:
    http = SessionHttp(ssl_context=TLS, trust_env=True)
    try:
        yield http
    finally:
        await http.aclose()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Loading lasts until this is set."""
    may_go_on = threading.Event()

    class Slow(HttpRunner):
        def __init__(self, *arguments: object, **settings: object) -> None:
            assert may_go_on.wait(30)
            super().__init__(ssl_context=TLS)

    monkeypatch.setattr(clawproto_io.http, "HttpRunner", Slow)
    return may_go_on


def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is not there."""
    monkeypatch.setitem(sys.modules, "clawproto_io.http", None)


async def test_a_request_loads_what_it_needs(serve: Callable[[Script], Server]) -> None:
    server = serve(answers(whole("200 OK", b"hello")))
    async with session() as http:
        assert (await http.send(call(server.url), 10_000)).body == b"hello"
        await http.load()
        assert (await http.send(call(server.url), 10_000)).body == b"hello"
    assert len(server.requests) == 2


async def test_loading_is_done_on_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []

    class Noting(HttpRunner):
        def __init__(self, *arguments: object, **settings: object) -> None:
            threads.append(threading.current_thread())
            super().__init__(ssl_context=TLS)

    monkeypatch.setattr(clawproto_io.http, "HttpRunner", Noting)
    async with session() as http, session() as other:
        await http.load()
        await http.load()
        await other.load()
    assert [thread is threading.current_thread() for thread in threads] == [False, True], "the second is quick"


async def test_a_request_waits_for_the_loading(slow: threading.Event, serve: Callable[[Script], Server]) -> None:
    server = serve(answers(whole("200 OK", b"hello")))
    answered = anyio.Event()
    async with session() as http, anyio.create_task_group() as group:
        group.start_soon(http.load)

        async def ask() -> None:
            await http.send(call(server.url), 30_000)
            answered.set()

        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        assert not answered.is_set() and server.requests == []
        slow.set()
    assert answered.is_set() and len(server.requests) == 1


@pytest.mark.rule("REF-43", "PAIR-7")
async def test_loading_counts_for_the_time_of_a_request(slow: threading.Event) -> None:
    http = SessionHttp(ssl_context=TLS)
    began = time.monotonic()
    with pytest.raises(HttpFailure) as caught:
        await http.send(call("http://127.0.0.1:9"), 50)
    assert not caught.value.sent and caught.value.detail == "timed out"
    assert time.monotonic() - began < 20, "the thread goes on by itself"
    slow.set()
    await http.load()
    await http.aclose()


@pytest.mark.rule("REF-43")
async def test_what_cannot_be_loaded_was_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async with session() as http:
        with monkeypatch.context() as patch:
            missing(patch)
            with pytest.raises(HttpFailure) as caught:
                await http.send(call("http://127.0.0.1:9"), 10_000)
            assert not caught.value.sent
            assert caught.value.detail == "HTTP cannot be used: ModuleNotFoundError"
            assert caught.value.__cause__ is None and caught.value.__context__ is None
            with pytest.raises(ModuleNotFoundError):
                await http.load()
        await http.load()  # it is tried again


async def test_cancelling_the_loading_ends_the_waiting(slow: threading.Event) -> None:
    http = SessionHttp(ssl_context=TLS)
    with anyio.move_on_after(0.01) as scope:
        await http.load()
    assert scope.cancelled_caught
    slow.set()
    await http.load()
    await http.aclose()


async def test_settings_are_checked_at_once() -> None:
    with pytest.raises(ValueError, match="proxy"):
        SessionHttp(proxy="nonsense://nowhere")
    async with httpx2.AsyncClient(verify=TLS) as client:
        with pytest.raises(ValueError, match="ready-made client"):
            SessionHttp(client, ssl_context=TLS)
        ready = SessionHttp(client)
        await ready.aclose()
        assert not client.is_closed, "it belongs to somebody else"


async def test_closing_before_anything_was_loaded() -> None:
    await SessionHttp().aclose()


async def test_uploads_find_their_content(serve: Callable[[Script], Server]) -> None:
    class Content:
        async def chunks(self) -> AsyncGenerator[bytes]:
            yield b"abc"

    server = serve(answers(whole("200 OK")))
    async with session() as http:
        http.sources[7] = Content()
        await http.send(HttpRequest("POST", server.url, file=FileBody(7, b"<", b">", 3)), 10_000)
        async with http.open(server.url, {}, 10.0, None) as response:
            assert response.status_code == 200
    assert server.requests[0].endswith(b"<abc>")
