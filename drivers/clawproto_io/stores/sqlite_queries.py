"""What an application may ask the message store of one account in the SQLite file."""

import sqlite3
from collections.abc import Callable, Iterable
from typing import TypeVar, cast

from attrs import evolve

from clawproto.app_events import FrameRejected, MessageReceived, ReactionChanged
from clawproto.event_rows import MESSAGE, REACTION, READ_MARK, message_key, storable
from clawproto_io.stores.base import Position, StoredMessage, StoredRejection, StoredSend
from clawproto_io.stores.message_rows import event_of, send_of
from clawproto_io.stores.sqlite_access import SqliteAccess
from clawproto_io.stores.sqlite_leases import NUMBER

_T = TypeVar("_T")
_FIRST: Position = (-(2**63), -(2**63))
_LAST: Position = (2**63 - 1, 2**63 - 1)

_MESSAGE = "SELECT row, at_ms, waiting, again, event FROM arrivals"
_OF_CHAT = f"account = {NUMBER} AND kind = '{MESSAGE}' AND chat_id = ?"
_BEFORE = f"{_MESSAGE} WHERE {_OF_CHAT} AND (at_ms, row) < (?, ?) ORDER BY at_ms DESC, row DESC LIMIT ?"
_AFTER = f"{_MESSAGE} WHERE {_OF_CHAT} AND (at_ms, row) > (?, ?) ORDER BY at_ms, row LIMIT ?"
_ONE = f"{_MESSAGE} WHERE account = {NUMBER} AND kind = '{MESSAGE}' AND key = ?"
_REACTIONS = (
    f"SELECT row, event FROM arrivals WHERE account = {NUMBER} AND kind = '{REACTION}'"  # noqa: S608
    " AND message_id = ? ORDER BY row"
)
_MARK = f"SELECT at_ms FROM arrivals WHERE account = {NUMBER} AND kind = '{READ_MARK}' AND key = ?"  # noqa: S608

SEND = (
    "SELECT trace_id, number, message_id, chat_id, event, payload, recipient, created_ms,"
    " outcome, decided_message_id, code, accepted_at_ms, decided_at_ms FROM sends"
)
_SENDS = f"{SEND} WHERE account = {NUMBER} AND number < ? ORDER BY number DESC LIMIT ?"
_UNDECIDED = f"{SEND} WHERE account = {NUMBER} AND number < ? AND outcome IS NULL ORDER BY number DESC LIMIT ?"
_QUARANTINE = (
    f"SELECT row, filed_at_ms, event FROM quarantine WHERE account = {NUMBER} AND row < ?"  # noqa: S608
    " ORDER BY row DESC LIMIT ?"
)


class SqliteQueries:
    """The `clawproto_io.stores.base.MessageArchive` of one account."""

    def __init__(self, access: SqliteAccess, account: str) -> None:
        self._access = access
        self._account = account
        self._place = str(access.path)

    async def messages(
        self, chat_id: str, *, before: Position | None = None, after: Position | None = None, limit: int = 50
    ) -> tuple[StoredMessage, ...]:
        """See `clawproto_io.stores.base.MessageArchive.messages`."""
        if before is not None and after is not None:
            raise ValueError("a page lies before a position or after one")
        _check(limit)
        statement, position = (_BEFORE, before or _LAST) if after is None else (_AFTER, after)

        def read(connection: sqlite3.Connection) -> tuple[StoredMessage, ...]:
            rows = connection.execute(statement, (self._account, storable(chat_id), *position, limit)).fetchall()
            return tuple(self._message(row) for row in (rows if after is not None else reversed(rows)))

        return await self._read(read, ())

    async def message(self, message_id: str) -> StoredMessage | None:
        """See `clawproto_io.stores.base.MessageArchive.message`."""

        def read(connection: sqlite3.Connection) -> StoredMessage | None:
            row = connection.execute(_ONE, (self._account, message_key(message_id))).fetchone()
            return None if row is None else self._message(row)

        return await self._read(read, None)

    async def reactions(self, message_id: str) -> tuple[ReactionChanged, ...]:
        """See `clawproto_io.stores.base.MessageArchive.reactions`."""

        def read(connection: sqlite3.Connection) -> tuple[ReactionChanged, ...]:
            rows = connection.execute(_REACTIONS, (self._account, storable(message_id))).fetchall()
            events = (event_of(self._place, row, text, ReactionChanged) for row, text in rows)
            return tuple(event for event in events if event.emoji is not None)

        return await self._read(read, ())

    async def read_mark(self, chat_id: str) -> int | None:
        """See `clawproto_io.stores.base.MessageArchive.read_mark`."""

        def read(connection: sqlite3.Connection) -> int | None:
            row: tuple[int] | None = connection.execute(_MARK, (self._account, message_key(chat_id))).fetchone()
            return None if row is None else row[0]

        return await self._read(read, None)

    async def sends(
        self, *, undecided: bool = False, before: int | None = None, limit: int = 50
    ) -> tuple[StoredSend, ...]:
        """See `clawproto_io.stores.base.MessageArchive.sends`."""
        _check(limit)

        def read(connection: sqlite3.Connection) -> tuple[StoredSend, ...]:
            statement, first = _UNDECIDED if undecided else _SENDS, _LAST[0] if before is None else before
            rows = connection.execute(statement, (self._account, first, limit)).fetchall()
            return tuple(send_of(self._place, row) for row in reversed(rows))

        return await self._read(read, ())

    async def quarantined(self, *, before: int | None = None, limit: int = 50) -> tuple[StoredRejection, ...]:
        """See `clawproto_io.stores.base.MessageArchive.quarantined`."""
        _check(limit)

        def read(connection: sqlite3.Connection) -> tuple[StoredRejection, ...]:
            first = _LAST[0] if before is None else before
            rows = connection.execute(_QUARANTINE, (self._account, first, limit)).fetchall()
            return tuple(
                StoredRejection(row, at_ms, event_of(self._place, row, text, FrameRejected, "quarantine"))
                for row, at_ms, text in reversed(rows)
            )

        return await self._read(read, ())

    async def _read(self, read: Callable[[sqlite3.Connection], _T], otherwise: _T) -> _T:
        return await self._access.run(lambda: read(self._access.open()) if self._access.exists() else otherwise)

    def _message(self, row: Iterable[object]) -> StoredMessage:
        number, at_ms, waiting, again, text = cast("tuple[int, int, int, int, object]", tuple(row))
        event = event_of(self._place, number, text, MessageReceived)
        return StoredMessage(number, (at_ms, number), not waiting, evolve(event, update=bool(again)))


def _check(limit: int) -> None:
    if limit < 1:
        raise ValueError("a page has at least one row")
