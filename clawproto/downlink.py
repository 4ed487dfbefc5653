"""Downlinks: every frame goes to the machine that it concerns, and is settled whatever becomes of it.

Rules: ENV-6, ENV-12, ENV-13, EVT-2, EVT-4, EVT-6, HS-11, HS-15 to HS-17, HS-21, ERR-2, ERR-12, ERR-13, R2-6 to R2-8,
R2-11, R2-19, R2-31, R2-33, SEND-16, TOK-20, HB-5.
"""

from typing import assert_never

from clawproto import connection, gates, inbox, link, outbox, tokens
from clawproto.app_events import UnknownEvent
from clawproto.events import FrameReceived
from clawproto.evolving import evolve
from clawproto.inbox_state import InboxState
from clawproto.link_state import Closing, Greeting, LinkState, Online, Waiting, generation
from clawproto.outbox import OutboxState
from clawproto.state import State
from clawproto.turn import Turn
from clawproto.wire.codec import decode
from clawproto.wire.values import (
    Ack,
    BadFrame,
    Challenge,
    Frame,
    HelloFail,
    HelloOk,
    MalformedPayload,
    MessagePayload,
    NotifySignal,
    OpaquePayload,
    Pong,
    Refusal,
    ReplayDone,
    SyncMark,
    Typing,
)

_POISON = Pong()  # a payload that asks for nothing


def receive(state: State, event: FrameReceived, turn: Turn) -> State:
    """One WebSocket message. Nothing in it can raise; frames of an earlier socket are ignored."""
    if event.generation != generation(state.link):
        return state
    frame = decode(event.data, turn.policy.downlink_limit)
    heard = link.heard(state.link, turn)
    phase = heard.phase
    if isinstance(frame, BadFrame):
        heard = link.rejected_frame(heard, None, frame.problem, frame.excerpt, turn)
        if frame.dseq is None or not isinstance(phase, Online):
            return evolve(state, link=heard)
        frame = Frame("", _POISON, dseq=frame.dseq)  # it counts in the stream all the same (R2-8, R2-11)
    if isinstance(phase, Online) or (isinstance(phase, Closing) and phase.online):
        return _established(state, heard, frame, turn)
    if isinstance(phase, Waiting | Greeting):
        return _handshake(state, phase, frame, turn)
    return state


# --- before hello-ok -----------------------------------------------------------------------------------------------


def _handshake(state: State, phase: Waiting | Greeting, frame: Frame, turn: Turn) -> State:
    payload = frame.payload
    match payload:
        case Challenge() if isinstance(phase, Waiting):
            if frame.emitted_at is not None:
                state = evolve(state, tokens=tokens.observe_server_time(state.tokens, frame.emitted_at, turn))
            return evolve(state, link=link.challenged(state.link, phase, frame, payload, state.tokens, turn))
        case HelloOk() if isinstance(phase, Greeting):
            return connection.connected(state, phase, payload, turn)
        case HelloFail():
            return _refused(state, phase, payload, turn)
        case MalformedPayload(problem=problem):
            rejected = link.rejected_frame(state.link, frame.event, problem, "", turn)
            return evolve(state, link=rejected)
        case _:
            return state  # a second challenge, or something that must not come yet (HS-21)


def _refused(state: State, phase: Waiting | Greeting, hello: HelloFail, turn: Turn) -> State:
    changed, rejected, refresh = link.refused(state.link, phase, hello, state.tokens, turn)
    state = evolve(state, link=changed)
    if rejected is not None:
        return evolve(state, tokens=tokens.token_rejected(state.tokens, rejected, turn))
    if refresh:
        return evolve(state, tokens=tokens.request(state.tokens, "handshake", None, turn))
    return state


# --- after hello-ok ------------------------------------------------------------------------------------------------


def _established(state: State, heard: LinkState, frame: Frame, turn: Turn) -> State:
    """``heard`` is the link that has noted the sign of life. The state is put together once, at the end."""
    if inbox.is_violation(state.inbox, frame):  # before anything is done with the content (R2-6)
        return _miscounted(evolve(state, link=heard), frame, turn)
    counted, number = inbox.stamp(state.inbox, frame, turn)
    sending, payload = state.outbox, frame.payload
    if frame.chat_id is not None and not isinstance(payload, Refusal):
        sending = _with_gates(sending, gates.sign_of_life(sending.gates, frame.chat_id, turn))
    match payload:
        case MessagePayload():
            user_id = _user_id(state)
            if user_id and frame.sender is not None and frame.sender.id == user_id:
                sending = outbox.seen(sending, payload.message_id, turn)  # SEND-16
            counted = inbox.receive(counted, frame, payload, number, user_id, heard.device_id, turn)
        case Ack():
            sending = outbox.acknowledged(sending, frame.trace_id, payload, turn)
            counted = inbox.settle_number(counted, number, turn)
        case Refusal():
            exempt = _owner_chat(state)
            sending = outbox.refused(sending, frame.trace_id, frame.chat_id, payload, exempt, turn)
            counted = inbox.settle_number(counted, number, turn)
        case ReplayDone():
            counted = inbox.replay_done(counted, number, turn)
        case NotifySignal(type=kind, entity_id=entity_id):
            sending = _with_gates(sending, gates.notified(sending.gates, kind, entity_id, turn))
            counted = _pass_on(counted, frame, number, turn)
        case Typing() | OpaquePayload():
            counted = _pass_on(counted, frame, number, turn)
        case MalformedPayload(problem=problem):
            heard = link.rejected_frame(heard, frame.event, problem, "", turn)
            counted = inbox.settle_number(counted, number, turn)  # R2-11
        case Pong() | SyncMark() | Challenge() | HelloOk() | HelloFail():
            counted = inbox.settle_number(counted, number, turn)
        case _:
            assert_never(payload)
    return evolve(state, link=heard, inbox=counted, outbox=sending)


def _miscounted(state: State, frame: Frame, turn: Turn) -> State:
    """The unbroken count of v2 is broken: the frame is counted and left alone, and the replay fills the hole (R2-7)."""
    if not isinstance(state.link.phase, Online):
        return state  # closing already
    problem = "no integer as dseq" if frame.dseq is None else f"dseq {frame.dseq} is out of turn"
    state = evolve(state, link=link.rejected_frame(state.link, frame.event, problem, "", turn))
    return connection.give_up(state, "the dseq count was broken", turn)


def _owner_chat(state: State) -> str | None:
    """The direct conversation with the owner is never gated (ERR-15)."""
    credentials = state.tokens.credentials
    return None if credentials is None else credentials.identity.conversation_id


def _user_id(state: State) -> str:
    """Our own; blank if unknown (AUTH-10)."""
    credentials = state.tokens.credentials
    return "" if credentials is None else credentials.identity.user_id


def _with_gates(sending: OutboxState, changed: gates.Gates) -> OutboxState:
    return sending if changed is sending.gates else evolve(sending, gates=changed)


def _pass_on(counted: InboxState, frame: Frame, number: int, turn: Turn) -> InboxState:
    """An event without a typed form goes to the application as it is (EVT-2, R2-8)."""
    held, delivery = inbox.hold(counted, number)
    turn.emit(UnknownEvent(frame, frame.payload), delivery)
    return held
