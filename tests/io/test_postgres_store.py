"""What is particular about the PostgreSQL store: set-up, rights, connections, and what it says when all is not well."""

import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from attrs import evolve

from clawproto.app_events import FrameRejected
from clawproto.credentials import Intent
from clawproto.keeping import Quarantined
from clawproto_io import StoreKey
from clawproto_io.errors import GenerationConflict, LeaseLost, StoreError
from clawproto_io.stores.postgres import PostgresAccounts, PostgresStore
from clawproto_io.stores.postgres.account import PostgresAccount
from clawproto_io.stores.postgres.schema import SCHEMA_VERSION
from tests.io.message_samples import arrivals, message, send
from tests.io.test_store_contract import IDENTITY, record
from tests.postgres_server import PASSWORD, PostgresServer

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def store(database: str) -> AsyncGenerator[PostgresStore]:
    made = PostgresStore(database)
    yield made
    await made.aclose()


@pytest.fixture
async def accounts(database: str) -> AsyncGenerator[PostgresAccounts]:
    made = PostgresAccounts(database)
    yield made
    await made.aclose()


async def failure_of(store: PostgresStore) -> str:
    with pytest.raises(StoreError) as caught:
        await store.save(record(1), None)
    await store.aclose()
    assert caught.value.__cause__ is None and caught.value.__context__ is None, "the server's text hangs on"
    assert PASSWORD not in repr(caught.value)
    return str(caught.value)


# --- set-up -----------------------------------------------------------------------------------------------------------


async def test_the_schema_is_made_by_the_first_of_many_that_start_at_once(
    postgres: PostgresServer, database: str
) -> None:
    stores = [PostgresStore(database, f"agent-{number}") for number in range(12)]
    async with anyio.create_task_group() as tasks:
        for store in stores:
            tasks.start_soon(store.save, record(1), None)
    for store in stores:
        assert await store.load() == record(1)
        await store.aclose()
    assert postgres.execute("SELECT version FROM clawproto.schema_version", database) == [(SCHEMA_VERSION,)]


async def test_a_schema_can_be_named_and_two_do_not_know_each_other(postgres: PostgresServer, database: str) -> None:
    odd = 'Odd "name"; --'
    stores = [PostgresStore(database, schema=odd), PostgresStore(database, schema="second")]
    await stores[0].save(record(1), None)
    assert await stores[1].load() is None
    assert await stores[0].load() == record(1)
    for store in stores:
        await store.aclose()
    assert postgres.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", database, (odd,)) == [(1,)]


@pytest.mark.parametrize("schema", ["", "pg_mine", "x" * 64, "a\0b"])
def test_names_that_no_schema_can_have(schema: str) -> None:
    with pytest.raises(ValueError, match="schema"):
        PostgresStore("postgresql:///x", schema=schema)


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="connections"):
        PostgresStore("postgresql:///x", connections=0)
    for timeout in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="timeout"):
            PostgresStore("postgresql:///x", timeout=timeout)


@pytest.mark.parametrize("dsn", ["postgresql://u:{}@h/db?oops=1", "host=h password={} {}", "{}", "://{}"])
def test_a_connection_string_that_cannot_be_read_is_not_quoted(dsn: str) -> None:
    with pytest.raises(ValueError, match="not a connection string") as caught:
        PostgresStore(dsn.format("tell-tale", "tell-tale"))
    assert "tell-tale" not in repr(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("dsn", "place"),
    [
        ("postgresql://u:tell-tale@h:5433/db", "postgresql://u@h:5433/db"),
        ("host=/run/pg dbname=db password=tell-tale", "postgresql:///run/pg/db"),
        ("postgresql://u:tell%2Dtale@a,b/db?target_session_attrs=read-write", "postgresql://u@a,b/db"),
        ("host=a,b port=1,2 password=tell-tale", "postgresql://a:1,b:2/"),
    ],
)
def test_no_password_in_a_repr(dsn: str, place: str) -> None:
    assert repr(PostgresStore(dsn)) == f"PostgresStore('{place} (default)')"
    assert repr(PostgresAccounts(dsn)) == f"PostgresAccounts('{place}')"
    assert repr(PostgresAccounts(dsn).account("a")) == f"PostgresAccount('{place} (a)')"


async def test_a_newer_schema_is_left_alone(postgres: PostgresServer, database: str, store: PostgresStore) -> None:
    await store.save(record(1), None)
    await store.aclose()
    postgres.execute(f"UPDATE clawproto.schema_version SET version = {SCHEMA_VERSION + 1}", database)
    with pytest.raises(StoreError, match=r"written by a newer clawproto .* upgrade clawproto"):
        await store.load()
    postgres.execute(f"UPDATE clawproto.schema_version SET version = {SCHEMA_VERSION}", database)
    assert await store.load() == record(1)


