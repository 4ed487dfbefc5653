"""The exact engine: what it checks, and what becomes of a session under each kind of fault."""

import json
from collections.abc import Callable

import pytest

from clawproto import tokens_answers
from clawproto.credentials import Credentials
from clawproto.rest_format import Rotated
from clawproto.testing.invariants import InvariantBroken
from clawproto.testing.simulation import exact, life
from clawproto.testing.simulation.course import Course
from clawproto.testing.simulation.life import Life
from clawproto.testing.simulation.network import Network
from clawproto.testing.simulation.plan import Plan, parse_fault
from clawproto.tokens_state import Flight
from clawproto.turn import Turn

HOURS = 7.0
LIFE_MS = 6 * 3_600_000  # refreshed 90 minutes before, hence after 4.5 h
DUE_MS = 16_200_000

EVERYTHING = [
    "",
    "deploy@1m+10m",
    "outage@2h+10m",
    "outage@4h20m+20m",
    "restart@2h",
    "restart@4h25m+10m",
    "partition@2h+10m",
    "partition@4h25m+20m",
    "partition@2h+15s",
    "suspend@2h+50s",
    "suspend@2h+2h",
    "suspend@4h20m+1h",
    "skew@2h,by=10m",
    "skew@2h+1h,by=-2h",
    "skew@1h,by=9h outage@1h30m+10s",
    "slow-disk@4h+1h,by=10s",
    "slow-disk@4h+1h,by=1s,fail=60%",
    "revocation@2h,of=access outage@3h+10s",
    "restart@2h+1h suspend@2h30m+30m partition@4h20m+15m slow-disk@4h+2h,by=3s",
]


def plan(faults: str, **more: object) -> Plan:
    values: dict[str, object] = {"sessions": 3, "hours": HOURS, "token_life_ms": LIFE_MS, **more}
    return Plan(faults=tuple(parse_fault(fault) for fault in faults.split()), **values)  # type: ignore[arg-type]


def live(faults: str, number: int = 0, **more: object) -> Course:
    return Life(plan(faults, **more), number).run()


@pytest.mark.rule("REF-24", "CLOSE-7", "HB-6", "REF-10", "TOK-20")
@pytest.mark.parametrize("faults", EVERYTHING)
@pytest.mark.parametrize("mode", ["strict", "grace"])
def test_every_session_survives_what_it_can_survive(faults: str, mode: str) -> None:
    report = exact.simulate(plan(faults, refresh_mode=mode))
    assert report.troubles == []
    assert not report.lost
    assert report.not_ready == 0
    assert report.refreshes.total >= 3, "each pair was refreshed once"


@pytest.mark.parametrize("faults", EVERYTHING)
def test_quiet_hours_may_be_skipped(faults: str) -> None:
    skipped, whole = live(faults), Life(plan(faults), 0, heartbeats=True).run()
    assert whole.steps > 4 * skipped.steps
    whole.steps = skipped.steps
    assert skipped == whole


