"""Messages in the SQLite file: the lease, other accounts, damage, and which way the statements take."""

import sqlite3
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import anyio
import pytest

from clawproto.app_events import MessageRecalled
from clawproto.credentials import Credentials, Identity, TokenPair
from clawproto.keeping import Arrival, Backlog, Filed, Handled, SendDecision
from clawproto.secret import Secret
from clawproto_io import SqliteAccounts, SqliteStore, StoreError
from clawproto_io.errors import LeaseLost
from clawproto_io.stores import sqlite_filing, sqlite_messages, sqlite_queries
from clawproto_io.stores.base import HasMessages, LeaseRow
from clawproto_io.stores.retention import Retention
from clawproto_io.stores.sqlite_schema import APPLICATION_ID, MIGRATIONS
from tests.io.message_samples import arrivals, message, send

pytestmark = pytest.mark.anyio

RECORD = Credentials(Identity("usr_1", "claw1", "https://h", "wss://h/ws"), TokenPair(Secret("a"), None), 1)

KEEP = Retention(undecided_days=None)  # the samples are from 1970


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "claw.db"


@pytest.fixture
async def opened(path: Path) -> AsyncGenerator[Callable[[], SqliteStore]]:
    """Opens the file once more, as another process would; all are closed in the end."""
    made: list[SqliteStore] = []

    def again() -> SqliteStore:
        made.append(SqliteStore(path, retention=KEEP))
        return made[-1]

    yield again
    for store in made:
        await store.aclose()


