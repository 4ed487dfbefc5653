"""Uploads streamed from disk, downloads streamed to disk, on any loop.

Rules: MEDIA-1 to MEDIA-5, MEDIA-8, MEDIA-11, FRAG-5, REST-4.

A download leads wherever somebody else's message says. So its host is looked up once, every address of it must be a
public one, and the connection goes to the very address that was checked; redirects are followed in the same way. No
token ever goes with it.
"""

import mimetypes
import os
import secrets
import socket
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TypeAlias
from urllib.parse import SplitResult, urljoin

import anyio
import anyio.to_thread
import httpx2

from clawproto import calls, errors
from clawproto.credentials import Identity
from clawproto.json_types import Json
from clawproto.media import build_upload, check_size, download_address, fragment_of, is_public, origin_of, refusal_of
from clawproto.results import RestRefused
from clawproto.wire.values import MediaFragment
from clawproto_io.http import HttpRunner
from clawproto_io.session_http import SessionHttp
from clawproto_io.streams import Call

Progress: TypeAlias = Callable[[int, int], None]
Media: TypeAlias = MediaFragment | Mapping[str, Json] | str
_CHUNK = 256 * 1024  # bytes
_REDIRECTS = 5
_REDIRECT_STATUSES = (301, 302, 303, 307, 308)

# --- uploads -------------------------------------------------------------------------------------------------------


class _Source:
    """The content of one upload, and who watches it go.

    Attributes:
        error: what the watcher raised.
    """

    def __init__(self, content: bytes | Path, size: int, progress: Progress | None) -> None:
        self.error: BaseException | None = None
        self._content = content
        self._size = size
        self._progress = progress
        self._withdrawn = False

    def withdraw(self) -> None:
        """Nobody waits for it any more: the next chunk is not read."""
        self._withdrawn = True

    async def chunks(self) -> AsyncGenerator[bytes]:
        sent = 0
        self._tell(0)
        async with aclosing(self._read()) as chunks:
            async for chunk in chunks:
                if self._withdrawn:
                    return
                yield chunk
                sent += len(chunk)
                self._tell(sent)

    async def _read(self) -> AsyncGenerator[bytes]:
        if isinstance(self._content, bytes):
            for start in range(0, len(self._content), _CHUNK):
                yield self._content[start : start + _CHUNK]
            return
        # Opened and closed on the spot, not on a thread: wherever the upload is cancelled, the file is closed.
        with self._content.open("rb") as file:
            while chunk := await anyio.to_thread.run_sync(file.read, _CHUNK):
                yield chunk

    def _tell(self, sent: int) -> None:
        if self._progress is not None:
            try:
                self._progress(sent, self._size)
            except BaseException as error:
                self.error = error
                raise


_last_source = 0


async def upload(
    call: Call,
    runner: SessionHttp | HttpRunner,
    content: bytes | str | os.PathLike[str],
    *,
    name: str | None,
    mime: str | None,
    progress: Progress | None,
    width: int | None,
    height: int | None,
    duration: int | None,
) -> dict[str, Json]:
    """See `clawproto_io.actions.Actions.upload`."""
    global _last_source  # noqa: PLW0603  (numbers are unique in the process, whichever runner they go to)
    if isinstance(content, bytes):
        size, name = len(content), name or "file"
        source = _Source(content, size, progress)
    else:
        path = Path(content)
        size, name = await anyio.to_thread.run_sync(_size_of, path), name or path.name
        source = _Source(path, size, progress)
    check_size(size)
    if mime is None:
        mime = mimetypes.guess_type(name)[0]
    _last_source += 1
    number, boundary = _last_source, secrets.token_hex(16)
    runner.sources[number] = source
    try:
        result = await call(lambda command: build_upload(command, number, size, name, mime, boundary))
        if source.error is not None:
            raise source.error
        if isinstance(result, RestRefused):
            raise refusal_of(result.status, result.code, result.text)
        answer = calls.answer_of(result)
    finally:
        source.withdraw()
        del runner.sources[number]
    return fragment_of(answer.data, width=width, height=height, duration=duration)


def _size_of(path: Path) -> int:
    with path.open("rb") as file:  # it must be readable, not only there
        return os.fstat(file.fileno()).st_size


# --- downloads -----------------------------------------------------------------------------------------------------


