"""What the application wants of a session. Part of `clawproto.events`, from where everything can be imported as well.

A command with a ``command`` number is resolved exactly once by a `clawproto.effects.Resolve` with that number; the
others take effect at once and have no outcome.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from attrs import field

from clawproto.deferred import frozen
from clawproto.http import FileBody
from clawproto.json_types import Json


@frozen
class Refresh:
    """Ask for a refresh and for its outcome (REF-12, REF-31). Resolved with a `RefreshOutcome`."""

    command: int


@frozen
class Send:
    """Send a message (SEND-1). Resolved with a `SendResult`.

    Attributes:
        fragments: ordered fragments, each an object with a ``kind`` (FRAG).
        mentions: the ``context.mentions`` list (MENT-1).
        reply: ``context.reply``; with it the event is ``message.reply`` (SEND-4).
        mode: ``message_mode`` (SEND-3).
        message_id: None mints one (SEND-5); give the id of an undecided send to transmit that very message again.
        to: display hint ``{"id", "type"}`` (ENV-5).
    """

    command: int
    chat_id: str
    fragments: tuple[Mapping[str, Json], ...]
    mentions: tuple[Json, ...] = ()
    reply: Mapping[str, Json] | None = None
    mode: str = "normal"
    message_id: str | None = None
    to: Mapping[str, Json] | None = None


@frozen
class SetTyping:
    """We begin or cease to write in this chat; nothing is resolved.

    While we write, the indicator is repeated every 3 s, shown again after a reconnect, and cut off after 900 s
    (TYPE-2, TYPE-6). Saying "true" again starts the 900 s anew.
    """

    chat_id: str
    is_typing: bool


@frozen
class React:
    """Put ``emoji`` into our slot on a message, or empty it (RX). Resolved with a `SendResult`; the receipt's message
    id is that of the slot. Asked for again in the same slot before it was transmitted, only the last one goes out.

    Attributes:
        emoji: 1 to 64 bytes of UTF-8 (RX-6); None removes the reaction.
    """

    command: int
    chat_id: str
    target_message_id: str
    emoji: str | None


@frozen
class MarkRead:
    """This user has read the chat up to here (READ-1). Merged by maximum, and kept until the next connection while
    offline; nothing is resolved, and the hub answers nothing.

    Attributes:
        read_up_to_ms: ``emitted_at`` of the newest message read.
    """

    chat_id: str
    read_up_to_ms: int


@frozen
class WatchPresence:
    """Tell us where this user is, from now on and across reconnects (PRES-3). Resolved with `Done` or `NotDone`; the
    snapshot comes as an event, or never (PRES-6).

    Attributes:
        user_id: ``usr_…`` or ``agt_…``.
    """

    command: int
    user_id: str


@frozen
class UnwatchPresence:
    """The opposite of `WatchPresence`. Harmless for users that are not watched; nothing is resolved."""

    user_id: str


@frozen
class MarkApplied:
    """What a signal asked for was fetched and applied: signals up to this version are dropped from now on (META-3,
    NOTIFY-3). Nothing is resolved.

    Attributes:
        subject: ``chat`` for `clawproto.app_events.MetadataInvalidated`, ``entity`` for ``SignalReceived``.
        key: chat id, or type and entity id as `clawproto.refetching.version_key` puts them together.
    """

    subject: Literal["chat", "entity"]
    key: str
    version: int


@frozen
class TransferHistory:
    """Pass a piece of history to another device of this user (HIST-1). Resolved with `Done` or `NotDone`.

    Attributes:
        kind: HIST-8.
        data: the rest of the payload.
        ciphertext_fragments: of the encrypted variant, untouched.
    """

    command: int
    target_device_id: str
    kind: str
    data: Mapping[str, Json]
    ciphertext_fragments: tuple[Json, ...] | None = None


@frozen
class ResetCursor:
    """Have the hub replay everything it still has to this device (HIST-13). The connection is lost on the way and comes
    back; messages that were handed over before are handed over again. Resolved with `Done` or `NotDone`."""

    command: int


@frozen
class OpenStream:
    """Begin a message that is written piece by piece (STREAM). Resolved with a `StreamResult`, at once.

    Attributes:
        mode: ``message_mode``.
        to: display hint (ENV-5).
        message_id: None mints one (STREAM-3).
    """

    command: int
    chat_id: str
    mode: str = "normal"
    to: Mapping[str, Json] | None = None
    message_id: str | None = None


@frozen
class AppendStream:
    """Add text to a stream of ours. Resolved at once with a `StreamResult`: `Done`, or why the stream has ended.

    Whatever comes within `Policy.stream_interval_ms` goes out as one ``message.add``. If the connection breaks on the
    way, the text is still gathered, for the closing message (STREAM-8).
    """

    command: int
    message_id: str
    text: str


@frozen
class FinishStream:
    """End a stream of ours. Resolved with a `SendResult` if a message follows, else with `StreamEnded`.

    Attributes:
        closing: the message that follows under the stream's id and takes its place (STREAM-12); with one, nothing is
            lost even if the stream broke on the way. Its command and chat are ignored.
    """

    command: int
    message_id: str
    closing: Send | None = None


@frozen
class FailStream:
    """Give up a stream of ours: receivers discard it (STREAM-10). Nothing is resolved."""

    message_id: str


@frozen
class CallRest:
    """An authenticated REST call with the single retry of REST-4. Resolved with a `RestResult`.

    Attributes:
        method: upper case.
        path: below the base URL, starting with ``/``, query included.
        body: the encoded body, a file that the driver reads, or None.
        timeout_ms: None means `Policy.rest_timeout_ms`.
        content_type: of the body.
        auth_codes: business codes that mean the same as HTTP 401 (MEDIA-3).
    """

    command: int
    method: str
    path: str
    body: bytes | FileBody | None = None
    timeout_ms: int | None = None
    content_type: str = "application/json"
    auth_codes: tuple[int, ...] = ()


@frozen
class Pair:
    """Redeem a pairing code (PAIR-1). Resolved with a `PairResult`.

    Attributes:
        code: as typed by a person; trimmed here.
        base_url: origin of the REST surface.
        ws_url: None derives it from ``base_url`` (AUTH-8).
        device_id: session device id to pair under (DEV-3, DEV-4).
        platform: name of the runtime.
        kind: the ``type`` field.
        plugin_version: optional, log material on the server.
        identity: ``refuse`` fails before sending if an identity is stored, ``repair`` sends its user id, ``new`` does
            not (PAIR-2, PAIR-10).
    """

    command: int
    code: str
    base_url: str
    device_id: str
    ws_url: str | None = None
    platform: str = "clawproto"
    kind: str = "clawbot"
    plugin_version: str | None = None
    identity: str = field(default="refuse")


@frozen
class Settle:
    """The application is done with a delivered event; its place in the stream may be acknowledged (R2-9, R1-1).

    Attributes:
        delivery: the number from the emitted event.
    """

    delivery: int


Command: TypeAlias = (
    Refresh
    | Send
    | React
    | SetTyping
    | MarkRead
    | WatchPresence
    | UnwatchPresence
    | MarkApplied
    | TransferHistory
    | ResetCursor
    | OpenStream
    | AppendStream
    | FinishStream
    | FailStream
    | CallRest
    | Pair
    | Settle
)
