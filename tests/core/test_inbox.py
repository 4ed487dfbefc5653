"""The inbox: the unbroken count, what is settled when, and which ack goes out at which moment."""

import itertools
from typing import Any

import pytest

from clawproto.app_events import Disconnected, FrameRejected, Ready, ReplayFinished, UnknownEvent
from clawproto.config import Capabilities
from clawproto.effects import Close, Emit, Reconnect, SendFrame
from clawproto.json_types import Json
from clawproto.link_state import Closing
from clawproto.policy import Policy
from tests.core.harness import emitted, jwt, of, rotated
from tests.core.link_harness import CHAT, SENDER, LinkBench, message_payload

LEGACY = Capabilities(reliable_delivery=False, reliable_delivery_v2=False)


def v2() -> LinkBench:
    return LinkBench(grant="v2")


def acks(bench: LinkBench) -> list[int]:
    """Marks acknowledged so far under v2."""
    return [one["payload"]["dseq"] for one in bench.uplinks("message.sync_ack")]


def cursor_acks(bench: LinkBench) -> list[int]:
    """Cursors acknowledged so far under v1."""
    return [one["payload"]["seq"] for one in bench.uplinks("message.cursor_ack")]


def take(bench: LinkBench, message_id: str, text: str = "hi", **more: Any) -> None:
    """A message arrives, and the application is done with it at once."""
    before = len(bench.delivered())
    bench.message(message_id, text, **more)
    for _, delivery in bench.delivered()[before:]:
        bench.settle(delivery)


def ids(bench: LinkBench) -> list[str]:
    return [one.message.message_id for one, _ in bench.delivered()]


def reconnect(bench: LinkBench) -> None:
    bench.closed(1006)
    bench.wait_for_socket()
    assert bench.online


# --- the count -----------------------------------------------------------------------------------------------------


@pytest.mark.rule("R2-5", "R2-6")
def test_the_first_frame_has_number_one() -> None:
    bench = v2()
    bench.message("msg-1", dseq=1)
    bench.message("msg-2", dseq=2)
    assert ids(bench) == ["msg-1", "msg-2"] and bench.online


@pytest.mark.rule("R2-6", "R2-7", "R2-31", "ENV-14")
@pytest.mark.parametrize("dseq", [0, 1, 2, 4, 5, 10**12, -3, True, False, "3", 3.5, None, [3], {"n": 3}])
def test_any_other_number_than_the_next_breaks_the_connection(dseq: Json) -> None:
    bench = v2()
    bench.run_for(6_000)
    take(bench, "msg-1")
    take(bench, "msg-2")
    effects = bench.message("msg-3", dseq=dseq)
    assert not bench.delivered(effects)
    assert len(of(effects, Close)) == 1
    assert [one.dropped for one in emitted(effects, FrameRejected)] == [1]
    assert acks(bench) == [2]  # what was settled before is acknowledged (R2-16)
    assert 500 <= bench.wait_for_socket() <= 650
    bench.message("msg-3")
    assert ids(bench)[2:] == ["msg-3"]


@pytest.mark.rule("R2-7", "CLOSE-2")
def test_a_hub_that_always_miscounts_gets_no_tight_loop() -> None:
    bench = v2()
    waits: list[int] = []
    for _ in range(8):
        bench.message("msg-1", dseq=2)
        waits.append(bench.wait_for_socket())
    assert all(later > earlier for earlier, later in itertools.pairwise(waits[:6]))
    assert waits[7] >= 30_000


@pytest.mark.rule("R2-6")
def test_the_count_is_checked_before_the_content_is_looked_at() -> None:
    bench = v2()
    effects = bench.down("message.send", {"malformed": True}, dseq=7)
    assert of(effects, Close)
    bench = v2()
    command = bench.send()
    uplink = bench.uplinks("message.send")[0]
    bench.down("message.ack", {"message_id": "x"}, trace_id=uplink["trace_id"], dseq=7)
    assert command not in bench.results


@pytest.mark.rule("R2-32", "R2-7")
def test_a_frame_too_broken_to_count_shows_as_a_gap() -> None:
    bench = v2()
    bench.raw('{"version":"2","event":"message.send","dseq":1')
    assert bench.online
    assert of(bench.message("msg-2", dseq=2), Close)


@pytest.mark.rule("R2-8", "R2-11")
@pytest.mark.parametrize(
    "text",
    ['{"version":"3","event":"message.send","dseq":1}', '{"version":"2","dseq":1}', '{"event":5,"dseq":1}'],
)
def test_a_broken_frame_whose_number_can_be_read_counts(text: str) -> None:
    bench = v2()
    assert emitted(bench.raw(text), FrameRejected)
    take(bench, "msg-2", dseq=2)
    bench.run_for(200)
    assert acks(bench) == [2] and bench.online


