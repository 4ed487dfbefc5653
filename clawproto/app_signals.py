"""What the application is told apart from connection, tokens and messages: streams, reactions, marks, signals.

Part of `clawproto.app_events`, from where everything here can be imported as well.
"""

from collections.abc import Mapping
from typing import Literal

from attrs import field

from clawproto.deferred import frozen
from clawproto.json_types import Json
from clawproto.wire.content import Fragment, Peer, TextFragment


def _text(fragments: tuple[Fragment, ...]) -> str:
    return "".join(part.text for part in fragments if isinstance(part, TextFragment))


# --- streams -------------------------------------------------------------------------------------------------------


@frozen
class StreamStarted:
    """Somebody began to write a message piece by piece (``message.created``); provisional until `StreamFinished`.

    Attributes:
        own: written by this user on another device.
        joined: the beginning was missed; this was concluded from a later piece.
    """

    chat_id: str
    message_id: str
    sender: Peer | None
    own: bool = False
    joined: bool = False


@frozen
class StreamGrew:
    """A stream has grown (``message.add``).

    Attributes:
        delta: what the text grew by; None if pieces were missed or did not fit, and ``text`` replaces everything that
            was shown before (STREAM-9).
        text: all text so far.
        fragments: everything so far.
    """

    chat_id: str
    message_id: str
    sender: Peer | None
    delta: str | None
    text: str = field(repr=lambda text: f"<{len(text)} characters>")
    fragments: tuple[Fragment, ...] = field(repr=False)


@frozen
class StreamFinished:
    """A stream is complete (``message.done``). A message under the same id may follow and replaces it (STREAM-12)."""

    chat_id: str
    message_id: str
    sender: Peer | None
    fragments: tuple[Fragment, ...]
    own: bool = False

    @property
    def text(self) -> str:
        """The text fragments, one after the other."""
        return _text(self.fragments)


@frozen
class StreamDiscarded:
    """A stream came to nothing; drop what was shown of it (STREAM-10).

    Attributes:
        cause: ``failed`` by its author, ``recalled``, ``silent`` for too long, or ``crowded`` out by newer ones.
    """

    chat_id: str
    message_id: str
    sender: Peer | None
    cause: Literal["failed", "recalled", "silent", "crowded"]


# --- about messages ------------------------------------------------------------------------------------------------


@frozen
class MessageDelivered:
    """A device of ``user_id`` has our message (``message.delivered``, DEL). That none comes means nothing (DEL-7).

    Attributes:
        delivered_at_ms: the receiver's clock.
    """

    message_id: str
    chat_id: str | None
    user_id: str | None
    delivered_at_ms: int | None


@frozen
class ReactionChanged:
    """A slot has new content: one per message and reactor (RX-3).

    Attributes:
        emoji: None if the slot is empty now.
        own: by this user on another device.
    """

    chat_id: str
    target_message_id: str
    reactor_user_id: str
    emoji: str | None
    own: bool = False


@frozen
class ReadMarkMoved:
    """This user has read a chat further on another device (READ-4). Only ever rises.

    Attributes:
        read_up_to_ms: ``emitted_at`` of the newest message read.
    """

    chat_id: str
    read_up_to_ms: int


@frozen
class MessageRecalled:
    """The author has withdrawn a message: delete or blank it, if it is there (RECALL-1)."""

    chat_id: str
    target_message_id: str


# --- people --------------------------------------------------------------------------------------------------------


@frozen
class TypingChanged:
    """Somebody began or ceased to write.

    Attributes:
        expired: nothing was heard for too long; the end is our conclusion (TYPE-3).
    """

    chat_id: str
    user_id: str
    is_typing: bool
    expired: bool = False


@frozen
class PresenceChanged:
    """Where a watched user is, as far as the hub knows.

    Attributes:
        online: what to show first; while it is true ``last_seen_at`` is information only (PRES-8).
        last_seen_at: RFC 3339 text; None if never seen.
        snapshot: the state at the time of asking, not a change.
    """

    user_id: str
    online: bool
    last_seen_at: str | None
    snapshot: bool


