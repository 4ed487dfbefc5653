"""What the hub says about our sends, and what becomes of them.

Rules: SEND-8 to SEND-16, ERR-2, ERR-3, ERR-5, ERR-9, ERR-15, CLOSE-1009. The picture is in `clawproto.outbox`.
"""

from clawproto.app_events import AckAnomaly, RefusalReceived, SendSettled
from clawproto.evolving import evolve
from clawproto.gates import close_way
from clawproto.keeping import SendDecision
from clawproto.outbox_keeping import end
from clawproto.outbox_state import EVENT_REACTION, OutboxState
from clawproto.results import Receipt, SendRejected
from clawproto.turn import Turn
from clawproto.wire.values import Ack, Refusal


def _find(outbox: OutboxState, trace_id: str, message_id: str | None) -> int | None:
    """Match an answer by trace, else by message id (SEND-11, ERR-2)."""
    number = outbox.by_trace.get(trace_id)
    if number is None and message_id is not None:
        number = outbox.by_message.get(message_id)
    return number


def acknowledged(outbox: OutboxState, trace_id: str, ack: Ack, turn: Turn) -> OutboxState:
    """``message.ack``, in time or late (SEND-8, SEND-11, SEND-12, SEND-15). Strays change nothing."""
    number = _find(outbox, trace_id, ack.message_id)
    return outbox if number is None else _accept(outbox, number, ack.message_id, ack.accepted_at, turn)


def awaited_slot(outbox: OutboxState, trace_id: str) -> str | None:
    """The slot of the reaction that waits for this answer; None if none does."""
    number = outbox.by_trace.get(trace_id)
    entry = None if number is None else outbox.entries.get(number)
    return entry.message_id if entry is not None and entry.event == EVENT_REACTION else None


def seen(outbox: OutboxState, message_id: str, turn: Turn) -> OutboxState:
    """An own message showed up in echo or replay: the hub has it (SEND-16)."""
    number = outbox.by_message.get(message_id)
    return outbox if number is None else _accept(outbox, number, message_id, None, turn)


def _accept(
    outbox: OutboxState, number: int, message_id: str | None, accepted_at: int | None, turn: Turn
) -> OutboxState:
    entry = outbox.entries.get(number)
    assert entry is not None
    final = message_id or entry.message_id
    if final != entry.message_id and entry.event != EVENT_REACTION:
        turn.emit(AckAnomaly(entry.message_id, final))
    if entry.command is not None:
        turn.resolve(entry.command, Receipt(entry.chat_id, final, accepted_at, entry.message_id))
    else:
        turn.emit(SendSettled(entry.chat_id, final, accepted=True))
    return end(outbox, number, SendDecision(entry.trace_id, "accepted", final, accepted_at_ms=accepted_at), turn)


def refused(
    outbox: OutboxState,
    trace_id: str,
    chat_id: str | None,
    refusal: Refusal,
    exempt: str | None,
    turn: Turn,
    *,
    expected: bool,
) -> OutboxState:
    """``message.error``: terminal for that message, whatever the code (ERR-2, ERR-3, ERR-5); it may gate the chat
    (ERR-9). ``exempt`` is the direct conversation with the owner (ERR-15), ``expected`` tells that it belongs to
    something else that we sent."""
    number = _find(outbox, trace_id, refusal.message_id)
    if number is None:
        if not expected:
            turn.emit(RefusalReceived(chat_id, refusal.message_id, refusal.code, refusal.reason))
    else:
        entry = outbox.entries.get(number)
        chat_id = chat_id or (entry.chat_id if entry is not None else None)
        outbox = _reject(outbox, number, refusal.code, refusal.reason, turn)
    return evolve(outbox, gates=close_way(outbox.gates, chat_id, refusal.code, exempt, turn))


def _reject(outbox: OutboxState, number: int, code: str, reason: str | None, turn: Turn) -> OutboxState:
    entry = outbox.entries.get(number)
    assert entry is not None
    if entry.command is not None:
        turn.resolve(entry.command, SendRejected(entry.chat_id, entry.message_id, code, reason))
    else:
        turn.emit(SendSettled(entry.chat_id, entry.message_id, accepted=False, code=code))
    return end(outbox, number, SendDecision(entry.trace_id, "rejected", entry.message_id, code), turn)


def frame_too_large(outbox: OutboxState, generation: int, turn: Turn) -> OutboxState:
    """The hub closed with 1009: the largest unanswered message of that socket is never sent again (CLOSE table)."""
    suspects = [(entry.size, number) for number, entry in outbox.entries.items() if entry.generation == generation]
    if not suspects:
        return outbox
    return _reject(outbox, max(suspects)[1], "message_too_large", "the hub closed the connection with 1009", turn)
