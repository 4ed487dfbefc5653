"""The link machine: there is always a socket, or one on its way.

Rules: AUTH-2, HS-1 to HS-23, CAP, CLOSE-1 to CLOSE-15, HB-1 to HB-8, REF-22, REF-26, REF-29, REF-42, TOK-12.

                                      Opened           challenge            hello-ok
    Unstarted --> Down ---> Opening ---------> Waiting ---------> Greeting ----------> Online
                   ^ ^         | failed, late     | closed, late     | hello-fail,       |  | we close
                   | '---------'------------------'------------------' closed, late      |  v
                   |<----------------------------- closed by the other side -------------'  Closing
                   '<--------------------------------------------------------------- closed, late
                                                                            stopped: Ended

``Down`` carries the instant before which nothing is opened; the token machine has a say as well (`may_open`).
"""

from clawproto.app_events import Disconnected, FrameRejected, HandshakeRefused, Ready, TakenOver
from clawproto.deferred import frozen
from clawproto.effects import Abort, Close, Open, Reconnect, SendFrame
from clawproto.events import Closed, Opened, OpenFailed
from clawproto.evolving import evolve
from clawproto.inbox_state import delivery_mode
from clawproto.link_state import (
    Closing,
    Down,
    Ended,
    Greeting,
    LinkState,
    Online,
    Opening,
    Unstarted,
    Waiting,
    generation,
)
from clawproto.timing import reconnect_delay_ms, takeover_floor_ms
from clawproto.tokens_state import TokenState, current_tokens, is_in_flight, is_near_expiry, may_open
from clawproto.turn import Turn
from clawproto.wire.codec import encode_connect, encode_ping, excerpt
from clawproto.wire.values import Challenge, Frame, HelloFail, HelloOk

CODE_NORMAL = 1000
CODE_TOO_LARGE = 1009
CODE_WATCHDOG = 1011
CODES_TAKEN_OVER = (4001, 4002)

REASON_REJECTED = "authentication failed"  # HS-15: equal, whole string
REASON_OUTAGE = "auth service unavailable"  # HS-16: contained, any letter case


# --- opening -------------------------------------------------------------------------------------------------------


def start(link: LinkState, turn: Turn) -> LinkState:
    """The session begins: it wants to be connected from now on."""
    return evolve(link, phase=Down(turn.mono))


def socket_device_id(tokens: TokenState, turn: Turn) -> str:
    """The ``device_id`` for ``connect``: the same on every connect (CLOSE-6, DEV-1, DEV-2, DEV-8, HS-23)."""
    assert tokens.credentials is not None
    identity = tokens.credentials.identity
    return turn.config.socket_device_id or identity.socket_device_id or identity.device_id


def advance(link: LinkState, tokens: TokenState, turn: Turn) -> LinkState:
    """Do whatever has fallen due. Called at the end of every step; idempotent."""
    phase = link.phase
    match phase:
        case Online():
            return _watch(link, phase, turn)
        case Down(not_before=not_before):
            if turn.mono < not_before or not may_open(tokens) or link.overrun:
                return link
            if link.paused_since is not None and turn.mono >= link.paused_since + turn.policy.receiver_stall_ms:
                return evolve(link, overrun=True)  # what a socket brings now would find no room
            return _open(link, tokens, turn)
        case Opening() | Waiting() | Greeting():
            if is_in_flight(tokens):  # a handshake never runs while a refresh does (REF-50, REF-29)
                turn.do(Abort(phase.generation))
                return evolve(link, phase=Down(turn.mono))
            if turn.mono >= phase.deadline:
                turn.do(Abort(phase.generation))
                return _retry(link, None, "no answer in time", turn)
        case Closing():
            if turn.mono >= phase.deadline:
                turn.do(Abort(phase.generation))
                return _down(link, phase, None, turn)
        case Unstarted() | Ended():
            pass
    return link


def _open(link: LinkState, tokens: TokenState, turn: Turn) -> LinkState:
    assert tokens.credentials is not None
    number = turn.next_generation()
    turn.do(Open(number, tokens.credentials.identity.ws_url, turn.policy.open_timeout_ms))
    return evolve(link, phase=Opening(number, turn.mono + turn.policy.open_timeout_ms))


