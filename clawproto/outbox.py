"""The outbox machine: a message is minted once, transmitted until it is answered, and its sender told exactly once.

Rules: SEND-1 to SEND-22, ERR-1 to ERR-11, ROUTE-7, LIM-3, CLOSE-1009, CLOSE-13, OUT-11.

    Send --> queued ---- online ----> sent ---- ack, own echo ------> accepted        `clawproto.outbox_answers`
               |  ^                    | |---- message.error -------> rejected
      dropped, |  '---- reconnect -----' '---- no answer in time ---> undecided, still reconciled
       gated <-'        (same id)

An entry lives until it is answered; `told` says whether its sender has been told "undecided" already. With a message
store an entry that is not kept yet is passed over until it is (`clawproto.outbox_keeping`).
"""

from clawproto import gates, outbox_keeping
from clawproto.app_events import SendSettled
from clawproto.effects import SendFrame
from clawproto.errors import Misuse
from clawproto.events import KeepFailed, KeepReport, React, Send, Start
from clawproto.evolving import evolve
from clawproto.gates import Gate, blocking, is_valid_chat
from clawproto.keeping import Outcome, SendDecision
from clawproto.outbox_keeping import end, take_down
from clawproto.outbox_state import EVENT_REACTION, EVENT_REPLY, EVENT_SEND, Entry, OutboxState, remove
from clawproto.persistent import IntMap, StrMap
from clawproto.results import (
    LoggedOutResult,
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
        outbox = remove(outbox, outbox.by_message.get(message_id, 0))
    event = EVENT_SEND if command.reply is None else EVENT_REPLY
    entry = Entry(command.command, command.chat_id, message_id, event, payload, to, size, trace_id)
    return _enter(outbox, entry, outbox.by_message.set(message_id, outbox.next_number), online, turn)


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
    return _enter(outbox, entry, outbox.by_message, online, turn)


def _enter(outbox: OutboxState, entry: Entry, by_message: StrMap[int], online: int | None, turn: Turn) -> OutboxState:
    number, keeps = outbox.next_number, turn.config.keep_sends
    if keeps:
        entry = evolve(entry, kept=False)
        outbox = take_down(outbox, number, entry, turn)
    outbox = evolve(
        outbox,
        entries=outbox.entries.set(number, entry),
        by_trace=outbox.by_trace.set(entry.trace_id, number),
        by_message=by_message,
        queued=outbox.queued.set(number, None),
        next_number=number + 1,
    )
    if online is None:
        return _bound_queue(outbox, turn)
    return outbox if keeps else _transmit(outbox, number, online, turn)


def _blocked(outbox: OutboxState, chat_id: str, message_id: str, turn: Turn) -> SendResult | None:
    if not is_valid_chat(chat_id, turn):
        return SendRejected(chat_id, message_id, "invalid_chat_id", "chat ids begin with cnv_")
    gate = blocking(outbox.gates, chat_id, turn)
    return None if gate is None else _gated(chat_id, gate, turn)


def _gated(chat_id: str, gate: Gate, turn: Turn) -> SendGated:
    return SendGated(chat_id, gate.code, max(0, (gate.until or 0) - turn.mono))


def _stopped_by_gate(outbox: OutboxState, number: int, entry: Entry, gate: Gate, turn: Turn) -> OutboxState:
    """The chat was gated before this could leave (ERR-10, ERR-11)."""
    if entry.command is not None:
        turn.resolve(entry.command, _gated(entry.chat_id, gate, turn))
    return end(outbox, number, SendDecision(entry.trace_id, "dropped", entry.message_id, gate.code), turn)


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
        assert entry is not None
        if entry.command is not None:
            turn.resolve(entry.command, SendDropped(entry.chat_id, entry.message_id))
        outbox = end(outbox, oldest[0], SendDecision(entry.trace_id, "dropped", entry.message_id), turn)
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
    repeated, slot = entry.generation == generation, outbox.next_due
    return evolve(
        outbox,
        entries=outbox.entries.set(number, evolve(entry, generation=generation, repeated=repeated, due=slot)),
        due=_deadlines(outbox, number, entry, turn),
        queued=outbox.queued.remove(number),
        next_due=slot + 1,
    )


def _start_deadline(outbox: OutboxState, number: int, entry: Entry, turn: Turn) -> OutboxState:
    slot = outbox.next_due
    return evolve(
        outbox,
        entries=outbox.entries.set(number, evolve(entry, due=slot)),
        due=_deadlines(outbox, number, entry, turn),
        next_due=slot + 1,
    )


def _deadlines(outbox: OutboxState, number: int, entry: Entry, turn: Turn) -> IntMap[tuple[int, int]]:
    """All of them, with a new one for this entry in the next slot."""
    due = outbox.due.remove(entry.due) if entry.due else outbox.due
    return due.set(outbox.next_due, (turn.mono + turn.policy.ack_timeout_ms, number))


def connected(outbox: OutboxState, generation: int, turn: Turn) -> OutboxState:
    """After ``hello-ok``: first what was sent before and not answered, then the queue, in the original order (SEND-17).

    Gates are looked at again (ERR-10): what they stop is refused if it never left, else it waits for its deadline, in
    case the replay decides it. What its sender was told undecided stays, unless retransmission is on (SEND-14).
    """
    policy = turn.policy
    for number, entry in list(outbox.entries.items()):
        if not entry.kept:
            continue
        gate = blocking(outbox.gates, entry.chat_id, turn)
        again = policy.retransmit_on_reconnect and (number not in outbox.told or policy.retransmit_after_timeout)
        if entry.generation == 0 and gate is not None and entry.command is not None:
            outbox = _stopped_by_gate(outbox, number, entry, gate, turn)
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


# --- the message store ---------------------------------------------------------------------------------------------


def restore(outbox: OutboxState, start: Start, turn: Turn) -> OutboxState:
    """Take up what an earlier session kept and did not decide, under the same ids and numbers (SEND-5, SEND-17).

    Raises:
        Misuse: this session keeps no sends.
    """
    if start.sends and not turn.config.keep_sends:
        raise Misuse("kept sends were given to a session that keeps none")
    for kept in start.sends:
        size = len(f"{kept.payload}{kept.to or ''}{kept.chat_id}".encode("utf-8", "surrogatepass"))
        entry = Entry(
            None, kept.chat_id, kept.message_id, kept.event, kept.payload, kept.to, size, kept.trace_id, restored=True
        )
        by_message = outbox.by_message
        if kept.event != EVENT_REACTION:
            by_message = by_message.set(kept.message_id, kept.number)
        outbox = evolve(
            outbox,
            entries=outbox.entries.set(kept.number, entry),
            by_trace=outbox.by_trace.set(kept.trace_id, kept.number),
            by_message=by_message,
        )
    highest = max(start.last_number, *(kept.number for kept in start.sends), 0)
    return evolve(outbox, next_number=highest + 1)


def keep_report(
    outbox: OutboxState, event: KeepReport, online: int | None, turn: Turn, *, is_stopped: bool
) -> OutboxState:
    """The message store has answered: transmit what it has, in order (SEND-17). Late answers change nothing."""
    if isinstance(event, KeepFailed):
        outbox = outbox_keeping.failed(outbox, event, turn)
        given_up = is_stopped and outbox.keeping.failures >= turn.policy.save_alarm_after
        return _without_store(outbox, turn) if given_up else outbox
    outbox, released = outbox_keeping.kept(outbox, event, turn)
    for number in released:
        entry = outbox.entries.get(number)
        assert entry is not None
        gate = blocking(outbox.gates, entry.chat_id, turn)
        if is_stopped:
            outbox = remove(outbox, number)
            if entry.command is not None:
                turn.resolve(entry.command, StoppedResult(entry.message_id, kept=True))
        elif gate is not None:
            outbox = _stopped_by_gate(outbox, number, entry, gate, turn)
        elif online is not None:
            outbox = _transmit(outbox, number, online, turn)
    return outbox


def _without_store(outbox: OutboxState, turn: Turn) -> OutboxState:
    """Stopped, and the store cannot be written: whoever still waits is told that nothing was kept."""
    for entry in outbox.entries.values():
        if entry.command is not None:
            turn.resolve(entry.command, StoppedResult(entry.message_id))
    return OutboxState()


# --- deadlines and ends --------------------------------------------------------------------------------------------


def advance(outbox: OutboxState, online: int | None, turn: Turn) -> OutboxState:
    """Tell senders whose deadline has passed (SEND-13, SEND-14), in order; let gates fall (ERR-14)."""
    opened = gates.advance(outbox.gates, turn)
    if opened is not outbox.gates:
        outbox = evolve(outbox, gates=opened)
    while (first := outbox.due.first()) is not None and turn.mono >= first[1][0]:
        outbox = _timed_out(outbox, first[1][1], online, turn)
    return outbox_keeping.advance(outbox, turn)


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
        told=outbox.told if entry.restored else outbox.told.set(number, None),  # that one goes out on each connection
    )
    while len(outbox.told) > turn.policy.undecided_kept and (oldest := outbox.told.first()) is not None:
        forgotten = outbox.entries.get(oldest[0])
        assert forgotten is not None
        decision = SendDecision(forgotten.trace_id, "expired", forgotten.message_id)
        outbox = end(outbox, oldest[0], decision, turn)
    return outbox


