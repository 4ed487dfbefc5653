"""I12: run a session forward in a world where everything works, and see where it arrives.

The world is derived from the state alone: every operation under way is answered well, every deadline comes. So it can
be asked of any state that a test, the explorer or the simulation has reached.
"""

import base64
import json
from typing import Literal, TypeAlias

from attrs import evolve

from clawproto.credentials import Credentials
from clawproto.events import (
    Closed,
    Event,
    FrameReceived,
    HttpAnswered,
    Kept,
    Opened,
    ReceiverResumed,
    Reloaded,
    Stored,
    Tick,
)
from clawproto.http import HttpAnswer
from clawproto.instant import Instant
from clawproto.link_state import Closing, Greeting, Online, Opening, Waiting
from clawproto.outbox_keeping import is_idle
from clawproto.rest_format import device_id_problem
from clawproto.session import step
from clawproto.state import State
from clawproto.tokens_state import Idle, LoggingOut, Recording, Requesting, Rereading, Saving

Outcome: TypeAlias = Literal["ready", "logged-out", "needs-credentials", "misconfigured"]

STEPS = 400


def outcome_if_healthy(state: State, now: Instant) -> Outcome | None:
    """Where ``state`` leads if hub, disk and application behave from now on; None if it gets nowhere."""
    for _ in range(STEPS):
        outcome = _arrived(state)
        if outcome is not None:
            return outcome
        event = _next(state, now)
        if event is None:
            if state.deadline is None:
                return None
            passed = max(0, state.deadline - now.mono_ms)
            now = Instant(now.wall_ms + passed, now.mono_ms + passed)
            event = Tick()
        state, _ = step(state, event, now)
    return None


def _arrived(state: State) -> Outcome | None:
    tokens = state.tokens
    if isinstance(tokens.phase, Idle):
        if isinstance(state.link.phase, Online) and not state.link.overrun and is_idle(state.outbox.keeping):
            return "ready"
        if tokens.status == "logged-out":
            return "logged-out"
        if tokens.status in ("absent", "needed"):
            return "needs-credentials"
        if tokens.credentials is not None and device_id_problem(tokens.credentials.identity.device_id):
            return "misconfigured"
    return None


def _next(state: State, now: Instant) -> Event | None:
    """The good answer to whatever is under way, or None if only time can help."""
    operation = state.outbox.keeping.operation
    stored = None if operation is None else Kept(operation)
    return _token_answer(state, now) or stored or _socket_answer(state, now)


def _token_answer(state: State, now: Instant) -> Event | None:
    tokens = state.tokens
    phase = tokens.phase
    match phase:
        case Recording(operation=operation):
            return Stored(operation, phase.flight.generation)
        case Requesting(request=request):
            return HttpAnswered(request, _rotation(now, request))
        case Saving(operation=int(operation)):
            return Stored(operation, phase.held.generation)
        case Rereading(operation=operation):
            return Reloaded(operation, _as_stored(tokens.credentials, phase))
        case LoggingOut(operation=operation):
            return Stored(operation, phase.replaces + 1)
        case _:
            return None


def _as_stored(credentials: Credentials | None, phase: Rereading) -> Credentials | None:
    """A store that nobody else writes to holds the pair that the flight was about."""
    return None if credentials is None else evolve(credentials, tokens=phase.flight.tokens)


def _rotation(now: Instant, request: int) -> HttpAnswer:
    issued = now.wall_ms // 1000
    claims = base64.urlsafe_b64encode(json.dumps({"exp": issued + 86_400, "iat": issued}).encode()).decode()
    data = {"access_token": f"h{request}.{claims}.s", "refresh_token": f"healthy-{request}-{issued}"}
    return HttpAnswer(200, (), json.dumps({"code": 0, "msg": "", "data": data}).encode())


def _socket_answer(state: State, now: Instant) -> Event | None:
    phase = state.link.phase
    match phase:
        case Opening(generation=generation):
            return Opened(generation)
        case Waiting(generation=generation):
            return _frame(generation, "connect.challenge", {"nonce": "healthy-nonce-healthy-no"}, now)
        case Greeting(generation=generation):
            return _frame(generation, "hello-ok", {"device_id": "healthy", "delivery_mode": "device_replay"}, now)
        case Closing(generation=generation):
            return Closed(generation, 1000)
        case _:
            return ReceiverResumed() if state.link.overrun else None


def _frame(generation: int, event: str, payload: dict[str, str], now: Instant) -> FrameReceived:
    frame = {"version": "2", "event": event, "trace_id": "", "emitted_at": now.wall_ms, "payload": payload}
    return FrameReceived(generation, json.dumps(frame))