def opened(link: LinkState, event: Opened, turn: Turn) -> LinkState:
    """The upgrade is through; the hub speaks first (HS-1, HS-2)."""
    phase = link.phase
    if not isinstance(phase, Opening) or phase.generation != event.generation:
        return link
    return evolve(link, phase=Waiting(phase.generation, turn.mono + turn.policy.handshake_timeout_ms))


def open_failed(link: LinkState, event: OpenFailed, turn: Turn) -> LinkState:
    """No socket this time (CLOSE-2)."""
    phase = link.phase
    if not isinstance(phase, Opening) or phase.generation != event.generation:
        return link
    return _retry(link, None, event.detail, turn)


# --- the handshake -------------------------------------------------------------------------------------------------


def challenged(
    link: LinkState, phase: Waiting, frame: Frame, challenge: Challenge, tokens: TokenState, turn: Turn
) -> LinkState:
    """Answer the challenge with the token that is current at this very moment (HS-2, HS-10)."""
    pair = current_tokens(tokens)
    assert pair is not None, "a socket is open without a token"
    trace_id = f"c-{turn.mint()}"
    text = encode_connect(
        trace_id=trace_id,
        emitted_at=turn.wall,
        token=pair.access.reveal(),
        nonce=challenge.nonce,
        device_id=socket_device_id(tokens, turn),
        client_version=turn.config.client_version,
        capabilities=turn.config.capabilities.flags,
    )
    turn.do(SendFrame(phase.generation, text, "connect"))
    return evolve(link, phase=Greeting(phase.generation, phase.deadline, trace_id, pair.access.digest))


def accepted(link: LinkState, phase: Greeting, hello: HelloOk, tokens: TokenState, turn: Turn) -> LinkState:
    """``hello-ok``: adopt the resolved device id, whatever the delivery mode (HS-7, HS-8)."""
    device_id = hello.device_id or socket_device_id(tokens, turn)
    turn.emit(Ready(device_id, delivery_mode(hello, turn.config.capabilities)))
    online = Online(phase.generation, since=turn.mono, heard_at=turn.mono)
    return evolve(link, phase=online, device_id=device_id)


def refused(
    link: LinkState, phase: Waiting | Greeting, hello: HelloFail, tokens: TokenState, turn: Turn
) -> tuple[LinkState, str | None, bool]:
    """``hello-fail``: decided by its reason alone, never by the close code that follows (HS-11, HS-14 to HS-18).

    Returns:
        The link, the digest of the token that is dead now (or None), and whether to refresh because of near expiry.
    """
    reason = hello.reason
    turn.do(Abort(phase.generation))
    if reason == REASON_REJECTED and isinstance(phase, Greeting):
        turn.emit(HandshakeRefused(reason, "refresh"))
        turn.emit(Disconnected(None, REASON_REJECTED, retry_in_ms=None))
        return evolve(link, phase=Down(turn.mono), attempts=link.attempts + 1), phase.presented, False
    outage = reason is not None and REASON_OUTAGE in reason.lower()
    refresh = not outage and is_near_expiry(tokens, turn.now)
    turn.emit(HandshakeRefused(reason, "refresh" if refresh else "retry"))
    return _retry(link, None, f"hello-fail: {reason or ''}", turn), None, refresh


# --- being online --------------------------------------------------------------------------------------------------


def heard(link: LinkState, turn: Turn) -> LinkState:
    """Any frame at all is a sign of life (HB-6)."""
    phase = link.phase
    if isinstance(phase, Online) and phase.heard_at != turn.mono:  # a ping goes out later than the last frame came
        return evolve(link, phase=Online(phase.generation, phase.since, turn.mono))
    return link


def _watch(link: LinkState, phase: Online, turn: Turn) -> LinkState:
    policy = turn.policy
    if link.attempts and turn.mono >= phase.since + policy.stable_after_ms:  # CLOSE-4
        return evolve(link, attempts=0)
    if link.paused_since is None and phase.pinged_at is None and turn.mono >= phase.heard_at + policy.ping_after_ms:
        ping = encode_ping(trace_id=f"p-{turn.mint()}", emitted_at=turn.wall)
        turn.do(SendFrame(phase.generation, ping, "ping"))
        return evolve(link, phase=evolve(phase, pinged_at=turn.mono))
    return link


@frozen
class Trouble:
    """A reason to close from our side, and the link that knows of it."""

    link: LinkState
    code: int
    reason: str


