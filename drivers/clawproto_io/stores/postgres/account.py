"""One agent's credentials and lease in PostgreSQL.

Rules: REF-9, REF-10, REF-11, REF-46, REF-49, OUT-2, OUT-3, OUT-9, DEV-4, DEV-5, HS-23, PAIR-9.

    BEGIN -- lock the account's row -- check the fence, read the record -- change it -- write it -- COMMIT

Each write is one transaction that locks the row of its account first, so that a writer in another process is told of a
conflict and never overwritten. A process or server that dies at any moment leaves the record of the last commit.
"""

from collections.abc import Callable

import psycopg
from anyio.lowlevel import checkpoint
from psycopg import sql

from clawproto.credentials import Credentials, Intent
from clawproto_io.clock import Clock, SystemClock
from clawproto_io.stores import record
from clawproto_io.stores.base import LeaseRow, check_account
from clawproto_io.stores.postgres.messages import PostgresMessages
from clawproto_io.stores.postgres.ownership import Ownership
from clawproto_io.stores.postgres.pool import Pool
from clawproto_io.stores.retention import Retention
from clawproto_io.stores.rows import COLUMNS, from_row, to_row
from clawproto_io.stores.sealing import Sealer

_NAMES = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
_SELECT = sql.SQL("SELECT {} FROM accounts JOIN credentials USING (account) WHERE name = %s").format(_NAMES)
_UPSERT = sql.SQL(
    "INSERT INTO credentials (account, {names}) VALUES (%s, {values}) ON CONFLICT (account) DO UPDATE SET {changes}"
).format(
    names=_NAMES,
    values=sql.SQL(", ").join(sql.Placeholder() * len(COLUMNS)),
    changes=sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in COLUMNS),
)
_HAS_NO_DEVICE = """
    SELECT 1 FROM accounts JOIN credentials USING (account) WHERE name = %s AND btrim(coalesce(device_id, '')) = ''
"""

# Whoever locks rows of both tables locks that of the member first.
_LOCK_MEMBER = "SELECT 1 FROM members WHERE owner = %s FOR UPDATE"
_READ_LEASE = """
    SELECT a.owner, a.fence, coalesce(m.beat, a.beat) FROM accounts a LEFT JOIN members m ON m.owner = a.owner
    WHERE a.name = %s AND a.fence > 0
"""
_TAKE_LEASE = "UPDATE accounts SET owner = %s, fence = fence + 1, beat = 0 WHERE account = %s RETURNING fence"
_BEAT_OF_MEMBER = """
    UPDATE members SET beat = beat + 1
    WHERE owner = (SELECT owner FROM accounts WHERE name = %s AND fence = %s)
"""
_RENEW_LEASE = "UPDATE accounts SET beat = beat + 1 WHERE name = %s AND fence = %s AND owner IS NOT NULL"
_RELEASE_LEASE = "UPDATE accounts SET owner = NULL WHERE name = %s AND fence = %s"


