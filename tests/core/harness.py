"""A session in virtual time: a store in memory, a scripted server, a hub that greets, and the invariants on every step.

A `Bench` steps one session. What the session asks of its store is answered at once unless ``store.held`` says to wait;
what it asks of the server waits in `Bench.refreshes` and `Bench.calls` until the test answers it; a socket that it
opens is greeted unless ``greet`` is off.
"""

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from attrs import evolve

from clawproto.app_events import AppEvent
from clawproto.config import Config
from clawproto.credentials import Credentials, Guard, Identity, Intent, TokenPair
from clawproto.effects import (
    Close,
    Effect,
    Emit,
    Keep,
    Logout,
    Open,
    Persist,
    Reconnect,
    RecordIntent,
    Reload,
    RequestHttp,
    RequestRefresh,
    Resolve,
    SendFrame,
    Swap,
)
from clawproto.events import (
    CallRest,
    Closed,
    CredentialsLoaded,
    Event,
    FrameReceived,
    HttpAnswered,
    HttpFailed,
    KeepFailed,
    KeepReport,
    Kept,
    Opened,
    Refresh,
    Reloaded,
    Start,
    Stop,
    StoreConflicted,
    Stored,
    StoreFailed,
    StoreReport,
    Tick,
)
from clawproto.http import HttpAnswer
from clawproto.instant import Instant
from clawproto.json_types import Json
from clawproto.keeping import KeptSend, SendDecision
from clawproto.policy import DAY_MS, Policy
from clawproto.results import Result
from clawproto.secret import Secret
from clawproto.session import Session, step
from clawproto.state import State
from clawproto.testing.invariants import History, check
from tests.core.declared_types import mistyped

T0 = 1_790_000_000_000  # wall clock at the start of every bench
MONO = 7_000_000  # monotonic clock at the start of every bench
SEED = bytes(range(16))
# The protocol's numbers, but nothing is repeated on an idle socket: days pass in fewer steps.
QUIET = Policy(ping_after_ms=400 * DAY_MS, ack_repeat_ms=400 * DAY_MS)

Found = TypeVar("Found")
StoreEffect = RecordIntent | Persist | Logout | Reload


# --- tokens and answers --------------------------------------------------------------------------------------------


