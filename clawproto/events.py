"""What can happen to a session. A driver builds these and hands them to ``step`` one at a time, in order.

Two kinds: commands (what the application wants; each carries a ``command`` number that the driver chooses, unique
within the session, and that is resolved exactly once by a `clawproto.effects.Resolve`), and reports (what the world did
in answer to an effect, tagged with the number that the effect carried). A report with a stale number changes nothing.
"""

from collections.abc import Mapping
from typing import TypeAlias

from attrs import field, frozen

from clawproto.credentials import Credentials, Guard
from clawproto.http import HttpAnswer
from clawproto.json_types import Json

# --- life of the session -------------------------------------------------------------------------------------------


@frozen
class Start:
    """Begin: connect and stay connected. Once per session.

    Attributes:
        credentials: what the store holds, or None if this agent was never paired.
        guard: exported by an earlier session of the same agent, if there was one (REF-33).
    """

    credentials: Credentials | None = None
    guard: Guard | None = None


@frozen
class Stop:
    """End the session on purpose: flush acks, close the socket, finish a rotation that is on its way (REF-32)."""


@frozen
class Tick:
    """A deadline has come, or the host wants to be sure. Harmless at any time."""


@frozen
class CredentialsLoaded:
    """The host brings credentials from outside: another pairing, or another process rotated (OUT-8, REF-15)."""

    credentials: Credentials


@frozen
class ReceiverPaused:
    """The application inbox is full; the driver has stopped reading the socket."""


@frozen
class ReceiverResumed:
    """The application inbox has room again; the driver reads on."""


# --- commands ------------------------------------------------------------------------------------------------------


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
    """Show or hide the typing indicator. Not queued while offline (SEND-20); nothing is resolved."""

    chat_id: str
    is_typing: bool


@frozen
class CallRest:
    """An authenticated REST call with the single retry of REST-4. Resolved with a `RestResult`.

    Attributes:
        method: upper case.
        path: below the base URL, starting with ``/``, query included.
        body: JSON-encoded body or None.
        timeout_ms: None means `Policy.rest_timeout_ms`.
        content_type: of the body.
    """

    command: int
    method: str
    path: str
    body: bytes | None = None
    timeout_ms: int | None = None
    content_type: str = "application/json"


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


# --- reports from the socket ---------------------------------------------------------------------------------------


@frozen
class Opened:
    """The upgrade of socket ``generation`` succeeded."""

    generation: int


@frozen
class OpenFailed:
    """Socket ``generation`` could not be opened."""

    generation: int
    detail: str


@frozen
class FrameReceived:
    """One whole WebSocket message arrived on socket ``generation``."""

    generation: int
    data: str | bytes = field(repr=lambda data: f"<{len(data)} long>")


@frozen
class Closed:
    """Socket ``generation`` is gone; nothing else comes from it.

    Attributes:
        code: the close code, 1005 for none, 1006 for an end without a CLOSE frame.
        reason: text of the CLOSE frame.
    """

    generation: int
    code: int
    reason: str = ""


# --- reports from HTTP ---------------------------------------------------------------------------------------------


@frozen
class HttpAnswered:
    """Request ``request`` was answered, whatever the status."""

    request: int
    answer: HttpAnswer


@frozen
class HttpFailed:
    """Request ``request`` was not answered (REF-43).

    Attributes:
        sent: False only if it certainly never arrived (name lookup, connection refused).
        detail: text without tokens.
    """

    request: int
    sent: bool
    detail: str


# --- reports from the store ----------------------------------------------------------------------------------------


@frozen
class Stored:
    """Store operation ``operation`` is durable.

    Attributes:
        generation: of the record as it is now.
    """

    operation: int
    generation: int


@frozen
class StoreConflicted:
    """The store holds another generation than ``operation`` would replace; nothing was written (REF-49)."""

    operation: int
    stored: Credentials | None


@frozen
class StoreFailed:
    """Store operation ``operation`` failed; nothing, or nothing reliable, was written."""

    operation: int
    detail: str


@frozen
class Reloaded:
    """Answer to a `clawproto.effects.Reload`: what the store holds now."""

    operation: int
    credentials: Credentials | None


Command: TypeAlias = Refresh | Send | SetTyping | CallRest | Pair | Settle
SocketReport: TypeAlias = Opened | OpenFailed | FrameReceived | Closed
HttpReport: TypeAlias = HttpAnswered | HttpFailed
StoreReport: TypeAlias = Stored | StoreConflicted | StoreFailed | Reloaded
Event: TypeAlias = (
    Start
    | Stop
    | Tick
    | CredentialsLoaded
    | ReceiverPaused
    | ReceiverResumed
    | Command
    | SocketReport
    | HttpReport
    | StoreReport
)
