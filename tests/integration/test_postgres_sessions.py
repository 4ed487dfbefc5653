"""Sessions on a PostgreSQL store: both drivers, a server that goes away under them, one owner among many processes."""

import signal
import threading
import time
from collections.abc import Iterator

import anyio
import anyio.to_thread
import pytest

from clawproto import errors
from clawproto.app_events import MessageReceived, TokensRotated
from clawproto.hub import HubAgent, HubSettings
from clawproto.results import RefreshSucceeded
from clawproto_io import open_accounts, open_store
from clawproto_io.hub_thread import HubThread
from clawproto_io.stores.postgres import PostgresAccounts, PostgresStore
from tests.integration.driver_adapters import ADAPTERS, PairingAdapter
from tests.integration.session_processes import TERM, Process, owners, until
from tests.integration.test_drivers_on_the_hub import POLICY, next_of, record, run, text_of
from tests.postgres_server import PostgresServer

pytestmark = pytest.mark.integration


@pytest.fixture
def hub() -> Iterator[HubThread]:
    with HubThread(HubSettings(access_token_life_ms=4_000)) as running:
        yield running


@pytest.fixture(params=ADAPTERS, ids=lambda adapter: adapter.name)
def driver(request: pytest.FixtureRequest) -> PairingAdapter:
    adapter: PairingAdapter = request.param
    return adapter


@pytest.fixture
def own() -> Iterator[PostgresServer]:
    server = PostgresServer(fsync="off")
    yield server
    server.close()


@pytest.mark.rule("PAIR-9", "REF-9", "OUT-2")
def test_pairing_messages_a_rotation_and_a_logout(driver: PairingAdapter, database: str) -> None:
    async def scenario() -> None:
        accounts = open_accounts(database)
        assert isinstance(accounts, PostgresAccounts)
        stores = accounts.account("one"), accounts.account("two")
        await driver.pair(stores[0], one.pairing_code, base_url=hub.base_url)
        await stores[1].save(record(hub, two), None)
        async with (
            driver.connect(stores[0], policy=POLICY) as client,
            driver.connect(stores[1], policy=POLICY) as other,
        ):
            await client.wait_ready()
            await other.wait_ready()
            await client.send(chat, "lunch?")
            received = await next_of(other, MessageReceived)
            assert text_of(received) == "lunch?"
            assert isinstance(await client.refresh(), RefreshSucceeded)
            loaded = await stores[0].load()
            assert loaded is not None and loaded.generation == 2 and loaded.intent is None
            hub.call(lambda machine: machine.revoke(one.user_id))
            with pytest.raises(errors.LoggedOut):
                await client.refresh()
            loaded = await stores[0].load()
            assert loaded is not None and loaded.tokens is None and loaded.identity.user_id == one.user_id
        await accounts.aclose()

    with HubThread() as hub:
        one, two = hub.create_agent(), hub.create_agent()
        chat = hub.call(lambda machine: machine.create_conversation([one.user_id, two.user_id]))
        run(driver, scenario)


@pytest.mark.rule("REF-10")
def test_a_session_goes_on_while_its_database_is_away(
    driver: PairingAdapter, hub: HubThread, own: PostgresServer
) -> None:
    agent = hub.create_agent()
    store = PostgresStore(own.create_database(), timeout=2)

    async def scenario() -> None:
        await store.save(record(hub, agent), None)
        async with driver.connect(store, policy=POLICY) as client:
            await next_of(client, TokensRotated)
            await anyio.to_thread.run_sync(own.stop, "immediate")
            start = threading.Timer(1, own.start)
            start.start()
            await client.send(agent.conversation_id, "sent when it is kept")
            await anyio.to_thread.run_sync(start.join)
            rotated = await next_of(client, TokensRotated)
            assert not rotated.adopted
            loaded = await store.load()
            assert loaded is not None and loaded.generation >= 3
        await store.aclose()

    run(driver, scenario)


