"""What the application is told. Everything here arrives through ``async for event in client``."""

from collections.abc import Awaitable
from typing import Literal, Protocol, TypeAlias

from attrs import field, frozen

from clawproto.app_signals import (
    HistoryReceived as HistoryReceived,
    HistoryTruncated as HistoryTruncated,
    MessageDelivered as MessageDelivered,
    MessageRecalled as MessageRecalled,
    MetadataInvalidated as MetadataInvalidated,
    PermissionDecided as PermissionDecided,
    PermissionRequested as PermissionRequested,
    PermissionResolved as PermissionResolved,
    PresenceChanged as PresenceChanged,
    ReactionChanged as ReactionChanged,
    ReadMarkMoved as ReadMarkMoved,
    SignalReceived as SignalReceived,
    StreamDiscarded as StreamDiscarded,
    StreamFinished as StreamFinished,
    StreamGrew as StreamGrew,
    StreamStarted as StreamStarted,
    TypingChanged as TypingChanged,
)
from clawproto.app_stores import (
    MessagesSaved as MessagesSaved,
    MessagesUnsaved as MessagesUnsaved,
    SaveAlarm as SaveAlarm,
    SaveRecovered as SaveRecovered,
)
from clawproto.config import Delivery as Delivery
from clawproto.credentials import Identity
from clawproto.errors import Misuse
from clawproto.json_types import Json
from clawproto.wire.values import Frame, MessagePayload, Payload, Peer, TextFragment

LogoutCause: TypeAlias = Literal["refused", "client-fault", "rotation-lost"]

# --- connection ----------------------------------------------------------------------------------------------------


@frozen
class Ready:
    """``hello-ok`` arrived: sends flow, replay begins.

    Attributes:
        device_id: the device id that the hub resolved (HS-8).
        delivery: which generation of reliable delivery is in force.
    """

    device_id: str
    delivery: Delivery


@frozen
class ReplayFinished:
    """The backlog is through, live traffic follows (RPL-4, RPL-7).

    Attributes:
        announced: False if it was concluded from silence.
    """

    announced: bool


@frozen
class Disconnected:
    """The socket is gone; the session comes back by itself.

    Attributes:
        code: close code; None if the socket never opened, or had to be dropped.
        reason: for logs.
        retry_in_ms: until the next attempt; None if something else is awaited first (a refresh, new credentials).
        planned: part of a token change or another step of the session's own.
    """

    code: int | None
    reason: str
    retry_in_ms: int | None
    planned: bool = False


@frozen
class TakenOver:
    """Another socket with the same user and device id evicted this one (4001, 4002): run one only (CLOSE-11)."""

    code: int
    retry_in_ms: int


@frozen
class HandshakeRefused:
    """``hello-fail``. What follows is decided by HS-15 to HS-17.

    Attributes:
        reason: as sent by the hub; None if missing or not a string.
        action: ``refresh`` or ``retry``.
    """

    reason: str | None
    action: Literal["refresh", "retry"]


# --- tokens --------------------------------------------------------------------------------------------------------


@frozen
class TokensRotated:
    """A new pair is saved and in force.

    Attributes:
        expires_at_ms: server time; None if unknown.
        refresh_at_ms: when the next rotation is due, server time.
        adopted: it came from the store, where another process had put it (REF-45, REF-49).
    """

    expires_at_ms: int | None
    refresh_at_ms: int | None
    adopted: bool = False


@frozen
class RefreshDelayed:
    """A refresh failed for now and will be tried again (REF-21).

    Attributes:
        retry_in_ms: until the next attempt by the session itself; None if nothing awaits one.
    """

    text: str
    retry_in_ms: int | None


@frozen
class ClockSkewed:
    """The local wall clock differs from the server's by more than the tolerance, and this is corrected for (TOK-20).

    Attributes:
        offset_ms: server time minus local time; 0 when it is in order again.
    """

    offset_ms: int


@frozen
class TokenNotNewer:
    """The server's new access token expires no later than the old one, or is due already (TOK-22)."""

    next_attempt_in_ms: int


@frozen
class LoggedOut:
    """The session has ended: a person must pair the agent again (OUT-4, OUT-5). Emitted once.

    Attributes:
        cause: ``refused`` by the server, ``client-fault`` (code 400), or ``rotation-lost``: the answer to an earlier
            rotation was lost and the grace is over (REF-46).
        identity: kept (OUT-3).
        cleared: whether the stores confirmed that the tokens are gone (OUT-6).
    """

    cause: LogoutCause
    code: int
    text: str
    identity: Identity
    cleared: bool


@frozen
class CredentialsNeeded:
    """There is no usable token: never paired, logged out before or by another process that shares the store, or
    rejected without a refresh token (OUT-10). This session has cleared nothing."""

    text: str


@frozen
class Misconfigured:
    """Something that the operator should mend; the session goes on as well as it can.

    Attributes:
        code: ``blank-device-id`` (REF-37), ``volatile-device-id`` (DEV-6), ``subject-mismatch`` (AUTH-11),
            ``no-user-id`` (AUTH-10), ``store-unwritable`` (an intent could not be recorded), ``capability`` (CAP-1).
    """

    code: Literal[
        "blank-device-id", "volatile-device-id", "subject-mismatch", "no-user-id", "store-unwritable", "capability"
    ]
    text: str


# --- messages ------------------------------------------------------------------------------------------------------


