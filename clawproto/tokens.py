"""The token machine: keeps one pair of tokens fresh, and never loses one.

Rules: TOK-10 to TOK-15, TOK-20 to TOK-22, REF-12 to REF-50, OUT-7 to OUT-10. Answers: `clawproto.tokens_answers`.

             attempt            saved            rotated            saved: Swap
    Idle -------------> Recording ---> Requesting -------> Saving ----------------> Idle
      ^  <-- not writable --'   ^          |  |            |   ^
      |  <-- store is newer: adopt --------|--|------------'   '-- failed: the pair is held, the save alone repeated
      |                                    |  |
      |<----------- transient -------------'  | refused
      |                                       v          nothing newer
      |<-- store is newer: adopt ------- Rereading -------------------> LoggingOut ---> logged-out

Every answer is matched by its number; one that fits no phase changes nothing.
"""

from clawproto.app_events import ClockSkewed, Misconfigured
from clawproto.credentials import Intent
from clawproto.effects import Persist, RecordIntent, Reload, RequestRefresh
from clawproto.events import CredentialsLoaded, Start
from clawproto.evolving import evolve
from clawproto.rest_format import device_id_problem, refresh_request
from clawproto.results import RefreshFailed, RefreshSkipped, SkipReason
from clawproto.timing import clock_offset, earliest
from clawproto.tokens_outcome import clean_up, load, needs_credentials, needs_replacement
from clawproto.tokens_state import (
    Flight,
    Idle,
    Recording,
    Requesting,
    Saving,
    TokenState,
    can_rotate,
    current_tokens,
    floor_end,
    is_near_expiry,
    is_rejected,
    is_spent,
    restore_guard,
)
from clawproto.turn import Trigger, Turn

# --- starting and stopping -----------------------------------------------------------------------------------------


def start(tokens: TokenState, event: Start, turn: Turn) -> TokenState:
    """Take up the credentials and the guard of an earlier life."""
    if event.guard is not None:
        tokens = restore_guard(tokens, event.guard, turn.now)
    if event.credentials is None:
        return needs_credentials(tokens, "absent", "this agent was never paired", turn)
    return load(tokens, event.credentials, turn)


def stop(tokens: TokenState) -> TokenState:
    """Disarm the timer and refuse new calls; a flight goes on to its save (REF-32)."""
    return evolve(tokens, stopped=True, armed=False, poll_at=None, poll_operation=None, starting=False)


def arm(tokens: TokenState, *, armed: bool) -> TokenState:
    """A connection has become ready, or is gone (TOK-12)."""
    return tokens if tokens.armed == armed or tokens.stopped else evolve(tokens, armed=armed)


def credentials_loaded(tokens: TokenState, event: CredentialsLoaded, turn: Turn) -> TokenState:
    """The host brings credentials (OUT-8). Not taken up: a token that was refused for good (OUT-9), and a stale record
    whose refresh token this session has spent since. The pair in force is no news: nothing starts anew for it."""
    record, pair = event.credentials, event.credentials.tokens
    if tokens.stopped or pair is None or pair.access.digest in (tokens.latch, record.refused):
        return tokens
    if pair == current_tokens(tokens):
        return evolve(tokens, credentials=record)
    if is_spent(tokens, record):
        return tokens
    return load(tokens, record, turn)


def token_rejected(tokens: TokenState, digest: str, turn: Turn) -> TokenState:
    """A hub answered ``authentication failed`` to the token with this digest (HS-15, REF-22, REF-23, OUT-10)."""
    tokens = evolve(tokens, rejected=digest)
    return needs_replacement(tokens, turn) if is_rejected(tokens) else tokens


def observe_server_time(tokens: TokenState, server_ms: int, turn: Turn) -> TokenState:
    """A fresh estimate of the server's clock (TOK-20)."""
    offset = clock_offset(server_ms - turn.wall, tokens.offset, turn.policy)
    if offset == tokens.offset:
        return tokens
    turn.emit(ClockSkewed(offset))
    return evolve(tokens, offset=offset)


# --- beginning an attempt ------------------------------------------------------------------------------------------


def request(tokens: TokenState, trigger: Trigger, command: int | None, turn: Turn) -> TokenState:
    """Ask for a refresh. ``command`` None subscribes nobody; else it is resolved now or with the flight (REF-13)."""
    phase = tokens.phase
    skip = _skip_reason(tokens, turn)
    if skip is None:
        return _begin(tokens, trigger, command, turn)
    if skip == "in-flight" and not isinstance(phase, Idle) and not (isinstance(phase, Saving) and phase.failures):
        if command is None:
            return tokens
        flight = evolve(phase.flight, callers=(*phase.flight.callers, command))
        return evolve(tokens, phase=evolve(phase, flight=flight))
    if command is not None:
        turn.resolve(command, RefreshSkipped(skip))
    return tokens


def _skip_reason(tokens: TokenState, turn: Turn) -> SkipReason | None:
    if tokens.stopped:
        return "stopped"
    if not isinstance(tokens.phase, Idle):
        return "in-flight"
    pair = current_tokens(tokens)
    if pair is None:
        return "rejected-latch" if tokens.latch is not None else "no-refresh-token"
    if turn.mono < max(floor_end(tokens, turn.policy), tokens.not_before):
        return "min-interval"
    if not can_rotate(pair):
        return "no-refresh-token"
    return None


