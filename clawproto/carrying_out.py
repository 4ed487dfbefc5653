"""Commands: each goes to the machine that it concerns.

Rules: SEND-20, REF-18, OUT-11, RX-1, READ-1, PRES-3, STREAM-2, STREAM-12, HIST-1.

While the session is stopped, logged out or not paired, commands with a number are resolved at once, and the others
change nothing.
"""

from typing import TypeAlias

from clawproto import connection, drafts, history, inbox, indicator, outbox, pairing, rest, signals, tokens
from clawproto.events import (
    AppendStream,
    CallRest,
    FailStream,
    FinishStream,
    MarkApplied,
    MarkRead,
    OpenStream,
    Pair,
    React,
    Refresh,
    ResetCursor,
    Send,
    SetTyping,
    TransferHistory,
    UnwatchPresence,
    WatchPresence,
)
from clawproto.evolving import evolve
from clawproto.results import LoggedOutResult, NotPaired, RefreshSkipped, StoppedResult
from clawproto.state import State
from clawproto.turn import Turn
from clawproto.wire.signals import reaction_slot

Uplink: TypeAlias = (
    Send
    | React
    | SetTyping
    | MarkRead
    | WatchPresence
    | UnwatchPresence
    | MarkApplied
    | TransferHistory
    | ResetCursor
    | OpenStream
    | AppendStream
    | FinishStream
    | FailStream
)


def carry_out(state: State, command: Uplink | Refresh | CallRest | Pair, turn: Turn) -> State:
    """One command."""
    match command:
        case Refresh(command=number):
            if state.tokens.status == "absent" and not state.tokens.stopped:
                turn.resolve(number, RefreshSkipped("no-refresh-token"))
                return state
            return evolve(state, tokens=tokens.request(state.tokens, "caller", number, turn))
        case CallRest():
            return evolve(state, rest=rest.call(state.rest, command, state.tokens, turn))
        case Pair(command=number):
            if state.tokens.stopped:
                turn.resolve(number, StoppedResult())
                return state
            return evolve(state, pairing=pairing.begin(state.pairing, command, state.tokens.credentials, turn))
        case _:
            return state if _is_over(state, command, turn) else _uplink(state, command, turn)


def _is_over(state: State, command: Uplink, turn: Turn) -> bool:
    """Whether nothing can be sent at all; then the command is resolved."""
    result: StoppedResult | LoggedOutResult | NotPaired
    if state.tokens.stopped:
        result = StoppedResult()
    elif state.tokens.status == "logged-out":
        result = LoggedOutResult()
    elif state.tokens.status == "absent":
        result = NotPaired()
    else:
        return False
    if not isinstance(command, SetTyping | MarkRead | UnwatchPresence | MarkApplied | FailStream):
        turn.resolve(command.command, result)
    return True


def _uplink(state: State, command: Uplink, turn: Turn) -> State:
    online, way = connection.online_generation(state), state.outbox.gates
    match command:
        case Send():
            return evolve(state, outbox=outbox.send(state.outbox, command, online, turn))
        case React():
            user_id = _user_id(state)
            slots = inbox.forget_slot(state.inbox, reaction_slot(command.target_message_id, user_id))
            return evolve(state, inbox=slots, outbox=outbox.react(state.outbox, command, user_id, online, turn))
        case SetTyping(chat_id=chat_id, is_typing=is_typing):
            return evolve(state, typing=indicator.set_typing(state.typing, chat_id, is_typing, way, online, turn))
        case MarkRead(chat_id=chat_id, read_up_to_ms=mark):
            return evolve(state, signals=signals.mark_read(state.signals, chat_id, mark, way, online, turn))
        case WatchPresence(command=number, user_id=user_id):
            changed, result = signals.watch(state.signals, user_id, online, turn)
            turn.resolve(number, result)
            return evolve(state, signals=changed)
        case UnwatchPresence(user_id=user_id):
            return evolve(state, signals=signals.unwatch(state.signals, user_id, online, turn))
        case MarkApplied(subject=subject, key=key, version=version):
            return evolve(state, signals=signals.applied(state.signals, subject, key, version, turn))
        case TransferHistory(command=number):
            identity = None if state.tokens.credentials is None else state.tokens.credentials.identity
            turn.resolve(number, history.transfer(command, identity, state.link.device_id, online, turn))
            return state
        case ResetCursor():
            return evolve(state, reset=history.begin_reset(state.reset, command, online, turn))
        case OpenStream():
            return evolve(state, drafts=drafts.begin(state.drafts, command, way, online, turn))
        case AppendStream():
            return evolve(state, drafts=drafts.append(state.drafts, command, way, online, turn))
        case FinishStream():
            return _finish_stream(state, command, online, turn)
        case FailStream(message_id=message_id):
            return evolve(state, drafts=drafts.fail(state.drafts, message_id, way, online, turn))


def _finish_stream(state: State, command: FinishStream, online: int | None, turn: Turn) -> State:
    """End the stream, then send the message that takes its place under the same id (STREAM-12)."""
    written, draft = drafts.finish(state.drafts, command, state.outbox.gates, online, turn)
    state = evolve(state, drafts=written)
    if draft is None or command.closing is None:
        return state
    chat_id, message_id = draft.chat_id, command.message_id
    closing = evolve(command.closing, command=command.command, chat_id=chat_id, message_id=message_id)
    return evolve(state, outbox=outbox.send(state.outbox, closing, online, turn))


def _user_id(state: State) -> str:
    credentials = state.tokens.credentials
    return "" if credentials is None else credentials.identity.user_id
