"""The outbox machine's branch of the state: messages and reactions on their way."""

from clawproto.deferred import frozen
from clawproto.evolving import evolve
from clawproto.gates import Gates
from clawproto.keeping import SendChange
from clawproto.persistent import IntMap, StrMap

EVENT_SEND = "message.send"
EVENT_REPLY = "message.reply"
EVENT_REACTION = "message.reaction"


@frozen
class Entry:
    """One message or reaction on its way.

    Attributes:
        command: whoever waits for it; None once told, or if an earlier session took it up.
        message_id: of a reaction: that of its slot.
        payload: the payload's JSON text, minted id included: the same bytes on every transmission (SEND-5).
        size: of payload and routing in bytes.
        trace_id: of every transmission, so that the answer to any of them finds it (SEND-15).
        generation: the socket that carried it last; 0 if none did.
        repeated: the deadline has passed on that socket and the message went out once more (SEND-14).
        due: slot in the order of deadlines; 0 if none runs.
        kept: it may be transmitted: it is in the message store, or there is none.
        restored: an earlier session took it up; nobody but us can see to it that it arrives.
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
    kept: bool = True
    restored: bool = False


@frozen
class Keeping:
    """What the message store is to be told, see `clawproto.outbox_keeping`.

    Attributes:
        waiting: changes for the next batch, in order.
        batch: the changes under way, or to be tried again; empty if there are none.
        operation: number of the `clawproto.effects.Keep` under way.
        failures: of this batch, in a row.
        retry_at: monotonic ms of the next attempt; None while one is under way.
    """

    waiting: IntMap[SendChange] = IntMap()
    next_slot: int = 1
    batch: tuple[SendChange, ...] = ()
    operation: int | None = None
    failures: int = 0
    retry_at: int | None = None


@frozen
class OutboxState:
    """Everything that the outbox machine knows.

    Attributes:
        entries: by number, in the order of the commands (SEND-17).
        by_trace, by_message: indexes into `entries`; reactions are in the former only.
        due: deadlines in the order in which they fall due: slot to (monotonic ms, entry).
        queued: numbers of entries that were never transmitted, oldest first (SEND-20); restored ones are not counted.
        told: numbers of entries whose sender was told "undecided", oldest first; bounded.
        keeping: what the message store has to be told.
        gates: see `clawproto.gates`.
    """

    entries: IntMap[Entry] = IntMap()
    by_trace: StrMap[int] = StrMap()
    by_message: StrMap[int] = StrMap()
    due: IntMap[tuple[int, int]] = IntMap()
    queued: IntMap[None] = IntMap()
    told: IntMap[None] = IntMap()
    gates: Gates = Gates()
    keeping: Keeping = Keeping()
    next_number: int = 1
    next_due: int = 1


def remove(outbox: OutboxState, number: int) -> OutboxState:
    """The outbox without this entry, and without anything that points to it."""
    entry = outbox.entries.get(number)
    if entry is None:
        return outbox
    return evolve(
        outbox,
        entries=outbox.entries.remove(number),
        by_trace=outbox.by_trace.remove(entry.trace_id),
        by_message=outbox.by_message if entry.event == EVENT_REACTION else outbox.by_message.remove(entry.message_id),
        due=outbox.due.remove(entry.due) if entry.due else outbox.due,
        queued=outbox.queued.remove(number),
        told=outbox.told.remove(number),
    )
