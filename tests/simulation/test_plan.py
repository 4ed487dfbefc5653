"""Plans and faults: their text form, and what depends on the seed."""

import pytest

from clawproto.testing.simulation.plan import KINDS, SCENARIOS, Fault, Plan, duration, parse_duration, parse_fault


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("0", 0), ("250ms", 250), ("90s", 90_000), ("1h30m", 5_400_000), ("2d", 172_800_000), ("-3m", -180_000)],
)
def test_durations_are_read(text: str, milliseconds: int) -> None:
    assert parse_duration(text) == milliseconds
    assert parse_duration(duration(milliseconds)) == milliseconds


@pytest.mark.parametrize("text", ["", "6", "h", "1h 30m", "1x", "one hour", "--3m", "1h-3m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    "text",
    [
        "outage@6h+1h",
        "restart@22h",
        "restart@22h+10m,share=0.5",
        "revocation@4h,of=access,share=0.1",
        "skew@3h,by=-10m",
        "skew@3h+1h,by=10m,share=0.2",
        "slow-disk@21h+2h,by=5s,fail=0.5",
        "deploy@0+10m",
    ],
)
def test_a_fault_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_fault(text)) == text


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_alone_stands_for_a_scenario(kind: str) -> None:
    assert parse_fault(kind) == parse_fault(SCENARIOS[kind])
    assert parse_fault(kind).kind == kind


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("flood@6h", "is no fault; there are deploy, outage"),
        ("restart@", "no duration"),
        ("outage@6h", "needs a duration"),
        ("revocation@6h+1h", "has no duration"),
        ("skew@6h", "by how much"),
        ("outage@6h+1h,share=20%", "no option 'share'"),
        ("restart@6h,share=120%", "is no share"),
        ("restart@6h,share=half", "could not convert"),
        ("revocation@6h,of=all", "session or access"),
        ("slow-disk@6h+1h,by=-5s", "negative"),
    ],
)
def test_a_wrong_fault_says_what_is_wrong(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_fault(text)


def test_a_share_strikes_that_share_of_the_sessions_by_the_seed() -> None:
    fault = parse_fault("restart@6h+10m,share=20%")
    struck = {
        seed: {number for number in range(2000) if Plan(seed=seed, faults=(fault,)).strikes(0, number)}
        for seed in (1, 2)
    }
    assert all(300 < len(numbers) < 500 for numbers in struck.values())
    assert struck[1] != struck[2]


def test_a_rolling_fault_comes_to_each_session_within_its_duration() -> None:
    plan = Plan(faults=(parse_fault("restart@6h+10m"),))
    instants = [plan.instant_in(0, number) for number in range(500)]
    begin, end = plan.faults[0].at_ms, plan.faults[0].end_ms
    assert begin <= min(instants) < begin + 30_000
    assert end - 30_000 < max(instants) < end


def test_sessions_start_at_one_of_the_deployments() -> None:
    plan = Plan(faults=(parse_fault("deploy@1h"), parse_fault("deploy@2h+1m")))
    starts = [plan.start_of(number) for number in range(200)]
    assert starts.count(3_600_000) > 70
    assert sum(7_200_000 <= start < 7_260_000 for start in starts) == 200 - starts.count(3_600_000)


def test_seeds_differ_by_session_and_process() -> None:
    plan = Plan()
    seeds = {plan.session_seed(number, process) for number in range(50) for process in range(3)}
    assert len(seeds) == 150
    assert Plan(seed=2).session_seed(0, 0) not in seeds


def test_senseless_values_are_refused() -> None:
    with pytest.raises(ValueError, match="sessions"):
        Plan(sessions=0)
    with pytest.raises(ValueError, match="at_ms"):
        Fault(kind="restart", at_ms=-1)
