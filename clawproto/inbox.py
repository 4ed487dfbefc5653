"""The inbox machine: every stamped frame is handed over and acknowledged, in the order of settling.

Rules: SEND-19, SEND-21, SEND-22, ROUTE-6, ROUTE-9, AUTH-10, RPL-5, RPL-7, R1-1 to R1-8, R2-2 to R2-35, STREAM-14,
DEL-1 to DEL-4, RX-3, RECALL-1, NOTIFY-2.

    frame --> density check --> known and unchanged? --yes--> settled at once
                 | gap               | no
                 v                   v
             reconnect        handed over under a delivery number --Settle--> settled
                                                                               |
    ack <-- debounced 200 ms, every 30 s, at replay.done, before closing <-- mark moves over settled 1…n
"""

from typing import Literal, TypeAlias

from clawproto.app_events import AppEvent, MessageReceived, ReplayFinished
from clawproto.effects import SendFrame
from clawproto.evolving import evolve
from clawproto.fingerprint import fingerprint
from clawproto.gates import is_valid_chat
from clawproto.inbox_state import InboxState, Known, Place, Stream, delivery_mode
from clawproto.persistent import IntMap
from clawproto.recent import Recent
from clawproto.timing import earliest
from clawproto.turn import Turn
from clawproto.wire.codec import encode_cursor_ack, encode_envelope, encode_sync_ack
from clawproto.wire.json_text import write
from clawproto.wire.signals import encode_delivered
from clawproto.wire.values import (
    Frame,
    HelloOk,
    MessagePayload,
)

SYSTEM_SENDER = "system"  # ROUTE-9
ORDINARY_MODES = ("", "normal")  # SEND-21
Table: TypeAlias = Literal["slots", "signals", "recalled"]


def connected(inbox: InboxState, generation: int, hello: HelloOk, turn: Turn) -> InboxState | None:
    """A new connection: everything counts from the beginning (R2-3).

    Returns:
        The inbox, or None if v2 was granted without an epoch, so that no ack could count (R2-35).
    """
    mode = delivery_mode(hello, turn.config.capabilities)
    if mode == "v2" and not hello.ack_epoch:
        return None
    repeat_due = None if mode == "legacy" else turn.mono + turn.policy.ack_repeat_ms
    return evolve(
        inbox,
        stream=Stream(generation, mode, hello.ack_epoch),
        repeat_due=repeat_due,
        replay_until=turn.mono + turn.policy.replay_idle_ms,
    )


def disconnected(inbox: InboxState) -> InboxState:
    """No more acks on this connection; what is unsettled will be replayed (R2-28)."""
    return evolve(inbox, ack_due=None, repeat_due=None, replay_until=None)


# --- stamped frames ------------------------------------------------------------------------------------------------


def is_violation(inbox: InboxState, frame: Frame) -> bool:
    """Whether a frame breaks the unbroken count of v2: gap, repeat, step back, no integer (R2-6, R2-7, R2-31).

    Without a grant the field means nothing (R2-30).
    """
    stream = inbox.stream
    if stream is None or stream.delivery != "v2":
        return False
    return frame.dseq_malformed or (frame.dseq is not None and frame.dseq != stream.last + 1)


def stamp(inbox: InboxState, frame: Frame, turn: Turn) -> tuple[InboxState, int]:
    """Count a frame that bears a stamp (R2-8, R1-1).

    Returns:
        The inbox and the frame's number in the stream, 0 if it bears no stamp.
    """
    stream = inbox.stream
    assert stream is not None
    number, idle = 0, inbox.replay_until
    if idle is not None:
        idle = turn.mono + turn.policy.replay_idle_ms
    if stream.delivery == "v2" and frame.dseq is not None:
        number = frame.dseq
        stream = evolve(stream, last=number)
    elif stream.delivery == "v1" and frame.seq is not None and frame.seq > 0:
        number = stream.last + 1
        stream = evolve(stream, last=number, seqs=stream.seqs.set(number, frame.seq))
    return evolve(inbox, stream=stream, replay_until=idle), number