# --- signals: fetch again ------------------------------------------------------------------------------------------


@frozen
class MetadataInvalidated:
    """Something about a chat has changed; the frame does not say what it is now (META-1). Fetch `paths`, apply the
    answer, then report it with the client's ``applied`` so that older signals are dropped (META-3).

    Attributes:
        scope: as sent.
        everything: the scope was empty or holds something unknown (META-2).
        paths: what to GET below the base URL.
    """

    chat_id: str
    chat_type: str | None
    scope: tuple[str, ...]
    everything: bool
    version: int | None
    paths: tuple[str, ...]


@frozen
class SignalReceived:
    """Something of this user's has changed (``notify.signal``); fetch it again, once per ``event_id`` (NOTIFY-1).

    Attributes:
        type: for instance ``friend.added``; unknown ones ask for a general fetch.
        entity_id: what it is about; its form depends on ``type`` (NOTIFY-9).
        version: grows per type and entity; report it with the client's ``applied``.
        paths: what to GET below the base URL, as far as this library knows; empty for a type that it does not know.
    """

    type: str
    entity_id: str
    version: int | None
    event_id: str
    paths: tuple[str, ...]


# --- owner approvals -----------------------------------------------------------------------------------------------


@frozen
class PermissionRequested:
    """An agent of this owner asks for leave: show a card under ``request_id`` (PERM-3). Answer over REST (PERM-2).

    Attributes:
        target: as sent; may hold a ``label``.
        expires_at_ms: server time; None if it does not expire.
    """

    chat_id: str
    request_id: str
    agent_id: str | None
    operation: str | None
    target: Mapping[str, Json] | None
    expires_at_ms: int | None


@frozen
class PermissionResolved:
    """Collapse the card (PERM-3, PERM-7). It says nothing about who answered (PERM-8).

    Attributes:
        request_id: empty for a standing policy that denied: no card belongs to it, only a log line (PERM-4).
        decision: None on expiry and on policy denial (PERM-5).
        reason: a code to be translated, not shown (PERM-6).
        expired: concluded from the clock, not sent by the hub.
    """

    chat_id: str
    request_id: str
    decision: str | None
    reason: str | None
    expired: bool = False


@frozen
class PermissionDecided:
    """The lasting record of a decision, told once per ``request_id`` (PERM-9). The notice itself arrives besides, as a
    `clawproto.app_events.MessageReceived` of the system.

    Attributes:
        outcome: ``approved``, ``denied``, ``expired``, ``failed``, ``auto_allowed``, ``auto_denied``,
            ``approved_retry``, or a later one (PERM-5).
        reason: a code.
        result: of the operation, if the hub told it (PERM-14).
    """

    chat_id: str
    request_id: str
    operation: str | None
    outcome: str | None
    reason: str | None
    result: Json = None

    @property
    def repeat_call(self) -> bool:
        """Whether the REST call that was waiting for the owner is to be repeated (PERM-14)."""
        return self.outcome == "approved_retry"


# --- history -------------------------------------------------------------------------------------------------------


@frozen
class HistoryReceived:
    """Another device of this user sent a piece of its history, or asks for one (HIST-8).

    Attributes:
        kind: ``history_sync_request``, ``…_message``, ``…_progress``, ``…_done``, ``…_cancel``, or a later one.
        data: the payload as it came.
        ciphertext_fragments: untouched (CAP-6).
    """

    kind: str | None
    data: Mapping[str, Json] = field(repr=False)
    sender: Peer | None
    ciphertext_fragments: Json = field(default=None, repr=False)


@frozen
class HistoryTruncated:
    """The hub no longer has what came before: show a boundary "nothing earlier available" and go on (HIST-12)."""

    oldest_seq: int | None