def trouble(link: LinkState, turn: Turn) -> Trouble | None:
    """Whether the socket must be given up: no sign of life (HB-6), or nobody reads what it brings."""
    phase, policy = link.phase, turn.policy
    if not isinstance(phase, Online):
        return None
    if link.paused_since is not None:  # silence is our own doing: only the pause counts
        if turn.mono < max(link.paused_since, phase.since) + policy.receiver_stall_ms:
            return None
        return Trouble(evolve(link, overrun=True), CODE_NORMAL, "the application does not keep up")
    if phase.pinged_at is None or turn.mono < phase.pinged_at + policy.pong_timeout_ms:
        return None
    return Trouble(link, CODE_WATCHDOG, "no sign of life")


def paused(link: LinkState, turn: Turn) -> LinkState:
    """The application inbox is full."""
    return link if link.paused_since is not None else evolve(link, paused_since=turn.mono)


def resumed(link: LinkState, turn: Turn) -> LinkState:
    """There is room again: the silence so far does not count against the hub."""
    phase = link.phase
    if isinstance(phase, Online):
        link = evolve(link, phase=Online(phase.generation, phase.since, turn.mono))
    return evolve(link, paused_since=None, overrun=False)


def rejected_frame(
    link: LinkState, event: str | None, problem: str, data: str | bytes, turn: Turn, delivery: int | None = None
) -> LinkState:
    """Count an unusable frame and put it into quarantine; the connection goes on (ENV-12, R2-11).

    Args:
        delivery: under which its place in the stream is settled; None if it has none, or is settled already.
    """
    dropped = link.frames_rejected + 1
    turn.emit(FrameRejected(event, problem, excerpt(data), dropped, data[: turn.policy.quarantine_limit]), delivery)
    return evolve(link, frames_rejected=dropped)


# --- closing -------------------------------------------------------------------------------------------------------


def close(
    link: LinkState, code: int, reason: str, not_before: int | None, turn: Turn, *, planned: bool = False
) -> LinkState:
    """Close in good order and be `Down` until ``not_before`` (None: until something else happens).

    The caller has ended our typing and flushed the acks (CLOSE-12, R2-16). A delay that is running stays.
    """
    phase = link.phase
    match phase:
        case Online() | Waiting() | Greeting():
            turn.do(Close(phase.generation, code, reason))
            return _closing(link, phase, reason, not_before, turn, planned=planned)
        case Opening():
            turn.do(Abort(phase.generation))
            return evolve(link, phase=Down(not_before or turn.mono))
        case Closing():
            return evolve(link, phase=evolve(phase, not_before=not_before))
        case Down() | Unstarted() | Ended():
            return link


def _closing(
    link: LinkState,
    phase: Online | Waiting | Greeting,
    reason: str,
    not_before: int | None,
    turn: Turn,
    *,
    planned: bool,
) -> LinkState:
    deadline = turn.mono + turn.policy.close_timeout_ms
    online = isinstance(phase, Online)
    return evolve(link, phase=Closing(phase.generation, deadline, not_before, online, planned, reason))


def give_up(link: LinkState, reason: str, turn: Turn, *, code: int = CODE_NORMAL) -> LinkState:
    """Close because of trouble; the next socket comes after the backoff (CLOSE-2)."""
    if not isinstance(link.phase, Online | Greeting):
        return link
    link = evolve(link, attempts=link.attempts + 1)
    delay = reconnect_delay_ms(link.attempts, turn.draw("reconnect"), turn.policy)
    return close(link, code, reason, turn.mono + delay, turn)


def renew(link: LinkState, turn: Turn) -> LinkState:
    """The token has been rotated: change the socket, at once and without backoff (REF-26, CLOSE-4)."""
    phase = link.phase
    if not isinstance(phase, Online):
        return link
    reason = "token rotated"
    turn.do(Reconnect(phase.generation, reason))
    return evolve(_closing(link, phase, reason, turn.mono, turn, planned=True), attempts=0)


def hurry(link: LinkState, turn: Turn) -> LinkState:
    """A new token is in force: the backoff is void (REF-22, REF-42, OUT-8), but not the floor of CLOSE-5."""
    phase = link.phase
    if not isinstance(phase, Down) or not link.attempts:
        return link
    allowed = max(turn.mono, phase.floor)
    return evolve(link, phase=Down(min(phase.not_before, allowed), phase.floor), attempts=0)


