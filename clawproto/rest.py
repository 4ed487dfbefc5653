"""Authenticated REST calls: one refresh and one repetition when the server says 401 or 403.

Rules: REST-1 to REST-8, REF-12, REF-28, OUT-11.

    CallRest --> calling ---- answer ---------------------------------> resolved
                  ^  | 401, 403
                  |  |-- the token was swapped meanwhile --> repeat once
                  |  v
                  '- refreshing -- success --> repeat once;  anything else --> resolved
"""

from typing import Literal

from clawproto.deferred import frozen
from clawproto.effects import RequestHttp
from clawproto.events import CallRest, HttpAnswered, HttpFailed
from clawproto.evolving import evolve
from clawproto.persistent import IntMap
from clawproto.rest_format import authenticated_request, read_envelope
from clawproto.results import (
    LoggedOutResult,
    NotPaired,
    RestFailed,
    RestRefused,
    RestResult,
    RestSucceeded,
    RestUnauthorized,
    StoppedResult,
)
from clawproto.tokens_state import TokenState, current_tokens
from clawproto.turn import Turn
from clawproto.wire.json_text import write_ascii

UNAUTHORIZED = (401, 403)  # REST-2


@frozen
class Call:
    """One call under way.

    Attributes:
        command: what is being done, and for whom.
        request: number of the HTTP request; 0 while a refresh is awaited.
        presented: digest of the access token it went out with; blank before that.
        status: of the answer that made the refresh necessary; 0 before that.
    """

    command: CallRest
    request: int = 0
    presented: str = ""
    status: int = 0


@frozen
class RestState:
    """Calls by command number."""

    calls: IntMap[Call] = IntMap()
    by_request: IntMap[int] = IntMap()


def call(rest: RestState, command: CallRest, tokens: TokenState, turn: Turn) -> RestState:
    """Send a call with the token in force (REST-1)."""
    pair = current_tokens(tokens)
    if tokens.stopped or pair is None:
        turn.resolve(command.command, _why_not(tokens))
        return rest
    return _send(rest, Call(command), tokens, turn)


def _why_not(tokens: TokenState) -> RestResult:
    if tokens.stopped:
        return StoppedResult()
    return LoggedOutResult() if tokens.status == "logged-out" else NotPaired()


def _send(rest: RestState, pending: Call, tokens: TokenState, turn: Turn) -> RestState:
    pair = current_tokens(tokens)
    assert pair is not None and tokens.credentials is not None
    identity, command = tokens.credentials.identity, pending.command
    http = authenticated_request(
        identity.base_url,
        identity.device_id,
        pair.access,
        command.method,
        command.path,
        command.body,
        command.content_type,
    )
    number = turn.next_request()
    timeout = turn.policy.rest_timeout_ms if command.timeout_ms is None else command.timeout_ms
    turn.do(RequestHttp(number, http, timeout, "rest"))
    sent = evolve(pending, request=number, presented=pair.access.digest)
    return RestState(rest.calls.set(command.command, sent), rest.by_request.set(number, command.command))


def http_report(
    rest: RestState, event: HttpAnswered | HttpFailed, tokens: TokenState, turn: Turn
) -> tuple[RestState, Literal["done", "refresh"] | None]:
    """A call has ended.

    Returns:
        The calls, and ``"refresh"`` if one waits for a refresh now (REST-4); None if the number belongs to no call.
    """
    command = rest.by_request.get(event.request)
    if command is None:
        return rest, None
    pending = rest.calls.get(command)
    assert pending is not None
    rest = evolve(rest, by_request=rest.by_request.remove(event.request))
    if isinstance(event, HttpAnswered) and _is_auth_error(event, pending.command) and not pending.status:
        pending = evolve(pending, request=0, status=event.answer.status)
        rest = evolve(rest, calls=rest.calls.set(command, pending))
        pair = current_tokens(tokens)
        if pair is not None and pair.access.digest != pending.presented and not tokens.stopped:
            return _send(rest, pending, tokens, turn), "done"  # swapped while the call was under way (REST-6)
        return rest, "refresh"
    return _resolve(rest, command, _result(event, pending.command), turn), "done"


def _is_auth_error(event: HttpAnswered, command: CallRest) -> bool:
    if event.answer.status in UNAUTHORIZED:
        return True
    envelope = read_envelope(event.answer) if command.auth_codes else None
    return envelope is not None and envelope.code in command.auth_codes  # MEDIA-3


def _result(event: HttpAnswered | HttpFailed, command: CallRest) -> RestResult:
    """REST-2."""
    if isinstance(event, HttpFailed):
        return RestFailed(event.sent, event.detail)
    answer = event.answer
    envelope = read_envelope(answer)
    if answer.status in UNAUTHORIZED or (envelope is not None and envelope.code in command.auth_codes):
        return RestUnauthorized(answer.status, "" if envelope is None else envelope.text)
    if envelope is None:
        if answer.status >= 400:
            return RestRefused(answer.status, None, "")
        return RestFailed(sent=True, text="the answer is no JSON object")
    data = write_ascii(envelope.data) if isinstance(envelope.data, dict) else None
    if answer.status >= 400 or (envelope.code is not None and envelope.code != 0):
        return RestRefused(answer.status, envelope.code, envelope.text, data)
    if envelope.code is None or data is None:
        return RestFailed(sent=True, text="success without a code or without an object in data")
    return RestSucceeded(data, answer)


def _resolve(rest: RestState, command: int, result: RestResult, turn: Turn) -> RestState:
    turn.resolve(command, result)
    return evolve(rest, calls=rest.calls.remove(command))


def token_swapped(rest: RestState, tokens: TokenState, turn: Turn) -> RestState:
    """Another token is in force: repeat what was waiting for it, once (REST-4)."""
    for pending in list(rest.calls.values()):
        if pending.request == 0 and not tokens.stopped:
            rest = _send(rest, pending, tokens, turn)
    return rest


def give_up_waiting(rest: RestState, turn: Turn) -> RestState:
    """The refresh brought nothing: hand the auth error to the callers (REST-5)."""
    for command, pending in list(rest.calls.items()):
        if pending.request == 0:
            rest = _resolve(rest, command, RestUnauthorized(pending.status, "the refresh did not succeed"), turn)
    return rest


def end_all(rest: RestState, result: LoggedOutResult | StoppedResult, turn: Turn) -> RestState:
    """Logout or stop: nothing is left hanging (OUT-11). Answers that still come are ignored."""
    for command in rest.calls:
        turn.resolve(command, result)
    return RestState()
