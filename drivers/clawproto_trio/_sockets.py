"""A socket on trio: one task reads; writing needs one only while the network is slow.

Rules: AUTH-2, AUTH-7, HB-8, ENV-12, CLOSE-12::

    stream ── receive_some ──> WebSocket ──> messages, to whoever awaits `Connection.receive`
    SendFrame, Pongs, echoes ──> WebSocket ──> the system's buffer, at once ──┬── taken
                                                                            └── full, or TLS: left to `Connection.drain`

Addresses, proxies, TLS and the opening handshake are the library's (`websockets.trio.client.connect`).
"""

import os
import sys
from typing import cast

import trio
from websockets.client import ClientProtocol
from websockets.datastructures import HeadersLike
from websockets.trio.client import ClientConnection, connect as websocket_connect

from clawproto.effects import Open
from clawproto.engine import Outgoing, Queue
from clawproto_io.clock import Clock
from clawproto_io.logs import logger
from clawproto_io.setup import SocketOptions
from clawproto_io.sockets import WireLogger
from clawproto_io.websocket import WebSocket

log = logger("trio")


class Connection:
    """One connection, from the upgrade to its end. Made by the library's ``connect``, which calls what stands first.

    Args:
        nursery: not used: the library's own connection runs a task in it.
        settings: the library's; what they are about is not done here.
    """

    __slots__ = ("_is_closed", "_messages", "_socket", "_stream", "_takes_directly", "_unsent", "_websocket")

    def __init__(self, nursery: object, stream: trio.abc.Stream, protocol: ClientProtocol, **settings: object) -> None:
        self._stream = stream
        self._websocket = WebSocket(protocol)
        self._messages: list[bytes] = []
        self._unsent = b""
        self._is_closed = False
        self._takes_directly = isinstance(stream, trio.SocketStream) and sys.platform != "win32"
        self._socket = _socket_of(stream)

    # --- for the library ---

    async def handshake(self, additional_headers: HeadersLike | None, user_agent_header: str | None) -> None:
        """Open the connection.

        Raises:
            InvalidHandshake, InvalidMessage: the upgrade was not accepted.
        """
        self._websocket.request(additional_headers, user_agent_header)
        await self._stream.send_all(b"".join(self._websocket.outgoing()))
        while not self._websocket.is_answered:
            try:
                data = await self._stream.receive_some()
            except trio.BrokenResourceError:
                data = b""
            if data:
                self._messages += self._websocket.receive(bytes(data))
            else:
                self._websocket.receive_end()
        self._websocket.raise_for_answer()

    def start_keepalive(self) -> None:
        """Nothing: pings are the core's (HB-8)."""

    # --- for the driver ---

    async def receive(self) -> list[bytes] | None:
        """The messages that come next, perhaps none; None: the end. `write` may have something to do afterwards."""
        if self._messages:
            messages, self._messages = self._messages, []
            return messages
        try:
            data = await self._stream.receive_some()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return None
        return self._websocket.receive(bytes(data)) if data else None

    def write(self, outgoing: Queue[Outgoing]) -> bool:
        """Write from the queue until it is empty, there is no more room, or the closing has begun.

        Returns:
            True: something is left for `drain`.
        """
        if self._is_closed:
            return False
        self._put()
        while outgoing and not self._unsent and self._websocket.is_open:
            self._carry_out(outgoing.popleft())
        return bool(self._unsent)

    async def drain(self) -> None:
        """Write what is left; only one task at a time. A connection that breaks is noticed by who reads."""
        data = self._unsent
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._unsent = b""
            await trio.lowlevel.checkpoint()
        else:
            self._unsent = self._unsent[len(data) :]

    @property
    def is_closing(self) -> bool:
        """The connection is to end: the peer has a limited time to end it."""
        return self._websocket.is_closing

    def close(self) -> None:
        """Close at once; whoever reads or writes comes to the end. Harmless when repeated."""
        self._is_closed = True
        self._socket.close()

    @property
    def closing(self) -> tuple[int, str]:
        """After the end: code and reason, see `closing_of`."""
        self._websocket.receive_end()
        return self._websocket.closing

    # --- inside ---

    def _carry_out(self, item: Outgoing) -> None:
        self._websocket.queue(item)
        self._put()

    def _put(self) -> None:
        """Give to the system what it takes now, unless something waits already: as loops do that know no tasks. An
        awaited write is a change of tasks for every message."""
        data = b"".join(self._websocket.outgoing())
        if not data:
            return
        if not self._unsent and self._takes_directly:
            try:
                data = data[os.write(self._socket.fileno(), data) :]
            except BlockingIOError:
                pass
            except OSError:
                return  # broken: who reads notices
        self._unsent += data


def _socket_of(stream: object) -> trio.socket.SocketType:
    """What lies below, also where TLS goes through the TLS of a proxy."""
    while not isinstance(stream, trio.SocketStream):
        assert isinstance(stream, trio.SSLStream)
        stream = cast("object", stream.transport_stream)  # pyright: ignore[reportUnknownMemberType]
    return stream.socket


class _Connect(websocket_connect):
    """The library's client, but an upgrade that is redirected has failed: addresses come from the operator (AUTH-7)."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def open_websocket(opening: Open, options: SocketOptions, clock: Clock, nursery: trio.Nursery) -> Connection:
    """Open the socket; the upgrade carries neither token nor subprotocol (AUTH-2)."""
    connection: object = await _Connect(
        opening.url,
        ssl=options.tls() if opening.url.startswith("wss:") else None,
        additional_headers=list(options.headers),
        proxy=options.proxy,
        open_timeout=clock.seconds(opening.timeout_ms),
        max_size=options.max_size,
        create_connection=cast("type[ClientConnection]", Connection),
        logger=WireLogger(log),
    ).connect(nursery)
    assert isinstance(connection, Connection)
    return connection
