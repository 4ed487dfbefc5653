"""A socket on asyncio: it has no task, no queue and no timer of its own once it is open.

Rules: AUTH-2, AUTH-7, HB-8, ENV-12, CLOSE-12, R2-25::

    transport ── data_received ──> WebSocket ──┬── the receiver takes them ──> received(), all together
                                               └── it is full, or it has had SLICE of them ──> held back;
                                                                                         the transport pauses

All messages that one read has brought are handed over in one go, without a change of tasks in between. Addresses,
proxies, TLS and the opening handshake are the library's (`websockets.asyncio.client.connect`).
"""

import asyncio
from collections.abc import Sequence
from contextvars import copy_context
from typing import Any, Protocol, cast

from websockets.asyncio.client import ClientConnection, connect as websocket_connect
from websockets.client import ClientProtocol
from websockets.datastructures import HeadersLike

from clawproto.effects import Open
from clawproto.engine import Outgoing, Queue
from clawproto_io.clock import Clock
from clawproto_io.logs import logger
from clawproto_io.setup import SocketOptions
from clawproto_io.sockets import WireLogger
from clawproto_io.websocket import WebSocket

SLICE = 64  # messages handed over before others get their turn
WRITE_LIMIT = 32 * 1024  # bytes that may wait in the transport

log = logger("asyncio")


class Receiver(Protocol):
    """Whoever a connection belongs to. No call may raise."""

    def received(self, messages: Sequence[bytes]) -> int:
        """Whole messages, at least one. Returns how many were taken; if not all, `Connection.resume` is to be called
        when there is room again."""
        ...

    def writable(self) -> None:
        """There is room to write again."""
        ...

    def closed(self, code: int, reason: str) -> None:
        """The end; nothing follows."""
        ...


