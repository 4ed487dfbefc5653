"""What the server and the store answer to a refresh, and what follows from it.

Rules: TOK-5, TOK-20, REF-4 to REF-10, REF-20 to REF-25, REF-30, REF-43 to REF-49. The picture is in `clawproto.tokens`.
"""

from clawproto.app_events import Misconfigured, RefreshDelayed, SaveAlarm
from clawproto.credentials import Credentials
from clawproto.effects import Reload
from clawproto.events import (
    HttpAnswered,
    HttpFailed,
    Reloaded,
    StoreConflicted,
    Stored,
    StoreFailed,
    StoreReport,
)
from clawproto.evolving import evolve
from clawproto.http import HttpAnswer
from clawproto.jwt import read_claims
from clawproto.rest_format import RefreshVerdict, Refused, Rotated, Unusable, classify_refresh
from clawproto.results import RefreshFailed
from clawproto.timing import http_date_ms, refresh_backoff_ms, retry_after_ms, save_backoff_ms
from clawproto.tokens import observe_server_time, persist, retry_in_ms, send_request
from clawproto.tokens_outcome import adopt, cleaned, end_flight, forgotten, log_out, polled, swap
from clawproto.tokens_state import (
    Flight,
    Idle,
    Recording,
    Requesting,
    Rereading,
    Saving,
    TokenState,
    current_tokens,
)
from clawproto.turn import Turn


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
        return persist(tokens, Saving(phase.flight, held, replaces, operation=None), turn)
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
    turn.emit(RefreshDelayed(text, retry_in_ms(tokens, turn)))
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
            return send_request(tokens, phase.flight, turn)
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
            return persist(tokens, evolve(phase, held=renewed, replaces=replaces), turn)
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
