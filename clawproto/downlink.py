"""Downlinks: every frame goes to the machine that it concerns, and is settled whatever becomes of it.

Rules: ENV-6, ENV-12, ENV-13, EVT-2, EVT-4, EVT-6, HS-11, HS-15 to HS-17, HS-21, ERR-2, ERR-12, ERR-13, R2-6 to R2-8,
R2-11, R2-19, R2-31, R2-33, SEND-16, TOK-20, HB-5.
"""

from typing import assert_never

from clawproto import connection, gates, inbox, link, outbox, tokens
from clawproto.app_events import UnknownEvent
from clawproto.events import FrameReceived
from clawproto.evolving import evolve
from clawproto.link_state import Closing, Greeting, Online, Waiting, generation
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
    if heard is not state.link:
        state = evolve(state, link=heard)
    phase = state.link.phase
    if isinstance(frame, BadFrame):
        state = evolve(state, link=link.rejected_frame(state.link, None, frame.problem, frame.excerpt, turn))
        if frame.dseq is None or not isinstance(phase, Online):
            return state
        frame = Frame("", _POISON, dseq=frame.dseq)  # it counts in the stream all the same (R2-8, R2-11)
    if isinstance(phase, Online) or (isinstance(phase, Closing) and phase.online):
        return _established(state, frame, turn)
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


def _established(state: State, frame: Frame, turn: Turn) -> State:
    if inbox.is_violation(state.inbox, frame):  # before anything is done with the content (R2-6)
        return _miscounted(state, frame, turn)
    counted, number = inbox.stamp(state.inbox, frame, turn)
    if counted is not state.inbox:
        state = evolve(state, inbox=counted)
    if frame.chat_id is not None and not isinstance(frame.payload, Refusal):
        alive = gates.sign_of_life(state.outbox.gates, frame.chat_id, turn)
        if alive is not state.outbox.gates:
            state = evolve(state, outbox=evolve(state.outbox, gates=alive))
    payload = frame.payload
    match payload:
        case MessagePayload():
            return _message(state, frame, payload, number, turn)
        case Ack():
            return _settled(
                _with_outbox(state, outbox.acknowledged(state.outbox, frame.trace_id, payload, turn)), number, turn
            )
        case Refusal():
            exempt = _owner_chat(state)
            refused = outbox.refused(state.outbox, frame.trace_id, frame.chat_id, payload, exempt, turn)
            return _settled(_with_outbox(state, refused), number, turn)
        case ReplayDone():
            return evolve(state, inbox=inbox.replay_done(state.inbox, number, turn))
        case NotifySignal(type=kind, entity_id=entity_id):
            known = gates.notified(state.outbox.gates, kind, entity_id, turn)
            return _pass_on(_with_outbox(state, evolve(state.outbox, gates=known)), frame, number, turn)
        case Typing() | OpaquePayload():
            return _pass_on(state, frame, number, turn)
        case MalformedPayload(problem=problem):
            state = evolve(state, link=link.rejected_frame(state.link, frame.event, problem, "", turn))
            return _settled(state, number, turn)  # R2-11
        case Pong() | SyncMark() | Challenge() | HelloOk() | HelloFail():
            return _settled(state, number, turn)
        case _:
            assert_never(payload)


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


def _with_outbox(state: State, changed: outbox.OutboxState) -> State:
    return state if changed is state.outbox else evolve(state, outbox=changed)


def _settled(state: State, number: int, turn: Turn) -> State:
    settled = inbox.settle_number(state.inbox, number, turn)
    return state if settled is state.inbox else evolve(state, inbox=settled)


def _pass_on(state: State, frame: Frame, number: int, turn: Turn) -> State:
    """An event without a typed form goes to the application as it is (EVT-2, R2-8)."""
    held, delivery = inbox.hold(state.inbox, number, turn)
    turn.emit(UnknownEvent(frame, frame.payload), delivery)
    return state if held is state.inbox else evolve(state, inbox=held)


def _message(state: State, frame: Frame, message: MessagePayload, number: int, turn: Turn) -> State:
    credentials = state.tokens.credentials
    user_id = "" if credentials is None else credentials.identity.user_id
    if user_id and frame.sender is not None and frame.sender.id == user_id:
        state = _with_outbox(state, outbox.seen(state.outbox, message.message_id, turn))  # SEND-16
    received = inbox.receive(state.inbox, frame, message, number, user_id, state.link.device_id, turn)
    return evolve(state, inbox=received)