class Connection(asyncio.Protocol):
    """One connection, from the upgrade to its end. Made by the library's ``connect``, which calls what stands first.

    Args:
        close_timeout: seconds that the peer has to end a connection (CLOSE-12).
        settings: the library's others; what they are about is not done here.
    """

    __slots__ = (
        "_answered",
        "_bound",
        "_close_timeout",
        "_context",
        "_ended",
        "_halted",
        "_held",
        "_is_dropped",
        "_is_resuming",
        "_loop",
        "_paused",
        "_receiver",
        "_websocket",
        "transport",
    )

    def __init__(self, protocol: ClientProtocol, *, close_timeout: float | None, **settings: object) -> None:
        self.transport: asyncio.Transport
        self._websocket = WebSocket(protocol)
        self._close_timeout = close_timeout
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()  # that of the task that opens it, as for the transport's callbacks
        self._answered: asyncio.Future[None] | None = self._loop.create_future()
        self._receiver: Receiver | None = None
        self._held: list[bytes] | None = None
        self._halted = False  # reading
        self._paused = False  # writing
        self._ended = False
        self._is_dropped = False
        self._is_resuming = False
        self._bound: asyncio.TimerHandle | None = None

    # --- for the library ---

    async def handshake(self, additional_headers: HeadersLike | None, user_agent_header: str | None) -> None:
        """Open the connection.

        Raises:
            InvalidHandshake, InvalidMessage: the upgrade was not accepted.
        """
        assert self._answered is not None
        self._websocket.request(additional_headers, user_agent_header)
        self._send()
        await self._answered
        self._answered = None
        self._websocket.raise_for_answer()

    def start_keepalive(self) -> None:
        """Nothing: pings are the core's (HB-8)."""

    # --- for the driver ---

    def attach(self, receiver: Receiver) -> None:
        """From now on ``receiver`` is told what comes, and soon what has come already."""
        self._receiver = receiver
        if self._held is not None or self._ended:
            self.resume()

    def drop(self) -> None:
        """Break it off. ``closed`` still comes, but no message."""
        self._is_dropped, self._held = True, None
        self.transport.abort()

    @property
    def holds(self) -> bool:
        """Something waits for `resume`."""
        return self._held is not None

    def resume(self) -> None:
        """The receiver takes messages again: hand over what was held back, soon."""
        if not self._is_resuming:
            self._is_resuming = True
            self._loop.call_soon(self._go_on, context=self._context)

    def write(self, outgoing: Queue[Outgoing]) -> None:
        """Write from the queue until it is empty, there is no more room, or the closing has begun."""
        while outgoing and not self._paused and self._websocket.is_open and not self.transport.is_closing():
            self._carry_out(outgoing.popleft())

    # --- for the transport ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(WRITE_LIMIT)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        messages = self._websocket.receive(data)
        self._send()
        if messages:
            self._take(messages)
        if self._answered is not None:
            self._answer()

    def eof_received(self) -> None:
        """See `asyncio.Protocol`: the transport closes itself."""
        self._websocket.receive_end()
        self._send()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._paused = True

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._paused = False
        if self._receiver is not None:
            self._receiver.writable()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._websocket.receive_end()
        self._ended = True
        if self._bound is not None:
            self._bound.cancel()
        if self._answered is not None:
            self._answer()
        self._tell_end()

    # --- inside ---

    def _answer(self) -> None:
        if self._answered is not None and not self._answered.done() and self._websocket.is_answered:
            self._answered.set_result(None)

    def _carry_out(self, item: Outgoing) -> None:
        self._websocket.queue(item)
        self._send()

    def _send(self) -> None:
        for data in self._websocket.outgoing():
            if self.transport.is_closing():
                break
            if data:
                self.transport.write(data)
            elif self.transport.can_write_eof():
                self.transport.write_eof()
            else:
                self.transport.close()
        if self._bound is None and self._close_timeout is not None and self._websocket.is_closing and not self._ended:
            self._bound = self._loop.call_later(self._close_timeout, self.transport.abort)

    def _take(self, messages: list[bytes]) -> None:
        if self._is_dropped:
            return
        if self._held is not None:
            self._held += messages
            return
        self._hand_over(messages)
        if self._held is not None and not self._halted and not self.transport.is_closing():
            self._halted = True
            self.transport.pause_reading()

    def _hand_over(self, messages: list[bytes]) -> None:
        """A slice; the rest is held back, to be handed over when others have had their turn, or by `resume`."""
        taken, given = 0, len(messages[:SLICE])
        if self._receiver is not None:
            taken = self._receiver.received(messages[:SLICE])
        self._held = None if taken == len(messages) or self._is_dropped else messages[taken:]
        if self._held is not None and taken == given:
            self.resume()

    def _go_on(self) -> None:
        self._is_resuming = False
        if self._receiver is None:
            return
        if self._held is not None:
            self._hand_over(self._held)
        if self._held is not None:
            return
        if self._halted and not self._ended and not self.transport.is_closing():
            self._halted = False
            self.transport.resume_reading()
        self._tell_end()

    def _tell_end(self) -> None:
        """After everything that came before it."""
        if self._ended and self._held is None and self._receiver is not None:
            receiver, self._receiver = self._receiver, None
            receiver.closed(*self._websocket.closing)


class _Connect(websocket_connect):
    """The library's client, but an upgrade that is redirected has failed: addresses come from the operator (AUTH-7)."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def open_websocket(opening: Open, options: SocketOptions, clock: Clock) -> Connection:
    """Open the socket; the upgrade carries neither token nor subprotocol (AUTH-2)."""
    tls: dict[str, Any] = {"ssl": options.tls()} if opening.url.startswith("wss:") else {}
    connection: object = await _Connect(
        opening.url,
        additional_headers=list(options.headers),
        proxy=options.proxy,
        open_timeout=clock.seconds(opening.timeout_ms),
        ping_interval=None,
        close_timeout=options.close_timeout,
        max_size=options.max_size,
        create_connection=cast("type[ClientConnection]", Connection),
        logger=WireLogger(log),
        **tls,
    )
    assert isinstance(connection, Connection)
    return connection
