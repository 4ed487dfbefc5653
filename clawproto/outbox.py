"""The outbox machine: a message is minted once, transmitted until it is answered, and its sender told exactly once.

Rules: SEND-1 to SEND-22, ERR-1 to ERR-11, ROUTE-7, LIM-3, CLOSE-1009, CLOSE-13, OUT-11.

    Send --> queued ---- online ----> sent ---- ack, own echo ------> accepted
               |  ^                    | |---- message.error -------> rejected
      dropped, |  '---- reconnect -----' '---- no answer in time ---> undecided, still reconciled
       gated <-'        (same id)

An entry lives until it is answered; `told` says whether its sender has been told "undecided" already.
"""

from collections.abc import Iterator

from clawproto import gates
from clawproto.app_events import AckAnomaly, RefusalReceived, SendSettled
from clawproto.effects import SendFrame
from clawproto.events import React, Send
from clawproto.evolving import evolve
from clawproto.gates import blocking, close_way, is_valid_chat
from clawproto.outbox_state import Entry, OutboxState
from clawproto.results import (
    LoggedOutResult,
    Receipt,
    SendDropped,
    SendGated,
    SendRejected,
    SendResult,
    SendUndecided,
    StoppedResult,
)
from clawproto.timing import earliest
from clawproto.turn import Turn
from clawproto.wire.codec import encode_envelope, encode_message_payload
from clawproto.wire.json_text import write
from clawproto.wire.signals import encode_reaction, reaction_slot
from clawproto.wire.values import Ack, Refusal

EVENT_SEND = "message.send"
EVENT_REPLY = "message.reply"
EVENT_REACTION = "message.reaction"


# --- sending -------------------------------------------------------------------------------------------------------


def send(outbox: OutboxState, command: Send, online: int | None, turn: Turn) -> OutboxState:
    """Take a message up: transmit it now if ``online`` names a ready socket, else queue it (HS-9, SEND-20)."""
    message_id = command.message_id or f"msg-{turn.mint()}"
    problem = _problem(outbox, command, message_id, turn)
    if problem is not None:
        turn.resolve(command.command, problem)
        return outbox
    try:
        payload = encode_message_payload(message_id, command.mode, command.fragments, command.mentions, command.reply)
        to = None if command.to is None else write(command.to)
    except ValueError as error:
        turn.resolve(command.command, SendRejected(command.chat_id, message_id, "unencodable", str(error)))
        return outbox
    size = len(f"{payload}{to or ''}{command.chat_id}".encode("utf-8", "surrogatepass"))
    if size > turn.policy.frame_limit:
        text = f"{size} bytes, the limit is {turn.policy.frame_limit}"
        turn.resolve(command.command, SendRejected(command.chat_id, message_id, "frame_too_large", text))
        return outbox
    earlier = _earlier(outbox, message_id)
    trace_id = f"s-{turn.mint()}" if earlier is None else earlier.trace_id
    if earlier is not None:  # told undecided, and sent again under its id: this takes its place (SEND-14)
        outbox = _remove(outbox, outbox.by_message.get(message_id, 0))
    event = EVENT_SEND if command.reply is None else EVENT_REPLY
    outbox = evolve(outbox, by_message=outbox.by_message.set(message_id, outbox.next_number))
    entry = Entry(command.command, command.chat_id, message_id, event, payload, to, size, trace_id)
    return _enter(outbox, entry, online, turn)


def react(outbox: OutboxState, command: React, user_id: str, online: int | None, turn: Turn) -> OutboxState:
    """Take a reaction up like a message. It has no id of its own (RX-1): answers to it are matched by trace alone, and
    transmitting it again changes nothing, since its slot is what counts (RX-3)."""
    slot_id = reaction_slot(command.target_message_id, user_id)
    problem = _blocked(outbox, command.chat_id, slot_id, turn)
    if problem is not None:
        turn.resolve(command.command, problem)
        return outbox
    try:
        payload = encode_reaction(command.target_message_id, command.emoji)
    except ValueError as error:
        turn.resolve(command.command, SendRejected(command.chat_id, slot_id, "unencodable", str(error)))
        return outbox
    trace_id, size = f"s-{turn.mint()}", len(payload.encode("utf-8", "surrogatepass"))
    entry = Entry(command.command, command.chat_id, slot_id, EVENT_REACTION, payload, None, size, trace_id)
    return _enter(outbox, entry, online, turn)


