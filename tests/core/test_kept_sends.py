"""Sends with a message store: kept before they are transmitted, and transmitted again after a restart."""

import json
from itertools import pairwise

import pytest

from clawproto import events
from clawproto.app_events import MessagesSaved, MessagesUnsaved, SendSettled
from clawproto.config import Config
from clawproto.effects import Keep, SendFrame
from clawproto.errors import Misuse
from clawproto.events import Closed, FinishStream, KeepFailed, Kept, OpenStream, React, Send, Start
from clawproto.instant import Instant
from clawproto.keeping import KeptSend, SendDecision
from clawproto.policy import Policy
from clawproto.results import (
    Receipt,
    SendRejected,
    SendUndecided,
)
from clawproto.session import step
from clawproto.state import State
from tests.core.harness import MONO, REFUSED, T0, Bench, SendStore, credentials, jwt, names, pair, rotated
from tests.core.messaging import (
    CHAT,
    OTHER_CHAT,
    ack,
    keeping,
    refuse,
    restarted,
    send,
    uplinks,
)

# --- before the transmission ---------------------------------------------------------------------------------------


@pytest.mark.rule("SEND-5")
def test_nothing_is_transmitted_before_it_is_kept() -> None:
    bench = keeping()
    bench.messages.held = True
    command = send(bench)
    (batch,) = bench.unkept
    (kept,) = batch.changes
    assert isinstance(kept, KeptSend) and kept.created_ms == T0
    assert uplinks(bench) == []
    bench.release_sends()
    (frame,) = uplinks(bench)
    assert (frame["trace_id"], frame["payload"]) == (kept.trace_id, json.loads(kept.payload))
    ack(bench, frame)
    assert isinstance(bench.results[command], Receipt)
    assert bench.messages.decisions == [SendDecision(kept.trace_id, "accepted", kept.message_id, accepted_at_ms=5)]
    assert not bench.messages.undecided


@pytest.mark.rule("SEND-17")
def test_one_batch_is_under_way_and_the_rest_goes_with_the_next() -> None:
    bench = keeping()
    bench.messages.held = True
    for text in ("a", "b", "c"):
        send(bench, text)
    assert [len(batch.changes) for batch in bench.unkept] == [1]
    bench.release_sends()
    assert [len(batch.changes) for batch in bench.all(Keep)] == [1, 2]
    said = [frame["payload"]["message"]["body"]["fragments"][0]["text"] for frame in uplinks(bench)]
    assert said == ["a", "b", "c"]


def test_a_batch_is_bounded() -> None:
    bench = keeping(policy=Policy(keep_batch=2))
    bench.messages.held = True
    for text in "abcdef":
        send(bench, text)
    bench.release_sends()
    assert [len(batch.changes) for batch in bench.all(Keep)] == [1, 2, 2, 1]
    assert len(uplinks(bench)) == 6


@pytest.mark.rule("SEND-17", "SEND-20")
def test_what_is_kept_while_offline_goes_out_in_order_with_the_next_connection() -> None:
    bench = keeping(greet=True)
    bench.step(Closed(bench.generation, 1006))
    send(bench, "a")
    bench.messages.held = True
    send(bench, "b")
    assert len(bench.messages.undecided) == 1
    bench.run_for(10_000)
    assert len(uplinks(bench)) == 1, "what is not kept yet is passed over"
    bench.release_sends()
    assert len(uplinks(bench)) == 2


def test_online_a_slow_disk_drops_nothing() -> None:
    bench = keeping(policy=Policy(offline_queue=2))
    bench.messages.held = True
    commands = [send(bench, f"{number}") for number in range(6)]
    bench.release_sends()
    assert len(uplinks(bench)) == 6
    assert not set(commands) & set(bench.results)


@pytest.mark.rule("REF-10")
def test_a_failed_batch_is_held_and_tried_again_for_ever() -> None:
    bench = keeping()
    bench.messages.failing = 9
    send(bench, "a")
    begun = bench.now.mono_ms
    attempts = [begun]
    send(bench, "b")
    while bench.messages.failing:
        before = len(bench.all(Keep))
        assert bench.deadline is not None
        bench.run_for(bench.deadline - bench.now.mono_ms)
        if len(bench.all(Keep)) > before:
            attempts.append(bench.now.mono_ms)
    gaps = [later - earlier for earlier, later in pairwise(attempts)]
    assert gaps[:7] == [100, 200, 400, 800, 1_600, 3_200, 5_000]
    assert [batch.changes for batch in bench.all(Keep)[:9]] == [bench.all(Keep)[0].changes] * 9
    assert len({batch.operation for batch in bench.all(Keep)}) == len(bench.all(Keep))
    assert bench.told(MessagesUnsaved) == [MessagesUnsaved(3, "disk full")]
    assert uplinks(bench) == []
    bench.run_for(10_000)
    assert bench.told(MessagesSaved) == [MessagesSaved(9)]
    assert len(uplinks(bench)) == 2


