"""The messages of one account in PostgreSQL: what arrived, what was sent, what became of it.

Rules: SEND-5, SEND-15, SEND-17, SEND-19, R1-1, R2-10, R2-11, R2-27, STREAM-14, RX-3, RECALL-1, READ-4.

    BEGIN -- lock the account's row, check the fence -- decide -- write in one batch -- COMMIT
"""

from collections.abc import Awaitable, Callable, Sequence

import psycopg
from attrs import evolve

from clawproto.app_events import MessageReceived
from clawproto.keeping import Backlog, Change, Filed
from clawproto_io.clock import Clock
from clawproto_io.stores.message_rows import any_event_of
from clawproto_io.stores.postgres.filing import BITE, Filing, prepare
from clawproto_io.stores.postgres.ownership import Ownership
from clawproto_io.stores.postgres.pool import Pool
from clawproto_io.stores.postgres.queries import ALL_UNDECIDED, PostgresQueries, sent
from clawproto_io.stores.retention import Retention

_WAITING = "SELECT number, again, event FROM arrivals WHERE account = %s AND waiting ORDER BY number"
_TRIM_AFTER = BITE // 2  # changes; what is removed must keep up with what comes
_TRIM_AFTER_MS = 3_600_000


class PostgresMessages(PostgresQueries):
    """A `clawproto_io.stores.base.MessageStore`, and a `clawproto_io.stores.base.MessageArchive` for applications.

    Made by `PostgresAccount.messages`.

    Args:
        close: closes the connections, unless other accounts use them.
    """

    def __init__(
        self,
        pool: Pool,
        ownership: Ownership,
        *,
        retention: Retention,
        clock: Clock,
        close: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(pool, ownership)
        self._close = close
        self._retention = retention
        self._clock = clock
        self._reported: int | None = None  # the highest row that the session was told of
        self._since_trim = 0
        self._trim_due = 0

    def __repr__(self) -> str:
        return f"PostgresMessages({self._place!r})"

    async def backlog(self) -> Backlog:
        """See `clawproto_io.stores.base.MessageStore.backlog`. Sends that have waited for longer than
        `Retention.undecided_days` are told apart and decided as ``expired``."""
        now_ms = self._clock.now().wall_ms

        def work(connection: psycopg.Connection) -> Backlog:
            if self._ownership.find(connection) is None:
                return Backlog()
            account = self._ownership.lock(connection, fenced=True)
            undecided = [sent(self._place, row).send for row in connection.execute(ALL_UNDECIDED, (account,))]
            sends, expired = self._retention.given_up(undecided, now_ms)
            filing = Filing(connection, account, now_ms, None)
            filing.expire(self._retention)
            filing.trim(self._retention)
            arrivals = tuple(self._arrival(*row) for row in connection.execute(_WAITING, (account,)))
            return Backlog(arrivals, sends, filing.last_number, filing.last_row, filing.user_id, expired)

        backlog = await self._pool.run(work, yielding=True)
        self._reported = backlog.last_row
        return backlog

    async def commit(self, changes: Sequence[Change]) -> tuple[Filed, ...]:
        """See `clawproto_io.stores.base.MessageStore.commit`."""
        now = self._clock.now()
        since = self._since_trim + len(changes)
        due = since >= _TRIM_AFTER or now.mono_ms >= self._trim_due

        prepared = prepare(changes, self._place)

        def work(connection: psycopg.Connection) -> tuple[tuple[Filed, ...], int]:
            account = self._ownership.lock(connection, fenced=True)
            filing = Filing(connection, account, now.wall_ms, self._reported)
            return filing.commit(prepared, self._retention if due else None), filing.last_row

        filed, self._reported = await self._pool.run(work, yielding=True)
        self._since_trim = 0 if due else since
        if due:
            self._trim_due = now.mono_ms + _TRIM_AFTER_MS
        return filed

    async def aclose(self) -> None:
        """Close the connections, unless other accounts use them too."""
        await self._close()

    def _arrival(self, number: int, again: bool, text: object) -> Filed:
        event = any_event_of(self._place, number, text)
        return Filed(number, evolve(event, update=again) if isinstance(event, MessageReceived) else event)
