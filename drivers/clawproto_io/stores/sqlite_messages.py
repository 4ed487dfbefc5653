"""The messages of one account in the SQLite file: what arrived, what was sent, what became of it.

Rules: SEND-5, SEND-15, SEND-17, SEND-19, R1-1, R2-10, R2-11, R2-27, STREAM-14, RX-3, RECALL-1, READ-4.

A connection of its own, so that a pair of tokens is never saved behind a long commit of this process; the same file, so
that one copy holds everything; the same lease, which every commit checks in its own transaction.
"""

import sqlite3
from collections.abc import Callable, Sequence

from attrs import evolve

from clawproto.app_events import MessageReceived
from clawproto.keeping import Backlog, Change, Filed
from clawproto_io.clock import Clock
from clawproto_io.errors import Unstorable
from clawproto_io.stores import sqlite_leases
from clawproto_io.stores.message_rows import any_event_of, send_of
from clawproto_io.stores.retention import Retention
from clawproto_io.stores.sqlite_access import SqliteAccess
from clawproto_io.stores.sqlite_file import transaction
from clawproto_io.stores.sqlite_filing import BITE, Filing, highest_row
from clawproto_io.stores.sqlite_queries import SEND, SqliteQueries

_NUMBER = "SELECT account FROM accounts WHERE name = ?"
_WAITING = "SELECT row, again, event FROM arrivals WHERE account = ? AND waiting ORDER BY row"
_UNDECIDED = f"{SEND} WHERE account = ? AND outcome IS NULL ORDER BY number"
_LAST_NUMBER = (
    "SELECT max(last_number, coalesce((SELECT max(number) FROM sends WHERE account = ?1), 0)), messages_of"
    " FROM accounts WHERE account = ?1"
)
_UNSTORABLE = (ValueError, OverflowError, RecursionError, sqlite3.DataError)  # of the value itself, not of the file
_REMOVE_AFTER = BITE // 2  # changes; what is removed must keep up with what comes
_REMOVE_AFTER_MS = 3_600_000


class SqliteMessages(SqliteQueries):
    """A `clawproto_io.stores.base.MessageStore`, and a `clawproto_io.stores.base.MessageArchive` for applications.

    Made by `clawproto_io.stores.sqlite.SqliteStore.messages`.

    Args:
        fence: of the lease that the store acts under now; None for none.
        shared: others use the access as well.
    """

    def __init__(
        self,
        access: SqliteAccess,
        account: str,
        *,
        fence: Callable[[], int | None],
        retention: Retention,
        clock: Clock,
        shared: bool,
    ) -> None:
        super().__init__(access, account)
        self._shared = shared
        self._fence = fence
        self._retention = retention
        self._clock = clock
        self._reported: int | None = None  # the highest row that the session was told of
        self._since_removal = 0
        self._removal_due = 0

    def __repr__(self) -> str:
        return f"SqliteMessages({self._place!r}, {self._account!r})"

    async def backlog(self) -> Backlog:
        """See `clawproto_io.stores.base.MessageStore.backlog`. Sends that have waited for longer than
        `Retention.undecided_days` are told apart and decided as ``expired``. A missing file is not created.
        """
        return await self._access.run(self._backlog)

    async def commit(self, changes: Sequence[Change]) -> tuple[Filed, ...]:
        """See `clawproto_io.stores.base.MessageStore.commit`."""
        return await self._access.run(lambda: self._commit(changes))

    async def aclose(self) -> None:
        """Close the file, unless other accounts use it too. Using this again opens it again."""
        if not self._shared:
            await self._access.aclose()

    # --- everything below runs within an operation of the access ---------------------------------------------------

    def _backlog(self) -> Backlog:
        if not self._access.exists():
            self._reported = 0
            return Backlog()
        with transaction(connection := self._access.open()):
            sqlite_leases.check_lease(connection, self._account, self._fence(), self._place)
            last_row = highest_row(connection)
            found = connection.execute(_NUMBER, (self._account,)).fetchone()
            if found is None:
                self._reported = last_row
                return Backlog(last_row=last_row)
            now_ms = self._clock.now().wall_ms
            undecided = [send_of(self._place, row).send for row in connection.execute(_UNDECIDED, found)]
            sends, expired = self._retention.given_up(undecided, now_ms)
            filing = Filing(connection, found[0], now_ms, last_row)
            filing.expire(self._retention)
            filing.remove(self._retention)
            arrivals = tuple(self._arrival(*row) for row in connection.execute(_WAITING, found))
            last_number, user_id = connection.execute(_LAST_NUMBER, found).fetchone()
        self._reported = last_row
        return Backlog(arrivals, sends, last_number, last_row, user_id, expired)

    def _make(self, filing: Filing, changes: Sequence[Change]) -> tuple[Filed, ...]:
        filed: list[Filed] = []
        for index, change in enumerate(changes):
            problem = ""
            try:
                made = filing.make(change)
            except _UNSTORABLE as error:
                problem = f"a value cannot be stored ({type(error).__name__})"  # its own text may quote a message
                made = None
            if problem:
                raise Unstorable(self._place, index, problem)
            if made is not None:
                filed.append(made)
        return tuple(filed)

    def _arrival(self, row: int, again: int, text: object) -> Filed:
        event = any_event_of(self._place, row, text)
        return Filed(row, evolve(event, update=bool(again)) if isinstance(event, MessageReceived) else event)

    def _commit(self, changes: Sequence[Change]) -> tuple[Filed, ...]:
        now = self._clock.now()
        with transaction(connection := self._access.open()):
            sqlite_leases.check_lease(connection, self._account, self._fence(), self._place)
            sqlite_leases.begin_write(connection, self._account)
            (account,) = connection.execute(_NUMBER, (self._account,)).fetchone()
            reported = highest_row(connection) if self._reported is None else self._reported
            filing = Filing(connection, account, now.wall_ms, reported)
            filed = self._make(filing, changes)
            since = self._since_removal + len(changes)
            due = since >= _REMOVE_AFTER or now.mono_ms >= self._removal_due
            if due:
                filing.remove(self._retention)
            reported = highest_row(connection)
        self._reported = reported
        self._since_removal = 0 if due else since
        if due:
            self._removal_due = now.mono_ms + _REMOVE_AFTER_MS
        return filed