class PostgresAccount:
    """The store of one account: a `CredentialStore`, a `LeaseStore`, and messages. Made by `PostgresAccounts.account`.

    Works on asyncio and trio, for several tasks and several processes at once.

    Attributes:
        account: its name.
    """

    def __init__(
        self,
        pool: Pool,
        account: str,
        *,
        key: Sealer | None,
        fallback_device_id: str | None = None,
        retention: Retention | None = None,
        clock: Clock | None = None,
    ) -> None:
        check_account(account)
        self.account = account
        self._ownership = Ownership(account, pool.place)
        self._pool = pool
        self._key = key
        self._fallback_device_id = fallback_device_id
        self._messages = PostgresMessages(
            pool,
            self._ownership,
            retention=retention or Retention(),
            clock=clock or SystemClock(),
            close=self.aclose,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._ownership.place!r})"

    @property
    def messages(self) -> PostgresMessages:
        """The messages of the same agent, under the same lease."""
        return self._messages

    async def load(self) -> Credentials | None:
        """See `CredentialStore.load`."""

        def load(connection: psycopg.Connection) -> tuple[Credentials | None, bool]:
            stored = self._read(connection)
            return stored, stored is not None and connection.execute(_HAS_NO_DEVICE, (self.account,)).rowcount > 0

        def complete(connection: psycopg.Connection) -> Credentials | None:
            account = self._ownership.lock(connection)
            stored = self._read(connection)
            if stored is not None:
                self._write(connection, account, stored)
            return stored

        stored, incomplete = await self._pool.run(load, reading=True)
        return await self._pool.run(complete) if incomplete else stored  # DEV-5

    async def save(self, credentials: Credentials, replaces: int | None) -> int:
        """See `CredentialStore.save`."""
        return await self._change(lambda stored: record.saved(stored, credentials, replaces))

    async def record_intent(self, intent: Intent) -> int:
        """See `CredentialStore.record_intent`."""
        return await self._change(lambda stored: record.intended(stored, intent), fenced=True)

    async def forget(self, refused: str, replaces: int) -> int:
        """See `CredentialStore.forget`. The server removes what the row held before when it cleans up (VACUUM)."""
        return await self._change(lambda stored: record.forgotten(stored, refused, replaces), fenced=True)

    async def remember_device(self, device_id: str) -> None:
        """See `CredentialStore.remember_device`."""

        def differs(connection: psycopg.Connection) -> bool:
            stored = self._read(connection)
            return stored is not None and record.with_device(stored, device_id) != stored

        def remember(connection: psycopg.Connection) -> None:
            account = self._ownership.lock(connection)
            stored = self._read(connection)
            if stored is not None:
                self._write(connection, account, record.with_device(stored, device_id))

        if await self._pool.run(differs, reading=True):
            await self._pool.run(remember)

    # --- the lease, see `clawproto_io.lease` ---

    async def read_lease(self) -> LeaseRow | None:
        """See `LeaseStore.read_lease`."""
        return await self._pool.run(self._lease, reading=True)

    async def take_lease(self, owner: str, expected: LeaseRow | None) -> int | None:
        """See `LeaseStore.take_lease`."""

        def take(connection: psycopg.Connection) -> int | None:
            if expected is not None and expected.owner is not None:
                connection.execute(_LOCK_MEMBER, (expected.owner,))
            account = self._ownership.lock(connection)
            if self._lease(connection) != expected:
                return None
            row = connection.execute(_TAKE_LEASE, (owner, account)).fetchone()
            return None if row is None else int(row[0])

        fence = await self._pool.run(take)
        if fence is not None:
            self._ownership.fence = fence
        return fence

    async def renew_lease(self, fence: int) -> bool:
        """See `LeaseStore.renew_lease`. Of a member it is a sign of life for all that it owns."""

        def renew(connection: psycopg.Connection) -> bool:
            connection.execute(_BEAT_OF_MEMBER, (self.account, fence))
            return connection.execute(_RENEW_LEASE, (self.account, fence)).rowcount == 1

        return await self._pool.run(renew)

    async def release_lease(self, fence: int) -> None:
        """See `LeaseStore.release_lease`."""
        await self._pool.run(lambda connection: connection.execute(_RELEASE_LEASE, (self.account, fence)))
        self._ownership.fence = None

    async def aclose(self) -> None:
        """Closes nothing: the connections belong to all accounts."""
        await checkpoint()

    # --- in a transaction, on a worker thread ---------------------------------------------------------------------

    def _read(self, connection: psycopg.Connection) -> Credentials | None:
        row = connection.execute(_SELECT, (self.account,)).fetchone()
        return None if row is None else from_row(row, self._ownership.place, self._fallback_device_id, self._key)

    def _write(self, connection: psycopg.Connection, account: int, credentials: Credentials) -> None:
        connection.execute(_UPSERT, (account, *to_row(credentials, self._key)))

    def _lease(self, connection: psycopg.Connection) -> LeaseRow | None:
        row = connection.execute(_READ_LEASE, (self.account,)).fetchone()
        return None if row is None else LeaseRow(*row)

    async def _change(self, change: Callable[[Credentials | None], Credentials], *, fenced: bool = False) -> int:
        def work(connection: psycopg.Connection) -> int:
            account = self._ownership.lock(connection, fenced=fenced)
            changed = change(self._read(connection))
            # Written even if nothing changed: an earlier commit may not have reached a standby that it has to be on,
            # and this one waits for it again.
            self._write(connection, account, changed)
            return changed.generation

        return await self._pool.run(work)
