"""Credentials in one SQLite file.

Rules: REF-9, REF-10, REF-11, REF-46, REF-49, OUT-2, OUT-3, OUT-9, DEV-4, DEV-5, HS-23, PAIR-9.

One connection, one operation at a time, all of it on worker threads. Each write is one transaction that takes SQLite's
write lock before it reads the generation, so that a writer in another process is told of a conflict and never
overwritten. A process that is killed at any moment leaves the record of the last commit.
"""

import os
import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from clawproto.credentials import Credentials, Intent
from clawproto_io.clock import Clock, SystemClock
from clawproto_io.stores import record, sqlite_leases
from clawproto_io.stores.base import DEFAULT_ACCOUNT, LeaseRow, check_account
from clawproto_io.stores.retention import Retention
from clawproto_io.stores.rows import COLUMNS, from_row, to_row
from clawproto_io.stores.sealing import Sealer
from clawproto_io.stores.sqlite_access import SqliteAccess
from clawproto_io.stores.sqlite_file import transaction
from clawproto_io.stores.sqlite_leases import NUMBER
from clawproto_io.stores.sqlite_messages import SqliteMessages

# What is put into the statements are fixed names; every value is bound.
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM credentials WHERE account = {NUMBER}"  # noqa: S608
# An upsert, not a replacement: rows of other tables may refer to this one.
_UPSERT = (
    f"INSERT INTO credentials (account, {', '.join(COLUMNS)}) VALUES ({NUMBER}{', ?' * len(COLUMNS)})"  # noqa: S608
    f" ON CONFLICT (account) DO UPDATE SET {', '.join(f'{column} = excluded.{column}' for column in COLUMNS)}"
)
_NO_DEVICE = f"account = {NUMBER} AND trim(coalesce(device_id, '')) = ''"
_HAS_NO_DEVICE = f"SELECT 1 FROM credentials WHERE {_NO_DEVICE}"  # noqa: S608
_SET_DEVICE = f"UPDATE credentials SET device_id = ? WHERE {_NO_DEVICE}"  # noqa: S608

DEFAULT_BUSY_TIMEOUT_MS = 5_000


