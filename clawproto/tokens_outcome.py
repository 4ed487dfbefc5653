"""How a flight ends, and how a pair of tokens comes into force or goes out of it.

Rules: TOK-5, TOK-10, TOK-22, REF-9, REF-12, REF-15, REF-30, REF-45, REF-46, REF-49, OUT-1 to OUT-10, AUTH-10, AUTH-11.
"""

from clawproto.app_events import (
    CredentialsNeeded,
    LoggedOut,
    LogoutCause,
    Misconfigured,
    SaveRecovered,
    TokenNotNewer,
    TokensRotated,
)
from clawproto.credentials import Credentials
from clawproto.effects import Logout, Swap
from clawproto.events import Reloaded, StoreConflicted, Stored, StoreFailed, StoreReport
from clawproto.evolving import evolve
from clawproto.instant import Instant
from clawproto.jwt import read_claims
from clawproto.rest_format import CODE_BAD_REQUEST
from clawproto.results import RefreshFailed, RefreshOutcome, RefreshRefused, RefreshSucceeded
from clawproto.timing import save_backoff_ms, token_times
from clawproto.tokens_state import (
    Cleanup,
    Flight,
    Idle,
    LoggingOut,
    Rereading,
    Saving,
    Status,
    TokenState,
    can_rotate,
    current_tokens,
    is_current,
    is_near_expiry,
    is_pair_of,
    is_rejected,
)
from clawproto.turn import FlightEnded, LogoutBegun, LogoutEnded, Swapped, Turn


def end_flight(tokens: TokenState, flight: Flight, outcome: RefreshOutcome, turn: Turn) -> TokenState:
    """Deliver the outcome to every subscriber and be idle again (REF-12)."""
    for command in flight.callers:
        turn.resolve(command, outcome)
    turn.signal(FlightEnded(flight.trigger, outcome))
    return evolve(tokens, phase=Idle())


# --- a pair comes into force ---------------------------------------------------------------------------------------


def load(tokens: TokenState, credentials: Credentials, turn: Turn) -> TokenState:
    """Take credentials from outside into force: start, pairing, or another process (REF-15, OUT-8)."""
    identity, pair = credentials.identity, credentials.tokens
    if pair is None or pair.access.digest in (credentials.refused, tokens.latch):  # OUT-9
        tokens = evolve(tokens, credentials=evolve(credentials, tokens=None), latch=credentials.refused or tokens.latch)
        return needs_credentials(tokens, "logged-out", "the agent was logged out and must be paired again", turn)
    if not identity.user_id.strip():
        turn.emit(Misconfigured("no-user-id", "without the own user id no message is offered as input (AUTH-10)"))
    if tokens.credentials is None and turn.config.volatile_device_id:
        turn.emit(Misconfigured("volatile-device-id", "a changed device id ends the session at its next refresh"))
    lost = credentials.intent if _is_lost(credentials) else None
    tokens = evolve(
        _in_force(tokens, credentials, turn),
        status="usable",
        latch=None,
        starting=not tokens.stopped,
        lost_until=None,
        unknown=lost is not None,
        poll_at=None,
        poll_operation=None,
        cleanup=None,
        blank_reported=False,
        last_error=None,
    )
    if lost is not None:  # the attempt that it stands for began then; the floor counts from there (REF-16, REF-44)
        began = turn.mono - max(0, turn.wall - lost.wall_ms)
        known = tokens.last_attempt
        if known is None or known.mono_ms < began:
            tokens = evolve(tokens, last_attempt=Instant(lost.wall_ms, began), last_attempt_token=pair.access.digest)
        tokens = evolve(
            tokens,
            not_before=max(tokens.not_before, began + turn.policy.unknown_answer_wait_ms),
            lost_until=began + turn.policy.grace_ms,
        )
    if is_rejected(tokens) and not can_rotate(pair):
        return needs_replacement(tokens, turn)
    turn.signal(Swapped(None))
    return tokens


def _is_lost(credentials: Credentials) -> bool:
    intent, pair = credentials.intent, credentials.tokens
    return (
        intent is not None
        and pair is not None
        and pair.refresh is not None
        and intent.refresh_digest == pair.refresh.digest
    )


def _in_force(tokens: TokenState, credentials: Credentials, turn: Turn) -> TokenState:
    """The new pair with its own times; its jitter is drawn here, once (TOK-10). The counters start again (REF-20)."""
    pair = credentials.tokens
    assert pair is not None
    known = None if tokens.credentials is None else tokens.credentials.tokens
    if known is not None and (known.access, known.obtained_at_ms) == (pair.access, pair.obtained_at_ms):
        times = tokens.times
    else:
        times = token_times(pair.access, pair.obtained_at_ms, turn.draw("token-jitter"), turn.policy)
        subject, user_id = read_claims(pair.access.reveal()).sub, credentials.identity.user_id
        if subject is not None and subject != user_id and user_id.strip():  # AUTH-11
            turn.emit(Misconfigured("subject-mismatch", "the access token names another user than the identity"))
    return evolve(tokens, credentials=credentials, times=times, failures=0, backoff_until=0, not_before=0, hold_until=0)