def _segment(value: Mapping[str, Json]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def jwt(
    name: str, *, issued_ms: int | None = T0, life_ms: int = DAY_MS, expires_ms: int | None = None, **claims: Json
) -> str:
    """An access token of JWT shape; ``issued_ms`` None leaves ``iat`` out."""
    if expires_ms is None:
        expires_ms = (T0 if issued_ms is None else issued_ms) + life_ms
    body: dict[str, Json] = {"exp": _seconds(expires_ms), "jti": name, **claims}
    if issued_ms is not None:
        body["iat"] = _seconds(issued_ms)
    return f"{_segment({'alg': 'none'})}.{_segment(body)}.sig-{name}"


def _seconds(ms: int) -> Json:
    return ms // 1000 if ms % 1000 == 0 else ms / 1000


def pair(access: str, refresh: str | None = "refresh-1", obtained_ms: int | None = T0) -> TokenPair:
    return TokenPair(Secret(access), None if refresh is None else Secret(refresh), obtained_ms)


IDENTITY = Identity(
    user_id="u-1",
    device_id="lab-01",
    base_url="https://api.example",
    ws_url="wss://hub.example/ws",
    owner_id="u-owner",
    agent_id="agent-1",
    conversation_id="cnv_1",
)


def credentials(tokens: TokenPair | None = None, *, generation: int = 1, **changes: Any) -> Credentials:
    """A record of an agent whose token lives for a day; ``tokens`` replaces the pair, ``changes`` the identity."""
    tokens = pair(jwt("a1")) if tokens is None else tokens
    return Credentials(evolve(IDENTITY, **changes), tokens, generation)


def answer(body: object, status: int = 200, **headers: str) -> HttpAnswer:
    """An answer with a JSON body; header names with ``_`` for ``-``."""
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return HttpAnswer(status, named, body if isinstance(body, bytes) else json.dumps(body).encode())


def rotated(access: str, refresh: str = "refresh-2", **headers: str) -> HttpAnswer:
    data: dict[str, Json] = {"access_token": access, "refresh_token": refresh}
    return answer({"code": 0, "msg": "ok", "data": data}, 200, **headers)


def verdict(code: Json, text: str = "no", status: int = 200, **headers: str) -> HttpAnswer:
    return answer({"code": code, "msg": text, "data": {}}, status, **headers)


REFUSED = verdict(10003, "refresh token revoked")
INTERNAL = verdict(1, "internal")


def frame(event: str, payload: Mapping[str, Json], *, at_ms: int = T0, trace_id: str = "", **more: Json) -> str:
    """A downlink."""
    return json.dumps(
        {"version": "2", "event": event, "trace_id": trace_id, "emitted_at": at_ms, "payload": dict(payload), **more}
    )


# --- the store -----------------------------------------------------------------------------------------------------


class MemoryStore:
    """One record with compare-and-swap. ``failing`` makes the next operations fail, ``held`` leaves them unanswered."""

    def __init__(self, record: Credentials | None = None) -> None:
        self.record = record
        self.failing = 0
        self.held = False

    def answer(self, effect: StoreEffect) -> StoreReport:
        """Carry out ``effect``."""
        if self.failing > 0:
            self.failing -= 1
            return StoreFailed(effect.operation, "disk full")
        match effect:
            case Reload():
                return Reloaded(effect.operation, self.record)
            case RecordIntent(intent=intent):
                return self._record_intent(effect, intent)
            case Persist():
                return self._persist(effect)
            case Logout():
                return self._forget(effect)

    def _record_intent(self, effect: RecordIntent, intent: Intent) -> StoreReport:
        if self.record is None or self.record.tokens is None or self.record.generation != intent.generation:
            return StoreConflicted(effect.operation, self.record)
        self.record = evolve(self.record, intent=intent)
        return Stored(effect.operation, self.record.generation)

    def _persist(self, effect: Persist) -> StoreReport:
        held = None if self.record is None else self.record.generation
        if held != effect.replaces:
            return StoreConflicted(effect.operation, self.record)
        self.record = evolve(effect.credentials, intent=None, refused=None)
        return Stored(effect.operation, self.record.generation)

    def _forget(self, effect: Logout) -> StoreReport:
        if self.record is None or self.record.generation != effect.replaces:
            return StoreConflicted(effect.operation, self.record)
        self.record = Credentials(self.record.identity, None, effect.replaces + 1, refused=effect.refused)
        return Stored(effect.operation, self.record.generation)

    def rotate(self, tokens: TokenPair) -> Credentials:
        """Another process has rotated: put its pair into the record."""
        assert self.record is not None
        self.record = self.record.with_tokens(tokens, self.record.generation + 1)
        return self.record


class SendStore:
    """The sending half of a message store. ``failing`` makes the next batches fail, ``held`` leaves them unanswered.

    Attributes:
        undecided: kept sends by trace id.
        decisions: what became of the others, in order.
        highest: number.
    """

    def __init__(self) -> None:
        self.undecided: dict[str, KeptSend] = {}
        self.decisions: list[SendDecision] = []
        self.highest = 0
        self.failing = 0
        self.held = False

    def answer(self, effect: Keep) -> KeepReport:
        """Carry out ``effect``."""
        if self.failing > 0:
            self.failing -= 1
            return KeepFailed(effect.operation, "disk full")
        for change in effect.changes:
            if isinstance(change, KeptSend):
                self.undecided[change.trace_id] = change
                self.highest = max(self.highest, change.number)
            else:
                self.undecided.pop(change.trace_id, None)
                self.decisions.append(change)
        return Kept(effect.operation)

    @property
    def backlog(self) -> tuple[KeptSend, ...]:
        """What the next session is to be started with."""
        return tuple(sorted(self.undecided.values(), key=lambda kept: kept.number))


# --- the bench -----------------------------------------------------------------------------------------------------


class Bench:
    """One session, its clocks and everything around it.

    Attributes:
        effects: everything that the session has asked for, in order.
        refreshes: refresh requests that nobody has answered yet, by number.
        calls: other HTTP requests that nobody has answered yet, by number.
        waiting: store operations that were held back.
        messages: the message store; used with ``keep_sends``.
        unkept: batches for it that were held back.
        results: how commands were resolved.
        hub_offset: the hub's clock minus ours, milliseconds.
    """

    def __init__(
        self,
        record: Credentials | None = None,
        *,
        policy: Policy | None = None,
        guard: Guard | None = None,
        start: bool = True,
        greet: bool = True,
        liveness: bool = True,
        wall_ms: int = T0,
        mono_ms: int = MONO,
        messages: SendStore | None = None,
        seed: bytes = SEED,
        **config: Any,
    ) -> None:
        policy = Policy() if policy is None else policy
        self.now = Instant(wall_ms, mono_ms)
        self.state = State(Config(seed=seed, policy=policy, **config))
        self._session = Session(self.state.config)
        self._steps = 0
        self.store = MemoryStore(record)
        self.greet = greet
        self.liveness = liveness
        self.effects: list[Effect] = []
        self.refreshes: dict[int, RequestRefresh] = {}
        self.calls: dict[int, RequestHttp] = {}
        self.waiting: list[StoreEffect] = []
        self.messages = messages or SendStore()
        self.unkept: list[Keep] = []
        self.results: dict[int, Result] = {}
        self.hub_offset = 0
        self._history = History()
        self._command = 0
        if start:
            self.step(Start(record, guard, self.messages.backlog, self.messages.highest))

    # --- stepping

    def step(self, event: Event) -> tuple[Effect, ...]:
        """One event, and whatever store and hub answer to it. Returns the effects of all of it."""
        begin = len(self.effects)
        queue: list[Event] = [event]
        while queue:
            following = queue.pop(0)
            before = self.state
            self.state, effects = step(before, following, self.now)
            self._check_session(following, effects)
            for value, known in ((self.state, before), *((effect, None) for effect in effects)):
                assert (problem := mistyped(value, known)) is None, problem
            self._history = check(
                self._history, before, following, self.now, effects, self.state, liveness=self.liveness
            )
            self.effects += effects
            for effect in effects:
                queue += self._carry_out(effect)
        return tuple(self.effects[begin:])

    def _check_session(self, event: Event, effects: tuple[Effect, ...]) -> None:
        """A `Session` does what ``step`` does. Its state is not always looked at, since that puts it together."""
        assert self._session.handle(event, self.now) == effects
        assert self._session.next_deadline() == self.state.deadline
        self._steps += 1
        if self._steps % 13 == 0:
            assert self._session.state == self.state

    def _carry_out(self, effect: Effect) -> Iterable[Event]:
        match effect:
            case RequestRefresh():
                self.refreshes[effect.request] = effect
            case RequestHttp():
                self.calls[effect.request] = effect
            case RecordIntent() | Persist() | Logout() | Reload():
                if self.store.held:
                    self.waiting.append(effect)
                else:
                    return [self.store.answer(effect)]
            case Keep():
                if self.messages.held:
                    self.unkept.append(effect)
                else:
                    return [self.messages.answer(effect)]
            case Resolve():
                self.results[effect.command] = effect.result
            case Open() if self.greet:
                return [Opened(effect.generation), self.challenge(effect.generation)]
            case SendFrame(event="connect") if self.greet:
                return [self.hello(effect)]
            case SendFrame(event="ping") if self.greet:
                return [FrameReceived(effect.generation, frame("pong", {}, at_ms=self.now.wall_ms))]
            case Close() | Reconnect() if self.greet:
                return [Closed(effect.generation, 1000)]
            case _:
                pass
        return []

    def challenge(self, generation: int) -> FrameReceived:
        nonce: dict[str, Json] = {"nonce": "q0Yx3bVtL8mWc2RkZ7dNaP5s"}
        return FrameReceived(generation, frame("connect.challenge", nonce, at_ms=self.now.wall_ms + self.hub_offset))

    def hello(self, connect: SendFrame) -> FrameReceived:
        sent = json.loads(connect.text)
        hello = {"device_id": sent["payload"]["device_id"], "delivery_mode": "device_replay"}
        return FrameReceived(
            connect.generation, frame("hello-ok", hello, at_ms=self.now.wall_ms, trace_id=sent["trace_id"])
        )

    def opened(self) -> Opened:
        """The last socket opened is open."""
        return Opened(self.generation)

    def handshake(self) -> None:
        """Take the last socket as far as our ``connect``, whatever ``greet`` says."""
        self.step(self.opened())
        self.step(self.challenge(self.generation))

    def hello_fail(self, generation: int, reason: Json) -> tuple[Effect, ...]:
        """The hub refuses the handshake of socket ``generation`` and drops it."""
        text = frame("hello-fail", {"reason": reason}, at_ms=self.now.wall_ms)
        effects = self.step(FrameReceived(generation, text))
        return effects + self.step(Closed(generation, 1006))

    def release(self) -> tuple[Effect, ...]:
        """The store answers what it has held back, and is prompt from now on."""
        self.store.held = False
        effects: list[Effect] = []
        while self.waiting:
            effects += self.step(self.store.answer(self.waiting.pop(0)))
        return tuple(effects)

    def release_sends(self) -> tuple[Effect, ...]:
        """The message store answers what it has held back, and is prompt from now on."""
        self.messages.held = False
        effects: list[Effect] = []
        while self.unkept:
            effects += self.step(self.messages.answer(self.unkept.pop(0)))
        return tuple(effects)

    # --- time

    @property
    def deadline(self) -> int | None:
        return self.state.deadline

    def pass_time(self, ms: int, *, wall_ms: int | None = None) -> None:
        """Let both clocks run on, without a step. ``wall_ms`` lets the wall clock run differently."""
        self.now = Instant(self.now.wall_ms + (ms if wall_ms is None else wall_ms), self.now.mono_ms + ms)

    def tick(self) -> tuple[Effect, ...]:
        return self.step(Tick())

    def run_for(self, ms: int) -> tuple[Effect, ...]:
        """Let ``ms`` pass; a Tick at each deadline, and no other."""
        end = self.now.mono_ms + ms
        effects: list[Effect] = []
        for _ in range(100_000):
            if self.deadline is None or self.deadline > end:
                self.pass_time(end - self.now.mono_ms)
                return tuple(effects)
            self.pass_time(max(0, self.deadline - self.now.mono_ms))
            effects += self.tick()
        raise AssertionError("the session never comes to rest")

    def run_until(self, kind: type[Found], *, within_ms: int = 3 * DAY_MS) -> Found:
        """Let time pass until the session asks for something of this kind; returns it."""
        end = self.now.mono_ms + within_ms
        while self.deadline is not None and self.deadline <= end:
            self.pass_time(max(0, self.deadline - self.now.mono_ms))
            found = of(self.tick(), kind)
            if found:
                return found[0]
        raise AssertionError(f"no {kind.__name__} within {within_ms} ms")

    # --- shorthands

    def command(self) -> int:
        self._command += 1
        return self._command

    def refresh(self) -> int:
        """An explicit request for a refresh; returns its command number."""
        command = self.command()
        self.step(Refresh(command))
        return command

    def rest(self, method: str = "GET", path: str = "/v1/users/me", body: bytes | None = None) -> int:
        """A REST call; returns its command number."""
        command = self.command()
        self.step(CallRest(command, method, path, body))
        return command

    def load(self, record: Credentials) -> tuple[Effect, ...]:
        return self.step(CredentialsLoaded(record))

    def stop(self) -> tuple[Effect, ...]:
        return self.step(Stop())

    def sole_refresh(self) -> RequestRefresh:
        """The one refresh request under way."""
        (request,) = self.refreshes.values()
        return request

    def reply(self, reply: HttpAnswer) -> tuple[Effect, ...]:
        """Answer the one refresh request under way."""
        number = self.sole_refresh().request
        del self.refreshes[number]
        return self.step(HttpAnswered(number, reply))

    def fail(self, *, sent: bool = True) -> tuple[Effect, ...]:
        """The one refresh request under way gets no answer."""
        number = self.sole_refresh().request
        del self.refreshes[number]
        return self.step(HttpFailed(number, sent, "connection reset" if sent else "name not found"))

    def reply_call(self, reply: HttpAnswer) -> tuple[Effect, ...]:
        """Answer the oldest other HTTP request."""
        number = next(iter(self.calls))
        del self.calls[number]
        return self.step(HttpAnswered(number, reply))

    def fail_call(self, *, sent: bool) -> tuple[Effect, ...]:
        """The oldest other HTTP request gets no answer."""
        number = next(iter(self.calls))
        del self.calls[number]
        return self.step(HttpFailed(number, sent, "timed out" if sent else "connection refused"))

    @property
    def tokens(self) -> TokenPair | None:
        """The pair in force."""
        found = self.state.tokens.credentials
        return None if found is None else found.tokens

    @property
    def access(self) -> str:
        assert self.tokens is not None
        return self.tokens.access.reveal()

    @property
    def generation(self) -> int:
        """The number of the last socket opened."""
        return self.all(Open)[-1].generation

    def all(self, kind: type[Found]) -> list[Found]:
        """Every effect of this kind so far."""
        return of(self.effects, kind)

    def told(self, kind: type[Found]) -> list[Found]:
        """Every application event of this kind so far."""
        return emitted(self.effects, kind)


def of(effects: Iterable[Effect], kind: type[Found]) -> list[Found]:
    """The effects of one kind."""
    return [effect for effect in effects if isinstance(effect, kind)]


def emitted(effects: Iterable[Effect], kind: type[Found]) -> list[Found]:
    """The application events of one kind."""
    events: list[AppEvent] = [effect.event for effect in effects if isinstance(effect, Emit)]
    return [event for event in events if isinstance(event, kind)]


def names(effects: Iterable[Effect], *kinds: type) -> list[str]:
    """Names of the effects in their order, of the given kinds if there are any."""
    return [type(effect).__name__ for effect in effects if not kinds or isinstance(effect, kinds)]


def heart(effects: Iterable[Effect]) -> list[str]:
    """The order of what matters when a pair changes."""
    return names(effects, RecordIntent, RequestRefresh, Persist, Swap, Reload, Logout, Reconnect, Open)


def last(items: list[Found], matching: Callable[[Found], bool] = lambda _: True) -> Found:
    return [item for item in items if matching(item)][-1]
