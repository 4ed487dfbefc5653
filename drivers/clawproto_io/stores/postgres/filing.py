"""One commit of messages: decided in memory beside what the tables know, then written in one batch.

Rules: SEND-5, SEND-15, SEND-19, R2-10, R2-11, R2-28, STREAM-14, RX-3, RECALL-1, READ-4. What is news is decided by
`clawproto.event_rows`.

    what the changes are about --> known rows --> the changes in their order --> rows to remove, add, mark --> one batch
"""

import hashlib
import json
from collections.abc import Sequence
from typing import LiteralString, assert_never

import psycopg
from attrs import evolve, field

from clawproto.app_events import AppEvent, MessageRecalled, MessageReceived
from clawproto.deferred import frozen
from clawproto.event_rows import MESSAGE, RECALL, EventRow, KnownRow, event_row, storable, verdict
from clawproto.event_text import event_to_text
from clawproto.keeping import Arrival, Change, Filed, ForUser, Handled, KeptSend, Quarantined, SendDecision
from clawproto_io.errors import Unstorable
from clawproto_io.stores.retention import Retention

BITE = 512  # rows that one round of removal takes at most, of each kind
_LONGEST = 256  # characters; PostgreSQL's indexes take a third of a page
_BOUND = 2**63
_EVERYTHING = 2**62

_LAST = "SELECT last_row, last_number, messages_of FROM accounts WHERE account = %s"
_SET_LAST = "UPDATE accounts SET last_row = %s, last_number = %s WHERE account = %s"
_TO_USER = "UPDATE accounts SET messages_of = %s WHERE account = %s"
_EMPTY: tuple[LiteralString, ...] = (
    "DELETE FROM arrivals WHERE account = %s",
    "DELETE FROM sends WHERE account = %s",
    "DELETE FROM quarantine WHERE account = %s",
)
# One look into the index for each key: before its first ANALYZE the server would rather read the whole account.
_KNOWN = """
    SELECT wanted.kind, wanted.key, content, final, at_ms, number, waiting, again
    FROM unnest(%s::text[], %s::text[]) AS wanted (kind, key) CROSS JOIN LATERAL (
        SELECT * FROM arrivals WHERE account = %s AND kind = wanted.kind AND key = wanted.key LIMIT 1
    ) AS found
"""
_UNREPORTED = """
    SELECT kind, content, number FROM arrivals WHERE account = %s AND waiting AND number > %s AND key IS NULL
    ORDER BY number
"""
_REMOVE = "DELETE FROM arrivals WHERE account = %s AND number = ANY(%s)"
_OVERWRITE = "UPDATE arrivals SET event = %s WHERE account = %s AND number = %s"
_ADD = """
    INSERT INTO arrivals
        (account, filed_at_ms, number, kind, key, content, final, again, chat_id, message_id, at_ms, event)
    SELECT %s, %s, * FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::boolean[], %s::boolean[],
        %s::text[], %s::text[], %s::bigint[], %s::text[])
"""
_HANDLED = "UPDATE arrivals SET waiting = FALSE WHERE account = %s AND number = ANY(%s)"
_REJECT = """
    INSERT INTO quarantine (account, content, filed_at_ms, event) VALUES (%s, %s, %s, %s)
    ON CONFLICT (account, content) DO UPDATE SET event = excluded.event
"""
_KEEP = """
    INSERT INTO sends (account, trace_id, number, message_id, chat_id, event, payload, recipient, created_ms)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (account, trace_id) DO UPDATE SET number = excluded.number, message_id = excluded.message_id,
        chat_id = excluded.chat_id, event = excluded.event, payload = excluded.payload,
        recipient = excluded.recipient, created_ms = excluded.created_ms
    WHERE sends.outcome IS NULL
"""
_DECIDE = """
    UPDATE sends SET outcome = %s, decided_message_id = %s, code = %s, accepted_at_ms = %s, decided_at_ms = %s
    WHERE account = %s AND trace_id = %s AND outcome IS NULL
"""
_EXPIRE = """
    UPDATE sends SET outcome = 'expired', decided_message_id = message_id, decided_at_ms = %s
    WHERE account = %s AND outcome IS NULL AND created_ms < %s
"""
_TRIM = """
    DELETE FROM arrivals WHERE account = %(account)s AND number IN (
        SELECT number FROM (
            SELECT number, filed_at_ms FROM arrivals
            WHERE account = %(account)s AND NOT waiting AND kind <> 'read_mark_moved' ORDER BY number LIMIT %(bite)s
        ) AS oldest
        WHERE filed_at_ms < %(old)s OR number <= (
            SELECT number FROM arrivals WHERE account = %(account)s AND NOT waiting AND kind <> 'read_mark_moved'
            ORDER BY number DESC LIMIT 1 OFFSET %(count)s
        )
    )
"""
_TRIM_SENDS = """
    DELETE FROM sends WHERE account = %(account)s AND trace_id IN (
        SELECT trace_id FROM (
            SELECT trace_id, number, decided_at_ms FROM sends
            WHERE account = %(account)s AND outcome IS NOT NULL AND number < %(last)s ORDER BY number LIMIT %(bite)s
        ) AS oldest
        WHERE decided_at_ms < %(old)s OR number <= (
            SELECT number FROM sends WHERE account = %(account)s AND outcome IS NOT NULL AND number < %(last)s
            ORDER BY number DESC LIMIT 1 OFFSET %(count)s
        )
    )
"""
_TRIM_QUARANTINE = """
    DELETE FROM quarantine WHERE account = %(account)s AND number <= (
        SELECT number FROM quarantine WHERE account = %(account)s ORDER BY number DESC LIMIT 1 OFFSET %(rejected)s
    )
"""


