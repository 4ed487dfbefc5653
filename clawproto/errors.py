"""What the methods of a driver's client raise. No text here ever carries a token (AUTH-9)."""

from typing import TYPE_CHECKING, Literal

from clawproto.json_types import Json
from clawproto.results import RefusalCode

if TYPE_CHECKING:
    from clawproto.app_events import LoggedOut as LoggedOutEvent


class ClawProtoError(Exception):
    """Everything below is one of these."""


# --- the session is over ------------------------------------------------------------------------------------------


class SessionClosed(ClawProtoError):
    """The session was stopped, by `aclose` or by leaving the block, before this could be decided.

    Attributes:
        message_id: of a send; sending again with this id is safe (SEND-5). None for anything else.
        transmitted: the message had left at least once, so it may have arrived.
        kept: it is in the message store, and the next session transmits it (again) by itself.
    """

    def __init__(self, message_id: str | None = None, transmitted: bool = False, kept: bool = False) -> None:
        what = "the session is closed"
        if message_id is not None:
            what += f"; {message_id} " + ("may have arrived" if transmitted else "was not transmitted")
            what += " and goes out at the next start" if kept else ""
        super().__init__(what)
        self.message_id = message_id
        self.transmitted = transmitted
        self.kept = kept


class LoggedOut(ClawProtoError):
    """The server ended the session; a person must pair the agent again (OUT-4, OUT-11).

    Attributes:
        event: what the application was told, if that is known already.
    """

    def __init__(self, event: "LoggedOutEvent | None" = None) -> None:
        super().__init__("logged out; pair the agent again")
        self.event = event


class NotPaired(ClawProtoError):
    """There are no usable tokens: pair the agent first (OUT-10)."""

    def __init__(self, text: str = "there are no usable tokens; pair the agent first") -> None:
        super().__init__(text)


class RotationUnsaved(ClawProtoError):
    """The session ended while a new pair of tokens was still waiting to be saved, or to arrive (REF-10).

    The store holds the pair before it, which the server may no longer accept. Raised at the end of the block, only if
    ``shutdown_timeout`` was not enough; mend the store, and pair again if the next start is logged out.
    """


class SessionTakenOver(ClawProtoError):
    """Another process owns this session now (``connect(exclusive=True)``): this one had been paused, or was cut off
    from the store for too long. Connect again to wait for its end."""

    def __init__(self) -> None:
        super().__init__("another process owns this session now")


class DriverFailed(ClawProtoError):
    """The driver itself broke; the cause is the original exception. The session is closed."""

    def __init__(self) -> None:
        super().__init__("the driver failed; this is a defect")


# --- sending ------------------------------------------------------------------------------------------------------


class SendError(ClawProtoError):
    """A message was not, or not certainly, accepted.

    Attributes:
        chat_id: where it was meant to go.
    """

    def __init__(self, chat_id: str, text: str) -> None:
        super().__init__(text)
        self.chat_id = chat_id


class SendRejected(SendError):
    """Refused for good, by the hub or already here; never sent again by itself (ERR-3).

    Attributes:
        code: decides what to do; see `clawproto.results.SendRejected`.
        reason: text for logs.
    """

    def __init__(self, chat_id: str, message_id: str, code: str, reason: str | None) -> None:
        super().__init__(chat_id, f"{message_id} rejected: {code}" + (f" ({reason})" if reason else ""))
        self.message_id = message_id
        self.code = code
        self.reason = reason


class SendUndecided(SendError):
    """No answer came in time: the message may have arrived (SEND-14). Send again with the same ``message_id`` to be
    sure; if it is decided later, a `clawproto.app_events.SendSettled` follows."""

    def __init__(self, chat_id: str, message_id: str) -> None:
        super().__init__(chat_id, f"{message_id} is undecided")
        self.message_id = message_id


