"""Media: what an upload consists of and brings back, and what may be downloaded. Nothing here does IO.

Rules: MEDIA-1 to MEDIA-5, MEDIA-8, MEDIA-11, FRAG-5.

An upload is a `clawproto.events.CallRest` whose body is a `clawproto.http.FileBody`; its answer becomes a fragment.
"""

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

from clawproto import errors
from clawproto.events import CallRest
from clawproto.http import FileBody
from clawproto.json_types import Json

UPLOAD_PATH: Final = "/media/upload"
UPLOAD_LIMIT: Final = 100 * 1024 * 1024  # bytes, MEDIA-8
UPLOAD_TIMEOUT_MS: Final = 600_000
UNAUTHORIZED: Final = 40101  # MEDIA-3
TOO_LARGE: Final = 41301
KINDS: Final = ("image", "video", "audio", "file")
RETENTION_MS: Final = 15 * 24 * 60 * 60 * 1000
"""How long an object is kept (MEDIA-11). Its address cannot be renewed, and a signed one ends after 7 days (FRAG-5)."""

_TYPE: Final = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+", re.ASCII)
_FIELDS: Final = {"kind": str, "url": str, "name": str, "mime": str, "size": int}
_GENERIC: Final = "application/octet-stream"

# --- uploads -------------------------------------------------------------------------------------------------------


def check_size(size: int) -> None:
    """Before anything is sent (MEDIA-8).

    Raises:
        MediaTooLarge: more than 100 MiB.
        ValueError: nothing in it; the server refuses that as well.
    """
    if size > UPLOAD_LIMIT:
        raise errors.MediaTooLarge(size, UPLOAD_LIMIT)
    if size == 0:
        raise ValueError("there is nothing in it")


def build_upload(command: int, source: int, size: int, name: str, mime: str | None, boundary: str) -> CallRest:
    """The command for one upload.

    Args:
        source: the driver's number for the content.
        size: of the content, bytes.
        name: file name; path separators and quotes are made harmless.
        mime: None lets the server find out (MEDIA-9).
        boundary: occurs nowhere in the content; up to 70 ASCII letters and digits.

    Raises:
        ValueError: ``mime`` is no single type.
    """
    if mime is not None and not _TYPE.fullmatch(mime):
        raise ValueError("mime is one type, like image/png")
    plain = re.split(r"[/\\]", name)[-1].encode("utf-8", "replace").decode("utf-8")
    escaped = "".join(f"%{ord(char):02X}" if char in '"\r\n' else char for char in plain if char != "\0") or "file"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{escaped}"\r\n'
        f"Content-Type: {mime or _GENERIC}\r\n\r\n"
    )
    body = FileBody(source, head.encode(), f"\r\n--{boundary}--\r\n".encode(), size)
    content_type = f"multipart/form-data; boundary={boundary}"
    return CallRest(command, "POST", UPLOAD_PATH, body, UPLOAD_TIMEOUT_MS, content_type, (UNAUTHORIZED,))


def fragment_of(data: Mapping[str, Json], **extra: int | None) -> dict[str, Json]:
    """The fragment for a message, from ``data`` of a successful upload: as it is (MEDIA-4).

    Args:
        extra: ``width``, ``height`` in pixels, ``duration`` in milliseconds, which the server never supplies.

    Raises:
        UploadFailed: one of the five fields is missing or of another type (MEDIA-5).
    """
    for name, kind in _FIELDS.items():
        if type(data.get(name)) is not kind:
            raise errors.UploadFailed(None, f"the answer has no usable {name} (MEDIA-5)")
    return {**data, **{name: value for name, value in extra.items() if value is not None}}


def refusal_of(status: int, code: int | None, text: str) -> errors.ClawProtoError:
    """What a refused upload raises; the code decides, not the HTTP status (MEDIA-2)."""
    if code == TOO_LARGE or (code is None and status == 413):
        return errors.MediaTooLarge(None, UPLOAD_LIMIT)
    return errors.UploadFailed(code, text or f"HTTP {status}")


# --- downloads -----------------------------------------------------------------------------------------------------


def download_address(url: str) -> SplitResult:
    """The parts of an address that may be fetched.

    Raises:
        DownloadRefused: neither http nor https, no host, a user in it, or not readable. The text does not quote it:
            a signed address is a secret.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise errors.DownloadRefused("the address is not valid") from None
    if parts.scheme not in ("http", "https"):
        raise errors.DownloadRefused("the address is neither http nor https")
    if not parts.hostname or not url.isprintable() or " " in url:
        raise errors.DownloadRefused("the address is not valid")
    if "@" in parts.netloc:
        raise errors.DownloadRefused("the address names a user")
    return parts


def origin_of(parts: SplitResult) -> tuple[str, str, int]:
    """Scheme, host and port."""
    return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}[parts.scheme]


_EMBEDDING: Final = tuple(map(int, (IPv6Address("64:ff9b::"), IPv6Address("64:ff9b:1::"))))


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet. Anything else is no business of somebody else's message:
    loopback, private networks, link-local, shared, reserved, and IPv6 addresses that stand for one of these."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo[1] if parsed.teredo else None)
        if inner is None and (int(parsed) >> 32 << 32) in _EMBEDDING:
            inner = IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return parsed.is_global and not parsed.is_multicast
