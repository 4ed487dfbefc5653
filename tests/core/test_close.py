"""Closes: what each code means, and how long to wait."""

import pytest

from clawproto.app_events import Disconnected, TakenOver
from clawproto.effects import Logout, Open, Reconnect
from clawproto.events import OpenFailed
from clawproto.link_state import Closing
from clawproto.policy import Policy
from clawproto.results import SendRejected
from clawproto.timing import reconnect_delay_ms
from tests.core.harness import credentials, emitted, jwt, of, pair, rotated
from tests.core.link_harness import LinkBench

MINUTE_MS = 60_000
PLAIN = Policy(reconnect_jitter=0.0)  # what is waited for at least


# --- the table -----------------------------------------------------------------------------------------------------


@pytest.mark.rule("CLOSE-5", "CLOSE-7", "CLOSE-2")
@pytest.mark.parametrize("code", [1000, 1001, 1002, 1005, 1006, 1008, 1011, 1012, 1013, 3000, 4000, 4003, 4401, 4999])
def test_any_close_of_a_ready_session_keeps_the_token_and_waits_five_seconds(code: int) -> None:
    bench = LinkBench(policy=PLAIN)
    bench.run_for(20_000)
    bench.closed(code, "token expired")
    assert bench.online_again() == 5_000
    assert not bench.refreshes and not bench.all(Logout)
    assert {one["payload"]["token"] for one in bench.uplinks("connect")} == {jwt("a1")}


@pytest.mark.rule("CLOSE-7", "CLOSE-5", "CLOSE-15")
@pytest.mark.parametrize("code", [4001, 4002])
def test_a_takeover_keeps_the_token_and_waits_five_seconds(code: int) -> None:
    bench = LinkBench(policy=PLAIN)
    bench.run_for(20_000)
    effects = bench.closed(code, "replaced")
    assert emitted(effects, Disconnected) == [Disconnected(code, "replaced", 5_000)]
    assert emitted(effects, TakenOver) == [TakenOver(code, 5_000)]
    assert bench.online_again() == 5_000
    assert not bench.refreshes and not bench.all(Logout)


@pytest.mark.rule("CLOSE-5", "O-10")
def test_repeated_takeovers_double_the_floor_up_to_a_minute() -> None:
    bench = LinkBench(policy=PLAIN)
    floors: list[int] = []
    for code in (4001, 4002, 4001, 4001, 4001, 4001):
        bench.run_for(6_000)
        bench.closed(code)
        floors.append(bench.online_again())
    assert floors == [5_000, 10_000, 20_000, 40_000, 60_000, 60_000]


@pytest.mark.rule("CLOSE-5", "O-10")
@pytest.mark.parametrize(("apart_ms", "floor"), [(10 * MINUTE_MS - 1, 10_000), (10 * MINUTE_MS, 5_000)])
def test_takeovers_ten_minutes_apart_are_strangers(apart_ms: int, floor: int) -> None:
    bench = LinkBench(policy=PLAIN)
    bench.closed(4001)
    bench.run_for(apart_ms)
    bench.closed(4001)
    assert bench.online_again() == floor


@pytest.mark.rule("CLOSE-2", "CLOSE-5")
def test_fast_takeovers_add_the_backoff_on_top_of_the_floor_where_it_is_longer() -> None:
    bench = LinkBench(policy=Policy(takeover_max_ms=5_000, reconnect_jitter=0.0))
    waits: list[int] = []
    for _ in range(9):
        bench.closed(4001)
        waits.append(bench.online_again())
    assert waits[:4] == [5_000] * 4
    assert waits[6:] == [30_000] * 3


@pytest.mark.rule("CLOSE-2", "CLOSE-3", "CLOSE-5")
@pytest.mark.parametrize(
    ("code", "reason", "floor"), [(1006, "", 5_000), (4001, "", 5_000), (4002, "retry_after_ms=20000", 20_000)]
)
def test_who_was_cut_off_together_does_not_come_back_together(code: int, reason: str, floor: int) -> None:
    waits: set[int] = set()
    for number in range(40):
        bench = LinkBench(seed=bytes([number]) * 16)
        bench.run_for(6_000)
        bench.closed(code, reason)
        waits.add(bench.wait_for_socket())
    assert all(floor <= wait <= 1.3 * floor for wait in waits)
    assert len(waits) > 30 and max(waits) - min(waits) > 0.2 * floor


