"""How commands end. Each command resolves with exactly one of these."""

from typing import Literal, TypeAlias

from attrs import field

from clawproto.credentials import Credentials, TokenPair
from clawproto.deferred import frozen
from clawproto.http import HttpAnswer

# --- any command ---------------------------------------------------------------------------------------------------


@frozen
class LoggedOutResult:
    """The session was logged out before the command was decided, or before it was given (OUT-11); or, for a send that
    was not answered, another user was paired meanwhile."""


@frozen
class StoppedResult:
    """The session was stopped. A message that had been transmitted is undecided: `message_id` names it.

    Attributes:
        message_id: of a send; None for other commands.
        transmitted: whether the message left at least once.
        kept: it is in the message store, and goes out at the next start under the same id.
    """

    message_id: str | None = None
    transmitted: bool = False
    kept: bool = False


# --- refresh (REF-19) ----------------------------------------------------------------------------------------------


@frozen
class RefreshSucceeded:
    """The pair was rotated, saved and swapped (or a newer one was adopted from the store)."""

    tokens: TokenPair


@frozen
class RefreshRefused:
    """Permanent: the server refused the refresh token; logout has run (REF-30)."""

    code: int
    text: str


@frozen
class RefreshFailed:
    """Transient: nothing was swapped; the session retries by itself (REF-21).

    Attributes:
        sent: whether the request may have reached the server (REF-43).
        text: for logs, without tokens.
    """

    text: str
    sent: bool = True


SkipReason: TypeAlias = Literal["stopped", "in-flight", "rejected-latch", "min-interval", "no-refresh-token"]


@frozen
class RefreshSkipped:
    """No request was made (REF-13, REF-18)."""

    reason: SkipReason


# --- send ----------------------------------------------------------------------------------------------------------


@frozen
class Receipt:
    """The hub accepted the message: sent, not yet delivered (SEND-9).

    Attributes:
        message_id: the hub's; equal to the minted one unless the hub says otherwise (SEND-12).
        accepted_at_ms: the hub's clock; None if the ack carried none.
        minted_id: the id under which it was transmitted.
    """

    chat_id: str
    message_id: str
    accepted_at_ms: int | None
    minted_id: str


@frozen
class SendRejected:
    """The hub refused the message for good (ERR-3), or it cannot be sent at all.

    Attributes:
        code: the hub's code (ERR table), or one of the local ones ``frame_too_large`` (LIM-3), ``invalid_chat_id``
            (ROUTE-7), ``unencodable``.
        reason: text for logs (ERR-5).
    """

    chat_id: str
    message_id: str
    code: str
    reason: str | None = None


@frozen
class SendUndecided:
    """No answer within the ack deadline (SEND-14): it may have arrived. Sending again with the same id is safe."""

    chat_id: str
    message_id: str


@frozen
class SendGated:
    """An open gate for this chat stopped the message locally (ERR-10, ERR-11).

    Attributes:
        code: the hub's code that opened the gate.
        retry_after_ms: time until the gate closes by itself.
    """

    chat_id: str
    code: str
    retry_after_ms: int


@frozen
class SendDropped:
    """The offline queue was full and this was the oldest message in it (SEND-20). It was never transmitted."""

    chat_id: str
    message_id: str


# --- streams -------------------------------------------------------------------------------------------------------


@frozen
class StreamOpened:
    """A stream of ours has begun, or begins with the next connection.

    Attributes:
        message_id: under which it is continued, ended, and followed by a message (STREAM-3, STREAM-12).
    """

    chat_id: str
    message_id: str


@frozen
class StreamEnded:
    """The stream was ended without a closing message: ``message.done`` or ``message.failed`` left, unacknowledged.

    Attributes:
        complete: False if the stream had broken before, and was therefore failed (STREAM-8).
    """

    chat_id: str
    message_id: str
    complete: bool


# --- what nobody answers -------------------------------------------------------------------------------------------


@frozen
class Done:
    """It was done here; the hub sends no answer to it (SILENT-12)."""


RefusalCode: TypeAlias = Literal[
    "offline", "no-answer", "capability-off", "presence-limit", "invalid-user-id", "unencodable", "frame_too_large"
]


@frozen
class NotDone:
    """Nothing was sent, or nothing came of it.

    Attributes:
        code: ``offline``, ``no-answer`` within the limit, ``capability-off`` (HIST-1), ``presence-limit`` (PRES-4),
            ``invalid-user-id`` (PRES-7), ``unencodable``, ``frame_too_large`` (LIM-3).
    """

    code: RefusalCode
    text: str


# --- REST ----------------------------------------------------------------------------------------------------------


@frozen
class RestSucceeded:
    """HTTP success with code 0 (REST-2).

    Attributes:
        data: the JSON text of ``data``, an object.
        answer: the raw answer.
    """

    data: str = field(repr=False)
    answer: HttpAnswer


@frozen
class RestUnauthorized:
    """HTTP 401 or 403, after refresh and repetition did not help (REST-5)."""

    status: int
    text: str


@frozen
class RestRefused:
    """The server answered with an error of its own (REST-2).

    Attributes:
        status: HTTP status.
        code: business code, None if the answer carried none.
        data: the JSON text of ``data`` if it was an object (PERM-13), else None.
    """

    status: int
    code: int | None
    text: str
    data: str | None = None


@frozen
class RestFailed:
    """No usable answer (REST-2). ``sent`` is False only if the request certainly never arrived."""

    sent: bool
    text: str


@frozen
class NotPaired:
    """There are no tokens to authenticate with."""


# --- pairing -------------------------------------------------------------------------------------------------------


@frozen
class Paired:
    """The code was redeemed and everything is stored (PAIR-9)."""

    credentials: Credentials


Spent: TypeAlias = Literal["yes", "no", "unknown"]


@frozen
class PairRefused:
    """Not paired; nothing was stored.

    Attributes:
        code: the server's code, or None for a local or transport failure.
        spent: whether the pairing code may have been used up: yes, no, or unknown (PAIR-5, PAIR-7).
        text: for people.
    """

    code: int | None
    spent: Spent
    text: str


RefreshOutcome: TypeAlias = RefreshSucceeded | RefreshRefused | RefreshFailed | RefreshSkipped
SendResult: TypeAlias = (
    Receipt | SendRejected | SendUndecided | SendGated | SendDropped | LoggedOutResult | StoppedResult
)
RestResult: TypeAlias = (
    RestSucceeded | RestUnauthorized | RestRefused | RestFailed | NotPaired | LoggedOutResult | StoppedResult
)
PairResult: TypeAlias = Paired | PairRefused | StoppedResult
StreamResult: TypeAlias = (
    StreamOpened | Done | StreamEnded | SendRejected | SendGated | LoggedOutResult | StoppedResult | NotPaired
)
LocalResult: TypeAlias = Done | NotDone | LoggedOutResult | StoppedResult
Result: TypeAlias = RefreshOutcome | SendResult | StreamResult | LocalResult | RestResult | PairResult
