"""What both drivers know about the WebSocket library."""

import logging
from typing import TYPE_CHECKING

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

REASON_LIMIT = 123  # bytes of a CLOSE frame
NORMAL_CLOSURE = 1000
NO_CLOSE_FRAME = 1006


if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter


class WireLogger(_Adapter):
    """A logger for the WebSocket library, which writes every frame at DEBUG; one carries a token (AUTH-9)."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 (the name is logging's)
        """Never at DEBUG."""
        return level > logging.DEBUG and super().isEnabledFor(level)


def closing_of(error: ConnectionClosed) -> tuple[int, str]:
    """Code and reason as received: 1005 for a CLOSE frame without a code, 1006 for none at all."""
    if error.rcvd is None:
        return NO_CLOSE_FRAME, ""
    return error.rcvd.code, error.rcvd.reason


def cut_reason(reason: str) -> str:
    """As much of ``reason`` as a CLOSE frame holds."""
    return reason.encode(errors="replace")[:REASON_LIMIT].decode(errors="ignore")


def describe_failure(error: Exception) -> str:
    """Why a socket did not open, without quoting headers or proxy addresses."""
    if isinstance(error, InvalidStatus):
        return f"the upgrade was answered with HTTP {error.response.status_code}"
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    if isinstance(error, WebSocketException | EOFError):
        return f"the upgrade failed with {type(error).__name__}"
    return f"failed with {type(error).__name__}"