def other_identity(link: LinkState) -> LinkState:
    """Whoever evicted us before did so under another identity: no floor is left of it."""
    phase = link.phase
    return evolve(link, phase=Down(phase.not_before) if isinstance(phase, Down) else phase, takeovers=0)


def stop(link: LinkState, turn: Turn) -> LinkState:
    """End of the session."""
    link = close(link, CODE_NORMAL, "session ended", None, turn, planned=True)
    return link if isinstance(link.phase, Closing) else evolve(link, phase=Ended())


def closed(link: LinkState, event: Closed, turn: Turn, *, asked_for: bool) -> LinkState:
    """The socket is gone (CLOSE table). ``asked_for``: the hub closed it at our request (HIST-14)."""
    phase = link.phase
    if event.generation != generation(link):
        return link
    if isinstance(phase, Closing):
        if event.code in CODES_TAKEN_OVER and phase.not_before is not None:  # evicted while we were closing
            return _taken_over(link, event, turn)
        return _down(link, phase, event.code, turn)
    if isinstance(phase, Online) and turn.mono >= phase.since + turn.policy.stable_after_ms:
        link = evolve(link, attempts=0)  # CLOSE-4
    if event.code in CODES_TAKEN_OVER:
        return _taken_over(link, event, turn)
    floor = 0
    if isinstance(phase, Online) and event.code != CODE_TOO_LARGE and not asked_for:
        floor = turn.policy.unexplained_floor_ms  # CLOSE-5
    return _retry(link, event.code, event.reason, turn, floor)


def _taken_over(link: LinkState, event: Closed, turn: Turn) -> LinkState:
    policy = turn.policy
    recent = link.takeovers and turn.mono - link.taken_over_at < policy.takeover_window_ms
    count = link.takeovers + 1 if recent else 1
    floor = max(takeover_floor_ms(count, policy), _named_delay(event.reason, policy.retry_after_max_ms))
    link = evolve(link, takeovers=count, taken_over_at=turn.mono)
    link = _retry(link, event.code, event.reason, turn, floor)
    assert isinstance(link.phase, Down)
    turn.emit(TakenOver(event.code, link.phase.not_before - turn.mono))
    return link


def _named_delay(reason: str, ceiling_ms: int) -> int:
    """The number behind ``retry_after_ms`` in a close reason, however it is written (CLOSE-15)."""
    _, _, rest = reason.partition("retry_after_ms")
    digits = ""
    for character in rest.lstrip("\"'=: "):
        if not ("0" <= character <= "9") or len(digits) == 9:
            break
        digits += character
    return min(int(digits or "0"), ceiling_ms)


def _retry(link: LinkState, code: int | None, reason: str, turn: Turn, floor_ms: int = 0) -> LinkState:
    attempts = link.attempts + 1
    delay = reconnect_delay_ms(attempts, turn.draw("reconnect"), turn.policy, floor_ms)
    turn.emit(Disconnected(code, reason[:200], delay))
    return evolve(link, phase=Down(turn.mono + delay, turn.mono + floor_ms), attempts=attempts)


def _down(link: LinkState, phase: Closing, code: int | None, turn: Turn) -> LinkState:
    wait = None if phase.not_before is None or link.overrun else max(0, phase.not_before - turn.mono)
    turn.emit(Disconnected(code, phase.reason, wait, phase.planned))
    return evolve(link, phase=Down(phase.not_before or turn.mono))


def deadline(link: LinkState, tokens: TokenState, turn: Turn) -> int | None:
    """Monotonic ms at which `advance` has something to do."""
    phase, policy = link.phase, turn.policy
    match phase:
        case Online():
            if link.paused_since is not None:
                return max(link.paused_since, phase.since) + policy.receiver_stall_ms
            pinged_at = phase.pinged_at
            watch = phase.heard_at + policy.ping_after_ms if pinged_at is None else pinged_at + policy.pong_timeout_ms
            return min(watch, phase.since + policy.stable_after_ms) if link.attempts else watch
        case Down(not_before=not_before):
            return not_before if may_open(tokens) and not link.overrun else None
        case Opening() | Waiting() | Greeting() | Closing():
            return phase.deadline
        case Unstarted() | Ended():
            return None
