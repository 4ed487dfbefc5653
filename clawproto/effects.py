"""What must be done. ``step`` returns these as one ordered tuple; a driver carries each out, in that order.

Five of them are the heart: `RequestRefresh`, `Persist`, `Swap`, `Reconnect`, `Logout`. Effects that expect an answer
carry a number; the answer is one of the reports in `clawproto.events` with the same number.
"""

from typing import Literal, TypeAlias

from attrs import field

from clawproto.app_events import AppEvent, LogoutCause
from clawproto.credentials import Credentials, Identity, Intent, TokenPair
from clawproto.deferred import frozen
from clawproto.http import HttpRequest
from clawproto.keeping import SendChange
from clawproto.results import Result

# --- tokens --------------------------------------------------------------------------------------------------------


@frozen
class RecordIntent:
    """Save ``intent`` in the store if it still holds ``intent.generation`` (REF-46).

    Answer: Stored, StoreConflicted or StoreFailed. Shield it from cancellation.
    """

    operation: int
    intent: Intent


@frozen
class RequestRefresh:
    """Send the refresh call. Answer: HttpAnswered or HttpFailed. Shield it from cancellation (REF-48)."""

    request: int
    http: HttpRequest
    timeout_ms: int


@frozen
class Persist:
    """Save ``credentials`` durably, replacing generation ``replaces`` (None: there must be no other agent's record).

    The store gives the record the generation ``credentials.generation``, clears intent and refusal, and only then
    reports Stored. Else StoreConflicted or StoreFailed. Shield it from cancellation (REF-9, REF-10, REF-49).
    """

    operation: int
    credentials: Credentials
    replaces: int | None


@frozen
class Swap:
    """The pair is saved and now current (REF-9). Copies that the host keeps of the tokens are to be replaced."""

    tokens: TokenPair


@frozen
class Logout:
    """Forget the pair in every store, keep the identity, remember ``refused``; tell the user once (OUT-2 to OUT-5).

    Answer: Stored, StoreConflicted or StoreFailed. The notice goes to the application as a
    `clawproto.app_events.LoggedOut` whether or not the clearing succeeds (OUT-6).

    Attributes:
        refused: digest of the refused access token, to be kept in the record (OUT-9).
        replaces: the generation to be cleared; a store that holds a newer one refuses.
    """

    operation: int
    identity: Identity
    refused: str
    replaces: int
    cause: LogoutCause


@frozen
class Reload:
    """Read the store again. Answer: Reloaded or StoreFailed (REF-45, OUT-8)."""

    operation: int


@frozen
class RememberDevice:
    """Keep the device id that the hub resolved, as `Identity.socket_device_id` (HS-23). Needs no answer."""

    device_id: str


# --- sends ---------------------------------------------------------------------------------------------------------


@frozen
class Keep:
    """Make ``changes`` durable in the message store, in this order and all or none. Only with `Config.keep_sends`.

    Answer: Kept or KeepFailed. There is one at a time; a failed one comes again with the same changes under another
    number, so the store must take a repetition for what it is. Shield it from cancellation.
    """

    operation: int
    changes: tuple[SendChange, ...]


# --- socket --------------------------------------------------------------------------------------------------------


@frozen
class Open:
    """Open a WebSocket to ``url``: no query, no subprotocol, no token in the upgrade (AUTH-2).

    Answer: Opened or OpenFailed, later Closed.
    """

    generation: int
    url: str
    timeout_ms: int


@frozen
class Reconnect:
    """Planned change of the socket (REF-26): close ``generation`` gracefully, go on reading until it is closed, report
    Closed. Unlike after a `Close`, an `Open` follows at once."""

    generation: int
    reason: str


@frozen
class SendFrame:
    """Write one text message to socket ``generation``, after everything queued before it.

    Attributes:
        text: the encoded frame; never in the repr, since ``connect`` carries a token (AUTH-9).
        event: its event name, for logs.
    """

    generation: int
    text: str = field(repr=lambda text: f"<{len(text)} long>")
    event: str


@frozen
class Close:
    """Close socket ``generation`` gracefully after what is queued, go on reading until it is closed, report Closed."""

    generation: int
    code: int
    reason: str


@frozen
class Abort:
    """Drop the transport of socket ``generation`` at once. No report is needed; a late Closed is ignored."""

    generation: int


# --- other IO ------------------------------------------------------------------------------------------------------


@frozen
class RequestHttp:
    """Send any other HTTP request. Answer: HttpAnswered or HttpFailed.

    Attributes:
        purpose: ``pairing`` must be shielded from cancellation like a refresh, ``rest`` need not.
        timeout_ms: limit for the whole call, name lookup included.
    """

    request: int
    http: HttpRequest
    timeout_ms: int
    purpose: Literal["pairing", "rest"]


# --- towards the application ---------------------------------------------------------------------------------------


@frozen
class Emit:
    """Hand ``event`` to the application.

    Attributes:
        delivery: not None: the event occupies a place in the stream; report `clawproto.events.Settle` with this number
            when the application is done with it.
    """

    event: AppEvent
    delivery: int | None = None


@frozen
class Resolve:
    """Command ``command`` is decided. Exactly one per command (I9)."""

    command: int
    result: Result


Effect: TypeAlias = (
    RecordIntent
    | RequestRefresh
    | Persist
    | Swap
    | Logout
    | Reload
    | RememberDevice
    | Keep
    | Open
    | Reconnect
    | SendFrame
    | Close
    | Abort
    | RequestHttp
    | Emit
    | Resolve
)
