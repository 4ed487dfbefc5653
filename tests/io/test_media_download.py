"""Downloads from a real socket, on both loops: limits, redirects, and hosts that are none of a peer's business."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from clawproto import errors
from clawproto.credentials import Identity
from clawproto.wire.values import MediaFragment
from clawproto_io import HttpRunner
from clawproto_io.media import Media, download
from tests.io.http_servers import TLS, Script, Server, answers, reset_at_once, whole

pytestmark = pytest.mark.anyio
Serve = Callable[[Script], Server]


async def fetch(runner: HttpRunner, media: Media, target: Path | None = None, **settings: Any) -> bytes | Path:
    options: dict[str, Any] = {"max_size": 1000, "allow_private": True, "timeout": 10.0, **settings}
    identity = options.pop("identity", None)
    return await download(runner, identity, media, target, **options)


def only(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


async def test_into_memory(runner: HttpRunner, serve: Serve) -> None:
    server = serve(answers(whole("200 OK", b"content")))
    assert await fetch(runner, MediaFragment("file", f"{server.url}/a?sig=x%2Fy")) == b"content"
    head = server.requests[0].lower()
    assert head.startswith(b"get /a?sig=x%2fy http/1.1")
    assert f"host: 127.0.0.1:{server.port}".encode() in head
    assert b"authorization" not in head and b"x-device-id" not in head and b"cookie" not in head


async def test_headers_of_the_applications_own_client_stay_at_home(serve: Serve) -> None:
    server = serve(answers(whole("200 OK", b"content")))
    async with httpx2.AsyncClient(
        verify=TLS, trust_env=False, headers={"Authorization": "Bearer secret"}, cookies={"session": "secret"}
    ) as client:
        assert await fetch(HttpRunner(client), server.url) == b"content"
    assert b"secret" not in server.requests[0]


async def test_into_a_file(runner: HttpRunner, serve: Serve, tmp_path: Path) -> None:
    server = serve(answers(whole("200 OK", b"content")))
    target = tmp_path / "cat.png"
    target.write_text("old")
    assert await fetch(runner, {"kind": "image", "url": server.url}, target) == target
    assert target.read_bytes() == b"content"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert only(tmp_path) == ["cat.png"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (whole("200 OK", b"x" * 1001), errors.MediaTooLarge),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 300_000, errors.MediaTooLarge),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nxx", errors.DownloadFailed),
        (whole("404 Not Found"), errors.DownloadFailed),
        (whole("200 OK", b"x", "Content-Encoding: gzip"), errors.DownloadFailed),
        (b"nonsense\r\n\r\n", errors.DownloadFailed),
        (whole("302 Found", b"", "Location: file:///etc/passwd"), errors.DownloadRefused),
        (whole("302 Found", b"", "Location: https://user:pw@h/"), errors.DownloadRefused),
        (whole("302 Found", b"", "Location: /again"), errors.DownloadRefused),
    ],
)
async def test_what_goes_wrong_leaves_nothing_behind(
    runner: HttpRunner, serve: Serve, tmp_path: Path, answer: bytes, error: type[Exception]
) -> None:
    server = serve(answers(answer))
    with pytest.raises(error) as caught:
        await fetch(runner, f"{server.url}/?signature=secret", tmp_path / "a")
    assert only(tmp_path) == []
    assert "secret" not in str(caught.value)


async def test_a_reset_and_a_host_that_is_not_there(runner: HttpRunner, serve: Serve, tmp_path: Path) -> None:
    for url in (serve(reset_at_once).url, "http://host.invalid/"):
        with pytest.raises(errors.DownloadFailed):
            await fetch(runner, url, tmp_path / "a")
    assert only(tmp_path) == []


async def test_the_time_is_limited(runner: HttpRunner, serve: Serve, tmp_path: Path) -> None:
    server = Server(lambda connection, request: None)
    server.script = server.hold
    try:
        with pytest.raises(errors.DownloadFailed, match="not complete"):
            await fetch(runner, server.url, tmp_path / "a", timeout=0.2)
    finally:
        server.close()
    assert only(tmp_path) == []


async def test_a_cancelled_download_leaves_nothing_behind(runner: HttpRunner, tmp_path: Path) -> None:
    server = Server(lambda connection, request: None)
    server.script = server.hold
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fetch, runner, server.url, tmp_path / "a")
            await anyio.to_thread.run_sync(server.asked.wait)
            assert only(tmp_path) != []
            tasks.cancel_scope.cancel()
    finally:
        server.close()
    assert only(tmp_path) == []


async def test_a_target_that_cannot_be_written(runner: HttpRunner, serve: Serve, tmp_path: Path) -> None:
    server = serve(answers(whole("200 OK", b"content")))
    with pytest.raises(OSError):
        await fetch(runner, server.url, tmp_path / "missing" / "a")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        await fetch(runner, server.url, tmp_path / "folder")
    assert only(tmp_path) == ["folder"]


# --- private networks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "2130706433", "10.0.0.1"])
async def test_hosts_in_private_networks_are_refused(runner: HttpRunner, serve: Serve, host: str) -> None:
    server = serve(answers(whole("200 OK")))
    with pytest.raises(errors.DownloadRefused, match="private"):
        await fetch(runner, f"http://{host}:{server.port}/", allow_private=False)
    assert server.requests == []


async def test_a_redirect_into_a_private_network_is_refused(
    runner: HttpRunner, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = serve(answers(whole("200 OK")))
    outside = serve(answers(whole("302 Found", b"", f"Location: http://inside.test:{inside.port}/")))
    public_names(monkeypatch, {"outside.test": ["127.0.0.1"], "inside.test": ["127.0.0.1"]}, {"outside.test"})
    with pytest.raises(errors.DownloadRefused, match="private"):
        await fetch(runner, f"http://outside.test:{outside.port}/", allow_private=False)
    assert len(outside.requests) == 1 and inside.requests == []


async def test_one_private_address_among_several_is_enough_to_refuse(
    runner: HttpRunner, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(answers(whole("200 OK")))
    public_names(monkeypatch, {"mixed.test": ["8.8.8.8", "10.0.0.1"]}, set())
    with pytest.raises(errors.DownloadRefused, match="private"):
        await fetch(runner, f"http://mixed.test:{server.port}/", allow_private=False)


async def test_the_connection_goes_to_the_address_that_was_checked(
    runner: HttpRunner, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that resolves to something else the second time leads nowhere else: it is not asked a second time."""
    server = serve(answers(whole("200 OK", b"content")))
    asked = public_names(monkeypatch, {"rebinding.test": ["127.0.0.1"]}, {"rebinding.test"})
    assert await fetch(runner, f"http://rebinding.test:{server.port}/", allow_private=False) == b"content"
    assert asked == ["rebinding.test"]
    assert f"host: rebinding.test:{server.port}".encode() in server.requests[0].lower()


