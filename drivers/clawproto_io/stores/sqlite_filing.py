"""Changes of an agent's messages, made within one transaction on the SQLite file.

Rules: SEND-5, SEND-15, SEND-19, R2-10, R2-11, R2-28, STREAM-14, RX-3, RECALL-1, READ-4. What is news is decided by
`clawproto.event_rows`.
"""

import hashlib
import sqlite3
from typing import assert_never

from attrs import evolve

from clawproto.app_events import AppEvent, FrameRejected, MessageRecalled, MessageReceived
from clawproto.event_rows import (
    MESSAGE,
    READ_MARK,
    RECALL,
    EventRow,
    KnownRow,
    event_row,
    message_key,
    storable,
    verdict,
)
from clawproto.event_text import event_to_text
from clawproto.keeping import Arrival, Change, Filed, ForUser, Handled, KeptSend, Quarantined, SendDecision
from clawproto_io.stores.retention import Retention

BITE = 512  # rows that one round of removal takes at most, of each kind

_KNOWN = "SELECT row, content, final, at_ms, waiting, again FROM arrivals WHERE account = ? AND kind = ? AND key = ?"
_INSERT = (
    "INSERT INTO arrivals (account, kind, key, content, final, waiting, again, chat_id, message_id, at_ms, filed_at_ms,"
    " event) VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?)"
)
_OVERWRITE = "UPDATE arrivals SET event = ? WHERE row = ?"
_TOUCH = "UPDATE arrivals SET event = event WHERE row = ?"
_DELETE = "DELETE FROM arrivals WHERE row = ?"
_WITHDRAW = "DELETE FROM arrivals WHERE account = ? AND kind = ? AND key = ?"
_UNREPORTED = (
    "SELECT min(row) FROM arrivals WHERE account = ? AND waiting AND row > ? AND row <= ?"
    " AND kind = ? AND key IS NULL AND content = ?"
)
_HANDLED = "UPDATE arrivals SET waiting = 0 WHERE row = ? AND account = ?"
_REJECT = (
    "INSERT INTO quarantine (account, content, filed_at_ms, event) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (account, content) DO UPDATE SET event = excluded.event"
)
_RELEASE = (
    "DELETE FROM quarantine WHERE account = ?1 AND row <="
    " (SELECT row FROM quarantine WHERE account = ?1 ORDER BY row DESC LIMIT 1 OFFSET ?2)"
)
_KEEP = (
    "INSERT INTO sends (account, trace_id, number, message_id, chat_id, event, payload, recipient, created_ms)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (account, trace_id) DO UPDATE SET number = excluded.number,"
    " message_id = excluded.message_id, chat_id = excluded.chat_id, event = excluded.event, payload = excluded.payload,"
    " recipient = excluded.recipient, created_ms = excluded.created_ms WHERE outcome IS NULL"
)
_DECIDE = (
    "UPDATE sends SET outcome = ?, decided_message_id = ?, code = ?, accepted_at_ms = ?, decided_at_ms = ?"
    " WHERE account = ? AND trace_id = ? AND outcome IS NULL"
)
_EXPIRE = (
    "UPDATE sends SET outcome = 'expired', decided_message_id = message_id, decided_at_ms = ?"
    " WHERE account = ? AND outcome IS NULL AND created_ms < ?"
)
_WHOSE = "SELECT messages_of FROM accounts WHERE account = ?"
_TO_USER = "UPDATE accounts SET messages_of = ? WHERE account = ?"
_REMEMBER_NUMBER = (
    "UPDATE accounts SET last_number = max(last_number, coalesce((SELECT max(number) FROM sends WHERE account = ?1),"
    " 0)) WHERE account = ?1"
)
_EMPTY = tuple(f"DELETE FROM {table} WHERE account = ?" for table in ("arrivals", "sends", "quarantine"))  # noqa: S608

_OLDEST_DONE = (
    "SELECT row, filed_at_ms FROM arrivals INDEXED BY arrivals_done"  # noqa: S608
    f" WHERE account = ? AND NOT waiting AND kind <> '{READ_MARK}' ORDER BY row LIMIT {BITE}"
)
_TOO_MANY_DONE = (
    "SELECT row FROM arrivals INDEXED BY arrivals_done"  # noqa: S608
    f" WHERE account = ? AND NOT waiting AND kind <> '{READ_MARK}' ORDER BY row DESC LIMIT 1 OFFSET ?"
)
# The highest number is never removed: the next session continues above it.
_REMOVABLE = "account = ?1 AND outcome IS NOT NULL AND number < (SELECT max(number) FROM sends WHERE account = ?1)"
_OLDEST_DECIDED = f"SELECT number, decided_at_ms FROM sends WHERE {_REMOVABLE} ORDER BY number LIMIT {BITE}"  # noqa: S608
_TOO_MANY_DECIDED = f"SELECT number FROM sends WHERE {_REMOVABLE} ORDER BY number DESC LIMIT 1 OFFSET ?2"  # noqa: S608
_REMOVE_SEND = "DELETE FROM sends WHERE account = ? AND number = ? AND outcome IS NOT NULL"


