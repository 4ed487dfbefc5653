"""``POST /v1/auth/refresh`` (REF-8, REF-38 to REF-41)."""

from clawproto.hub.answers import Answer
from clawproto.hub.context import Context
from clawproto.hub.frames import decode, size

OK, INTERNAL, BAD_REQUEST, INVALID = 0, 1, 400, 10003


def refresh(context: Context, device_id: str, body: bytes) -> Answer:
    """One refresh call: HTTP 200 whatever the verdict."""
    answer = _refresh(context, device_id, body)
    context.counts[f"refresh {answer.code}"] += 1
    return answer


def _refresh(context: Context, device_id: str, body: bytes) -> Answer:
    frame = decode(body)
    token = None if frame is None else frame.get("refresh_token")
    if not isinstance(token, str):
        return Answer(BAD_REQUEST, "invalid request body")
    if not device_id or size(device_id) > context.settings.device_id_limit:
        return Answer(BAD_REQUEST, "invalid device id")
    if context.switches.outage:
        return Answer(INTERNAL, "internal error")
    pair = context.tokens.rotate(token, device_id, context.settings, context.now.wall_ms)
    if pair is None:
        return Answer(INVALID, "invalid refresh token")
    return Answer(data={"access_token": pair.access_token, "refresh_token": pair.refresh_token})


def presenter(context: Context, body: bytes) -> str | None:
    """Whose refresh token is in the body; for switches that concern one user."""
    frame = decode(body)
    token = None if frame is None else frame.get("refresh_token")
    return context.tokens.refresh_owner(token) if isinstance(token, str) else None
