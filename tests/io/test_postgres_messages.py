"""What is particular about messages in PostgreSQL: one owner, lost connections, odd ids, damage, who waits for whom."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress

import anyio
import anyio.to_thread
import psycopg
import pytest
from attrs import evolve

from clawproto.app_events import FrameRejected, HistoryReceived, ReactionChanged, ReadMarkMoved, TypingChanged
from clawproto.keeping import Arrival, Change, Filed, Handled, Quarantined, SendDecision
from clawproto_io.errors import LeaseLost, StoreError, Unstorable
from clawproto_io.stores.base import HasMessages
from clawproto_io.stores.postgres import PostgresAccounts, PostgresStore
from clawproto_io.stores.postgres.schema import MIGRATIONS, SCHEMA_VERSION
from tests.io.message_samples import arrivals, message, send
from tests.io.test_message_contract import Midday
from tests.io.test_postgres_failures import generations, holding_the_row, until, went_down
from tests.io.test_store_contract import record
from tests.postgres_server import NoServerError, PostgresServer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(database: str) -> AsyncGenerator[PostgresStore]:
    made = PostgresStore(database, clock=Midday())
    yield made
    await made.aclose()


@pytest.fixture(scope="module")
def own() -> Iterator[PostgresServer]:
    """One that may be stopped."""
    try:
        server = PostgresServer(fsync="off")
    except NoServerError as error:
        pytest.skip(str(error))
    yield server
    server.close()


def rows(postgres: PostgresServer, database: str) -> int:
    return int(postgres.execute("SELECT count(*) FROM clawproto.arrivals", database)[0][0])


# --- one owner --------------------------------------------------------------------------------------------------------


def test_which_stores_have_messages(database: str) -> None:
    assert isinstance(PostgresStore(database), HasMessages)
    assert isinstance(PostgresAccounts(database).account("a"), HasMessages)


async def test_accounts_have_messages_of_their_own(database: str) -> None:
    accounts = PostgresAccounts(database)
    one, two = accounts.account("one").messages, accounts.account("two").messages
    (first,) = await one.commit(arrivals(message()))
    (second,) = await two.commit(arrivals(message()))
    assert first.event == second.event == message()
    await one.commit([Handled(first.row), send(1)])
    await one.aclose()
    backlog = await two.backlog()
    assert backlog.arrivals == (second,) and backlog.sends == () and backlog.last_number == 0
    await accounts.aclose()


async def test_reading_makes_no_account(database: str) -> None:
    accounts = PostgresAccounts(database)
    messages = accounts.account("a").messages
    await messages.backlog()
    assert await messages.messages("cnv_1") == () and await messages.message("m") is None
    assert await accounts.accounts() == ()
    await accounts.aclose()


@pytest.mark.rule("R2-10")
async def test_who_has_lost_the_session_files_nothing(postgres: PostgresServer, database: str) -> None:
    old, new = PostgresStore(database), PostgresStore(database)
    assert await old.take_lease("old", None) == 1
    (filed,) = await old.messages.commit(arrivals(message()))
    assert await new.take_lease("new", await new.read_lease()) == 2
    for changes in (arrivals(message("late")), [Handled(filed.row)], [send(1)]):
        with pytest.raises(LeaseLost):
            await old.messages.commit(changes)
    with pytest.raises(LeaseLost):
        await old.messages.backlog()
    assert (await new.messages.backlog()).arrivals == (filed,)
    assert rows(postgres, database) == 1
    await old.aclose()
    await new.aclose()


async def test_writers_that_are_not_fenced_wait_for_each_other(database: str) -> None:
    stores = [PostgresStore(database) for _ in range(4)]
    told: dict[int, Filed] = {}

    async def commit(store: PostgresStore, number: int) -> None:
        for batch in range(10):
            changes = arrivals(*(message(f"{number}-{batch}-{place}") for place in range(5)), message("the same"))
            filed = await store.messages.commit(changes)
            assert [one.row for one in filed[:5]] == sorted(one.row for one in filed[:5])
            told.update({one.row: one for one in filed if one.event is not None})

    async with anyio.create_task_group() as tasks:
        for number, store in enumerate(stores):
            tasks.start_soon(commit, store, number)
    backlog = await stores[0].messages.backlog()
    assert len(backlog.arrivals) == 4 * 10 * 5 + 1 == backlog.last_row
    assert {one.row: one for one in backlog.arrivals} == told
    for store in stores:
        await store.aclose()


async def test_a_pair_is_not_saved_behind_messages(database: str) -> None:
    accounts = PostgresAccounts(database, connections=3, timeout=4)
    names = [f"busy-{number}" for number in range(20)]
    for name in names:
        await accounts.account(name).save(record(1), None)

    async def commit(name: str) -> None:
        with suppress(StoreError):  # the rows stay locked for longer than it waits
            await accounts.account(name).messages.commit(arrivals(message()))

    with holding_the_row(database):
        async with anyio.create_task_group() as tasks:
            for name in names:
                tasks.start_soon(commit, name)
            await anyio.sleep(0.2)
            with anyio.fail_after(1.5):
                await accounts.account("urgent").save(record(1), None)
            tasks.cancel_scope.cancel()
    await accounts.aclose()


# --- failures ---------------------------------------------------------------------------------------------------------

CHANGES: list[Change] = [
    *arrivals(message(), TypingChanged("cnv_1", "usr_2", True), message("msg-2")),
    Quarantined(FrameRejected(None, "not-json", "x", 1, "x")),
    send(1),
    send(2),
    SendDecision("trace-2", "accepted", "msg-out-2"),
]


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_server_that_goes_down_in_the_middle_of_a_commit(own: PostgresServer, mode: str) -> None:
    database = own.create_database()
    store = PostgresStore(database)
    await store.save(record(1), None)
    known = (await store.messages.backlog()).last_row
    told = "nothing was written; the next operation connects again"
    with holding_the_row(database), went_down(own, database, mode), pytest.raises(StoreError, match=told):
        await store.messages.commit(CHANGES)
    own.start()
    assert (await store.messages.backlog()).arrivals == ()
    filed = await store.messages.commit(CHANGES)
    assert [one.row for one in filed] == [known + 1, known + 2, known + 3]
    await store.aclose()


@pytest.mark.rule("R2-10")
async def test_a_commit_whose_answer_was_lost_files_nothing_twice(own: PostgresServer) -> None:
    """The server commits, and waits for a standby that never comes before it says so."""
    database = own.create_database()
    store = PostgresStore(database, timeout=2, clock=Midday())
    await store.save(record(1), None)
    await store.messages.backlog()
    own.set_at_once("synchronous_standby_names", "nobody")
    try:
        await anyio.to_thread.run_sync(until, lambda: own.execute("SHOW synchronous_standby_names") == [("nobody",)])
        with pytest.raises(StoreError, match="it may have been written, and repeating it does no harm"):
            await store.messages.commit(CHANGES)
    finally:
        own.set_at_once("synchronous_standby_names", "")
    await anyio.to_thread.run_sync(until, lambda: rows(own, database) == 3)
    filed = await store.messages.commit(CHANGES)
    assert [one.event for one in filed] == [None, None, None] and [one.row for one in filed] == [1, 2, 3]
    backlog = await store.messages.backlog()
    assert len(backlog.arrivals) == 3 and backlog.sends == (send(1),)
    assert len(await store.messages.quarantined()) == 1
    await store.aclose()


async def test_a_commit_is_done_wholly_or_not_at_all(
    postgres: PostgresServer, database: str, store: PostgresStore
) -> None:
    await store.messages.commit([])
    postgres.execute(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$"
        "BEGIN RAISE EXCEPTION '%', NEW.payload USING ERRCODE = '53100'; END $$;"
        "CREATE TRIGGER full_disk BEFORE INSERT ON clawproto.sends FOR EACH ROW EXECUTE FUNCTION full_disk()",
        database,
    )
    with pytest.raises(StoreError, match="its disk is full") as caught:
        await store.messages.commit(CHANGES)
    assert caught.value.__context__ is None and "msg-out" not in str(caught.value)
    assert rows(postgres, database) == 0
    postgres.execute("DROP FUNCTION full_disk CASCADE", database)
    assert [one.row for one in await store.messages.commit(CHANGES)] == [1, 2, 3]


@pytest.mark.rule("R2-11", "ENV-12")
async def test_odd_ids_and_times_do_not_stop_the_stream(store: PostgresStore) -> None:
    """Longer than an index takes, and beyond what a column holds."""
    longest = "".join(chr(33 + (number * 7919) % 90) for number in range(50_000))
    events = [
        message(longest, chat_id=longest),
        message(longest[:-1], emitted_at_ms=10**30),
        ReactionChanged(longest, longest, longest, "👍"),
        ReadMarkMoved(longest, 10**40),
    ]
    messages = store.messages
    filed = await messages.commit(arrivals(*events))
    assert [one.event for one in filed] == events
    assert await messages.commit(arrivals(*events)) == tuple(Filed(one.row, None) for one in filed)
    assert [one.event for one in (await messages.backlog()).arrivals] == events
    found = await messages.message(longest)
    assert found is not None and found.event == events[0]
    assert [one.event for one in await messages.messages(longest)] == [events[0]]
    assert await messages.reactions(longest) == (events[2],)
    assert await messages.read_mark(longest) == 2**63 - 1


@pytest.mark.rule("SEND-5")
async def test_ids_of_sends_are_kept_exactly(store: PostgresStore) -> None:
    odd = evolve(send(1), message_id="a\0\ud800", chat_id="\udfff", event="\0", trace_id="t\0")
    await store.messages.commit([odd])
    assert (await store.messages.backlog()).sends == (odd,)
    await store.messages.commit([SendDecision("t\0", "rejected", "b\0", "\ud800", 10**30)])
    (kept,) = await store.messages.sends()
    assert kept.send == odd and kept.decision == SendDecision("t\0", "rejected", "b\0", "\ud800", 2**63 - 1)


@pytest.mark.parametrize(
    "change",
    [
        evolve(send(2), payload="a\0"),
        evolve(send(2), to="\ud800"),
        Arrival(HistoryReceived("k", {"n": float("nan")}, None)),
    ],
)
async def test_what_is_no_json_can_never_be_stored(store: PostgresStore, change: Change) -> None:
    with pytest.raises(Unstorable) as caught:
        await store.messages.commit([send(1), change])
    assert caught.value.index == 1 and caught.value.__context__ is None
    assert (await store.messages.backlog()).sends == ()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("UPDATE clawproto.arrivals SET event = '{' WHERE number = 1", "row 1 of the table arrivals is not JSON"),
        ("UPDATE clawproto.sends SET message_id = 'no JSON'", "of the table sends has a value of a wrong type"),
    ],
)
async def test_damage_is_told_and_nothing_is_lost(
    postgres: PostgresServer, database: str, store: PostgresStore, damage: str, told: str
) -> None:
    await store.messages.commit(CHANGES)
    postgres.execute(damage, database)
    with pytest.raises(StoreError, match=told):
        await store.messages.backlog()
    assert rows(postgres, database) == 3
    await store.messages.commit(arrivals(message("msg-3")))
    assert rows(postgres, database) == 4


async def test_a_store_of_the_first_schema_is_brought_up_to_date(postgres: PostgresServer, database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("CREATE SCHEMA clawproto")
        connection.execute("SET search_path = clawproto")
        connection.execute("CREATE TABLE schema_version (version INTEGER NOT NULL)")
        connection.execute("INSERT INTO schema_version VALUES (1)")
        for statement in MIGRATIONS[0]:
            connection.execute(statement)
        connection.execute("INSERT INTO accounts (name, owner, fence) VALUES ('default', 'somebody', 7)")
        connection.execute(
            "INSERT INTO credentials (account, user_id, device_id, base_url, ws_url, access_token, generation)"
            " SELECT account, 'usr_1', 'd', 'https://h', 'wss://h', 'access-1', 3 FROM accounts"
        )
    stores = [PostgresStore(database) for _ in range(4)]
    async with anyio.create_task_group() as tasks:
        for store in stores:
            tasks.start_soon(store.messages.backlog)
    loaded, lease = await stores[0].load(), await stores[1].read_lease()
    assert loaded is not None and loaded.generation == 3 and lease is not None and lease.fence == 7
    await stores[2].messages.commit(CHANGES)
    for store in stores:
        await store.aclose()
    assert generations(postgres, database) == [3]
    assert postgres.execute("SELECT version FROM clawproto.schema_version", database) == [(SCHEMA_VERSION,)]
