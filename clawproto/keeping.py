"""What is kept of messages so that a restart loses nothing: the values that pass between a session and a message store.

Rules: SEND-5, SEND-15, SEND-17, SEND-19, R1-1, R2-10, R2-11, R2-27, STREAM-14, RX-3, RECALL-1, READ-4.

    arrival --commit--> filed --> its place in the stream is settled, the application is told --> handled
    send ---commit--> transmitted … answered --> decision
"""

from typing import Literal, TypeAlias

from attrs import field

from clawproto.app_events import AppEvent, FrameRejected
from clawproto.deferred import frozen

Outcome: TypeAlias = Literal["accepted", "rejected", "dropped", "expired"]


@frozen
class KeptSend:
    """A message or reaction that may have to be transmitted (again) after a restart: the same bytes under the same ids
    (SEND-5, SEND-15).

    Attributes:
        trace_id: unique; a send that is asked for again under its message id keeps it.
        number: the order of transmission (SEND-17); grows within the store, also across restarts.
        message_id: minted or given; of a reaction: that of its slot.
        payload: the payload's JSON text.
        to: the display hint as JSON text.
        created_ms: wall clock.
    """

    trace_id: str
    number: int
    message_id: str
    chat_id: str
    event: str
    payload: str = field(repr=lambda text: f"<{len(text)} long>")
    to: str | None
    created_ms: int


@frozen
class SendDecision:
    """A kept send is decided and will not be transmitted again.

    Attributes:
        message_id: under which the hub has it (SEND-12).
        code: of a refusal.
        accepted_at_ms: the hub's clock.
    """

    trace_id: str
    outcome: Outcome
    message_id: str
    code: str | None = None
    accepted_at_ms: int | None = None


@frozen
class Arrival:
    """An event with a place in the stream, on its way into the store. It is settled when this is committed (R2-10)."""

    event: AppEvent


@frozen
class Handled:
    """The application is done with what was filed under ``row``; it will not be handed over after a restart."""

    row: int


@frozen
class Quarantined:
    """A frame or message that could not be taken (R2-11)."""

    rejection: FrameRejected


@frozen
class ForUser:
    """What follows is this user's. If what is kept is another one's it goes, all of it: nobody else may be handed it or
    send it, and a message that both have in a chat is new to this one. The same user again changes nothing.

    It is the first change of its commit, so that a commit that is repeated brings back nothing of the one before."""

    user_id: str


SendChange: TypeAlias = KeptSend | SendDecision
Change: TypeAlias = Arrival | Handled | Quarantined | ForUser | SendChange


@frozen
class Filed:
    """What became of an `Arrival`.

    Attributes:
        row: its place in the store; grows in the order of arrival.
        event: what the application is to be told: the arrival's event, with ``update`` put right for a message; None if
            this is no news: it had been filed before with the same content (whether handled or still waiting), it is
            provisional and a final copy is there (STREAM-14), or it was recalled before (RECALL-1).
    """

    row: int
    event: AppEvent | None


@frozen
class Backlog:
    """What an earlier session left behind.

    Attributes:
        arrivals: filed and not handled, in the order of their rows; each has an event.
        sends: not decided, in the order of their numbers.
        last_number: the highest number that any send of this store ever had.
        last_row: the highest row that any arrival of this store ever had.
        user_id: whose all this is, by the last `ForUser`; None if nobody has said. A session of another user takes up
            nothing of it but the two numbers, and commits a `ForUser` of its own first.
        expired: not decided and given up for their age: they are not transmitted, and the application is told.
    """

    arrivals: tuple[Filed, ...] = ()
    sends: tuple[KeptSend, ...] = ()
    last_number: int = 0
    last_row: int = 0
    user_id: str | None = None
    expired: tuple[KeptSend, ...] = ()

    def for_user(self, user_id: str | None) -> "Backlog":
        """What a session of this user takes up. None: nobody is paired, so whose session it will be is not known."""
        if self.user_id is None or self.user_id == user_id:
            return self
        return Backlog(last_number=self.last_number, last_row=self.last_row, user_id=self.user_id)