def indexed(text: str) -> str:
    """``text`` as an index takes it: a digest of what is too long, as no honest id is."""
    if len(text) <= _LONGEST:
        return text
    return f"blake2b:{hashlib.blake2b(text.encode(), digest_size=32).hexdigest()}"


def exact(text: str) -> str:
    """``text`` as JSON in ASCII, which holds what PostgreSQL's texts do not: U+0000 and halves of surrogate pairs."""
    return json.dumps(text)


def bounded(number: int) -> int:
    """``number`` as a column takes it. What does not fit is no time."""
    return max(-_BOUND, min(_BOUND - 1, number))


@frozen
class Prepared:
    """Changes as they will be written, worked out before a transaction begins.

    Attributes:
        rows: of the arrivals, in order.
        rejected: of what goes into quarantine, in order.
    """

    changes: Sequence[Change]
    rows: tuple[EventRow, ...] = field(repr=False)
    rejected: tuple[str, ...] = field(repr=False)


def prepare(changes: Sequence[Change], place: str) -> Prepared:
    """How ``changes`` will be written.

    Raises:
        Unstorable: one of them never can be.
    """
    rows: list[EventRow] = []
    rejected: list[str] = []
    for index, change in enumerate(changes):
        problem = ""
        try:
            match change:
                case Arrival(event):
                    rows.append(_row(event))
                case Quarantined(rejection):
                    rejected.append(event_to_text(rejection))
                case KeptSend():
                    for text in (change.payload, change.to or ""):  # JSON, in which an odd character is escaped
                        text.encode()
                        if "\0" in text:
                            raise ValueError("U+0000 in a JSON text")
                case _:
                    pass
        except (ValueError, OverflowError, RecursionError) as error:
            problem = f"a value cannot be stored ({type(error).__name__})"
        if problem:  # out here: the error may quote a message
            raise Unstorable(place, index, problem)
    return Prepared(changes, tuple(rows), tuple(rejected))


@frozen
class _Known:
    """A row under its key, in the tables or to be added.

    Attributes:
        again: the application was done with an earlier content.
    """

    number: int
    row: KnownRow
    waiting: bool
    again: bool


@frozen
class _New:
    row: EventRow = field(repr=False)
    again: bool