def execute(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


# --- the lease -----------------------------------------------------------------------------------------------------


def test_which_stores_keep_messages(path: Path) -> None:
    store: object = SqliteStore(path)
    assert isinstance(store, HasMessages) and store.messages is store.messages
    assert repr(store.messages) == f"SqliteMessages({str(path)!r}, 'default')"


@pytest.mark.rule("R2-10")
async def test_a_fenced_owner_commits_nothing(opened: Callable[[], SqliteStore]) -> None:
    old, new = opened(), opened()
    await old.take_lease("old", None)
    await old.messages.commit([*arrivals(message()), send(1)])
    await new.take_lease("new", LeaseRow("old", 1, 0))
    for late in (old.messages.commit([*arrivals(message("msg-2")), send(2)]), old.messages.backlog()):
        with pytest.raises(LeaseLost):
            await late
    backlog = await new.messages.backlog()
    assert [filed.event for filed in backlog.arrivals] == [message()] and backlog.sends == (send(1),)
    assert await old.messages.message("msg-1") is not None, "reading is free"
    await new.messages.commit(arrivals(message("msg-2")))
    await new.release_lease(2)
    await new.messages.commit([Handled(backlog.arrivals[0].row)])


async def test_a_member_that_was_swept_out_commits_nothing(path: Path) -> None:
    accounts, sweeper = SqliteAccounts(path, retention=KEEP), SqliteAccounts(path, retention=KEEP)
    await accounts.beat("fleet")
    store = accounts.account("one")
    await store.take_lease("fleet", None)
    await store.messages.commit([send(1)])
    await sweeper.leave("fleet")
    with pytest.raises(LeaseLost):
        await store.messages.commit([send(2)])
    await accounts.aclose()
    await sweeper.aclose()


# --- earlier schemas -----------------------------------------------------------------------------------------------


async def test_messages_of_an_earlier_schema_are_those_of_the_user_in_the_record(path: Path) -> None:
    sends = "INSERT INTO sends (account, trace_id, number, message_id, chat_id, event, payload, created_ms) VALUES"
    execute(
        path,
        *(statement for version in MIGRATIONS[:4] for statement in version),
        "INSERT INTO accounts (name) VALUES ('default'), ('unpaired')",
        "INSERT INTO credentials (account, user_id, device_id, base_url, ws_url, access_token, generation)"
        " VALUES (1, 'usr_1', 'claw1', 'https://h', 'wss://h/ws', 'a', 1)",
        *(f"{sends} ({account}, 's-1', 1, 'm', 'c', 'message.send', '{{}}', 0)" for account in (1, 2)),
        f"PRAGMA application_id = {APPLICATION_ID}",
        "PRAGMA user_version = 4",
    )
    for account, user_id in (("default", "usr_1"), ("unpaired", None)):
        store = SqliteStore(path, account, retention=KEEP)
        backlog = await store.messages.backlog()
        assert backlog.user_id == user_id and [kept.trace_id for kept in backlog.sends] == ["s-1"]
        await store.aclose()


# --- many accounts -------------------------------------------------------------------------------------------------


async def test_accounts_keep_their_messages_apart(path: Path) -> None:
    accounts = SqliteAccounts(path, retention=KEEP)
    one, two = accounts.account("one").messages, accounts.account("two").messages
    (first,) = await one.commit([*arrivals(message(text="for one")), send(1, payload="1")])
    (second,) = await two.commit([*arrivals(message(text="for two")), send(1, payload="2")])
    assert first.event is not None and second.event is not None, "the same id is another message there"
    await two.commit([Handled(first.row), SendDecision("trace-1", "accepted", "m")])
    assert await one.backlog() == Backlog((first,), (send(1, payload="1"),), 1, second.row)
    assert await two.backlog() == Backlog((second,), (), 1, second.row)
    found = await two.message("msg-1")
    assert found is not None and found.event.text == "for two"
    await one.aclose()
    assert await two.messages("cnv_1") != ()
    await accounts.aclose()


async def test_two_hundred_accounts_commit_at_once(path: Path) -> None:
    accounts = SqliteAccounts(path, retention=KEEP)

    async def work(number: int) -> None:
        store = accounts.account(f"agent-{number}")
        await store.save(RECORD, None)
        for at in range(3):
            await store.messages.commit([*arrivals(message(f"msg-{at}")), send(at + 1)])

    async with anyio.create_task_group() as tasks:
        for number in range(200):
            tasks.start_soon(work, number)
    for number in (0, 99, 199):
        backlog = await accounts.account(f"agent-{number}").messages.backlog()
        assert len(backlog.arrivals) == len(backlog.sends) == 3
    await accounts.aclose()


async def test_credentials_and_messages_at_the_same_time(opened: Callable[[], SqliteStore]) -> None:
    store, generations = opened(), 12
    await store.save(RECORD, None)

    async def rotate() -> None:
        for generation in range(1, generations):
            tokens = TokenPair(Secret(f"a{generation}"), None)
            await store.save(Credentials(RECORD.identity, tokens, generation + 1), generation)

    async def receive() -> None:
        for number in range(30):
            await store.messages.commit(arrivals(*(message(f"msg-{number}-{at}") for at in range(20))))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(rotate)
        tasks.start_soon(receive)
    loaded = await store.load()
    assert loaded is not None and loaded.generation == generations
    assert len((await store.messages.backlog()).arrivals) == 600


# --- atomicity, durability, faults ---------------------------------------------------------------------------------


@pytest.mark.rule("R2-10")
async def test_a_commit_is_made_whole_or_not_at_all(opened: Callable[[], SqliteStore]) -> None:
    """In the middle of it the disk is full; a change that cannot be made leaves none of the others."""
    store = opened()
    await store.messages.commit(arrivals(message("before")))
    connection = store.messages._access.open()  # pyright: ignore[reportPrivateUsage]
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 3}")
    changes = [*arrivals(*(message(f"msg-{number}", "x" * 5_000) for number in range(50))), send(1)]
    with pytest.raises(StoreError, match=r"no room to grow; .* free some space \(SQLITE_FULL\)"):
        await store.messages.commit(changes)
    backlog = await opened().messages.backlog()
    assert [filed.event for filed in backlog.arrivals] == [message("before")] and backlog.sends == ()
    filed = await store.messages.commit(changes)  # there is room again
    assert len(filed) == 50 and all(one.event is not None for one in filed)


async def test_a_lock_held_by_another_process_is_an_error_in_time(path: Path) -> None:
    store = SqliteStore(path, busy_timeout_ms=20, retention=KEEP)
    await store.messages.commit([send(1)])
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked by another process"):
        await store.messages.commit([send(2)])
    assert len(await store.messages.sends()) == 1, "reading goes on"
    holder.execute("ROLLBACK")
    holder.close()
    await store.messages.commit([send(2)])
    assert len(await store.messages.sends()) == 2
    await store.aclose()


