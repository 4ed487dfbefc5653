"""Answers to sends: early, late, to any transmission, or none at all."""

import re

import pytest

from clawproto.app_events import AckAnomaly, SendSettled
from clawproto.policy import Policy
from clawproto.results import (
    Receipt,
    SendRejected,
    SendUndecided,
)
from tests.core.link_harness import CHAT, LinkBench, sent_ids

MINTED = re.compile(r"\Amsg-[0-7][0-9A-HJKMNP-TV-Z]{25}\Z")
RESEND = Policy(retransmit_after_timeout=True)


# --- answers -------------------------------------------------------------------------------------------------------


@pytest.mark.rule("SEND-9", "SEND-11")
def test_an_ack_means_sent_and_is_matched_by_trace_id() -> None:
    bench = LinkBench()
    first, second = bench.send(), bench.send()
    one, two = bench.uplinks("message.send")
    bench.ack(two)
    assert first not in bench.results
    message_id = two["payload"]["message_id"]
    assert bench.results[second] == Receipt(CHAT, message_id, 5, message_id)
    bench.ack(one)
    assert isinstance(bench.results[first], Receipt)


@pytest.mark.rule("SEND-11")
@pytest.mark.parametrize("trace_id", ["", "unknown"])
def test_an_ack_under_another_trace_id_is_matched_by_message_id(trace_id: str) -> None:
    bench = LinkBench()
    command = bench.send()
    message_id = sent_ids(bench)[0]
    bench.down("message.ack", {"message_id": message_id, "accepted_at": 5}, trace_id=trace_id)
    assert isinstance(bench.results[command], Receipt)


@pytest.mark.rule("SEND-11")
@pytest.mark.parametrize("others", [0, 40])
def test_an_ack_that_fits_nothing_is_ignored(others: int) -> None:
    bench = LinkBench()
    command, *_ = [bench.send() for _ in range(1 + others)]
    assert bench.down("message.ack", {"message_id": "msg-x", "accepted_at": 5}, trace_id="unknown") == ()
    assert bench.down("message.ack", {}, trace_id="") == ()
    assert command not in bench.results


@pytest.mark.rule("SEND-12", "SEND-11", "D-35")
def test_an_ack_with_another_message_id_counts_and_is_reported() -> None:
    bench = LinkBench()
    command = bench.send()
    (uplink,) = bench.uplinks("message.send")
    bench.ack(uplink, message_id="msg-of-the-hub")
    minted = uplink["payload"]["message_id"]
    assert bench.results[command] == Receipt(CHAT, "msg-of-the-hub", 5, minted)
    assert bench.told(AckAnomaly) == [AckAnomaly(minted, "msg-of-the-hub")]


@pytest.mark.rule("SEND-11")
def test_the_trace_id_wins_over_the_message_id_of_another_send() -> None:
    bench = LinkBench()
    first, second = bench.send(message_id="msg-a"), bench.send(message_id="msg-b")
    bench.ack(bench.uplinks("message.send")[0], message_id="msg-b")
    assert isinstance(bench.results[first], Receipt) and second not in bench.results


@pytest.mark.rule("SEND-13", "SEND-14")
def test_without_an_answer_a_send_is_undecided_after_fifteen_seconds() -> None:
    bench = LinkBench()
    command = bench.send(message_id="msg-a")
    bench.run_for(14_999)
    assert command not in bench.results
    bench.run_for(1)
    assert bench.results[command] == SendUndecided(CHAT, "msg-a")
    bench.run_for(120_000)
    assert sent_ids(bench) == ["msg-a"]  # not retransmitted by itself


@pytest.mark.rule("SEND-13")
def test_each_send_has_a_deadline_of_its_own() -> None:
    bench = LinkBench()
    first = bench.send()
    bench.run_for(10_000)
    second = bench.send()
    bench.run_for(5_000)
    assert first in bench.results and second not in bench.results
    bench.run_for(10_000)
    assert second in bench.results


@pytest.mark.rule("SEND-15")
@pytest.mark.parametrize("accepted", [True, False])
def test_a_late_answer_decides_after_all(accepted: bool) -> None:
    bench = LinkBench()
    command = bench.send(message_id="msg-a")
    (uplink,) = bench.uplinks("message.send")
    bench.run_for(60_000)
    assert isinstance(bench.results[command], SendUndecided)
    if accepted:
        bench.ack(uplink)
        assert bench.told(SendSettled) == [SendSettled(CHAT, "msg-a", True)]
    else:
        bench.refuse(uplink, "bad_request")
        assert bench.told(SendSettled) == [SendSettled(CHAT, "msg-a", False, "bad_request")]
    bench.ack(uplink)
    assert len(bench.told(SendSettled)) == 1


