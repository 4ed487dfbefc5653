"""Downlinks: every frame goes to the machine that it concerns, and is settled whatever becomes of it.

Rules: ENV-6, ENV-12, ENV-13, EVT-2, EVT-4, EVT-6, HS-11, HS-15 to HS-17, HS-21, ERR-2, ERR-12, ERR-13, R2-6 to R2-8,
R2-11, R2-19, R2-31, R2-33, SEND-16, TOK-20, HB-5.
"""

from clawproto import arrivals, connection, drafts, gates, inbox, link, outbox_answers, signals, streams, tokens
from clawproto.drafts import Drafts
from clawproto.events import FrameReceived
from clawproto.evolving import evolve
from clawproto.link_state import Closing, Greeting, LinkState, Online, Waiting, generation
from clawproto.outbox_state import OutboxState
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
    Pong,
    Refusal,
    ReplayDone,
    StreamFail,
    SyncMark,
)


def receive(state: State, event: FrameReceived, turn: Turn) -> State:
    """One WebSocket message. Nothing in it can raise; frames of an earlier socket are ignored."""
    if event.generation != generation(state.link):
        return state
    frame = decode(event.data, turn.policy.downlink_limit)
    heard = link.heard(state.link, turn)
    phase = heard.phase
    if isinstance(frame, BadFrame):
        if frame.dseq is None or not isinstance(phase, Online):
            return evolve(state, link=link.rejected_frame(heard, None, frame.problem, event.data, turn))
        frame = Frame("", MalformedPayload(frame.problem, None), dseq=frame.dseq)  # it counts (R2-8, R2-11)
    if isinstance(phase, Online) or (isinstance(phase, Closing) and phase.online):
        return _established(state, heard, frame, event.data, turn)
    if isinstance(phase, Waiting | Greeting):
        return _handshake(state, phase, frame, event.data, turn)
    return state


# --- before hello-ok -----------------------------------------------------------------------------------------------


def _handshake(state: State, phase: Waiting | Greeting, frame: Frame, data: str | bytes, turn: Turn) -> State:
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
            rejected = link.rejected_frame(state.link, frame.event, problem, data, turn)
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


def _established(state: State, heard: LinkState, frame: Frame, data: str | bytes, turn: Turn) -> State:
    """``heard`` is the link that has noted the sign of life. The state is put together once, at the end."""
    if inbox.is_violation(state.inbox, frame):  # before anything is done with the content (R2-6)
        return _miscounted(evolve(state, link=heard), frame, data, turn)
    counted, number = inbox.stamp(state.inbox, frame, turn)
    sending, payload = state.outbox, frame.payload
    if frame.chat_id is not None and not isinstance(payload, Refusal):
        sending = _with_gates(sending, gates.sign_of_life(sending.gates, frame.chat_id, turn))
    match payload:
        case MessagePayload():
            return _message(evolve(state, link=heard, outbox=sending, inbox=counted), frame, payload, number, turn)
        case Ack():
            slot = outbox_answers.awaited_slot(sending, frame.trace_id)
            if slot is not None:
                counted = inbox.forget_slot(counted, slot)  # what is in it now came from us
            sending = outbox_answers.acknowledged(sending, frame.trace_id, payload, turn)
            counted = inbox.settle_number(counted, number, turn)
        case Refusal():
            sending, writing = _refusal(state, frame, payload, turn)
            counted = inbox.settle_number(counted, number, turn)
            return evolve(state, link=heard, inbox=counted, outbox=sending, drafts=writing)
        case ReplayDone():
            counted = inbox.replay_done(counted, number, turn)
        case MalformedPayload(problem=problem):
            counted, place = inbox.set_aside(counted, number, turn)
            heard = link.rejected_frame(heard, frame.event or None, problem, data, turn, place)
        case Pong() | SyncMark() | Challenge() | HelloOk() | HelloFail():
            counted = inbox.settle_number(counted, number, turn)
        case _:
            if isinstance(payload, NotifySignal) and inbox.is_news(counted, payload.event_id):
                sending = _with_gates(sending, gates.notified(sending.gates, payload.type, payload.entity_id, turn))
            state = evolve(state, link=heard, outbox=sending, inbox=counted)
            if isinstance(payload, StreamFail) and (frame.sender is None or frame.sender.id == _user_id(state)):
                # one of ours (STREAM-8); anybody in the chat knows its id, so anybody else's word counts for nothing
                reason = "the hub reported message.failed"
                state = evolve(state, drafts=drafts.refused(state.drafts, payload.message_id, "failed", reason))
            return arrivals.receive(state, frame, payload, number, turn)
    return evolve(state, link=heard, inbox=counted, outbox=sending)


def _message(state: State, frame: Frame, message: MessagePayload, number: int, turn: Turn) -> State:
    """A message, for the application or as a sign that our own arrived (SEND-16)."""
    user_id, sender, streamed = _user_id(state), frame.sender, False
    if user_id and sender is not None and sender.id == user_id:
        state = evolve(state, outbox=outbox_answers.seen(state.outbox, message.message_id, turn))
    if len(state.streams.due) or len(state.streams.finished):
        changed, streamed = streams.superseded(state.streams, sender, message.message_id)
        state = evolve(state, streams=changed)
    if message.metadata is not None and sender is not None and sender.id == inbox.SYSTEM_SENDER:
        noted, decision = signals.decided(state.signals, frame.chat_id or "", message.metadata, turn)
        state = evolve(state, signals=noted)
        if decision is not None:
            turn.emit(decision)
    counted = inbox.receive(
        state.inbox,
        frame,
        message,
        number,
        user_id,
        state.link.device_id,
        turn,
        online=connection.online_generation(state),
        streamed=streamed,
    )
    return evolve(state, inbox=counted)


def _refusal(state: State, frame: Frame, refusal: Refusal, turn: Turn) -> tuple[OutboxState, Drafts]:
    """``message.error``: for a message, for a stream of ours, or for nothing that waits (ERR-2, STREAM-8)."""
    writing = drafts.refused(state.drafts, refusal.message_id, refusal.code, refusal.reason)
    sending = outbox_answers.refused(
        state.outbox,
        frame.trace_id,
        frame.chat_id,
        refusal,
        _owner_chat(state),
        turn,
        expected=writing is not state.drafts,
    )
    return sending, writing


def _miscounted(state: State, frame: Frame, data: str | bytes, turn: Turn) -> State:
    """The unbroken count of v2 is broken: the frame is counted and left alone, and the replay fills the hole (R2-7)."""
    if not isinstance(state.link.phase, Online):
        return state  # closing already
    problem = "no integer as dseq" if frame.dseq is None else f"dseq {frame.dseq} is out of turn"
    state = evolve(state, link=link.rejected_frame(state.link, frame.event or None, problem, data, turn))
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
