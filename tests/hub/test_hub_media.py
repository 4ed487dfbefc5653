"""Uploads: names, types, limits, and how objects are served."""

from typing import Any

import pytest

from clawproto.hub import HttpReceived, HttpRespond, HubSettings
from tests.hub.harness import Frame, World, answered

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


def upload(
    world: World,
    content: bytes,
    *,
    filename: str | None = None,
    mime: str | None = None,
    name: str = "file",
    token: str | None = None,
    path: str = "/media/upload",
) -> tuple[int, Frame]:
    disposition = f'form-data; name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
    head = f"--b0\r\nContent-Disposition: {disposition}\r\n" + ("" if mime is None else f"Content-Type: {mime}\r\n")
    headers = {"content-type": "multipart/form-data; boundary=b0", "host": "h:1"}
    if token != "":
        headers["authorization"] = f"Bearer {token or world.agent().access_token}"
    body = head.encode() + b"\r\n" + content + b"\r\n--b0--\r\n"
    world.http_effects.clear()
    world.handle(HttpReceived(1, "POST", path, {}, headers, body))
    return answered(world.http_effects[0])


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.rule("MEDIA-6", "MEDIA-7")
@pytest.mark.parametrize(
    ("filename", "mime", "name", "kind"),
    [
        ("Photo.JPG", "image/jpeg", "Photo.jpg", "image"),
        (None, "video/mp4", "file", "video"),
        ("../../etc/Pass Wd", "audio/ogg", "Pass_Wd", "audio"),
        ("notes.TXT", "text/plain", "notes.txt", "file"),
        ("", "application/pdf", "file", "file"),
    ],
)
def test_kind_and_name(world: World, filename: str | None, mime: str, name: str, kind: str) -> None:
    status, envelope = upload(world, b"abc", filename=filename, mime=mime)
    assert (status, envelope["code"]) == (200, 0)
    data = envelope["data"]
    assert data.keys() == {"kind", "url", "name", "mime", "size"}
    assert (data["name"], data["kind"], data["mime"], data["size"]) == (name, kind, mime, 3)
    assert data["url"].startswith("http://h:1/media/")


@pytest.mark.rule("MEDIA-9")
@pytest.mark.parametrize(
    ("declared", "content", "mime"),
    [
        ("image/gif", PNG, "image/gif"),
        (None, PNG, "image/png"),
        ("application/octet-stream", PNG, "image/png"),
        ("image/*", PNG, "image/png"),
        ("image/gif, image/png", PNG, "image/png"),
        ("text/plain; charset=utf-8", b"x", "text/plain"),
        (None, b"RIFF....WEBPVP8 ", "image/webp"),
        (None, b"....ftypheic", "image/heic"),
        (None, b"....ftypisom", "video/mp4"),
        (None, b"<!DOCTYPE html><p>", "text/html"),
        (None, b"plain words", "text/plain"),
        (None, b"\x00\x01\x02", "application/octet-stream"),
        (None, b"x" * 512 + b"\0", "text/plain"),
    ],
)
def test_types_are_believed_or_sniffed(world: World, declared: str | None, content: bytes, mime: str) -> None:
    assert upload(world, content, mime=declared)[1]["data"]["mime"] == mime


@pytest.mark.rule("MEDIA-8", "LIM-5")
def test_the_limit_is_100_mib_and_every_type_is_accepted() -> None:
    assert HubSettings().upload_limit == 100 * 1024 * 1024
    world = World(HubSettings(upload_limit=10))
    assert upload(world, b"x" * 10, mime="application/x-anything")[0] == 200
    status, envelope = upload(world, b"x" * 11)
    assert (status, envelope["code"]) == (413, 41301)
    assert "data" not in envelope


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"content": b""}, (400, 40002)),
        ({"content": b"x", "name": "other"}, (400, 40001)),
        ({"content": b"x", "token": ""}, (401, 40101)),
        ({"content": b"x", "token": "bad"}, (401, 40101)),
    ],
)
def test_refused_uploads(world: World, arguments: Any, expected: tuple[int, int]) -> None:
    status, envelope = upload(world, **arguments)
    assert (status, envelope["code"]) == expected


def test_storage_trouble_can_be_scripted(world: World) -> None:
    world.hub.fail_http("/media/upload", "status", 503, code=50301)
    status, envelope = upload(world, b"x")
    assert (status, envelope["code"]) == (503, 50301)
    assert upload(world, b"x", path="/v1/files/upload-url")[0] == 200


@pytest.mark.rule("MEDIA-10")
@pytest.mark.parametrize(
    ("mime", "disposition"),
    [
        ("image/png", "inline"),
        ("image/avif", "inline"),
        ("video/x-odd", "inline"),
        ("audio/ogg", "inline"),
        ("image/svg+xml", "attachment"),
        ("text/html", "attachment"),
        ("application/pdf", "attachment"),
    ],
)
def test_what_is_served_inline(world: World, mime: str, disposition: str) -> None:
    url = upload(world, PNG, mime=mime)[1]["data"]["url"]
    outcome = world.http("GET", url.removeprefix("http://h:1"))
    assert isinstance(outcome, HttpRespond)
    headers = dict(outcome.headers)
    assert (headers["content-type"], headers["content-disposition"]) == (mime, disposition)
    assert outcome.body == PNG


def test_old_objects_make_room() -> None:
    world = World(HubSettings(upload_limit=10))
    paths = [upload(world, b"x" * 8)[1]["data"]["url"].removeprefix("http://h:1") for _ in range(3)]
    assert [answered(world.http("GET", paths[0]))[0], *(_status(world, path) for path in paths[1:])] == [404, 200, 200]


def _status(world: World, path: str) -> int:
    outcome = world.http("GET", path)
    assert isinstance(outcome, HttpRespond)
    return outcome.status
