"""A server that is restarted, crashes, stands still, becomes a standby, or does not answer a commit."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import psycopg
import pytest

from clawproto.credentials import Intent
from clawproto_io.errors import StoreError
from clawproto_io.stores.postgres import PostgresAccounts, PostgresStore
from tests.io.test_store_contract import record
from tests.postgres_server import NoServerError, PostgresServer

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One that may be stopped."""
    try:
        made = PostgresServer(fsync="off")  # the machine itself goes on
    except NoServerError as error:
        pytest.skip(str(error))
    yield made
    made.close()


@pytest.fixture
def own(server: PostgresServer) -> str:
    """The connection string of a new database there."""
    return server.create_database()


@pytest.fixture
async def store(own: str) -> AsyncGenerator[PostgresStore]:
    made = PostgresStore(own, timeout=2)
    await made.save(record(1), None)
    yield made
    await made.aclose()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_restart_between_two_operations_is_not_noticed(
    server: PostgresServer, store: PostgresStore, mode: str
) -> None:
    server.restart(mode)
    assert await store.load() == record(1)
    assert await store.save(record(2), 1) == 2


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_while_the_server_is_away_operations_fail_and_then_go_on(
    server: PostgresServer, store: PostgresStore, mode: str
) -> None:
    server.stop(mode)
    try:
        for _ in range(2):
            with pytest.raises(StoreError, match="cannot be reached; check host and port"):
                await store.save(record(2), 1)
    finally:
        server.start()
    assert await store.save(record(2), 1) == 2


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_restart_in_the_middle_of_an_operation(
    server: PostgresServer, own: str, store: PostgresStore, mode: str
) -> None:
    """The operation waits for a row when the server goes down."""
    told = r"the connection was lost.*nothing was written; the next operation connects"
    with holding_the_row(own), went_down(server, own, mode), pytest.raises(StoreError, match=told):
        await store.save(record(2), 1)
    server.start()
    assert await store.load() == record(1)
    assert await store.save(record(2), 1) == 2


async def test_all_accounts_come_back_after_a_restart(server: PostgresServer, own: str) -> None:
    accounts = PostgresAccounts(own, connections=4)

    async def save(name: str, generation: int) -> None:
        await accounts.account(name).save(record(generation), generation - 1 or None)

    for generation in (1, 2, 3):
        async with anyio.create_task_group() as tasks:
            for number in range(40):
                tasks.start_soon(save, f"agent-{number}", generation)
        server.restart("immediate")
    for number in range(40):
        assert await accounts.account(f"agent-{number}").load() == record(3)
    await accounts.aclose()


@pytest.mark.rule("REF-10", "REF-49")
async def test_a_commit_whose_answer_was_lost_is_repeated(
    server: PostgresServer, own: str, store: PostgresStore
) -> None:
    """The server commits, and waits for a standby that never comes before it says so."""
    server.set_at_once("synchronous_standby_names", "nobody")
    try:
        await anyio.to_thread.run_sync(until, lambda: server.execute("SHOW synchronous_standby_names") == [("nobody",)])
        began = time.monotonic()
        with pytest.raises(StoreError, match="did not answer within 3 s; it may have been written, and repeating"):
            await store.save(record(2), 1)
        assert 2.9 < time.monotonic() - began < 20
    finally:
        server.set_at_once("synchronous_standby_names", "")
    await anyio.to_thread.run_sync(until, lambda: generations(server, own) == [2])
    assert await store.save(record(2), 1) == 2, "done already"
    assert await store.load() == record(2)


async def test_a_server_that_stands_still(server: PostgresServer, store: PostgresStore) -> None:
    server.freeze()
    try:
        began = time.monotonic()
        with pytest.raises(StoreError, match="did not answer in time"):
            await store.save(record(2), 1)
        assert time.monotonic() - began < 20
    finally:
        server.thaw()
    assert await store.save(record(2), 1) == 2


async def test_of_hundreds_that_wait_for_a_server_each_is_told_soon(server: PostgresServer, own: str) -> None:
    accounts = PostgresAccounts(own, connections=2, timeout=4)
    await accounts.accounts()
    failed = 0

    async def load(name: str) -> None:
        nonlocal failed
        with pytest.raises(StoreError, match="did not answer in time"):
            await accounts.account(name).load()
        failed += 1

    server.freeze()
    try:
        with anyio.fail_after(30):  # one after the other they would take minutes
            async with anyio.create_task_group() as tasks:
                for number in range(200):
                    tasks.start_soon(load, f"agent-{number}")
    finally:
        server.thaw()
    assert failed == 200
    assert await accounts.accounts() == ()
    await accounts.aclose()


