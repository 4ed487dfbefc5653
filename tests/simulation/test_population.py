"""The population engine against the exact one: the same seeds give the same events, to the millisecond."""

import json
import random
from collections import Counter

import numpy as np
import pytest

from clawproto.testing.simulation import exact, population
from clawproto.testing.simulation.cohort import Cohort
from clawproto.testing.simulation.draws import CoreDraws, FastDraws
from clawproto.testing.simulation.hardships import FAR
from clawproto.testing.simulation.life import Life
from clawproto.testing.simulation.plan import Fault, Plan, parse_fault
from clawproto.timing import lead_ms

DUE = "22h"

PLANS = [
    "",
    "deploy@0+1h",
    "outage@6h+1h",
    "outage@6h+5s",
    f"restart@{DUE}",
    f"restart@{DUE}+10m,share=50%",
    "revocation@3h,share=50% outage@5h+10s",
    "revocation@3h,of=access outage@5h+10s",
    "slow-disk@21h+2h,by=7s restart@22h1m",
    "deploy@0+1h restart@22h30m+10m outage@22h50m+20m",
    "outage@21h50m+20m",
    "outage@23h50m+20m",
]


def plan(faults: str, sessions: int = 12, **more: object) -> Plan:
    return Plan(faults=tuple(parse_fault(fault) for fault in faults.split()), sessions=sessions, **more)  # type: ignore[arg-type]