def highest_row(connection: sqlite3.Connection) -> int:
    """The highest row that any arrival in the file ever had."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'arrivals'").fetchone()
    return 0 if row is None else int(row[0])


class Filing:
    """Makes changes for one account, in the transaction that is open.

    Args:
        account: its number.
        reported: the highest row that the session was told of. What waits above it was filed by a commit whose report
            was lost; an event without a key is recognized by that when it comes again.
    """

    def __init__(self, connection: sqlite3.Connection, account: int, now_ms: int, reported: int) -> None:
        self._connection = connection
        self._account = account
        self._now_ms = now_ms
        self._reported = reported
        self._before = highest_row(connection)

    def make(self, change: Change) -> Filed | None:
        """Make one change. Returns what became of an arrival."""
        match change:
            case Arrival(event=event):
                return self._file(event)
            case Handled(row=row):
                self._connection.execute(_HANDLED, (row, self._account))
            case Quarantined(rejection=rejection):
                self._reject(rejection)
            case ForUser(user_id=user_id):
                self._for_user(storable(user_id))
            case KeptSend():
                self._keep(change)
            case SendDecision():
                self._decide(change)
            case _:
                assert_never(change)
        return None

    # --- arrivals ---

    def _file(self, event: AppEvent) -> Filed:
        row = event_row(event)
        if row.key is None:
            return self._file_unnamed(event, row)
        if isinstance(event, MessageReceived):
            recalled = self._known(RECALL, row.key)
            if recalled is not None:
                return self._no_news(recalled[0], _TOUCH, ())
        found = self._known(row.kind, row.key)
        if found is None:
            if isinstance(event, MessageRecalled):
                self._connection.execute(_WITHDRAW, (self._account, MESSAGE, message_key(event.target_message_id)))
            told = evolve(event, update=False) if isinstance(event, MessageReceived) else event
            return Filed(self._insert(row, again=False), told)
        number, content, final, at_ms, waiting, again = found
        match verdict(row, KnownRow(content, bool(final), at_ms)):
            case "same":
                return self._no_news(number, _OVERWRITE, (row.text,))
            case "older":
                return self._no_news(number, _TOUCH, ())
            case _:
                self._connection.execute(_DELETE, (number,))
        if isinstance(event, MessageReceived):  # it stays where it was in its chat
            row, event = evolve(row, at_ms=at_ms), evolve(event, update=True)
        return Filed(self._insert(row, again=bool(again) or not waiting), event)

    def _file_unnamed(self, event: AppEvent, row: EventRow) -> Filed:
        if self._reported < self._before:
            asked = (self._account, self._reported, self._before, row.kind, row.content)
            (found,) = self._connection.execute(_UNREPORTED, asked).fetchone()
            if found is not None:
                self._reported = found
                return self._no_news(found, _TOUCH, ())
        return Filed(self._insert(row, again=False), event)

    def _known(self, kind: str, key: str) -> tuple[int, str, int, int | None, int, int] | None:
        row: tuple[int, str, int, int | None, int, int] | None = self._connection.execute(
            _KNOWN, (self._account, kind, key)
        ).fetchone()
        return row

    def _no_news(self, number: int, statement: str, values: tuple[str, ...]) -> Filed:
        """Overwritten all the same (R2-10), which mends a damaged row as well."""
        self._connection.execute(statement, (*values, number))
        return Filed(number, None)

    def _insert(self, row: EventRow, *, again: bool) -> int:
        at_ms = self._now_ms if row.kind == MESSAGE and row.at_ms is None else row.at_ms
        about = (row.chat_id, row.message_id, at_ms, self._now_ms, row.text)
        cursor = self._connection.execute(
            _INSERT, (self._account, row.kind, row.key, row.content, row.final, again, *about)
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _reject(self, rejection: FrameRejected) -> None:
        text = event_to_text(rejection)
        content = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        self._connection.execute(_REJECT, (self._account, content, self._now_ms, text))

    def _for_user(self, user_id: str) -> None:
        (before,) = self._connection.execute(_WHOSE, (self._account,)).fetchone()
        if before not in (None, user_id):
            self._connection.execute(_REMEMBER_NUMBER, (self._account,))
            for statement in _EMPTY:
                self._connection.execute(statement, (self._account,))
        self._connection.execute(_TO_USER, (user_id, self._account))

    # --- sends ---

    def _keep(self, send: KeptSend) -> None:
        ids = (storable(send.message_id), storable(send.chat_id), send.event)
        self._connection.execute(
            _KEEP, (self._account, send.trace_id, send.number, *ids, send.payload, send.to, send.created_ms)
        )

    def _decide(self, decision: SendDecision) -> None:
        code = None if decision.code is None else storable(decision.code)
        known = (decision.outcome, storable(decision.message_id), code, decision.accepted_at_ms, self._now_ms)
        self._connection.execute(_DECIDE, (*known, self._account, decision.trace_id))

    def expire(self, retention: Retention) -> None:
        """Give up sends that have waited too long."""
        limit = retention.undecided_before(self._now_ms)
        if limit is not None:
            self._connection.execute(_EXPIRE, (self._now_ms, self._account, limit))

    # --- removal ---

    def remove(self, retention: Retention) -> None:
        """Remove a bite of what is older than it need be, or too much."""
        execute, account = self._connection.execute, self._account
        old = retention.done_before(self._now_ms)
        rows = execute(_OLDEST_DONE, (account,)).fetchall()
        numbers = execute(_OLDEST_DECIDED, (account,)).fetchall()
        row = number = -1
        if retention.count is not None:
            (row,) = execute(_TOO_MANY_DONE, (account, retention.count)).fetchone() or (-1,)
            (number,) = execute(_TOO_MANY_DECIDED, (account, retention.count)).fetchone() or (-1,)
        gone = [(one,) for one, at_ms in rows if one <= row or (old is not None and at_ms < old)]
        self._connection.executemany(_DELETE, gone)
        decided = [(account, one) for one, at_ms in numbers if one <= number or (old is not None and at_ms < old)]
        self._connection.executemany(_REMOVE_SEND, decided)
        execute(_RELEASE, (account, retention.rejected))
