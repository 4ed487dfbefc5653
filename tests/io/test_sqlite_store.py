"""The SQLite file: where it is, damage, schema, and what an error tells the user."""

import os
import sqlite3
import stat
import threading
import traceback
from pathlib import Path

import anyio
import pytest
from attrs import evolve

from clawproto.credentials import Credentials, Identity, Intent, TokenPair
from clawproto.secret import Secret
from clawproto_io import GenerationConflict, SqliteAccounts, SqliteStore, StoreError
from clawproto_io.stores.base import LeaseRow
from clawproto_io.stores.sqlite_schema import APPLICATION_ID, SCHEMA_VERSION

pytestmark = pytest.mark.anyio

IDENTITY = Identity("usr_1", "claw1", "https://hub.example", "wss://hub.example/ws")


def record(generation: int) -> Credentials:
    tokens = TokenPair(Secret(f"access-{generation}"), Secret(f"refresh-{generation}"), generation)
    return Credentials(IDENTITY, tokens, generation)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "claw.db"


async def fill(path: Path, generation: int = 1) -> None:
    store = SqliteStore(path)
    await store.save(record(generation), replaces=None)
    await store.aclose()


def execute(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def modes(directory: Path) -> dict[str, int]:
    return {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in directory.iterdir()}


# --- where it is ---------------------------------------------------------------------------------------------------


async def test_loading_creates_nothing(path: Path) -> None:
    store = SqliteStore(path)
    assert await store.load() is None
    await store.remember_device("resolved")
    await store.aclose()
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("operation", ["load", "save"])
async def test_a_missing_directory_is_named(tmp_path: Path, operation: str) -> None:
    store = SqliteStore(tmp_path / "not-there" / "claw.db")
    with pytest.raises(StoreError, match=r"not-there does not exist; create it first") as caught:
        await (store.load() if operation == "load" else store.save(record(1), None))
    assert caught.value.place == str(tmp_path / "not-there" / "claw.db")


@pytest.mark.parametrize("kind", ["directory", "pipe"])
async def test_what_is_not_a_plain_file_is_refused(path: Path, kind: str) -> None:
    if kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(StoreError, match=r"claw.db: is not a plain file"):
        await SqliteStore(path).load()


async def test_a_link_leads_to_the_file_that_it_names(tmp_path: Path, path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(path)
    await fill(link)
    assert link.is_symlink() and not path.is_symlink() and path.stat().st_size > 0
    store = SqliteStore(path)
    assert await store.load() == record(1)
    await store.aclose()


async def test_a_relative_path_survives_a_change_of_directory(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = SqliteStore("claw.db")
    monkeypatch.chdir("/")
    await store.save(record(1), None)
    await store.aclose()
    assert path.exists()


async def test_an_odd_file_name_works(tmp_path: Path) -> None:
    odd = tmp_path / "a %41?mode=memory#é.db"
    await fill(odd)
    assert odd.exists()


async def test_a_file_that_is_deleted_or_replaced_underneath_is_noticed(path: Path) -> None:
    store = SqliteStore(path)
    await store.save(record(1), None)
    for name in modes(path.parent):
        (path.parent / name).unlink()
    assert await store.load() is None
    with pytest.raises(GenerationConflict):
        await store.save(record(2), replaces=1)
    await store.save(record(7), None)
    other = SqliteStore(path)
    assert await other.load() == record(7)
    await other.aclose()
    await store.aclose()


# --- damage --------------------------------------------------------------------------------------------------------


async def test_garbage_is_called_by_its_name_and_left_alone(path: Path) -> None:
    path.write_bytes(b"no database at all " * 100)
    store = SqliteStore(path)
    for attempt in (store.load, lambda: store.save(record(1), None)):
        with pytest.raises(StoreError, match=r"claw.db: is not an SQLite database; .*move it away and pair again"):
            await attempt()
    assert path.read_bytes() == b"no database at all " * 100


async def test_a_file_that_was_cut_short_never_passes_for_an_empty_store(path: Path) -> None:
    await fill(path)
    whole = path.read_bytes()
    used = len(whole.rstrip(b"\0"))  # the last page is that of another table, and empty
    for size in [*range(1, 520, 9), *range(520, used, 211)]:
        path.write_bytes(whole[:size])
        with pytest.raises(StoreError, match=r"claw.db: is (damaged|not an SQLite database)"):
            await SqliteStore(path).load()
    for size in range(used, len(whole), 211):
        path.write_bytes(whole[:size])
        store = SqliteStore(path)
        assert await store.load() is not None, "nothing was lost"
        await store.aclose()


async def test_a_database_of_another_program_is_left_alone(path: Path) -> None:
    execute(path, "CREATE TABLE theirs (x)")
    with pytest.raises(StoreError, match="database of another program; name another file"):
        await SqliteStore(path).save(record(1), None)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]
    connection.close()


async def test_a_newer_schema_is_refused(path: Path) -> None:
    await fill(path)
    execute(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(StoreError, match=r"written by a newer clawproto .*; upgrade clawproto"):
        await SqliteStore(path).load()


async def test_a_file_whose_schema_was_never_finished_is_completed(path: Path) -> None:
    path.touch()  # what a kill right after the creation leaves
    await fill(path)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    connection.close()


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ("generation = 1.5", "generation"),
        ("generation = 'seven'", "generation"),
        ("access_token = x'00ff'", "access_token"),
        ("refresh_token = x'6162'", "refresh_token"),
        ("user_id = ' '", "user_id"),
        ("ws_url = ''", "ws_url"),
        ("obtained_at_ms = 'soon'", "obtained_at_ms"),
        ("intent_digest = 'd'", "intent_generation"),
    ],
)
async def test_a_value_of_the_wrong_type_is_an_error_that_names_the_column(
    path: Path, change: str, column: str
) -> None:
    await fill(path)
    execute(path, f"UPDATE credentials SET {change}")
    store = SqliteStore(path)
    with pytest.raises(StoreError, match=f"claw.db: {column} should be "):
        await store.load()
    with pytest.raises(StoreError, match=column):  # and is not overwritten either
        await store.save(record(2), replaces=1)
    await store.aclose()


@pytest.mark.rule("AUTH-9")
async def test_no_error_quotes_a_token(path: Path) -> None:
    await fill(path)
    execute(path, "UPDATE credentials SET access_token = CAST(x'746f6b656e2d736563726574ff' AS TEXT)")
    secret = "token-secret"
    broken = Credentials(IDENTITY, TokenPair(Secret(f"{secret}\ud800"), None), 1)
    with pytest.raises(StoreError, match="cannot be read; restore it from a copy") as caught:
        await SqliteStore(path).load()
    with pytest.raises(StoreError, match="not valid Unicode") as unwritable:
        await SqliteStore(path.with_name("new.db")).save(broken, None)
    for error in (caught.value, unwritable.value):
        assert secret not in "".join(traceback.format_exception(error))
        assert error.__cause__ is None and error.__context__ is None


@pytest.mark.rule("DEV-5")
@pytest.mark.parametrize("missing", ["NULL", "' '"])
async def test_a_record_without_a_device_id_takes_the_fallback_and_keeps_it(path: Path, missing: str) -> None:
    await fill(path)
    execute(path, f"UPDATE credentials SET device_id = {missing}")
    with pytest.raises(StoreError, match="no session device id; open it with the fallback_device_id"):
        await SqliteStore(path).load()
    expected = evolve(record(1), identity=evolve(IDENTITY, device_id="from-pairing"))
    store = SqliteStore(path, fallback_device_id="from-pairing")
    assert await store.load() == expected
    await store.aclose()
    again = SqliteStore(path, fallback_device_id="something-else")
    assert await again.load() == expected
    await again.aclose()


# --- forgetting, and several users of one file ---------------------------------------------------------------------


@pytest.mark.rule("OUT-2")
async def test_forgotten_tokens_are_in_no_file_any_more(path: Path) -> None:
    store = SqliteStore(path)
    await store.save(record(1), None)
    await store.save(record(2), replaces=1)
    assert any(b"refresh-2" in entry.read_bytes() for entry in path.parent.iterdir())
    await store.forget("refused", replaces=2)
    for entry in path.parent.iterdir():
        content = entry.read_bytes()
        assert b"access-" not in content and b"refresh-" not in content, entry.name
    await store.aclose()


async def test_a_file_that_another_process_holds_locked_is_an_error_in_time(path: Path) -> None:
    await fill(path)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    store = SqliteStore(path, busy_timeout_ms=20)
    assert await store.load() == record(1)  # readers are not held up
    with pytest.raises(StoreError, match="locked by another process"):
        await store.save(record(2), replaces=1)
    holder.execute("ROLLBACK")
    holder.close()
    assert await store.save(record(2), replaces=1) == 2
    await store.aclose()


@pytest.mark.rule("REF-9", "REF-10")
async def test_a_repeated_save_reaches_the_disk_again(path: Path) -> None:
    """The commit that it repeats may have been lost between the system and the disk; SQLite itself would skip it."""
    await fill(path)
    watcher = sqlite3.connect(path)
    store = SqliteStore(path)
    versions: list[tuple[int]] = []
    for _ in range(2):
        await store.save(record(1), None)
        versions += watcher.execute("PRAGMA data_version").fetchall()
    for _ in range(2):
        await store.record_intent(Intent("digest", 1, 7))
        versions += watcher.execute("PRAGMA data_version").fetchall()
    for _ in range(2):
        await store.forget("refused", 1)
        versions += watcher.execute("PRAGMA data_version").fetchall()
    assert len(set(versions)) == len(versions) == 6
    watcher.close()
    await store.aclose()


@pytest.mark.rule("REF-49")
async def test_of_many_tasks_that_replace_one_generation_exactly_one_wins(path: Path) -> None:
    await fill(path)
    stores = [SqliteStore(path), SqliteStore(path)]
    won: list[str] = []
    lost: list[GenerationConflict] = []

    async def rotate(number: int) -> None:
        tokens = TokenPair(Secret(f"access-of-{number}"), None)
        try:
            await stores[number % 2].save(Credentials(IDENTITY, tokens, 2), replaces=1)
            won.append(f"access-of-{number}")
        except GenerationConflict as conflict:
            lost.append(conflict)

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(rotate, number)
    loaded = await stores[0].load()
    assert loaded is not None and loaded.tokens is not None
    assert won == [loaded.tokens.access.reveal()]
    assert [conflict.stored for conflict in lost] == [loaded] * 7
    for store in stores:
        await store.aclose()


async def test_a_save_does_not_wait_for_the_worker_threads_of_the_application(path: Path) -> None:
    store = SqliteStore(path)
    default = anyio.to_thread.current_default_thread_limiter()
    default.total_tokens = 1
    await default.acquire_on_behalf_of("the application")
    with anyio.fail_after(20):
        assert await store.save(record(1), None) == 1
        await store.aclose()
    default.release_on_behalf_of("the application")


async def test_the_log_record_of_an_intent_survives_reopening(path: Path) -> None:
    await fill(path)
    store = SqliteStore(path)
    await store.record_intent(Intent("digest", 1, 77))
    other = SqliteStore(path)
    assert await other.load() == evolve(record(1), intent=Intent("digest", 1, 77))
    await other.aclose()
    await store.aclose()


@pytest.mark.rule("REF-49")
async def test_the_generation_is_compared_under_the_write_lock(path: Path) -> None:
    await fill(path)
    rival = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    rival.execute("BEGIN IMMEDIATE")
    rival.execute("UPDATE credentials SET generation = 5")
    # However early or late the rival commits, the save must end in a conflict; early enough, it has to wait for it.
    timer = threading.Timer(0.1, rival.execute, ("COMMIT",))
    timer.start()
    store = SqliteStore(path)
    with pytest.raises(GenerationConflict) as caught:
        await store.save(record(2), replaces=1)
    assert caught.value.stored == evolve(record(1), generation=5)
    timer.join()
    rival.close()
    await store.aclose()


async def test_two_first_starts_at_once_wait_for_each_other(path: Path) -> None:
    path.touch()
    rival = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    rival.execute("BEGIN IMMEDIATE")  # as a rival would while it makes the schema, before the file is in WAL mode
    with pytest.raises(StoreError, match="locked by another process"):
        await SqliteStore(path, busy_timeout_ms=20).save(record(1), None)
    timer = threading.Timer(0.1, rival.execute, ("ROLLBACK",))
    timer.start()
    store = SqliteStore(path)
    assert await store.save(record(1), None) == 1
    timer.join()
    rival.close()
    await store.aclose()


# --- earlier schemas -----------------------------------------------------------------------------------------------


async def as_schema_2(path: Path, owner: str | None) -> None:
    """Turn a file into what the version before many accounts wrote."""
    await fill(path)
    execute(
        path,
        *(f"DROP TABLE {name}" for name in ("arrivals", "sends", "quarantine", "leases", "members", "accounts")),
        "CREATE TABLE leases (account INTEGER PRIMARY KEY, owner TEXT, fence INTEGER NOT NULL, beat INTEGER NOT NULL)",
        "PRAGMA user_version = 2",
    )
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("INSERT INTO leases VALUES (1, ?, 4, 17)", (owner,))
    connection.close()


@pytest.mark.parametrize("owner", ["host:5:ab", None])
async def test_the_record_of_an_earlier_schema_is_that_of_the_default_account(path: Path, owner: str | None) -> None:
    await as_schema_2(path, owner)
    store = SqliteStore(path)
    assert await store.load() == record(1)
    assert await store.read_lease() == LeaseRow(owner, 4, 17 if owner else 0)
    accounts = SqliteAccounts(path)
    assert await accounts.account("another").load() is None
    assert [(row.name, row.paired) for row in await accounts.accounts()] == [("default", True)]
    assert await accounts.members() == {}
    await store.save(record(2), 1)
    assert await store.take_lease("next", LeaseRow(owner, 4, 17 if owner else 0)) == 5
    await accounts.aclose()
    await store.aclose()


async def test_a_process_of_the_version_before_still_saves_its_pair_and_begins_nothing(path: Path) -> None:
    """Its statements, on a file that a newer process has brought up to date in the meantime."""
    await as_schema_2(path, "host:5:ab")
    old = sqlite3.connect(path, isolation_level=None)
    store = SqliteStore(path)
    await store.load()
    old.execute("UPDATE credentials SET generation = 2 WHERE account = 1")
    with pytest.raises(sqlite3.OperationalError, match="beat"):
        old.execute("SELECT owner, fence, beat FROM leases WHERE account = 1").fetchone()
    old.close()
    assert await store.load() == evolve(record(1), generation=2)
    await store.aclose()