async def test_a_database_in_another_encoding_is_refused(postgres: PostgresServer) -> None:
    assert "is in LATIN1; create one with" in await failure_of(PostgresStore(postgres.create_database("LATIN1")))


async def test_tables_of_others_are_left_alone(postgres: PostgresServer, database: str) -> None:
    postgres.execute("CREATE TABLE public.accounts (mine TEXT)", database)
    assert "name a schema for clawproto alone" in await failure_of(PostgresStore(database, schema="public"))
    assert postgres.execute("SELECT count(*) FROM public.accounts", database) == [(0,)]


def test_the_library_can_be_used_without_psycopg() -> None:
    code = (
        "import sys\n"
        "sys.modules['psycopg'] = None\n"
        "import clawproto_io\n"
        "try:\n"
        "    import clawproto_io.stores.postgres\n"
        "except ModuleNotFoundError as error:\n"
        "    print(error)\n"
    )
    paths = [str(ROOT), str(ROOT / "drivers")]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "PostgreSQL stores need an extra: pip install 'clawproto[postgres]'"


# --- what it says -----------------------------------------------------------------------------------------------------


async def test_a_wrong_password(postgres: PostgresServer) -> None:
    told = await failure_of(PostgresStore(postgres.dsn(password="tell-tale")))
    assert "refuses the user or the password" in told and "tell-tale" not in told


async def test_no_password(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSFILE", "/dev/null")
    dsn = f"host=127.0.0.1 port={postgres.port} user=postgres dbname=postgres"
    assert "asks for a password" in await failure_of(PostgresStore(dsn))


async def test_a_missing_database(postgres: PostgresServer) -> None:
    assert "does not have the database; create it" in await failure_of(PostgresStore(postgres.dsn("nowhere")))


async def test_nobody_listens(postgres: PostgresServer) -> None:
    dsn = postgres.dsn().replace(f":{postgres.port}/", ":1/")
    assert "cannot be reached; check host and port" in await failure_of(PostgresStore(dsn))


async def test_a_server_without_tls(postgres: PostgresServer) -> None:
    assert "offers no TLS" in await failure_of(PostgresStore(postgres.dsn() + "?sslmode=require"))


async def test_no_connection_left(postgres: PostgresServer, database: str) -> None:
    user = a_user(postgres, "CONNECTION LIMIT 0")
    told = await failure_of(PostgresStore(as_user(database, user)))
    assert "has no connection left; raise max_connections" in told


async def test_a_full_disk(postgres: PostgresServer, database: str, store: PostgresStore) -> None:
    await store.save(record(1), None)
    raising(postgres, database, "53100")
    with pytest.raises(StoreError, match=r"its disk is full; free some space there \(SQLSTATE 53100\)"):
        await store.save(record(2), 1)
    postgres.execute("DROP FUNCTION trouble CASCADE", database)
    assert await store.load() == record(1)
    assert await store.save(record(2), 1) == 2


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("53200", "out of memory"),
        ("40P01", "by several processes at once"),
        ("XX001", "damage"),
        ("58030", "its own files"),
        ("P0001", "could not do it; see its log"),
        ("23514", "changed by hand"),
        ("53400", "short of something"),
    ],
)
async def test_what_other_states_mean(
    postgres: PostgresServer, database: str, store: PostgresStore, state: str, told: str
) -> None:
    assert await store.load() is None
    raising(postgres, database, state)
    assert told in await failure_of(store)


async def test_no_error_quotes_what_was_to_be_stored(
    postgres: PostgresServer, database: str, store: PostgresStore, caplog: pytest.LogCaptureFixture
) -> None:
    await store.save(record(1), None)
    postgres.execute("ALTER TABLE clawproto.credentials ADD CHECK (access_token = 'access-1')", database)
    with pytest.raises(StoreError, match="SQLSTATE 23514") as caught:
        await store.save(record(2), 1)
    assert caught.value.__context__ is None
    assert "access-2" not in repr(caught.value) + caplog.text and PASSWORD not in caplog.text


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
async def test_a_text_that_postgresql_cannot_hold(store: PostgresStore, text: str) -> None:
    await store.save(record(1), None)
    with pytest.raises(StoreError, match="not valid Unicode or has a NUL"):
        await store.save(record(2, evolve(IDENTITY, agent_id=text)), 1)
    assert await store.load() == record(1)


async def test_a_row_edited_by_hand(postgres: PostgresServer, database: str, store: PostgresStore) -> None:
    await store.save(record(1), None)
    postgres.execute("UPDATE clawproto.credentials SET user_id = ''", database)
    with pytest.raises(StoreError, match="user_id should be a text that is not blank"):
        await store.load()


# --- rights -----------------------------------------------------------------------------------------------------------