async def test_a_standby_can_be_read_and_after_its_promotion_written(
    server: PostgresServer, store: PostgresStore
) -> None:
    server.demote()
    try:
        assert await store.load() == record(1)
        with pytest.raises(StoreError, match="takes no writes: it is a standby"):
            await store.save(record(2), 1)
    finally:
        server.promote()
    assert await store.save(record(2), 1) == 2


async def test_when_the_primary_dies_its_standby_goes_on() -> None:
    """With two hosts in the connection string, and a standby that every commit waits for."""
    primary = PostgresServer(fsync="off")
    standby = PostgresServer(primary)
    try:
        primary.set_at_once("synchronous_standby_names", "*")
        hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
        dsn = primary.create_database().replace(f"127.0.0.1:{primary.port}", hosts)
        store = PostgresStore(f"{dsn}?target_session_attrs=read-write")
        assert await store.save(record(1), None) == 1
        assert await store.save(record(2), 1) == 2
        primary.stop("immediate")
        with pytest.raises(StoreError, match="takes no writes: a standby"):
            await store.load()
        standby.promote()
        assert await store.load() == record(2)
        assert await store.save(record(3), 2) == 3
        await store.aclose()
    finally:
        standby.close()
        primary.close()


async def test_a_row_that_stays_locked(own: str, store: PostgresStore) -> None:
    with holding_the_row(own):
        with pytest.raises(StoreError, match="rows that another process holds; nothing was written"):
            await store.save(record(2), 1)
        assert await store.load() == record(1), "reading does not wait"
    assert await store.save(record(2), 1) == 2


PAUSED = """
import sys, anyio, signal, threading
from clawproto.credentials import Intent
from clawproto_io.stores.postgres import PostgresStore

async def main():
    store = PostgresStore(sys.argv[1], timeout=2)
    await store.take_lease("paused", None)

    def pause(stored):
        print("locked", flush=True)
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # of this thread: at once
        return stored

    try:
        await store._change(pause, fenced=True)
    except Exception as error:
        print(type(error).__name__, error, flush=True)
    try:
        await store.record_intent(Intent("digest", 1, 5))
    except Exception as error:
        print(type(error).__name__, error, flush=True)
    await store.aclose()

anyio.run(main)
"""


async def test_a_process_that_is_paused_in_a_transaction_keeps_nobody_out(own: str, store: PostgresStore) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", PAUSED, own],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "drivers")))},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        assert await anyio.to_thread.run_sync(child.stdout.readline) == "locked\n"
        taken = await store.take_lease("next", await store.read_lease())
        assert taken == 2, "it waits until the other one is thrown out, and does not give up before"
        assert await store.record_intent(Intent("other", 1, 6)) == 1
        child.send_signal(signal.SIGCONT)
        said = (await anyio.to_thread.run_sync(lambda: child.communicate(timeout=30)))[0].splitlines()
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()
    assert said[0].startswith("StoreError") and "nothing was written" in said[0]
    assert said[1].startswith("LeaseLost")
    loaded = await store.load()
    assert loaded is not None and loaded.intent == Intent("other", 1, 6)


# --- helpers ----------------------------------------------------------------------------------------------------------


@contextmanager
def holding_the_row(dsn: str) -> Generator[None]:
    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT 1 FROM clawproto.accounts FOR UPDATE")
        try:
            yield
        finally:
            connection.close()


@contextmanager
def went_down(server: PostgresServer, dsn: str, mode: str) -> Generator[None]:
    """Stop the server as soon as somebody waits for a row of the database."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"

    def stop() -> None:
        until(lambda: bool(server.execute(waiting, values=(dsn.rpartition("/")[2],))))
        server.stop(mode)

    stopper = threading.Thread(target=stop)
    stopper.start()
    try:
        yield
    finally:
        stopper.join()


def generations(server: PostgresServer, dsn: str) -> list[int]:
    return [int(generation) for (generation,) in server.execute("SELECT generation FROM clawproto.credentials", dsn)]


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
