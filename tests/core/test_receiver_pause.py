"""A full application inbox: the reading stops, the hub is not blamed, and after a while the socket is given up."""

import pytest

from clawproto.app_events import Disconnected
from clawproto.effects import Close, Open
from clawproto.events import Closed, ReceiverPaused, ReceiverResumed
from clawproto.policy import Policy
from tests.core.harness import of
from tests.core.link_harness import LinkBench


def paused_bench() -> LinkBench:
    bench = LinkBench(grant="v2")
    bench.answers_pings = False
    bench.run_for(6_000)
    bench.step(ReceiverPaused())
    return bench


@pytest.mark.rule("HB-6")
def test_while_the_reading_is_stopped_silence_proves_nothing() -> None:
    bench = paused_bench()
    bench.run_for(19_999)
    bench.step(ReceiverResumed())
    bench.run_for(29_999)
    assert not bench.uplinks("ping") and not bench.all(Close)
    bench.run_for(1)
    assert len(bench.uplinks("ping")) == 1


@pytest.mark.rule("HB-6")
def test_a_ping_that_is_out_when_the_reading_stops_is_forgotten() -> None:
    bench = LinkBench()
    bench.answers_pings = False
    bench.run_for(30_000)
    assert len(bench.uplinks("ping")) == 1
    bench.step(ReceiverPaused())
    bench.run_for(15_000)
    assert not bench.all(Close)
    bench.step(ReceiverResumed())
    bench.run_for(15_000)
    assert bench.online


@pytest.mark.rule("R2-26")
def test_an_application_that_stalls_goes_offline_before_the_hub_kicks_it() -> None:
    bench = paused_bench()
    bench.run_for(19_999)
    assert bench.online
    effects = bench.run_for(1)
    assert [one.code for one in of(effects, Close)] == [1000]
    assert bench.told(Disconnected)[-1].retry_in_ms is None
    bench.run_for(3_600_000)
    assert bench.sockets() == 1
    bench.step(ReceiverResumed())
    assert bench.sockets() == 2 and bench.online


@pytest.mark.rule("R2-16")
def test_the_mark_is_acknowledged_before_going_offline() -> None:
    bench = LinkBench(grant="v2")
    bench.answers_pings = False
    bench.message("msg-1")
    bench.step(ReceiverPaused())
    bench.run_for(19_950)
    bench.settle(bench.delivered()[0][1])
    bench.run_for(50)
    assert bench.all(Close)
    assert [one["payload"]["dseq"] for one in bench.uplinks("message.sync_ack")] == [1]


def test_acks_and_sends_flow_while_the_reading_is_stopped() -> None:
    bench = LinkBench(grant="v2")
    bench.message("msg-1")
    bench.step(ReceiverPaused())
    bench.settle(bench.delivered()[0][1])
    bench.send()
    bench.run_for(200)
    assert [one["event"] for one in bench.uplinks()] == ["connect", "message.send", "message.sync_ack"]


def test_pausing_twice_does_not_start_the_clock_anew() -> None:
    bench = paused_bench()
    bench.run_for(10_000)
    bench.step(ReceiverPaused())
    bench.run_for(9_999)
    assert bench.online
    bench.run_for(1)
    assert not bench.online


def test_resuming_without_a_pause_is_harmless() -> None:
    bench = LinkBench()
    bench.step(ReceiverResumed())
    bench.run_for(60_000)
    assert bench.online


def test_room_that_comes_while_closing_brings_the_next_socket() -> None:
    bench = paused_bench()
    bench.answers_close = False
    bench.run_for(20_000)
    bench.step(ReceiverResumed())
    bench.step(Closed(1, 1000))
    assert bench.wait_for_socket() <= 650
    assert bench.online


def test_a_socket_that_is_lost_while_nobody_reads_is_replaced_only_for_a_while() -> None:
    bench = paused_bench()
    bench.send()
    bench.closed(1006)
    bench.run_until(Open)
    assert bench.sockets() == 2 and bench.online
    bench.run_for(19_999)
    assert bench.online  # the new socket has its own time
    bench.closed(1006)
    bench.run_for(600_000)
    assert bench.sockets() == 2  # no third one that would be closed at once
    bench.step(ReceiverResumed())
    assert bench.sockets() == 3 and bench.online


def test_a_pause_before_the_connection_is_lost_does_not_block_the_next_one_for_ever() -> None:
    bench = paused_bench()
    bench.closed(1006)
    bench.run_for(600_000)
    bench.step(ReceiverResumed())
    bench.run_for(60_000)
    assert bench.online


@pytest.mark.rule("R2-26")
@pytest.mark.parametrize(("lost_after_ms", "is_replaced"), [(19_499, True), (19_500, False)])
def test_a_socket_is_opened_for_nobody_only_as_long_as_one_may_be_kept(lost_after_ms: int, is_replaced: bool) -> None:
    bench = LinkBench(grant="v2", policy=Policy(unexplained_floor_ms=0, reconnect_jitter=0.0))
    bench.step(ReceiverPaused())
    bench.run_for(lost_after_ms)
    bench.closed(1006)
    bench.run_for(500)
    assert (bench.sockets() == 2) == is_replaced
