"""clawproto against the manager it grew from: the same instants, the same sequences, and each difference on purpose."""

from collections import Counter

import pytest
from attrs import evolve, frozen
from hypothesis import given, settings, strategies as st

from clawproto.config import Config
from clawproto.credentials import Credentials, Guard
from clawproto.effects import Effect, Logout, Persist, RecordIntent, Reload, RequestRefresh, Resolve, Swap
from clawproto.events import (
    CredentialsLoaded,
    Event,
    HttpAnswered,
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
from clawproto.instant import Instant
from clawproto.policy import Policy
from clawproto.results import RefreshFailed, RefreshRefused, RefreshSkipped, RefreshSucceeded, Result
from clawproto.secret import Secret
from clawproto.session import step
from clawproto.state import State
from clawproto.timing import token_times
from clawproto.tokens_state import guard
from tests.core import seed_reference as seed
from tests.core.harness import IDENTITY, INTERNAL, MONO, REFUSED, SEED, T0, jwt, pair, rotated
from tests.core.seed_reference import Amended, Entry, Pair, Seed

PLAIN = Policy(credential_poll_ms=None)


# --- instants ------------------------------------------------------------------------------------------------------

seconds = st.integers(70 * 60, 400 * 86_400)


@pytest.mark.rule("TOK-7", "TOK-10", "TOK-19")
@given(life=seconds, offset=st.integers(-(10**6), 10**6), unit=st.floats(0, 1, exclude_max=True))
def test_refresh_at_is_the_seeds_to_the_millisecond(life: int, offset: int, unit: float) -> None:
    issued = T0 + offset * 1000
    times = token_times(Secret(jwt("t", issued_ms=issued, life_ms=life * 1000)), None, unit, PLAIN)
    assert times is not None
    jitter = round(-5 * seed.MINUTE_MS + unit * 10 * seed.MINUTE_MS)
    assert times.refresh_at_ms == seed.refresh_at_ms(issued + life * 1000, issued, jitter)


@pytest.mark.rule("TOK-8", "TOK-9", "TOK-11", "D-9")
@given(
    life=st.one_of(seconds, st.integers(-86_400, 0), st.none()),
    now=st.integers(T0 - 2 * 10**8, T0 + 2 * 10**8),
    clip=st.booleans(),
)
def test_near_expiry_is_the_seeds(life: int | None, now: int, clip: bool) -> None:
    expires = T0 + 50_000_000
    issued = None if life is None else expires - life * 1000
    policy = Policy(clip_short_lives=clip)
    times = token_times(Secret(jwt("t", issued_ms=issued, expires_ms=expires)), None, 0.7, policy)
    assert times is not None
    assert times.is_near_expiry(now, 0) == seed.is_near_expiry(now, expires, issued)


@pytest.mark.rule("TOK-15", "TOK-19", "D-49")
@given(life=st.integers(1, 70 * 60 - 1))
def test_short_lives_differ_unless_the_clipping_is_off(life: int) -> None:
    token = Secret(jwt("t", life_ms=life * 1000))
    plain = seed.refresh_at_ms(T0 + life * 1000, T0, 0)
    unclipped = token_times(token, None, 0.5, Policy(clip_short_lives=False))
    assert unclipped is not None and unclipped.refresh_at_ms == plain
    clipped = token_times(token, None, 0.5, PLAIN)
    assert clipped is not None and clipped.refresh_at_ms >= T0 + life * 500
    if life < 60 * 60:
        assert clipped.refresh_at_ms > plain


# --- sequences -----------------------------------------------------------------------------------------------------


@frozen
class Core:
    """clawproto as a value: a session, its clocks, its store, and what is under way. Intents and reads of the store are
    answered at once, since the seed knows neither."""

    state: State
    now: Instant
    record: Credentials
    call: int | None = None
    writing: Persist | Logout | None = None

    def step(self, event: Event) -> tuple["Core", list[Entry]]:
        core, log = self, list[Entry]()
        queue: list[Event] = [event]
        while queue:
            state, effects = step(core.state, queue.pop(0), core.now)
            core = evolve(core, state=state)
            for effect in effects:
                core, following = core._carry_out(effect, log)
                queue += following
        return core, log

    def _carry_out(self, effect: Effect, log: list[Entry]) -> tuple["Core", list[Event]]:
        match effect:
            case RecordIntent(operation=operation, intent=intent):
                if self.record.generation != intent.generation:
                    return self, [StoreConflicted(operation, self.record)]
                return self, [Stored(operation, self.record.generation)]
            case Reload(operation=operation):
                return self, [Reloaded(operation, self.record)]
            case RequestRefresh(request=request):
                log.append(("request", _refresh_token(effect)))
                return evolve(self, call=request), []
            case Persist(credentials=credentials):
                log.append(("persist", *_texts(credentials.tokens)))
                return evolve(self, writing=effect), []
            case Swap(tokens=tokens):
                log.append(("swap", *_texts(tokens)))
            case Logout():
                log.append(("logout",))
                return evolve(self, writing=effect), []
            case Resolve(command=command, result=result):
                log.append(("outcome", str(command), *_outcome(result)))
            case _:
                pass
        return self, []

    def write(self, *, well: bool) -> tuple["Core", list[Entry]]:
        """The store answers what it was asked to write."""
        effect = self.writing
        assert effect is not None
        core = evolve(self, writing=None)
        report: StoreReport
        if not well:
            report = StoreFailed(effect.operation, "disk full")
        elif effect.replaces != self.record.generation:
            report = StoreConflicted(effect.operation, self.record)
        else:
            if isinstance(effect, Persist):
                record = effect.credentials
            else:
                record = Credentials(IDENTITY, None, effect.replaces + 1, refused=effect.refused)
            core = evolve(core, record=record)
            report = Stored(effect.operation, record.generation)
        return core.step(report)

    def store(self, tokens: Pair) -> "Core":
        """Another process writes the record."""
        record = Credentials(IDENTITY, pair(tokens.access, tokens.refresh, None), self.record.generation + 1)
        return evolve(self, record=record)

    def passes(self, ms: int) -> tuple["Core", list[Entry]]:
        core, log = self, list[Entry]()
        end = self.now.mono_ms + ms
        while core.state.deadline is not None and core.state.deadline <= end:
            gap = max(0, core.state.deadline - core.now.mono_ms)
            core, more = evolve(core, now=Instant(core.now.wall_ms + gap, core.now.mono_ms + gap)).step(Tick())
            log += more
        rest = end - core.now.mono_ms
        return evolve(core, now=Instant(core.now.wall_ms + rest, end)), log


def _refresh_token(effect: RequestRefresh) -> str:
    import json

    token: str = json.loads(effect.http.body or b"")["refresh_token"]
    return token


def _texts(tokens: object) -> tuple[str, str]:
    from clawproto.credentials import TokenPair

    assert isinstance(tokens, TokenPair)
    return tokens.access.reveal(), str(None if tokens.refresh is None else tokens.refresh.reveal())


def _outcome(result: Result) -> Entry:
    match result:
        case RefreshSucceeded(tokens=tokens):
            return ("success", tokens.access.reveal())
        case RefreshRefused():
            return ("permanent",)
        case RefreshFailed():
            return ("transient",)
        case RefreshSkipped(reason=reason):
            return ("skipped", reason)
        case _:
            raise AssertionError(result)


FIRST = Pair("opaque-1", "r-1")
GUARDS = {
    "fresh": Guard(),
    "attempted": Guard(None, None, T0 - 15_000),
    "refused": Guard(Secret(FIRST.access).digest, None, T0 - 15_000),
    "refused another": Guard(Secret("opaque-0").digest, None, T0 - 40_000),
}
ACTIONS = (
    "call",
    "success",
    "permanent",
    "transient",
    "saved",
    "save fails",
    "forgotten",
    "10 s",
    "20 s",
    "loaded",
    "loaded bare",
    "sibling",
    "stop",
)


@frozen
class Twins:
    """The core and a model that have lived through the same history."""

    core: Core
    model: Amended
    pure: Seed | None
    number: int = 1

    @staticmethod
    def born(guard_name: str, *, intents: bool) -> "Twins":
        saved = GUARDS[guard_name]
        policy = Policy(credential_poll_ms=None, record_intent=intents)
        record = Credentials(IDENTITY, pair(FIRST.access, FIRST.refresh, None), 1)
        core = Core(State(Config(seed=SEED, policy=policy)), Instant(T0, MONO), record)
        core, log = core.step(Start(record, saved))
        assert log == []
        rejected = {"refused": FIRST.access, "refused another": "opaque-0"}.get(guard_name)
        last = saved.last_attempt_wall_ms
        model = Amended(
            FIRST, T0, rejected, last or 0, intents=intents, stored=FIRST, attempted=last is not None, log=[]
        )
        return Twins(core, model, Seed(FIRST, T0, rejected, last or 0))

    def applies(self, action: str) -> bool:
        """Whether the action makes sense now: nobody answers what was not asked."""
        flight, model = self.model.flight, self.model
        match action:
            case "success" | "permanent" | "transient":
                return flight is not None and flight.place == "call"
            case "saved" | "save fails":
                return flight is not None and flight.place == "save" and model.saving
            case "forgotten":
                return flight is not None and flight.place == "logout"
            case "stop":
                return not model.stopped
            case _:
                return True

    def then(self, action: str) -> "Twins":
        """Both live through one more action. Raises AssertionError where they part."""
        fresh = Pair(f"opaque-{self.number + 1}", f"r-{self.number + 1}")
        model, core = self.model.copy(), self.core
        pure = None if self.pure is None or action == "sibling" else self.pure.copy()
        assert isinstance(model, Amended)
        log: list[Entry] = []
        for twin in filter(None, (model, pure)):
            _live(twin, action, self.number, fresh)
        match action:
            case "call":
                core, log = core.step(Refresh(self.number))
            case "success":
                core, log = self._answer(HttpAnswered(core.call or 0, rotated(fresh.access, str(fresh.refresh))))
            case "permanent":
                core, log = self._answer(HttpAnswered(core.call or 0, REFUSED))
            case "transient":
                core, log = self._answer(HttpAnswered(core.call or 0, INTERNAL))
            case "saved" | "forgotten":
                core, log = core.write(well=True)
            case "save fails":
                core, log = core.write(well=False)
            case "10 s" | "20 s":
                core, log = core.passes(int(action[:2]) * 1000)
            case "sibling":
                core = core.store(fresh)
            case "stop":
                core, log = core.step(Stop())
            case _:
                loaded = fresh if action == "loaded" else evolve(fresh, refresh=None)
                core = core.store(loaded)
                core, log = core.step(CredentialsLoaded(core.record))
        assert log == model.log, "the core and the amended seed part"
        if pure is not None and not model.used:
            assert log == pure.log, "the core and the seed part, and no amendment explains it"
        _compare_guards(core, model)
        return Twins(core, model, None if model.used else pure, self.number + 1)

    def _answer(self, event: HttpAnswered) -> tuple[Core, list[Entry]]:
        assert self.core.call == event.request
        return evolve(self.core, call=None).step(event)


def _live(model: Seed, action: str, number: int, fresh: Pair) -> None:
    match action:
        case "call":
            model.call(number)
        case "success":
            model.answered("success", fresh)
        case "permanent":
            model.answered("permanent")
        case "transient":
            model.answered("transient")
        case "saved" | "save fails":
            model.saved(well=action == "saved")
        case "forgotten":
            model.forgotten()
        case "10 s" | "20 s":
            model.passes(int(action[:2]) * 1000)
        case "sibling":
            assert isinstance(model, Amended)
            model.rotated_by_sibling(fresh)
        case "stop":
            model.stop()
        case _:
            model.replaced(fresh if action == "loaded" else evolve(fresh, refresh=None))


def _compare_guards(core: Core, model: Seed) -> None:
    """What would be carried over into the next life."""
    rejected, last = model.export()
    exported = guard(core.state.tokens)
    assert exported.last_attempt_wall_ms == (last or None)
    if rejected is not None:
        assert exported.refused == Secret(rejected).digest


@pytest.mark.rule(
    "REF-9", "REF-12", "REF-13", "REF-14", "REF-15", "REF-16", "REF-18", "REF-30", "REF-32", "REF-33", "D-48"
)
@pytest.mark.parametrize("intents", [True, False])
@pytest.mark.parametrize("guard_name", list(GUARDS))
def test_every_short_interleaving(guard_name: str, intents: bool) -> None:
    """Every history of up to four or five actions that make sense, in every order."""
    seen: Counter[str] = Counter()
    histories = unamended = 0

    def explore(twins: Twins, depth: int) -> None:
        nonlocal histories, unamended
        for action in ACTIONS:
            if twins.applies(action):
                following = twins.then(action)
                histories += 1
                unamended += following.pure is not None
                seen.update(entry[0] for entry in following.model.log)
                seen.update(following.model.used)
                if depth > 1:
                    explore(following, depth - 1)

    depth = 5 if guard_name == "fresh" else 4
    explore(Twins.born(guard_name, intents=intents), depth)
    assert histories > 1_000 and unamended > 100
    wanted = {"request", "outcome", "persist", "logout", "D-46", "REF-32"}
    if guard_name != "refused":  # there everything begins with another pair
        wanted |= {"swap", "D-50", "REF-45"} | ({"REF-49"} if intents or depth == 5 else set())
    assert wanted <= set(seen)


@pytest.mark.rule("REF-9", "REF-12", "REF-13", "REF-14", "REF-15", "REF-16", "REF-18", "REF-30", "REF-32", "REF-33")
@settings(max_examples=300)
@given(
    guard_name=st.sampled_from(list(GUARDS)),
    intents=st.booleans(),
    wishes=st.lists(st.integers(0, 10**6), min_size=10, max_size=60),
)
def test_long_interleavings(guard_name: str, intents: bool, wishes: list[int]) -> None:
    twins = Twins.born(guard_name, intents=intents)
    for wish in wishes:
        possible = [action for action in ACTIONS if twins.applies(action) and (action != "stop" or wish % 7 == 0)]
        twins = twins.then(possible[wish % len(possible)])


# --- the differences, one by one -----------------------------------------------------------------------------------


def history(*actions: str, intents: bool = True) -> tuple[Twins, Seed]:
    """The twins after ``actions``, and the pure seed after the same."""
    twins = Twins.born("fresh", intents=intents)
    pure = Seed(FIRST, T0)
    for action in actions:
        if action != "sibling":
            _live(pure, action, twins.number, Pair(f"opaque-{twins.number + 1}", f"r-{twins.number + 1}"))
        twins = twins.then(action)
    return twins, pure


@pytest.mark.rule("D-46", "REF-19")
def test_difference_a_call_after_stop_has_its_own_reason() -> None:
    twins, pure = history("stop", "call")
    assert pure.log == [("outcome", "2", "skipped", "in-flight")]
    assert twins.model.log == [("outcome", "2", "skipped", "stopped")]


@pytest.mark.rule("D-47", "REF-18")
def test_difference_an_attempt_at_time_zero_is_an_attempt() -> None:
    pure = Seed(FIRST, 0)
    pure.call(1)
    pure.answered("transient")
    pure.call(2)
    assert pure.log[-1][0] == "request", "the seed takes it for never"
    record = Credentials(IDENTITY, pair(FIRST.access, FIRST.refresh, None), 1)
    core, _ = Core(State(Config(seed=SEED, policy=PLAIN)), Instant(0, 0), record).step(Start(record))
    core, _ = core.step(Refresh(1))
    core, _ = core.step(HttpAnswered(core.call or 0, INTERNAL))
    _, log = core.step(Refresh(2))
    assert log == [("outcome", "2", "skipped", "min-interval")]


@pytest.mark.rule("D-50", "REF-10")
def test_difference_a_pair_that_could_not_be_saved_is_held() -> None:
    twins, pure = history("call", "success", "save fails")
    for action in ("20 s", "save fails", "10 s", "saved"):
        twins = twins.then(action)
    assert twins.model.memory == Pair("opaque-3", "r-3")
    assert pure.memory == FIRST, "whose refresh token is spent"


@pytest.mark.rule("D-50", "REF-10", "REF-13")
def test_difference_no_call_leaves_while_a_pair_is_held() -> None:
    twins, _ = history("call", "success", "save fails", "20 s", "10 s", "call")
    assert twins.model.log == [("outcome", "6", "skipped", "in-flight")]
    original = Seed(FIRST, T0)
    original.call(1)
    original.answered("success", Pair("opaque-2", "r-2"))
    original.saved(well=False)
    original.passes(30_000)
    original.call(2)
    assert original.log[-1] == ("request", "r-1"), "the seed presents the spent token again"


@pytest.mark.rule("REF-45")
def test_difference_the_store_is_read_before_a_logout() -> None:
    twins, pure = history("call", "sibling", "permanent", intents=False)
    assert pure.log[-1] == ("logout",)
    assert twins.model.log == [("swap", "opaque-3", "r-3"), ("outcome", "1", "success", "opaque-3")]


@pytest.mark.rule("REF-45")
def test_difference_a_refusal_of_a_replaced_pair_is_transient() -> None:
    twins, pure = history("call", "loaded", "permanent")
    assert pure.log[-1] == ("logout",)
    assert twins.model.log == [("outcome", "1", "transient")]


@pytest.mark.rule("REF-49")
def test_difference_a_newer_pair_in_the_store_is_not_overwritten() -> None:
    twins, pure = history("call", "success", "sibling", "saved")
    assert pure.memory == Pair("opaque-3", "r-3")
    assert twins.model.memory == Pair("opaque-4", "r-4")


@pytest.mark.rule("REF-46", "REF-49")
def test_difference_an_intent_meets_a_sibling_before_anything_is_spent() -> None:
    twins, _ = history("sibling", "call")
    assert twins.model.log == [("swap", "opaque-2", "r-2"), ("outcome", "2", "success", "opaque-2")]


@pytest.mark.rule("REF-32", "OUT-7")
def test_difference_after_a_stop_nothing_is_loaded() -> None:
    twins, pure = history("stop", "loaded")
    assert pure.memory == Pair("opaque-3", "r-3") and twins.model.memory == FIRST
    assert twins.core.state.tokens.credentials is not None
    assert twins.core.state.tokens.credentials.tokens == pair(FIRST.access, FIRST.refresh, None)


@pytest.mark.rule("D-7", "REF-27", "REF-44")
@pytest.mark.parametrize("lost", [True, False])
def test_difference_the_session_tries_again_by_itself(lost: bool) -> None:
    """The seed arms its timer on the next connection only. Here a due or a lost refresh is repeated after the floor."""
    from clawproto.events import HttpFailed

    twins = Twins.born("fresh", intents=True)
    core, _ = twins.core.step(Refresh(1))
    event: Event = HttpFailed(core.call or 0, True, "timed out") if lost else HttpAnswered(core.call or 0, INTERNAL)
    core, _ = evolve(core, call=None).step(event)
    _, log = core.passes(35_000)
    assert log == ([("request", "r-1")] if lost else []), "a caller's refresh whose answer is known is not repeated"
