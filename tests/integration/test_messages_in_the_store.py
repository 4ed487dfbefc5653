"""Sessions of both drivers on one account of an SQLite file: what they leave in it, and what the next one finds."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from clawproto.app_events import MessageReceived, ReactionChanged
from clawproto.keeping import KeptSend
from clawproto_io.clock import SystemClock
from clawproto_io.hub_thread import HubThread
from clawproto_io.stores import MemoryStore, SqliteAccounts, SqliteStore
from tests.core.link_harness import message_payload
from tests.integration.driver_adapters import ADAPTERS, PairingAdapter
from tests.integration.test_drivers_on_the_hub import POLICY, next_of, record, run

pytestmark = pytest.mark.integration


@pytest.fixture
def hub() -> Iterator[HubThread]:
    with HubThread() as running:
        yield running


@pytest.fixture(params=ADAPTERS, ids=lambda adapter: adapter.name)
def driver(request: pytest.FixtureRequest) -> PairingAdapter:
    adapter: PairingAdapter = request.param
    return adapter


@pytest.mark.rule("R2-10", "SEND-5", "SEND-19", "RX-3")
def test_a_conversation_over_three_sessions(driver: PairingAdapter, hub: HubThread, tmp_path: Path) -> None:
    agent, other = hub.create_agent(), hub.create_agent()
    chat = hub.call(lambda machine: machine.create_conversation([agent.user_id, other.user_id]))
    accounts = SqliteAccounts(tmp_path / "agents.db")

    def session(account: str = "sales", **settings: Any) -> Any:
        return driver.connect(accounts.account(account), policy=POLICY, **settings)

    async def scenario() -> None:
        store = accounts.account("sales")
        await store.save(record(hub, agent), None)
        async with driver.connect(MemoryStore(record(hub, other)), policy=POLICY) as peer:
            async with session(settle="explicit") as client:
                asked = await peer.send(chat, "are you there?")
                event = await next_of(client, MessageReceived)
                assert event.message_id == asked.message_id  # and the application dies before it is done with it
            (waiting,) = await store.messages.messages(chat)
            assert waiting.event.text == "are you there?" and not waiting.handled
            assert (await accounts.accounts())[0].lease is not None

            async with session(settle="explicit") as client:
                again = await next_of(client, MessageReceived)
                assert again == event and not again.update
                sent = await client.send(chat, "yes", reply_to=again)
                await client.settle(again)
                await next_of(peer, MessageReceived)
                await peer.react(chat, asked.message_id, "👍")
                await client.settle(await next_of(client, ReactionChanged))

            async with session(settle="explicit") as client:
                later = await peer.send(chat, "good")
                event = await next_of(client, MessageReceived)
                assert event.message_id == later.message_id, "what was handled does not come again"
                await client.settle(event)
        assert [one.handled for one in await store.messages.messages(chat)] == [True, True]
        assert [reaction.emoji for reaction in await store.messages.reactions(asked.message_id)] == ["👍"]
        (kept,) = await store.messages.sends()
        assert kept.decision is not None and kept.decision.outcome == "accepted"
        assert kept.send.message_id == kept.decision.message_id == sent.message_id
        assert (await store.messages.backlog()).arrivals == ()
        (row,) = await accounts.accounts()
        assert row.lease is not None and row.lease.owner is None and row.lease.fence == 3
        await accounts.aclose()

    run(driver, scenario)


@pytest.mark.rule("OUT-8", "R2-10", "SEND-17")
def test_another_user_is_paired_into_an_account_while_no_session_runs(
    driver: PairingAdapter, hub: HubThread, tmp_path: Path
) -> None:
    """Both are in one chat. The second one is handed what the hub has for them, and sends nothing of the first one."""
    first, second, other = (hub.create_agent() for _ in range(3))
    users = [first.user_id, second.user_id, other.user_id]
    chat = hub.call(lambda machine: machine.create_conversation(users))
    path = tmp_path / "agent.db"

    async def scenario() -> None:
        store = SqliteStore(path)
        await store.save(record(hub, first), None)
        async with driver.connect(MemoryStore(record(hub, other)), policy=POLICY) as peer:
            async with driver.connect(store, policy=POLICY, settle="explicit") as client:
                asked = await peer.send(chat, "who are you?")
                await next_of(client, MessageReceived)
            backlog = await store.messages.backlog()
            assert len(backlog.arrivals) == 1
            payload = json.dumps(message_payload("msg-of-the-first", "I am the first"))
            now_ms = SystemClock().now().wall_ms
            left = KeptSend("s-left", 9, "msg-of-the-first", chat, "message.send", payload, None, now_ms)
            await store.messages.commit([left])
            await store.save(evolve(record(hub, second), generation=2), 1)

            async with driver.connect(store, policy=POLICY, settle="explicit") as client:
                event = await next_of(client, MessageReceived)
                assert event.message_id == asked.message_id and not event.update
                await client.settle(event)
                sent = await client.send(chat, "I am the second")
                received = await next_of(peer, MessageReceived)
                assert (received.message_id, received.text) == (sent.message_id, "I am the second")
        assert [one.send.message_id for one in await store.messages.sends()] == [sent.message_id]
        assert [one.event.message_id for one in await store.messages.messages(chat)] == [asked.message_id]
        assert (await store.messages.backlog()).arrivals == ()
        await store.aclose()

    run(driver, scenario)
