"""The server has rotated and the disk is ill: the pair is held, and nothing spent is ever sent again."""

import pytest

from clawproto.app_events import LoggedOut, Misconfigured, SaveAlarm, SaveRecovered
from clawproto.effects import Open, Persist, RequestHttp, RequestRefresh, Swap
from clawproto.events import Closed, Reloaded, StoreConflicted, StoreFailed
from clawproto.policy import HOUR_MS, Policy
from clawproto.results import RefreshFailed, RefreshSkipped, RefreshSucceeded, RestSucceeded, RestUnauthorized
from tests.core.harness import QUIET, T0, Bench, answer, credentials, emitted, heart, jwt, names, of, rotated, verdict

NEW = jwt("a2", issued_ms=T0 + 1_000)


def held(failures: int = 1, policy: Policy = QUIET) -> tuple[Bench, int]:
    """A session that holds a pair, its save having failed once; the store fails ``failures`` times in all."""
    bench = Bench(credentials(), policy=policy)
    command = bench.refresh()
    bench.store.failing = failures
    bench.reply(rotated(NEW))
    return bench, command


@pytest.mark.rule("REF-10", "D-50", "REF-9")
def test_nothing_is_swapped_and_the_callers_are_told_transient() -> None:
    bench, command = held()
    assert isinstance(bench.results[command], RefreshFailed)
    assert bench.all(Swap) == [] and bench.access == jwt("a1")


@pytest.mark.rule("REF-10")
def test_the_save_alone_is_repeated_for_ever_with_the_very_same_pair() -> None:
    bench, _ = held(failures=500)
    times: list[int] = []
    for _ in range(40):
        begin = bench.now.mono_ms
        bench.run_until(Persist)
        times.append(bench.now.mono_ms - begin)
    assert times == [100, 200, 400, 800, 1600, 3200] + [5000] * 34
    assert len(bench.all(RequestRefresh)) == 1
    assert len({(persist.credentials, persist.replaces) for persist in bench.all(Persist)}) == 1
    assert len({persist.operation for persist in bench.all(Persist)}) == 41


@pytest.mark.rule("REF-10")
def test_the_third_failure_in_a_row_raises_the_alarm_once() -> None:
    bench, _ = held(failures=9)
    assert bench.told(SaveAlarm) == []
    bench.run_until(Persist)
    assert bench.told(SaveAlarm) == []
    bench.run_until(Persist)
    assert [alarm.attempts for alarm in bench.told(SaveAlarm)] == [3]
    bench.run_for(HOUR_MS)
    assert len(bench.told(SaveAlarm)) == 1
    assert bench.told(SaveRecovered) == [SaveRecovered(9)]


@pytest.mark.rule("REF-10")
def test_without_an_alarm_there_is_no_all_clear() -> None:
    bench, _ = held(failures=2)
    bench.run_for(10_000)
    assert bench.all(Swap) and bench.told(SaveRecovered) == []


@pytest.mark.rule("REF-10", "REF-9")
def test_once_saved_it_is_swapped_as_on_success() -> None:
    bench, _ = held(failures=4)
    effects = bench.run_for(10_000)
    assert heart(effects) == ["Persist"] * 4 + ["Swap"]
    assert bench.access == NEW and bench.store.record is not None and bench.store.record.tokens == bench.tokens


@pytest.mark.rule("REF-10", "REF-13")
def test_no_refresh_while_a_pair_is_held_however_long() -> None:
    bench, _ = held(failures=100_000)
    for _ in range(4):
        bench.pass_time(10 * HOUR_MS)  # the old token falls due and expires
        bench.run_for(60_000)
        assert bench.results[bench.refresh()] == RefreshSkipped("in-flight")
    assert len(bench.all(RequestRefresh)) == 1


