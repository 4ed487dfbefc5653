"""Which ack goes out at which moment, under v2, under v1 and under neither."""

import pytest

from clawproto.app_events import FrameRejected, Ready, ReplayFinished
from clawproto.config import Capabilities
from clawproto.effects import Close, Emit, Reconnect, SendFrame
from clawproto.json_types import Json
from clawproto.policy import DAY_MS, Policy
from tests.core.harness import emitted, jwt, of, rotated
from tests.core.link_harness import CHAT, SENDER, Grant, LinkBench, acks, cursor_acks, take, v2

LEGACY = Capabilities(reliable_delivery=False, reliable_delivery_v2=False)


# --- the rhythm of acks --------------------------------------------------------------------------------------------


@pytest.mark.rule("R2-13")
def test_an_ack_follows_two_hundred_milliseconds_after_the_mark_moved() -> None:
    bench = v2()
    take(bench, "msg-1")
    bench.run_for(150)
    take(bench, "msg-2")
    bench.run_for(49)
    assert not acks(bench)
    bench.run_for(1)
    assert acks(bench) == [2]
    bench.run_for(20_000)
    assert acks(bench) == [2]


@pytest.mark.rule("R2-13")
def test_what_does_not_move_the_mark_brings_no_ack() -> None:
    bench = v2()
    bench.message("msg-1")
    take(bench, "msg-2")
    bench.run_for(29_000)
    assert not acks(bench)


@pytest.mark.rule("R2-14", "R2-33", "RPL-4")
def test_replay_done_brings_an_ack_at_once() -> None:
    bench = v2()
    take(bench, "msg-1")
    effects = bench.stamped("replay.done", {})
    assert [one["payload"]["dseq"] for one in bench.uplinks("message.sync_ack", effects)] == [2]
    assert emitted(effects, ReplayFinished) == [ReplayFinished(True)]
    bench.run_for(20_000)
    assert acks(bench) == [2]


@pytest.mark.rule("R2-14", "R2-9")
def test_replay_done_behind_an_unsettled_message_acknowledges_only_the_mark() -> None:
    bench = v2()
    take(bench, "msg-1")
    bench.message("msg-2")
    bench.stamped("replay.done", {})
    assert acks(bench) == [1]
    bench.settle(bench.delivered()[1][1])
    bench.run_for(200)
    assert acks(bench) == [1, 3]


@pytest.mark.rule("R2-15")
def test_the_mark_is_repeated_every_thirty_seconds() -> None:
    bench = v2()
    take(bench, "msg-1")
    bench.run_for(200)
    for count in range(2, 6):
        bench.run_for(29_999)
        assert len(acks(bench)) == count - 1
        bench.run_for(1)
        assert acks(bench) == [1] * count


@pytest.mark.rule("R2-34")
def test_nothing_is_acknowledged_while_the_mark_is_zero() -> None:
    bench = v2()
    bench.message("msg-1")
    bench.run_for(100_000)
    bench.stop()
    assert not acks(bench)


@pytest.mark.rule("R2-16")
def test_the_mark_is_acknowledged_before_a_deliberate_close() -> None:
    bench = v2()
    bench.answers_close = False
    take(bench, "msg-1")
    effects = bench.stop()
    assert [type(one) for one in effects[:2]] == [SendFrame, Close]
    assert acks(bench) == [1]


@pytest.mark.rule("R2-16", "REF-26")
def test_the_mark_is_acknowledged_before_a_planned_reconnect() -> None:
    bench = v2()
    bench.answers_close = False
    bench.run_until_refresh()
    take(bench, "msg-1")
    effects = bench.reply(rotated(jwt("a2", issued_ms=bench.now.wall_ms)))
    kinds = [type(one) for one in effects if isinstance(one, SendFrame | Reconnect)]
    assert kinds == [SendFrame, Reconnect] and acks(bench) == [1]


