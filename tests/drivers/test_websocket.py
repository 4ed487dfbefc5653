"""The WebSocket without IO gives out what the library would, however the bytes are cut."""

from itertools import combinations, pairwise

import pytest
from hypothesis import given, strategies as st
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidMessage, InvalidStatus, StatusLineTooLong
from websockets.frames import DATA_OPCODES, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import CLIENT, Protocol
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from clawproto.effects import Close, Reconnect, SendFrame
from clawproto_io.sockets import closing_of
from clawproto_io.websocket import WebSocket

LIMIT = 200_000
SIZES = (0, 1, 125, 126, 127, 65_535, 65_536, 70_000)


class Reference:
    """The library's own parser, fed with the same pieces."""

    def __init__(self) -> None:
        self.protocol = Protocol(CLIENT, max_size=LIMIT)
        self.messages: list[bytes] = []
        self._pieces = b""

    def receive(self, data: bytes) -> None:
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if isinstance(event, Frame) and event.opcode in DATA_OPCODES:
                self._pieces += bytes(event.data)
                if event.fin:
                    self.messages.append(self._pieces)
                    self._pieces = b""


def begun() -> tuple[WebSocket, ServerProtocol, bytes]:
    """Both ends, and what the server says to the upgrade."""
    websocket = WebSocket(ClientProtocol(parse_uri("ws://hub/ws"), max_size=LIMIT))
    server = ServerProtocol()
    websocket.request([("X-Instance", "1")], "test")
    server.receive_data(b"".join(websocket.outgoing()))
    (request,) = server.events_received()
    assert isinstance(request, Request)
    assert request.headers["X-Instance"] == "1" and request.headers["User-Agent"] == "test"
    server.send_response(server.accept(request))
    return websocket, server, b"".join(server.data_to_send())


def opened() -> WebSocket:
    websocket, _, answer = begun()
    assert websocket.receive(answer) == []
    assert websocket.is_answered and websocket.is_open
    return websocket


def replies(outgoing: list[bytes]) -> list[tuple[Opcode, bytes]]:
    """What a server understands of it; a mask is drawn anew for every frame."""
    server = Protocol(side=ServerProtocol().side)
    data = b"".join(outgoing)
    if data:
        server.receive_data(data)
    return [(event.opcode, bytes(event.data)) for event in server.events_received() if isinstance(event, Frame)]


def assert_like(ours: list[tuple[Opcode, bytes]], theirs: list[tuple[Opcode, bytes]]) -> None:
    """The same replies in the same order, but that of pings which came together the last one suffices."""
    pongs, all_pongs = ([reply for reply in side if reply[0] is Opcode.PONG] for side in (ours, theirs))
    left = iter(theirs)
    assert all(reply in left for reply in ours), (ours, theirs)
    assert pongs[-1:] == all_pongs[-1:]
    assert [one for one in ours if one not in pongs] == [one for one in theirs if one not in all_pongs]


def frame(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=False)


payloads = st.binary(max_size=40) | st.sampled_from(SIZES).map(lambda size: b"x" * size)
texts = payloads.map(lambda data: frame(Opcode.TEXT, data))
pieces = st.lists(payloads, min_size=2, max_size=4).map(
    lambda parts: b"".join(
        frame(Opcode.CONT if index else Opcode.TEXT, part, fin=index == len(parts) - 1)
        for index, part in enumerate(parts)
    )
)
others = st.one_of(
    payloads.map(lambda data: frame(Opcode.BINARY, data)),
    st.binary(max_size=20).map(lambda data: frame(Opcode.PING, data)),
    st.binary(max_size=20).map(lambda data: frame(Opcode.PONG, data)),
    pieces,
)
endings = st.sampled_from(
    [
        b"",
        frame(Opcode.CLOSE, b"\x0f\xa1takeover"),
        frame(Opcode.CLOSE, b""),
        frame(Opcode.CLOSE, b"\x03\xe8") + frame(Opcode.TEXT, b"never read"),
        frame(Opcode.TEXT, b"begun", fin=False) + frame(Opcode.TEXT, b"another"),  # out of turn
        frame(Opcode.CONT, b"of nothing"),
        frame(Opcode.TEXT, b"x" * (LIMIT + 1)),
        frame(Opcode.TEXT, b"half of it")[:5],
        Frame(Opcode.TEXT, b"masked").serialize(mask=True),
        b"\xc1\x03abc",  # a reserved bit
        b"\x83\x03abc",  # a reserved opcode
        b"\x81\xff" + b"\xff" * 8,
    ]
)
streams = st.tuples(st.lists(texts | others, max_size=8).map(b"".join), endings).map(b"".join)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({place % (len(data) + 1) for place in at} | {0, len(data)})
    return [data[begin:end] for begin, end in pairwise(places) if end > begin]