async def test_the_own_server_may_be_in_a_private_network(runner: HttpRunner, serve: Serve) -> None:
    server, other = serve(answers(whole("200 OK", b"content"))), serve(answers(whole("200 OK")))
    identity = Identity("usr_1", "d", server.url, "ws://x/ws")
    assert await fetch(runner, f"{server.url}/m", allow_private=False, identity=identity) == b"content"
    with pytest.raises(errors.DownloadRefused, match="private"):
        await fetch(runner, other.url, allow_private=False, identity=identity)


async def test_a_fragment_without_an_address_is_refused(runner: HttpRunner) -> None:
    with pytest.raises(errors.DownloadRefused, match="no address"):
        await fetch(runner, {"kind": "image"})


def public_names(monkeypatch: pytest.MonkeyPatch, names: dict[str, list[str]], public: set[str]) -> list[str]:
    """Let names resolve to these addresses; the loopback address counts as public for those in ``public``. Returns
    the list of names that were asked for."""
    asked: list[str] = []

    async def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in names[host]]

    def is_public(address: str) -> bool:
        return address != "10.0.0.1" and bool(asked) and asked[-1] in public | {"mixed.test"}

    monkeypatch.setattr("clawproto_io.media.anyio.getaddrinfo", getaddrinfo)
    monkeypatch.setattr("clawproto_io.media.is_public", is_public)
    return asked
