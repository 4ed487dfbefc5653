"""An event as a row of a message store: under which key it is filed, what it says there, and whether that is news.

Rules: SEND-19, R2-10, R2-28, STREAM-14, RX-3, RECALL-1, READ-4, NOTIFY-2, PERM-3, PERM-9, DEL-4.

    arrival --> nothing under its key? ---------------> new
                  | something else is there ----------> changed: a new row takes its place
                  | the same -------------------------> same: written over, no news
                  | something that counts for more ---> older: stays, no news
"""

import hashlib
import json
from typing import Literal, TypeAlias

from attrs import field

from clawproto.app_events import (
    AppEvent,
    HistoryReceived,
    MessageDelivered,
    MessageRecalled,
    MessageReceived,
    PermissionDecided,
    PermissionRequested,
    PermissionResolved,
    ReactionChanged,
    ReadMarkMoved,
    SignalReceived,
    UnknownEvent,
)
from clawproto.deferred import frozen
from clawproto.event_text import event_to_text, kind_of, to_plain
from clawproto.json_types import Json
from clawproto.wire.values import MessagePayload

Verdict: TypeAlias = Literal["new", "changed", "same", "older"]
MESSAGE, RECALL, REACTION, READ_MARK = "message_received", "message_recalled", "reaction_changed", "read_mark_moved"


@frozen
class EventRow:
    """What is stored of an event. No text holds U+0000 or half of a surrogate pair, so every database takes it.

    Attributes:
        kind: as in the text; with `key` it is unique among the events of an agent.
        key: exact, in JSON; None if every copy is news.
        content: a digest of what it says; equal for the live and the replayed copy, in every version.
        final: False for a provisional copy (STREAM-14).
        chat_id, message_id: to be looked up by; what it is about.
        at_ms: the hub's clock; of a read mark: the mark.
        text: the whole event, see `clawproto.event_text`.
    """

    kind: str
    key: str | None
    content: str
    final: bool
    chat_id: str | None
    message_id: str | None
    at_ms: int | None
    text: str = field(repr=False)


@frozen
class KnownRow:
    """What is filed under the same kind and key already."""

    content: str
    final: bool
    at_ms: int | None


def event_row(event: AppEvent) -> EventRow:
    """How ``event`` is to be filed."""
    kind, text = kind_of(event), event_to_text(event)
    match event:
        case MessageReceived(message=message, chat_id=chat_id, emitted_at_ms=at_ms):
            return _row(kind, (message.message_id,), _said(message), text, chat_id, message.message_id, at_ms,
                        final=not message.stream_merged)  # fmt: skip
        case ReactionChanged(target_message_id=target, reactor_user_id=reactor, emoji=emoji, chat_id=chat_id):
            return _row(kind, (target, reactor), _digest(emoji), text, chat_id, target)
        case ReadMarkMoved(chat_id=chat_id, read_up_to_ms=mark):
            return _row(kind, (chat_id,), "", text, chat_id, at_ms=mark)
        case MessageRecalled(target_message_id=target, chat_id=chat_id):
            return _row(kind, (target,), "", text, chat_id, target)
        case MessageDelivered(message_id=message_id, user_id=user_id, chat_id=chat_id, delivered_at_ms=at_ms):
            return _row(kind, (message_id, user_id or ""), "", text, chat_id, message_id, at_ms)
        case SignalReceived(event_id=event_id):
            return _row(kind, (event_id,), "", text)
        case (
            PermissionRequested(request_id=request_id, chat_id=chat_id)
            | PermissionDecided(request_id=request_id, chat_id=chat_id)
        ):
            return _row(kind, (request_id,), "", text, chat_id)
        case PermissionResolved(request_id=request_id, chat_id=chat_id) if request_id:
            return _row(kind, (request_id,), "", text, chat_id)
        case HistoryReceived():
            return _row(kind, (_digest([event.kind, dict(event.data), event.ciphertext_fragments]),), "", text)
        case UnknownEvent(frame=frame) if frame.trace_id:
            return _row(kind, (frame.event, frame.trace_id), "", text, frame.chat_id, at_ms=frame.emitted_at)
        case _:
            return _row(kind, None, hashlib.blake2b(text.encode(), digest_size=16).hexdigest(), text)


def message_key(message_id: str) -> str:
    """The key of a message, and of its recall."""
    return _key((message_id,))


def storable(text: str) -> str:
    """``text`` as every database takes it: U+FFFD for what not all do."""
    return (
        text.encode("utf-16-le", "surrogatepass")
        .decode("utf-16-le", "replace")
        .replace("\0", "\N{REPLACEMENT CHARACTER}")
    )


def verdict(row: EventRow, known: KnownRow | None) -> Verdict:
    """What becomes of an arrival, beside what is ``known`` under its key."""
    if known is None:
        return "new"
    if row.kind == READ_MARK:
        before, now = known.at_ms or 0, row.at_ms or 0
        return "same" if now == before else "changed" if now > before else "older"
    if known.final and not row.final:
        return "older"
    return "same" if (known.content, known.final) == (row.content, row.final) else "changed"


def replaces(event: AppEvent, before: AppEvent) -> bool:
    """Whether a row that both arrived for holds ``event``, the later one."""
    row, known = event_row(event), event_row(before)
    if row.kind != known.kind:  # a message, and its recall in whichever order
        return row.kind == RECALL
    return verdict(row, KnownRow(known.content, known.final, known.at_ms)) == "changed"


def _row(
    kind: str,
    key: tuple[str, ...] | None,
    content: str,
    text: str,
    chat_id: str | None = None,
    message_id: str | None = None,
    at_ms: int | None = None,
    *,
    final: bool = True,
) -> EventRow:
    return EventRow(
        kind,
        None if key is None else _key(key),
        content,
        final,
        None if chat_id is None else storable(chat_id),
        None if message_id is None else storable(message_id),
        at_ms,
        text,
    )


def _key(parts: tuple[str, ...]) -> str:
    return json.dumps(parts, separators=(",", ":"))


def _digest(value: Json) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))  # plain ASCII
    return hashlib.blake2b(text.encode("ascii"), digest_size=16).hexdigest()


def _said(message: MessagePayload) -> str:
    """A digest of all that a message says, see `clawproto.inbox.fingerprint`; this one outlives the process."""
    return _digest(
        [
            message.message_mode,
            to_plain(message.fragments),
            to_plain(message.mentions),
            to_plain(message.reply),
            None if message.metadata is None else dict(message.metadata),
        ]
    )
