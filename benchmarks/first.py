"""``python -m benchmarks.first WHAT [URL]``: a fresh interpreter gets to its first useful deed, and ends there.

    step                        a session is made, and takes its first step
    message                     a session gets ready and receives a message
    socket asyncio|trio         a driver asks for its socket
    ack asyncio|trio URL        a driver gets ready, sends a message, and has its ack
    bare …                      ``websockets`` and ``json`` do the same

Only what is needed is imported, and only when it is needed, as an application would.
"""

import os
import socket
import sys
import time
from typing import Any

NOW_MS = time.time_ns() // 1_000_000


def _credentials(url: str) -> Any:
    from clawproto.credentials import Credentials, Identity, TokenPair
    from clawproto.secret import Secret

    identity = Identity("usr_8f14e45fceea167a", "bench-01", url.replace("ws", "http"), url)
    # Without dots it is no JSON Web Token, so it lives for a day from when it came (TOK-4).
    return Credentials(identity, TokenPair(Secret("a" * 300), Secret("r" * 40), NOW_MS), 1)


def step() -> None:
    from clawproto import Config, Session
    from clawproto.events import Start
    from clawproto.instant import Instant

    session = Session(Config(seed=bytes(16)))
    effects = session.handle(Start(_credentials("ws://127.0.0.1:1")), Instant(NOW_MS, 1))
    assert effects, "it wants a socket"


HELLO = '{"device_id":"bench-01","ack_mode":"dseq","ack_epoch":"e"}'
BODY = '{"body":{"fragments":[{"kind":"text","text":"hello"}]},"context":{"mentions":[],"reply":null}}'
MESSAGE = (
    '"emitted_at":1790000000000,"chat_id":"cnv_1","chat_type":"direct","sender":{"id":"usr_1","type":"direct"},"dseq":1,'
    f'"payload":{{"message_id":"m-1","message_mode":"normal","message":{BODY}}}'
)
FRAMES = (
    '{"version":"2","event":"connect.challenge","trace_id":"s-1","payload":{"nonce":"n-1"}}',
    f'{{"version":"2","event":"hello-ok","trace_id":"s-2","payload":{HELLO}}}',
    f'{{"version":"2","event":"message.send","trace_id":"s-3",{MESSAGE}}}',
)


def message() -> None:
    from clawproto import Config, Session
    from clawproto.app_events import MessageReceived
    from clawproto.effects import Emit, Open
    from clawproto.events import FrameReceived, Opened, Start
    from clawproto.instant import Instant

    now = Instant(NOW_MS, 1)
    session = Session(Config(seed=bytes(16)))
    effects = session.handle(Start(_credentials("ws://127.0.0.1:1")), now)
    generation = next(effect.generation for effect in effects if isinstance(effect, Open))
    session.handle(Opened(generation), now)
    for text in FRAMES:
        effects = session.handle(FrameReceived(generation, text), now)
    assert any(isinstance(effect, Emit) and isinstance(effect.event, MessageReceived) for effect in effects)


def _listen() -> socket.socket:
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    return listening


def _address(listening: Any) -> str:
    return f"ws://127.0.0.1:{listening.getsockname()[1]}"


def socket_asyncio() -> None:
    import asyncio

    from clawproto_asyncio import connect
    from clawproto_io.stores import MemoryStore

    async def main() -> None:
        listening = _listen()
        store = MemoryStore(_credentials(_address(listening)))
        async with connect(store, proxy=None):
            await asyncio.get_running_loop().sock_accept(listening)
            os._exit(0)  # what it takes to end is no part of it

    asyncio.run(main())


def bare_socket_asyncio() -> None:
    import asyncio

    from websockets.asyncio.client import connect

    async def main() -> None:
        listening = _listen()
        opening = asyncio.create_task(connect(_address(listening), compression=None, proxy=None).__aenter__())
        await asyncio.get_running_loop().sock_accept(listening)
        assert not opening.done()
        os._exit(0)

    asyncio.run(main())


def socket_trio() -> None:
    import trio

    from clawproto_io.stores import MemoryStore
    from clawproto_trio import connect

    async def main() -> None:
        listening = trio.socket.from_stdlib_socket(_listen())
        store = MemoryStore(_credentials(_address(listening)))
        async with connect(store, proxy=None):
            await listening.accept()
            os._exit(0)

    trio.run(main)


def bare_socket_trio() -> None:
    import trio
    from websockets.trio.client import connect

    async def main() -> None:
        listening = trio.socket.from_stdlib_socket(_listen())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connect(_address(listening), compression=None, proxy=None).__aenter__)
            await listening.accept()
            os._exit(0)

    trio.run(main)


def ack_asyncio(url: str) -> None:
    import asyncio

    from clawproto_asyncio import connect
    from clawproto_io.stores import MemoryStore

    async def main() -> None:
        async with connect(MemoryStore(_credentials(url)), proxy=None) as client:
            await client.wait_ready()
            await client.send("cnv_1", "hello")
            os._exit(0)

    asyncio.run(main())


def ack_trio(url: str) -> None:
    import trio

    from clawproto_io.stores import MemoryStore
    from clawproto_trio import connect

    async def main() -> None:
        async with connect(MemoryStore(_credentials(url)), proxy=None) as client:
            await client.wait_ready()
            await client.send("cnv_1", "hello")
            os._exit(0)

    trio.run(main)


async def _bare_ack(socket: Any) -> None:
    import json

    json.loads(await socket.recv())
    await socket.send(json.dumps({"version": "2", "event": "connect", "trace_id": "c-1", "payload": {}}))
    json.loads(await socket.recv())
    payload = {"message_id": "m-1", "message_mode": "normal", "message": {"body": {"fragments": []}}}
    await socket.send(json.dumps({"version": "2", "event": "message.send", "trace_id": "c-2", "payload": payload}))
    json.loads(await socket.recv())
    os._exit(0)


def bare_ack_asyncio(url: str) -> None:
    import asyncio

    from websockets.asyncio.client import connect

    async def main() -> None:
        async with connect(url, compression=None, proxy=None) as opened:
            await _bare_ack(opened)

    asyncio.run(main())


def bare_ack_trio(url: str) -> None:
    import trio
    from websockets.trio.client import connect

    async def main() -> None:
        async with connect(url, compression=None, proxy=None) as opened:
            await _bare_ack(opened)

    trio.run(main)


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if "://" not in word]
    globals()["_".join(words)](*sys.argv[1 + len(words) :])
