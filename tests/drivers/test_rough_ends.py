"""Tasks cancelled by strangers, full inboxes, and sockets that end in the middle of it."""

import asyncio
import socket
import struct
from typing import Any, cast

import pytest

import clawproto_asyncio
from clawproto.effects import Persist
from clawproto.errors import DriverFailed
from clawproto.mailbox import InboxLimit
from clawproto.testing.peer import CHAT, Peer
from clawproto.testing.stage import POLICY
from clawproto_io.stores import MemoryStore
from tests.integration.driver_adapters import AsyncioAdapter, TrioAdapter

SMALL = InboxLimit(events=4)


@pytest.mark.rule("REF-9", "REF-48")
def test_a_save_that_is_cancelled_before_its_first_step_is_made_all_the_same() -> None:
    """Somebody cancels every task of the loop in the instant between the queueing of the save and its begin."""

    async def hold(store: MemoryStore) -> None:
        loop = asyncio.get_running_loop()

        def cancel_everything() -> None:
            for task in asyncio.all_tasks():
                task.cancel()

        def observer(_now: object, _event: object, effects: tuple[object, ...], _state: object) -> None:
            if any(isinstance(effect, Persist) for effect in effects):
                loop.call_soon(cancel_everything)

        async with clawproto_asyncio.connect(store, policy=POLICY, observer=observer, shutdown_timeout=5) as client:
            await client.wait_ready()
            await client.refresh()

    with Peer() as peer:
        store = MemoryStore(peer.credentials())
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(hold(store))
        assert store.credentials is not None and store.credentials.tokens is not None
        assert store.credentials.tokens.access.reveal() == peer.pair[0]


def test_a_driver_that_fails_behind_a_full_inbox_and_a_lost_socket_still_ends() -> None:
    async def hold(peer: Peer) -> None:
        store = MemoryStore(peer.credentials())
        options: Any = {"policy": POLICY, "inbox_limit": SMALL, "shutdown_timeout": 1}
        async with clawproto_asyncio.connect(store, **options) as client:
            await client.wait_ready()
            driver: Any = client._driver
            (link,) = driver._sockets.values()
            for number in range(60):
                peer.message("hello", number)
            while not link.connection.holds:
                await asyncio.sleep(0.01)
            live: Any = peer._live
            live.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.cuts()
            sending = [asyncio.ensure_future(client.send(CHAT, "x")) for _ in range(3)]
            while not link.connection._ended:
                await asyncio.sleep(0.01)
            driver._fail("something", RuntimeError("broken"))
            await asyncio.gather(*sending, return_exceptions=True)

    with Peer() as peer, pytest.raises(DriverFailed):
        asyncio.run(asyncio.wait_for(hold(peer), 30))


@pytest.mark.rule("HB-1")
@pytest.mark.parametrize("adapter", [AsyncioAdapter(), TrioAdapter()], ids=lambda one: one.name)
def test_pings_of_the_websocket_are_answered_while_the_inbox_is_full(adapter: AsyncioAdapter | TrioAdapter) -> None:
    with Peer() as peer:

        async def hold() -> None:
            store: Any = MemoryStore(peer.credentials())
            async with adapter.connect(store, policy=POLICY, inbox_limit=SMALL) as client:
                await client.wait_ready()
                number, session = 0, cast("Any", client)
                while not session._engine.paused:
                    peer.message("x", number)
                    number += 1
                    await adapter.sleep(0.05)
                live: Any = peer._live
                answered = live.ping()
                for _ in range(200):
                    if answered.is_set():
                        break
                    await adapter.sleep(0.02)
                assert answered.is_set()
                session._driver.stop()

        adapter.run(hold)
