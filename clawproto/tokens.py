"""The token machine: keeps one pair of tokens fresh, and never loses one.

Rules: TOK-5, TOK-10 to TOK-15, TOK-20 to TOK-22, REF-9 to REF-50, OUT-1 to OUT-10, AUTH-11.

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

from clawproto.app_events import ClockSkewed, Misconfigured, RefreshDelayed, SaveAlarm
from clawproto.credentials import Credentials, Intent
from clawproto.effects import Persist, RecordIntent, Reload, RequestRefresh
from clawproto.events import (
    CredentialsLoaded,
    HttpAnswered,
    HttpFailed,
    Reloaded,
    Start,
    StoreConflicted,
    Stored,
    StoreFailed,
    StoreReport,
)
from clawproto.evolving import evolve
from clawproto.http import HttpAnswer
from clawproto.jwt import read_claims
from clawproto.rest_format import (
    RefreshVerdict,
    Refused,
    Rotated,
    Unusable,
    classify_refresh,
    device_id_problem,
    refresh_request,
)
from clawproto.results import RefreshFailed, RefreshSkipped, SkipReason
from clawproto.timing import clock_offset, http_date_ms, refresh_backoff_ms, retry_after_ms, save_backoff_ms
from clawproto.tokens_outcome import (
    adopt,
    clean_up,
    cleaned,
    end_flight,
    forgotten,
    load,
    log_out,
    needs_credentials,
    polled,
    swap,
)
from clawproto.tokens_state import (
    Cleanup,
    Flight,
    Idle,
    Recording,
    Requesting,
    Rereading,
    Saving,
    TokenState,
    current_tokens,
    floor_end,
    is_near_expiry,
    is_rejected,
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
    """The host brings credentials (OUT-8); a token that was refused for good is not taken back (OUT-9)."""
    pair = event.credentials.tokens
    if tokens.stopped or pair is None or pair.access.digest == tokens.latch:
        return tokens
    return load(tokens, event.credentials, turn)


def token_rejected(tokens: TokenState, digest: str, turn: Turn) -> TokenState:
    """A hub answered ``authentication failed`` to the token with this digest (HS-15, REF-22, REF-23, OUT-10)."""
    tokens = evolve(tokens, rejected=digest)
    pair = current_tokens(tokens)
    if not is_rejected(tokens) or (pair is not None and pair.refresh is not None and not pair.refresh.is_blank):
        return tokens
    return needs_credentials(tokens, "needed", "the token was rejected and there is no refresh token", turn)


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
    if tokens.latch is not None and tokens.latch == pair.access.digest:
        return "rejected-latch"
    if turn.mono < max(floor_end(tokens, turn.policy), tokens.not_before):
        return "min-interval"
    if pair.refresh is None or pair.refresh.is_blank:
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
    flight = Flight(trigger, pair, credentials.generation, callers)
    tokens = evolve(tokens, last_attempt=turn.now, last_attempt_token=pair.access.digest, lost=None)
    if not turn.policy.record_intent:
        return _send_request(tokens, flight, turn)
    operation = turn.next_operation()
    intent = Intent(pair.refresh.digest, credentials.generation, turn.wall)
    turn.do(RecordIntent(operation, intent))
    return evolve(tokens, phase=Recording(flight, operation, intent))


def _send_request(tokens: TokenState, flight: Flight, turn: Turn) -> TokenState:
    assert tokens.credentials is not None and flight.tokens.refresh is not None
    identity = tokens.credentials.identity
    number = turn.next_request()
    http = refresh_request(identity.base_url, identity.device_id, flight.tokens.refresh)
    turn.do(RequestRefresh(number, http, turn.policy.refresh_timeout_ms))
    return evolve(tokens, phase=Requesting(flight, number))


# --- what the session wants by itself ------------------------------------------------------------------------------


def advance(tokens: TokenState, turn: Turn) -> TokenState:
    """Do whatever has fallen due. Called at the end of every step; idempotent."""
    phase = tokens.phase
    if isinstance(phase, Saving) and phase.retry_at is not None and turn.mono >= phase.retry_at:
        tokens = _persist(tokens, evolve(phase, retry_at=None), turn)
    cleanup = tokens.cleanup
    if cleanup is not None and cleanup.retry_at is not None and turn.mono >= cleanup.retry_at:
        tokens = clean_up(tokens, cleanup, turn)
    if tokens.poll_at is not None and turn.mono >= tokens.poll_at:
        operation = turn.next_operation()
        turn.do(Reload(operation))
        tokens = evolve(tokens, poll_at=None, poll_operation=operation)
    if tokens.starting:
        tokens = evolve(tokens, starting=False)
        if is_near_expiry(tokens, turn.now):
            return request(tokens, "startup", None, turn)
    trigger = _wanted(tokens, turn)
    if trigger is not None and turn.mono >= _allowed_at(tokens, turn):
        return request(tokens, trigger, None, turn)
    return tokens


def _wanted(tokens: TokenState, turn: Turn) -> Trigger | None:
    """Why the session itself wants a refresh now, were it allowed (REF-22, REF-27, REF-31, REF-46)."""
    if not _can_refresh(tokens):
        return None
    if is_rejected(tokens):
        return "rejected"
    if _is_within_grace(tokens, turn):
        return "recovery"
    due = proactive_at(tokens)
    return "proactive" if due is not None and turn.wall >= due and turn.mono >= tokens.hold_until else None


def _is_within_grace(tokens: TokenState, turn: Turn) -> bool:
    """Whether a rotation whose answer was lost may still be redeemed (REF-44, REF-46)."""
    return tokens.lost is not None and turn.wall - tokens.lost.wall_ms < turn.policy.grace_ms


def _can_refresh(tokens: TokenState) -> bool:
    pair = current_tokens(tokens)
    return (
        isinstance(tokens.phase, Idle)
        and not tokens.stopped
        and not tokens.blank_reported
        and pair is not None
        and pair.refresh is not None
        and not pair.refresh.is_blank
        and pair.access.digest != tokens.latch
    )


def proactive_at(tokens: TokenState) -> int | None:
    """Wall-clock instant of the armed proactive refresh, or None (TOK-12, TOK-13)."""
    if not tokens.armed or tokens.times is None:
        return None
    return tokens.times.local(tokens.times.refresh_at_ms, tokens.offset)


def _allowed_at(tokens: TokenState, turn: Turn) -> int:
    """The later of backoff end and floor end (REF-21), and whatever else forbids an attempt."""
    return max(tokens.backoff_until, tokens.not_before, floor_end(tokens, turn.policy))


def deadline(tokens: TokenState, turn: Turn) -> int | None:
    """Monotonic ms at which `advance` has something to do, or should look at the wall clock again (TOK-21)."""
    dues = [at for at in (tokens.poll_at, _retry_at(tokens.phase), _retry_at(tokens.cleanup)) if at is not None]
    if _can_refresh(tokens):
        allowed = _allowed_at(tokens, turn)
        proactive = proactive_at(tokens)
        if is_rejected(tokens) or _is_within_grace(tokens, turn):
            dues.append(allowed)
        elif proactive is not None:
            wait = min(max(proactive - turn.wall, 0), turn.policy.wall_check_ms)
            dues.append(max(turn.mono + wait, tokens.hold_until, allowed))
    return min(dues, default=None)


def _retry_at(waiting: object) -> int | None:
    return waiting.retry_at if isinstance(waiting, Saving | Cleanup) else None


# --- answers -------------------------------------------------------------------------------------------------------


def http_report(tokens: TokenState, event: HttpAnswered | HttpFailed, turn: Turn) -> TokenState:
    """The refresh call has ended. Late answers, of a flight that is no more, change nothing."""
    phase = tokens.phase
    if not isinstance(phase, Requesting) or phase.request != event.request:
        return tokens
    if isinstance(event, HttpFailed):
        return _transient(tokens, phase.flight, event.detail, event.sent, turn, unknown=event.sent)
    verdict = classify_refresh(event.answer)
    server_ms = _server_ms(event.answer, verdict)
    if server_ms is not None:
        tokens = observe_server_time(tokens, server_ms, turn)
    if isinstance(verdict, Rotated):
        held = _rotated(tokens, phase.flight, verdict, turn)
        replaces = phase.flight.generation
        return _persist(tokens, Saving(phase.flight, held, replaces, operation=None), turn)
    if isinstance(verdict, Unusable):
        wait = retry_after_ms(event.answer.header("retry-after"), turn.wall, turn.policy)
        if event.answer.status in (429, 503) and wait:
            tokens = evolve(tokens, not_before=max(tokens.not_before, turn.mono + wait))
        return _transient(tokens, phase.flight, verdict.text, True, turn, unknown=not verdict.answered)
    return _refused(tokens, phase.flight, verdict, turn)


def _server_ms(answer: HttpAnswer, verdict: RefreshVerdict) -> int | None:
    """The server's clock, by its own word or else by the issue time of the token that it has just minted (TOK-20)."""
    date = http_date_ms(answer.header("date") or "")
    if date is not None or not isinstance(verdict, Rotated):
        return date
    return read_claims(verdict.access.reveal()).iat_ms


