"""Downlinks that are neither messages nor control frames: from frame to what the application is told.

Rules: DEL-7, RX-3, RECALL-1, RECALL-2, READ-4, READ-5, STREAM-1, PRES-8, META-1 to META-4, NOTIFY-1 to NOTIFY-9,
PERM-3, PERM-12, HIST-7, HIST-8, HIST-12, R2-8, RPL-5.

Whatever becomes of a frame, its place in the stream is settled: at once if nothing is told, else when the application
is done with the event.
"""

import hashlib
from typing import TypeAlias

from clawproto import inbox, signals, streams
from clawproto.app_events import (
    AppEvent,
    HistoryReceived,
    HistoryTruncated as HistoryTruncatedEvent,
    MessageDelivered,
    MessageRecalled,
    MetadataInvalidated as MetadataInvalidatedEvent,
    ReactionChanged,
    SignalReceived,
    UnknownEvent,
)
from clawproto.credentials import Identity
from clawproto.evolving import evolve
from clawproto.refetching import metadata_paths, signal_paths, version_key
from clawproto.state import State
from clawproto.turn import Turn
from clawproto.wire.signals import reaction_slot
from clawproto.wire.values import (
    Delivered,
    Frame,
    HistoryTransit,
    HistoryTruncated,
    MetadataInvalidated,
    NotifySignal,
    OpaquePayload,
    PermissionRequest,
    PermissionResolved,
    Presence,
    Reaction,
    ReadMark,
    Recall,
    StreamAdd,
    StreamCreate,
    StreamDone,
    StreamFail,
    Typing,
)

Arrival: TypeAlias = (
    StreamCreate
    | StreamAdd
    | StreamDone
    | StreamFail
    | Delivered
    | Reaction
    | ReadMark
    | Recall
    | Typing
    | Presence
    | MetadataInvalidated
    | NotifySignal
    | PermissionRequest
    | PermissionResolved
    | HistoryTransit
    | HistoryTruncated
    | OpaquePayload
)


def receive(state: State, frame: Frame, payload: Arrival, number: int, turn: Turn) -> State:
    """One such frame, number ``number`` of its stream (0 if it bears no stamp)."""
    match payload:
        case StreamCreate() | StreamAdd() | StreamDone() | StreamFail():
            own = _is_own(state, frame)
            if not (own and frame.origin_device_id == state.link.device_id):
                state = evolve(state, streams=streams.receive(state.streams, frame, payload, own=own, turn=turn))
        case Reaction() | Recall() | NotifySignal():
            return _receive_slot(state, frame, payload, number, turn)
        case Typing():
            return _typing(state, frame, payload, number, turn)
        case ReadMark(last_read_emitted_at=mark):
            if not frame.chat_id or not (frame.sender is None or _is_own(state, frame)):
                return _tell(state, None, number, turn)  # a mark of nothing, or somebody else's (READ-2)
            changed, event = signals.mark_received(state.signals, frame.chat_id, mark, turn)
            return _tell(evolve(state, signals=changed), event, number, turn)
        case PermissionRequest():
            changed, card = signals.requested(state.signals, frame.chat_id or "", payload, turn)
            return _tell(evolve(state, signals=changed), card, number, turn)
        case PermissionResolved():
            changed, resolution = signals.resolved(state.signals, frame.chat_id or "", payload)
            return _tell(evolve(state, signals=changed), resolution, number, turn)
        case _:
            return _tell(state, _plain(state, frame, payload), number, turn)
    return _tell(state, None, number, turn)


def _tell(state: State, event: AppEvent | None, number: int, turn: Turn) -> State:
    """Hand an event over; the frame is settled with it, or at once if there is none (R2-8, R2-11)."""
    if event is None:
        settled = inbox.settle_number(state.inbox, number, turn)
        return state if settled is state.inbox else evolve(state, inbox=settled)
    held, delivery = inbox.hold(state.inbox, number)
    turn.emit(event, delivery)
    return state if held is state.inbox else evolve(state, inbox=held)


def _identity(state: State) -> Identity | None:
    credentials = state.tokens.credentials
    return None if credentials is None else credentials.identity


