"""What an application may ask the messages of one account in PostgreSQL, beside a running session."""

from collections.abc import Sequence
from json import loads
from typing import Any, LiteralString

import psycopg
from attrs import evolve

from clawproto.app_events import FrameRejected, MessageReceived, ReactionChanged
from clawproto.event_rows import message_key, storable
from clawproto_io.stores.base import Position, StoredMessage, StoredRejection, StoredSend
from clawproto_io.stores.message_rows import event_of, send_of
from clawproto_io.stores.postgres.filing import indexed
from clawproto_io.stores.postgres.ownership import Ownership
from clawproto_io.stores.postgres.pool import Pool

_LAST: Position = (2**63 - 1, 2**63 - 1)

_MESSAGES: LiteralString = "SELECT number, at_ms, waiting, again, event FROM arrivals WHERE account = %s"
_OF_CHAT: LiteralString = f"{_MESSAGES} AND kind = 'message_received' AND chat_id = %s"
_BEFORE: LiteralString = f"{_OF_CHAT} AND (at_ms, number) < (%s, %s) ORDER BY at_ms DESC, number DESC LIMIT %s"
_AFTER: LiteralString = f"{_OF_CHAT} AND (at_ms, number) > (%s, %s) ORDER BY at_ms, number LIMIT %s"
_ONE: LiteralString = f"{_MESSAGES} AND kind = 'message_received' AND key = %s"
_REACTIONS = """
    SELECT number, event FROM arrivals WHERE account = %s AND kind = 'reaction_changed' AND message_id = %s
    ORDER BY number
"""
_MARK = "SELECT at_ms FROM arrivals WHERE account = %s AND kind = 'read_mark_moved' AND key = %s"
_SEND: LiteralString = """
    SELECT trace_id, number, message_id, chat_id, event, payload, recipient, created_ms,
        outcome, decided_message_id, code, accepted_at_ms, decided_at_ms
    FROM sends WHERE account = %s
"""
_SENDS: LiteralString = f"{_SEND} AND number < %s ORDER BY number DESC LIMIT %s"
_UNDECIDED: LiteralString = f"{_SEND} AND outcome IS NULL AND number < %s ORDER BY number DESC LIMIT %s"
ALL_UNDECIDED: LiteralString = f"{_SEND} AND outcome IS NULL ORDER BY number"
_QUARANTINE = """
    SELECT number, filed_at_ms, event FROM quarantine WHERE account = %s AND number < %s ORDER BY number DESC LIMIT %s
"""


class PostgresQueries:
    """The `clawproto_io.stores.base.MessageArchive` of one account."""

    def __init__(self, pool: Pool, ownership: Ownership) -> None:
        self._pool = pool
        self._ownership = ownership

    async def messages(
        self, chat_id: str, *, before: Position | None = None, after: Position | None = None, limit: int = 50
    ) -> tuple[StoredMessage, ...]:
        """See `clawproto_io.stores.base.MessageArchive.messages`."""
        if before is not None and after is not None:
            raise ValueError("a page lies before a position or after one")
        _check(limit)
        chat = indexed(storable(chat_id))
        if after is not None:
            rows = await self._read(_AFTER, chat, *after, limit)
        else:
            rows = (await self._read(_BEFORE, chat, *(before or _LAST), limit))[::-1]
        return tuple(self._message(*row) for row in rows)

    async def message(self, message_id: str) -> StoredMessage | None:
        """See `clawproto_io.stores.base.MessageArchive.message`."""
        rows = await self._read(_ONE, indexed(message_key(message_id)))
        return self._message(*rows[0]) if rows else None

    async def reactions(self, message_id: str) -> tuple[ReactionChanged, ...]:
        """See `clawproto_io.stores.base.MessageArchive.reactions`."""
        rows = await self._read(_REACTIONS, indexed(storable(message_id)))
        events = (event_of(self._place, number, text, ReactionChanged) for number, text in rows)
        return tuple(event for event in events if event.emoji is not None)

    async def read_mark(self, chat_id: str) -> int | None:
        """See `clawproto_io.stores.base.MessageArchive.read_mark`."""
        rows = await self._read(_MARK, indexed(message_key(chat_id)))
        return rows[0][0] if rows else None

    async def sends(
        self, *, undecided: bool = False, before: int | None = None, limit: int = 50
    ) -> tuple[StoredSend, ...]:
        """See `clawproto_io.stores.base.MessageArchive.sends`."""
        _check(limit)
        first = _LAST[0] if before is None else before
        rows = await self._read(_UNDECIDED if undecided else _SENDS, first, limit)
        return tuple(sent(self._place, row) for row in reversed(rows))

    async def quarantined(self, *, before: int | None = None, limit: int = 50) -> tuple[StoredRejection, ...]:
        """See `clawproto_io.stores.base.MessageArchive.quarantined`."""
        _check(limit)
        rows = await self._read(_QUARANTINE, _LAST[0] if before is None else before, limit)
        return tuple(
            StoredRejection(number, at_ms, event_of(self._place, number, text, FrameRejected, "quarantine"))
            for number, at_ms, text in reversed(rows)
        )

    @property
    def _place(self) -> str:
        return self._ownership.place

    async def _read(self, query: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        def read(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
            account = self._ownership.find(connection)
            return [] if account is None else connection.execute(query, (account, *values)).fetchall()

        return await self._pool.run(read, reading=True, yielding=True)

    def _message(self, number: int, at_ms: int, waiting: bool, again: bool, text: object) -> StoredMessage:
        event = event_of(self._place, number, text, MessageReceived)
        return StoredMessage(number, (at_ms, number), not waiting, evolve(event, update=again))


def sent(place: str, row: Sequence[Any]) -> StoredSend:
    """The send in a row.

    Raises:
        StoreError: it is damaged; it stays where it is.
    """
    values = list(row)
    try:
        for column in (0, 2, 3, 4, 9, 10):  # the ids
            values[column] = None if values[column] is None else loads(values[column])
    except ValueError:
        values[0] = None
    return send_of(place, values)


def _check(limit: int) -> None:
    if limit < 1:
        raise ValueError("a page has at least one row")
