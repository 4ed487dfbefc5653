"""The exact engine for one session: the real core, the real hub, and every frame, request and write between them.

            events
    core <---------- clocks, disk, network <------> hub
         ---------->
          effects

Everything that takes time is put into one agenda by the true time at which it ends. Every step is checked against the
invariants I1 to I13. Rules: HB-6, REF-10, REF-32, REF-44, REF-46.

**Quiet hours are skipped.** While a session is online, has nothing under way, and nothing is to happen to it, pings,
pongs and repeated acks follow each other at fixed intervals and change nothing but when they come next. These times are
moved on at once, to the last pong before something else is due. With ``heartbeats=True`` every one of them is carried
out, which must give the same course (a test compares them).
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias

from attrs import evolve

from clawproto.app_events import LoggedOut
from clawproto.config import Config, Features
from clawproto.credentials import Credentials, Identity
from clawproto.effects import (
    Abort,
    Close,
    Effect,
    Emit,
    Logout,
    Open,
    Persist,
    Reconnect,
    RecordIntent,
    Reload,
    RememberDevice,
    RequestRefresh,
    SendFrame,
)
from clawproto.errors import Misuse
from clawproto.events import Event, Reloaded, Start, StoreConflicted, Stored, StoreFailed, Tick
from clawproto.instant import Instant
from clawproto.link_state import Closing, Online, is_online
from clawproto.policy import MINUTE_MS
from clawproto.session import step
from clawproto.state import State
from clawproto.testing.invariants import History, InvariantBroken, check
from clawproto.testing.simulation.agenda import Agenda
from clawproto.testing.simulation.course import Course, Excuse, Loss
from clawproto.testing.simulation.network import DEVICE, Network
from clawproto.testing.simulation.plan import Plan
from clawproto.testing.simulation.surroundings import Surroundings
from clawproto.tokens_state import Idle, LoggingOut

SETTLE_MS = 10 * MINUTE_MS
"""So long after the last trouble every session must be ready again."""

LIVENESS_EVERY = 8
"""In every so many steps it is also checked that a healthy world leads to a ready session (I12)."""

Watch: TypeAlias = Callable[[int, Instant, Event, tuple[Effect, ...], State], None]
"""Told of each step: true time, what the clocks of its machine show, event, effects, state after it."""


class Life:
    """One session from its pairing to the end of the plan.

    Args:
        heartbeats: carry out every ping instead of skipping quiet hours.
        watch: told of each step.
    """

    def __init__(self, plan: Plan, number: int, *, heartbeats: bool = False, watch: Watch | None = None) -> None:
        self._plan, self._policy = plan, plan.policy
        self._around = Surroundings(plan, number)
        self.course = Course(number, self._around.starts_at)
        self._heartbeats, self._watch = heartbeats, watch
        self._agenda = Agenda()
        self._network = Network(plan, self._around, self._agenda, self._feed, heartbeats=heartbeats)
        self._process = 0
        self._state: State | None = None
        self._history = History()
        self._record: Credentials | None = None
        self._revoked = self._gone = False
        self._ready_since: int | None = None
        self._noting = True  # the plan's time is not over

    def run(self) -> Course:
        """From the start to the end of the plan, or to the session's."""
        course = self.course
        self._put_troubles()
        try:
            self._run_until(self._plan.end_ms)
            self._note_ready(False)
            course.unrecovered = self._stays_down()
        except (InvariantBroken, Misuse, AssertionError, LookupError, TypeError, ValueError) as error:
            course.violation = f"{type(error).__name__} at {self._agenda.now} ms: {error}"
        return course

    def _put_troubles(self) -> None:
        put, around = self._agenda.put, self._around
        put(around.starts_at, self._pair)
        for outage in around.outages:
            put(outage.begin, self._network.cut)
        for blocked in around.blocked:
            put(blocked.begin, partial(self._network.vanish, blocked.end))
        for kill in around.kills:
            put(kill, self._kill)
        for at, of in around.revocations:
            put(at, partial(self._revoke, of))

    def _run_until(self, end: int, enough: Callable[[], bool] = lambda: False) -> None:
        agenda, network = self._agenda, self._network
        while not self._gone and not enough():
            next_due, own_due, hub_due = agenda.next_due(), self._own_due(), network.next_due()
            due = min((one for one in (next_due, own_due, hub_due) if one is not None), default=None)
            if due is None or due >= end:
                agenda.now = max(agenda.now, end)
                return
            agenda.now = max(agenda.now, due)
            if due == next_due:
                agenda.take()()
            elif due == own_due:
                self._tick(end)
            else:
                network.tick()

    def _stays_down(self) -> bool:
        """Whether the session is still not ready when everything has been well for long enough."""
        if self._is_online() or self._state is None or self._gone:
            return False
        self._noting = False
        well_from = self._plan.end_ms
        while not self._around.was_well(well_from, well_from + SETTLE_MS):
            well_from += SETTLE_MS
        self._run_until(well_from + SETTLE_MS, self._is_online)
        return not self._is_online() and not self._gone

    # --- time ------------------------------------------------------------------------------------------------------

    def _own_due(self) -> int | None:
        if self._state is None or self._state.deadline is None:
            return None
        return max(self._agenda.now, self._around.when(self._state.deadline))

    def _tick(self, end: int) -> None:
        state = self._state
        assert state is not None
        heard = None if self._heartbeats else self._last_pong_before_anything(state, end)
        if heard is not None:
            self._agenda.now = heard
            self._state = self._moved_on(state, self._around.clocks(heard).mono_ms)
        self._feed(self._process, Tick())

    def _last_pong_before_anything(self, state: State, end: int) -> int | None:
        """When the last pong of the quiet hours that begin now will have come; None if nothing can be skipped."""
        phase, tokens, around, now = state.link.phase, state.tokens, self._around, self._agenda.now
        if not isinstance(phase, Online) or phase.pinged_at is not None or state.link.attempts:
            return None
        clocks, heard = around.clocks(now), around.when(phase.heard_at)
        if not self._network.is_whole(self._process, phase.generation) or not around.passes(heard, now):
            return None
        busy = not isinstance(tokens.phase, Idle) or tokens.failures or tokens.lost_until is not None
        busy = busy or state.inbox.ack_due is not None or state.inbox.replay_until is not None
        if busy or max(tokens.hold_until, tokens.backoff_until) > clocks.mono_ms:
            return None
        limits = [end]
        if tokens.proactive_at is not None:
            limits.append(now + tokens.proactive_at - clocks.wall_ms)
        limits += [due for due in (self._agenda.next_due(), around.next_jump(now)) if due is not None]
        cycle = self._policy.ping_after_ms + 2 * self._plan.timings.one_way_ms
        last = heard + ((min(limits) - heard) // cycle - 1) * cycle
        return last if last > now else None

    def _moved_on(self, state: State, mono: int) -> State:
        """The state after quiet hours: a pong has come just now, and the acks have been repeated when due (R2-15)."""
        phase, repeat_due, every = state.link.phase, state.inbox.repeat_due, self._policy.ack_repeat_ms
        assert isinstance(phase, Online)
        if repeat_due is not None and repeat_due <= mono:
            repeat_due += ((mono - repeat_due) // every + 1) * every
        return evolve(
            state,
            link=evolve(state.link, phase=Online(phase.generation, phase.since, mono)),
            inbox=evolve(state.inbox, repeat_due=repeat_due),
        )

    # --- process and session ---------------------------------------------------------------------------------------

    def _is_online(self) -> bool:
        return self._state is not None and is_online(self._state.link)

    def _pair(self) -> None:
        """The agent is paired at this moment, and its first process starts."""
        pair = self._network.issue(self._around.clocks(self._agenda.now).wall_ms)
        identity = Identity(self._network.user_id, DEVICE, "http://hub", "ws://hub/ws")
        self._record = Credentials(identity, pair, 1)
        self._start(self._process)

    def _start(self, process: int) -> None:
        if process != self._process:
            return
        seed = self._plan.session_seed(self.course.number, process)
        config = Config(seed=seed, policy=self._policy, capabilities=Features().capabilities)
        self._state, self._history = State(config), History()
        self._feed(process, Start(self._record))

    def _kill(self) -> None:
        """The process dies without a word; its system closes its sockets."""
        self._process += 1
        self._state = None
        self._note_ready(False)
        self._network.leave_all()
        boot = self._around.after(self._agenda.now, self._plan.timings.boot_ms)
        self._agenda.put(boot, partial(self._start, self._process))

    def _revoke(self, of: Literal["session", "access"]) -> None:
        if self._record is not None:
            self._network.revoke(of)
            self._revoked = self._revoked or of == "session"

    def _feed(self, process: int, event: Event) -> bool:
        before = self._state
        if process != self._process or before is None or self._gone:
            return False
        now = self._around.clocks(self._agenda.now)
        after, effects = step(before, event, now)
        self._state = after
        self.course.steps += 1
        if self._watch is not None:
            self._watch(self._agenda.now, now, event, effects, after)
        liveness = self.course.steps % LIVENESS_EVERY == 0
        self._history = check(self._history, before, event, now, effects, after, liveness=liveness)
        if is_online(after.link) != is_online(before.link):
            self._note_link(after)
        for effect in effects:
            self._carry_out(effect)
        return True

    def _note_link(self, after: State) -> None:
        phase = after.link.phase
        wanted = isinstance(phase, Closing) and (phase.planned or isinstance(after.tokens.phase, LoggingOut))
        if not is_online(after.link) and not wanted:
            self._note(self.course.broken)
        self._note_ready(is_online(after.link))

    def _note(self, instants: list[int]) -> None:
        if self._noting:
            instants.append(self._agenda.now)

    def _note_ready(self, ready: bool) -> None:
        if self._ready_since is not None and self._noting:
            self.course.ready.append((self._ready_since, self._agenda.now))
        self._ready_since = self._agenda.now if ready else None

    def _carry_out(self, effect: Effect) -> None:
        network, process = self._network, self._process
        match effect:
            case Open(generation):
                self._note(self.course.opens)
                network.open(process, generation)
            case SendFrame(generation, text):
                network.send(process, generation, text)
            case Close(generation) | Reconnect(generation):
                network.close(process, generation)
            case Abort(generation):
                network.abort(process, generation)
            case RequestRefresh(request, http, timeout_ms):
                self._note(self.course.refreshes)
                network.request(process, request, http, timeout_ms)
            case RecordIntent() | Persist() | Logout() | Reload():
                self._store(effect)
            case RememberDevice(device_id):
                assert self._record is not None
                self._record = evolve(self._record, identity=evolve(self._record.identity, socket_device_id=device_id))
            case Emit(LoggedOut() as ended):
                self._gone = True
                self._note_ready(False)
                loss = Loss(self._agenda.now, ended.cause, self._excuse())
                if self._noting or loss.excuse is None:
                    self.course.loss = loss
            case _:
                pass

    def _excuse(self) -> Excuse | None:
        """Why nothing could have saved the session (REF-8, REF-44, REF-46)."""
        if self._revoked:
            return "revoked"
        rotation = self._network.rotation
        if rotation is None or rotation.delivered:
            return None
        if self._plan.refresh_mode == "strict":
            return "answer-lost"
        return None if self._around.was_well(rotation.at + 30_000, rotation.at + 60_000) else "answer-lost"

    # --- the store -------------------------------------------------------------------------------------------------

    def _store(self, effect: RecordIntent | Persist | Logout | Reload) -> None:
        now, process = self._agenda.now, self._process
        wait, fails = self._around.disk(now)

        def complete() -> None:
            if process == self._process:  # what a dead process had begun is not written
                self._feed(process, StoreFailed(effect.operation, "disk") if fails else self._write(effect))

        self._agenda.put(self._around.after(now, wait), complete)

    def _write(self, effect: RecordIntent | Persist | Logout | Reload) -> Event:
        record = self._record
        assert record is not None
        if isinstance(effect, Reload):
            return Reloaded(effect.operation, record)
        expected = effect.intent.generation if isinstance(effect, RecordIntent) else effect.replaces
        if record.generation != expected:
            return StoreConflicted(effect.operation, record)
        match effect:
            case RecordIntent(intent=intent):
                record = evolve(record, intent=intent)
            case Persist(credentials=credentials):
                record = evolve(credentials, intent=None, refused=None)
                self._note_saved(credentials)
            case Logout(refused=refused):
                record = evolve(record, tokens=None, generation=record.generation + 1, intent=None, refused=refused)
        self._record = record
        return Stored(effect.operation, record.generation)

    def _note_saved(self, credentials: Credentials) -> None:
        rotation, tokens = self._network.rotation, credentials.tokens
        if rotation is not None and tokens is not None and tokens.refresh is not None:
            self._network.rotation = None if tokens.refresh.digest == rotation.digest else rotation