@pytest.mark.rule("R2-8")
def test_frames_without_a_number_do_not_disturb_the_count() -> None:
    bench = v2()
    for number in (1, 2, 3):
        bench.down("typing.update", {"is_typing": True}, chat_id=CHAT, sender=SENDER)
        bench.down("message.send", message_payload(f"free-{number}"), chat_id=CHAT, sender=SENDER)
        take(bench, f"msg-{number}")
    bench.run_for(200)
    assert acks(bench) == [3] and bench.online


@pytest.mark.rule("R2-30")
@pytest.mark.parametrize("dseq", [7, 0, "x", None, True])
def test_without_a_grant_the_field_means_nothing(dseq: Json) -> None:
    bench = LinkBench(grant="v1")
    bench.message("msg-1", dseq=dseq)
    bench.message("msg-2", dseq=dseq)
    assert ids(bench) == ["msg-1", "msg-2"] and bench.online
    for _, delivery in bench.delivered():
        bench.settle(delivery)
    bench.run_for(60_000)
    assert not acks(bench) and not cursor_acks(bench)


@pytest.mark.rule("R2-3")
def test_every_granting_hello_starts_from_zero_under_its_own_epoch() -> None:
    bench = v2()
    for number in range(3):
        take(bench, f"msg-{number}")
    bench.run_for(200)
    bench.message("msg-3")  # not settled
    reconnect(bench)
    stream = bench.state.inbox.stream
    assert stream is not None and (stream.last, stream.mark, stream.acked, len(stream.ahead)) == (0, 0, 0, 0)
    bench.run_for(40_000)
    assert acks(bench) == [3]  # nothing settled here, nothing acknowledged
    take(bench, "msg-9")
    bench.run_for(200)
    first, second = bench.uplinks("message.sync_ack")[0], bench.uplinks("message.sync_ack")[-1]
    assert first["payload"] == {"dseq": 3, "epoch": bench.epoch(1)}
    assert second["payload"] == {"dseq": 1, "epoch": bench.epoch(2)}


@pytest.mark.rule("R2-35")
@pytest.mark.parametrize("epoch", [None, "", 5, ["e"]])
def test_a_grant_without_an_epoch_is_given_up_with_backoff(epoch: Json) -> None:
    bench = LinkBench(greet=False)
    bench.answers_close = False
    bench.challenge_now()
    bench.send()
    effects = bench.hello_now(ack_mode="dseq", ack_epoch=epoch)
    assert of(effects, Close) and not bench.told(Ready) and not bench.uplinks("message.send")
    bench.message("msg-1", dseq=1)  # whatever still comes is harmless
    bench.raw("no json")
    assert not bench.delivered()
    bench.closed(1000)
    assert 500 <= bench.wait_for_socket() <= 650
    bench.challenge_now()
    bench.hello_now(ack_mode="dseq", ack_epoch="e-1")
    assert bench.online and len(bench.uplinks("message.send")) == 1


# --- settling ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("R2-9", "R2-12", "R2-10")
@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_the_mark_is_the_end_of_the_unbroken_run_in_whatever_order_is_settled(order: tuple[int, ...]) -> None:
    bench = v2()
    for number in range(4):
        bench.message(f"msg-{number}")
    deliveries = [delivery for _, delivery in bench.delivered()]
    settled: set[int] = set()
    for index in order:
        bench.settle(deliveries[index])
        settled.add(index)
        bench.run_for(200)
        run = next(number for number in range(5) if number not in settled)
        assert (acks(bench) or [0])[-1] == run
    assert len(set(acks(bench))) == len(acks(bench))


@pytest.mark.rule("R2-10")
def test_nothing_is_acknowledged_before_the_application_is_done() -> None:
    bench = v2()
    bench.message("msg-1")
    bench.run_for(100_000)
    assert not acks(bench)
    bench.settle(bench.delivered()[0][1])
    bench.run_for(200)
    assert acks(bench) == [1]


@pytest.mark.rule("R2-9")
def test_settling_twice_or_what_never_was_changes_nothing() -> None:
    bench = v2()
    bench.message("msg-1")
    bench.message("msg-2")
    (_, first), _ = bench.delivered()
    bench.settle(first)
    state = bench.state
    assert bench.settle(first) == () and bench.settle(999) == () and bench.settle(0) == ()
    assert bench.state == state


