"""A socket on asyncio: the library's connection, without a task of its own once it is open.

Rules: AUTH-2, AUTH-7, HB-8, ENV-12, CLOSE-12, R2-25::

    transport ── data_received ──> frames ──┬── the receiver takes them ──> received(), one call each
                                            └── it is full, or it has had SLICE of them ──> held back;
                                                                                      the transport pauses

Every message that one read has brought is handed over in one go, without a queue and a change of tasks in between.
"""

import asyncio
from collections import deque
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection, connect as websocket_connect
from websockets.frames import DATA_OPCODES, Frame, Opcode
from websockets.protocol import OPEN, Event

from clawproto.effects import Close, Open, Reconnect, SendFrame
from clawproto.engine import Queue
from clawproto.engine_parts import Outgoing
from clawproto_io.clock import Clock
from clawproto_io.logs import logger
from clawproto_io.setup import SocketOptions
from clawproto_io.sockets import NORMAL_CLOSURE, WireLogger, closing_of, cut_reason

SLICE = 64  # messages handed over before others get their turn

log = logger("asyncio")


class Receiver(Protocol):
    """Whoever a connection belongs to. No call may raise."""

    @property
    def takes(self) -> bool:
        """Whether the next message may be handed over."""
        ...

    def received(self, message: bytes) -> None:
        """A whole message."""
        ...

    def writable(self) -> None:
        """What was written before has gone out far enough: there is room again."""
        ...

    def closed(self, code: int, reason: str) -> None:
        """The end; nothing follows."""
        ...


class Connection(ClientConnection):
    """The library's connection, which hands messages to a `Receiver` instead of queueing them for ``recv``.

    Handshake, framing, limits, Pongs and the echo of a CLOSE frame stay the library's. Messages are handed over as
    bytes: the library would close the socket over a text that is no UTF-8, and one bad frame would cost the connection
    (ENV-12).
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._receiver: Receiver | None = None
        self._left = SLICE
        self._held: deque[bytes] | None = None
        self._pieces: list[bytes] = []
        self._halted = False
        self._ended = False
        self._dropped = False
        self._bound: asyncio.TimerHandle | None = None

    # --- for the driver ---

    def attach(self, receiver: Receiver) -> None:
        """The handshake is done: from now on ``receiver`` is told what comes, and what has come already."""
        self._receiver = receiver
        self.request = self.response = None  # a third of what the library holds, and nobody asks for it
        if self._held or self._ended:
            self.resume()

    def detach(self) -> None:
        """Drop the socket. ``closed`` still comes, but nothing else does."""
        self._dropped, self._held = True, None
        self.transport.abort()

    def resume(self) -> None:
        """The receiver takes messages again: hand over what was held back, soon."""
        self.loop.call_soon(self._go_on)

    @property
    def holds(self) -> bool:
        """Something waits for `resume`."""
        return self._held is not None

    def write(self, outgoing: Queue[Outgoing]) -> None:
        """Write from the queue until it is empty, until there is no room, or until the closing has begun."""
        try:
            while outgoing and not self.paused and self.protocol.state is OPEN and not self.transport.is_closing():
                item = outgoing.popleft()
                match item:
                    case SendFrame(text=text):
                        self.protocol.send_text(text.encode())
                        self.send_data()
                    case Close(code=code, reason=reason):
                        self._close(code, reason)
                    case Reconnect(reason=reason):
                        self._close(NORMAL_CLOSURE, reason)
        except Exception as error:
            self.set_connection_exc(error)
            self.transport.abort()

    # --- from the library ---

    def process_event(self, event: Event) -> None:
        """See the library. Pongs are not waited for: pings are the core's (HB-8)."""
        if not isinstance(event, Frame):
            super().process_event(event)
        elif event.opcode in DATA_OPCODES:
            if event.fin and event.opcode is not Opcode.CONT:
                self._take(bytes(event.data))
                return
            self._pieces.append(bytes(event.data))
            if event.fin:
                message, self._pieces = b"".join(self._pieces), []
                self._take(message)

    def data_received(self, data: bytes) -> None:
        """See the library."""
        super().data_received(data)
        if self._held is not None:
            self._halt()
        self._left = SLICE
        if self.close_deadline is not None:
            self._limit_closing()

    def resume_writing(self) -> None:
        """See the library."""
        super().resume_writing()
        if self._receiver is not None:
            self._receiver.writable()

    def connection_lost(self, exc: Exception | None) -> None:
        """See the library."""
        super().connection_lost(exc)
        self._ended = True
        if self._bound is not None:
            self._bound.cancel()
        self._end()

    # --- inside ---

    def _take(self, message: bytes) -> None:
        receiver = self._receiver
        if self._held is None and self._left > 0 and receiver is not None and receiver.takes:
            self._left -= 1
            receiver.received(message)
        elif not self._dropped:
            if self._held is None:
                self._held = deque()
            self._held.append(message)

    def _halt(self) -> None:
        """Read no more until what is held back has been handed over."""
        if not self._halted and not self.transport.is_closing():
            self._halted = True
            self.transport.pause_reading()
        if self._receiver is not None and self._receiver.takes:
            self.resume()

    def _go_on(self) -> None:
        held, receiver = self._held, self._receiver
        if receiver is None:
            return
        left = SLICE
        while held and receiver.takes:
            if not left:
                self.resume()
                return
            left -= 1
            receiver.received(held.popleft())
        if held and self._held is not None:
            return  # full: the receiver asks for more
        self._held = None
        if self._halted and not self._ended and not self.transport.is_closing():
            self._halted = False
            self.transport.resume_reading()
        self._end()

    def _end(self) -> None:
        """Tell the end, after everything that came before it."""
        if self._ended and self._held is None and self._receiver is not None:
            receiver, self._receiver = self._receiver, None
            receiver.closed(*closing_of(self.close_exc))

    def _close(self, code: int, reason: str) -> None:
        self.protocol.send_close(code, cut_reason(reason))
        self.send_data()
        self._limit_closing()

    def _limit_closing(self) -> None:
        """The peer has its time to end the connection; then it is dropped (CLOSE-12)."""
        if self._bound is None and self.close_timeout is not None:
            self._bound = self.loop.call_later(self.close_timeout, self.transport.abort)


class _Connect(websocket_connect):
    """The library's client, but an upgrade that is redirected has failed: addresses come from the operator (AUTH-7)."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def open_websocket(opening: Open, options: SocketOptions, clock: Clock) -> Connection:
    """Open the socket; the upgrade carries neither token nor subprotocol (AUTH-2), and pings are the core's (HB-8)."""
    tls: dict[str, Any] = {"ssl": options.tls()} if opening.url.startswith("wss:") else {}
    connection = await _Connect(
        opening.url,
        additional_headers=list(options.headers),
        proxy=options.proxy,
        open_timeout=clock.seconds(opening.timeout_ms),
        ping_interval=None,
        close_timeout=options.close_timeout,
        max_size=options.max_size,
        create_connection=Connection,
        logger=WireLogger(log),
        **tls,
    )
    assert isinstance(connection, Connection)
    return connection
