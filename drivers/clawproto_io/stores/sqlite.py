"""Credentials in one SQLite file.

Rules: REF-9, REF-10, REF-11, REF-46, REF-49, OUT-2, OUT-3, OUT-9, DEV-4, DEV-5, HS-23, PAIR-9.

One connection, one operation at a time, all of it on worker threads. Each write is one transaction that takes SQLite's
write lock before it reads the generation, so that a writer in another process is told of a conflict and never
overwritten. A process that is killed at any moment leaves the record of the last commit.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from clawproto.credentials import Credentials, Intent
from clawproto_io.errors import LeaseLost, StoreError
from clawproto_io.stores import record
from clawproto_io.stores.base import LeaseRow
from clawproto_io.stores.rows import COLUMNS, from_row, to_row
from clawproto_io.stores.sealing import Sealer
from clawproto_io.stores.sqlite_file import check_directory, explain, identity_of, open_database, transaction

# What is put into the statements are fixed names; every value is bound.
_ACCOUNT = 1  # one record a file, for now
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM credentials WHERE account = {_ACCOUNT}"  # noqa: S608
# An upsert, not a replacement: rows of other tables will refer to this one.
_UPSERT = (
    f"INSERT INTO credentials (account, {', '.join(COLUMNS)}) VALUES ({_ACCOUNT}{', ?' * len(COLUMNS)})"  # noqa: S608
    f" ON CONFLICT (account) DO UPDATE SET {', '.join(f'{column} = excluded.{column}' for column in COLUMNS)}"
)
_NO_DEVICE = f"account = {_ACCOUNT} AND trim(coalesce(device_id, '')) = ''"
_HAS_NO_DEVICE = f"SELECT 1 FROM credentials WHERE {_NO_DEVICE}"  # noqa: S608
_SET_DEVICE = f"UPDATE credentials SET device_id = ? WHERE {_NO_DEVICE}"  # noqa: S608

_READ_LEASE = f"SELECT owner, fence, beat FROM leases WHERE account = {_ACCOUNT}"  # noqa: S608
_TAKE_LEASE = f"INSERT OR REPLACE INTO leases (account, owner, fence, beat) VALUES ({_ACCOUNT}, ?, ?, 0)"  # noqa: S608
_HELD = f"account = {_ACCOUNT} AND fence = ? AND owner IS NOT NULL"
_RENEW_LEASE = f"UPDATE leases SET beat = beat + 1 WHERE {_HELD}"  # noqa: S608
_RELEASE_LEASE = f"UPDATE leases SET owner = NULL WHERE {_HELD}"  # noqa: S608

_T = TypeVar("_T")


class SqliteStore:
    """A `CredentialStore` in the file ``path``, mode 0600 whatever the umask.

    Nothing is created before the first write. If the file is deleted or replaced while it is open, the next operation
    goes to what is there then. Works on asyncio and trio, for several tasks and several processes at once.

    Args:
        path: the file; its directory must exist.
        busy_timeout_ms: how long an operation waits for another process before it fails.
        fallback_device_id: the session device id that the pairing used, for a record that came from elsewhere without
            one; it is stored when such a record is loaded for the first time (DEV-5).
        key: encrypts the token columns; tokens that are stored in plain text are read, and encrypted with the next
            write. A record that is encrypted cannot be read without it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        busy_timeout_ms: int = 5_000,
        fallback_device_id: str | None = None,
        key: Sealer | None = None,
    ) -> None:
        self.path = Path(path).resolve()
        self._busy_timeout_ms = busy_timeout_ms
        self._fallback_device_id = fallback_device_id
        self._key = key
        self._lock = threading.Lock()  # guards the connection
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None
        self._fence: int | None = None  # of the lease that this store acts under

    def __repr__(self) -> str:
        return f"SqliteStore({str(self.path)!r})"

    async def load(self) -> Credentials | None:
        """See `CredentialStore.load`. A missing file is an empty store and is not created."""
        return await self._run(self._load)

    async def save(self, credentials: Credentials, replaces: int | None) -> int:
        """See `CredentialStore.save`."""
        return await self._run(lambda: self._change(lambda stored: record.saved(stored, credentials, replaces)))

    async def record_intent(self, intent: Intent) -> int:
        """See `CredentialStore.record_intent`."""
        return await self._run(lambda: self._change(lambda stored: record.intended(stored, intent), fenced=True))

    async def forget(self, refused: str, replaces: int) -> int:
        """See `CredentialStore.forget`. The tokens are overwritten in the file and in its log, not only unlinked."""

        def forget() -> int:
            generation = self._change(lambda stored: record.forgotten(stored, refused, replaces), fenced=True)
            self._empty_log()
            return generation

        return await self._run(forget)

    async def remember_device(self, device_id: str) -> None:
        """See `CredentialStore.remember_device`."""

        def remember() -> None:
            stored = self._load()
            if stored is not None and record.with_device(stored, device_id) != stored:
                with self._writing() as (connection, again):
                    if again is not None:
                        connection.execute(_UPSERT, to_row(record.with_device(again, device_id), self._key))

        await self._run(remember)

    # --- the lease, see `clawproto_io.lease` ---

    async def read_lease(self) -> LeaseRow | None:
        """See `clawproto_io.lease.LeaseStore.read_lease`. A missing file has none and is not created."""
        return await self._run(self._read_lease)

    async def take_lease(self, owner: str, expected: LeaseRow | None) -> int | None:
        """See `clawproto_io.lease.LeaseStore.take_lease`."""

        def take() -> int | None:
            with transaction(connection := self._open()):
                found = self._lease_in(connection)
                if found != expected:
                    return None
                fence = 1 if found is None else found.fence + 1
                connection.execute(_TAKE_LEASE, (owner, fence))
            self._fence = fence
            return fence

        return await self._run(take)

    async def renew_lease(self, fence: int) -> bool:
        """See `clawproto_io.lease.LeaseStore.renew_lease`."""
        return await self._run(lambda: self._open().execute(_RENEW_LEASE, (fence,)).rowcount == 1)

    async def release_lease(self, fence: int) -> None:
        """See `clawproto_io.lease.LeaseStore.release_lease`."""

        def release() -> None:
            self._open().execute(_RELEASE_LEASE, (fence,))
            self._fence = None

        await self._run(release)

    async def aclose(self) -> None:
        """Close the file. Using the store again opens it again."""
        await self._run(self._close)

    # --- everything below runs on a worker thread, under the lock --------------------------------------------------

    async def _run(self, operation: Callable[[], _T]) -> _T:
        def locked() -> _T:
            with self._lock:
                try:
                    return operation()
                except StoreError as error:
                    failure = error
                except (sqlite3.Error, UnicodeError, OSError) as error:
                    failure = explain(self.path, error)
                with suppress(sqlite3.Error):
                    self._close()  # whatever state it is in, the next operation starts afresh
            raise failure

        # A limiter of its own: an application that uses up the worker threads must not hold up the saving of a pair.
        return await anyio.to_thread.run_sync(locked, limiter=anyio.CapacityLimiter(1))

    def _open(self) -> sqlite3.Connection:
        if self._connection is None or identity_of(self.path) != self._opened:
            self._close()
            self._connection = open_database(self.path, self._busy_timeout_ms)
            self._opened = identity_of(self.path)
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()

    def _load(self) -> Credentials | None:
        if identity_of(self.path) is None:
            check_directory(self.path)
            return None
        connection = self._open()
        stored = self._read(connection)
        if stored is not None and connection.execute(_HAS_NO_DEVICE).fetchone():
            connection.execute(_SET_DEVICE, (stored.identity.device_id,))  # DEV-5
        return stored

    def _read(self, connection: sqlite3.Connection) -> Credentials | None:
        row = connection.execute(_SELECT).fetchone()
        return None if row is None else from_row(row, str(self.path), self._fallback_device_id, self._key)

    @contextmanager
    def _writing(self) -> Generator[tuple[sqlite3.Connection, Credentials | None]]:
        connection = self._open()
        with transaction(connection):
            yield connection, self._read(connection)

    def _read_lease(self) -> LeaseRow | None:
        if identity_of(self.path) is None:
            check_directory(self.path)
            return None
        return self._lease_in(self._open())

    def _lease_in(self, connection: sqlite3.Connection) -> LeaseRow | None:
        row = connection.execute(_READ_LEASE).fetchone()
        return None if row is None else LeaseRow(*row)

    def _change(self, change: Callable[[Credentials | None], Credentials], *, fenced: bool = False) -> int:
        # Written even if nothing changed: an earlier commit may not have reached the disk, and this one syncs again.
        with self._writing() as (connection, stored):
            if fenced and self._fence is not None:
                lease = self._lease_in(connection)
                if lease is None or lease.fence != self._fence:
                    raise LeaseLost(str(self.path))
            changed = change(stored)
            connection.execute(_UPSERT, to_row(changed, self._key))
        return changed.generation

    def _empty_log(self) -> None:
        """Move the write-ahead log into the file and cut it to nothing: it still holds the forgotten tokens."""
        with suppress(sqlite3.OperationalError):  # another process is reading; its own checkpoint will do it
            self._open().execute("PRAGMA wal_checkpoint(TRUNCATE)")