@pytest.mark.rule("R2-8", "R2-10", "R2-27")
@pytest.mark.parametrize("event", ["history.transit", "notify.signal", "a.later.event"])
def test_a_stamped_event_without_a_typed_form_is_acknowledged_once_the_application_has_it(event: str) -> None:
    bench = v2()
    (emit,) = of(bench.stamped(event, {"type": "x"}), Emit)
    assert isinstance(emit.event, UnknownEvent)
    bench.run_for(60_000)
    assert not acks(bench)
    bench.settle(emit.delivery)
    bench.run_for(200)
    assert acks(bench) == [1]


@pytest.mark.rule("R2-11")
@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"message_id": 5},
        {"message_id": "m"},
        {"message_id": "m", "message": {"body": {"fragments": "text"}}},
        {"message_id": "m", "message": []},
    ],
)
def test_a_poison_message_is_set_aside_and_does_not_stall_the_stream(payload: dict[str, Json]) -> None:
    bench = v2()
    effects = bench.stamped("message.send", payload, chat_id=CHAT, sender=SENDER)
    assert len(emitted(effects, FrameRejected)) == 1
    take(bench, "msg-2")
    bench.run_for(200)
    assert acks(bench) == [2] and bench.online


@pytest.mark.rule("R2-19")
@pytest.mark.parametrize("payload", [{"covers_seq": 900}, {}, {"covers_seq": "x"}, {"covers_seq": True}])
def test_a_sync_mark_is_counted_and_tells_nothing(payload: dict[str, Json]) -> None:
    bench = v2()
    before = bench.state.inbox.known
    effects = bench.stamped("sync.mark", payload)
    assert not of(effects, Emit) and bench.state.inbox.known == before
    bench.run_for(200)
    assert acks(bench) == [1]


@pytest.mark.rule("R2-8", "R2-33")
@pytest.mark.parametrize("event", ["pong", "message.ack", "replay.done", "connect.challenge", "hello-ok", "sync.mark"])
def test_every_stamped_control_frame_is_counted_and_acknowledged(event: str) -> None:
    bench = v2()
    bench.stamped(event, {"nonce": "n"})
    bench.run_for(200)
    assert acks(bench) == [1]


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


# --- repeats and updates -------------------------------------------------------------------------------------------


@pytest.mark.rule("R2-28", "SEND-19")
def test_unacknowledged_rows_come_again_and_are_handed_over_once() -> None:
    bench = v2()
    take(bench, "msg-1")
    bench.message("msg-2")
    take(bench, "msg-3")
    reconnect(bench)
    for message_id in ("msg-1", "msg-2", "msg-3"):
        bench.message(message_id)
    assert ids(bench) == ["msg-1", "msg-2", "msg-3"]
    bench.run_for(200)
    assert acks(bench)[-1] == 1  # the second is with the application still
    bench.settle(bench.delivered()[1][1])
    bench.run_for(200)
    assert acks(bench)[-1] == 3


@pytest.mark.rule("R2-28", "R2-9")
def test_a_pending_message_survives_several_reconnects() -> None:
    bench = v2()
    bench.message("msg-1")
    for _ in range(3):
        reconnect(bench)
        bench.stamped("sync.mark", {})
        bench.message("msg-1")
    bench.run_for(200)
    assert acks(bench)[-1] == 1
    bench.settle(bench.delivered()[0][1])
    bench.run_for(200)
    assert acks(bench)[-1] == 2 and len(bench.delivered()) == 1


@pytest.mark.rule("SEND-19", "R2-10")
@pytest.mark.parametrize(
    "changed",
    [
        message_payload("msg-1", "other text"),
        message_payload("msg-1", message_mode="thinking"),
        message_payload("msg-1", metadata={"kind": "later"}),
        message_payload(
            "msg-1",
            message={
                "body": {"fragments": [{"kind": "text", "text": "hi"}]},
                "context": {"mentions": [{"user_id": "usr_x"}], "reply": None},
            },
        ),
        message_payload(
            "msg-1",
            message={
                "body": {"fragments": [{"kind": "text", "text": "hi"}]},
                "context": {"mentions": [], "reply": {"reply_to_msg_id": "q", "reply_preview": {}}},
            },
        ),
        message_payload(
            "msg-1",
            message={"body": {"fragments": [{"kind": "text", "text": "h"}, {"kind": "text", "text": "i"}]}},
        ),
    ],
)
def test_the_same_id_with_other_content_is_an_update(changed: dict[str, Json]) -> None:
    bench = v2()
    take(bench, "msg-1")
    bench.stamped("message.send", changed, chat_id=CHAT, sender=SENDER)
    assert [one.update for one, _ in bench.delivered()] == [False, True]
    bench.run_for(200)
    assert acks(bench) == [1]  # the update is not settled yet
    bench.settle(bench.delivered()[1][1])
    bench.run_for(200)
    assert acks(bench) == [1, 2]


