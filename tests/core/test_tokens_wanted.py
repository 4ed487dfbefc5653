"""Why an attempt begins, when the next one is due, and what the application is told of it."""

import pytest

from clawproto.app_events import RefreshDelayed
from clawproto.effects import RecordIntent
from clawproto.policy import DAY_MS, HOUR_MS
from clawproto.tokens_state import Idle
from tests.core.harness import INTERNAL, QUIET, T0, Bench, credentials, emitted, jwt, of, pair
from tests.core.link_harness import LinkBench


def trigger(bench: Bench) -> str:
    """Why the flight that is under way began."""
    phase = bench.state.tokens.phase
    assert not isinstance(phase, Idle)
    return phase.flight.trigger


@pytest.mark.rule("REF-31")
def test_a_flight_knows_why_it_began() -> None:
    asked = Bench(credentials())
    asked.refresh()
    assert trigger(asked) == "caller"
    old = Bench(credentials(pair(jwt("a1", issued_ms=T0 - DAY_MS))))
    assert trigger(old) == "startup"
    due = Bench(credentials(), policy=QUIET)
    due.run_until(RecordIntent)
    assert trigger(due) == "proactive"
    lost = Bench(credentials(), policy=QUIET)
    lost.refresh()
    lost.fail(sent=True)
    lost.run_until(RecordIntent)
    assert trigger(lost) == "recovery"
    rejected = Bench(credentials(), greet=False)
    rejected.handshake()
    rejected.hello_fail(rejected.generation, "authentication failed")
    assert trigger(rejected) == "rejected"


@pytest.mark.rule("REF-21")
def test_the_application_is_told_when_the_next_attempt_of_our_own_begins() -> None:
    bench = Bench(credentials(), policy=QUIET)
    bench.run_until(RecordIntent)
    told = emitted(bench.reply(INTERNAL), RefreshDelayed)
    assert len(told) == 1 and told[0].text and told[0].retry_in_ms is not None
    begin = bench.now.mono_ms
    bench.run_until(RecordIntent)
    assert bench.now.mono_ms - begin == told[0].retry_in_ms > 0


@pytest.mark.rule("REF-21")
def test_nothing_is_due_after_a_callers_refresh_of_a_fresh_token() -> None:
    bench = Bench(credentials())
    bench.refresh()
    told = emitted(bench.fail(sent=False), RefreshDelayed)
    assert told == [RefreshDelayed("name not found", None)]


@pytest.mark.rule("REF-16")
def test_the_floor_ends_to_the_millisecond() -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.fail(sent=False)
    floor = bench.state.config.policy.refresh_floor_ms
    bench.pass_time(floor - 1)
    bench.refresh()
    assert bench.refreshes == {}
    bench.pass_time(1)
    bench.refresh()
    assert len(bench.refreshes) == 1


@pytest.mark.rule("TOK-21")
@pytest.mark.parametrize("late", [0, HOUR_MS])
def test_a_message_finds_out_that_the_wall_clock_has_jumped(late: int) -> None:
    bench = LinkBench(policy=QUIET)
    due = bench.state.tokens.proactive_at
    assert due is not None
    bench.pass_time(0, wall_ms=due - bench.now.wall_ms - 1)
    assert of(bench.message("msg-1"), RecordIntent) == []
    bench.pass_time(0, wall_ms=1 + late)
    assert len(of(bench.message("msg-2"), RecordIntent)) == 1
    assert trigger(bench) == "proactive"
