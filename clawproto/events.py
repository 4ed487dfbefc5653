"""What can happen to a session. A driver builds these and hands them to ``step`` one at a time, in order.

Two kinds: commands (what the application wants, see `clawproto.commands`; most carry a ``command`` number that the
driver chooses, unique within the session, and that is resolved exactly once by a `clawproto.effects.Resolve`), and
reports (what the world did in answer to an effect, tagged with the number that the effect carried). A report with a
stale number changes nothing.
"""

from typing import TypeAlias

from attrs import field

from clawproto.commands import (
    AppendStream as AppendStream,
    CallRest as CallRest,
    Command as Command,
    FailStream as FailStream,
    FinishStream as FinishStream,
    MarkApplied as MarkApplied,
    MarkRead as MarkRead,
    OpenStream as OpenStream,
    Pair as Pair,
    React as React,
    Refresh as Refresh,
    ResetCursor as ResetCursor,
    Send as Send,
    Settle as Settle,
    SetTyping as SetTyping,
    TransferHistory as TransferHistory,
    UnwatchPresence as UnwatchPresence,
    WatchPresence as WatchPresence,
)
from clawproto.credentials import Credentials, Guard
from clawproto.deferred import frozen
from clawproto.http import HttpAnswer
from clawproto.keeping import KeptSend

# --- life of the session -------------------------------------------------------------------------------------------


@frozen
class Start:
    """Begin: connect and stay connected. Once per session.

    Attributes:
        credentials: what the store holds, or None if this agent was never paired.
        guard: exported by an earlier session of the same agent, if there was one (REF-33).
        sends: what an earlier session kept and did not decide, in the order of its numbers; needs `Config.keep_sends`.
            It is transmitted first, under its old ids, and each ends in a `clawproto.app_events.SendSettled`.
        last_number: the highest number that any kept send ever had.
    """

    credentials: Credentials | None = None
    guard: Guard | None = None
    sends: tuple[KeptSend, ...] = ()
    last_number: int = 0


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


@frozen
class Kept:
    """The changes of `clawproto.effects.Keep` ``operation`` are durable."""

    operation: int


@frozen
class KeepFailed:
    """They are not, or nobody knows; they come again."""

    operation: int
    detail: str


SocketReport: TypeAlias = Opened | OpenFailed | FrameReceived | Closed
HttpReport: TypeAlias = HttpAnswered | HttpFailed
StoreReport: TypeAlias = Stored | StoreConflicted | StoreFailed | Reloaded
KeepReport: TypeAlias = Kept | KeepFailed
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
    | KeepReport
)