@pytest.mark.rule("CLOSE-15")
@pytest.mark.parametrize(
    ("reason", "least"),
    [
        ("retry_after_ms=30000", 30_000),
        ("retry_after_ms: 30000", 30_000),
        ('{"error":"duplicate session","retry_after_ms":45000}', 45_000),
        ("{'retry_after_ms': '12000'}", 12_000),
        ("duplicate; retry_after_ms=7000, code=9", 7_000),
        ("retry_after_ms=7000MS", 7_000),
        ("retry_after_ms=1000", 5_000),
        ("retry_after_ms=-30000", 5_000),
        ("retry_after_ms=soon", 5_000),
        ("retry_after_ms", 5_000),
        ("retry_after_ms=²³", 5_000),
        ("retry_after=30000", 5_000),
        ("", 5_000),
        ("retry_after_ms=" + "9" * 100, 3_600_000),
    ],
)
def test_a_delay_named_by_the_hub_is_the_least(reason: str, least: int) -> None:
    bench = LinkBench(policy=PLAIN)
    bench.run_for(6_000)
    effects = bench.closed(4002, reason)
    assert emitted(effects, TakenOver)[0].retry_in_ms == least
    assert bench.wait_for_socket(within_ms=4_000_000) == least


@pytest.mark.rule("CLOSE-15", "CLOSE-9")
def test_a_takeover_during_the_handshake_counts_as_one() -> None:
    bench = LinkBench(greet=False, policy=PLAIN)
    bench.challenge_now()
    bench.closed(4002, "retry_after_ms=20000")
    assert bench.wait_for_socket() == 20_000


@pytest.mark.rule("CLOSE-5", "CLOSE-15")
@pytest.mark.parametrize(("code", "floor"), [(4001, 5_000), (4002, 20_000), (1006, 5_000)])
def test_a_new_token_does_not_shorten_the_floor(code: int, floor: int) -> None:
    bench = LinkBench()
    bench.run_for(40_000)
    bench.closed(code, "retry_after_ms=20000" if code == 4002 else "")
    bench.run_for(1_000)
    bench.refresh()
    effects = bench.reply(rotated(jwt("a2", issued_ms=bench.now.wall_ms)))
    assert not of(effects, Open)
    assert bench.wait_for_socket() == floor - 1_000
    assert bench.uplinks("connect")[-1]["payload"]["token"] == bench.access


@pytest.mark.rule("OUT-8")
def test_another_identity_does_not_inherit_the_floor() -> None:
    bench = LinkBench()
    bench.closed(4002, "retry_after_ms=60000")
    effects = bench.load(credentials(pair(jwt("b1"), "refresh-b"), user_id="u-2", device_id="lab-02", generation=2))
    assert of(effects, Open)


@pytest.mark.rule("CLOSE-5", "REF-26")
def test_nor_does_a_second_one() -> None:
    bench = LinkBench()
    bench.run_for(40_000)
    bench.closed(4002, "retry_after_ms=20000")
    for number in (2, 3):
        bench.run_for(1_000)
        assert not of(bench.load(credentials(pair(jwt(f"a{number}"), f"refresh-{number}"), generation=number)), Open)
    assert bench.wait_for_socket() == 18_000


@pytest.mark.rule("REF-22", "OUT-8", "CLOSE-3")
def test_with_a_new_token_the_backoff_begins_anew() -> None:
    bench = LinkBench(greet=False, policy=PLAIN)
    for _ in range(5):
        bench.step(OpenFailed(bench.generation, "refused"))
        bench.wait_for_socket()
    bench.step(OpenFailed(bench.generation, "refused"))
    assert of(bench.load(credentials(pair(jwt("a2"), "refresh-2"), generation=2)), Open)
    bench.step(OpenFailed(bench.generation, "refused"))
    assert bench.wait_for_socket() == 500


