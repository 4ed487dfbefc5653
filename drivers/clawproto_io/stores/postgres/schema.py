"""The tables of a PostgreSQL store, and how an older schema becomes this one.

Everything here blocks and belongs on a worker thread.

    no schema --1--> accounts, credentials, members --2--> arrivals, sends, quarantine --3--> whose they are

A migration is one transaction under an advisory lock, so any number of processes may start at the same time: the first
one does it, the others find it done.
"""

from collections.abc import Sequence
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from clawproto.deferred import frozen
from clawproto_io.errors import StoreError

# One entry a version: the statements that lead to it from the version before. Entries are never edited, only added.
MIGRATIONS: tuple[tuple[LiteralString, ...], ...] = (
    (
        # The row that every write of an account locks first. Fence 0: nobody ever owned it.
        """
        CREATE TABLE accounts (
            account BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            owner TEXT,
            fence BIGINT NOT NULL DEFAULT 0,
            beat BIGINT NOT NULL DEFAULT 0
        )
        """,
        "CREATE INDEX accounts_owner ON accounts (owner) WHERE owner IS NOT NULL",
        """
        CREATE TABLE credentials (
            account BIGINT PRIMARY KEY REFERENCES accounts,
            user_id TEXT NOT NULL,
            device_id TEXT,
            base_url TEXT NOT NULL,
            ws_url TEXT NOT NULL,
            owner_id TEXT,
            agent_id TEXT,
            conversation_id TEXT,
            socket_device_id TEXT,
            access_token TEXT,
            refresh_token TEXT,
            obtained_at_ms BIGINT,
            generation BIGINT NOT NULL CHECK (generation >= 0),
            intent_digest TEXT,
            intent_generation BIGINT,
            intent_wall_ms BIGINT,
            refused TEXT,
            CHECK (access_token IS NOT NULL OR (refresh_token IS NULL AND intent_digest IS NULL))
        )
        """,
        "CREATE TABLE members (owner TEXT PRIMARY KEY, beat BIGINT NOT NULL)",
    ),
    (
        # The highest numbers ever given, also of rows that are gone.
        """
        ALTER TABLE accounts
            ADD COLUMN last_row BIGINT NOT NULL DEFAULT 0,
            ADD COLUMN last_number BIGINT NOT NULL DEFAULT 0
        """,
        # What arrived. No key: every copy is news. ``again``: the application was done with an earlier content.
        # Keys and ids are cut to what an index takes, see `filing.py`.
        """
        CREATE TABLE arrivals (
            account BIGINT NOT NULL REFERENCES accounts,
            number BIGINT NOT NULL,
            kind TEXT NOT NULL,
            key TEXT,
            content TEXT NOT NULL,
            final BOOLEAN NOT NULL,
            waiting BOOLEAN NOT NULL DEFAULT TRUE,
            again BOOLEAN NOT NULL,
            chat_id TEXT,
            message_id TEXT,
            at_ms BIGINT,
            filed_at_ms BIGINT NOT NULL,
            event TEXT NOT NULL,
            PRIMARY KEY (account, number),
            UNIQUE (account, kind, key)
        )
        """,
        "CREATE INDEX arrivals_waiting ON arrivals (account, number) WHERE waiting",
        "CREATE INDEX arrivals_done ON arrivals (account, number) WHERE NOT waiting AND kind <> 'read_mark_moved'",
        "CREATE INDEX arrivals_of_chat ON arrivals (account, chat_id, at_ms, number) WHERE kind = 'message_received'",
        "CREATE INDEX arrivals_about ON arrivals (account, message_id, number) WHERE kind = 'reaction_changed'",
        # What was sent. Ids are JSON texts, which hold what an application may put into one.
        """
        CREATE TABLE sends (
            account BIGINT NOT NULL REFERENCES accounts,
            trace_id TEXT NOT NULL,
            number BIGINT NOT NULL,
            message_id TEXT NOT NULL,
            chat_id TEXT NOT NULL,
            event TEXT NOT NULL,
            payload TEXT NOT NULL,
            recipient TEXT,
            created_ms BIGINT NOT NULL,
            outcome TEXT,
            decided_message_id TEXT,
            code TEXT,
            accepted_at_ms BIGINT,
            decided_at_ms BIGINT,
            PRIMARY KEY (account, trace_id),
            CHECK ((outcome IS NULL) = (decided_at_ms IS NULL))
        )
        """,
        "CREATE INDEX sends_by_number ON sends (account, number)",
        "CREATE INDEX sends_undecided ON sends (account, number) WHERE outcome IS NULL",
        """
        CREATE TABLE quarantine (
            number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            account BIGINT NOT NULL REFERENCES accounts,
            content TEXT NOT NULL,
            filed_at_ms BIGINT NOT NULL,
            event TEXT NOT NULL,
            UNIQUE (account, content)
        )
        """,
        "CREATE INDEX quarantine_by_number ON quarantine (account, number)",
    ),
    (
        # Whose the messages are.
        "ALTER TABLE accounts ADD COLUMN messages_of TEXT",
        "UPDATE accounts SET messages_of = user_id FROM credentials WHERE credentials.account = accounts.account",
    ),
)
SCHEMA_VERSION = len(MIGRATIONS)

