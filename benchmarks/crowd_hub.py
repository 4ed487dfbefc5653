"""A hub that only keeps sessions ready, for crowds of them: ``python -m benchmarks.crowd_hub [PORT]``.

It greets, answers pings, and ends when its standard input does. It prints its port when it listens. One object a
connection, no tasks: what is measured is the other end.
"""

import asyncio
import json
import sys
from typing import cast

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from benchmarks import frames

BACKLOG = 4096  # connections that the system accepts while the hub is busy: with fewer, a crowd waits for retransmits
CHALLENGE = frames.envelope("connect.challenge", {"nonce": "n-1"}, emitted_at=None).encode()
HELLO = frames.envelope("hello-ok", {"device_id": "bench-01", "ack_mode": "dseq", "ack_epoch": "epoch-1"}).encode()


class _Socket(asyncio.Protocol):
    def __init__(self) -> None:
        self._protocol = ServerProtocol()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        protocol = self._protocol
        protocol.receive_data(data)
        for event in protocol.events_received():
            if isinstance(event, Request):
                protocol.send_response(protocol.accept(event))
                protocol.send_text(CHALLENGE)
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self._answer(json.loads(bytes(event.data)))
        self._send()

    def _answer(self, uplink: dict[str, str]) -> None:
        if uplink["event"] == "connect":
            self._protocol.send_text(HELLO)
        elif uplink["event"] == "ping":
            self._protocol.send_text(frames.envelope("pong", {}, trace_id=uplink["trace_id"]).encode())

    def eof_received(self) -> None:
        self._protocol.receive_eof()
        self._send()

    def _send(self) -> None:
        assert self._transport is not None
        written = self._protocol.data_to_send()
        self._transport.write(b"".join(written))
        if b"" in written:
            self._transport.close()


async def _main(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Socket, "127.0.0.1", port, backlog=BACKLOG, reuse_address=True)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
