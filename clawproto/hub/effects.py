"""What the hub wants done, in order."""

from typing import TypeAlias

from attrs import field

from clawproto.deferred import frozen


@frozen
class SendText:
    """Write one text message, in the order given, ``delay_ms`` after it was asked for.

    Report `SocketWritten` with ``number`` once it is written: legacy cursors and the pace of a replay hang on it.
    """

    conn: int
    text: str = field(repr=lambda text: f"<{len(text)} characters>")
    number: int
    delay_ms: int = 0


@frozen
class SendPing:
    """Write a Ping control frame (HB-1)."""

    conn: int


@frozen
class CloseSocket:
    """Send what is queued, then close with a CLOSE frame."""

    conn: int
    code: int
    reason: str = ""


@frozen
class CutSocket:
    """Drop the transport without a CLOSE frame (HS-13).

    Attributes:
        flush: send what is queued before; else discard it.
    """

    conn: int
    flush: bool


@frozen
class HttpRespond:
    """Answer a request, ``delay_ms`` from now."""

    request_id: int
    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=lambda body: f"<{len(body)} bytes>")
    delay_ms: int = 0


@frozen
class HttpDrop:
    """Cut the connection of a request without an answer, ``delay_ms`` from now."""

    request_id: int
    delay_ms: int = 0


SocketEffect: TypeAlias = SendText | SendPing | CloseSocket | CutSocket
HubEffect: TypeAlias = SocketEffect | HttpRespond | HttpDrop