def settle_number(inbox: InboxState, number: int, turn: Turn) -> InboxState:
    """A frame of the current connection is done with (R2-11)."""
    return _settled(inbox, number, inbox.places, turn)


def settle(inbox: InboxState, delivery: int, turn: Turn) -> InboxState:
    """The application is done with a delivered event. Unknown and repeated numbers change nothing."""
    place, stream = inbox.places.get(delivery), inbox.stream
    if place is None:
        return inbox
    current = stream is not None and stream.generation == place.generation
    return _settled(inbox, place.number if current else 0, inbox.places.remove(delivery), turn)


def _settled(inbox: InboxState, number: int, places: IntMap[Place], turn: Turn) -> InboxState:
    """The inbox with these places, and with the mark moved if it can be (R2-9)."""
    stream = inbox.stream
    if number == 0 or stream is None or number <= stream.mark:
        return inbox if places is inbox.places else evolve(inbox, places=places)
    seq = stream.seqs.get(number, 0)
    seqs = stream.seqs.remove(number) if seq else stream.seqs
    if number != stream.mark + 1:
        waiting = evolve(stream, ahead=stream.ahead.set(number, seq), seqs=seqs)
        return evolve(inbox, places=places, stream=waiting)
    mark, mark_seq, ahead = number, max(stream.mark_seq, seq), stream.ahead
    while (first := ahead.first()) is not None and first[0] == mark + 1:
        mark, mark_seq, ahead = first[0], max(mark_seq, first[1]), ahead.remove(first[0])
    ack_due = inbox.ack_due
    if ack_due is None and inbox.repeat_due is not None:  # R2-13; without a live socket nothing falls due
        ack_due = turn.mono + turn.policy.ack_debounce_ms
    moved = evolve(stream, mark=mark, mark_seq=mark_seq, ahead=ahead, seqs=seqs)
    return evolve(inbox, places=places, stream=moved, ack_due=ack_due)


def hold(inbox: InboxState, number: int) -> tuple[InboxState, int | None]:
    """Give an event that is no message a delivery number, so that it counts as settled when the application has it."""
    if number == 0 or inbox.stream is None:
        return inbox, None
    delivery = inbox.deliveries + 1
    places = inbox.places.set(delivery, Place(inbox.stream.generation, number))
    return evolve(inbox, deliveries=delivery, places=places), delivery


def set_aside(inbox: InboxState, number: int, turn: Turn) -> tuple[InboxState, int | None]:
    """An unusable frame goes into quarantine (R2-11). In memory it is there at once, so its place is settled; with a
    message store it is settled like everything else, when the store has it."""
    if turn.config.keep_sends:
        return hold(inbox, number)
    return settle_number(inbox, number, turn), None


# --- messages ------------------------------------------------------------------------------------------------------


