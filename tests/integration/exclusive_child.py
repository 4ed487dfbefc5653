"""A process that holds an exclusive session: exclusive_child.py DRIVER STORE TERM. It prints what happens to it."""

import asyncio
import sys
from typing import Any

import trio

from clawproto.app_events import Ready, TokensRotated
from clawproto.errors import SessionTakenOver
from clawproto.policy import Policy

POLICY = Policy(
    refresh_floor_ms=200,
    unexplained_floor_ms=100,
    reconnect_first_ms=50,
    reconnect_max_ms=200,
    takeover_max_ms=100,
    clip_short_lives=True,
)


def say(word: str) -> None:
    print(word, flush=True)


async def main(driver: Any, store: str, term: float) -> None:
    say("waiting")
    try:
        async with driver.connect(store, policy=POLICY, exclusive=term) as client:
            say("owner")
            async for event in client:
                if isinstance(event, Ready):
                    say("ready")
                elif isinstance(event, TokensRotated):
                    say("adopted" if event.adopted else "rotated")
    except SessionTakenOver:
        say("taken-over")


if __name__ == "__main__":
    name, path, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    if name == "asyncio":
        import clawproto_asyncio

        asyncio.run(main(clawproto_asyncio, path, seconds))
    else:
        import clawproto_trio

        trio.run(main, clawproto_trio, path, seconds)