class SendGated(SendError):
    """The hub refused this chat a moment ago, so nothing was transmitted (ERR-11).

    Attributes:
        code: the hub's code that closed the chat.
        retry_after_ms: until the gate opens by itself.
    """

    def __init__(self, chat_id: str, code: str, retry_after_ms: int) -> None:
        super().__init__(chat_id, f"chat is gated: {code}")
        self.code = code
        self.retry_after_ms = retry_after_ms


class SendDropped(SendError):
    """The offline queue was full and this was the oldest message in it; it was never transmitted (SEND-20)."""

    def __init__(self, chat_id: str, message_id: str) -> None:
        super().__init__(chat_id, f"{message_id} was dropped from the offline queue")
        self.message_id = message_id


# --- everything else ----------------------------------------------------------------------------------------------


class NotDone(ClawProtoError):
    """Something to which the hub sends no answer could not be done; see `clawproto.results.NotDone`.

    Attributes:
        code: ``offline``, ``no-answer``, ``capability-off``, ``presence-limit``, ``invalid-user-id``, ``unencodable``
            or ``frame_too_large``.
    """

    def __init__(self, code: RefusalCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class RefreshFailed(ClawProtoError):
    """The refresh failed for now; the session tries again by itself (REF-21).

    Attributes:
        sent: whether the request may have reached the server (REF-43).
    """

    def __init__(self, text: str, sent: bool) -> None:
        super().__init__(text)
        self.sent = sent


class RestError(ClawProtoError):
    """A REST call did not succeed."""


class RestUnauthorized(RestError):
    """401 or 403, also after refresh and repetition (REST-5).

    Attributes:
        status: HTTP status.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {text}")
        self.status = status


class RestRefused(RestError):
    """The server answered with an error of its own (REST-2).

    Attributes:
        status: HTTP status.
        code: business code, None if the answer carried none.
        data: details, if the answer carried an object (PERM-13).
    """

    def __init__(self, status: int, code: int | None, text: str, data: dict[str, Json] | None) -> None:
        super().__init__(f"HTTP {status}, code {code}: {text}")
        self.status = status
        self.code = code
        self.data = data


class RestFailed(RestError):
    """No usable answer.

    Attributes:
        sent: False only if the request certainly never arrived.
    """

    def __init__(self, text: str, sent: bool) -> None:
        super().__init__(text)
        self.sent = sent


class MediaTooLarge(ClawProtoError):
    """More than the server takes (MEDIA-8), or more than the caller of a download wants. Nothing was sent or kept.

    Attributes:
        size: bytes; None if only the limit is known.
        limit: bytes.
    """

    def __init__(self, size: int | None, limit: int) -> None:
        super().__init__(f"more than {limit} bytes" if size is None else f"{size} bytes, the limit is {limit}")
        self.size = size
        self.limit = limit


class UploadFailed(ClawProtoError):
    """The media server did not take it, or its answer is of no use (MEDIA-2, MEDIA-5).

    Attributes:
        code: 40001 malformed, 40002 empty, 41501 a type that is not allowed, 50001 and 50301 try again later; None
            without a code.
    """

    def __init__(self, code: int | None, text: str) -> None:
        super().__init__(text if code is None else f"code {code}: {text}")
        self.code = code


class DownloadRefused(ClawProtoError):
    """Not fetched: the address is none that somebody else's message may lead to."""


class DownloadFailed(ClawProtoError):
    """Not fetched completely; nothing was kept.

    Attributes:
        status: HTTP status; None without an answer.
    """

    def __init__(self, status: int | None, text: str) -> None:
        super().__init__(text)
        self.status = status


class PairRefused(ClawProtoError):
    """Not paired; nothing was stored.

    Attributes:
        code: the server's code, None for a local or transport failure.
        spent: whether the pairing code may have been used up (PAIR-5, PAIR-7).
    """

    def __init__(self, code: int | None, spent: Literal["yes", "no", "unknown"], text: str) -> None:
        super().__init__(text)
        self.code = code
        self.spent = spent


class Misuse(ClawProtoError):
    """The caller did something that makes no sense at this point. The state is unchanged; mend the caller."""
