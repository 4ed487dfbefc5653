"""A hub reduced to what is measured: ``python -m benchmarks.server`` in a process of its own, on loopback.

It greets as PROTOCOL.md says, then does what the path of the upgrade asks for: ``/flood/N`` acknowledges the first
message and then sends N as fast as they are taken, framed beforehand so that nobody waits for it, ``/echo``
acknowledges every message, ``/idle`` does nothing. It prints its port when it is ready.
"""

import asyncio
import json
import sys
from contextlib import suppress
from functools import cache

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from benchmarks import frames

SIZE = 700
HELLO = {"device_id": "bench-01", "ack_mode": "dseq", "ack_epoch": "epoch-1"}


async def _serve(connection: ServerConnection) -> None:
    with suppress(ConnectionClosed):
        await connection.send(frames.envelope("connect.challenge", {"nonce": "n-1"}, emitted_at=None))
        await connection.recv()
        await connection.send(frames.envelope("hello-ok", dict(HELLO)))
        path = "" if connection.request is None else connection.request.path
        kind, _, count = path.removeprefix("/").partition("/")
        flood = _framed(int(count)) if kind == "flood" else b""
        async for data in connection:
            uplink = json.loads(data)
            if kind in ("echo", "flood") and uplink["event"] == "message.send":
                await connection.send(frames.ack(uplink["trace_id"], uplink["payload"]["message_id"]))
                connection.transport.write(flood)


@cache
def _framed(count: int) -> bytes:
    texts = [frames.message(number, SIZE) for number in range(1, count + 1)]
    return b"".join(Frame(Opcode.TEXT, text.encode()).serialize(mask=False) for text in texts)


async def _main() -> None:
    async with serve(_serve, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main())
