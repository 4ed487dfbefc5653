"""Rows of the tables of messages as values again; what all databases share.

The order of a send's columns: trace_id, number, message_id, chat_id, event, payload, recipient, created_ms, outcome,
decided_message_id, code, accepted_at_ms, decided_at_ms.
"""

from collections.abc import Iterable
from typing import TypeAlias, TypeVar, cast, get_args

from clawproto.app_events import AppEvent
from clawproto.event_text import UnreadableEvent, event_from_text
from clawproto.keeping import KeptSend, Outcome, SendDecision
from clawproto_io.errors import StoreError
from clawproto_io.stores.base import StoredSend

_T = TypeVar("_T")
_SEND_TYPES = (str, int, *(str,) * 4, str | None, int, str | None, str | None, str | None, int | None, int | None)
_OUTCOMES = get_args(Outcome)
_Send: TypeAlias = tuple[str, int, str, str, str, str, str | None, int]
_Decision: TypeAlias = tuple[Outcome | None, str | None, str | None, int | None, int | None]


def event_of(place: str, row: int, text: object, type_: type[_T], table: str = "arrivals") -> _T:
    """The event in a row.

    Raises:
        StoreError: it is damaged, or of a later version; it stays where it is.
    """
    event = any_event_of(place, row, text, table)
    if isinstance(event, type_):
        return event
    raise _damaged(place, table, row, f"is no {type_.__name__} that this version can read")


def any_event_of(place: str, row: int, text: object, table: str = "arrivals") -> AppEvent:
    """The event in a row, whatever it is. Raises as `event_of`."""
    problem = "is not a text"
    if isinstance(text, str):
        try:
            return event_from_text(text)
        except UnreadableEvent as error:
            problem = str(error)
    raise _damaged(place, table, row, problem)


def send_of(place: str, row: Iterable[object]) -> StoredSend:
    """The send in a row.

    Raises:
        StoreError: it is damaged; it stays where it is.
    """
    values = tuple(row)
    if not all(isinstance(value, type_) for value, type_ in zip(values, _SEND_TYPES, strict=True)):
        raise _damaged(place, "sends", values[1], "has a value of a wrong type")
    send = KeptSend(*cast(_Send, values[:8]))
    outcome, message_id, code, accepted_at_ms, decided_at_ms = cast(_Decision, values[8:])
    if outcome is None:
        return StoredSend(send, None, None)
    if outcome not in _OUTCOMES or message_id is None:
        raise _damaged(place, "sends", send.number, "has an outcome that there is not")
    return StoredSend(send, SendDecision(send.trace_id, outcome, message_id, code, accepted_at_ms), decided_at_ms)


def _damaged(place: str, table: str, row: object, problem: str) -> StoreError:
    return StoreError(
        place, f"row {row} of the table {table} {problem}; restore the store from a copy, or delete the row"
    )