def receive(
    inbox: InboxState,
    frame: Frame,
    message: MessagePayload,
    number: int,
    user_id: str,
    device_id: str | None,
    turn: Turn,
    *,
    online: int | None,
    streamed: bool,
) -> InboxState:
    """Hand a message to the application, once per content (SEND-19, R2-10, R2-28).

    Args:
        user_id: the own one, blank if unknown (AUTH-10).
        device_id: as resolved by the hub (ROUTE-6).
        online: the socket that takes uplinks, for the receipt; None if none does.
        streamed: its stream was followed to the end.
    """
    sender = frame.sender
    own = bool(user_id) and sender is not None and sender.id == user_id
    if own and frame.origin_device_id is not None and frame.origin_device_id == device_id:
        return settle_number(inbox, number, turn)  # our own echo
    if inbox.recalled.get(message.message_id) is not None:
        return settle_number(inbox, number, turn)  # withdrawn before it arrived (RECALL-1)
    said, final = fingerprint(message), not message.stream_merged
    system = sender is not None and sender.id == SYSTEM_SENDER
    known = inbox.known.get(message.message_id)
    receipted = 0 if known is None else known.receipted
    wanted = turn.config.capabilities.delivery_receipt and bool(user_id) and not own and not system  # DEL-2, ROUTE-9
    if wanted and sender is not None and sender.id and online is not None and online != receipted:
        receipt(online, frame.chat_id or "", sender.id, message.message_id, turn)
        receipted = online
    same = known is not None and known.fingerprint == said and known.final == final
    if known is not None and (same or (known.final and not final)):  # STREAM-14: nothing provisional replaces a final
        if receipted != known.receipted:
            inbox = _remember(inbox, message.message_id, evolve(known, receipted=receipted), turn)
        return _repeated(inbox, known, number, turn)
    delivery, deliveries, places = None, inbox.deliveries, inbox.places
    if inbox.stream is not None and (number or inbox.stream.delivery != "legacy"):
        delivery = deliveries = deliveries + 1
        places = places.set(delivery, Place(inbox.stream.generation, number))
    turn.emit(
        MessageReceived(
            event=frame.event,
            chat_id=frame.chat_id or "",
            chat_type=frame.chat_type,
            sender=sender,
            message=message,
            own=own,
            system=system,
            update=known is not None,
            conversational=bool(user_id)
            and sender is not None
            and not own
            and not system
            and message.message_mode in ORDINARY_MODES,
            emitted_at_ms=frame.emitted_at,
            streamed=streamed,
            ciphertext_fragments=frame.ciphertext_fragments,
        ),
        delivery,
    )
    inbox = evolve(inbox, deliveries=deliveries, places=places)
    return _remember(inbox, message.message_id, Known(said, final, delivery, receipted), turn)


def _remember(inbox: InboxState, message_id: str, known: Known, turn: Turn) -> InboxState:
    return evolve(inbox, known=inbox.known.put(message_id, known, turn.policy.remembered_messages))


def receipt(online: int, chat_id: str, sender_id: str, message_id: str, turn: Turn) -> None:
    """Tell the sender that we have it, once on each connection (DEL-1, DEL-3, DEL-4)."""
    text = encode_envelope(
        "message.delivered",
        trace_id=f"d-{turn.mint()}",
        emitted_at=turn.wall,
        payload_text=encode_delivered(message_id, turn.wall),
        chat_id=chat_id if is_valid_chat(chat_id, turn) else None,
        to_text=write({"id": sender_id, "type": "direct"}),
    )
    turn.do(SendFrame(online, text, "message.delivered"))


def receive_once(
    inbox: InboxState, table: Table, key: str, fingerprint: int, event: AppEvent, number: int, turn: Turn
) -> InboxState:
    """Hand over an event that occupies a slot, unless the slot had this content before (RX-3, NOTIFY-2, RECALL-1).

    Args:
        table: which memory knows the slot.
        fingerprint: of the slot's content.
    """
    memory = {"slots": inbox.slots, "signals": inbox.signals, "recalled": inbox.recalled}[table]
    known = memory.get(key)
    if known is not None and known.fingerprint == fingerprint:
        return _repeated(inbox, known, number, turn)
    held, delivery = hold(inbox, number)
    turn.emit(event, delivery)
    limit = turn.policy.remembered_signals if table == "signals" else turn.policy.remembered_slots
    memory = memory.put(key, Known(fingerprint, True, delivery), limit)
    match table:
        case "slots":
            return evolve(held, slots=memory)
        case "signals":
            return evolve(held, signals=memory)
        case "recalled":
            return evolve(held, recalled=memory)


def is_news(inbox: InboxState, event_id: str | None) -> bool:
    """Whether a signal counts: it has an id, and that was not handed over before (NOTIFY-2, NOTIFY-8)."""
    return event_id is not None and event_id != "" and inbox.signals.get(event_id) is None


def forget_slot(inbox: InboxState, slot_id: str) -> InboxState:
    """We have written into this slot ourselves: whatever comes for it next may be a change (RX-3)."""
    slots = inbox.slots.drop(slot_id)
    return inbox if slots is inbox.slots else evolve(inbox, slots=slots)