class Settler(Protocol):
    """Whoever handed a message out: a driver's client."""

    def settle(self, event: "MessageReceived") -> Awaitable[None]: ...
    def reject(self, event: "MessageReceived", problem: str) -> Awaitable[None]: ...


@frozen
class MessageReceived:
    """A message for the application.

    Attributes:
        event: ``message.send`` or ``message.reply``.
        message: id, mode, fragments, mentions, reply, metadata.
        sender: who wrote it; None if the frame named nobody.
        chat_type: ``direct`` or ``group``; None if absent.
        own: written by this user on another device (ROUTE-6).
        system: a notice from the platform, no conversational turn (ROUTE-9).
        update: the same message id was handed over before with other content (SEND-19).
        conversational: input for an agent: from another person, mode ``normal``, not a system notice (SEND-22).
        emitted_at_ms: display material only (ENV-7).
        streamed: its stream was followed in this session; this takes its place (STREAM-12).
        ciphertext_fragments: carried through untouched (CAP-6).
    """

    event: str
    chat_id: str
    chat_type: str | None
    sender: Peer | None
    message: MessagePayload
    own: bool
    system: bool
    update: bool
    conversational: bool
    emitted_at_ms: int | None
    streamed: bool = False
    ciphertext_fragments: Json = field(default=None, repr=False)
    _settler: "Settler | None" = field(default=None, init=False, repr=False, eq=False)

    def settle(self) -> Awaitable[None]:
        """``await message.settle()``: the application is done with it, and its place in the stream may be acknowledged
        (R2-10). Needed after ``connect(settle="explicit")``; harmless otherwise, and when repeated.

        Raises:
            Misuse: it was not handed out by a client.
        """
        return self._bound().settle(self)

    def reject(self, problem: str) -> Awaitable[None]:
        """``await message.reject("why")``: the application cannot take it, not even later. It goes into the client's
        quarantine, and its place in the stream is settled (R2-11).

        Raises:
            Misuse: it was not handed out by a client.
        """
        return self._bound().reject(self, problem)

    def _bound(self) -> "Settler":
        if self._settler is None:
            raise Misuse("this message was not handed out by a client")
        return self._settler

    @property
    def message_id(self) -> str:
        """Of the message; to be quoted, reacted to, or stored under."""
        return self.message.message_id

    @property
    def text(self) -> str:
        """The text fragments, one after the other."""
        return "".join(part.text for part in self.message.fragments if isinstance(part, TextFragment))


@frozen
class SendSettled:
    """A message whose sender was told "undecided" (or is gone) is decided after all (SEND-15, SEND-16).

    Attributes:
        accepted: True for an ack or for its own echo, False for a refusal.
        code: the refusal's code; ``logged_out`` if a logout ended a message of an earlier session before its answer
            came, ``expired`` if its store has given it up for its age: it may have arrived.
    """

    chat_id: str
    message_id: str
    accepted: bool
    code: str | None = None


@frozen
class AckAnomaly:
    """The hub acknowledged a message under another id than the minted one (SEND-12). It counts as sent."""

    minted_id: str
    message_id: str


@frozen
class RefusalReceived:
    """A ``message.error`` that belongs to no pending send: typing, another feature's uplink, or a stray (ERR-9)."""

    chat_id: str | None
    message_id: str | None
    code: str
    reason: str | None


@frozen
class ChatGated:
    """Uplinks to this chat are stopped locally from now on (ERR-9)."""

    chat_id: str
    code: str
    until_in_ms: int


@frozen
class ChatUngated:
    """The chat showed a sign of life, or its gate ran out (ERR-12 to ERR-14)."""

    chat_id: str


@frozen
class UnknownEvent:
    """A downlink that this version does not know: a later hub's, or an extension (EVT-1, EVT-2)."""

    frame: Frame
    payload: Payload


@frozen
class FrameRejected:
    """A frame was unusable and is in quarantine (ENV-12, R2-11); its place in the stream is settled.

    Attributes:
        event: its event name, None if it had none.
        problem: what is wrong with it.
        excerpt: its beginning, bounded.
        dropped: how many frames were rejected in this session so far, this one included.
        frame: the frame itself, cut off at `Policy.quarantine_limit`; None if the application rejected a message.
        message: what the application rejected.
    """

    event: str | None
    problem: str
    excerpt: str = field(repr=False)
    dropped: int
    frame: str | bytes | None = field(default=None, repr=False)
    message: MessageReceived | None = field(default=None, repr=False)


AppEvent: TypeAlias = (
    Ready
    | ReplayFinished
    | Disconnected
    | TakenOver
    | HandshakeRefused
    | TokensRotated
    | RefreshDelayed
    | SaveAlarm
    | SaveRecovered
    | MessagesUnsaved
    | MessagesSaved
    | ClockSkewed
    | TokenNotNewer
    | LoggedOut
    | CredentialsNeeded
    | Misconfigured
    | MessageReceived
    | SendSettled
    | AckAnomaly
    | RefusalReceived
    | ChatGated
    | ChatUngated
    | StreamStarted
    | StreamGrew
    | StreamFinished
    | StreamDiscarded
    | MessageDelivered
    | ReactionChanged
    | ReadMarkMoved
    | MessageRecalled
    | TypingChanged
    | PresenceChanged
    | MetadataInvalidated
    | SignalReceived
    | PermissionRequested
    | PermissionResolved
    | PermissionDecided
    | HistoryReceived
    | HistoryTruncated
    | UnknownEvent
    | FrameRejected
)
