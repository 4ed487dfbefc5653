"""What the methods of a driver's client raise. No text here ever carries a token (AUTH-9)."""

from typing import Literal

from clawproto.app_events import LoggedOut as LoggedOutEvent
from clawproto.json_types import Json


class ClawProtoError(Exception):
    """Everything below is one of these."""


# --- the session is over ------------------------------------------------------------------------------------------


class SessionClosed(ClawProtoError):
    """The session was stopped, by `aclose` or by leaving the block, before this could be decided.

    Attributes:
        message_id: of a send; sending again with this id is safe (SEND-5). None for anything else.
        transmitted: the message had left at least once, so it may have arrived.
    """

    def __init__(self, message_id: str | None = None, transmitted: bool = False) -> None:
        what = "the session is closed"
        if message_id is not None:
            what += f"; {message_id} " + ("may have arrived" if transmitted else "was not transmitted")
        super().__init__(what)
        self.message_id = message_id
        self.transmitted = transmitted


class LoggedOut(ClawProtoError):
    """The server ended the session; a person must pair the agent again (OUT-4, OUT-11).

    Attributes:
        event: what the application was told, if that is known already.
    """

    def __init__(self, event: LoggedOutEvent | None = None) -> None:
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
