"""An answer that is lost: not sent, sent and unknown, answered. And what a restart makes of it."""

from email.utils import formatdate

import pytest
from attrs import evolve

from clawproto.app_events import LoggedOut, RefreshDelayed
from clawproto.credentials import Credentials, Intent
from clawproto.effects import Open, RecordIntent, RequestRefresh
from clawproto.events import Closed, OpenFailed
from clawproto.http import HttpAnswer
from clawproto.policy import DAY_MS, HOUR_MS, Policy
from clawproto.results import RefreshFailed, RefreshSkipped
from tests.core.harness import (
    INTERNAL,
    QUIET,
    REFUSED,
    T0,
    Bench,
    answer,
    credentials,
    heart,
    jwt,
    of,
    pair,
    rotated,
    verdict,
)
from tests.core.link_harness import LinkBench

NO_FLOOR = evolve(QUIET, refresh_floor_ms=0)


def asked(policy: Policy = QUIET) -> tuple[Bench, int]:
    bench = Bench(credentials(), policy=policy)
    return bench, bench.refresh()


# --- three kinds of failure ----------------------------------------------------------------------------------------


@pytest.mark.rule("REF-43", "REF-36", "REF-19")
@pytest.mark.parametrize("sent", [True, False])
def test_the_outcome_tells_whether_the_request_may_have_arrived(sent: bool) -> None:
    bench, command = asked()
    bench.fail(sent=sent)
    outcome = bench.results[command]
    assert isinstance(outcome, RefreshFailed) and outcome.sent is sent


@pytest.mark.rule("REF-43")
@pytest.mark.parametrize("reply", [answer(b"", 503), answer({"code": 1}), answer(b"<html>")])
def test_whatever_was_answered_has_arrived(reply: HttpAnswer) -> None:
    bench, command = asked()
    bench.reply(reply)
    outcome = bench.results[command]
    assert isinstance(outcome, RefreshFailed) and outcome.sent
    assert outcome.text == bench.state.tokens.last_error


@pytest.mark.rule("REF-44", "REF-43")
@pytest.mark.parametrize(
    "reply",
    [
        None,
        answer(b"<html>"),
        answer(b"", 502),
        answer(b"", 504),
        answer({"code": 0, "data": {}}),
        answer({"msg": "no code"}),
    ],
)
def test_after_an_unknown_answer_two_seconds_pass_whatever_the_floor(reply: HttpAnswer | None) -> None:
    bench, _ = asked(NO_FLOOR)
    bench.fail() if reply is None else bench.reply(reply)
    bench.pass_time(1_999)
    assert bench.results[bench.refresh()] == RefreshSkipped("min-interval")
    bench.pass_time(1)
    bench.refresh()
    assert len(bench.refreshes) == 1


@pytest.mark.rule("REF-44", "REF-43")
def test_after_a_known_answer_or_none_at_all_nobody_waits_for_that() -> None:
    for reply in (INTERNAL, verdict(7), None):
        bench, _ = asked(NO_FLOOR)
        bench.fail(sent=False) if reply is None else bench.reply(reply)
        bench.refresh()
        assert len(bench.refreshes) == 1


@pytest.mark.rule("REF-44", "REF-25")
def test_with_default_settings_it_is_tried_again_at_30_and_60_seconds() -> None:
    """A caller asked, so no timer would do it: but the server's grace for a lost answer is 90 s."""
    bench, _ = asked()
    for _ in range(2):
        bench.fail()
        assert bench.told(RefreshDelayed)[-1].retry_in_ms is not None
        bench.run_until(RecordIntent)
    assert [effect.intent.wall_ms - T0 for effect in bench.all(RecordIntent)] == [0, 30_000, 60_000]
    assert heart(bench.reply(rotated(jwt("a2"))))[:2] == ["Persist", "Swap"]


@pytest.mark.rule("REF-44", "REF-36")
def test_a_timeout_of_half_a_minute_still_leaves_attempts_within_the_grace() -> None:
    bench, _ = asked()
    bench.pass_time(30_000)
    bench.fail()
    bench.run_until(RecordIntent)
    assert bench.now.wall_ms == T0 + 32_000


@pytest.mark.rule("REF-44")
def test_when_the_grace_is_over_the_timer_alone_decides() -> None:
    bench, _ = asked()
    bench.fail()
    bench.run_until(RecordIntent)
    bench.reply(INTERNAL)
    bench.run_until(RecordIntent)
    bench.reply(INTERNAL)
    bench.run_for(HOUR_MS)
    assert [effect.intent.wall_ms - T0 for effect in bench.all(RecordIntent)] == [0, 30_000, 60_000]


