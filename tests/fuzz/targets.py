"""What is fuzzed: functions from bytes to nothing, which raise only if the library has a defect.

Each is pure and starts from the same point every time, so that one input always means the same. Inputs are texts where
that helps a fuzzer and a reader: the hub's requests look like HTTP, a session's history has one thing a line.
"""

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Final

from clawproto.config import Capabilities
from clawproto.effects import Open, SendFrame
from clawproto.events import (
    Closed,
    Event,
    FrameReceived,
    HttpAnswered,
    HttpFailed,
    Opened,
    Settle,
    StoreFailed,
    Tick,
)
from clawproto.http import HttpAnswer
from clawproto.hub import HttpDrop, HttpReceived, HttpRespond, Hub, HubSettings
from clawproto.instant import Instant
from clawproto.jwt import read_claims
from clawproto.policy import Policy
from clawproto.secret import Secret
from clawproto.session import step
from clawproto.testing.invariants import check
from clawproto.timing import token_times
from clawproto.wire import json_backend
from clawproto.wire.codec import decode
from clawproto.wire.values import BadFrame, Frame
from tests.core.harness import T0, Bench, credentials

LIMIT: Final = 1_000_000
_INT64: Final = range(-(2**63), 2**63)

# --- codec ---------------------------------------------------------------------------------------------------------


def codec(data: bytes) -> None:
    """A downlink, as bytes and as text, with both readers: never raises, and both read the same."""
    text = data.decode("utf-8", "surrogateescape")
    from_bytes, from_text = _decoded(data), _decoded(text)
    if not any("\udc80" <= character <= "\udcff" for character in text):
        assert repr(from_bytes) == repr(from_text)
    for frame in (from_bytes, from_text):
        repr(frame).encode("utf-8")


def _decoded(data: str | bytes) -> Frame | BadFrame:
    fast = decode(data, LIMIT)
    chosen, json_backend.loads = json_backend.loads, json_backend.stdlib_loads
    try:
        plain = decode(data, LIMIT)
    finally:
        json_backend.loads = chosen
    assert repr(fast) == repr(plain)  # equal but for NaN, which there is none of, and 1 == 1.0 == True
    if isinstance(fast, Frame):
        for number in (fast.emitted_at, fast.seq, fast.dseq):
            assert number is None or (type(number) is int and number in _INT64)
    return fast


# --- tokens --------------------------------------------------------------------------------------------------------

_POLICY: Final = Policy()


def jwt(data: bytes) -> None:
    """A token: claims are read or not, the times that follow are in order, and nothing shows the token."""
    token = data.decode("utf-8", "surrogateescape")
    claims = read_claims(token)
    for value in (claims.exp_ms, claims.iat_ms):
        assert value is None or abs(value) <= 8_640_000_000_000_000
    secret = Secret(token)
    assert secret.digest == Secret(token).digest and "Secret" in f"{secret!r}"
    for unit in (0.0, 0.999):
        times = token_times(secret, T0, unit, _POLICY)
        assert times is not None and times.refresh_at_ms <= times.expires_at_ms


# --- the hub's HTTP ------------------------------------------------------------------------------------------------

_SEPARATOR: Final = b"\n====\n"
_REQUESTS: Final = 8


def hub_http(data: bytes) -> None:
    """Up to eight requests to one hub: each gets exactly one answer, and every answer is whole.

    ``$ACCESS``, ``$REFRESH``, ``$CODE``, ``$CHAT`` and ``$USER`` stand for what an agent of this hub has.
    """
    now = Instant(T0, 1_000)
    hub = Hub(HubSettings(), b"fuzz", now)
    agent = hub.create_agent(hub.create_user("Dora"), "Robo", "d1")
    known = {
        b"$ACCESS": agent.access_token,
        b"$REFRESH": agent.refresh_token,
        b"$CODE": agent.pairing_code,
        b"$CHAT": agent.conversation_id,
        b"$USER": agent.user_id,
    }
    for name, value in known.items():
        data = data.replace(name, value.encode())
    for number, text in enumerate(data.split(_SEPARATOR, _REQUESTS)[:_REQUESTS]):
        effects = hub.handle(_request(number, text), now)
        answers = [effect for effect in effects if isinstance(effect, HttpRespond | HttpDrop)]
        assert len(answers) == 1 and answers[0].request_id == number
        answer = answers[0]
        assert isinstance(answer, HttpRespond)
        assert 200 <= answer.status < 600
        if ("content-type", "application/json") in answer.headers:
            envelope = json.loads(answer.body, parse_constant=_no_constant)
            assert type(envelope["code"]) is int and isinstance(envelope["msg"], str)
        for _, value in answer.headers:
            assert "\r" not in value and "\n" not in value


def _no_constant(name: str) -> object:
    raise AssertionError(f"{name} in an answer")


def _request(number: int, text: bytes) -> HttpReceived:
    head, _, body = text.partition(b"\n\n")
    first, *rest = head.decode("utf-8", "replace").split("\n")
    method, _, target = first.partition(" ")
    path, _, query = target.partition("?")
    headers: dict[str, str] = {}
    for line in rest:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    named: dict[str, str] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        named[name] = value
    return HttpReceived(number, method, path, named, headers, body)


# --- a whole session -----------------------------------------------------------------------------------------------

_STEPS: Final = 24
_LINE: Final = re.compile(rb"([a-z]) ?(.*)", re.DOTALL)


@cache
def _ready() -> Bench:
    bench = Bench(credentials(), capabilities=Capabilities(delivery_receipt=True, multi_device=True), liveness=False)
    assert bench.state.connected
    return bench


def session(data: bytes) -> None:
    """A session that is online, and what the world does to it, a line at a time; the invariants after each.

    ``f …`` a frame; ``a …`` an answer with status 200 to whatever was asked last; ``e`` no answer; ``t`` the next
    deadline; ``c`` the socket is lost; ``o`` the next one is open; ``s`` settles the last delivery; ``d`` a disk error.
    """
    ready = _ready()
    state, history, now = ready.state, ready._history, ready.now
    generation, request, delivery, operation = ready.generation, 0, 0, 0
    for line in data.split(b"\n")[:_STEPS]:
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        kind, rest = match[1], match[2]
        event: Event
        if kind == b"f":
            event = FrameReceived(generation, rest)
        elif kind == b"a":
            event = HttpAnswered(request, HttpAnswer(200, (), rest))
        elif kind == b"e":
            event = HttpFailed(request, sent=rest != b"0", detail="reset")
        elif kind == b"t":
            if state.deadline is None:
                continue
            passed = max(0, state.deadline - now.mono_ms)
            now = Instant(now.wall_ms + passed, now.mono_ms + passed)
            event = Tick()
        elif kind == b"c":
            event = Closed(generation, 1006 if rest != b"1" else 4001)
        elif kind == b"o":
            event = Opened(generation)
        elif kind == b"s":
            event = Settle(delivery)
        elif kind == b"d":
            event = StoreFailed(operation, "disk full")
        else:
            continue
        before = state
        state, effects = step(before, event, now)
        history = check(history, before, event, now, effects, state, liveness=False)
        for effect in effects:
            generation = effect.generation if isinstance(effect, Open) else generation
            request = getattr(effect, "request", request)
            operation = getattr(effect, "operation", operation)
            delivery = getattr(effect, "delivery", None) or delivery
            if isinstance(effect, SendFrame):
                json.loads(effect.text)
    hash(state)


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "codec": codec,
    "jwt": jwt,
    "hub-http": hub_http,
    "session": session,
}
