"""The proactive timer: when it is armed, when it fires, what its outcomes do."""

import json
from email.utils import formatdate

import pytest
from attrs import evolve, fields

from clawproto.app_events import LoggedOut, RefreshDelayed, TokenNotNewer, TokensRotated
from clawproto.credentials import Credentials, TokenPair
from clawproto.effects import Abort, Open, Persist, Reconnect, RecordIntent, RequestRefresh, SendFrame, Swap
from clawproto.events import Closed, OpenFailed
from clawproto.policy import DAY_MS, HOUR_MS, MINUTE_MS
from tests.core.harness import INTERNAL, QUIET, REFUSED, T0, Bench, credentials, heart, jwt, of, pair, rotated

DUE = 22 * HOUR_MS
JITTER = 5 * MINUTE_MS


def quiet(record: Credentials | None = None, *, greet: bool = True) -> Bench:
    """A session that nobody pings, so that days take few steps."""
    return Bench(credentials() if record is None else record, policy=QUIET, greet=greet, liveness=False)


def due_bench() -> Bench:
    """A live session whose proactive request is on its way."""
    bench = quiet()
    bench.run_until(RecordIntent)
    return bench


# --- when ----------------------------------------------------------------------------------------------------------


@pytest.mark.rule("TOK-10", "TOK-12", "TOK-7")
def test_it_fires_at_expiry_less_lead_within_the_jitter() -> None:
    bench = due_bench()
    assert bench.state.tokens.times is not None
    assert bench.now.wall_ms == bench.state.tokens.times.refresh_at_ms
    assert abs(bench.now.wall_ms - T0 - DUE) <= JITTER


@pytest.mark.rule("TOK-10")
def test_arming_again_for_the_same_token_keeps_the_instant() -> None:
    bench = quiet()
    assert bench.state.tokens.times is not None
    due = bench.state.tokens.times.refresh_at_ms
    for _ in range(5):
        bench.step(Closed(bench.generation, 1005))
        bench.run_for(10 * MINUTE_MS)
        assert bench.state.tokens.armed
        assert bench.state.tokens.times.refresh_at_ms == due
    bench.run_until(RecordIntent)
    assert bench.now.wall_ms == due


@pytest.mark.rule("TOK-10")
def test_every_token_draws_its_own_jitter() -> None:
    bench = quiet()
    offsets: set[int] = set()
    for number in range(2, 12):
        bench.run_until(RecordIntent)
        bench.reply(rotated(jwt(f"a{number}", issued_ms=bench.now.wall_ms), f"refresh-{number}"))
        assert bench.state.tokens.times is not None
        offsets.add(bench.state.tokens.times.refresh_at_ms - bench.now.wall_ms)
    assert len(offsets) == 10


@pytest.mark.rule("TOK-12")
def test_a_lost_connection_disarms_it_and_the_next_one_arms_it_again() -> None:
    bench = quiet(greet=False)
    bench.run_for(60_000)
    assert not bench.state.tokens.armed, "no hello-ok, no timer"
    bench.greet = True
    bench.run_for(60_000)
    assert bench.state.tokens.armed
    bench.greet = False
    bench.step(Closed(bench.generation, 1006))
    assert not bench.state.tokens.armed
    bench.pass_time(23 * HOUR_MS)
    assert of(bench.tick(), RecordIntent) == [], "offline the timer does not run"
    bench.greet = True
    assert of(bench.run_for(60_000), RecordIntent), "and once online, what is overdue fires at once"


@pytest.mark.rule("TOK-12", "OUT-7", "OUT-10")
@pytest.mark.parametrize("end", ["logged-out", "needed"])
def test_what_is_loaded_after_an_end_waits_for_a_connection_again(end: str) -> None:
    bench = quiet(greet=False)
    if end == "needed":
        bench.store.rotate(pair(jwt("lone"), None))
    bench.refresh()
    if end == "needed":
        bench.handshake()
        bench.hello_fail(bench.generation, "authentication failed")
    else:
        bench.reply(rotated(jwt("a2")))
        bench.pass_time(MINUTE_MS)
        bench.refresh()
        bench.reply(REFUSED)
    assert bench.state.tokens.status == end
    bench.load(credentials(pair(jwt("b1"), "refresh-b1"), generation=9))
    bench.pass_time(23 * HOUR_MS)
    assert of(bench.tick(), RecordIntent) == [], "offline the timer does not run"
    bench.greet = True
    assert of(bench.run_for(MINUTE_MS), RecordIntent), "and once online, what is overdue fires at once"