@pytest.mark.rule("R2-17")
def test_a_frame_after_a_long_sleep_brings_the_ack_that_no_timer_sent() -> None:
    bench = v2()
    take(bench, "msg-1")
    bench.pass_time(3_600_000)
    bench.message("msg-2")
    assert acks(bench) == [1]
    bench.pass_time(30_000)
    bench.down("typing.update", {"is_typing": True})
    assert acks(bench) == [1, 1]


@pytest.mark.rule("R2-16", "R2-28")
def test_what_is_settled_after_the_connection_is_lost_is_not_acknowledged_on_the_next() -> None:
    bench = v2()
    bench.message("msg-1")
    bench.closed(1006)
    bench.settle(bench.delivered()[0][1])
    bench.run_for(100_000)
    assert bench.online and not acks(bench)


@pytest.mark.rule("R2-18")
def test_a_client_without_a_kick_still_acknowledges_and_watches() -> None:
    bench = v2()
    bench.answers_pings = False
    take(bench, "msg-1")
    bench.run_for(30_200)
    assert len(acks(bench)) == 2 and len(bench.uplinks("ping")) == 1


@pytest.mark.rule("R2-12", "ENV-10")
def test_the_shape_of_an_ack() -> None:
    bench = v2()
    take(bench, "msg-1")
    bench.run_for(200)
    (ack,) = bench.uplinks("message.sync_ack")
    assert ack.keys() == {"version", "event", "trace_id", "emitted_at", "payload"}
    assert ack["payload"] == {"dseq": 1, "epoch": bench.epoch(1)}


# --- v1 and legacy -------------------------------------------------------------------------------------------------


@pytest.mark.rule("R1-1", "ENV-14")
def test_under_v1_the_lowest_seq_is_one() -> None:
    bench = LinkBench(grant="v1")
    take(bench, "msg-1", seq=1)
    bench.run_for(200)
    assert cursor_acks(bench) == [1]


@pytest.mark.rule("R1-1", "R1-2", "R1-7", "R1-6")
def test_v1_acknowledges_the_highest_stored_seq_whatever_the_gaps() -> None:
    bench = LinkBench(grant="v1")
    for seq in (7, 900, 901, 5_000):
        take(bench, f"msg-{seq}", seq=seq)
    bench.run_for(199)
    assert not cursor_acks(bench)
    bench.run_for(1)
    assert cursor_acks(bench) == [5_000]
    (ack,) = bench.uplinks("message.cursor_ack")
    assert ack["payload"] == {"seq": 5_000} and not acks(bench)


@pytest.mark.rule("R1-1")
def test_v1_never_passes_what_the_application_holds() -> None:
    bench = LinkBench(grant="v1")
    for seq in (10, 20, 30):
        bench.message(f"msg-{seq}", seq=seq)
    deliveries = [delivery for _, delivery in bench.delivered()]
    bench.settle(deliveries[2])
    bench.settle(deliveries[0])
    bench.run_for(200)
    assert cursor_acks(bench) == [10]
    bench.settle(deliveries[1])
    bench.run_for(200)
    assert cursor_acks(bench) == [10, 30]


@pytest.mark.rule("R1-3")
def test_v1_takes_a_stored_message_under_a_higher_seq() -> None:
    bench = LinkBench(grant="v1")
    take(bench, "slot", "one", seq=5)
    take(bench, "slot", "two", seq=50)
    take(bench, "slot", "two", seq=60)
    assert [one.update for one, _ in bench.delivered()] == [False, True]
    bench.run_for(200)
    assert cursor_acks(bench) == [60]


@pytest.mark.rule("R1-1")
def test_v1_never_steps_back() -> None:
    bench = LinkBench(grant="v1")
    take(bench, "msg-9", seq=90)
    take(bench, "msg-1", seq=10)
    bench.run_for(200)
    assert cursor_acks(bench) == [90]