async def test_a_user_that_may_only_use_the_tables(
    postgres: PostgresServer, database: str, store: PostgresStore
) -> None:
    await store.save(record(1), None)  # an administrator has made them
    user = a_user(postgres)
    limited = PostgresStore(as_user(database, user))
    assert "does not give this user the rights" in await failure_of(limited)
    postgres.execute(f"GRANT USAGE ON SCHEMA clawproto TO {user}", database)
    postgres.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA clawproto TO {user}", database)
    assert await limited.load() == record(1) and await limited.read_lease() is None
    assert await limited.messages.messages("cnv_1") == (), "who may only read can ask"
    assert "does not give this user the rights" in await failure_of(limited)
    postgres.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA clawproto TO {user}", database)
    assert await limited.save(record(2), 1) == 2
    other = PostgresStore(as_user(database, user), "other")
    assert await other.save(record(1), None) == 1
    fence = await other.take_lease("me", None)
    assert fence == 1 and await other.renew_lease(1)
    rejection = FrameRejected(None, "not-json", "x", 1, "x")
    assert len(await other.messages.commit([*arrivals(message()), Quarantined(rejection), send(1)])) == 1
    await other.aclose()
    await limited.aclose()


async def test_a_user_that_may_not_make_the_schema(postgres: PostgresServer, database: str) -> None:
    user = a_user(postgres)
    store = PostgresStore(as_user(database, user))
    assert "does not give this user the rights" in await failure_of(store)
    postgres.execute(f"CREATE SCHEMA clawproto AUTHORIZATION {user}", database)
    assert await store.save(record(1), None) == 1
    await store.aclose()


# --- tokens at rest ---------------------------------------------------------------------------------------------------


@pytest.mark.rule("REF-11")
async def test_token_columns_can_be_encrypted(postgres: PostgresServer, database: str, store: PostgresStore) -> None:
    await store.save(record(1), None)
    key = StoreKey.from_text(StoreKey.generate())
    sealed = PostgresStore(database, key=key)
    assert await sealed.load() == record(1), "what is in plain text is read"
    await sealed.save(record(2), 1)
    assert await sealed.load() == record(2)
    await sealed.aclose()
    ((access, refresh),) = postgres.execute("SELECT access_token, refresh_token FROM clawproto.credentials", database)
    assert access.startswith("sealed:1:") and refresh.startswith("sealed:1:")
    with pytest.raises(StoreError, match="encrypted; open the store with its key"):
        await store.load()


@pytest.mark.rule("DEV-5")
async def test_a_missing_device_id_is_taken_from_the_pairing_and_kept(
    postgres: PostgresServer, database: str, store: PostgresStore
) -> None:
    await store.save(record(1), None)
    postgres.execute("UPDATE clawproto.credentials SET device_id = ' '", database)
    with pytest.raises(StoreError, match="no session device id"):
        await store.load()
    helped = PostgresStore(database, fallback_device_id="from-pairing")
    expected = record(1, evolve(IDENTITY, device_id="from-pairing"))
    assert await helped.load() == expected
    await helped.aclose()
    assert await store.load() == expected


# --- connections ------------------------------------------------------------------------------------------------------


async def test_two_hundred_accounts_share_a_few_connections(postgres: PostgresServer, database: str) -> None:
    accounts = PostgresAccounts(database, connections=3)
    stores = [accounts.account(f"agent-{number:03}") for number in range(200)]
    most = 0

    async def save(store: PostgresAccount) -> None:
        nonlocal most
        await store.save(record(1), None)
        most = max(most, len(sessions(postgres, database)))
        await store.aclose()

    async with anyio.create_task_group() as tasks:
        for store in stores:
            tasks.start_soon(save, store)
    assert 1 <= most <= 3
    rows = await accounts.accounts()
    assert [row.name for row in rows] == [store.account for store in stores] and all(row.paired for row in rows)
    await accounts.aclose()
    assert await until(lambda: not sessions(postgres, database)), "they are closed"


async def test_an_application_that_uses_up_the_worker_threads_is_not_waited_for(store: PostgresStore) -> None:
    release = threading.Event()

    def wait() -> None:
        release.wait(60)

    try:
        async with anyio.create_task_group() as tasks:
            for _ in range(int(anyio.to_thread.current_default_thread_limiter().total_tokens)):
                tasks.start_soon(anyio.to_thread.run_sync, wait)
            await anyio.sleep(0.1)
            with anyio.fail_after(10):
                await store.save(record(1), None)
            release.set()
    finally:
        release.set()


async def test_what_is_committed_is_on_the_disk_whatever_the_default(
    postgres: PostgresServer, database: str, store: PostgresStore
) -> None:
    for default, wanted in (("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")):
        postgres.execute(f"ALTER DATABASE {database.rpartition('/')[2]} SET synchronous_commit = {default}")
        await store.aclose()

        def setting(connection: "object") -> str:
            row = connection.execute("SHOW synchronous_commit").fetchone()  # type: ignore[attr-defined]
            return str(row[0])

        assert await store._pool.run(setting) == wanted