def _enter(outbox: OutboxState, entry: Entry, online: int | None, turn: Turn) -> OutboxState:
    number = outbox.next_number
    outbox = evolve(
        outbox,
        entries=outbox.entries.set(number, entry),
        by_trace=outbox.by_trace.set(entry.trace_id, number),
        queued=outbox.queued.set(number, None),
        next_number=number + 1,
    )
    return _bound_queue(outbox, turn) if online is None else _transmit(outbox, number, online, turn)


def _blocked(outbox: OutboxState, chat_id: str, message_id: str, turn: Turn) -> SendResult | None:
    if not is_valid_chat(chat_id, turn):
        return SendRejected(chat_id, message_id, "invalid_chat_id", "chat ids begin with cnv_")
    gate = blocking(outbox.gates, chat_id, turn)
    return None if gate is None else SendGated(chat_id, gate.code, max(0, (gate.until or 0) - turn.mono))


def _problem(outbox: OutboxState, command: Send, message_id: str, turn: Turn) -> SendResult | None:
    blocked = _blocked(outbox, command.chat_id, message_id, turn)
    if blocked is not None:
        return blocked
    earlier = _earlier(outbox, message_id)
    if earlier is not None and earlier.command is not None:
        return SendRejected(command.chat_id, message_id, "duplicate_id", "a send with this id is under way")
    return None


def _earlier(outbox: OutboxState, message_id: str) -> Entry | None:
    number = outbox.by_message.get(message_id)
    return None if number is None else outbox.entries.get(number)


def _bound_queue(outbox: OutboxState, turn: Turn) -> OutboxState:
    while len(outbox.queued) > turn.policy.offline_queue and (oldest := outbox.queued.first()) is not None:
        entry = outbox.entries.get(oldest[0])
        outbox = _remove(outbox, oldest[0])
        if entry is not None and entry.command is not None:
            turn.resolve(entry.command, SendDropped(entry.chat_id, entry.message_id))
    return outbox


def _transmit(outbox: OutboxState, number: int, generation: int, turn: Turn) -> OutboxState:
    """Write an entry to the socket; its deadline starts (SEND-13)."""
    entry = outbox.entries.get(number)
    assert entry is not None
    text = encode_envelope(
        entry.event,
        trace_id=entry.trace_id,
        emitted_at=turn.wall,
        payload_text=entry.payload,
        chat_id=entry.chat_id,
        to_text=entry.to,
    )
    turn.do(SendFrame(generation, text, entry.event))
    repeated = entry.generation == generation
    outbox = evolve(outbox, queued=outbox.queued.remove(number))
    return _start_deadline(outbox, number, evolve(entry, generation=generation, repeated=repeated), turn)


def _start_deadline(outbox: OutboxState, number: int, entry: Entry, turn: Turn) -> OutboxState:
    slot = outbox.next_due
    due = outbox.due.remove(entry.due) if entry.due else outbox.due
    return evolve(
        outbox,
        entries=outbox.entries.set(number, evolve(entry, due=slot)),
        due=due.set(slot, (turn.mono + turn.policy.ack_timeout_ms, number)),
        next_due=slot + 1,
    )


def connected(outbox: OutboxState, generation: int, turn: Turn) -> OutboxState:
    """After ``hello-ok``: first what was sent before and not answered, then the queue, in the original order (SEND-17).

    Gates are looked at again (ERR-10): what they stop is refused if it never left, else it waits for its deadline, in
    case the replay decides it. What its sender was told undecided stays, unless retransmission is on (SEND-14).
    """
    policy = turn.policy
    for number, entry in list(outbox.entries.items()):
        gate = blocking(outbox.gates, entry.chat_id, turn)
        again = policy.retransmit_on_reconnect and (entry.command is not None or policy.retransmit_after_timeout)
        if entry.generation == 0 and gate is not None and entry.command is not None:
            turn.resolve(entry.command, SendGated(entry.chat_id, gate.code, max(0, (gate.until or 0) - turn.mono)))
            outbox = _remove(outbox, number)
        elif gate is None and (entry.generation == 0 or again):
            outbox = _transmit(outbox, number, generation, turn)
        elif entry.command is not None and not entry.due:
            outbox = _start_deadline(outbox, number, entry, turn)
    return outbox


def disconnected(outbox: OutboxState, turn: Turn) -> OutboxState:
    """What was sent and not answered is undecided until the next connection (CLOSE-13). Its deadline pauses, unless
    nothing will transmit it again."""
    if not turn.policy.retransmit_on_reconnect:
        return outbox
    for _, (_, number) in list(outbox.due.items()):
        entry = outbox.entries.get(number)
        if entry is not None:
            outbox = evolve(
                outbox,
                due=outbox.due.remove(entry.due),
                entries=outbox.entries.set(number, evolve(entry, due=0)),
            )
    return outbox


