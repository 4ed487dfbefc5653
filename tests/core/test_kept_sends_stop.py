"""Sends with a message store, and the stop of the session: what is on its way to the disk is waited for."""

import pytest

from clawproto.effects import Keep
from clawproto.policy import Policy
from clawproto.results import Receipt, StoppedResult
from clawproto.session import is_finished
from tests.core.harness import REFUSED
from tests.core.link_harness import CHAT, LinkBench
from tests.core.messaging import keeping, outcomes, restarted, send, uplinks


@pytest.mark.rule("SEND-15")
def test_a_stop_says_what_goes_out_at_the_next_start() -> None:
    bench = keeping()
    transmitted = send(bench, "a")
    bench.messages.held = True
    waiting = send(bench, "b")
    last = send(bench, "c")
    bench.stop()
    assert bench.results[transmitted] == StoppedResult(
        uplinks(bench)[0]["payload"]["message_id"], transmitted=True, kept=True
    )
    assert waiting not in bench.results and not is_finished(bench.state)
    bench.release_sends()
    for command, kept in zip((waiting, last), bench.messages.backlog[1:], strict=True):
        assert bench.results[command] == StoppedResult(kept.message_id, transmitted=False, kept=True)
    assert is_finished(bench.state) and len(uplinks(bench)) == 1
    assert len(uplinks(restarted(bench))) == 3


def test_a_stop_on_a_full_disk_gives_up_and_says_so() -> None:
    bench = keeping()
    bench.messages.failing = 10**6
    command = send(bench, "a")
    bench.run_for(60_000)
    bench.stop()
    assert is_finished(bench.state)
    result = bench.results[command]
    assert isinstance(result, StoppedResult) and result.message_id and not result.kept and not result.transmitted


@pytest.mark.parametrize("alarm_after", [1, 3])
def test_after_a_stop_a_full_disk_is_given_up_with_the_attempt_that_raises_the_alarm(alarm_after: int) -> None:
    bench = keeping(policy=Policy(save_alarm_after=alarm_after))
    bench.messages.held = True
    command = send(bench, "a")
    bench.stop()
    bench.messages.failing = 10**6
    bench.release_sends()
    bench.run_for(60_000)
    assert len(bench.all(Keep)) == alarm_after
    assert isinstance(bench.results[command], StoppedResult) and is_finished(bench.state)


@pytest.mark.rule("SEND-15")
def test_after_a_stop_the_answer_to_an_earlier_transmission_still_counts() -> None:
    bench = LinkBench(keep_sends=True)
    bench.send(message_id="msg-a")
    bench.run_for(15_000)
    bench.messages.held, bench.answers_close = True, False
    again = bench.send(message_id="msg-a")
    bench.stop()
    bench.ack(bench.uplinks("message.send")[0])
    assert bench.results[again] == Receipt(CHAT, "msg-a", 5, "msg-a")
    bench.release_sends()
    assert not bench.messages.undecided and outcomes(bench) == [("accepted", None)]


@pytest.mark.rule("OUT-11")
def test_a_logout_after_the_stop_answers_nobody_twice() -> None:
    bench = keeping()
    bench.messages.held = True
    command = send(bench, "a")
    bench.refresh()
    bench.stop()
    bench.release_sends()
    told = bench.results[command]
    assert isinstance(told, StoppedResult) and told.kept
    bench.reply(REFUSED)
    assert bench.store.record is not None and bench.store.record.tokens is None
    assert bench.results[command] == told and is_finished(bench.state)


def test_a_stop_tries_more_than_once() -> None:
    bench = keeping()
    bench.messages.failing = 2
    command = send(bench, "a")
    bench.stop()
    bench.run_for(1_000)
    result = bench.results[command]
    assert isinstance(result, StoppedResult) and result.kept
    assert is_finished(bench.state)
