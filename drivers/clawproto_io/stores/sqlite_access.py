"""One connection to a store's SQLite file, for any number of tasks, on worker threads, one operation at a time."""

import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from weakref import WeakKeyDictionary

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from clawproto_io.errors import StoreError
from clawproto_io.stores.sqlite_file import check_directory, explain, identity_of, open_database

_T = TypeVar("_T")

# Operations wait their turn in the event loop, not each on a thread of its own. The limiters are our own: an
# application that uses up the worker threads must not hold up the saving of a pair.
_limiters: "RunVar[WeakKeyDictionary[SqliteAccess, anyio.CapacityLimiter]]" = RunVar("clawproto-sqlite-limiters")


class SqliteAccess:
    """Opens the file when it is needed. If it is deleted or replaced meanwhile, the next operation goes to what is
    there then; after an error it is opened afresh.

    Args:
        busy_timeout_ms: how long an operation waits for another process before it fails.
    """

    def __init__(self, path: str | os.PathLike[str], busy_timeout_ms: int) -> None:
        self.path = Path(path).resolve()
        self._busy_timeout_ms = busy_timeout_ms
        self._lock = threading.Lock()  # guards the connection; there may be several event loops
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None

    async def run(self, operation: Callable[[], _T]) -> _T:
        """Do ``operation``, which may call the methods below, on a worker thread. Cancelled before its turn has come,
        it is not done; later, it is done in any case.

        Raises:
            StoreError: whatever SQLite or the system raised, explained.
        """

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

        return await anyio.to_thread.run_sync(locked, limiter=self._limiter())

    async def aclose(self) -> None:
        """Close the file. The next operation opens it again."""
        await self.run(self._close)

    # --- within an operation ---------------------------------------------------------------------------------------

    def exists(self) -> bool:
        """Whether there is a file at all. Raises `StoreError` if there is not even its directory."""
        if identity_of(self.path) is not None:
            return True
        check_directory(self.path)
        return False

    def open(self) -> sqlite3.Connection:
        """The connection; the file is created if it is not there."""
        if self._connection is None or identity_of(self.path) != self._opened:
            self._close()
            self._connection, self._opened = open_database(self.path, self._busy_timeout_ms)
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()

    def _limiter(self) -> anyio.CapacityLimiter:
        try:
            known = _limiters.get()
        except LookupError:
            known = WeakKeyDictionary["SqliteAccess", anyio.CapacityLimiter]()
            _limiters.set(known)
        limiter = known.get(self)
        if limiter is None:
            limiter = known[self] = anyio.CapacityLimiter(1)
        return limiter
