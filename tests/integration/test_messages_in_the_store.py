"""Sessions of both drivers on one account of an SQLite file: what they leave in it, and what the next one finds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clawproto.app_events import MessageReceived, ReactionChanged
from clawproto_io.hub_thread import HubThread
from clawproto_io.stores import MemoryStore, SqliteAccounts
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