async def test_a_server_that_does_not_wait_for_its_disk_is_reported_once(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = PostgresStore(database)  # the server of the tests is such a one
    await store.save(record(1), None)
    await store.aclose()
    await store.load()
    await store.aclose()
    assert [entry.message for entry in caplog.records if "fsync off" in entry.message] == [
        f"{store._pool.place}: the server runs with fsync off; what it saves does not survive a power cut"
    ]


def test_one_store_in_two_loops_at_once(database: str) -> None:
    accounts = PostgresAccounts(database, connections=2)
    failures: list[BaseException] = []

    async def work(backend: str) -> None:
        for number in range(1, 20):
            await accounts.account(backend).save(record(number), number - 1 if number > 1 else None)

    def loop(backend: str) -> None:
        try:
            anyio.run(work, backend, backend=backend)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=loop, args=(backend,)) for backend in ("asyncio", "trio")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    anyio.run(accounts.aclose)
    assert failures == []


# --- members and leases -----------------------------------------------------------------------------------------------


async def test_a_member_that_was_swept_out_has_lost_what_it_owned(accounts: PostgresAccounts) -> None:
    store = accounts.account("a")
    await store.save(record(1), None)
    await accounts.beat("old")
    assert await store.take_lease("old", None) == 1
    assert await accounts.beat("old") == {"a": 1}
    assert await accounts.leave("old", beat=1)
    with pytest.raises(LeaseLost):
        await store.record_intent(Intent("digest", 1, 5))
    assert await accounts.beat("old") == {}


async def test_of_many_that_take_and_sweep_at_once_none_is_caught_in_a_deadlock(accounts: PostgresAccounts) -> None:
    names = [f"a{number}" for number in range(6)]
    taken: dict[str, list[str]] = {name: [] for name in names}
    await accounts.beat("dead")
    for name in names:
        assert await accounts.account(name).take_lease("dead", None) == 1

    async def live(owner: str) -> None:
        await accounts.beat(owner)
        for name in names:
            store = accounts.account(name)
            if await store.take_lease(owner, await store.read_lease()) is not None:
                taken[name].append(owner)
            await accounts.leave("dead", beat=0)
            await accounts.beat(owner)

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(live, f"member-{number}")
    for name in names:
        lease = await accounts.account(name).read_lease()
        assert lease is not None and lease.owner == taken[name][-1] and lease.fence == 1 + len(taken[name])
    assert "dead" not in await accounts.members()


async def test_eight_writers_of_one_record(database: str) -> None:
    stores = [PostgresStore(database, connections=1) for _ in range(8)]
    await stores[0].save(record(1), None)
    won = 0

    async def write(store: PostgresStore) -> None:
        nonlocal won
        for _ in range(10):
            stored = await store.load()
            assert stored is not None
            try:
                await store.save(evolve(stored, generation=stored.generation + 1), stored.generation)
                won += 1
            except GenerationConflict:
                pass

    async with anyio.create_task_group() as tasks:
        for store in stores:
            tasks.start_soon(write, store)
    stored = await stores[0].load()
    # Two that save the very same thing both succeed: one of them may be repeating what was done.
    assert stored is not None and 10 <= stored.generation - 1 <= won <= 80
    for store in stores:
        await store.aclose()


# --- helpers ----------------------------------------------------------------------------------------------------------


def a_user(postgres: PostgresServer, options: str = "") -> str:
    name = f"user{len(postgres.execute('SELECT 1 FROM pg_roles'))}"
    postgres.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}' {options}")
    return name


def as_user(database: str, user: str) -> str:
    return database.replace("postgresql://postgres:", f"postgresql://{user}:")


def raising(postgres: PostgresServer, database: str, state: str) -> None:
    """Every write of a record fails with ``state``, and a text that quotes it."""
    postgres.execute(
        "CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$"
        f"BEGIN RAISE EXCEPTION 'token %', NEW.access_token USING ERRCODE = '{state}'; END $$",
        database,
    )
    postgres.execute(
        "CREATE TRIGGER trouble BEFORE INSERT OR UPDATE ON clawproto.credentials"
        " FOR EACH ROW EXECUTE FUNCTION trouble()",
        database,
    )


def sessions(postgres: PostgresServer, database: str) -> list[int]:
    rows = postgres.execute(
        "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name = 'clawproto'",
        values=(database.rpartition("/")[2],),
    )
    return [int(pid) for (pid,) in rows]


async def until(condition: Callable[[], bool]) -> bool:
    with anyio.move_on_after(10):
        while not condition():
            await anyio.sleep(0.05)
        return True
    return False
