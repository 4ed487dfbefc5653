"""What the server and the store answer to a refresh, and what follows from it.

Rules: TOK-5, TOK-20, REF-4 to REF-10, REF-20 to REF-25, REF-30, REF-43 to REF-49. The picture is in `clawproto.tokens`.
"""

from clawproto.app_events import Misconfigured, RefreshDelayed, SaveAlarm
from clawproto.credentials import Credentials, Identity, TokenPair
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
from clawproto.results import RefreshFailed, RefreshSkipped
from clawproto.timing import http_date_ms, refresh_backoff_ms, retry_after_ms, save_backoff_ms
from clawproto.tokens import observe_server_time, persist, record_intent, retry_in_ms, send_request
from clawproto.tokens_outcome import adopt, cleaned, end_flight, forgotten, log_out, logged_out_elsewhere, polled, swap
from clawproto.tokens_state import (
    Flight,
    Idle,
    Recording,
    Requesting,
    Rereading,
    Saving,
    TokenState,
    is_current,
    is_pair_of,
    is_spent,
    remember_spent,
)
from clawproto.turn import FlightEnded, Turn


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
        tokens = remember_spent(tokens, phase.flight)
        held = _rotated(phase.flight, verdict, turn)
        replaces = phase.flight.generation
        return persist(tokens, Saving(phase.flight, held, replaces, operation=None), turn)
    if isinstance(verdict, Unusable):
        wait = retry_after_ms(event.answer.header("retry-after"), turn.wall + tokens.offset, turn.policy)
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


def _rotated(flight: Flight, verdict: Rotated, turn: Turn) -> Credentials:
    pair = TokenPair(verdict.access, verdict.refresh, obtained_at_ms=turn.wall)
    return Credentials(flight.identity, pair, flight.generation + 1)


def _refused(tokens: TokenState, flight: Flight, verdict: Refused, turn: Turn) -> TokenState:
    if not is_current(tokens, flight):  # not the newest one known (REF-45)
        text = f"code {verdict.code} for a refresh token that has been replaced"
        return _transient(tokens, flight, text, True, turn, unknown=False)
    operation = turn.next_operation()
    turn.do(Reload(operation))
    return evolve(tokens, phase=Rereading(flight, operation, verdict.code, verdict.text))