def swap(tokens: TokenState, phase: Saving, saved: Credentials, turn: Turn) -> TokenState:
    """The new pair is durable: it comes into force, the latch goes, success is reported, in this order (REF-9)."""
    return _recovered(_take(tokens, phase.flight, saved, turn, adopted=False), phase.failures, turn)


def adopt(tokens: TokenState, flight: Flight, stored: Credentials, turn: Turn, failures: int = 0) -> TokenState:
    """The store holds a newer pair than the one this flight was about: another process rotated (REF-45, REF-49).

    ``failures`` counts the saves that had failed before.
    """
    return _recovered(_take(tokens, flight, stored, turn, adopted=True), failures, turn)


def _recovered(tokens: TokenState, failures: int, turn: Turn) -> TokenState:
    if failures >= turn.policy.save_alarm_after:
        turn.emit(SaveRecovered(failures))
    return tokens


def _take(tokens: TokenState, flight: Flight, credentials: Credentials, turn: Turn, *, adopted: bool) -> TokenState:
    pair, old, before = credentials.tokens, tokens.times, tokens.credentials
    assert pair is not None
    turn.do(Swap(pair))
    tokens = evolve(
        _in_force(tokens, credentials, turn),
        status="usable",
        latch=None,
        lost_until=None,
        unknown=False,
        armed=not tokens.stopped,
        poll_at=None,
        poll_operation=None,
        last_error=None,
    )
    times = tokens.times
    turn.emit(
        TokensRotated(
            None if times is None else times.expires_at_ms, None if times is None else times.refresh_at_ms, adopted
        )
    )
    if times is not None and old is not None and not adopted:
        not_newer = old.server_clock and times.server_clock and times.expires_at_ms <= old.expires_at_ms
        if not_newer or is_near_expiry(tokens, turn.now):  # TOK-22
            wait = max(times.life_ms // 2, turn.policy.refresh_floor_ms)
            tokens = evolve(tokens, hold_until=turn.mono + wait)
            turn.emit(TokenNotNewer(wait))
    turned = before is not None and before.identity.user_id != credentials.identity.user_id
    turn.signal(Swapped("identity" if turned else flight.trigger))
    return end_flight(tokens, flight, RefreshSucceeded(pair), turn)


# --- a pair goes out of force --------------------------------------------------------------------------------------


def needs_credentials(tokens: TokenState, status: Status, text: str, turn: Turn) -> TokenState:
    """Nothing can be done before somebody brings credentials; look for them regularly (OUT-8, OUT-10)."""
    turn.emit(CredentialsNeeded(text))
    return evolve(
        tokens,
        status=status,
        armed=False,
        starting=False,
        lost_until=None,
        last_error=text,
        poll_at=_poll_at(tokens, turn),
    )


def logged_out_elsewhere(tokens: TokenState, flight: Flight, stored: Credentials, turn: Turn) -> TokenState:
    """Another process that shares the store was refused for good and has cleared it: end as it did (OUT-7, OUT-11). It
    has told of the logout itself (OUT-5); whoever waits here is told what is needed now."""
    text = "another process has logged the agent out; it must be paired again"
    turn.signal(LogoutBegun())
    turn.signal(LogoutEnded())
    tokens = evolve(tokens, credentials=stored, times=None, latch=stored.refused, unknown=False, failures=0)
    tokens = needs_credentials(tokens, "logged-out", text, turn)
    return end_flight(tokens, flight, RefreshFailed(text, sent=False), turn)


def needs_replacement(tokens: TokenState, turn: Turn) -> TokenState:
    """The access token in force was rejected; without a refresh token nothing but other credentials helps (OUT-10)."""
    if can_rotate(current_tokens(tokens)):
        return tokens
    return needs_credentials(tokens, "needed", "the token was rejected and there is no refresh token", turn)


def _poll_at(tokens: TokenState, turn: Turn) -> int | None:
    interval = turn.policy.credential_poll_ms
    return None if interval is None or tokens.stopped else turn.mono + interval


def polled(tokens: TokenState, event: StoreReport, turn: Turn) -> TokenState:
    """What the store holds while the session waits for credentials. The refused token is not taken back (OUT-9)."""
    tokens = evolve(tokens, poll_operation=None, poll_at=_poll_at(tokens, turn))
    found = event.credentials if isinstance(event, Reloaded) else None
    if found is None or found.tokens is None or found.tokens.access.digest in (tokens.latch, found.refused):
        return tokens
    if found.tokens.access.digest == tokens.rejected and not can_rotate(found.tokens):
        return tokens
    return load(tokens, found, turn)


def log_out(tokens: TokenState, phase: Rereading, generation: int, turn: Turn) -> TokenState:
    """Refused for good, and the store knows nothing newer: latch, then forget the pair (REF-30, OUT-1, OUT-2)."""
    refused = phase.flight.tokens.access.digest
    cause = _cause(tokens, phase.code)
    turn.signal(LogoutBegun())
    logging_out = LoggingOut(phase.flight, 0, phase.code, phase.text, cause, generation)
    return _forget(evolve(tokens, latch=refused, armed=False), logging_out, turn)


def _forget(tokens: TokenState, phase: LoggingOut, turn: Turn) -> TokenState:
    operation = turn.next_operation()
    flight = phase.flight
    turn.do(Logout(operation, flight.identity, flight.tokens.access.digest, phase.replaces, phase.cause))
    return evolve(tokens, phase=evolve(phase, operation=operation))


def _cause(tokens: TokenState, code: int) -> LogoutCause:
    if code == CODE_BAD_REQUEST:
        return "client-fault"
    return "rotation-lost" if tokens.unknown else "refused"


def forgotten(tokens: TokenState, phase: LoggingOut, event: StoreReport, turn: Turn) -> TokenState:
    """The store has answered the logout: tell everybody, whether or not it could forget (OUT-4 to OUT-6)."""
    stored = event.stored if isinstance(event, StoreConflicted) else None
    if stored is not None and stored.tokens is not None:
        if not is_pair_of(phase.flight, stored):
            return adopt(tokens, phase.flight, stored, turn)  # a sibling was faster by a hair (REF-45)
        if stored.generation != phase.replaces:  # the very same pair under another number
            return _forget(tokens, evolve(phase, replaces=stored.generation), turn)
    if not is_current(tokens, phase.flight):  # other credentials were loaded meanwhile: they are in force
        return end_flight(tokens, phase.flight, RefreshFailed(f"code {phase.code} for a pair that was replaced"), turn)
    still_there = isinstance(event, StoreFailed) or (stored is not None and stored.tokens is not None)
    credentials = tokens.credentials
    assert credentials is not None
    identity, refused = credentials.identity, phase.flight.tokens.access.digest
    text = phase.text or "the refresh token was refused"
    turn.emit(LoggedOut(phase.cause, phase.code, text, identity, cleared=not still_there))
    cleanup = None
    if still_there:
        retry_at = turn.mono + save_backoff_ms(1, turn.policy)
        cleanup = Cleanup(identity, refused, phase.replaces, phase.cause, operation=None, failures=1, retry_at=retry_at)
    generation = event.generation if isinstance(event, Stored) else credentials.generation
    tokens = evolve(
        tokens,
        status="logged-out",
        credentials=Credentials(identity, None, generation, refused=refused),
        times=None,
        lost_until=None,
        unknown=False,
        failures=0,
        cleanup=cleanup,
        poll_at=_poll_at(tokens, turn),
        last_error=f"logged out, pairing needed ({text})",
    )
    turn.signal(LogoutEnded())
    return end_flight(tokens, phase.flight, RefreshRefused(phase.code, text), turn)


def clean_up(tokens: TokenState, cleanup: Cleanup, turn: Turn) -> TokenState:
    """Ask the store once more to forget the pair (OUT-2)."""
    operation = turn.next_operation()
    turn.do(Logout(operation, cleanup.identity, cleanup.refused, cleanup.replaces, cleanup.cause))
    return evolve(tokens, cleanup=evolve(cleanup, operation=operation, retry_at=None))


def cleaned(tokens: TokenState, cleanup: Cleanup, event: StoreReport, turn: Turn) -> TokenState:
    """The store has answered the repeated logout. A conflict means somebody has paired meanwhile: leave it alone,
    unless it is the refused pair under another number."""
    stored = event.stored if isinstance(event, StoreConflicted) else None
    same = stored is not None and stored.tokens is not None and stored.tokens.access.digest == cleanup.refused
    if stored is not None and same:
        cleanup = evolve(cleanup, replaces=stored.generation)
    elif not isinstance(event, StoreFailed):
        return evolve(tokens, cleanup=None)
    failures = cleanup.failures + 1
    retry_at = turn.mono + save_backoff_ms(failures, turn.policy)
    return evolve(tokens, cleanup=evolve(cleanup, operation=None, failures=failures, retry_at=retry_at))