@pytest.mark.rule("REF-10", "REF-29")
def test_the_old_access_token_stays_in_use_meanwhile() -> None:
    bench, _ = held(failures=1_000)
    bench.step(Closed(bench.generation, 1006))
    bench.run_for(30_000)
    assert len(bench.all(Open)) == 2, "a lost socket comes back"
    bench.rest()
    bench.reply_call(answer({"code": 0, "data": {}}))
    assert isinstance(bench.results[2], RestSucceeded)


@pytest.mark.rule("REF-10", "REF-23")
def test_a_rejected_token_is_not_presented_while_its_successor_is_held() -> None:
    bench, _ = held(failures=30)
    bench.greet = False
    bench.step(Closed(bench.generation, 1006))
    bench.run_until(Open)
    bench.handshake()
    opened = len(bench.all(Open))
    bench.hello_fail(bench.generation, "authentication failed")
    bench.run_for(60_000)
    assert len(bench.all(Open)) == opened
    bench.greet = True
    bench.run_for(120_000)
    assert len(bench.all(Open)) == opened + 1 and bench.access == NEW


@pytest.mark.rule("REF-10", "REST-5")
def test_rest_calls_do_not_wait_for_the_disk() -> None:
    bench = Bench(credentials(), policy=QUIET)
    first = bench.rest()
    bench.reply_call(verdict(1, status=401))
    bench.store.failing = 30
    bench.reply(rotated(NEW))
    assert isinstance(bench.results[first], RestUnauthorized), "what waited for the refresh is told"
    second = bench.rest()
    bench.reply_call(verdict(1, status=401))
    assert isinstance(bench.results[second], RestUnauthorized), "and so is what comes later"
    bench.run_for(HOUR_MS)
    third = bench.rest()
    (call,) = of(bench.effects[-1:], RequestHttp)
    assert dict(call.http.headers)["authorization"] == f"Bearer {NEW}"
    bench.reply_call(answer({"code": 0, "data": {}}))
    assert isinstance(bench.results[third], RestSucceeded)


@pytest.mark.rule("REF-10", "REF-28")
def test_a_late_swap_leaves_the_socket_of_a_callers_refresh_alone() -> None:
    bench, _ = held()
    assert names(bench.run_for(10_000), Persist, Swap, Open) == ["Persist", "Swap"]


@pytest.mark.rule("REF-46", "REF-10")
def test_what_cannot_be_written_before_the_rotation_is_not_rotated() -> None:
    bench = Bench(credentials(), policy=QUIET)
    bench.store.failing = 1
    command = bench.refresh()
    assert bench.all(RequestRefresh) == []
    assert bench.results[command] == RefreshFailed("disk full", sent=False)
    assert [told.code for told in bench.told(Misconfigured)] == ["store-unwritable"]
    bench.run_for(30_000)
    command = bench.refresh()
    bench.reply(rotated(NEW))
    assert isinstance(bench.results[command], RefreshSucceeded)


@pytest.mark.rule("REF-10", "REF-49", "REF-45")
def test_reports_out_of_order_do_not_disturb_a_held_pair() -> None:
    bench, _ = held(failures=3)
    operation = bench.all(Persist)[-1].operation
    before = bench.state
    for late in (StoreFailed(operation, "again"), Reloaded(operation, None), Reloaded(operation + 1, credentials())):
        assert bench.step(late) == ()
    assert bench.state == before
    assert bench.told(LoggedOut) == []


@pytest.mark.rule("REF-46", "REF-49")
def test_a_store_that_refuses_the_very_generation_that_it_holds_is_unwritable() -> None:
    bench = Bench(credentials())
    bench.store.held = True
    command = bench.refresh()
    (recording,) = bench.waiting
    effects = bench.step(StoreConflicted(recording.operation, credentials()))
    assert [told.code for told in emitted(effects, Misconfigured)] == ["store-unwritable"]
    assert of(effects, RequestRefresh) == []
    outcome = bench.results[command]
    assert isinstance(outcome, RefreshFailed) and outcome.text and not outcome.sent
