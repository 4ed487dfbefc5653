"""How the asyncio driver opens a socket.

Rules: AUTH-2, AUTH-7, HB-8.
"""

from typing import Any

from websockets.asyncio.client import ClientConnection, connect as websocket_connect

from clawproto.effects import Open
from clawproto_io.clock import Clock
from clawproto_io.logs import logger
from clawproto_io.setup import SocketOptions
from clawproto_io.sockets import WireLogger

log = logger("asyncio")


class _Connect(websocket_connect):
    """The library's client, but an upgrade that is redirected has failed: addresses come from the operator (AUTH-7)."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def open_websocket(opening: Open, options: SocketOptions, clock: Clock) -> ClientConnection:
    """Open the socket; the upgrade carries neither token nor subprotocol (AUTH-2), and pings are the core's (HB-8)."""
    tls: dict[str, Any] = {"ssl": options.ssl} if options.ssl is not None and opening.url.startswith("wss:") else {}
    return await _Connect(
        opening.url,
        additional_headers=list(options.headers),
        proxy=options.proxy,
        open_timeout=clock.seconds(opening.timeout_ms),
        ping_interval=None,
        close_timeout=options.close_timeout,
        max_size=options.max_size,
        logger=WireLogger(log),
        **tls,
    )
