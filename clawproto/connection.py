"""What link, inbox and outbox do together when a connection comes up, is closed by us, or is gone.

Rules: CLOSE-12, CLOSE-13, ERR-10, HIST-13, HS-23, PRES-3, R2-16, R2-35, REF-26, SEND-17, TOK-12.
"""

from clawproto import drafts, history, inbox, indicator, link, outbox, signals, tokens
from clawproto.credentials import Credentials
from clawproto.effects import RememberDevice
from clawproto.evolving import evolve
from clawproto.link_state import Greeting, generation, is_online
from clawproto.results import Done, NotDone
from clawproto.state import State
from clawproto.turn import Turn
from clawproto.wire.values import HelloOk


def online_generation(state: State) -> int | None:
    """The socket that takes uplinks, or None."""
    return generation(state.link) if is_online(state.link) else None


def connected(state: State, phase: Greeting, hello: HelloOk, turn: Turn) -> State:
    """``hello-ok``: arm the timer, count anew, send what waits (TOK-12, R2-3, SEND-17)."""
    counting = inbox.connected(state.inbox, phase.generation, hello, turn)
    if counting is None:
        return evolve(state, link=link.give_up(state.link, "v2 was granted without an epoch", turn))
    accepted = link.accepted(state.link, phase, hello, state.tokens, turn)
    if turn.config.socket_device_id is None:
        state = _remember_device(state, accepted.device_id, turn)
    number, way = phase.generation, state.outbox.gates
    return evolve(
        state,
        connected=True,
        link=accepted,
        inbox=counting,
        drafts=drafts.connected(state.drafts, way, number, turn),
        outbox=outbox.connected(state.outbox, number, turn),
        signals=signals.connected(state.signals, way, number, turn),
        typing=indicator.connected(state.typing, turn),
        tokens=tokens.arm(state.tokens, armed=True),
    )


def _remember_device(state: State, device_id: str | None, turn: Turn) -> State:
    """The hub resolved another device id than we presented: it is ours from now on, here and in the store (HS-23)."""
    known = state.tokens.credentials
    if known is None or device_id is None or device_id == (known.identity.socket_device_id or known.identity.device_id):
        return state
    turn.do(RememberDevice(device_id))
    identity = evolve(known.identity, socket_device_id=device_id)
    return evolve(state, tokens=evolve(state.tokens, credentials=evolve(known, identity=identity)))


def flush(state: State, turn: Turn) -> State:
    """Before a deliberate close: send the acks that are owed (R2-16), end the typing that is shown (CLOSE-12)."""
    online = online_generation(state)
    if online is None:
        return state
    hidden = indicator.flush(state.typing, state.outbox.gates, online, turn) if state.typing else state.typing
    return evolve(state, inbox=inbox.flush(state.inbox, turn), typing=hidden)


def give_up(state: State, reason: str, turn: Turn, *, code: int = link.CODE_NORMAL) -> State:
    """Close because of trouble and come back after the backoff (R2-7, HB-6)."""
    state = flush(state, turn)
    return evolve(state, link=link.give_up(state.link, reason, turn, code=code))


def renew(state: State, turn: Turn) -> State:
    """Change a live socket for one that carries the new token (REF-26)."""
    state = flush(state, turn)
    return evolve(state, link=link.renew(state.link, turn))


def under_user(state: State, known: Credentials | None, turn: Turn) -> State:
    """The session may have changed its user, whom ``known`` names as it was before: the next one sends nothing of the
    one before, whose sends end as with a logout (OUT-11), and is handed everything of theirs."""
    now = state.tokens.credentials
    if known is None or now is None or known.identity.user_id == now.identity.user_id:
        return state
    return evolve(
        state,
        signals=signals.other_user(state.signals),
        outbox=outbox.logged_out(state.outbox, turn),
        inbox=inbox.other_user(state.inbox),
    )


def close(state: State, reason: str, turn: Turn) -> State:
    """Close in good order; whether and when the next socket comes is up to the tokens (OUT-7)."""
    state = flush(state, turn)
    return evolve(state, link=link.close(state.link, link.CODE_NORMAL, reason, None, turn))


def follow(state: State, turn: Turn) -> State:
    """The socket no longer takes uplinks: the other machines must know (TOK-12, CLOSE-13, STREAM-8)."""
    if not state.connected or is_online(state.link):
        return state
    history.end_reset(state.reset, NotDone("no-answer", "the connection was lost for another reason"), turn)
    return evolve(
        state,
        connected=False,
        reset=None,
        inbox=inbox.disconnected(state.inbox),
        outbox=outbox.disconnected(state.outbox, turn),
        drafts=drafts.disconnected(state.drafts),
        typing=indicator.disconnected(state.typing),
        tokens=tokens.arm(state.tokens, armed=False),
    )


def reset_confirmed(state: State, turn: Turn) -> State:
    """The hub has closed because of the reset: all that comes now is wanted again (HIST-14)."""
    history.end_reset(state.reset, Done(), turn)
    return evolve(state, reset=None, inbox=inbox.forget_messages(state.inbox))


def end_activities(state: State, turn: Turn) -> State:
    """The session ends, or is logged out: no stream is left dangling (STREAM-2), nobody is shown as typing (TYPE-1)."""
    online = online_generation(state)
    written = drafts.flush(state.drafts, state.outbox.gates, online, turn)
    indicator.flush(state.typing, state.outbox.gates, online, turn)
    return evolve(state, drafts=written, typing=())