@pytest.mark.rule("REF-44", "REF-31")
@pytest.mark.parametrize("known", [True, False])
def test_what_is_known_not_to_have_rotated_is_not_recovered(known: bool) -> None:
    bench, _ = asked()
    bench.reply(INTERNAL) if known else bench.fail(sent=False)
    assert bench.told(RefreshDelayed)[-1].retry_in_ms is None
    bench.run_for(10 * HOUR_MS)
    assert len(bench.all(RecordIntent)) == 1


@pytest.mark.rule("REF-44", "TOK-21")
@pytest.mark.parametrize("jump", [-5 * HOUR_MS, 5 * HOUR_MS])
def test_the_grace_does_not_depend_on_the_wall_clock(jump: int) -> None:
    bench, _ = asked()
    bench.pass_time(1_000, wall_ms=jump)
    bench.fail()
    bench.run_until(RecordIntent, within_ms=30_000)
    bench.reply(INTERNAL)
    bench.run_until(RecordIntent, within_ms=31_000)
    bench.reply(INTERNAL)
    assert of(bench.run_for(HOUR_MS), RecordIntent) == []


@pytest.mark.rule("REF-25", "REF-24", "REF-46")
def test_only_a_permanent_answer_after_a_lost_one_ends_the_session_and_says_why() -> None:
    bench, _ = asked()
    bench.fail()
    bench.run_until(RecordIntent)
    bench.reply(REFUSED)
    (told,) = bench.told(LoggedOut)
    assert told.cause == "rotation-lost"


@pytest.mark.rule("REF-46")
def test_a_refusal_out_of_the_blue_says_refused() -> None:
    bench, _ = asked()
    bench.reply(INTERNAL)
    bench.run_for(30_000)
    bench.refresh()
    bench.reply(REFUSED)
    assert bench.told(LoggedOut)[0].cause == "refused"


@pytest.mark.rule("REF-46")
def test_an_answered_rotation_wipes_the_suspicion() -> None:
    bench, _ = asked()
    bench.fail()
    bench.run_until(RecordIntent)
    assert bench.state.tokens.last_error
    bench.reply(rotated(jwt("a2")))
    assert bench.state.tokens.last_error is None
    bench.run_for(30_000)
    bench.refresh()
    bench.reply(REFUSED)
    assert bench.told(LoggedOut)[0].cause == "refused"


# --- the intent ----------------------------------------------------------------------------------------------------


@pytest.mark.rule("REF-46")
def test_the_intent_is_saved_before_the_request_and_gone_with_the_result() -> None:
    bench = Bench(credentials())
    bench.store.held = True
    bench.refresh()
    (record,) = bench.all(RecordIntent)
    assert bench.refreshes == {}
    tokens = credentials().tokens
    assert tokens is not None and tokens.refresh is not None
    assert record.intent == Intent(tokens.refresh.digest, 1, T0)
    bench.release()
    assert len(bench.refreshes) == 1
    assert bench.store.record is not None and bench.store.record.intent == record.intent
    bench.reply(rotated(jwt("a2")))
    assert bench.store.record.intent is None


@pytest.mark.rule("REF-46")
def test_a_host_may_do_without_intents() -> None:
    bench = Bench(credentials(), policy=Policy(record_intent=False))
    bench.refresh()
    assert heart(bench.effects) == ["Open", "RequestRefresh"]


def crashed(ago_ms: int, **token: int) -> Credentials:
    """The record that a process left behind which died ``ago_ms`` ago, with a rotation on its way."""
    tokens = pair(jwt("a1", **token))
    assert tokens.refresh is not None
    return evolve(credentials(tokens), intent=Intent(tokens.refresh.digest, 1, T0 - ago_ms))


@pytest.mark.rule("REF-46", "REF-44", "REF-16")
@pytest.mark.parametrize(("ago", "wait"), [(0, 30_000), (10_000, 20_000), (29_999, 1), (45_000, 0), (89_999, 0)])
def test_after_a_restart_within_the_grace_the_rotation_is_tried_again(ago: int, wait: int) -> None:
    bench = Bench(crashed(ago), policy=QUIET)
    if wait:
        assert bench.refreshes == {} and len(bench.all(Open)) == 1, "meanwhile the old access token serves"
        bench.run_until(RecordIntent)
    assert bench.now.wall_ms == T0 + wait
    effects = bench.reply(rotated(jwt("a2")))
    assert heart(effects)[:2] == ["Persist", "Swap"]


@pytest.mark.rule("REF-46")
def test_after_the_grace_a_token_that_is_not_due_is_left_alone() -> None:
    bench = Bench(crashed(90_000), policy=QUIET)
    bench.run_for(HOUR_MS)
    assert bench.all(RecordIntent) == []
    bench.refresh()
    bench.reply(REFUSED)
    assert bench.told(LoggedOut)[0].cause == "rotation-lost", "but a refusal is explained"