@pytest.mark.rule("ENV-12", "CLOSE-2")
@given(streams, st.lists(st.integers(0, 1 << 20), max_size=12))
def test_it_agrees_with_the_library_however_the_bytes_are_cut(stream: bytes, at: list[int]) -> None:
    websocket, reference = opened(), Reference()
    messages: list[bytes] = []
    for piece in cut(stream, at):
        messages += websocket.receive(piece)
        reference.receive(piece)
        assert websocket.is_open == (reference.protocol.state.name == "OPEN")
    websocket.receive_end()
    reference.protocol.receive_eof()
    assert messages == reference.messages
    assert_like(replies(websocket.outgoing()), replies(reference.protocol.data_to_send()))
    assert websocket.closing == closing_of(reference.protocol.close_exc)


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=6))
def test_noise_is_taken_as_the_library_takes_it(noise: bytes, at: list[int]) -> None:
    websocket, reference = opened(), Reference()
    messages: list[bytes] = []
    for piece in cut(noise, at):
        messages += websocket.receive(piece)
        reference.receive(piece)
    websocket.receive_end()
    reference.protocol.receive_eof()
    assert messages == reference.messages
    assert websocket.closing == closing_of(reference.protocol.close_exc)


def test_of_pings_that_come_together_the_newest_is_answered() -> None:
    websocket = opened()
    pings = [frame(Opcode.PING, b"%d" % number) for number in range(1000)]
    assert websocket.receive(b"".join(pings) + frame(Opcode.TEXT, b"said")) == [b"said"]
    assert replies(websocket.outgoing()) == [(Opcode.PONG, b"999")]
    assert websocket.receive(pings[7]) == [] and replies(websocket.outgoing()) == [(Opcode.PONG, b"7")]
    websocket.receive(pings[1] + pings[2] + frame(Opcode.CLOSE, b"\x03\xe8") + pings[3])
    assert replies(websocket.outgoing()) == [(Opcode.PONG, b"2"), (Opcode.CLOSE, b"\x03\xe8")]


@given(st.lists(st.integers(0, 1 << 12), max_size=8))
def test_frames_may_follow_the_handshake_at_once(at: list[int]) -> None:
    websocket, _, answer = begun()
    stream = answer + frame(Opcode.TEXT, b"challenge") + frame(Opcode.PING, b"p") + frame(Opcode.TEXT, b"next")
    messages = [message for piece in cut(stream, at) for message in websocket.receive(piece)]
    assert messages == [b"challenge", b"next"]
    assert replies(websocket.outgoing()) == [(Opcode.PONG, b"p")]


@pytest.mark.parametrize("ending", [Close(1, 1000, "ä" * 100), Reconnect(1, "ä" * 100)])
def test_what_is_sent_arrives(ending: Close | Reconnect) -> None:
    websocket = opened()
    websocket.queue(SendFrame(1, "grüße", "ping"))
    websocket.queue(ending)
    (text, close) = replies(websocket.outgoing())
    assert text == (Opcode.TEXT, "grüße".encode())
    assert close[0] is Opcode.CLOSE and len(close[1]) <= 125
    assert websocket.is_closing and not websocket.is_open
    assert websocket.receive(frame(Opcode.CLOSE, close[1])) == []
    websocket.receive_end()
    assert websocket.closing == (1000, "ä" * 61)


@pytest.mark.parametrize("cuts", [[], [3], [20, 40, 60]])
def test_a_refused_upgrade_says_so_with_its_body(cuts: list[int]) -> None:
    websocket, _, _ = begun()
    for piece in cut(b"HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nlater", cuts):
        assert websocket.receive(piece) == []
    assert websocket.is_answered
    with pytest.raises(InvalidStatus) as caught:
        websocket.raise_for_answer()
    assert caught.value.response.body == b"later"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 101 Switch", b"nonsense\r\n\r\n", b"x" * 300_000])
def test_what_is_no_answer_is_none(answer: bytes) -> None:
    websocket, _, _ = begun()
    if answer:
        assert websocket.receive(answer) == []
    websocket.receive_end()
    websocket.receive_end()
    assert websocket.is_answered and not websocket.is_open
    with pytest.raises((InvalidMessage, StatusLineTooLong)):
        websocket.raise_for_answer()


def test_the_answer_to_the_upgrade_may_come_in_any_three_pieces_with_what_follows_it() -> None:
    texts = frame(Opcode.TEXT, b"challenge") + frame(Opcode.TEXT, b"next")
    size = len(begun()[2])
    for first, second in combinations(range(1, size + len(texts)), 2):
        if first > size:
            break
        websocket, _, answer = begun()
        stream = answer + texts
        received = [
            message
            for piece in (stream[:first], stream[first:second], stream[second:])
            for message in websocket.receive(piece)
        ]
        assert received == [b"challenge", b"next"] and websocket.is_open, (first - size, second - size)