@pytest.mark.rule("OUT-8", "CLOSE-5")
@pytest.mark.parametrize("online", [True, False])
def test_another_identity_does_not_inherit_the_takeovers(online: bool) -> None:
    bench = LinkBench(policy=PLAIN)
    bench.closed(4001)
    if online:
        bench.online_again()
    bench.load(credentials(pair(jwt("b1"), "refresh-b"), user_id="u-2", device_id="lab-02", generation=2))
    assert bench.online
    bench.closed(4001)
    assert bench.online_again() == 5_000


@pytest.mark.rule("OUT-8", "REF-26")
def test_a_socket_of_another_identity_is_closed_before_the_next_is_opened() -> None:
    bench = LinkBench()
    bench.answers_close = False
    effects = bench.load(credentials(pair(jwt("b1"), "refresh-b"), user_id="u-2", device_id="lab-02", generation=2))
    assert of(effects, Reconnect) and not of(effects, Open)
    assert of(bench.closed(1000), Open)


@pytest.mark.rule("OUT-8", "REF-22")
def test_before_hello_ok_a_close_leaves_nothing_that_a_new_token_waits_for() -> None:
    bench = LinkBench(greet=False)
    bench.challenge_now()
    bench.closed(1006)
    assert of(bench.load(credentials(pair(jwt("a2"), "refresh-2"), generation=2)), Open)


@pytest.mark.rule("CLOSE-5")
@pytest.mark.parametrize("code", [4001, 4002])
def test_a_takeover_that_meets_our_own_close_counts(code: int) -> None:
    bench = LinkBench(policy=PLAIN)
    bench.answers_close = False
    bench.run_until_refresh()
    bench.reply(rotated(jwt("a2", issued_ms=bench.now.wall_ms)))
    assert isinstance(bench.state.link.phase, Closing)
    effects = bench.closed(code)
    assert not of(effects, Open) and emitted(effects, TakenOver)
    assert bench.wait_for_socket() == 5_000


@pytest.mark.rule("CLOSE-2")
def test_1009_reconnects_with_backoff_and_never_sends_that_message_again() -> None:
    bench = LinkBench()
    bench.run_for(6_000)
    small = bench.send()
    large = bench.send(fragments=({"kind": "text", "text": "x" * 10_000},))
    other = bench.send()
    assert len(bench.uplinks("message.send")) == 3
    effects = bench.closed(1009)
    result = bench.results[large]
    assert isinstance(result, SendRejected) and result.code == "message_too_large"
    assert result.reason is not None and "1009" in result.reason
    assert not of(effects, Open)
    assert 500 <= bench.online_again() <= 650
    again = bench.uplinks("message.send")[3:]
    assert [len(one["payload"]["message"]["body"]["fragments"][0]["text"]) for one in again] == [5, 5]
    assert small not in bench.results and other not in bench.results
    bench.closed(1006)
    bench.online_again()
    assert all(len(str(one)) < 5_000 for one in bench.uplinks("message.send")[5:])


@pytest.mark.rule("CLOSE-2")
def test_1009_blames_no_message_that_another_socket_carried() -> None:
    bench = LinkBench(policy=Policy(retransmit_on_reconnect=False))
    command = bench.send()
    bench.closed(1006)
    bench.online_again()
    bench.closed(1009)
    assert command not in bench.results


# --- backoff -------------------------------------------------------------------------------------------------------


@pytest.mark.rule("CLOSE-3")
def test_the_table_of_delays() -> None:
    policy = Policy()
    plain = [reconnect_delay_ms(attempt, 0.0, policy) for attempt in range(1, 10)]
    assert plain == [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]
    assert [reconnect_delay_ms(attempt, 0.999_999, policy) for attempt in (1, 2, 9)] == [650, 1_300, 39_000]
    assert reconnect_delay_ms(10**9, 0.0, policy) == 30_000