def _is_own(state: State, frame: Frame) -> bool:
    identity = _identity(state)
    return identity is not None and bool(identity.user_id) and _sender(frame) == identity.user_id


def _sender(frame: Frame) -> str:
    return "" if frame.sender is None else frame.sender.id


# --- slots ---------------------------------------------------------------------------------------------------------


def _receive_slot(
    state: State, frame: Frame, payload: Reaction | Recall | NotifySignal, number: int, turn: Turn
) -> State:
    match payload:
        case Reaction():
            return _reaction(state, frame, payload, number, turn)
        case Recall(target_message_id=target):
            event = MessageRecalled(frame.chat_id or "", target)
            counted = inbox.receive_once(state.inbox, "recalled", target, 0, event, number, turn)
            return evolve(state, inbox=counted, streams=streams.recalled(state.streams, target, turn))
        case NotifySignal():
            return _signal(state, payload, number, turn)


def _reaction(state: State, frame: Frame, reaction: Reaction, number: int, turn: Turn) -> State:
    reactor = reaction.reactor_user_id or _sender(frame)
    identity = _identity(state)
    own = identity is not None and bool(identity.user_id) and reactor == identity.user_id
    if own and frame.origin_device_id is not None and frame.origin_device_id == state.link.device_id:
        return _tell(state, None, number, turn)
    emoji = reaction.emoji
    said = hashlib.blake2b(f"{emoji is None}{emoji}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    event = ReactionChanged(frame.chat_id or "", reaction.target_message_id, reactor, emoji, own)
    key = reaction_slot(reaction.target_message_id, reactor)
    fingerprint = int.from_bytes(said, "big")
    return evolve(state, inbox=inbox.receive_once(state.inbox, "slots", key, fingerprint, event, number, turn))


def _signal(state: State, signal: NotifySignal, number: int, turn: Turn) -> State:
    kind, entity_id, event_id = signal.type, signal.entity_id or "", signal.event_id
    if not kind or not event_id:
        return _tell(state, None, number, turn)  # NOTIFY-8
    if signals.is_applied(state.signals, "entity", version_key(kind, entity_id), signal.version):
        return _tell(state, None, number, turn)
    event = SignalReceived(kind, entity_id, signal.version, event_id, signal_paths(kind, entity_id))
    return evolve(state, inbox=inbox.receive_once(state.inbox, "signals", event_id, 0, event, number, turn))


# --- the rest ------------------------------------------------------------------------------------------------------


def _typing(state: State, frame: Frame, typing: Typing, number: int, turn: Turn) -> State:
    user_id, chat_id = _sender(frame), frame.chat_id
    if not user_id or not chat_id or _is_own(state, frame):
        return _tell(state, None, number, turn)  # nobody, nowhere, or ourselves
    changed, event = signals.typing_received(state.signals, chat_id, user_id, is_typing=typing.is_typing, turn=turn)
    return _tell(evolve(state, signals=changed), event, number, turn)


def _plain(
    state: State,
    frame: Frame,
    payload: Delivered | Presence | MetadataInvalidated | HistoryTransit | HistoryTruncated | OpaquePayload,
) -> AppEvent | None:
    """Events that leave no trace in the state."""
    match payload:
        case Delivered(message_id=message_id, delivered_at=delivered_at):
            return MessageDelivered(message_id, frame.chat_id, _sender(frame) or None, delivered_at)
        case Presence():
            return signals.presence_received(payload, snapshot=frame.event == "presence.snapshot")
        case MetadataInvalidated(scope=scope, version=version):
            if not frame.chat_id or signals.is_applied(state.signals, "chat", frame.chat_id, version):
                return None
            identity = _identity(state)
            agent_id = None if identity is None else identity.agent_id
            paths, everything = metadata_paths(frame.chat_id, frame.chat_type, scope, agent_id)
            return MetadataInvalidatedEvent(frame.chat_id, frame.chat_type, scope, everything, version, paths)
        case HistoryTransit(kind=kind, data=data):
            return HistoryReceived(kind, data, frame.sender, frame.ciphertext_fragments)
        case HistoryTruncated(oldest_seq=oldest_seq):
            return HistoryTruncatedEvent(oldest_seq)
        case OpaquePayload():
            return UnknownEvent(frame, payload)