@pytest.mark.rule("REF-10")
@pytest.mark.parametrize(("failing", "alarms"), [(2, 0), (3, 1)])
def test_the_alarm_is_called_off_if_it_was_raised_and_each_batch_is_counted_anew(failing: int, alarms: int) -> None:
    bench = keeping()
    for text in "ab":
        bench.messages.failing = failing
        begun = bench.now.mono_ms
        send(bench, text)
        assert bench.deadline == begun + 100, "the first attempt is not waited for any longer than before"
        bench.run_for(10_000)
        ack(bench, uplinks(bench)[-1])
    assert bench.told(MessagesUnsaved) == [MessagesUnsaved(3, "disk full")] * alarms * 2
    assert bench.told(MessagesSaved) == [MessagesSaved(3)] * alarms * 2


def test_late_and_foreign_answers_change_nothing() -> None:
    bench = keeping()
    bench.messages.held = True
    send(bench)
    for event in (Kept(999), KeepFailed(999, "?"), events.Stored(bench.unkept[0].operation, 1)):
        bench.step(event)
    assert uplinks(bench) == [] and len(bench.unkept) == 1
    (batch,) = bench.unkept
    bench.step(Kept(batch.operation))
    bench.step(Kept(batch.operation))
    bench.step(KeepFailed(batch.operation, "late"))
    assert len(uplinks(bench)) == 1


def test_what_cannot_be_sent_at_all_is_never_kept() -> None:
    bench = keeping()
    send(bench, chat_id="nowhere")
    send(bench, "x" * 2_000_000)
    assert bench.all(Keep) == []


# --- a restart -----------------------------------------------------------------------------------------------------


@pytest.mark.rule("SEND-5", "SEND-15", "SEND-17")
def test_after_a_restart_the_undecided_ones_go_out_first_with_the_same_bytes() -> None:
    bench = keeping()
    bench.messages.held = False
    for text in ("a", "b", "c"):
        send(bench, text)
    before = uplinks(bench)
    ack(bench, before[1])
    bench.step(React(bench.command(), CHAT, "msg-9", "x"))
    after = restarted(bench, greet=False)
    send(after, "new")
    assert [effect for effect in after.all(SendFrame) if effect.event != "connect"] == []
    after.greet = True
    after.run_for(60_000)
    sent = [effect for effect in after.all(SendFrame) if effect.event.startswith("message.")]
    frames = [json.loads(effect.text) for effect in sent]
    old = [before[0], before[2], uplinks(bench, "message.reaction")[0]]
    assert [(frame["trace_id"], frame["payload"]) for frame in frames[:3]] == [
        (frame["trace_id"], frame["payload"]) for frame in old
    ]
    assert [frame["event"] for frame in frames[:4]] == ["message.send"] * 2 + ["message.reaction", "message.send"]
    numbers = [kept.number for kept in bench.messages.backlog]
    assert numbers == sorted(numbers) and len(set(numbers)) == 4


@pytest.mark.rule("ENV-5", "SEND-5", "SEND-17")
def test_the_routing_is_kept_as_well() -> None:
    bench = keeping()
    send(bench, "a", to={"id": CHAT, "type": "group"})
    after = restarted(bench)
    assert [frame["to"] for frame in (*uplinks(bench), *uplinks(after))] == [{"id": CHAT, "type": "group"}] * 2


@pytest.mark.rule("SEND-15")
def test_a_restored_send_ends_in_an_event() -> None:
    bench = keeping()
    send(bench, "a")
    send(bench, "b")
    after = restarted(bench)
    one, two = uplinks(after)
    ack(after, one)
    refuse(after, two, "blocked")
    assert after.told(SendSettled) == [
        SendSettled(CHAT, one["payload"]["message_id"], accepted=True),
        SendSettled(CHAT, two["payload"]["message_id"], accepted=False, code="blocked"),
    ]
    assert not bench.messages.undecided