class Filing:
    """The changes of one commit, for an account that is locked.

    Args:
        now_ms: wall clock.
        reported: the highest row that the session was told of; None: all there are. What waits above it was filed by a
            commit whose report was lost; an event without a key is recognized by that when it comes again.

    Attributes:
        last_row: the highest row ever.
        last_number: the highest number of a send ever.
        user_id: whose the messages are; None if nobody has said.
    """

    def __init__(self, connection: psycopg.Connection, account: int, now_ms: int, reported: int | None) -> None:
        self._connection = connection
        self._account = account
        self._now_ms = now_ms
        self.last_row: int
        self.last_number: int
        self.user_id: str | None
        found = connection.execute(_LAST, (account,)).fetchone()
        self.last_row, self.last_number, self.user_id = found or (0, 0, None)
        self._reported = self.last_row if reported is None else reported
        self._known: dict[tuple[str, str], _Known] = {}
        self._unreported: list[tuple[str, str, int]] = []
        self._gone: list[int] = []
        self._new: dict[int, _New] = {}
        self._overwritten: dict[int, str] = {}
        self._handled: set[int] = set()
        self._others: list[str | KeptSend | SendDecision] = []  # a text: of what goes into quarantine

    def commit(self, prepared: Prepared, trim: Retention | None) -> tuple[Filed, ...]:
        """Decide and write all changes. Returns one for each `Arrival`.

        Args:
            trim: remove a bite of what is older than this says, or too much.
        """
        before = self.last_row, self.last_number
        if prepared.changes and isinstance(first := prepared.changes[0], ForUser):  # nothing of a commit is before it
            self._for_user(storable(first.user_id))
        self._look_up(prepared.rows)
        coming, rejected = iter(prepared.rows), iter(prepared.rejected)
        filed: list[Filed] = []
        for change in prepared.changes:
            match change:
                case Arrival(event):
                    filed.append(self._file(event, next(coming)))
                case Handled(row):
                    self._handled.add(row)
                case ForUser():
                    pass  # done already
                case Quarantined():
                    self._others.append(next(rejected))
                case KeptSend() | SendDecision():
                    self._others.append(change)
                    if isinstance(change, KeptSend):
                        self.last_number = max(self.last_number, change.number)
                case _:
                    assert_never(change)
        with self._connection.pipeline():
            self._write()
            if before != (self.last_row, self.last_number):
                self._connection.execute(_SET_LAST, (self.last_row, self.last_number, self._account))
            if trim is not None:
                self.trim(trim)
        return tuple(filed)

    def expire(self, retention: Retention) -> None:
        """Give up sends that have waited too long."""
        limit = retention.undecided_before(self._now_ms)
        if limit is not None:
            self._connection.execute(_EXPIRE, (self._now_ms, self._account, limit))

    def trim(self, retention: Retention) -> None:
        """Remove a bite of what is older than it need be, or too much."""
        bounds = {
            "account": self._account,
            "bite": BITE,
            "old": retention.done_before(self._now_ms),
            "count": _EVERYTHING if retention.count is None else retention.count,
            "rejected": retention.rejected,
            "last": self.last_number,  # the last send stays, for whoever asks what became of it
        }
        for statement in (_TRIM, _TRIM_SENDS, _TRIM_QUARANTINE):
            self._connection.execute(statement, bounds)

    def _for_user(self, user_id: str) -> None:
        if self.user_id not in (None, user_id):
            for statement in _EMPTY:
                self._connection.execute(statement, (self._account,))
        self._connection.execute(_TO_USER, (user_id, self._account))
        self.user_id = user_id

    # --- arrivals ---

    def _look_up(self, rows: Sequence[EventRow]) -> None:
        wanted = {(row.kind, row.key) for row in rows if row.key is not None}
        # A recall and its message have the same key, and each asks for the other.
        wanted |= {(kind, row.key) for row in rows if row.kind in (MESSAGE, RECALL) and row.key is not None
                   for kind in (MESSAGE, RECALL)}  # fmt: skip
        if wanted:
            kinds, keys = zip(*sorted(wanted), strict=True)
            for kind, key, content, final, at_ms, number, waiting, again in self._connection.execute(
                _KNOWN, (list(kinds), list(keys), self._account)
            ):
                self._known[kind, key] = _Known(number, KnownRow(content, final, at_ms), waiting, again)
        if self._reported < self.last_row and any(row.key is None for row in rows):
            self._unreported = self._connection.execute(_UNREPORTED, (self._account, self._reported)).fetchall()

    def _file(self, event: AppEvent, row: EventRow) -> Filed:
        key = row.key
        if key is None:
            return self._file_unnamed(event, row)
        if isinstance(event, MessageReceived) and (recalled := self._known.get((RECALL, key))) is not None:
            return Filed(recalled.number, None)  # withdrawn before it arrived (RECALL-1)
        known = self._known.get((row.kind, key))
        again = False
        if known is not None:
            judged = verdict(row, known.row)
            if judged == "same":
                self._overwrite(known.number, row.text)
            if judged in ("same", "older"):
                return Filed(known.number, None)
            again = known.again or not known.waiting or known.number in self._handled
            self._remove(known.number)
            if row.kind == MESSAGE:  # it stays where it was in its chat
                row = evolve(row, at_ms=known.row.at_ms)
        elif isinstance(event, MessageRecalled):
            withdrawn = self._known.pop((MESSAGE, key), None)
            if withdrawn is not None:
                self._remove(withdrawn.number)
        number = self._add(row, again=again)
        if isinstance(event, MessageReceived):
            event = evolve(event, update=known is not None)
        return Filed(number, event)

    def _file_unnamed(self, event: AppEvent, row: EventRow) -> Filed:
        for place, (kind, content, number) in enumerate(self._unreported):
            if (kind, content) == (row.kind, row.content):
                del self._unreported[: place + 1]
                return Filed(number, None)
        return Filed(self._add(row, again=False), event)

    def _add(self, row: EventRow, *, again: bool) -> int:
        self.last_row += 1
        self._new[self.last_row] = _New(row, again)
        if row.key is not None:
            known = KnownRow(row.content, row.final, row.at_ms)
            self._known[row.kind, row.key] = _Known(self.last_row, known, waiting=True, again=again)
        return self.last_row

    def _overwrite(self, number: int, text: str) -> None:
        """Nothing new, but the copy that came last is the one that is kept."""
        new = self._new.get(number)
        if new is None:
            self._overwritten[number] = text
        else:
            self._new[number] = evolve(new, row=evolve(new.row, text=text))

    def _remove(self, number: int) -> None:
        if self._new.pop(number, None) is None:
            self._gone.append(number)

    # --- the batch ---

    def _columns(self, number: int, new: _New) -> tuple[object, ...]:
        row = new.row
        at_ms = self._now_ms if row.kind == MESSAGE and row.at_ms is None else row.at_ms
        return (number, row.kind, row.key, row.content, row.final, new.again, row.chat_id, row.message_id, at_ms,
                row.text)  # fmt: skip

    def _write(self) -> None:
        run, account, now_ms = self._connection.execute, self._account, self._now_ms
        if self._gone:
            run(_REMOVE, (account, self._gone))
        for number, text in self._overwritten.items():
            run(_OVERWRITE, (text, account, number))
        if self._new:
            rows = (self._columns(number, new) for number, new in self._new.items())
            run(_ADD, (account, now_ms, *map(list, zip(*rows, strict=True))))
        if self._handled:
            run(_HANDLED, (account, sorted(self._handled)))
        for change in self._others:
            match change:
                case str() as text:
                    content = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
                    run(_REJECT, (account, content, now_ms, text))
                case KeptSend() as send:
                    ids = exact(send.message_id), exact(send.chat_id), exact(send.event)
                    run(_KEEP, (account, exact(send.trace_id), send.number, *ids, send.payload, send.to,
                                send.created_ms))  # fmt: skip
                case SendDecision() as decision:
                    code = None if decision.code is None else exact(decision.code)
                    at_ms = None if decision.accepted_at_ms is None else bounded(decision.accepted_at_ms)
                    run(_DECIDE, (decision.outcome, exact(decision.message_id), code, at_ms, now_ms, account,
                                  exact(decision.trace_id)))  # fmt: skip


def _row(event: AppEvent) -> EventRow:
    """How ``event`` is filed here: what is looked up by is cut to what a column and an index take."""
    row = event_row(event)
    return evolve(
        row,
        key=None if row.key is None else indexed(row.key),
        chat_id=None if row.chat_id is None else indexed(row.chat_id),
        message_id=None if row.message_id is None else indexed(row.message_id),
        at_ms=None if row.at_ms is None else bounded(row.at_ms),
    )
