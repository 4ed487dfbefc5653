"""Everything that is neither message nor stream nor control frame: decoded downlinks, and the payloads of uplinks.

Rules: the tables of DEL, RX, RECALL, READ, TYPE, PRES, META, NOTIFY, PERM and HIST.
"""

from collections.abc import Mapping

from clawproto.deferred import frozen
from clawproto.json_types import Json
from clawproto.wire.json_text import write

EMOJI_LIMIT = 64  # bytes of UTF-8, RX-5


@frozen
class Delivered:
    """``message.delivered``: a device of the sender of this frame has the message."""

    message_id: str
    delivered_at: int | None = None


@frozen
class Reaction:
    """``message.reaction``: the slot of one reactor on one message (RX-2).

    Attributes:
        message_id: the slot's id, not that of a message.
    """

    target_message_id: str
    reactor_user_id: str | None = None
    emoji: str | None = None
    removed: bool = False
    message_id: str | None = None


@frozen
class ReadMark:
    """``message.read``: everything up to this emission was read, milliseconds."""

    last_read_emitted_at: int


@frozen
class Recall:
    """``message.recall``. ``message_id`` is the slot's; the message to be blanked is the target (RECALL-1)."""

    target_message_id: str
    message_id: str | None = None


@frozen
class Typing:
    """``typing.update``."""

    is_typing: bool


@frozen
class Presence:
    """``presence.snapshot`` and ``presence.update``.

    Attributes:
        last_seen_at: RFC 3339 text as sent; None if never seen.
    """

    user_id: str
    online: bool
    last_seen_at: str | None = None


@frozen
class MetadataInvalidated:
    """``chat.metadata.invalidated``.

    Attributes:
        scope: the string elements of the list; empty means everything (META-2).
    """

    scope: tuple[str, ...] = ()
    version: int | None = None
    updated_at: int | None = None


@frozen
class NotifySignal:
    """``notify.signal``. ``message_id`` is the slot's, never that of a chat message (NOTIFY-7)."""

    type: str | None = None
    entity_id: str | None = None
    version: int | None = None
    event_id: str | None = None
    message_id: str | None = None


@frozen
class PermissionRequest:
    """``permission.request``.

    Attributes:
        target: as sent; may hold a ``label``.
        expires_at: milliseconds.
    """

    request_id: str
    agent_id: str | None = None
    operation: str | None = None
    target: Mapping[str, Json] | None = None
    expires_at: int | None = None


@frozen
class PermissionResolved:
    """``permission.resolved``. An empty ``request_id`` is a standing policy that denied (PERM-4)."""

    request_id: str
    decision: str | None = None
    reason: str | None = None


@frozen
class HistoryTransit:
    """``history.transit``, from another device of the same user.

    Attributes:
        kind: ``payload.kind`` (HIST-8); None if missing.
        data: the payload as it came.
    """

    kind: str | None
    data: Mapping[str, Json]


@frozen
class HistoryTruncated:
    """``history.truncated``: earlier rows are gone (HIST-12)."""

    oldest_seq: int | None = None


def reaction_slot(target_message_id: str, reactor_user_id: str) -> str:
    """The id of a slot: one for each message and reactor (RX table)."""
    return f"rxn:{target_message_id}:{reactor_user_id}"


# --- uplinks -------------------------------------------------------------------------------------------------------


def encode_delivered(message_id: str, delivered_at: int) -> str:
    """The payload of ``message.delivered`` (DEL table)."""
    return write({"message_id": message_id, "delivered_at": delivered_at})


def encode_reaction(target_message_id: str, emoji: str | None) -> str:
    """The payload of ``message.reaction``; ``emoji`` None empties the slot. No ids of ours go in (RX-1).

    Raises:
        ValueError: an empty target, or an emoji that is empty, above 64 bytes of UTF-8 (RX-6), or not Unicode.
    """
    if not target_message_id:
        raise ValueError("a reaction needs the id of its message")
    if emoji is None:
        return write({"target_message_id": target_message_id, "removed": True})
    try:
        length = len(emoji.encode("utf-8"))
    except UnicodeEncodeError:
        raise ValueError("the emoji is not valid Unicode") from None
    if "\0" in emoji or not 1 <= length <= EMOJI_LIMIT:
        raise ValueError(f"the emoji has {length} bytes, 1 to {EMOJI_LIMIT} are allowed (RX-6)")
    return write({"target_message_id": target_message_id, "emoji": emoji})


def encode_read(last_read_emitted_at: int) -> str:
    """The payload of ``message.read`` (READ-1). Raises ValueError for a mark below 1 (SILENT-6)."""
    if last_read_emitted_at < 1:
        raise ValueError("a read mark is a positive number of milliseconds")
    return write({"last_read_emitted_at": last_read_emitted_at})


def encode_presence(user_id: str) -> str:
    """The payload of ``presence.subscribe`` and ``presence.unsubscribe``."""
    return write({"user_id": user_id})