@pytest.mark.rule("SEND-17")
def test_a_restored_send_goes_out_on_every_connection_until_it_is_answered() -> None:
    bench = keeping()
    send(bench, "a")
    after = restarted(bench)
    after.run_for(20_000)  # past the deadline of its answer
    after.step(Closed(after.generation, 1006))
    after.run_for(20_000)
    assert len({frame["trace_id"] for frame in uplinks(after)}) == 1
    assert len(uplinks(after)) == 2


@pytest.mark.rule("SEND-5")
def test_sending_again_under_the_same_id_takes_the_place_of_the_restored_one() -> None:
    bench = keeping()
    send(bench, "a", message_id="msg-mine")
    (before,) = uplinks(bench)
    after = restarted(bench, greet=False)
    command = send(after, "a", message_id="msg-mine")
    twice = send(after, "a", message_id="msg-mine")
    assert isinstance(after.results[twice], SendRejected)
    after.greet = True
    after.run_for(60_000)
    assert {(frame["trace_id"], json.dumps(frame["payload"])) for frame in uplinks(after)} == {
        (before["trace_id"], json.dumps(before["payload"]))
    }
    ack(after, uplinks(after)[-1])
    assert isinstance(after.results[command], Receipt | SendUndecided)
    assert not bench.messages.undecided


def test_a_new_send_has_a_higher_number_than_any_that_was_restored() -> None:
    store = SendStore()
    store.undecided["s-1"] = KeptSend("s-1", 5, "msg-1", CHAT, "message.send", "{}", None, T0)
    bench = Bench(credentials(), messages=store, keep_sends=True, greet=False)  # the store knows of no highest number
    send(bench)
    assert [kept.number for kept in store.backlog] == [5, 6]


@pytest.mark.rule("OUT-8")
def test_numbers_go_on_after_a_logout() -> None:
    bench = keeping()
    send(bench, "a")
    bench.refresh()
    bench.reply(REFUSED)
    bench.load(credentials(pair(jwt("b1"), "refresh-b"), generation=7))
    send(bench, "b")
    assert [kept.number for kept in bench.messages.backlog] == [2], "the store has had the first"


def test_numbers_continue_above_the_highest_that_was_ever_given() -> None:
    bench = keeping()
    for text in ("a", "b", "c"):
        send(bench, text)
    for frame in uplinks(bench):
        ack(bench, frame)
    after = restarted(bench)
    send(after, "d")
    assert [kept.number for kept in after.messages.backlog] == [4]


@pytest.mark.rule("STREAM-12", "SEND-5")
def test_the_message_that_ends_a_stream_is_kept_as_well() -> None:
    bench = keeping()
    bench.step(OpenStream(bench.command(), CHAT, message_id="msg-stream"))
    bench.messages.held = True
    closing = Send(0, "", ({"kind": "text", "text": "all of it"},))
    bench.step(FinishStream(bench.command(), "msg-stream", closing))
    assert uplinks(bench) == []
    bench.release_sends()
    assert [frame["payload"]["message_id"] for frame in uplinks(bench)] == ["msg-stream"]


def test_kept_sends_without_a_store_are_a_mistake() -> None:
    kept = KeptSend("s-1", 1, "msg-1", CHAT, "message.send", "{}", None, T0)
    state = State(Config(seed=bytes(16)))
    with pytest.raises(Misuse):
        step(state, Start(credentials(), sends=(kept,)), Instant(T0, MONO))


def test_the_content_of_a_kept_send_does_not_print_itself() -> None:
    kept = KeptSend("s-1", 1, "msg-1", CHAT, "message.send", '{"secret": 1}', None, T0)
    assert "secret" not in repr(kept) and "secret" not in repr(Keep(1, (kept,)))


@pytest.mark.rule("REF-26", "SEND-17")
def test_a_rotation_in_between_changes_nothing() -> None:
    bench = keeping()
    bench.messages.held = True
    send(bench, "a", OTHER_CHAT)
    bench.refresh()
    bench.reply(rotated(jwt("a2", issued_ms=bench.now.wall_ms)))
    bench.release_sends()
    bench.run_for(1_000)
    assert {frame["trace_id"] for frame in uplinks(bench)} == {bench.messages.backlog[0].trace_id}
    assert "Reconnect" in names(bench.effects) or uplinks(bench)


def test_a_store_may_be_replaced_by_an_empty_one() -> None:
    bench = keeping()
    send(bench)
    assert Bench(bench.store.record, messages=SendStore(), keep_sends=True).state.outbox.next_number == 1