class SqliteStore:
    """A `CredentialStore` in the file ``path``, mode 0600 whatever the umask; a
    `clawproto_io.stores.base.LeaseStore` as well, and the messages beside it.

    Nothing is created before the first write. If the file is deleted or replaced while it is open, the next operation
    goes to what is there then. Works on asyncio and trio, for several tasks and several processes at once.

    Args:
        path: the file; its directory must exist.
        account: which of the accounts in the file; see `SqliteAccounts` for all of them.
        busy_timeout_ms: how long an operation waits for another process before it fails.
        fallback_device_id: the session device id that the pairing used, for a record that came from elsewhere without
            one; it is stored when such a record is loaded for the first time (DEV-5).
        key: encrypts the token columns; tokens that are stored in plain text are read, and encrypted with the next
            write. A record that is encrypted cannot be read without it. Messages are not encrypted.
        retention: how long messages are kept.
        clock: tells the age of messages; that of the machine if none is given.

    Raises:
        ValueError: ``account`` is no name for one.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        account: str = DEFAULT_ACCOUNT,
        *,
        busy_timeout_ms: int = DEFAULT_BUSY_TIMEOUT_MS,
        fallback_device_id: str | None = None,
        key: Sealer | None = None,
        retention: Retention | None = None,
        clock: Clock | None = None,
    ) -> None:
        check_account(account)
        self.account = account
        self._fallback_device_id = fallback_device_id
        self._key = key
        self._retention = retention or Retention()
        self._clock = clock or SystemClock()
        self._fence: int | None = None  # of the lease that this store acts under
        self._shared = False
        self._access = SqliteAccess(path, busy_timeout_ms)
        self._messages = self._messages_on(SqliteAccess(path, busy_timeout_ms))

    def _messages_on(self, access: SqliteAccess) -> SqliteMessages:
        return SqliteMessages(
            access,
            self.account,
            fence=lambda: self._fence,
            retention=self._retention,
            clock=self._clock,
            shared=self._shared,
        )

    @classmethod
    def sharing(
        cls, access: SqliteAccess, messages: SqliteAccess, account: str, key: Sealer | None, retention: Retention
    ) -> "SqliteStore":
        """One of many stores on the same connections, which closing it leaves open."""
        store = cls(access.path, account, key=key, retention=retention)
        store._shared = True
        store._access, store._messages = access, store._messages_on(messages)
        return store

    def __repr__(self) -> str:
        which = "" if self.account == DEFAULT_ACCOUNT else f", {self.account!r}"
        return f"SqliteStore({str(self.path)!r}{which})"

    @property
    def path(self) -> Path:
        """The file, as it was found from the directory of that time, links resolved."""
        return self._access.path

    @property
    def messages(self) -> SqliteMessages:
        """What arrived and what was sent, of the same account and under the same lease."""
        return self._messages

    async def load(self) -> Credentials | None:
        """See `CredentialStore.load`. A missing file is an empty store and is not created."""
        return await self._access.run(self._load)

    async def save(self, credentials: Credentials, replaces: int | None) -> int:
        """See `CredentialStore.save`."""
        return await self._access.run(lambda: self._change(lambda stored: record.saved(stored, credentials, replaces)))

    async def record_intent(self, intent: Intent) -> int:
        """See `CredentialStore.record_intent`."""
        return await self._access.run(lambda: self._change(lambda stored: record.intended(stored, intent), fenced=True))

    async def forget(self, refused: str, replaces: int) -> int:
        """See `CredentialStore.forget`. The tokens are overwritten in the file and in its log, not only unlinked."""

        def forget() -> int:
            generation = self._change(lambda stored: record.forgotten(stored, refused, replaces), fenced=True)
            self._empty_log()
            return generation

        return await self._access.run(forget)

    async def remember_device(self, device_id: str) -> None:
        """See `CredentialStore.remember_device`."""

        def remember() -> None:
            stored = self._load()
            if stored is not None and record.with_device(stored, device_id) != stored:
                with self._writing() as (connection, again):
                    if again is not None:
                        self._write(connection, record.with_device(again, device_id))

        await self._access.run(remember)

    async def aclose(self) -> None:
        """Close the file, for the messages as well. Using the store again opens it again."""
        if not self._shared:
            await self._access.aclose()
            await self._messages.aclose()

    # --- the lease, see `clawproto_io.lease` -----------------------------------------------------------------------

    async def read_lease(self) -> LeaseRow | None:
        """See `clawproto_io.stores.base.LeaseStore.read_lease`. A missing file has none and is not created."""

        def read() -> LeaseRow | None:
            return sqlite_leases.read_lease(self._access.open(), self.account) if self._access.exists() else None

        return await self._access.run(read)

    async def take_lease(self, owner: str, expected: LeaseRow | None) -> int | None:
        """See `clawproto_io.stores.base.LeaseStore.take_lease`."""

        def take() -> int | None:
            with transaction(connection := self._access.open()):
                fence = sqlite_leases.take_lease(connection, self.account, owner, expected)
            if fence is not None:
                self._fence = fence
            return fence

        return await self._access.run(take)

    async def renew_lease(self, fence: int) -> bool:
        """See `clawproto_io.stores.base.LeaseStore.renew_lease`."""
        return await self._access.run(lambda: sqlite_leases.renew_lease(self._access.open(), self.account, fence))

    async def release_lease(self, fence: int) -> None:
        """See `clawproto_io.stores.base.LeaseStore.release_lease`."""

        def release() -> None:
            with transaction(connection := self._access.open()):
                sqlite_leases.release_lease(connection, self.account, fence)
            self._fence = None

        await self._access.run(release)

    # --- everything below runs within an operation of the access ---------------------------------------------------

    def _load(self) -> Credentials | None:
        if not self._access.exists():
            return None
        connection = self._access.open()
        stored = self._read(connection)
        if stored is not None and connection.execute(_HAS_NO_DEVICE, (self.account,)).fetchone():
            connection.execute(_SET_DEVICE, (stored.identity.device_id, self.account))  # DEV-5
        return stored

    def _read(self, connection: sqlite3.Connection) -> Credentials | None:
        row = connection.execute(_SELECT, (self.account,)).fetchone()
        return None if row is None else from_row(row, str(self.path), self._fallback_device_id, self._key)

    @contextmanager
    def _writing(self) -> Generator[tuple[sqlite3.Connection, Credentials | None]]:
        connection = self._access.open()
        with transaction(connection):
            yield connection, self._read(connection)

    def _write(self, connection: sqlite3.Connection, credentials: Credentials) -> None:
        sqlite_leases.begin_write(connection, self.account)
        connection.execute(_UPSERT, (self.account, *to_row(credentials, self._key)))

    def _change(self, change: Callable[[Credentials | None], Credentials], *, fenced: bool = False) -> int:
        # Also if nothing changed: an earlier commit may not have reached the disk, and this one syncs again.
        with self._writing() as (connection, stored):
            if fenced:
                sqlite_leases.check_lease(connection, self.account, self._fence, str(self.path))
            changed = change(stored)
            self._write(connection, changed)
        return changed.generation

    def _empty_log(self) -> None:
        """Move the write-ahead log into the file and cut it to nothing: it still holds the forgotten tokens."""
        with suppress(sqlite3.OperationalError):  # another process is reading; its own checkpoint will do it
            self._access.open().execute("PRAGMA wal_checkpoint(TRUNCATE)")
