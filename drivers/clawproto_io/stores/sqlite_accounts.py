"""Many accounts in one SQLite file, and the members that own them.

All accounts of one `SqliteAccounts` use its two connections, one for credentials and one for messages, one operation
after the other: SQLite lets one write at a time anyway, and hundreds of open files would gain nothing.
"""

import os
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from clawproto_io.stores import sqlite_leases
from clawproto_io.stores.base import AccountRow
from clawproto_io.stores.retention import Retention
from clawproto_io.stores.sealing import Sealer
from clawproto_io.stores.sqlite import DEFAULT_BUSY_TIMEOUT_MS, SqliteStore
from clawproto_io.stores.sqlite_access import SqliteAccess
from clawproto_io.stores.sqlite_file import transaction

_T = TypeVar("_T")


class SqliteAccounts:
    """An `AccountStore` in the file ``path``.

    Args:
        path, busy_timeout_ms, key, retention: see `SqliteStore`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        busy_timeout_ms: int = DEFAULT_BUSY_TIMEOUT_MS,
        key: Sealer | None = None,
        retention: Retention | None = None,
    ) -> None:
        self._access = SqliteAccess(path, busy_timeout_ms)
        self._messages = SqliteAccess(path, busy_timeout_ms)
        self._key = key
        self._retention = retention or Retention()

    def __repr__(self) -> str:
        return f"SqliteAccounts({str(self.path)!r})"

    @property
    def path(self) -> Path:
        """The file, as it was found from the directory of that time, links resolved."""
        return self._access.path

    def account(self, name: str) -> SqliteStore:
        """See `AccountStore.account`. Nothing is created before the first write.

        Raises:
            ValueError: ``name`` is no name for an account.
        """
        return SqliteStore.sharing(self._access, self._messages, name, self._key, self._retention)

    async def accounts(self) -> tuple[AccountRow, ...]:
        """See `AccountStore.accounts`. A missing file has none and is not created."""
        return await self._read(sqlite_leases.accounts, ())

    async def beat(self, owner: str) -> Mapping[str, int]:
        """See `AccountStore.beat`."""
        return await self._write(lambda connection: sqlite_leases.beat(connection, owner))

    async def members(self) -> Mapping[str, int]:
        """See `AccountStore.members`. Who holds the lease of one account and has not joined is not among them."""
        return await self._read(sqlite_leases.members, {})

    async def leave(self, owner: str, beat: int | None = None) -> bool:
        """See `AccountStore.leave`."""
        return await self._write(lambda connection: sqlite_leases.leave(connection, owner, beat))

    async def aclose(self) -> None:
        """Close the file, for the stores of all accounts as well. Using it again opens it again."""
        await self._access.aclose()
        await self._messages.aclose()

    async def _read(self, read: Callable[[sqlite3.Connection], _T], otherwise: _T) -> _T:
        return await self._access.run(lambda: read(self._access.open()) if self._access.exists() else otherwise)

    async def _write(self, write: Callable[[sqlite3.Connection], _T]) -> _T:
        def work() -> _T:
            with transaction(connection := self._access.open()):
                return write(connection)

        return await self._access.run(work)
