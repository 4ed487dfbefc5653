"""The pairing machine: redeem a code once, and keep what it brought until it is saved.

Rules: PAIR-1 to PAIR-11, DEV-3, DEV-4, AUTH-8, REST-7.

    Pair --> requesting ------- code 0 -------> saving --- stored --> paired
               ^   |  16001, user id sent: once     ^  | failed: the pair is held, the save repeated
               |---'  certainly not arrived: twice  '--'
             waiting                 anything else --> refused
"""

from typing import TypeAlias

from clawproto.app_events import SaveAlarm, SaveRecovered
from clawproto.credentials import Credentials, Identity, TokenPair
from clawproto.deferred import frozen
from clawproto.effects import Persist, RequestHttp
from clawproto.events import HttpAnswered, HttpFailed, Pair, StoreConflicted, Stored, StoreFailed, StoreReport
from clawproto.evolving import evolve
from clawproto.json_types import Json
from clawproto.rest_format import device_id_problem, pairing_request, read_envelope, websocket_url
from clawproto.results import Paired, PairRefused, Spent, StoppedResult
from clawproto.secret import Secret
from clawproto.timing import save_backoff_ms
from clawproto.turn import Turn

CODE_NO_AGENT = 16001  # PAIR-3


@frozen
class Redeeming:
    """The call is under way, or waits for ``retry_at`` (monotonic ms).

    Attributes:
        user_id: sent along to re-pair that very agent (PAIR-2); None for none.
        request: number of the HTTP request; 0 before the first.
        tries: repetitions after a call that certainly did not arrive (PAIR-6).
    """

    pair: Pair
    ws_url: str
    user_id: str | None
    request: int = 0
    tries: int = 0
    retry_at: int | None = None


@frozen
class Keeping:
    """The code is spent; the credentials are held until the store confirms them."""

    command: int
    held: Credentials
    replaces: int | None
    operation: int | None
    failures: int = 0
    retry_at: int | None = None


PairingState: TypeAlias = None | Redeeming | Keeping


def begin(pairing: PairingState, command: Pair, known: Credentials | None, turn: Turn) -> PairingState:
    """Check what can be checked without spending the code, then send it (PAIR-1, PAIR-2, PAIR-10)."""
    base_url = command.base_url.rstrip("/")
    try:
        ws_url = command.ws_url or websocket_url(base_url)
    except ValueError as error:
        return _refuse(pairing, command.command, None, "no", str(error), turn)
    problem = device_id_problem(command.device_id)
    if problem is None and not command.code.strip():
        problem = "the pairing code is empty"
    if problem is None and pairing is not None:
        problem = "another pairing is under way"
    if problem is None and known is not None and command.identity == "refuse":
        problem = "an identity is stored already: choose 'repair' (the same agent) or 'new'"
    if problem is not None:
        return _refuse(pairing, command.command, None, "no", problem, turn)
    user_id = None
    if known is not None and command.identity == "repair" and known.identity.base_url.rstrip("/") == base_url:
        user_id = known.identity.user_id
    command = evolve(command, base_url=base_url, code=command.code.strip())
    return _send(Redeeming(command, ws_url, user_id), turn)


def _refuse(pairing: PairingState, command: int, code: int | None, spent: Spent, text: str, turn: Turn) -> PairingState:
    turn.resolve(command, PairRefused(code, spent, text))
    return pairing


def _send(redeeming: Redeeming, turn: Turn) -> Redeeming:
    pair = redeeming.pair
    body: dict[str, Json] = {"code": pair.code, "platform": pair.platform, "type": pair.kind}
    if pair.plugin_version is not None:
        body["plugin_version"] = pair.plugin_version
    if redeeming.user_id is not None:
        body["user_id"] = redeeming.user_id
    number = turn.next_request()
    http = pairing_request(pair.base_url, pair.device_id, body)
    turn.do(RequestHttp(number, http, turn.policy.pairing_timeout_ms, "pairing"))
    return evolve(redeeming, request=number, retry_at=None)