@pytest.mark.rule("R1-8")
def test_v1_sets_a_poison_frame_aside_and_a_later_seq_covers_it() -> None:
    bench = LinkBench(grant="v1")
    effects = bench.down("message.send", {"message_id": 5}, seq=10)
    assert emitted(effects, FrameRejected)
    take(bench, "msg-2", seq=20)
    bench.run_for(200)
    assert cursor_acks(bench) == [20]


@pytest.mark.rule("R1-6")
def test_v1_keeps_the_rhythm_of_v2() -> None:
    bench = LinkBench(grant="v1")
    take(bench, "msg-1", seq=5)
    effects = bench.down("replay.done", {})
    assert len(bench.uplinks("message.cursor_ack", effects)) == 1
    bench.run_for(30_000)
    assert cursor_acks(bench) == [5, 5]
    take(bench, "msg-2", seq=6)
    bench.stop()
    assert cursor_acks(bench) == [5, 5, 6]


@pytest.mark.rule("R1-1", "ENV-14")
@pytest.mark.parametrize("seq", [0, -5, True, "5", 5.5, None])
def test_v1_ignores_what_is_no_seq(seq: Json) -> None:
    bench = LinkBench(grant="v1")
    take(bench, "msg-1", seq=seq)
    bench.run_for(60_000)
    assert not cursor_acks(bench) and len(bench.delivered()) == 1


@pytest.mark.rule("R2-29")
def test_under_v2_no_cursor_ack_is_ever_sent() -> None:
    bench = v2()
    for number in range(1, 5):
        take(bench, f"msg-{number}", seq=number * 100)
    bench.stamped("replay.done", {}, seq=900)
    bench.run_for(100_000)
    bench.stop()
    assert acks(bench) and not cursor_acks(bench)


@pytest.mark.rule("R1-7", "R2-15")
@pytest.mark.parametrize(("grant", "reliable", "due"), [("v1", False, False), ("v1", True, True), ("v2", True, True)])
def test_where_nothing_is_acknowledged_nobody_is_woken_for_it(grant: Grant, reliable: bool, due: bool) -> None:
    policy = Policy(ping_after_ms=400 * DAY_MS)
    bench = LinkBench(grant=grant, policy=policy, capabilities=Capabilities() if reliable else LEGACY)
    repeat_at = bench.now.mono_ms + policy.ack_repeat_ms
    bench.run_for(policy.replay_idle_ms)
    assert (bench.deadline == repeat_at) is due


@pytest.mark.rule("R1-1", "R2-9")
@pytest.mark.parametrize("in_order", [True, False])
def test_of_what_is_settled_no_seq_is_remembered(in_order: bool) -> None:
    bench = LinkBench(grant="v1")
    for seq in range(1, 41):
        bench.message(f"msg-{seq}", seq=seq)
    deliveries = [delivery for _, delivery in bench.delivered()]
    for delivery in deliveries if in_order else reversed(deliveries):
        bench.settle(delivery)
    stream = bench.state.inbox.stream
    assert stream is not None and (stream.mark, stream.mark_seq) == (40, 40)
    assert len(stream.seqs) == len(stream.ahead) == 0
    bench.run_for(200)
    assert cursor_acks(bench) == [40]


@pytest.mark.rule("R1-7", "RPL-8")
def test_legacy_acknowledges_nothing_and_delivers_everything() -> None:
    bench = LinkBench(grant="v1", capabilities=LEGACY)
    assert bench.told(Ready)[0].delivery == "legacy"
    bench.message("msg-1", seq=5)
    bench.message("msg-2", dseq=9)
    assert [delivery for _, delivery in bench.delivered()] == [None, None]
    bench.down("replay.done", {})
    bench.run_for(100_000)
    bench.stop()
    assert {one["event"] for one in bench.uplinks()} == {"connect", "ping"}


@pytest.mark.rule("R1-7")
def test_falling_back_to_v1_after_v2_forgets_the_old_count() -> None:
    bench = v2()
    bench.message("msg-1")
    bench.grant = "v1"
    bench.reconnect()
    bench.message("msg-1", seq=5)
    bench.settle(bench.delivered()[0][1])
    bench.run_for(200)
    assert cursor_acks(bench) == [5] and not acks(bench)


