"""The inbox: the unbroken count, and what is settled when."""

import itertools

import pytest

from clawproto.app_events import Disconnected, FrameRejected, Ready, UnknownEvent
from clawproto.config import Capabilities
from clawproto.effects import Close, Emit
from clawproto.json_types import Json
from clawproto.link_state import Closing
from tests.core.harness import emitted, of
from tests.core.link_harness import CHAT, SENDER, LinkBench, acks, cursor_acks, message_payload, received_ids, take, v2

LEGACY = Capabilities(reliable_delivery=False, reliable_delivery_v2=False)


# --- the count -----------------------------------------------------------------------------------------------------


@pytest.mark.rule("R2-5", "R2-6")
def test_the_first_frame_has_number_one() -> None:
    bench = v2()
    bench.message("msg-1", dseq=1)
    bench.message("msg-2", dseq=2)
    assert received_ids(bench) == ["msg-1", "msg-2"] and bench.online


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
    assert received_ids(bench)[2:] == ["msg-3"]


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
    assert received_ids(bench) == ["msg-1", "msg-2"] and bench.online
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
    bench.reconnect()
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
@pytest.mark.parametrize("event", ["sync.later", "a.later.event"])
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
