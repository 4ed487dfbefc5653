"""The companion API: routing, bearer check and scripted faults (REST, HUB-7, REF-39)."""

from collections.abc import Callable

from attrs import evolve

from clawproto.hub import media, pairing, refresh
from clawproto.hub.answers import BAD_METHOD, NOT_FOUND, UNAUTHORIZED, UNAVAILABLE, Answer, http_date
from clawproto.hub.context import Context
from clawproto.hub.effects import HttpDrop, HttpRespond
from clawproto.hub.handshake import judge
from clawproto.hub.inputs import HttpReceived
from clawproto.hub.resources import RESOURCES, Resource
from clawproto.hub.switches import HttpFault

REFRESH = "/v1/auth/refresh"
_JSON = ("content-type", "application/json")
_UPLOADS = ("/media/upload", "/v1/files/upload-url")
_NEVER_MS = 600_000

_OPEN: dict[tuple[str, str], Callable[[Context, HttpReceived], Answer]] = {
    ("POST", REFRESH): lambda context, request: refresh.refresh(context, _device(request), request.body),
    ("POST", "/v1/agents/connect"): lambda context, request: pairing.pair(context, _device(request), request.body),
    ("POST", "/v1/agents/connect/check"): lambda context, request: pairing.check(context, request.body),
    ("POST", "/v1/agents/plugin-report"): lambda _context, _request: Answer(data={}),
}


def receive(context: Context, request: HttpReceived) -> None:
    """Answer one request, or not, as the switches want it."""
    context.counts[f"{request.method} {_find(request)[1]}"] += 1
    fault = context.switches.http_fault(request.path, _caller(context, request))
    if context.switches.is_silent(None):
        fault = HttpFault("timeout", _NEVER_MS)
    if fault is not None and _instead(context, request, fault):
        return
    answer = route(context, request)
    delay_ms = 0 if fault is None else fault.value
    if fault is not None and fault.kind == "lost":
        context.emit(HttpDrop(request.request_id, delay_ms))
        return
    body = b"<html>gateway error</html>" if fault is not None and fault.kind == "garbage" else answer.body()
    headers = (("content-type", answer.content_type), *answer.headers)
    _respond(context, request, answer.status, headers, body, delay_ms)


def route(context: Context, request: HttpReceived) -> Answer:
    """Carry a request out."""
    opened = _OPEN.get((request.method, request.path))
    if opened is not None:
        return opened(context, request)
    if request.method == "GET" and request.path.startswith("/media/"):
        return media.download(context, request.path)
    resource, _ = _find(request)
    uploading = request.method == "POST" and request.path in _UPLOADS
    if resource is None and not uploading:
        known = {path for _, path in (*_OPEN, *RESOURCES)}
        return BAD_METHOD if request.path in known else NOT_FOUND
    token = _bearer(request)
    owner = context.tokens.owner_of(token)
    verdict = judge(context, token)
    if verdict == "unavailable":
        return UNAVAILABLE
    if verdict == "reject" or owner is None:
        return evolve(UNAUTHORIZED, code=40101) if uploading else UNAUTHORIZED
    if resource is None:
        return media.upload(context, request)
    return resource(context, owner, request.path.rpartition("/")[2])


def _instead(context: Context, request: HttpReceived, fault: HttpFault) -> bool:
    """Carry out a fault that replaces the work. Tell whether it was one."""
    if fault.kind == "timeout":
        context.emit(HttpDrop(request.request_id, fault.value or _NEVER_MS))
    elif fault.kind == "code":
        _respond(context, request, 200, (_JSON,), Answer(fault.value, "scripted").body())
    elif fault.kind == "status":
        retry_after = () if fault.retry_after is None else (("retry-after", fault.retry_after),)
        code = fault.value if fault.code is None else fault.code
        _respond(context, request, fault.value, (_JSON, *retry_after), Answer(code, "scripted").body())
    else:
        return False
    return True


def _respond(
    context: Context,
    request: HttpReceived,
    status: int,
    headers: tuple[tuple[str, str], ...],
    body: bytes,
    delay_ms: int = 0,
) -> None:
    date = ("date", http_date(context.now.wall_ms))
    context.emit(HttpRespond(request.request_id, status, (*headers, date), body, delay_ms))


def _find(request: HttpReceived) -> tuple[Resource | None, str]:
    """The resource behind a path, and the path as the tables have it."""
    parent, _, _ = request.path.rpartition("/")
    for path in (request.path, f"{parent}/*"):
        resource = RESOURCES.get((request.method, path))
        if resource is not None:
            return resource, path
    return None, request.path if (request.method, request.path) in _OPEN else "unknown path"


def _caller(context: Context, request: HttpReceived) -> str | None:
    """Whose request it is, for switches that concern one user."""
    if request.path == REFRESH:
        return refresh.presenter(context, request.body)
    return context.tokens.owner_of(_bearer(request))


def _bearer(request: HttpReceived) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _device(request: HttpReceived) -> str:
    return request.headers.get("x-device-id", "")
