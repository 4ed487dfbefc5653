"""The outbox machine's branch of the state: messages and reactions on their way."""

from attrs import frozen

from clawproto.gates import Gates
from clawproto.persistent import IntMap, StrMap


@frozen
class Entry:
    """One message or reaction on its way.

    Attributes:
        command: whoever waits for it; None once told.
        message_id: of a reaction: that of its slot.
        payload: the payload's JSON text, minted id included: the same bytes on every transmission (SEND-5).
        size: of payload and routing in bytes.
        trace_id: of every transmission, so that the answer to any of them finds it (SEND-15).
        generation: the socket that carried it last; 0 if none did.
        repeated: the deadline has passed on that socket and the message went out once more (SEND-14).
        due: slot in the order of deadlines; 0 if none runs.
    """

    command: int | None
    chat_id: str
    message_id: str
    event: str
    payload: str
    to: str | None
    size: int
    trace_id: str
    generation: int = 0
    repeated: bool = False
    due: int = 0


@frozen
class OutboxState:
    """Everything that the outbox machine knows.

    Attributes:
        entries: by number, in the order of the commands (SEND-17).
        by_trace, by_message: indexes into `entries`; reactions are in the former only.
        due: deadlines in the order in which they fall due: slot to (monotonic ms, entry).
        queued: numbers of entries that were never transmitted, oldest first (SEND-20).
        told: numbers of entries whose sender was told "undecided", oldest first; bounded.
        gates: see `clawproto.gates`.
    """

    entries: IntMap[Entry] = IntMap()
    by_trace: StrMap[int] = StrMap()
    by_message: StrMap[int] = StrMap()
    due: IntMap[tuple[int, int]] = IntMap()
    queued: IntMap[None] = IntMap()
    told: IntMap[None] = IntMap()
    gates: Gates = Gates()
    next_number: int = 1
    next_due: int = 1