@pytest.mark.rule("SEND-15")
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("accepted", [True, False])
def test_the_answer_to_any_transmission_counts_even_if_it_names_no_message(which: int, accepted: bool) -> None:
    bench = LinkBench()
    command = bench.send()
    bench.reconnect()
    uplink = bench.uplinks("message.send")[which]
    if accepted:
        bench.ack(uplink, message_id="msg-of-the-hub")
        assert isinstance(bench.results[command], Receipt)
    else:
        bench.down("message.error", {"code": "bad_request"}, trace_id=uplink["trace_id"], chat_id=CHAT)
        assert isinstance(bench.results[command], SendRejected)


@pytest.mark.rule("SEND-14", "SEND-15", "SEND-5")
def test_a_caller_may_send_an_undecided_message_again_under_its_id() -> None:
    bench = LinkBench()
    first = bench.send(message_id="msg-a")
    bench.run_for(15_000)
    second = bench.send(message_id="msg-a")
    earlier, later = bench.uplinks("message.send")
    assert earlier["payload"] == later["payload"]
    bench.ack(earlier, message_id="msg-of-the-hub")  # the first transmission got through after all
    assert isinstance(bench.results[first], SendUndecided)
    assert isinstance(bench.results[second], Receipt)
    assert not bench.told(SendSettled)


@pytest.mark.rule("SEND-14", "SEND-5", "SEND-17")
def test_what_is_sent_again_takes_the_place_of_the_undecided_one() -> None:
    bench = LinkBench(policy=RESEND)
    bench.send(message_id="msg-a")
    bench.run_for(30_000)
    again = bench.send(message_id="msg-a")
    assert len(sent_ids(bench)) == 3, "sent, retransmitted after the deadline, and sent again"
    bench.ack(bench.uplinks("message.send")[-1])
    assert isinstance(bench.results[again], Receipt)
    bench.reconnect()
    assert len(sent_ids(bench)) == 3, "nothing is left of either"


@pytest.mark.rule("SEND-5")
def test_an_id_that_is_under_way_cannot_be_used_twice() -> None:
    bench = LinkBench()
    first = bench.send(message_id="msg-a")
    second = bench.send(message_id="msg-a")
    result = bench.results[second]
    assert isinstance(result, SendRejected) and result.code == "duplicate_id" and result.reason
    assert sent_ids(bench) == ["msg-a"]
    bench.ack(bench.uplinks("message.send")[0])
    assert isinstance(bench.results[first], Receipt)
    bench.send(message_id="msg-a")  # decided: the id is free, the hub overwrites the row
    assert sent_ids(bench) == ["msg-a", "msg-a"]


@pytest.mark.rule("SEND-14", "SEND-5")
def test_automatic_retransmission_is_a_setting_and_happens_once_on_a_connection() -> None:
    bench = LinkBench(policy=RESEND)
    command = bench.send()
    bench.run_for(15_000)
    assert len(sent_ids(bench)) == 2 and command not in bench.results
    first, second = bench.uplinks("message.send")
    assert first["payload"] == second["payload"]
    bench.run_for(14_999)
    assert command not in bench.results
    bench.run_for(1)
    assert isinstance(bench.results[command], SendUndecided)
    bench.run_for(300_000)
    assert len(sent_ids(bench)) == 2
    bench.reconnect()
    assert len(sent_ids(bench)) == 3
    bench.ack(bench.uplinks("message.send")[-1])
    assert bench.told(SendSettled)[0].accepted


@pytest.mark.rule("SEND-16")
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("origin", ["lab-01", "sibling", None])
def test_the_own_message_in_echo_or_replay_decides_a_send(late: bool, origin: str | None) -> None:
    bench = LinkBench()
    command = bench.send(message_id="msg-a")
    if late:
        bench.run_for(15_000)
    bench.message("msg-a", "hello", sender={"id": "u-1"}, origin_device_id=origin)
    if late:
        assert bench.told(SendSettled) == [SendSettled(CHAT, "msg-a", True)]
    else:
        assert bench.results[command] == Receipt(CHAT, "msg-a", None, "msg-a")


@pytest.mark.rule("SEND-16")
def test_a_message_of_somebody_else_with_the_same_id_decides_nothing() -> None:
    bench = LinkBench()
    command = bench.send(message_id="msg-a")
    bench.message("msg-a")
    assert command not in bench.results


@pytest.mark.rule("SEND-16")
def test_undecided_messages_are_remembered_within_bounds() -> None:
    bench = LinkBench(policy=Policy(undecided_kept=3))
    for number in range(6):
        bench.send(message_id=f"msg-{number}")
    bench.run_for(15_000)
    assert len(bench.state.outbox.entries) == 3
    for number in range(6):
        bench.message(f"msg-{number}", sender={"id": "u-1"}, origin_device_id="lab-01")
    assert [one.message_id for one in bench.told(SendSettled)] == ["msg-3", "msg-4", "msg-5"]