def test_equal_plans_give_equal_bytes_and_other_seeds_do_not() -> None:
    faults = "outage@4h20m+20m restart@2h+10m,share=50%"
    first, again, other = (json.dumps(exact.simulate(plan(faults, seed=seed)).to_json()) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_session_alone_is_the_same_as_among_others() -> None:
    report = exact.simulate(plan("restart@2h+10m,share=50%", sessions=6))
    alone = [Life(plan("restart@2h+10m,share=50%", sessions=6), number).run() for number in reversed(range(6))]
    assert report.opens.total == sum(len(course.opens) for course in alone)


@pytest.mark.rule("REF-30", "AUTH-4")
def test_a_revoked_session_is_lost_when_it_finds_out() -> None:
    course = live("revocation@2h")
    assert course.loss is not None and course.loss.excuse == "revoked" and course.trouble is None
    assert abs(course.loss.at_ms - DUE_MS) < 310_000, "its socket stayed until the next refresh"
    sooner = live("revocation@2h outage@3h+10s")
    assert sooner.loss is not None and 10_800_000 < sooner.loss.at_ms < 10_900_000, "a new handshake told it"


@pytest.mark.rule("TOK-10")
def test_without_jitter_all_refresh_in_the_same_second() -> None:
    together = exact.simulate(plan("", sessions=20, jitter=False))
    spread = exact.simulate(plan("", sessions=20))
    assert together.refreshes.peak() == (20, DUE_MS // 1000)
    assert spread.refreshes.peak()[0] < 4
    assert spread.refreshes.total == 20


@pytest.mark.rule("REF-46", "REF-8")
@pytest.mark.parametrize(
    ("after_ms", "strict"),
    [
        (3, "kept"),  # before the intent was recorded
        (30, "lost"),  # the request has left
        (100, "lost"),  # the server has rotated
        (128, "lost"),  # the pair is being written
        (135, "kept"),  # it is written
    ],
)
def test_a_process_killed_in_a_refresh(after_ms: int, strict: str) -> None:
    faults = f"restart@{DUE_MS + after_ms}ms"
    course = live(faults, jitter=False)
    assert ("lost" if course.loss else "kept") == strict
    assert course.trouble is None
    if course.loss is not None:
        assert course.loss.excuse == "answer-lost"
        assert course.loss.cause == "rotation-lost"
    redeemed = live(faults, jitter=False, refresh_mode="grace")
    assert redeemed.loss is None and redeemed.trouble is None, "grace redeems it"


@pytest.mark.rule("REF-44", "REF-8")
def test_an_answer_lost_in_an_outage_is_redeemed_within_the_grace_only() -> None:
    short, long = (f"outage@{DUE_MS + 70}ms+{length}" for length in ("20s", "3m"))
    assert live(short, jitter=False, refresh_mode="grace").loss is None
    for mode, faults in (("grace", long), ("strict", short)):
        course = live(faults, jitter=False, refresh_mode=mode)
        assert course.loss is not None and course.loss.excuse == "answer-lost"


@pytest.mark.rule("HB-6", "HB-1", "CLOSE-5")
def test_a_partition_is_noticed_by_the_missing_pong() -> None:
    course = live("partition@2h+10m")
    assert len(course.broken) == 1
    assert 10_000 <= course.broken[0] - 7_200_000 <= 40_080
    assert 0 <= course.ready[1][0] - 7_800_000 < 39_000


@pytest.mark.rule("TOK-21")
def test_a_machine_that_slept_past_the_refresh_refreshes_when_it_wakes() -> None:
    course = live("suspend@4h+1h")
    woke = 5 * 3_600_000
    assert woke <= course.refreshes[0] < woke + 90_000


@pytest.mark.rule("TOK-20")
def test_a_clock_that_is_wrong_moves_the_refresh_until_the_next_handshake_tells_the_time() -> None:
    ahead = live("skew@2h,by=10m", jitter=False)
    assert ahead.refreshes[0] == DUE_MS - 600_000 + 5
    told = live("skew@2h,by=10m outage@3h+10s", jitter=False)
    assert 0 <= told.refreshes[0] - DUE_MS < 100, "right but for the time that the challenge took"


@pytest.mark.rule("REF-10")
def test_a_failing_disk_delays_the_swap_and_loses_nothing() -> None:
    courses = [live("slow-disk@4h+1h,by=1s,fail=70%", number) for number in range(6)]
    assert all(course.trouble is None and course.loss is None for course in courses)
    assert any(len(course.refreshes) > 1 or course.opens[-1] > course.refreshes[0] + 2_200 for course in courses)


# --- what must not happen is found -------------------------------------------------------------------------------


def _keep_the_old_pair(rotated: Callable[..., Credentials]) -> Callable[..., Credentials]:
    def broken(flight: Flight, verdict: Rotated, turn: Turn) -> Credentials:
        held = rotated(flight, verdict, turn)
        return Credentials(held.identity, flight.tokens, held.generation)

    return broken


def test_a_core_that_saves_the_old_pair_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens_answers, "_rotated", _keep_the_old_pair(tokens_answers._rotated))
    course = live("", token_life_ms=2 * 3_600_000)
    assert course.trouble is not None
    assert "I3" in course.trouble


def test_a_session_that_is_lost_without_an_excuse_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life, "check", lambda history, *_, **__: history)
    monkeypatch.setattr(tokens_answers, "_rotated", _keep_the_old_pair(tokens_answers._rotated))
    report = exact.simulate(plan("", sessions=2, token_life_ms=2 * 3_600_000))
    assert report.lost == {"unexcused": 2}
    assert [trouble.number for trouble in report.troubles] == [0, 1]
    assert "could have been kept" in report.troubles[0].text


def test_a_session_that_does_not_come_back_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Network, "open", lambda *_: None)
    course = live("")
    assert course.unrecovered
    assert course.trouble is not None and "not ready" in course.trouble


def test_a_broken_invariant_ends_the_session_and_names_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(history: object, _before: object, event: object, *_: object, **__: object) -> object:
        if type(event).__name__ == "HttpAnswered":
            raise InvariantBroken("I1: two refreshes in flight")
        return history

    monkeypatch.setattr(life, "check", check)
    course = live("", jitter=False)
    assert course.violation == f"InvariantBroken at {DUE_MS + 125} ms: I1: two refreshes in flight"
