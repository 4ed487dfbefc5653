"""One WebSocket without IO, for both drivers: bytes in, whole messages out.

Rules: AUTH-2, ENV-12, CLOSE-2, CLOSE-12::

    bytes ──> handshake ──> frames ──┬── a whole text in one frame: cut out here            ──> messages
              (the library)          └── anything else: the library's, frame by frame       ──> messages, Pongs, echoes

Handshake, extensions, limits, control frames, fragmented messages, closing and every error are the library's. Nearly
all that a hub sends are texts of one frame; they are cut out of what was received without the library's parser, which
takes as long as reading the JSON in them. So that either can take the next frame, it is known at any time where one
begins.
"""

from typing import assert_never

from websockets.client import ClientProtocol
from websockets.datastructures import HeadersLike
from websockets.frames import DATA_OPCODES, Frame, Opcode
from websockets.protocol import CLIENT, CONNECTING, OPEN, Protocol

from clawproto.effects import Close, Reconnect, SendFrame
from clawproto.engine import Outgoing
from clawproto_io.sockets import NORMAL_CLOSURE, closing_of, cut_reason

_TEXT = 0x81  # first byte of a frame: a text, and the end of it
_PING = 0x89
_CONTROL = 125  # bytes of a control frame at most
_KEPT = 64 * 1024  # bytes of an incomplete text that wait here for the rest
_HEAD = 256 * 1024  # bytes of an answer to the upgrade; more than the library takes


class WebSocket:
    """A client's end of one WebSocket.

    Args:
        protocol: the library's, before the handshake.
    """

    __slots__ = ("_is_refused", "_owed", "_pieces", "_protocol", "_rest")

    def __init__(self, protocol: ClientProtocol) -> None:
        self._protocol: Protocol = protocol
        self._is_refused = False  # the head of the answer has come, and what follows is its body
        self._rest = b""
        self._owed = 0  # bytes that the library lacks of its frame
        self._pieces: list[bytes] = []

    # --- opening ---

    def request(self, headers: HeadersLike | None, user_agent: str | None) -> None:
        """Queue the upgrade request."""
        protocol = self._protocol
        assert isinstance(protocol, ClientProtocol)
        request = protocol.connect()
        if headers is not None:
            request.headers.update(headers)
        if user_agent is not None:
            request.headers.setdefault("User-Agent", user_agent)
        protocol.send_request(request)

    @property
    def is_answered(self) -> bool:
        """The handshake is over, for better or for worse."""
        return self._protocol.state is not CONNECTING or self._protocol.handshake_exc is not None

    def raise_for_answer(self) -> None:
        """Raises what the library makes of an answer that is none to an upgrade."""
        if self._protocol.handshake_exc is not None:
            raise self._protocol.handshake_exc

    def _answer(self, data: bytes) -> bytes:
        """What follows the handshake, if it ends with ``data``."""
        protocol, head = self._protocol, self._rest + data
        end = head.find(b"\r\n\r\n") + 4
        if self._is_refused or (end < 4 and len(head) >= _HEAD):
            end = len(head)
        elif end < 4:
            self._rest = head
            return b""
        self._rest = b""
        protocol.receive_data(head[:end])
        if protocol.state is OPEN:
            # Without what the handshake needed: headers both ways, and a parser that remembers them.
            ready = Protocol(CLIENT, max_size=protocol.max_message_size, logger=protocol.logger)
            ready.extensions = protocol.extensions
            self._protocol = ready
            return head[end:]
        self._is_refused = True
        if head[end:]:
            protocol.receive_data(head[end:])  # the body
        return b""

    # --- receiving ---

    def receive(self, data: bytes) -> list[bytes]:
        """Take in what came, and give out the messages that it completes. `outgoing` may have something to be sent
        afterwards, whatever came."""
        if self._protocol.state is CONNECTING:
            data = self._answer(data)
            if not data:
                return []
        if self._rest:
            data, self._rest = self._rest + data, b""
        messages: list[bytes] = []
        ping = b""  # of several the newest alone is answered, as RFC 6455, 5.5.3 allows: a flood of them costs little
        if self._owed:
            rest = data[: self._owed]
            self._owed -= len(rest)
            data = data[len(rest) :]
            self._leave(rest, messages)
        begin, size = 0, len(data)
        protocol = self._protocol
        limit = protocol.max_message_size
        while begin < size:
            if protocol.state is not OPEN:
                self._leave(data[begin:], messages)  # who closes, or has given up, only waits for the end
                return messages
            start = begin + 2
            if start > size:
                break
            length = data[begin + 1]
            if length == 126:
                start += 2
                length = int.from_bytes(data[start - 2 : start])
            elif length == 127:
                start += 8
                length = int.from_bytes(data[start - 8 : start])
            elif length > 127:
                self._leave(ping + data[begin:], messages)  # masked, which the library refuses
                return messages
            if start > size:
                break
            end = start + length
            plain = data[begin] == _TEXT and protocol.current_size is None and (limit is None or length <= limit)
            if plain and end <= size:
                messages.append(data[start:end])
            elif plain and length <= _KEPT:
                break
            elif data[begin] == _PING and length <= _CONTROL and end <= size:
                ping = data[begin:end]
            else:
                self._leave(ping + data[begin:end], messages)
                ping = b""
                self._owed = max(0, end - size)
            begin = end
        if begin < size:
            self._rest = data[begin:]
        if ping:
            self._leave(ping, messages)
        return messages

    def receive_end(self) -> None:
        """Nothing comes any more. Harmless when repeated."""
        if self._rest:
            rest, self._rest = self._rest, b""
            self._protocol.receive_data(rest)
        self._protocol.receive_eof()

    def _leave(self, data: bytes, messages: list[bytes]) -> None:
        """To the library. As bytes, since it would close the socket over a text that is no UTF-8 (ENV-12)."""
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and event.opcode in DATA_OPCODES:
                if event.fin and event.opcode is not Opcode.CONT:
                    messages.append(bytes(event.data))
                    continue
                self._pieces.append(bytes(event.data))
                if event.fin:
                    messages.append(b"".join(self._pieces))
                    self._pieces.clear()

    # --- sending ---

    @property
    def is_open(self) -> bool:
        """Whether anything can be sent."""
        return self._protocol.state is OPEN

    @property
    def is_closing(self) -> bool:
        """The connection is to end: the peer has a limited time to end it."""
        return self._protocol.close_expected()

    def queue(self, item: Outgoing) -> None:
        """Queue a message or a CLOSE frame, while it is open."""
        match item:
            case SendFrame(text=text):
                self._protocol.send_text(text.encode())
            case Close(code=code, reason=reason):
                self._protocol.send_close(code, cut_reason(reason))
            case Reconnect(reason=reason):
                self._protocol.send_close(NORMAL_CLOSURE, cut_reason(reason))
            case _:
                assert_never(item)

    def outgoing(self) -> list[bytes]:
        """What is to be sent now; an empty item means that the connection is to be closed for sending."""
        return self._protocol.data_to_send()

    @property
    def closing(self) -> tuple[int, str]:
        """Code and reason, once the end was received; see `closing_of`."""
        return closing_of(self._protocol.close_exc)
