"""A process that holds a session: exclusive_child.py DRIVER STORE TERM. It prints what happens to it.

With a TERM of 0 it shares the session with whoever else does, and refreshes the tokens for each line that it reads.
"""

import os
import sys

import anyio.to_thread

from clawproto.app_events import LoggedOut, MessageReceived, Ready, TokensRotated
from clawproto.errors import SessionTakenOver
from clawproto.policy import Policy
from tests.integration.driver_adapters import ADAPTERS, PairingAdapter

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


async def main(driver: PairingAdapter, store: str, term: float) -> None:
    say("waiting")
    try:
        async with driver.connect(store, policy=POLICY, exclusive=term) as client:
            say("owner")
            async for event in client:
                if isinstance(event, Ready):
                    say("ready")
                elif isinstance(event, MessageReceived):
                    say(f"got {event.text}")
                elif isinstance(event, LoggedOut):
                    say(f"logged-out {event.cause}")
                elif isinstance(event, TokensRotated):
                    say("adopted" if event.adopted else "rotated")
    except SessionTakenOver:
        say("taken-over")


async def share(adapter: PairingAdapter, store: str) -> None:
    name = f"dev-{os.getpid()}"
    async with adapter.connect(store, policy=POLICY, exclusive=False, messages=False, socket_device_id=name) as client:
        await client.wait_ready()
        say("ready")
        while await anyio.to_thread.run_sync(sys.stdin.readline):
            before = client.credentials
            await client.refresh()
            say("same" if client.credentials == before else "another")


if __name__ == "__main__":
    name, path, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    (chosen,) = [one for one in ADAPTERS if one.name == name]
    if seconds:
        chosen.run(lambda: main(chosen, path, seconds))
    else:
        chosen.run(lambda: share(chosen, path))
