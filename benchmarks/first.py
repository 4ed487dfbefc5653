"""``python -m benchmarks.first WHAT``: a fresh interpreter gets to its first useful deed, and ends there.

    step                    a session is made, and takes its first step
    asyncio, trio           a driver asks for its socket
    bare asyncio, bare trio ``websockets`` asks for its socket

Only what is needed is imported, and only when it is needed, as an application would.
"""

import os
import socket
import sys
from typing import Any

CREATED_MS = 1_790_000_000_000


def _credentials(port: int) -> Any:
    from clawproto.credentials import Credentials, Identity, TokenPair
    from clawproto.secret import Secret

    url = f"ws://127.0.0.1:{port}"
    identity = Identity("usr_8f14e45fceea167a", "bench-01", f"http://127.0.0.1:{port}", url)
    # Without dots it is no JSON Web Token, so it lives for a day from when it came (TOK-4).
    return Credentials(identity, TokenPair(Secret("a" * 300), Secret("r" * 40), CREATED_MS), 1)


def step() -> None:
    from clawproto import Config, Session
    from clawproto.events import Start
    from clawproto.instant import Instant

    session = Session(Config(seed=bytes(16)))
    effects = session.handle(Start(_credentials(1)), Instant(CREATED_MS, 1))
    assert effects, "it wants a socket"


def _listen() -> socket.socket:
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    return listening


def asyncio_driver() -> None:
    import asyncio

    from clawproto_asyncio import connect
    from clawproto_io.stores import MemoryStore

    async def main() -> None:
        listening = _listen()
        store = MemoryStore(_credentials(listening.getsockname()[1]))
        async with connect(store, proxy=None):
            await asyncio.get_running_loop().sock_accept(listening)
            os._exit(0)  # what it takes to end is no part of it

    asyncio.run(main())


def asyncio_bare() -> None:
    import asyncio

    from websockets.asyncio.client import connect

    async def main() -> None:
        listening = _listen()
        url = f"ws://127.0.0.1:{listening.getsockname()[1]}"
        opening = asyncio.create_task(connect(url, compression=None, proxy=None).__aenter__())
        await asyncio.get_running_loop().sock_accept(listening)
        assert not opening.done()
        os._exit(0)

    asyncio.run(main())


def trio_driver() -> None:
    import trio

    from clawproto_io.stores import MemoryStore
    from clawproto_trio import connect

    async def main() -> None:
        listening = trio.socket.from_stdlib_socket(_listen())
        store = MemoryStore(_credentials(listening.getsockname()[1]))
        async with connect(store, proxy=None):
            await listening.accept()
            os._exit(0)

    trio.run(main)


def trio_bare() -> None:
    import trio
    from websockets.trio.client import connect

    async def main() -> None:
        listening = trio.socket.from_stdlib_socket(_listen())
        url = f"ws://127.0.0.1:{listening.getsockname()[1]}"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connect(url, compression=None, proxy=None).__aenter__)
            await listening.accept()
            os._exit(0)

    trio.run(main)


if __name__ == "__main__":
    {
        "step": step,
        "asyncio": asyncio_driver,
        "trio": trio_driver,
        "bare asyncio": asyncio_bare,
        "bare trio": trio_bare,
    }[" ".join(sys.argv[1:])]()