def _rotated(tokens: TokenState, flight: Flight, verdict: Rotated, turn: Turn) -> Credentials:
    assert tokens.credentials is not None
    pair = evolve(flight.tokens, access=verdict.access, refresh=verdict.refresh, obtained_at_ms=turn.wall)
    return tokens.credentials.with_tokens(pair, flight.generation + 1)


def _persist(tokens: TokenState, saving: Saving, turn: Turn) -> TokenState:
    operation = turn.next_operation()
    turn.do(Persist(operation, saving.held, saving.replaces))
    return evolve(tokens, phase=evolve(saving, operation=operation))


def _refused(tokens: TokenState, flight: Flight, verdict: Refused, turn: Turn) -> TokenState:
    pair = current_tokens(tokens)
    if pair is not None and pair.refresh != flight.tokens.refresh:  # not the newest one known (REF-45)
        text = f"code {verdict.code} for a refresh token that has been replaced"
        return _transient(tokens, flight, text, True, turn, unknown=False)
    operation = turn.next_operation()
    turn.do(Reload(operation))
    return evolve(tokens, phase=Rereading(flight, operation, verdict.code, verdict.text))


def _transient(tokens: TokenState, flight: Flight, text: str, sent: bool, turn: Turn, *, unknown: bool) -> TokenState:
    """Nothing was swapped; try again later, without limit (REF-20, REF-21, REF-24)."""
    failures = tokens.failures + 1
    wait = refresh_backoff_ms(failures, turn.draw("refresh-backoff"), turn.policy)
    not_before = turn.mono + turn.policy.unknown_answer_wait_ms if unknown else 0  # REF-44
    tokens = evolve(
        tokens,
        failures=failures,
        backoff_until=turn.mono + wait,
        not_before=max(tokens.not_before, not_before),
        unknown=tokens.unknown or unknown,
        last_error=text,
    )
    tokens = end_flight(tokens, flight, RefreshFailed(text, sent), turn)
    retry = _wanted(tokens, turn) is not None
    turn.emit(RefreshDelayed(text, max(0, _allowed_at(tokens, turn) - turn.mono) if retry else None))
    return tokens