def http_report(
    pairing: PairingState, event: HttpAnswered | HttpFailed, known: Credentials | None, turn: Turn
) -> PairingState:
    """The pairing call has ended (PAIR-3 to PAIR-8)."""
    if not isinstance(pairing, Redeeming) or pairing.request != event.request or pairing.retry_at is not None:
        return pairing
    command = pairing.pair.command
    if isinstance(event, HttpFailed):
        if event.sent:  # the code may be spent: never repeat (PAIR-7)
            return _refuse(None, command, None, "unknown", event.detail, turn)
        if pairing.tries >= turn.policy.pairing_retries:
            return _refuse(None, command, None, "no", event.detail, turn)
        wait = turn.policy.pairing_retry_first_ms << pairing.tries
        return evolve(pairing, tries=pairing.tries + 1, retry_at=turn.mono + wait)
    envelope = read_envelope(event.answer)
    if envelope is None or envelope.code is None or event.answer.status >= 500:
        return _refuse(None, command, None, "unknown", f"HTTP {event.answer.status} without a usable answer", turn)
    if envelope.code == CODE_NO_AGENT and pairing.user_id is not None:  # PAIR-3: the code is unspent (PAIR-5)
        return _send(evolve(pairing, user_id=None), turn)
    if envelope.code != 0 or event.answer.status >= 400:
        return _refuse(None, command, envelope.code, "no", envelope.text or f"code {envelope.code}", turn)
    found = _read(envelope.data, pairing, turn)
    if isinstance(found, str):
        return _refuse(None, command, 0, "yes", f"the answer lacks {found}", turn)
    return _save(Keeping(command, found, None if known is None else known.generation, operation=None), turn)


def _read(data: Json, pairing: Redeeming, turn: Turn) -> Credentials | str:
    """The stored record (PAIR-9), or the name of the required field that is missing (PAIR-8)."""
    top = data if isinstance(data, dict) else {}
    agent, conversation = top.get("agent"), top.get("conversation")
    access, user_id = _text(top, "access_token"), _text(agent, "user_id")
    owner_id, conversation_id = _text(agent, "owner_id"), _text(conversation, "id")
    required = {
        "access_token": access,
        "agent.user_id": user_id,
        "agent.owner_id": owner_id,
        "conversation.id": conversation_id,
    }
    for name, value in required.items():
        if value is None:
            return name
    assert access is not None and user_id is not None
    refresh = _text(top, "refresh_token")
    identity = Identity(
        user_id=user_id,
        device_id=pairing.pair.device_id,
        base_url=pairing.pair.base_url,
        ws_url=pairing.ws_url,
        owner_id=owner_id,
        agent_id=_text(agent, "id"),
        conversation_id=conversation_id,
    )
    return Credentials(identity, TokenPair(Secret(access), None if refresh is None else Secret(refresh), turn.wall))


def _text(value: Json, name: str) -> str | None:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, str) and found.strip() else None


def _save(keeping: Keeping, turn: Turn) -> Keeping:
    operation = turn.next_operation()
    generation = 1 if keeping.replaces is None else keeping.replaces + 1
    held = evolve(keeping.held, generation=generation)
    turn.do(Persist(operation, held, keeping.replaces))
    return evolve(keeping, held=held, operation=operation, retry_at=None)


def store_report(pairing: PairingState, event: StoreReport, turn: Turn) -> tuple[PairingState, Credentials | None]:
    """The store has answered the save.

    Returns:
        The machine, and the credentials if they are in force from now on.
    """
    if not isinstance(pairing, Keeping) or pairing.operation != event.operation:
        return pairing, None
    if isinstance(event, Stored):
        saved = evolve(pairing.held, generation=event.generation)
        if pairing.failures >= turn.policy.save_alarm_after:
            turn.emit(SaveRecovered(pairing.failures))
        turn.resolve(pairing.command, Paired(saved))
        return None, saved
    if isinstance(event, StoreConflicted):  # a person paired just now: this pair is the newest there is
        replaces = None if event.stored is None else event.stored.generation
        if replaces != pairing.replaces:
            return _save(evolve(pairing, replaces=replaces), turn), None
    failures = pairing.failures + 1
    if failures == turn.policy.save_alarm_after:
        turn.emit(SaveAlarm(failures, event.detail if isinstance(event, StoreFailed) else "the store refuses"))
    retry_at = turn.mono + save_backoff_ms(failures, turn.policy)
    return evolve(pairing, operation=None, failures=failures, retry_at=retry_at), None


def advance(pairing: PairingState, turn: Turn) -> PairingState:
    """Repeat what is due (PAIR-6, REF-10)."""
    if pairing is None or pairing.retry_at is None or turn.mono < pairing.retry_at:
        return pairing
    return _send(pairing, turn) if isinstance(pairing, Redeeming) else _save(pairing, turn)


def stop(pairing: PairingState, turn: Turn) -> PairingState:
    """A call that waits to be repeated is given up; one under way, and a pair not yet saved, go on."""
    if isinstance(pairing, Redeeming) and pairing.retry_at is not None:
        turn.resolve(pairing.pair.command, StoppedResult())
        return None
    return pairing


def deadline(pairing: PairingState) -> int | None:
    """Monotonic ms at which `advance` has something to do."""
    return None if pairing is None else pairing.retry_at