@pytest.mark.rule("TOK-12", "REF-26")
def test_a_successful_refresh_arms_it_anew_for_the_new_token() -> None:
    bench = due_bench()
    at = bench.now.wall_ms
    bench.reply(rotated(jwt("a2", issued_ms=at)))
    bench.run_until(RecordIntent)
    assert abs(bench.now.wall_ms - at - DUE) <= JITTER


@pytest.mark.rule("TOK-13")
def test_an_instant_in_the_past_fires_at_once() -> None:
    bench = quiet()
    bench.pass_time(DUE + HOUR_MS)  # the machine slept
    assert of(bench.tick(), RecordIntent)
    assert bench.deadline is None or bench.deadline > bench.now.mono_ms


@pytest.mark.rule("TOK-6")
def test_without_any_expiry_nothing_is_armed() -> None:
    bench = quiet(credentials(pair("opaque", obtained_ms=None)))
    assert bench.state.tokens.armed
    bench.run_for(3 * DAY_MS)
    assert bench.all(RecordIntent) == []


@pytest.mark.rule("TOK-4", "TOK-5", "D-11")
def test_an_opaque_token_is_renewed_a_day_after_it_was_obtained_again_and_again() -> None:
    bench = quiet(credentials(pair("opaque-1", obtained_ms=T0)))
    for number in range(2, 5):
        begin = bench.now.wall_ms
        bench.run_until(RecordIntent)
        assert abs(bench.now.wall_ms - begin - DUE) <= JITTER
        persist = of(bench.reply(rotated(f"opaque-{number}", f"refresh-{number}")), Persist)[0]
        assert persist.credentials.tokens is not None
        assert persist.credentials.tokens.obtained_at_ms == bench.now.wall_ms


@pytest.mark.rule("TOK-16")
def test_no_expiry_is_stored() -> None:
    assert [field.name for field in fields(TokenPair)] == ["access", "refresh", "obtained_at_ms"]
    assert [field.name for field in fields(Credentials)] == ["identity", "tokens", "generation", "intent", "refused"]


@pytest.mark.rule("TOK-17")
def test_the_due_time_is_an_absolute_deadline_however_far() -> None:
    policy = evolve(QUIET, wall_check_ms=400 * DAY_MS)
    bench = Bench(credentials(pair(jwt("long", life_ms=60 * DAY_MS))), policy=policy, liveness=False)
    bench.run_for(10_000)
    assert bench.deadline is not None and bench.state.tokens.times is not None
    assert bench.deadline - bench.now.mono_ms == bench.state.tokens.times.refresh_at_ms - bench.now.wall_ms
    assert bench.deadline - bench.now.mono_ms > 2**31


@pytest.mark.rule("TOK-15", "TOK-19")
@pytest.mark.parametrize("life", [10 * MINUTE_MS, 30 * MINUTE_MS, 5_000 * 60])
def test_short_lived_tokens_are_neither_always_due_nor_a_storm(life: int) -> None:
    bench = quiet(credentials(pair(jwt("s0", life_ms=life), "refresh-0")))
    rotations = 0
    end = bench.now.wall_ms + DAY_MS
    while bench.now.wall_ms < end:
        begin = bench.now.wall_ms
        bench.run_until(RecordIntent)
        rotations += 1
        assert life // 2 <= bench.now.wall_ms - begin <= life - life // 4
        bench.reply(rotated(jwt(f"s{rotations}", issued_ms=bench.now.wall_ms, life_ms=life), f"refresh-{rotations}"))
    assert rotations <= DAY_MS // (life // 2) + 1
    assert bench.told(TokenNotNewer) == []