@pytest.mark.rule("CLOSE-3", "CLOSE-2")
def test_failed_attempts_double_the_delay_and_the_jitter_differs() -> None:
    bench = LinkBench(greet=False)
    factors: set[float] = set()
    for attempt in range(12):
        bench.step(OpenFailed(bench.generation, "refused"))
        base = min(30_000, 500 * 2**attempt)
        delay = bench.wait_for_socket()
        assert base <= delay <= base * 1.3
        factors.add(round(delay / base, 3))
    assert len(factors) > 6


@pytest.mark.rule("CLOSE-4")
@pytest.mark.parametrize(("ready_ms", "stable"), [(4_999, False), (5_000, True)])
def test_only_five_seconds_of_readiness_reset_the_counter(ready_ms: int, stable: bool) -> None:
    bench = LinkBench(policy=Policy(unexplained_floor_ms=0))
    for _ in range(5):
        bench.closed(1006)
        bench.online_again()
    bench.run_for(ready_ms)
    bench.closed(1006)
    delay = bench.online_again()
    assert 500 <= delay <= 650 if stable else delay >= 16_000


@pytest.mark.rule("CLOSE-4")
def test_readiness_counts_although_no_timer_ran() -> None:
    bench = LinkBench(policy=Policy(unexplained_floor_ms=0))
    for _ in range(5):
        bench.closed(1006)
        bench.online_again()
    bench.pass_time(5_000)
    bench.closed(1006)
    assert bench.online_again() <= 650


@pytest.mark.rule("CLOSE-4", "R2-7")
def test_readiness_counts_for_a_close_of_our_own_as_well() -> None:
    bench = LinkBench(grant="v2", policy=Policy(stable_after_ms=3_000, unexplained_floor_ms=0, reconnect_jitter=0.0))
    for _ in range(5):
        bench.closed(1006)
        bench.online_again()
    bench.run_for(4_000)
    bench.message("msg-1", dseq=9)
    assert bench.wait_for_socket() == 500


@pytest.mark.rule("CLOSE-2", "CLOSE-3", "HS-8")
def test_a_hub_that_grants_what_cannot_be_used_is_left_alone_for_longer_each_time() -> None:
    bench = LinkBench(greet=False, policy=PLAIN)
    waits: list[int] = []
    for _ in range(4):
        bench.challenge_now()
        bench.hello_now(ack_mode="dseq")
        waits.append(bench.wait_for_socket())
    assert waits == [500, 1_000, 2_000, 4_000]


@pytest.mark.rule("CLOSE-4", "REF-26")
def test_a_planned_reconnect_resets_the_counter_and_takes_no_time() -> None:
    bench = LinkBench(policy=Policy(stable_after_ms=100 * 86_400_000, unexplained_floor_ms=0))
    for _ in range(5):
        bench.closed(1006)
        bench.online_again()
    bench.run_until_refresh()
    effects = bench.reply(rotated(jwt("a2", issued_ms=bench.now.wall_ms)))
    assert of(effects, Reconnect)
    assert of(effects, Open)
    assert bench.online
    bench.closed(1006)
    assert bench.online_again() <= 650


@pytest.mark.rule("CLOSE-2")
def test_a_hub_that_closes_at_once_gets_no_tight_loop() -> None:
    bench = LinkBench(policy=Policy(unexplained_floor_ms=0))
    begin = bench.now.mono_ms
    for _ in range(10):
        bench.closed(1000)
        bench.online_again()
    assert bench.now.mono_ms - begin >= 500 + 1_000 + 2_000 + 4_000 + 8_000 + 16_000 + 4 * 30_000


@pytest.mark.rule("CLOSE-6")
def test_each_reconnect_presents_the_same_device_and_asks_for_nothing() -> None:
    bench = LinkBench(grant="v2")
    for number in range(3):
        bench.message(f"msg-{number}")
        bench.closed(1006)
        bench.online_again()
    connects = bench.uplinks("connect")
    assert len(connects) == 4
    assert {one["payload"]["device_id"] for one in connects} == {"lab-01"}
    assert {tuple(sorted(one["payload"])) for one in connects} == {
        ("capabilities", "client_version", "device_id", "nonce", "protocol_version", "token")
    }
    assert {one["event"] for one in bench.uplinks()} == {"connect"}
