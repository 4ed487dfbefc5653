"""A session beside a small model of the rules: whatever happens, the two never disagree.

Hypothesis drives both. A bounded search is part of the suite; ``--hypothesis-profile=soak`` searches for longer.
"""

import json
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from clawproto.app_events import MessageReceived
from clawproto.config import Config
from clawproto.credentials import Credentials, TokenPair
from clawproto.effects import (
    Effect,
    Emit,
    Logout,
    Persist,
    RecordIntent,
    Reload,
    Resolve,
    SendFrame,
    Swap,
)
from clawproto.events import (
    Closed,
    Event,
    FrameReceived,
    HttpAnswered,
    HttpFailed,
    Opened,
    OpenFailed,
    Refresh,
    Send,
    Settle,
    Start,
    Stop,
    StoreReport,
    Tick,
)
from clawproto.http import HttpAnswer
from clawproto.instant import Instant
from clawproto.json_types import Json
from clawproto.policy import Policy
from clawproto.session import is_finished, step
from clawproto.state import State
from tests.core.harness import IDENTITY, SEED, MemoryStore, answer, frame, jwt, pair, rotated, verdict
from tests.core.messaging import CHAT, message
from tests.model.link import LinkModel, Sent
from tests.model.tokens import TokenModel

StoreEffect: TypeAlias = RecordIntent | Persist | Logout | Reload
T0, MONO = 1_790_000_000_000, 7_000_000
SENDER: dict[str, Json] = {"id": "usr_9", "type": "direct", "nick_name": "Ann"}
SEARCH = settings(
    stateful_step_count=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    deadline=None,
    database=None,
)
WAITS = st.sampled_from([1, 99, 200, 500, 1_000, 2_500, 5_000, 10_000, 15_000, 30_000, 31_000, 60_000, 600_000])