_STATE = """
    SELECT current_setting('server_encoding'), current_setting('fsync'),
        (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = %s AND c.relname = 'schema_version')
"""
_SCHEMA_EXISTS = "SELECT 1 FROM pg_namespace WHERE nspname = %s"
_PATIENCE_MS = 60_000  # for the process that migrates at the moment


def quoted(name: str) -> str:
    """A name as an identifier in a statement."""
    return '"' + name.replace('"', '""') + '"'


@frozen
class Found:
    """What a new connection leads to.

    Attributes:
        current: the schema can be used as it is; otherwise `migrate` it.
        durable: the server waits for its disk.
    """

    current: bool
    durable: bool


def look_at(connection: psycopg.Connection, schema: str, place: str) -> Found:
    """What a new connection leads to.

    Raises:
        StoreError: the schema is newer than this program, or the database is not in UTF8.
        psycopg.Error: anything else.
    """
    encoding, fsync, exists = _one(connection, _STATE, (schema,))
    if encoding != "UTF8":
        raise StoreError(place, f"the database is in {encoding}; create one with ENCODING 'UTF8'")
    current = exists is not None and _version(connection, schema, place) == SCHEMA_VERSION
    return Found(current, durable=fsync == "on")


def migrate(connection: psycopg.Connection, schema: str, place: str) -> None:
    """Bring the schema up to date, or wait until another process has done so. Raises as `look_at`."""
    name = sql.Identifier(schema)
    with connection.transaction():
        connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(_PATIENCE_MS))
        connection.execute("SET LOCAL statement_timeout = 0")
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"clawproto schema {schema}",))
        if connection.execute(_SCHEMA_EXISTS, (schema,)).fetchone() is None:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(name))
        # Everything is made in this schema and found there first; pg_temp would be searched before it if not named.
        connection.execute(sql.SQL("SET LOCAL search_path = {}, pg_temp").format(name))
        if _one(connection, _STATE, (schema,))[2] is None:
            connection.execute("CREATE TABLE schema_version (version INTEGER NOT NULL)")
            connection.execute("INSERT INTO schema_version VALUES (0)")
        version = _version(connection, schema, place)
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute("UPDATE schema_version SET version = %s", (SCHEMA_VERSION,))


def _version(connection: psycopg.Connection, schema: str, place: str) -> int:
    query = sql.SQL("SELECT version FROM {}.schema_version").format(sql.Identifier(schema))
    (version,) = _one(connection, query, ())
    if version > SCHEMA_VERSION:
        raise StoreError(
            place,
            f"the schema {schema} was written by a newer clawproto (version {version}, this one knows "
            f"{SCHEMA_VERSION}); upgrade clawproto",
        )
    return int(version)


def _one(
    connection: psycopg.Connection, query: LiteralString | sql.Composed, values: Sequence[object]
) -> tuple[Any, ...]:
    row = connection.execute(query, values).fetchone()
    if row is None:
        raise psycopg.ProgrammingError("no row where there is always one")
    return row
