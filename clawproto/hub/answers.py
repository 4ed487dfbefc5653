"""Answers of the companion API: the envelope ``{"code", "msg", "data"}`` and its headers (REST)."""

from datetime import UTC, datetime

from attrs import field

from clawproto.deferred import frozen
from clawproto.hub.frames import JsonObject, encode

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@frozen
class Answer:
    """One HTTP answer before it is encoded; ``code`` 0 is success."""

    code: int = 0
    msg: str = "ok"
    data: JsonObject | None = field(default=None, repr=False)
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    content: bytes | None = field(default=None, repr=False)  # instead of the envelope
    content_type: str = "application/json"

    def body(self) -> bytes:
        if self.content is not None:
            return self.content
        value: JsonObject = {"code": self.code, "msg": self.msg}
        if self.data is not None:
            value["data"] = self.data
        return encode(value).encode()


UNAUTHORIZED = Answer(401, "unauthorized", status=401)
UNAVAILABLE = Answer(1, "auth service unavailable", status=503)
NOT_FOUND = Answer(404, "not found", status=404)
BAD_METHOD = Answer(405, "method not allowed", status=405)


def bad_request(msg: str) -> Answer:
    """HTTP 400: the request itself makes no sense."""
    return Answer(400, msg, status=400)


def http_date(wall_ms: int) -> str:
    """The value of a ``Date`` header, whatever the locale."""
    moment = datetime.fromtimestamp(wall_ms // 1000, UTC)
    return (
        f"{_DAYS[moment.weekday()]}, {moment.day:02} {_MONTHS[moment.month - 1]} {moment.year:04} "
        f"{moment.hour:02}:{moment.minute:02}:{moment.second:02} GMT"
    )
