"""Stop: nothing new begins, and a rotation on its way is brought home."""

import pytest

from clawproto.app_events import LoggedOut
from clawproto.effects import RequestRefresh
from clawproto.events import Event, HttpAnswered, HttpFailed, Reloaded, StoreConflicted, Stored, StoreFailed
from clawproto.policy import DAY_MS
from clawproto.results import RefreshRefused, RefreshSkipped, RefreshSucceeded
from clawproto.session import is_finished
from tests.core.harness import REFUSED, Bench, credentials, heart, jwt, rotated


@pytest.mark.rule("REF-32")
def test_a_call_on_its_way_still_saves_and_swaps_but_opens_nothing() -> None:
    bench = Bench(credentials())
    command = bench.refresh()
    bench.stop()
    assert not is_finished(bench.state)
    effects = bench.reply(rotated(jwt("a2")))
    assert heart(effects) == ["Persist", "Swap"]
    assert isinstance(bench.results[command], RefreshSucceeded)
    assert bench.store.record is not None and bench.store.record.tokens == bench.tokens
    assert bench.access == jwt("a2")
    assert is_finished(bench.state)
    assert bench.deadline is None


@pytest.mark.rule("REF-32", "REF-10")
def test_a_pair_that_could_not_be_saved_is_saved_after_the_stop() -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.store.failing = 6
    bench.reply(rotated(jwt("a2")))
    bench.stop()
    assert not is_finished(bench.state), "a pair is held"
    assert heart(bench.run_for(20_000)) == ["Persist"] * 6 + ["Swap"]
    assert is_finished(bench.state)


@pytest.mark.rule("REF-32", "REF-13", "REF-19", "D-46")
def test_calls_after_the_stop_are_skipped_with_a_reason_of_their_own() -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.stop()
    assert bench.results[bench.refresh()] == RefreshSkipped("stopped"), "even with a flight to join"
    bench.reply(rotated(jwt("a2")))
    assert bench.results[bench.refresh()] == RefreshSkipped("stopped")


@pytest.mark.rule("REF-32", "TOK-12")
def test_stop_disarms_the_timer() -> None:
    bench = Bench(credentials())
    bench.stop()
    assert bench.deadline is None
    bench.pass_time(3 * DAY_MS)
    assert bench.tick() == ()


@pytest.mark.rule("REF-32")
def test_a_request_whose_intent_is_still_being_recorded_does_not_leave_after_the_stop() -> None:
    bench = Bench(credentials())
    bench.store.held = True
    command = bench.refresh()
    bench.stop()
    bench.release()
    assert bench.all(RequestRefresh) == []
    assert bench.results[command] == RefreshSkipped("stopped")
    assert is_finished(bench.state)


@pytest.mark.rule("REF-32", "REF-30")
def test_a_refusal_after_the_stop_still_logs_out() -> None:
    bench = Bench(credentials())
    command = bench.refresh()
    bench.stop()
    effects = bench.reply(REFUSED)
    assert heart(effects) == ["Reload", "Logout"]
    assert isinstance(bench.results[command], RefreshRefused)
    assert len(bench.told(LoggedOut)) == 1
    assert is_finished(bench.state)
    assert bench.deadline is None


@pytest.mark.rule("REF-32")
def test_an_answer_to_nothing_changes_nothing() -> None:
    """Late and doubled answers, before and after a stop."""
    bench = Bench(credentials())
    bench.refresh()
    number = bench.sole_refresh().request
    bench.reply(rotated(jwt("a2")))
    late: tuple[Event, ...] = (
        HttpAnswered(number, rotated(jwt("a3"), "refresh-3")),
        HttpAnswered(number, REFUSED),
        HttpFailed(number, True, "late"),
        HttpAnswered(10_000, REFUSED),
        *(Stored(operation, 99) for operation in range(9)),
        *(StoreFailed(operation, "late") for operation in range(9)),
        *(StoreConflicted(operation, credentials(generation=77)) for operation in range(9)),
        *(Reloaded(operation, credentials(generation=77)) for operation in range(9)),
    )
    for stopped in (False, True):
        if stopped:
            bench.stop()
        for event in late:
            before = bench.state
            assert bench.step(event) == ()
            assert bench.state == before


@pytest.mark.rule("REF-29", "REF-32")
def test_a_stopped_session_opens_and_asks_nothing_whatever_comes() -> None:
    bench = Bench(credentials())
    bench.stop()
    begin = len(bench.effects)
    bench.load(credentials(generation=5))
    bench.pass_time(2 * DAY_MS)
    bench.tick()
    assert heart(bench.effects[begin:]) == []


@pytest.mark.rule("OUT-8", "REF-32")
def test_what_the_store_says_after_the_stop_to_a_look_for_credentials_is_not_taken_up() -> None:
    bench = Bench(None)
    bench.store.held = True
    bench.run_for(2_000)
    assert len(bench.waiting) == 1
    bench.stop()
    bench.store.record = credentials()
    before = bench.state
    assert bench.release() == ()
    assert bench.state == before and bench.tokens is None
    assert is_finished(bench.state) and bench.deadline is None


@pytest.mark.rule("OUT-8", "REF-32")
def test_after_the_stop_nobody_looks_for_credentials() -> None:
    bench = Bench(None)
    bench.stop()
    assert bench.deadline is None
    bench.store.record = credentials()
    bench.pass_time(DAY_MS)
    assert bench.tick() == () and bench.tokens is None