@pytest.mark.rule("R2-10")
async def test_a_copy_that_is_no_news_is_written_all_the_same(opened: Callable[[], SqliteStore]) -> None:
    """The commit that told of it first may not have reached the disk; this one does."""
    store = opened()
    await store.messages.commit(arrivals(message()))
    rival = opened()
    await rival.load()
    other = rival._access.open()  # pyright: ignore[reportPrivateUsage]
    (before,) = other.execute("PRAGMA data_version").fetchone()
    assert (await store.messages.commit(arrivals(message())))[0].event is None
    (after,) = other.execute("PRAGMA data_version").fetchone()
    assert after != before
    connection = store.messages._access.open()  # pyright: ignore[reportPrivateUsage]
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        ("UPDATE arrivals SET event = '{'", "row 1 of the table arrivals is not JSON; restore the store from a copy"),
        ("UPDATE arrivals SET event = x'00'", "row 1 of the table arrivals is not a text"),
        ("UPDATE arrivals SET event = replace(event, 'false', '5')", "message_received.own has a wrong type"),
        ("UPDATE sends SET payload = x'00'", "row 1 of the table sends has a value of a wrong type"),
        ("UPDATE sends SET number = 'one'", "row one of the table sends has a value of a wrong type"),
    ],
)  # fmt: skip
async def test_a_damaged_row_is_named_and_stays(path: Path, damage: str, text: str) -> None:
    store = SqliteStore(path, retention=KEEP)
    await store.messages.commit([*arrivals(message("msg-1", "private words")), send(1)])
    await store.aclose()
    execute(path, "PRAGMA ignore_check_constraints = ON", damage)
    store = SqliteStore(path, retention=KEEP)
    with pytest.raises(StoreError, match=text) as caught:
        await store.messages.backlog()
    assert "private" not in str(caught.value) and str(caught.value).startswith(str(path))
    await store.messages.commit(arrivals(message("msg-2")))  # what comes is filed nevertheless
    await store.aclose()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM arrivals").fetchone() == (2,)
    assert connection.execute("SELECT count(*) FROM sends").fetchone() == (1,)
    connection.close()


async def test_a_damaged_row_is_mended_by_the_next_copy(path: Path) -> None:
    store = SqliteStore(path, retention=KEEP)
    (first,) = await store.messages.commit(arrivals(message()))
    execute(path, "UPDATE arrivals SET event = '{'")
    assert await store.messages.commit(arrivals(message())) == (Filed(first.row, None),)
    assert [filed.event for filed in (await store.messages.backlog()).arrivals] == [message()]
    await store.aclose()


async def test_what_a_later_version_has_filed_is_handed_over_as_unknown_and_kept(path: Path) -> None:
    store = SqliteStore(path, retention=KEEP)
    await store.messages.commit(arrivals(message()))
    execute(path, "UPDATE arrivals SET event = replace(event, 'message_received', 'poll_opened')")
    (filed,) = (await store.messages.backlog()).arrivals
    assert type(filed.event).__name__ == "UnknownEvent"
    with pytest.raises(StoreError, match="is no MessageReceived that this version can read"):
        await store.messages.message("msg-1")
    await store.messages.commit([Handled(filed.row)])
    connection = sqlite3.connect(path)
    assert "poll_opened" in connection.execute("SELECT event FROM arrivals").fetchone()[0]
    connection.close()
    await store.aclose()


@pytest.mark.rule("RECALL-1")
async def test_recalled_words_are_in_no_file_any_more(path: Path) -> None:

    store = SqliteStore(path, retention=KEEP)
    await store.messages.commit(arrivals(message("msg-1", "never said")))
    await store.messages.commit(arrivals(MessageRecalled("cnv_1", "msg-1")))
    await store.aclose()
    assert b"never said" not in path.read_bytes()


# --- the way of the statements -------------------------------------------------------------------------------------


async def test_no_statement_goes_through_a_whole_table(path: Path) -> None:
    store = SqliteStore(path, retention=KEEP)
    await store.messages.commit([Arrival(message()), send(1)])
    await store.aclose()
    connection = sqlite3.connect(path)
    checked = 0
    for module in (sqlite_filing, sqlite_messages, sqlite_queries):
        for name, statement in vars(module).items():
            if isinstance(statement, str) and statement.startswith(("SELECT", "UPDATE", "DELETE")) and "?" in statement:
                parameters = [1] * (2 if "?2" in statement else 1 if "?1" in statement else statement.count("?"))
                plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
                steps = [step for *_, step in plan]
                assert not any(step.startswith("SCAN") for step in steps), (name, steps)
                assert not any("TEMP B-TREE" in step for step in steps), (name, steps)
                checked += 1
    connection.close()
    assert checked >= 20
