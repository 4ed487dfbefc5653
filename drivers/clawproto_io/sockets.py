"""What both drivers know about the WebSocket library."""

import logging
import ssl
from typing import TYPE_CHECKING, cast

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from clawproto_io.certificates import shared_context
from clawproto_io.throttle import Crowded

REASON_LIMIT = 123  # bytes of a CLOSE frame
NORMAL_CLOSURE = 1000
NO_CLOSE_FRAME = 1006
_GIVEN_UP = (1002, 1007, 1009)  # broken framing, broken text, a message above the limit


if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter


def default_tls() -> ssl.SSLContext:
    """The system's certificates, read once for all sockets that are open at the same time. By default the library reads
    them for each socket: most of a megabyte, and ten milliseconds of everybody's time when a hub comes back."""
    return shared_context(ssl.create_default_context, "sockets")


class WireLogger(_Adapter):
    """A logger for the WebSocket library, which writes every frame at DEBUG; one carries a token (AUTH-9)."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 (the name is logging's)
        """Never at DEBUG."""
        return level > logging.DEBUG and super().isEnabledFor(level)


def closing_of(error: ConnectionClosed) -> tuple[int, str]:
    """Code and reason as received: 1005 for a CLOSE frame without a code, 1006 for none at all.

    Where the library itself gave up on what it read, the code that comes back is its own: a 1009 then says nothing
    about an uplink, and counts as none.
    """
    if error.rcvd is None:
        return NO_CLOSE_FRAME, ""
    if error.sent is not None and not error.rcvd_then_sent and error.sent.code in _GIVEN_UP:
        return NO_CLOSE_FRAME, f"given up here with {error.sent.code} {error.sent.reason}".rstrip()
    return error.rcvd.code, error.rcvd.reason


def cut_reason(reason: str) -> str:
    """As much of ``reason`` as a CLOSE frame holds."""
    return reason.encode(errors="replace")[:REASON_LIMIT].decode(errors="ignore")


def describe_failure(error: Exception) -> str:
    """Why a socket did not open, without quoting headers or proxy addresses."""
    if isinstance(error, Crowded):
        return "no turn to open a socket, too many sessions are at it"
    if isinstance(error, InvalidStatus):
        return f"the upgrade was answered with HTTP {error.response.status_code}"
    if isinstance(error, TimeoutError):
        return "timed out"
    reason = _system_error(error)
    if reason is not None:
        return reason
    if isinstance(error, WebSocketException | EOFError):
        return f"the upgrade failed with {type(error).__name__}"
    return f"failed with {type(error).__name__}"


def _system_error(error: BaseException) -> str | None:
    """What the operating system or TLS said, however deep: the loops wrap it differently."""
    seen: list[BaseException] = [error]
    for item in seen:
        if isinstance(item, OSError) and item.strerror:
            return item.strerror
        if isinstance(item, BaseExceptionGroup):
            seen += cast("BaseExceptionGroup[BaseException]", item).exceptions
        seen += [found for found in (item.__cause__, item.__context__) if found is not None and found not in seen]
    return None
