"""How the companion API writes requests and answers: headers, and the envelope ``{"code", "msg", "data"}``.

Rules: REF-1 to REF-7, REF-37, REST-1, REST-2, AUTH-8, TOK-20, REF-47.
"""

from collections.abc import Mapping
from typing import TypeAlias

from clawproto.deferred import frozen
from clawproto.http import FileBody, HttpAnswer, HttpRequest
from clawproto.json_types import Json
from clawproto.secret import Secret
from clawproto.wire import json_backend
from clawproto.wire.json_text import write_ascii

DEVICE_ID_LIMIT = 128  # bytes, REF-3

_JSON = ("content-type", "application/json")


def device_id_problem(device_id: str) -> str | None:
    """What is wrong with a session device id, or None (DEV-3, REF-37)."""
    if not device_id.strip():
        return "the device id is blank"
    if len(device_id.encode("utf-8", "surrogatepass")) > DEVICE_ID_LIMIT:
        return f"the device id is longer than {DEVICE_ID_LIMIT} bytes"
    if not device_id.isascii() or not device_id.isprintable() or device_id != device_id.strip():
        return "the device id has characters that no header can carry"
    return None


def refresh_request(base_url: str, device_id: str, refresh: Secret) -> HttpRequest:
    """The refresh call: the refresh token alone proves the caller, so there is no ``Authorization`` (REF-1 to 3)."""
    body = write_ascii({"refresh_token": refresh.reveal()}).encode()
    return HttpRequest("POST", f"{base_url}/v1/auth/refresh", (_JSON, ("x-device-id", device_id)), body)


def pairing_request(base_url: str, device_id: str, body: Mapping[str, Json]) -> HttpRequest:
    """The pairing call; no usable ``Authorization`` exists yet (PAIR-1, D-36)."""
    headers = (_JSON, ("x-device-id", device_id))
    return HttpRequest("POST", f"{base_url}/v1/agents/connect", headers, write_ascii(dict(body)).encode())


def authenticated_request(
    base_url: str,
    device_id: str,
    access: Secret,
    method: str,
    path: str,
    body: bytes | FileBody | None,
    content_type: str,
) -> HttpRequest:
    """Any other call (REST-1)."""
    headers: tuple[tuple[str, str], ...] = (
        ("authorization", f"Bearer {access.reveal()}"),
        ("x-device-id", device_id),
    )
    if body is not None:
        headers = (*headers, ("content-type", content_type))
    url = f"{base_url}{path}"
    if isinstance(body, FileBody):
        return HttpRequest(method, url, headers, file=body)
    return HttpRequest(method, url, headers, body)


def websocket_url(base_url: str) -> str:
    """The WebSocket address that belongs to a REST origin: same authority, path ``/ws`` (AUTH-8).

    Raises:
        ValueError: ``base_url`` is neither http nor https.
    """
    scheme, separator, rest = base_url.partition("://")
    authority = rest.partition("/")[0]
    schemes = {"https": "wss", "http": "ws"}
    if not separator or scheme not in schemes or not authority:
        raise ValueError(f"{base_url!r} is no http or https address")
    return f"{schemes[scheme]}://{authority}/ws"


@frozen
class ApiEnvelope:
    """A decoded answer. ``code`` is None if it was missing or no integer (REF-5)."""

    code: int | None
    text: str
    data: Json


def read_envelope(answer: HttpAnswer) -> ApiEnvelope | None:
    """The envelope of an answer, or None if the body is no JSON object."""
    try:
        decoded = json_backend.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(decoded, dict):
        return None
    code = decoded.get("code")
    text = decoded.get("msg", decoded.get("message"))
    return ApiEnvelope(
        code if isinstance(code, int) and not isinstance(code, bool) else None,
        text[:500] if isinstance(text, str) else "",
        decoded.get("data"),
    )


# --- the refresh answer --------------------------------------------------------------------------------------------


@frozen
class Rotated:
    """Success: both tokens are new (REF-7)."""

    access: Secret
    refresh: Secret


@frozen
class Refused:
    """Permanent: 10003, or 400 as the client's fault (REF-6)."""

    code: int
    text: str


@frozen
class Unusable:
    """Transient. ``answered`` tells a verdict of the server from an answer that cannot be read (REF-43)."""

    text: str
    answered: bool


RefreshVerdict: TypeAlias = Rotated | Refused | Unusable

CODE_BAD_REQUEST = 400
CODE_REFUSED = 10003


def classify_refresh(answer: HttpAnswer) -> RefreshVerdict:
    """The table of REF: first the HTTP status, then ``code`` (REF-4)."""
    if answer.status != 200:
        # The refresh service itself always answers 200 (REF-38): anything in between may have hidden its answer.
        return Unusable(f"HTTP {answer.status}", answered=answer.status in (429, 503))
    envelope = read_envelope(answer)
    if envelope is None:
        return Unusable("the answer is no JSON object", answered=False)
    if envelope.code in (CODE_BAD_REQUEST, CODE_REFUSED):
        return Refused(envelope.code, envelope.text)
    if envelope.code != 0:
        return Unusable(f"code {envelope.code}", answered=envelope.code is not None)
    data = envelope.data if isinstance(envelope.data, dict) else {}
    access, refresh = data.get("access_token"), data.get("refresh_token")
    if not (isinstance(access, str) and isinstance(refresh, str) and access.strip() and refresh.strip()):
        return Unusable("code 0 without both tokens", answered=False)
    return Rotated(Secret(access), Secret(refresh))
