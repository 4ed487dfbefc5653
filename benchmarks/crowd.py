"""``python -m benchmarks.crowd driver|kept|bare LOOP URL COUNT``: prints KiB of resident memory per connection."""

import asyncio
import gc
import sys
from contextlib import AsyncExitStack
from importlib import import_module
from typing import Any

import trio

from benchmarks.network import connect_asyncio, connect_trio, dial_asyncio, dial_trio, greeted, kept_asyncio, kept_trio

WARM_UP = 4


CONNECT = {
    ("driver", "asyncio"): connect_asyncio,
    ("driver", "trio"): connect_trio,
    ("kept", "asyncio"): kept_asyncio,
    ("kept", "trio"): kept_trio,
}


async def _measure(kind: str, loop: str, url: str, count: int) -> float:
    psutil: Any = import_module("psutil")  # it brings no types
    process = psutil.Process()
    async with AsyncExitStack() as stack:

        async def enter() -> None:
            if kind == "bare":
                await stack.enter_async_context(greeted(dial_asyncio if loop == "asyncio" else dial_trio, url))
            else:
                client = await stack.enter_async_context(CONNECT[kind, loop](url))
                await client.wait_ready()

        for _ in range(WARM_UP):
            await enter()
        gc.collect()
        before = process.memory_info().rss
        for _ in range(count):
            await enter()
        gc.collect()
        return float(process.memory_info().rss - before) / count / 1024


def main() -> None:
    """Open them, measure, close them."""
    kind, loop, url, count = sys.argv[1:5]

    async def program() -> float:
        return await _measure(kind, loop, f"{url}/idle", int(count))

    print(asyncio.run(program()) if loop == "asyncio" else trio.run(program))


if __name__ == "__main__":
    main()
