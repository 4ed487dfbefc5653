"""``POST /media/upload`` and the objects it leaves behind (MEDIA-6 to MEDIA-10)."""

import re
from collections.abc import Mapping
from typing import Final

from clawproto.hub.answers import NOT_FOUND, Answer
from clawproto.hub.context import Context
from clawproto.hub.inputs import HttpReceived
from clawproto.hub.media_store import MediaObject

_INLINE: Final = {f"image/{name}" for name in ("jpeg", "png", "gif", "webp", "heic", "heif", "avif")}
_GENERIC: Final = "application/octet-stream"
_TYPE: Final = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+", re.ASCII)
_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"ID3", "audio/mpeg"),
    (b"OggS", "audio/ogg"),
    (b"\x1a\x45\xdf\xa3", "video/webm"),
)
_RIFF: Final = {b"WEBP": "image/webp", b"WAVE": "audio/wave"}
_BRANDS: Final = {b"heic": "image/heic", b"heix": "image/heic", b"mif1": "image/heif", b"avif": "image/avif"}


def upload(context: Context, request: HttpReceived) -> Answer:
    """Store the part named ``file``; the caller has been authenticated."""
    part = _file_part(request.headers, request.body)
    if part is None:
        return Answer(40001, "part file is missing or malformed", status=400)
    filename, declared, content = part
    limit = context.settings.upload_limit
    if not content:
        return Answer(40002, "file is empty", status=400)
    if len(content) > limit:
        return Answer(41301, "file is too large", status=413)
    item = MediaObject(_stored_name(filename), final_mime(declared, content), content)
    object_id = context.entropy.hex(32)
    context.media.put(object_id, item, limit)
    host = request.headers.get("host", "")
    path = f"/media/{object_id}/{item.name}"
    kind = item.mime.partition("/")[0]
    return Answer(
        data={
            "kind": kind if kind in ("image", "video", "audio") else "file",
            "url": f"http://{host}{path}" if host else path,
            "name": item.name,
            "mime": item.mime,
            "size": len(content),
        }
    )


def download(context: Context, path: str) -> Answer:
    """Serve an object: pictures, sound and film inline, everything else as an attachment (MEDIA-10)."""
    item = context.media.get(path.removeprefix("/media/").partition("/")[0])
    if item is None:
        return NOT_FOUND
    inline = item.mime in _INLINE or item.mime.startswith(("video/", "audio/"))
    headers = (("content-disposition", "inline" if inline else "attachment"), ("x-content-type-options", "nosniff"))
    return Answer(headers=headers, content=item.content, content_type=item.mime)


def final_mime(declared: str, content: bytes) -> str:
    """A single declared type is believed; else the first 512 bytes decide (MEDIA-9)."""
    essence = declared.partition(";")[0].strip().lower()
    if _TYPE.fullmatch(essence) and essence != _GENERIC:
        return essence
    head = content[:512]
    for signature, mime in _SIGNATURES:
        if head.startswith(signature):
            return mime
    if head.startswith(b"RIFF") and head[8:12] in _RIFF:
        return _RIFF[head[8:12]]
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    if any(byte < 32 and byte not in b"\t\n\r\x0c\x1b" for byte in head):
        return _GENERIC
    return "text/html" if head.lstrip().lower().startswith((b"<!doctype html", b"<html")) else "text/plain"


def _stored_name(filename: str) -> str:
    """The last path segment in safe characters, its extension in lower case; ``file`` without one (MEDIA-7)."""
    base = re.sub(r"[^\w.-]", "_", re.split(r"[/\\]", filename)[-1]).strip(".")
    stem, dot, extension = base.rpartition(".")
    return (f"{stem}{dot}{extension.lower()}" if dot else base) or "file"


def _file_part(headers: Mapping[str, str], body: bytes) -> tuple[str, str, bytes] | None:
    """File name, declared type and content of the part named ``file``, or None."""
    match = re.fullmatch(r'multipart/form-data;.*?boundary="?([^";]{1,70})"?.*', headers.get("content-type", ""), re.I)
    if match is None:
        return None
    delimiter = b"--" + match[1].encode("utf-8", "replace")
    for part in (b"\r\n" + body).split(b"\r\n" + delimiter)[1:]:
        head, blank, content = part.partition(b"\r\n\r\n")
        lines = [line.partition(":") for line in head.decode("utf-8", "replace").splitlines()]
        fields = {name.strip().lower(): value.strip() for name, colon, value in lines if colon}
        disposition = fields.get("content-disposition", "")
        if blank and re.search(r'(?:^|[;\s])name="?file"?(?:$|[;\s])', disposition):
            filename = re.search(r'filename="([^"]*)"', disposition)
            return filename[1] if filename else "", fields.get("content-type", ""), content
    return None