def logged_out(outbox: OutboxState, turn: Turn) -> OutboxState:
    """Nothing of this user will be sent any more: fail everything that waits, with the logout as the cause (OUT-11). A
    message store is told as well: whoever pairs the agent again must not send what another one has written."""
    for number, entry in list(outbox.entries.items()):
        if entry.command is not None:
            turn.resolve(entry.command, LoggedOutResult())
        elif entry.restored:
            turn.emit(SendSettled(entry.chat_id, entry.message_id, accepted=False, code="logged_out"))
        outcome: Outcome = "expired" if entry.generation or entry.restored else "dropped"
        outbox = end(outbox, number, SendDecision(entry.trace_id, outcome, entry.message_id), turn)
    return OutboxState(keeping=outbox.keeping, next_number=outbox.next_number, next_due=outbox.next_due)


def stopped(outbox: OutboxState, turn: Turn) -> OutboxState:
    """The session ends: what was transmitted is undecided, the rest never left. What is on its way into the message
    store is decided when that has answered."""
    keeping = evolve(outbox.keeping, retry_at=None)  # what has failed is tried again at once
    rest = OutboxState(keeping=keeping, next_number=outbox.next_number, next_due=outbox.next_due)
    for number, entry in outbox.entries.items():
        if not entry.kept:
            rest = evolve(
                rest, entries=rest.entries.set(number, entry), by_trace=rest.by_trace.set(entry.trace_id, number)
            )
        elif entry.command is not None:
            turn.resolve(
                entry.command, StoppedResult(entry.message_id, entry.generation > 0, kept=turn.config.keep_sends)
            )
    return rest


def deadline(outbox: OutboxState) -> int | None:
    """Monotonic ms at which `advance` has something to do."""
    first = outbox.due.first()
    return earliest(
        None if first is None else first[1][0], gates.deadline(outbox.gates), outbox_keeping.deadline(outbox.keeping)
    )