def _begin(tokens: TokenState, trigger: Trigger, command: int | None, turn: Turn) -> TokenState:
    credentials, pair = tokens.credentials, current_tokens(tokens)
    assert credentials is not None and pair is not None and pair.refresh is not None
    problem = device_id_problem(credentials.identity.device_id)
    if problem is not None:  # a fault of the configuration: no call, and no logout for it (REF-37)
        if not tokens.blank_reported:
            turn.emit(Misconfigured("blank-device-id", f"no refresh is possible: {problem}"))
        if command is not None:
            turn.resolve(command, RefreshFailed(problem, sent=False))
        return evolve(tokens, blank_reported=True, last_error=problem)
    callers = () if command is None else (command,)
    flight = Flight(trigger, credentials.identity, pair, credentials.generation, callers)
    tokens = evolve(tokens, last_attempt=turn.now, last_attempt_token=pair.access.digest)
    if not turn.policy.record_intent:
        return send_request(tokens, flight, turn)
    return record_intent(tokens, flight, turn)


def record_intent(tokens: TokenState, flight: Flight, turn: Turn) -> TokenState:
    """Note in the store that the refresh token is about to be spent (REF-46)."""
    assert flight.tokens.refresh is not None
    operation = turn.next_operation()
    intent = Intent(flight.tokens.refresh.digest, flight.generation, turn.wall)
    turn.do(RecordIntent(operation, intent))
    return evolve(tokens, phase=Recording(flight, operation, intent))


def send_request(tokens: TokenState, flight: Flight, turn: Turn) -> TokenState:
    """Send the refresh call of ``flight`` (REF-1, REF-50)."""
    assert flight.tokens.refresh is not None
    number = turn.next_request()
    http = refresh_request(flight.identity.base_url, flight.identity.device_id, flight.tokens.refresh)
    turn.do(RequestRefresh(number, http, turn.policy.refresh_timeout_ms))
    return evolve(tokens, phase=Requesting(flight, number))


def persist(tokens: TokenState, saving: Saving, turn: Turn) -> TokenState:
    """Ask the store to save the pair that is held (REF-9, REF-10)."""
    operation = turn.next_operation()
    turn.do(Persist(operation, saving.held, saving.replaces))
    return evolve(tokens, phase=evolve(saving, operation=operation))


# --- what the session wants by itself ------------------------------------------------------------------------------


def advance(tokens: TokenState, turn: Turn) -> TokenState:
    """Do whatever has fallen due. Called at the end of every step; idempotent."""
    if tokens.retry_at is not None and turn.mono >= tokens.retry_at:
        tokens = _ask_store_again(tokens, turn)
    if tokens.starting:
        tokens = evolve(tokens, starting=False)
        if is_near_expiry(tokens, turn.now):
            return request(tokens, "startup", None, turn)
    trigger = _wanted(tokens, turn)
    if trigger is not None and turn.mono >= _allowed_at(tokens, turn):
        return request(tokens, trigger, None, turn)
    return tokens


def is_due_by_wall(tokens: TokenState, turn: Turn) -> bool:
    """Whether the wall clock has come so far, or has jumped, that `advance` has something to do, now or after the
    floor, which `deadline` may not have known of when it was asked last (TOK-21)."""
    due = tokens.proactive_at
    return due is not None and turn.wall >= due and tokens.can_refresh


def _ask_store_again(tokens: TokenState, turn: Turn) -> TokenState:
    phase = tokens.phase
    if isinstance(phase, Saving) and phase.retry_at is not None and turn.mono >= phase.retry_at:
        tokens = persist(tokens, evolve(phase, retry_at=None), turn)
    cleanup = tokens.cleanup
    if cleanup is not None and cleanup.retry_at is not None and turn.mono >= cleanup.retry_at:
        tokens = clean_up(tokens, cleanup, turn)
    if tokens.poll_at is not None and turn.mono >= tokens.poll_at:
        operation = turn.next_operation()
        turn.do(Reload(operation))
        tokens = evolve(tokens, poll_at=None, poll_operation=operation)
    return tokens


def _wanted(tokens: TokenState, turn: Turn) -> Trigger | None:
    """Why the session itself wants a refresh now, were it allowed (REF-22, REF-27, REF-31, REF-46)."""
    if not tokens.can_refresh:
        return None
    if is_rejected(tokens):
        return "rejected"
    if _is_within_grace(tokens, turn):
        return "recovery"
    due = tokens.proactive_at
    return "proactive" if due is not None and turn.wall >= due and turn.mono >= tokens.hold_until else None


def _is_within_grace(tokens: TokenState, turn: Turn) -> bool:
    """Whether a rotation whose answer was lost may still be redeemed (REF-44, REF-46)."""
    return tokens.lost_until is not None and turn.mono < tokens.lost_until


def retry_in_ms(tokens: TokenState, turn: Turn) -> int | None:
    """Until the session's own next attempt, when one has just failed; None if it wants none now."""
    return None if _wanted(tokens, turn) is None else _allowed_at(tokens, turn) - turn.mono


def _allowed_at(tokens: TokenState, turn: Turn) -> int:
    """The later of backoff end and floor end (REF-21), and whatever else forbids an attempt."""
    return max(tokens.backoff_until, tokens.not_before, floor_end(tokens, turn.policy))


def deadline(tokens: TokenState, turn: Turn) -> int | None:
    """Monotonic ms at which `advance` has something to do, or should look at the wall clock again (TOK-21)."""
    if not tokens.can_refresh:
        return tokens.retry_at
    allowed, proactive = _allowed_at(tokens, turn), tokens.proactive_at
    if is_rejected(tokens) or _is_within_grace(tokens, turn):
        return earliest(tokens.retry_at, allowed)
    if proactive is None:
        return tokens.retry_at
    wait = min(max(proactive - turn.wall, 0), turn.policy.wall_check_ms)
    return earliest(tokens.retry_at, max(turn.mono + wait, tokens.hold_until, allowed))