def frame_too_large(outbox: OutboxState, generation: int, turn: Turn) -> OutboxState:
    """The hub closed with 1009: the largest unanswered message of that socket is never sent again (CLOSE table)."""
    suspects = [(entry.size, number) for number, entry in outbox.entries.items() if entry.generation == generation]
    if not suspects:
        return outbox
    return _reject(outbox, max(suspects)[1], "message_too_large", "the hub closed the connection with 1009", turn)


# --- answers -------------------------------------------------------------------------------------------------------


def _find(outbox: OutboxState, trace_id: str, message_id: str | None) -> int | None:
    """Match an answer by trace, else by message id (SEND-11, ERR-2)."""
    number = outbox.by_trace.get(trace_id) if trace_id else None
    if number is None and message_id is not None:
        number = outbox.by_message.get(message_id)
    return number


def acknowledged(outbox: OutboxState, trace_id: str, ack: Ack, turn: Turn) -> OutboxState:
    """``message.ack``, in time or late (SEND-8, SEND-11, SEND-12, SEND-15). Strays change nothing."""
    number = _find(outbox, trace_id, ack.message_id)
    return outbox if number is None else _accept(outbox, number, ack.message_id, ack.accepted_at, turn)


def awaited_slot(outbox: OutboxState, trace_id: str) -> str | None:
    """The slot of the reaction that waits for this answer; None if none does."""
    number = outbox.by_trace.get(trace_id) if trace_id else None
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
    return _remove(outbox, number)


def refused(
    outbox: OutboxState,
    trace_id: str,
    chat_id: str | None,
    refusal: Refusal,
    exempt: str | None,
    turn: Turn,
    *,
    expected: bool = False,
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
    return _remove(outbox, number)


def _remove(outbox: OutboxState, number: int) -> OutboxState:
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


# --- deadlines and ends --------------------------------------------------------------------------------------------


def advance(outbox: OutboxState, online: int | None, turn: Turn) -> OutboxState:
    """Tell senders whose deadline has passed (SEND-13, SEND-14), in order; let gates fall (ERR-14)."""
    opened = gates.advance(outbox.gates, turn)
    if opened is not outbox.gates:
        outbox = evolve(outbox, gates=opened)
    while (first := outbox.due.first()) is not None and turn.mono >= first[1][0]:
        outbox = _timed_out(outbox, first[1][1], online, turn)
    return outbox


def _timed_out(outbox: OutboxState, number: int, online: int | None, turn: Turn) -> OutboxState:
    entry = outbox.entries.get(number)
    assert entry is not None
    if turn.policy.retransmit_after_timeout and online is not None and not entry.repeated:
        if blocking(outbox.gates, entry.chat_id, turn) is None:
            return _transmit(outbox, number, online, turn)
    if entry.command is not None:
        turn.resolve(entry.command, SendUndecided(entry.chat_id, entry.message_id))
    told = evolve(entry, command=None, due=0)
    outbox = evolve(
        outbox,
        entries=outbox.entries.set(number, told),
        due=outbox.due.remove(entry.due),
        told=outbox.told.set(number, None),
    )
    while len(outbox.told) > turn.policy.undecided_kept and (oldest := outbox.told.first()) is not None:
        outbox = _remove(outbox, oldest[0])
    return outbox


def _waiting(outbox: OutboxState) -> Iterator[tuple[int, Entry]]:
    for entry in outbox.entries.values():
        if entry.command is not None:
            yield entry.command, entry


def logged_out(outbox: OutboxState, turn: Turn) -> OutboxState:
    """Nothing will be sent any more: fail everything that waits, with the logout as the cause (OUT-11)."""
    for command, _ in _waiting(outbox):
        turn.resolve(command, LoggedOutResult())
    return OutboxState(next_number=outbox.next_number, next_due=outbox.next_due)


def stopped(outbox: OutboxState, turn: Turn) -> OutboxState:
    """The session ends: what was transmitted is undecided, the rest never left."""
    for command, entry in _waiting(outbox):
        turn.resolve(command, StoppedResult(entry.message_id, entry.generation > 0))
    return OutboxState(next_number=outbox.next_number, next_due=outbox.next_due)


def deadline(outbox: OutboxState) -> int | None:
    """Monotonic ms at which `advance` has something to do."""
    first = outbox.due.first()
    return earliest(None if first is None else first[1][0], gates.deadline(outbox.gates))