@pytest.mark.rule("SEND-19")
def test_the_replayed_copy_of_a_live_message_is_no_update() -> None:
    bench = v2()
    take(bench, "msg-1", at_ms=5, trace_id="live")
    reconnect(bench)
    bench.message("msg-1", at_ms=7, trace_id="", seq=900)
    assert len(bench.delivered()) == 1


@pytest.mark.rule("SEND-19", "R2-9")
def test_an_update_while_the_first_copy_is_pending() -> None:
    bench = v2()
    bench.message("msg-1", "one")
    bench.message("msg-1", "two")
    reconnect(bench)
    bench.message("msg-1", "two")
    (_, first), (_, second) = bench.delivered()
    bench.settle(first)
    bench.run_for(200)
    assert not acks(bench)
    bench.settle(second)
    bench.run_for(200)
    assert acks(bench) == [1]


def merged(message_id: str, text: str) -> dict[str, Json]:
    return message_payload(message_id, text, stream_merged=True)


@pytest.mark.rule("STREAM-14", "R2-10")
@pytest.mark.parametrize("text", ["final", "provisional"])
def test_a_provisional_reply_never_replaces_a_final_one_yet_is_acknowledged(text: str) -> None:
    bench = v2()
    take(bench, "msg-1", "final")
    bench.stamped("message.reply", merged("msg-1", text), chat_id=CHAT, sender=SENDER)
    assert len(bench.delivered()) == 1
    bench.run_for(200)
    assert acks(bench) == [2]


@pytest.mark.rule("STREAM-14", "SEND-19")
@pytest.mark.parametrize("text", ["the same", "another"])
def test_a_final_reply_replaces_a_provisional_one_even_if_it_reads_the_same(text: str) -> None:
    bench = v2()
    bench.stamped("message.reply", merged("msg-1", "the same"), chat_id=CHAT, sender=SENDER)
    bench.message("msg-1", text)
    assert [one.update for one, _ in bench.delivered()] == [False, True]
    bench.stamped("message.reply", merged("msg-1", "a third"), chat_id=CHAT, sender=SENDER)
    assert len(bench.delivered()) == 2


@pytest.mark.rule("SEND-19")
def test_the_memory_of_messages_is_bounded() -> None:
    bench = LinkBench(grant="v2", policy=Policy(remembered_messages=3))
    for number in range(8):
        take(bench, f"msg-{number}")
        memory = bench.state.inbox.known
        assert len(memory.young) <= 3 and len(memory.old) <= 3
    for number in (7, 6, 5):  # the last three are known at least
        take(bench, f"msg-{number}")
    take(bench, "msg-0")  # forgotten: the application's upsert absorbs it
    assert ids(bench) == [f"msg-{number}" for number in range(8)] + ["msg-0"]


def test_without_a_memory_every_copy_is_handed_over() -> None:
    bench = LinkBench(grant="v2", policy=Policy(remembered_messages=0))
    take(bench, "msg-1")
    take(bench, "msg-1")
    assert len(bench.delivered()) == 2


# --- v1 and legacy -------------------------------------------------------------------------------------------------


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
    reconnect(bench)
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
    reconnect(bench)
    assert bench.state.inbox.replay_until is not None
    bench.closed(1006)
    bench.run_for(4_000)
    assert bench.told(ReplayFinished) == [ReplayFinished(True)]


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


# --- the window ----------------------------------------------------------------------------------------------------


@pytest.mark.rule("R2-26", "R2-9")
def test_an_application_that_keeps_up_keeps_the_window_small() -> None:
    bench = LinkBench(grant="v2", liveness=False)
    for number in range(1, 1_001):
        take(bench, f"msg-{number}")
        bench.run_for(10)
        assert number - (acks(bench) or [0])[-1] <= 21
    assert len(bench.state.inbox.places) == 0


def test_a_disconnection_for_a_gap_is_told_as_such() -> None:
    bench = v2()
    bench.answers_close = False
    bench.message("msg-1", dseq=4)
    assert isinstance(bench.state.link.phase, Closing)
    bench.closed(1000)
    assert "dseq" in bench.told(Disconnected)[0].reason