@pytest.mark.rule("REF-46", "REF-44")
def test_a_clock_set_back_since_the_crash_does_not_stretch_the_grace() -> None:
    bench = Bench(crashed(-DAY_MS), policy=QUIET)
    bench.run_until(RecordIntent, within_ms=30_000)
    bench.reply(INTERNAL)
    bench.run_until(RecordIntent, within_ms=31_000)
    bench.reply(INTERNAL)
    assert of(bench.run_for(HOUR_MS), RecordIntent) == []


@pytest.mark.rule("REF-46")
def test_an_intent_about_another_token_means_nothing() -> None:
    record = evolve(credentials(), intent=Intent("0" * 32, 1, T0 - 1_000))
    bench = Bench(record, policy=QUIET)
    bench.run_for(HOUR_MS)
    assert bench.all(RecordIntent) == []
    bench.refresh()
    bench.reply(REFUSED)
    assert bench.told(LoggedOut)[0].cause == "refused"


# --- Retry-After ---------------------------------------------------------------------------------------------------


@pytest.mark.rule("REF-47")
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("header", "wait"), [("120", 120_000), ("7200", HOUR_MS), ("5", 30_000)])
def test_retry_after_delays_every_attempt(status: int, header: str, wait: int) -> None:
    bench, _ = asked()
    bench.reply(verdict(10003, status=status, retry_after=header))
    bench.pass_time(wait - 1)
    assert bench.results[bench.refresh()] == RefreshSkipped("min-interval")
    bench.pass_time(1)
    bench.refresh()
    assert len(bench.refreshes) == 1
    assert bench.told(LoggedOut) == []


@pytest.mark.rule("REF-47")
def test_retry_after_binds_the_sessions_own_attempts_too() -> None:
    bench = Bench(credentials(), policy=QUIET, liveness=False)
    bench.run_until(RecordIntent)
    begin = bench.now.mono_ms
    bench.reply(verdict(1, status=503, retry_after="600"))
    assert bench.told(RefreshDelayed)[-1].retry_in_ms == 600_000
    bench.run_until(RecordIntent)
    assert bench.now.mono_ms - begin == 600_000


@pytest.mark.rule("REF-47", "TOK-20")
def test_retry_after_as_a_date_is_in_the_servers_time() -> None:
    """Our clock is three hours slow; the header names an instant two minutes from now."""
    bench, _ = asked()
    server = (T0 + 3 * HOUR_MS) / 1000
    bench.reply(
        verdict(1, status=503, date=formatdate(server, usegmt=True), retry_after=formatdate(server + 120, usegmt=True))
    )
    bench.pass_time(119_999)
    assert bench.results[bench.refresh()] == RefreshSkipped("min-interval")
    bench.pass_time(1)
    bench.refresh()
    assert len(bench.refreshes) == 1


@pytest.mark.rule("REF-47")
@pytest.mark.parametrize(("status", "header"), [(500, "600"), (200, "600"), (503, "soon")])
def test_elsewhere_and_unreadable_it_means_nothing(status: int, header: str) -> None:
    bench, _ = asked()
    bench.reply(verdict(1, status=status, retry_after=header))
    bench.pass_time(30_000)
    bench.refresh()
    assert len(bench.refreshes) == 1


# --- clocks --------------------------------------------------------------------------------------------------------


@pytest.mark.rule("TOK-21", "TOK-11")
def test_while_an_instant_of_the_wall_clock_is_awaited_the_core_looks_every_minute() -> None:
    bench = Bench(credentials(), policy=QUIET)
    bench.run_for(10_000)
    bench.tick()
    assert bench.deadline == bench.now.mono_ms + 60_000
    bench.pass_time(60_000, wall_ms=30 * HOUR_MS)  # a machine wakes: its wall clock has gone on
    assert of(bench.tick(), RecordIntent)


@pytest.mark.rule("TOK-21")
def test_delays_do_not_follow_the_wall_clock() -> None:
    for jump in (-DAY_MS, 10 * HOUR_MS):
        bench, _ = asked()
        bench.reply(INTERNAL)
        bench.pass_time(29_999, wall_ms=jump)
        assert bench.results[bench.refresh()] == RefreshSkipped("min-interval")
        bench.pass_time(1, wall_ms=0)
        bench.refresh()
        assert len(bench.refreshes) == 1


@pytest.mark.rule("TOK-21", "TOK-20")
def test_a_clock_that_jumps_back_delays_the_refresh_until_it_is_corrected() -> None:
    bench = Bench(credentials(), policy=QUIET, liveness=False)
    bench.run_for(21 * HOUR_MS)
    bench.pass_time(0, wall_ms=-20 * HOUR_MS)
    bench.tick()
    assert of(bench.run_for(2 * HOUR_MS), RecordIntent) == []
    bench.pass_time(0, wall_ms=20 * HOUR_MS)
    bench.run_until(RecordIntent, within_ms=60_000)