# --- outcomes ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("REF-26", "AUTH-5", "REF-9", "HS-10")
def test_success_changes_the_live_socket_at_once_with_the_new_token_and_the_same_device() -> None:
    bench = due_bench()
    assert len(bench.all(Open)) == 1
    effects = bench.reply(rotated(jwt("a2", issued_ms=bench.now.wall_ms)))
    assert heart(effects) == ["Persist", "Swap", "Reconnect", "Open"], "no delay in between"
    connects = [json.loads(sent.text)["payload"] for sent in bench.all(SendFrame) if sent.event == "connect"]
    assert [connect["token"] for connect in connects] == [jwt("a1"), jwt("a2", issued_ms=bench.now.wall_ms)]
    assert len({connect["device_id"] for connect in connects}) == 1
    assert bench.state.link.attempts == 0


@pytest.mark.rule("REF-27", "D-7")
def test_a_transient_outcome_keeps_the_socket_and_is_repeated() -> None:
    bench = due_bench()
    for _ in range(4):
        assert heart(bench.reply(INTERNAL)) == []
        begin = bench.now.mono_ms
        assert bench.told(RefreshDelayed)[-1].retry_in_ms == 30_000
        bench.run_until(RecordIntent)
        assert bench.now.mono_ms - begin == 30_000
    assert len(bench.all(Open)) == 1
    assert heart(bench.reply(rotated(jwt("a2", issued_ms=bench.now.wall_ms))))[-1] == "Open"


@pytest.mark.rule("REF-27", "REF-16")
def test_a_skip_keeps_the_timer_alive() -> None:
    """A caller's attempt has just failed when the timer falls due: the floor skips it, and it fires after the floor."""
    bench = quiet()
    assert bench.state.tokens.times is not None
    bench.run_for(bench.state.tokens.times.refresh_at_ms - bench.now.wall_ms - 10_000)
    bench.refresh()
    bench.reply(INTERNAL)
    bench.run_until(RecordIntent)
    assert bench.now.wall_ms == bench.state.tokens.times.refresh_at_ms + 20_000


@pytest.mark.rule("REF-26", "OUT-1")
def test_a_permanent_outcome_logs_out() -> None:
    bench = due_bench()
    assert heart(bench.reply(REFUSED)) == ["Reload", "Logout"]
    assert len(bench.told(LoggedOut)) == 1


@pytest.mark.rule("REF-28", "D-40", "AUTH-4")
def test_success_that_a_caller_asked_for_leaves_the_live_socket_alone() -> None:
    bench = Bench(credentials())
    bench.refresh()
    assert heart(bench.reply(rotated(jwt("a2")))) == ["Persist", "Swap"]
    assert bench.all(Reconnect) == [] and len(bench.all(Open)) == 1


@pytest.mark.rule("REF-35")
def test_a_reconnect_that_fails_leaves_what_was_stored_and_swapped() -> None:
    bench = due_bench()
    bench.greet = False
    bench.reply(rotated(jwt("a2", issued_ms=bench.now.wall_ms)))
    new = bench.tokens
    bench.step(Closed(bench.generation, 1000))
    for _ in range(5):
        bench.step(OpenFailed(bench.generation, "connection refused"))
        bench.run_until(Open)
    assert bench.tokens == new and bench.store.record is not None and bench.store.record.tokens == new
    assert len(bench.all(Swap)) == 1 and bench.state.tokens.failures == 0


@pytest.mark.rule("REF-29", "REF-50")
def test_no_socket_is_opened_while_a_refresh_runs() -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.step(Closed(bench.generation, 1005))
    opened = len(bench.all(Open))
    bench.run_for(29_000)
    assert len(bench.all(Open)) == opened
    assert of(bench.reply(INTERNAL), Open), "once it is over, the socket comes"


@pytest.mark.rule("REF-29", "REF-50")
def test_a_handshake_is_broken_off_for_a_refresh() -> None:
    bench = Bench(credentials(), greet=False)
    bench.handshake()
    bench.refresh()
    assert bench.all(Abort) == [Abort(bench.generation)]
    begin = len(bench.all(Open))
    bench.reply(INTERNAL)
    assert len(bench.all(Open)) == begin + 1