@pytest.mark.rule("R2-10", "R2-27", "SEND-5", "SEND-15")
def test_messages_outlive_the_session_and_their_database(
    driver: PairingAdapter, hub: HubThread, own: PostgresServer
) -> None:
    """One is handled, one is not; the server crashes; the next session is handed the second one first."""
    one, two = hub.create_agent(), hub.create_agent()
    chat = hub.call(lambda machine: machine.create_conversation([one.user_id, two.user_id]))
    database = own.create_database()

    async def scenario() -> None:
        store, sender = PostgresStore(database, "receiver", timeout=2), PostgresStore(database, "sender", timeout=2)
        await store.save(record(hub, one), None)
        await sender.save(record(hub, two), None)
        async with driver.connect(sender, policy=POLICY) as other:
            async with driver.connect(store, policy=POLICY, settle="manual") as client:
                await client.wait_ready()
                receipts = [await other.send(chat, text) for text in ("first", "second")]
                first = await next_of(client, MessageReceived)
                await client.settle(first)
                assert text_of(await next_of(client, MessageReceived)) == "second"
            await anyio.to_thread.run_sync(own.restart, "immediate")
            async with driver.connect(store, policy=POLICY) as client:
                again = await next_of(client, MessageReceived)
                assert text_of(again) == "second" and not again.update
                await other.send(chat, "third")
                assert text_of(await next_of(client, MessageReceived)) == "third"
        kept = await store.messages.messages(chat)
        assert [text_of(entry.event) for entry in kept] == ["first", "second", "third"]
        decided = await sender.messages.sends()
        assert [entry.decision and entry.decision.outcome for entry in decided] == ["accepted"] * 3
        assert [entry.send.message_id for entry in decided[:2]] == [receipt.message_id for receipt in receipts]
        await store.aclose()
        await sender.aclose()

    run(driver, scenario)


def stored(hub: HubThread, agent: HubAgent, database: str) -> None:
    async def save() -> None:
        store = open_store(database)
        await store.save(record(hub, agent), None)
        await store.aclose()

    anyio.run(save)


@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_an_owner_that_is_killed_is_replaced(
    hub: HubThread, database: str, processes: list[Process], name: str
) -> None:
    agent = hub.create_agent()
    stored(hub, agent, database)
    processes.append(Process(name, database))
    until(lambda: "ready" in processes[0].said, "the first never became ready")
    processes.append(Process("trio" if name == "asyncio" else "asyncio", database))
    until(lambda: processes[0].said.count("rotated") >= 2, "the owner never rotated")
    assert "owner" not in processes[1].said
    processes[0].send(signal.SIGKILL)
    killed = time.monotonic()
    until(lambda: "ready" in processes[1].said, "nobody took over")
    assert time.monotonic() - killed < 10 * TERM
    until(lambda: "rotated" in processes[1].said, "the session does not go on")
    assert hub.call(lambda machine: machine.state()["takeovers"]) == 0, "never two sockets at once"


@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_an_owner_that_was_paused_can_do_nothing_any_more(
    hub: HubThread, database: str, processes: list[Process], name: str
) -> None:
    agent = hub.create_agent()
    stored(hub, agent, database)
    processes.append(Process(name, database))
    until(lambda: "ready" in processes[0].said, "the first never became ready")
    processes.append(Process(name, database))
    until(lambda: "waiting" in processes[1].said, "the second never began to wait")
    processes[0].send(signal.SIGSTOP)
    until(lambda: processes[1].said.count("rotated") >= 1, "nobody took over")
    before = processes[0].said.count("rotated")
    processes[0].send(signal.SIGCONT)
    until(lambda: processes[0].process.poll() is not None, "the old owner goes on")
    assert processes[0].said[-1] == "taken-over" and processes[0].process.returncode == 0
    assert processes[0].said.count("rotated") == before, "it has refreshed no more"
    done = processes[1].said.count("rotated")
    until(lambda: processes[1].said.count("rotated") > done, "the session does not go on")


def test_of_eight_processes_one_takes_over_after_the_other(
    hub: HubThread, database: str, processes: list[Process]
) -> None:
    agent = hub.create_agent()
    stored(hub, agent, database)
    processes.extend(Process(("asyncio", "trio")[number % 2], database) for number in range(8))
    for survivors in range(8, 0, -1):
        until(lambda: any("ready" in one.said for one in owners(processes)), "nobody holds the session")
        time.sleep(TERM)  # whoever wanted to storm in would do it now
        (owner,) = owners(processes)
        assert sum(one.process.poll() is None for one in processes) == survivors
        owner.send(signal.SIGKILL)
        owner.process.wait()
    assert all("ready" in one.said for one in processes)
    assert hub.call(lambda machine: machine.state()["takeovers"]) == 0