@pytest.mark.rule("TOK-20", "TOK-14")
@pytest.mark.parametrize("skew", [-26 * HOUR_MS, -3 * HOUR_MS, 3 * HOUR_MS, 26 * HOUR_MS])
def test_a_wrong_clock_is_corrected_for_by_the_challenge(skew: int) -> None:
    """The local clock is off by ``skew``; the hub's greeting tells. Refresh falls due in the server's time."""
    from clawproto.app_events import ClockSkewed

    record = credentials(pair(jwt("a1", life_ms=40 * HOUR_MS)))
    bench = Bench(record, policy=QUIET, greet=False, wall_ms=T0 + skew, liveness=False)
    if not bench.all(Open):  # the clock is so fast that the token looks old: the refresh answer tells the time
        bench.reply(answer({"code": 1}, 200, date=formatdate(T0 / 1000, usegmt=True)))
    bench.hub_offset = -skew
    bench.greet = True
    bench.handshake()
    assert [told.offset_ms for told in bench.told(ClockSkewed)] == [-skew], "once"
    bench.run_until(RecordIntent)
    assert abs(bench.now.wall_ms - skew - T0 - 38 * HOUR_MS) <= 5 * 60_000


@pytest.mark.rule("TOK-20")
def test_an_estimate_near_the_one_in_force_changes_nothing() -> None:
    from clawproto.app_events import ClockSkewed

    bench = LinkBench(policy=QUIET)
    bench.hub_offset = 2 * HOUR_MS
    bench.reconnect()
    bench.hub_offset += 1_000
    bench.reconnect()
    assert [told.offset_ms for told in bench.told(ClockSkewed)] == [2 * HOUR_MS]
    assert bench.state.tokens.offset == 2 * HOUR_MS


@pytest.mark.rule("TOK-20")
def test_a_fresh_token_tells_the_time_where_no_header_does() -> None:
    from clawproto.app_events import ClockSkewed

    bench, _ = asked()
    bench.reply(rotated(jwt("a2", issued_ms=T0 + 2 * HOUR_MS)))
    assert [told.offset_ms for told in bench.told(ClockSkewed)] == [2 * HOUR_MS]
    bench.run_for(30_000)
    bench.refresh()
    server = T0 + 30_000 + 60_000
    bench.reply(rotated(jwt("a3", issued_ms=T0 - DAY_MS), "refresh-3", date=formatdate(server / 1000, usegmt=True)))
    assert [told.offset_ms for told in bench.told(ClockSkewed)] == [2 * HOUR_MS, 0], "the header goes before"


@pytest.mark.rule("TOK-21")
def test_a_deadline_is_never_in_the_past_after_a_tick_whatever_the_clocks_do() -> None:
    from random import Random

    for seed in range(30):
        dice = Random(seed)
        bench = Bench(credentials(), policy=QUIET, liveness=False)
        for _ in range(60):
            jump = dice.choice([0, 1, -1, 3 * HOUR_MS, -3 * HOUR_MS, DAY_MS, -DAY_MS, 60_000])
            bench.pass_time(dice.choice([0, 1, 999, 30_000, 61_000]), wall_ms=jump)
            move = dice.randrange(8)
            if bench.refreshes and move < 4:
                bench.store.failing = dice.choice([0, 0, 1, 4])
                name = f"{seed}-{bench.now.mono_ms}-{len(bench.effects)}"
                token = jwt(name, issued_ms=bench.now.wall_ms)
                bench.reply(rotated(token, name) if move < 2 else INTERNAL) if move else bench.fail()
            elif move == 5:
                bench.refresh()
            elif move == 6:
                bench.step(Closed(bench.generation, 1006))
            bench.tick()
            bench.tick()
            assert bench.deadline is None or bench.deadline > bench.now.mono_ms
        assert bench.told(LoggedOut) == []
        assert bench.all(RequestRefresh)


@pytest.mark.rule("REF-22", "REF-42")
def test_a_new_token_voids_the_backoff_even_if_its_time_had_come_meanwhile() -> None:
    bench = Bench(credentials(), greet=False)
    for _ in range(6):
        bench.step(OpenFailed(bench.generation, "refused"))
        bench.run_until(Open)
    bench.step(OpenFailed(bench.generation, "refused"))
    bench.refresh()
    bench.pass_time(60_000)  # the next socket is due, and waits for the answer
    bench.reply(rotated(jwt("a2", issued_ms=bench.now.wall_ms)))
    assert isinstance(bench.effects[-1], Open)
    bench.step(OpenFailed(bench.generation, "refused"))
    begin = bench.now.mono_ms
    bench.run_until(Open)
    assert 500 <= bench.now.mono_ms - begin <= 650