@pytest.mark.rule("REF-31", "CLOSE-7")
def test_nothing_else_starts_a_refresh() -> None:
    """Closes of every kind, missed pongs and lost handshakes, over a day, with a token that is not due."""
    bench = quiet(credentials(pair(jwt("a1", life_ms=40 * DAY_MS))))
    for code in (4001, 4002, 1000, 1005, 1006, 1009, 1011, 1012, 4999):
        bench.step(Closed(bench.generation, code))
        bench.run_for(HOUR_MS)
    bench.greet = False
    bench.step(Closed(bench.generation, 1006))
    for reason in ("nonce mismatch", "remote auth service unavailable", "Authentication failed", None, 7):
        bench.run_for(HOUR_MS)
        bench.run_until(Open)
        bench.handshake()
        bench.hello_fail(bench.generation, reason)
    assert bench.all(RecordIntent) == [] and bench.all(RequestRefresh) == []


# --- a token that is not newer -------------------------------------------------------------------------------------


@pytest.mark.rule("TOK-22")
@pytest.mark.parametrize("expires", [T0 + DAY_MS, T0 + DAY_MS - HOUR_MS])
def test_a_token_that_expires_no_later_is_used_reported_and_not_asked_for_again_soon(expires: int) -> None:
    bench = due_bench()
    begin = bench.now.mono_ms
    life = expires - bench.now.wall_ms
    bench.reply(rotated(jwt("a2", issued_ms=bench.now.wall_ms // 1000 * 1000, expires_ms=expires)))
    assert bench.access.endswith("sig-a2")
    (report,) = bench.told(TokenNotNewer)
    assert abs(report.next_attempt_in_ms - life // 2) <= 1000
    bench.pass_time(report.next_attempt_in_ms - 1)
    assert of(bench.tick(), RecordIntent) == [], "however often the session is stepped meanwhile"
    bench.run_until(RecordIntent)
    assert bench.now.mono_ms - begin >= report.next_attempt_in_ms


@pytest.mark.rule("TOK-22")
def test_a_token_that_is_born_due_does_not_loop() -> None:
    """The server's clock and its tokens disagree: every new token has expired already."""
    bench = due_bench()
    for number in range(2, 8):
        begin = bench.now.mono_ms
        expired = jwt(f"a{number}", issued_ms=T0 - DAY_MS, expires_ms=T0 + number)
        bench.reply(rotated(expired, f"refresh-{number}", date=formatdate(bench.now.wall_ms / 1000, usegmt=True)))
        assert bench.access == expired
        bench.run_until(RecordIntent)
        assert bench.now.mono_ms - begin >= 12 * HOUR_MS
    assert len(bench.told(TokenNotNewer)) == 6


@pytest.mark.rule("TOK-22", "REF-16")
def test_the_least_wait_for_such_a_token_is_the_floor() -> None:
    bench = due_bench()
    at = bench.now.wall_ms
    bench.reply(rotated(jwt("a2", issued_ms=at // 1000 * 1000 - 10_000, expires_ms=at // 1000 * 1000)))
    assert bench.told(TokenNotNewer) == [TokenNotNewer(30_000)]


@pytest.mark.rule("TOK-22")
def test_the_wait_holds_however_often_the_session_is_stepped() -> None:
    bench = due_bench()
    now = formatdate(bench.now.wall_ms / 1000, usegmt=True)
    bench.reply(rotated(jwt("a2", issued_ms=T0 - DAY_MS, expires_ms=T0), date=now))
    (report,) = bench.told(TokenNotNewer)
    for _ in range(5):
        bench.pass_time(report.next_attempt_in_ms // 6)
        bench.step(Closed(bench.generation, 1006))
        assert bench.refreshes == {}
    bench.run_until(RecordIntent, within_ms=report.next_attempt_in_ms // 6 + 60_000)


@pytest.mark.rule("TOK-22")
def test_a_token_that_is_newer_is_not_held_back() -> None:
    bench = due_bench()
    bench.reply(rotated(jwt("a2", issued_ms=bench.now.wall_ms, life_ms=HOUR_MS * 3)))
    assert bench.told(TokenNotNewer) == []
    assert bench.told(TokensRotated)[-1].expires_at_ms == bench.now.wall_ms + 3 * HOUR_MS