async def download(
    runner: SessionHttp | HttpRunner,
    identity: Identity | None,
    media: Media,
    target: str | os.PathLike[str] | None,
    *,
    max_size: int,
    allow_private: bool,
    timeout: float,
) -> bytes | Path:
    """See `clawproto_io.actions.Actions.download`."""
    url = _url_of(media)
    home = None if identity is None else origin_of(download_address(identity.base_url))
    sink = _Memory() if target is None else _File(Path(target))
    try:
        with anyio.fail_after(timeout):
            await sink.open()
            # Single steps end a little before the whole: after a timeout of its own the library closes the socket.
            await _fetch(runner, url, home, sink, max_size, allow_private, timeout * 0.9)
            return await sink.finish()
    except TimeoutError:
        raise errors.DownloadFailed(None, f"not complete within {timeout:g} s") from None
    except httpx2.TimeoutException:
        raise errors.DownloadFailed(None, f"not complete within {timeout:g} s") from None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise errors.DownloadFailed(None, f"failed with {type(error).__name__}") from None
    finally:
        with anyio.CancelScope(shield=True):
            await sink.discard()


def _url_of(media: Media) -> str:
    url = media if isinstance(media, str) else media.url if isinstance(media, MediaFragment) else media.get("url")
    if not isinstance(url, str):
        raise errors.DownloadRefused("the fragment has no address")
    return url


async def _fetch(
    runner: SessionHttp | HttpRunner,
    url: str,
    home: tuple[str, str, int] | None,
    sink: "_Memory | _File",
    max_size: int,
    allow_private: bool,
    timeout: float,
) -> None:
    for _ in range(_REDIRECTS + 1):
        parts = download_address(url)
        address = await _checked_address(parts, free=allow_private or origin_of(parts) == home)
        host = f"[{address}]" if ":" in address else address
        port = "" if parts.port is None else f":{parts.port}"
        pinned = parts._replace(netloc=f"{host}{port}", fragment="").geturl()
        headers = {"host": parts.netloc, "accept-encoding": "identity"}
        server_name = parts.hostname if parts.scheme == "https" else None
        async with runner.open(pinned, headers, timeout, server_name) as response:
            if response.status_code in _REDIRECT_STATUSES and "location" in response.headers:
                url = urljoin(url, response.headers["location"])
                continue
            await _save(response, sink, max_size)
            return
    raise errors.DownloadRefused("too many redirects")


async def _checked_address(parts: SplitResult, *, free: bool) -> str:
    """The address to connect to. Every address of the host must be public, unless ``free``."""
    _, host, port = origin_of(parts)
    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise errors.DownloadFailed(None, "the host is not known") from None
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses:
        raise errors.DownloadFailed(None, "the host is not known")
    if not free and not all(map(is_public, addresses)):
        raise errors.DownloadRefused("the host is in a private network")
    return addresses[0]


async def _save(response: httpx2.Response, sink: "_Memory | _File", max_size: int) -> None:
    if not response.is_success:
        raise errors.DownloadFailed(response.status_code, f"HTTP {response.status_code}")
    if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise errors.DownloadFailed(response.status_code, "it has an encoding that was not asked for")
    announced = response.headers.get("content-length", "")
    if announced.isdigit() and len(announced) < 20 and int(announced) > max_size:
        raise errors.MediaTooLarge(int(announced), max_size)
    size = 0
    try:
        async for chunk in response.aiter_raw(_CHUNK):
            size += len(chunk)
            if size <= max_size:
                await sink.write(chunk)
            else:
                await response.aclose()  # and let the iteration run dry, which it does at once now; see `HttpRunner`
    except httpx2.HTTPError:
        if size <= max_size:
            raise
    if size > max_size:
        raise errors.MediaTooLarge(None, max_size)


class _Memory:
    """Gathers a download."""

    def __init__(self) -> None:
        self._content = bytearray()

    async def open(self) -> None:
        pass

    async def write(self, chunk: bytes) -> None:
        self._content += chunk

    async def finish(self) -> bytes:
        return bytes(self._content)

    async def discard(self) -> None:
        self._content.clear()


class _File:
    """Writes a download next to its target and renames it at the end: never half a file under the final name."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._partial = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}.part")
        self._file: anyio.AsyncFile[bytes] | None = None

    async def open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        # a handle is not lost to a cancellation in between: opening is quick, and on this thread
        self._file = anyio.wrap_file(os.fdopen(os.open(self._partial, flags, 0o600), "wb"))

    async def write(self, chunk: bytes) -> None:
        assert self._file is not None
        await self._file.write(chunk)

    async def finish(self) -> Path:
        assert self._file is not None
        await self._file.aclose()
        await anyio.to_thread.run_sync(os.replace, self._partial, self._target)
        return self._target

    async def discard(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                await self._file.aclose()
        self._partial.unlink(missing_ok=True)