# --- replay --------------------------------------------------------------------------------------------------------


@pytest.mark.rule("RPL-7")
def test_five_silent_seconds_end_the_replay() -> None:
    bench = v2()
    bench.run_for(4_000)
    bench.message("msg-1")
    bench.run_for(4_999)
    assert not bench.told(ReplayFinished)
    bench.run_for(1)
    assert bench.told(ReplayFinished) == [ReplayFinished(False)]
    bench.stamped("replay.done", {})
    assert len(bench.told(ReplayFinished)) == 1


@pytest.mark.rule("RPL-7")
def test_replay_is_held_anew_on_each_connection_and_ends_with_it() -> None:
    bench = v2()
    bench.stamped("replay.done", {})
    bench.reconnect()
    assert bench.state.inbox.replay_until is not None
    bench.closed(1006)
    bench.run_for(4_000)
    assert bench.told(ReplayFinished) == [ReplayFinished(True)]


@pytest.mark.rule("RPL-7")
def test_a_replay_that_was_cut_off_is_never_told_as_finished() -> None:
    bench = v2()
    bench.run_for(4_000)
    bench.greet = False
    bench.closed(1006)
    bench.run_for(60_000)
    assert not bench.told(ReplayFinished)


@pytest.mark.rule("RPL-5", "RPL-6")
def test_replayed_and_live_messages_are_handled_alike() -> None:
    bench = v2()
    take(bench, "msg-2", at_ms=2)
    bench.stamped("replay.done", {})
    take(bench, "msg-1", at_ms=1)
    (replayed, one), (live, two) = bench.delivered()
    assert replayed.conversational and live.conversational and one is not None and two is not None
    bench.run_for(200)
    assert acks(bench)[-1] == 3


@pytest.mark.rule("RPL-5")
def test_live_frames_among_the_replay_do_no_harm() -> None:
    bench = v2()
    bench.down("typing.update", {"is_typing": True}, chat_id=CHAT, sender=SENDER)
    take(bench, "msg-1")
    bench.down("presence.update", {})
    bench.stamped("replay.done", {})
    assert acks(bench) == [2] and bench.online


# --- quarantine ----------------------------------------------------------------------------------------------------

UNUSABLE = [
    pytest.param("message.send", {"message_id": 5}, {}, "message.send", id="payload"),
    pytest.param("message.send", {}, {"version": "3"}, None, id="envelope"),
]


@pytest.mark.rule("R2-11", "R2-9")
@pytest.mark.parametrize(("event", "payload", "envelope", "told"), UNUSABLE)
def test_with_a_message_store_an_unusable_frame_is_settled_when_it_is_kept(
    event: str, payload: dict[str, Json], envelope: dict[str, Json], told: str | None
) -> None:
    bench = LinkBench(grant="v2", keep_sends=True)
    effects = bench.stamped(event, payload, **envelope)
    take(bench, "msg-2")
    bench.run_for(5_000)
    (emit,) = [one for one in of(effects, Emit) if isinstance(one.event, FrameRejected)]
    assert isinstance(emit.event, FrameRejected) and emit.event.event == told
    assert acks(bench) == [], "it is not on the disk yet"
    bench.settle(emit.delivery)
    bench.run_for(200)
    assert acks(bench) == [2]


@pytest.mark.rule("R2-11")
@pytest.mark.parametrize(("event", "payload", "envelope", "told"), UNUSABLE)
def test_in_memory_it_is_settled_at_once(
    event: str, payload: dict[str, Json], envelope: dict[str, Json], told: str | None
) -> None:
    bench = v2()
    (emit,) = of(bench.stamped(event, payload, **envelope), Emit)
    assert isinstance(emit.event, FrameRejected) and emit.delivery is None and emit.event.event == told
    bench.run_for(200)
    assert acks(bench) == [1]