class SessionBesideModel(RuleBasedStateMachine):
    """The session, its model, and the world around both."""

    policy = Policy()

    def __init__(self) -> None:
        super().__init__()
        self.now = Instant(T0, MONO)
        self.state = State(Config(seed=SEED, policy=self.policy))
        self.store = MemoryStore()
        self.hold_store = False
        self.waiting: list[StoreEffect] = []
        self.pongs = True
        self.life_ms = 0
        self.minted = 0
        self.command = 0
        self.messages: dict[str, tuple[str, int]] = {}
        self.outstanding: set[int] = set()
        self.link = LinkModel()
        self.tokens = TokenModel(None, 0)
        self.reason = ""

    # --- both are told ---------------------------------------------------------------------------------------------

    def tell(self, event: Event, *, reason: str = "") -> tuple[Effect, ...]:
        """One event for both, and what the store says to it."""
        self.reason = reason or self.reason
        must = self.tokens.told(event, self.now.mono_ms)
        self.state, effects = step(self.state, event, self.now)
        for kind in must:
            assert sum(isinstance(effect, kind) for effect in effects) == 1, f"{kind.__name__} must follow"
        swaps = sum(isinstance(effect, Swap) for effect in effects)
        assert swaps == must.count(Swap), "a swap that nothing led to (REF-9)"
        for effect in effects:
            self._check(effect)
        self.reason = ""
        for effect in effects:
            if isinstance(effect, StoreEffect):
                self.waiting.append(effect)
            if isinstance(effect, SendFrame) and effect.event == "ping" and self.pongs:
                self.hear("pong", {})
        if not self.hold_store:
            self.answer_store()
        return effects

    def _check(self, effect: Effect) -> None:
        mono, wall = self.now.mono_ms, self.now.wall_ms
        self.tokens.did(effect, mono, wall, online=self.link.online, reason=self.reason)
        if isinstance(effect, Swap):
            self.link.hurry(mono)
        if isinstance(effect, Logout):
            for sent in self.link.sends:  # OUT-11, once the store has answered
                sent.deadline = None
        self.link.did(effect, mono, may_open=self.may_open, refreshing=self.tokens.blocks_sockets)
        if isinstance(effect, SendFrame) and effect.event == "connect":
            assert self.tokens.pair is not None
            assert json.loads(effect.text)["payload"]["token"] == self.tokens.pair.access.reveal(), "HS-10"
        if isinstance(effect, Resolve):
            self.link.resolved(effect, mono)

    @property
    def may_open(self) -> bool:
        return self.tokens.usable and not self.tokens.blocks_sockets

    def answer_store(self) -> None:
        while self.waiting:
            effect = self.waiting.pop(0)
            report: StoreReport = self.store.answer(effect)
            self.tell(report)

    def hear(self, event: str, payload: dict[str, Json], **envelope: Any) -> tuple[Effect, ...]:
        """A downlink on the socket that lives."""
        self.link.heard, self.link.pinged = self.now.mono_ms, None
        text = frame(event, payload, at_ms=self.now.wall_ms, **envelope)
        return self.tell(FrameReceived(self.link.generation, text))

    def new_pair(self) -> tuple[str, str]:
        self.minted += 1
        access = jwt(f"a{self.minted}", issued_ms=self.now.wall_ms // 1000 * 1000, life_ms=self.life_ms, sub="u-1")
        return access, f"refresh-{self.minted}"

    # --- the beginning ---------------------------------------------------------------------------------------------

    @initialize(
        life=st.sampled_from([600_000, 4_200_000, 86_400_000]),
        age=st.sampled_from([0, 300_000, 599_000, 4_000_000, 80_000_000]),
        has_refresh=st.booleans() | st.just(True),
    )
    def begin(self, life: int, age: int, has_refresh: bool) -> None:
        self.life_ms = life
        access, refresh = self.new_pair()
        stored: TokenPair = pair(access, refresh if has_refresh else None, T0)
        age = min(age, life - 1_000)
        self.now = Instant(T0 + age, MONO)
        self.store.record = Credentials(IDENTITY, stored, 1)
        self.tokens = TokenModel(stored, 1)
        near = self.tokens.is_near(self.now.wall_ms)
        self.tell(Start(self.store.record), reason="startup" if near else "")  # TOK-14
        if near and has_refresh:
            assert self.tokens.stage == "request", "the startup check (TOK-14)"

    # --- time ------------------------------------------------------------------------------------------------------

    @rule(ms=WAITS | st.integers(0, 100_000))
    def time_passes(self, ms: int) -> None:
        """A Tick at each deadline, and one at the end."""
        end = self.now.mono_ms + ms
        for _ in range(5_000):
            due = self.state.deadline
            if due is None or due > end:
                break
            self._tick(max(due, self.now.mono_ms))
        else:
            raise AssertionError("it never comes to rest")
        self._tick(end)

    def _tick(self, mono: int) -> None:
        passed = mono - self.now.mono_ms
        self.now = Instant(self.now.wall_ms + passed, mono)
        self.tell(Tick())
        self.tokens.check(mono, self.now.wall_ms, online=self.link.online)
        self.link.check(mono, may_open=self.may_open)
        assert self.state.deadline is None or self.state.deadline > mono

    # --- the socket ------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.link.phase == "opening")
    @rule(works=st.booleans() | st.just(True))
    def upgrade(self, works: bool) -> None:
        if works:
            self.link.phase, self.link.since = "waiting", self.now.mono_ms
            self.tell(Opened(self.link.generation))
        else:
            self.link.lost(self.now.mono_ms)
            self.tell(OpenFailed(self.link.generation, "refused"))

    @precondition(lambda self: self.link.phase == "waiting")
    @rule()
    def challenge(self) -> None:
        self.hear("connect.challenge", {"nonce": "q0Yx3bVtL8mWc2RkZ7dNaP5s"})
        assert self.link.phase == "greeting", "no connect to the challenge (HS-2)"

    @precondition(lambda self: self.link.phase == "greeting")
    @rule()
    def hello_ok(self) -> None:
        epoch = f"epoch-{self.link.generation}"
        self.tokens.armed = True
        again = list(self.link.sends)
        self.link.hello(self.now.mono_ms, epoch)
        hello: dict[str, Json] = {"device_id": "lab-01", "delivery_mode": "device_replay", "ack_mode": "dseq"}
        effects = self.hear("hello-ok", {**hello, "ack_epoch": epoch})
        order = [
            json.loads(effect.text)["payload"]["message_id"]
            for effect in effects
            if isinstance(effect, SendFrame) and effect.event == "message.send"
        ]
        ours = [sent.message_id for sent in again]
        assert order == [message_id for message_id in ours if message_id in order], "out of order (SEND-17)"
        assert {sent.message_id for sent in again if not sent.told} <= set(order), "not sent again (SEND-17)"

    @precondition(lambda self: self.link.phase == "greeting")
    @rule(reason=st.sampled_from(["authentication failed", "remote auth service unavailable", "nonce mismatch"]))
    def hello_fail(self, reason: str) -> None:
        """HS-15 to HS-17."""
        generation = self.link.generation
        rejected = reason == "authentication failed"
        near = reason == "nonce mismatch" and self.tokens.is_near(self.now.wall_ms)
        self.tokens.rejected = self.tokens.rejected or rejected
        self.link.lost(self.now.mono_ms)
        before = self.tokens.last_attempt
        self.reason = "handshake" if rejected or near else ""
        text = frame("hello-fail", {"reason": reason}, at_ms=self.now.wall_ms)
        self.tell(FrameReceived(generation, text))
        if reason == "remote auth service unavailable":
            assert self.tokens.last_attempt == before, "a refresh during an outage (HS-16)"
        self.tell(Closed(generation, 1006))

    @precondition(lambda self: self.link.phase in ("waiting", "greeting", "online"))
    @rule(code=st.sampled_from([1006, 1000, 1011, 4001]))
    def cut(self, code: int) -> None:
        before = self.tokens.last_attempt
        self.link.lost(self.now.mono_ms, code=code)
        self.tell(Closed(self.link.generation, code))
        assert self.tokens.last_attempt == before, "a refresh because of a close (CLOSE-7)"

    @precondition(lambda self: self.link.phase == "closing")
    @rule()
    def closed(self) -> None:
        if self.link.planned:
            self.link.changed_on_purpose(self.now.mono_ms)
        else:
            self.link._gone()
        self.tell(Closed(self.link.generation, 1000))

    @precondition(lambda self: self.link.phase in ("opening", "waiting", "greeting"))
    @rule()
    def connects(self) -> None:
        """The usual way, at once."""
        if self.link.phase == "opening":
            self.upgrade(works=True)
        if self.link.phase == "waiting":
            self.challenge()
        if self.link.phase == "greeting":
            self.hello_ok()

    @rule()
    def peer_falls_silent_or_speaks(self) -> None:
        self.pongs = not self.pongs

    # --- messages --------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.link.online)
    @rule(name=st.sampled_from(["m1", "m2", "m3", "m4"]), text=st.sampled_from(["a", "b"]))
    def message_arrives(self, name: str, text: str) -> None:
        """SEND-19, R2-10, R2-28: handed over once per content; a repeat counts as what it repeats."""
        self.link.last += 1
        number, known = self.link.last, self.messages.get(name)
        effects = self.hear("message.send", message(text, name), chat_id=CHAT, sender=SENDER, dseq=number)
        emits = [effect for effect in effects if isinstance(effect, Emit) and isinstance(effect.event, MessageReceived)]
        if known is not None and known[0] == text:
            assert emits == [], "handed over twice"
            delivery = known[1]
            if delivery in self.outstanding and delivery not in self.link.places:
                self.link.places[delivery] = number
            elif delivery not in self.outstanding:
                self.link.settle(number, self.now.mono_ms)
            else:
                self.link.settle(number, self.now.mono_ms)  # twice on one connection: the first place stands for it
            return
        (emit,) = emits
        assert emit.delivery is not None and emit.delivery not in self.outstanding
        assert isinstance(emit.event, MessageReceived) and emit.event.update is (known is not None)
        self.messages[name] = (text, emit.delivery)
        self.outstanding.add(emit.delivery)
        self.link.places[emit.delivery] = number

    @precondition(lambda self: self.outstanding)
    @rule(data=st.data())
    def application_settles(self, data: st.DataObject) -> None:
        delivery = data.draw(st.sampled_from(sorted(self.outstanding)))
        self.outstanding.discard(delivery)
        number = self.link.places.pop(delivery, None)
        if number is not None and self.link.online:
            self.link.settle(number, self.now.mono_ms)
        self.tell(Settle(delivery))

    @precondition(lambda self: self.link.online)
    @rule(step_=st.sampled_from([0, 2, 5]))
    def hub_miscounts(self, step_: int) -> None:
        """R2-7: not processed, and the connection is given up."""
        effects = self.hear(
            "message.send", message("x", "m9"), chat_id=CHAT, sender=SENDER, dseq=self.link.last + step_
        )
        assert not any(isinstance(effect, Emit) and isinstance(effect.event, MessageReceived) for effect in effects)
        assert self.link.phase == "closing"

    @precondition(lambda self: not self.tokens.stopped and not self.tokens.logged_out and len(self.link.sends) < 6)
    @rule()
    def application_sends(self) -> None:
        self.command += 1
        self.link.sends.append(Sent(self.command))
        self.tell(Send(self.command, CHAT, ({"kind": "text", "text": f"number {self.command}"},)))

    @precondition(lambda self: self.link.online and any(sent.message_id for sent in self.link.sends))
    @rule(data=st.data(), accepted=st.booleans())
    def hub_decides(self, data: st.DataObject, accepted: bool) -> None:
        """The answer to any transmission counts (SEND-11, SEND-15, ERR-2)."""
        sent = data.draw(st.sampled_from([one for one in self.link.sends if one.message_id]))
        trace_id = data.draw(st.sampled_from(sent.trace_ids))
        payload: dict[str, Json] = {"message_id": sent.message_id}
        if accepted:
            effects = self.hear("message.ack", {**payload, "accepted_at": 5}, trace_id=trace_id, chat_id=CHAT)
        else:
            effects = self.hear("message.error", {**payload, "code": "x-strange"}, trace_id=trace_id, chat_id=CHAT)
        self.link.answered(sent, effects, accepted=accepted)

    # --- refreshes -------------------------------------------------------------------------------------------------

    @rule()
    def application_wants_a_refresh(self) -> None:
        self.command += 1
        self.tell(Refresh(self.command), reason="caller")

    @precondition(lambda self: self.tokens.stage == "request")
    @rule(how=st.sampled_from(["rotated", "rotated", "refused", "busy", "internal", "lost", "unsent", "gateway"]))
    def refresh_is_answered(self, how: str) -> None:
        number = self.tokens.request
        replies: dict[str, HttpAnswer] = {
            "rotated": rotated(*self.new_pair()),
            "refused": verdict(10003, "revoked"),
            "busy": verdict(1, "busy", 503, retry_after="120"),
            "internal": verdict(1, "internal"),
            "gateway": answer(b"<html>", 502),
        }
        if how in replies:
            self.tell(HttpAnswered(number, replies[how]))
        else:
            self.tell(HttpFailed(number, sent=how == "lost", detail="reset"))

    @precondition(lambda self: self.tokens.stage in ("request", "save") and not self.tokens.stopped)
    @rule()
    def a_sibling_rotates(self) -> None:
        """Another process on the same store has been quicker; what it stored will be found (REF-45, REF-49)."""
        if self.store.record is not None and self.store.record.generation == self.tokens.generation:
            access, refresh = self.new_pair()
            self.store.rotate(pair(access, refresh, self.now.wall_ms))

    # --- the store -------------------------------------------------------------------------------------------------

    @rule(times=st.sampled_from([1, 3, 6]))
    def disk_fails(self, times: int) -> None:
        self.store.failing = times

    @rule()
    def store_is_held_up(self) -> None:
        self.hold_store = True

    @precondition(lambda self: self.hold_store)
    @rule()
    def store_goes_on(self) -> None:
        self.hold_store = False
        self.answer_store()

    # --- the end ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: not self.tokens.stopped and self.now.mono_ms - MONO > 300_000)
    @rule()
    def application_stops(self) -> None:
        """REF-32: what is under way goes on to its save, and nothing begins."""
        waiting = {sent.command for sent in self.link.sends if not sent.told}
        effects = self.tell(Stop())
        resolved = {effect.command for effect in effects if isinstance(effect, Resolve)}
        assert self.tokens.logged_out or waiting <= resolved, "a send is left hanging"
        self.link.sends.clear()

    @invariant()
    def the_end_is_the_end(self) -> None:
        if self.tokens.logged_out or self.tokens.stopped:
            assert self.link.phase in ("down", "closing", "ended")
        if self.tokens.stopped and self.link.phase == "down" and self.tokens.stage == "idle" and not self.waiting:
            assert is_finished(self.state)


def test_session_and_model_agree() -> None:
    examples = settings().max_examples  # more with the profile "soak", and others each time
    fixed = settings(SEARCH, max_examples=examples, derandomize=examples <= 100, database=None)
    run_state_machine_as_test(SessionBesideModel, settings=fixed)


# Numbers of the protocol, each wrong in one session.
WRONG = {
    "refresh_floor_ms": 20_000,
    "refresh_backoff_max_ms": 500,
    "jitter_ms": 2_400_000,
    "lead_min_ms": 60_000,
    "save_retry_first_ms": 50,
    "retry_after_max_ms": 1_000,
    "handshake_timeout_ms": 12_000,
    "reconnect_first_ms": 100,
    "unexplained_floor_ms": 1_000,
    "close_timeout_ms": 7_000,
    "ping_after_ms": 45_000,
    "pong_timeout_ms": 20_000,
    "ack_timeout_ms": 16_000,
    "ack_debounce_ms": 300,
    "ack_repeat_ms": 40_000,
    "remembered_messages": 0,
    "retransmit_on_reconnect": False,
}
QUICK = ("reconnect_first_ms", "remembered_messages", "retransmit_on_reconnect", "refresh_floor_ms")


LONG = [pytest.param(name, marks=pytest.mark.soak) for name in WRONG if name not in QUICK]


@pytest.mark.parametrize("name", [*QUICK, *LONG])
def test_the_model_notices_a_wrong_number(name: str) -> None:
    changes: Any = {name: WRONG[name]}

    class Wrong(SessionBesideModel):
        policy = Policy(**changes)

    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            Wrong, settings=settings(SEARCH, max_examples=2_000, phases=[Phase.generate], derandomize=True)
        )