def _random_plan(rng: random.Random) -> Plan:
    """Two sessions and some faults, most of them at the worst moment: when the refresh is on its way."""
    life = rng.choice([20, 60, 120, 24 * 60]) * 60_000
    due = life - min(lead_ms(life, Plan().policy), life // 2)

    def fault() -> Fault:
        at = rng.choice([due + rng.randrange(-400, 400), due + rng.randrange(-320_000, 320_000), rng.randrange(due)])
        match rng.choice(["outage", "restart", "revocation", "slow-disk"]):
            case "outage":
                return Fault(kind="outage", at_ms=at, for_ms=rng.choice([1, 50, 1_000, 5_000, 30_000, 90_000, 600_000]))
            case "restart":
                return Fault(
                    kind="restart", at_ms=at, for_ms=rng.choice([0, 1_000, 60_000]), share=rng.choice([1, 0.5])
                )
            case "revocation":
                return Fault(kind="revocation", at_ms=at, of=rng.choice(["session", "access"]), share=0.5)
            case _:
                return Fault(
                    kind="slow-disk", at_ms=max(0, at - 60_000), for_ms=120_000, by_ms=rng.choice([3, 900, 40_000])
                )

    return Plan(
        seed=rng.randrange(1_000),
        sessions=2,
        hours=due * 1.4 / 3_600_000,
        faults=tuple(fault() for _ in range(rng.randrange(1, 5))),
        jitter=rng.random() < 0.4,
        refresh_mode=rng.choice(["strict", "grace"]),
        token_life_ms=life,
    )


def _assert_equal_events(plan: Plan) -> None:
    courses = [Life(plan, number).run() for number in range(plan.sessions)]
    cohort = Cohort(plan, np.arange(plan.sessions, dtype=np.int64), CoreDraws(plan))
    cohort.run()
    assert [course.trouble for course in courses if course.trouble] == []
    for exactly, modelled in (
        ([at for course in courses for at in course.refreshes], cohort.refreshes),
        ([at for course in courses for at in course.opens], cohort.opens),
    ):
        assert sorted(exactly) == sorted(int(at) for part in modelled for at in part)
    assert [course.loss.at_ms if course.loss else int(FAR) for course in courses] == cohort.lost_at.tolist()


@pytest.mark.rule("TOK-10", "TOK-14", "REF-8", "REF-20", "REF-21", "REF-26", "CLOSE-3", "CLOSE-5")
@pytest.mark.parametrize("faults", PLANS)
@pytest.mark.parametrize("jitter", [True, False])
def test_the_model_agrees_with_the_core_event_for_event(faults: str, jitter: bool) -> None:
    _assert_equal_events(plan(faults, jitter=jitter))


@pytest.mark.parametrize("part", range(4))
def test_the_model_agrees_with_the_core_on_random_plans(part: int) -> None:
    for case in range(part, 120, 4):
        drawn = _random_plan(random.Random(case))
        try:
            _assert_equal_events(drawn)
        except AssertionError as error:
            error.add_note(f"case {case}: {drawn}")
            raise


@pytest.mark.soak
def test_the_model_agrees_with_the_core_on_many_random_plans() -> None:
    for case in range(1_000, 11_000):
        _assert_equal_events(_random_plan(random.Random(case)))


@pytest.mark.parametrize("faults", ["outage@6h+1h restart@22h", "revocation@3h,share=50% outage@5h+10s"])
def test_both_engines_report_the_same(faults: str) -> None:
    exactly, modelled = (
        exact.simulate(plan(faults)).to_json(),
        population.simulate(plan(faults), draws="core").to_json(),
    )
    assert exactly | {"engine": None} == modelled | {"engine": None}


def test_equal_plans_give_equal_bytes_however_the_sessions_are_grouped(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = plan("outage@6h+10m restart@22h+10m,share=30%", sessions=3_000)
    whole = json.dumps(population.simulate(drawn).to_json())
    monkeypatch.setattr(population, "COHORT", 257)
    assert json.dumps(population.simulate(drawn).to_json()) == whole


def test_quick_draws_give_the_same_curve_as_those_of_the_core() -> None:
    """Two samples of the same distribution: no minute differs by more than six standard deviations."""
    faults = "restart@21h57m outage@22h1m+5m"
    quick = population.simulate(plan(faults, sessions=20_000))
    cores = population.simulate(plan(faults, sessions=20_000), draws="core")
    for one, other in ((quick.refreshes, cores.refreshes), (quick.opens, cores.opens)):
        assert abs(one.total - other.total) < 0.01 * one.total
        for minute in range(0, 24 * 3600, 60):
            first, second = (sum(load.per_second[minute : minute + 60]) for load in (one, other))
            assert abs(first - second) <= 6 * (first + second) ** 0.5
    waits = [report.recoveries[1] for report in (quick, cores)]
    for share in (0.1, 0.5, 0.9):
        first, second = (recovery.quantile(share) or 0 for recovery in waits)
        assert abs(first - second) < 1_000


def test_quick_draws_are_uniform_and_independent_of_their_neighbours() -> None:
    drawn_for = Plan(seed=5)
    draws = FastDraws(drawn_for)
    numbers = np.arange(50_000, dtype=np.int64)
    same = np.zeros_like(numbers)
    rows = [draws("any", numbers, same + process, same + counter) for process in (0, 1) for counter in (1, 2)]
    for row in rows:
        assert row.min() >= 0 and row.max() < 1
        counts = np.bincount((row * 20).astype(int), minlength=20)
        assert float(((counts - 2_500) ** 2 / 2_500).sum()) < 60  # chi-square, 19 degrees of freedom
        assert abs(float(np.corrcoef(row[1:], row[:-1])[0, 1])) < 0.02
    assert all(abs(float(np.corrcoef(rows[0], row)[0, 1])) < 0.02 for row in rows[1:])
    assert not np.array_equal(rows[0], FastDraws(Plan(seed=6))("any", numbers, same, same + 1))


@pytest.mark.parametrize(
    ("faults", "complaint"),
    [
        ("suspend", "does not know suspend"),
        ("partition", "does not know partition"),
        ("skew", "does not know skew"),
        ("slow-disk@1h+1h,by=1s,fail=10%", "failing disks"),
    ],
)
def test_what_the_model_does_not_know_it_refuses(faults: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        population.simulate(plan(faults))


def test_tokens_that_live_for_moments_are_refused() -> None:
    with pytest.raises(ValueError, match="5 minutes"):
        population.simulate(plan("", token_life_ms=60_000))


def test_what_jitter_buys() -> None:
    spread, together = (population.simulate(plan("", sessions=60_000, jitter=jitter)) for jitter in (True, False))
    assert together.refreshes.peak() == (60_000, 22 * 3600)
    assert spread.refreshes.peak()[0] < 160, "60,000 over ten minutes are 100 a second"
    used = Counter(minute // 60 for minute, count in enumerate(spread.refreshes.per_second) if count)
    assert sorted(used) == list(range(22 * 60 - 5, 22 * 60 + 5))