def forget_messages(inbox: InboxState) -> InboxState:
    """The hub replays everything once more, and the application wants it (HIST-14).

    A signal still counts once (NOTIFY-2), and what was withdrawn stays withdrawn (RECALL-1).
    """
    return evolve(inbox, known=Recent(), slots=Recent())


def other_user(inbox: InboxState) -> InboxState:
    """Another user is handed everything of theirs, also what the one before had in the same chats."""
    return evolve(inbox, known=Recent(), slots=Recent(), signals=Recent(), recalled=Recent())


def _repeated(inbox: InboxState, known: Known, number: int, turn: Turn) -> InboxState:
    """The same message again. If the application still has it, its place moves to the new connection."""
    stream = inbox.stream
    if known.delivery is None or stream is None or known.delivery not in inbox.places:
        return settle_number(inbox, number, turn)
    before = inbox.places.get(known.delivery)
    if before is not None and before.generation == stream.generation and before.number:
        return settle_number(inbox, number, turn)  # twice on one connection: the first place still stands for it
    place = Place(stream.generation, number)
    return evolve(inbox, places=inbox.places.set(known.delivery, place))


def replay_done(inbox: InboxState, number: int, turn: Turn) -> InboxState:
    """The backlog is through (RPL-4): its frame is settled like any other, and acknowledged at once (R2-14, R2-33)."""
    inbox = settle_number(inbox, number, turn)
    if inbox.replay_until is not None:
        turn.emit(ReplayFinished(announced=True))
    return flush(evolve(inbox, replay_until=None), turn)


# --- acks ----------------------------------------------------------------------------------------------------------


def flush(inbox: InboxState, turn: Turn, *, repeat: bool = False) -> InboxState:
    """Send the mark now if it has moved since the last ack, or in any case if ``repeat`` (R2-12 to R2-16, R1-6)."""
    stream = inbox.stream
    if stream is None or stream.mark == 0 or inbox.repeat_due is None:
        return inbox  # nothing was ever settled, or the connection is lost
    if stream.mark == stream.acked and not repeat:
        return inbox
    turn.do(ack(stream, turn))
    return evolve(
        inbox,
        stream=evolve(stream, acked=stream.mark),
        ack_due=None,
        repeat_due=turn.mono + turn.policy.ack_repeat_ms,
    )


def ack(stream: Stream, turn: Turn) -> SendFrame:
    """The acknowledgement of everything up to the mark (R2-12, R1-1)."""
    trace_id = f"a-{turn.mint()}"
    if stream.delivery == "v2":
        event, epoch = "message.sync_ack", stream.epoch or ""
        text = encode_sync_ack(trace_id=trace_id, emitted_at=turn.wall, dseq=stream.mark, epoch=epoch)
    else:
        event = "message.cursor_ack"
        text = encode_cursor_ack(trace_id=trace_id, emitted_at=turn.wall, seq=stream.mark_seq)
    return SendFrame(stream.generation, text, event)


def advance(inbox: InboxState, turn: Turn) -> InboxState:
    """Send acks that have fallen due; looked at in every step, not by timers alone (R2-17)."""
    if inbox.replay_until is not None and turn.mono >= inbox.replay_until:
        turn.emit(ReplayFinished(announced=False))
        inbox = evolve(inbox, replay_until=None)
    if inbox.repeat_due is not None and turn.mono >= inbox.repeat_due:
        inbox = flush(inbox, turn, repeat=True)
        return evolve(inbox, repeat_due=turn.mono + turn.policy.ack_repeat_ms)
    if inbox.ack_due is not None and turn.mono >= inbox.ack_due:
        return flush(inbox, turn)
    return inbox


def deadline(inbox: InboxState) -> int | None:
    """Monotonic ms at which `advance` has something to do."""
    return earliest(inbox.ack_due, inbox.repeat_due, inbox.replay_until)