def _transient(tokens: TokenState, flight: Flight, text: str, sent: bool, turn: Turn, *, unknown: bool) -> TokenState:
    """Nothing was swapped; try again later, without limit (REF-20, REF-21, REF-24)."""
    failures = tokens.failures + 1
    wait = refresh_backoff_ms(failures, turn.draw("refresh-backoff"), turn.policy)
    if unknown and is_current(
        tokens, flight
    ):  # the server may have rotated: come back while it can still be redeemed (REF-44)
        assert tokens.last_attempt is not None
        tokens = evolve(
            tokens,
            unknown=True,
            not_before=max(tokens.not_before, turn.mono + turn.policy.unknown_answer_wait_ms),
            lost_until=tokens.last_attempt.mono_ms + turn.policy.grace_ms,
        )
    tokens = evolve(
        tokens,
        failures=failures,
        backoff_until=turn.mono + wait,
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
        case Stored() if tokens.stopped:  # nothing goes out after a stop (REF-32)
            return end_flight(tokens, phase.flight, RefreshSkipped("stopped"), turn)
        case Stored() if not is_current(tokens, phase.flight):
            text = "other credentials were loaded before the request was sent"
            return _transient(tokens, phase.flight, text, False, turn, unknown=False)
        case Stored():
            return send_request(tokens, phase.flight, turn)
        case StoreConflicted(stored=stored) if stored is not None and stored.tokens is not None:
            if is_spent(tokens, stored) and is_current(tokens, phase.flight):
                return _put_back(tokens, phase.flight, stored.generation, turn)
            if not is_pair_of(phase.flight, stored):  # another process was faster: no request at all (REF-49)
                return adopt(tokens, phase.flight, stored, turn)
            if stored.generation != phase.flight.generation:  # the very same pair under another number
                return record_intent(tokens, evolve(phase.flight, generation=stored.generation), turn)
            detail = "the store refuses the generation that it holds"
        case StoreConflicted(stored=stored) if stored is not None and stored.refused is not None:
            if is_current(tokens, phase.flight):
                return logged_out_elsewhere(tokens, phase.flight, stored, turn)
            detail = "other credentials were loaded, and the store has not got them yet"
        case StoreFailed(detail=detail):
            pass
        case _:
            detail = "the store no longer holds these credentials"
    # What cannot be written before the rotation could not be saved after it: better not to rotate at all.
    turn.emit(Misconfigured("store-unwritable", f"refresh put off: {detail}"))
    return _transient(tokens, phase.flight, detail, False, turn, unknown=False)


def _put_back(tokens: TokenState, flight: Flight, replaces: int, turn: Turn) -> TokenState:
    """The store has gone back to a pair that this session has spent: adopting it would end the session, so the pair in
    force is saved once more, and the refresh is put off until it is (REF-49)."""
    held = Credentials(flight.identity, flight.tokens, replaces + 1)
    return persist(tokens, Saving(flight, held, replaces, operation=None), turn)


def _in_store(tokens: TokenState, phase: Saving, saved: Credentials, turn: Turn) -> TokenState:
    """The pair is durable now."""
    if phase.held.tokens != phase.flight.tokens or not is_current(tokens, phase.flight):
        return swap(tokens, phase, saved, turn)
    text = "the store had gone back to an older pair; the current one is saved again"
    return _transient(evolve(tokens, credentials=saved), phase.flight, text, False, turn, unknown=False)


def _saved(tokens: TokenState, phase: Saving, event: StoreReport, turn: Turn) -> TokenState:
    if isinstance(event, Stored):
        return _in_store(tokens, phase, evolve(phase.held, generation=event.generation), turn)
    if isinstance(event, StoreConflicted):
        stored = event.stored
        if stored is not None and stored.tokens == phase.held.tokens:  # saved, and the report of it was lost
            return _in_store(tokens, phase, stored, turn)
        other = stored is not None and stored.tokens is not None and not is_pair_of(phase.flight, stored)
        if stored is not None and other and not is_spent(tokens, stored):
            if not _was_issued_after(phase.held, stored):
                return adopt(tokens, phase.flight, stored, turn, failures=phase.failures)
        # The record was cleared, removed or renumbered, or this pair has outlived it. The server has just rotated:
        # this pair is the newest there is.
        replaces = None if stored is None else stored.generation
        if replaces != phase.replaces:
            renewed = evolve(phase.held, generation=phase.held.generation if replaces is None else replaces + 1)
            return persist(tokens, evolve(phase, held=renewed, replaces=replaces), turn)
    detail = event.detail if isinstance(event, StoreFailed) else "the store refuses the save"
    failures = phase.failures + 1
    retry_at = turn.mono + save_backoff_ms(failures, turn.policy)
    if failures == turn.policy.save_alarm_after:
        turn.emit(SaveAlarm(failures, detail))
    flight = phase.flight
    if failures == 1:  # the callers need not wait for the disk, REST calls no more than others (REF-10)
        outcome = RefreshFailed(f"the new pair could not be saved yet: {detail}")
        for command in flight.callers:
            turn.resolve(command, outcome)
        turn.signal(FlightEnded(flight.trigger, outcome))
        flight = evolve(flight, callers=())
    waiting = evolve(phase, flight=flight, operation=None, failures=failures, retry_at=retry_at)
    return evolve(tokens, phase=waiting, last_error=detail)


def _was_issued_after(held: Credentials, stored: Credentials) -> bool:
    """Whether the pair that is held is newer than the one in the store, by the server's clock, both being the same
    agent's. Within the grace a spent token is redeemed once more and its first successor dies (REF-8): a sibling may
    save that successor after we got the second one. If the tokens do not tell, the store is right."""
    if stored.tokens is None or held.tokens is None or not _is_same_agent(held.identity, stored.identity):
        return False
    ours, theirs = (read_claims(pair.access.reveal()).iat_ms for pair in (held.tokens, stored.tokens))
    return ours is not None and theirs is not None and ours > theirs


def _is_same_agent(one: Identity, other: Identity) -> bool:
    return (one.user_id, one.device_id) == (other.user_id, other.device_id)


def _reread(tokens: TokenState, phase: Rereading, event: StoreReport, turn: Turn) -> TokenState:
    stored = event.credentials if isinstance(event, Reloaded) else None
    if stored is not None and stored.tokens is not None and not is_pair_of(phase.flight, stored):
        return adopt(tokens, phase.flight, stored, turn)  # REF-45
    if not is_current(tokens, phase.flight):  # other credentials were loaded meanwhile: they are in force
        text = f"code {phase.code} for a refresh token that has been replaced"
        return _transient(tokens, phase.flight, text, True, turn, unknown=False)
    if isinstance(event, StoreFailed):  # it cannot be told who is right: keep the pair and ask again later
        return _transient(
            tokens, phase.flight, f"code {phase.code}, store unreadable: {event.detail}", True, turn, unknown=False
        )
    return log_out(tokens, phase, phase.flight.generation if stored is None else stored.generation, turn)