def store_report(tokens: TokenState, event: StoreReport, turn: Turn) -> TokenState:
    """The store has answered. Operations that belong to nothing any more change nothing."""
    phase, cleanup = tokens.phase, tokens.cleanup
    if event.operation == tokens.poll_operation:
        return polled(tokens, event, turn)
    if cleanup is not None and event.operation == cleanup.operation:
        return cleaned(tokens, cleanup, event, turn)
    if isinstance(phase, Idle | Requesting) or phase.operation != event.operation:
        return tokens
    if isinstance(phase, Recording):
        return _recorded(tokens, phase, event, turn)
    if isinstance(phase, Saving):
        return _saved(tokens, phase, event, turn)
    if isinstance(phase, Rereading):
        return _reread(tokens, phase, event, turn)
    return forgotten(tokens, phase, event, turn)


def _recorded(tokens: TokenState, phase: Recording, event: StoreReport, turn: Turn) -> TokenState:
    match event:
        case Stored():
            return _send_request(tokens, phase.flight, turn)
        case StoreConflicted(stored=stored) if stored is not None and stored.tokens is not None:
            return adopt(tokens, phase.flight, stored, turn)  # another process was faster: no request at all (REF-49)
        case StoreFailed(detail=detail):
            pass
        case _:
            detail = "the store no longer holds these credentials"
    # What cannot be written before the rotation could not be saved after it: better not to rotate at all.
    turn.emit(Misconfigured("store-unwritable", f"refresh put off: {detail}"))
    return _transient(tokens, phase.flight, detail, False, turn, unknown=False)


def _saved(tokens: TokenState, phase: Saving, event: StoreReport, turn: Turn) -> TokenState:
    if isinstance(event, Stored):
        return swap(tokens, phase, evolve(phase.held, generation=event.generation), turn)
    if isinstance(event, StoreConflicted) and event.stored is not None and event.stored.tokens is not None:
        return adopt(tokens, phase.flight, event.stored, turn)
    if isinstance(
        event, StoreConflicted
    ):  # the record was cleared or removed, yet the server has just rotated: keep it
        replaces = None if event.stored is None else event.stored.generation
        if replaces != phase.replaces:
            renewed = evolve(phase.held, generation=phase.held.generation if replaces is None else replaces + 1)
            return _persist(tokens, evolve(phase, held=renewed, replaces=replaces), turn)
    detail = event.detail if isinstance(event, StoreFailed) else "the store refuses the save"
    failures = phase.failures + 1
    retry_at = turn.mono + save_backoff_ms(failures, turn.policy)
    if failures == turn.policy.save_alarm_after:
        turn.emit(SaveAlarm(failures, detail))
    flight = phase.flight
    if failures == 1:  # the callers need not wait for the disk (REF-10)
        for command in flight.callers:
            turn.resolve(command, RefreshFailed(f"the new pair could not be saved yet: {detail}"))
        flight = evolve(flight, callers=())
    waiting = evolve(phase, flight=flight, operation=None, failures=failures, retry_at=retry_at)
    return evolve(tokens, phase=waiting, last_error=detail)


def _reread(tokens: TokenState, phase: Rereading, event: StoreReport, turn: Turn) -> TokenState:
    stored = event.credentials if isinstance(event, Reloaded) else None
    if stored is not None and stored.tokens is not None and stored.tokens.refresh != phase.flight.tokens.refresh:
        return adopt(tokens, phase.flight, stored, turn)  # REF-45
    if isinstance(event, StoreFailed):  # it cannot be told who is right: keep the pair and ask again later
        return _transient(
            tokens, phase.flight, f"code {phase.code}, store unreadable: {event.detail}", True, turn, unknown=False
        )
    return log_out(tokens, phase, phase.flight.generation if stored is None else stored.generation, turn)
