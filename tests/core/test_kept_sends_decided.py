"""Sends with a message store: whatever becomes of one is put down, and is the last that is done about it."""

import pytest

from clawproto.app_events import SendSettled
from clawproto.events import Closed
from clawproto.policy import Policy
from clawproto.results import LoggedOutResult, SendDropped, SendGated
from tests.core.harness import REFUSED, credentials, jwt, pair
from tests.core.messaging import CHAT, ack, keeping, message, online, outcomes, refuse, restarted, says, send, uplinks


@pytest.mark.rule("SEND-15", "ERR-3")
def test_every_end_is_recorded() -> None:
    bench = keeping(policy=Policy(undecided_kept=1))
    for text in ("refused", "late", "forgotten", "undecided"):
        send(bench, text)
    first, late, *_ = uplinks(bench)
    refuse(bench, first, "blocked")
    bench.run_for(20_000)
    assert outcomes(bench) == [("rejected", "blocked"), ("expired", None), ("expired", None)]
    assert len(bench.messages.undecided) == 1, "undecided ones stay kept"
    ack(bench, uplinks(bench)[-1])
    assert outcomes(bench)[-1] == ("accepted", None)
    ack(bench, late)
    assert len(bench.messages.decisions) == 4


@pytest.mark.rule("SEND-16")
def test_its_own_echo_decides_a_send() -> None:
    bench = keeping()
    send(bench)
    (frame,) = uplinks(bench)
    said = message(message_id=frame["payload"]["message_id"])
    says(bench, "message.send", said, chat_id=CHAT, sender={"id": "u-1", "type": "user"})
    assert outcomes(bench) == [("accepted", None)]


@pytest.mark.rule("SEND-20")
def test_a_drop_from_the_offline_queue_is_recorded() -> None:
    bench = keeping(policy=Policy(offline_queue=1))
    bench.step(Closed(bench.generation, 1006))
    first = send(bench, "a")
    send(bench, "b")
    assert isinstance(bench.results[first], SendDropped)
    assert outcomes(bench) == [("dropped", None)]
    assert len(bench.messages.undecided) == 1


@pytest.mark.rule("ERR-10")
def test_a_gate_that_falls_before_the_send_is_kept() -> None:
    bench = keeping()
    send(bench)
    (frame,) = uplinks(bench)
    bench.messages.held = True
    second = send(bench, "b")
    refuse(bench, frame, "not_member")
    bench.release_sends()
    assert isinstance(bench.results[second], SendGated)
    assert ("dropped", "not_member") in outcomes(bench)
    assert not bench.messages.undecided and len(uplinks(bench)) == 1
    bench.run_for(600_000)
    bench.step(Closed(bench.generation, 1006))
    bench.run_for(10_000)
    assert bench.state.connected and len(uplinks(bench)) == 1, "nor does it wait for the end of the gate"


@pytest.mark.rule("OUT-11")
def test_a_logout_decides_everything() -> None:
    bench = keeping()
    transmitted = send(bench, "a")
    bench.messages.held = True
    waiting = send(bench, "b")
    bench.refresh()
    bench.reply(REFUSED)
    assert bench.results[transmitted] == bench.results[waiting] == LoggedOutResult()
    bench.release_sends()
    assert sorted(outcomes(bench)) == [("dropped", None), ("expired", None)]
    assert not bench.messages.undecided
    assert restarted(bench).state.outbox.entries.first() is None


@pytest.mark.rule("OUT-11")
def test_a_logout_that_the_store_did_not_learn_of_is_made_up_for_at_the_start() -> None:
    bench = keeping()
    send(bench, "a")
    bench.messages.failing = 10**6
    bench.refresh()
    bench.reply(REFUSED)
    assert len(bench.messages.undecided) == 1
    bench.messages.failing = 0
    after = restarted(bench)
    assert not bench.messages.undecided
    (settled,) = after.told(SendSettled)
    assert (settled.accepted, settled.code) == (False, "logged_out")


THEIRS = credentials(pair(jwt("b1", sub="u-2"), "refresh-b"), generation=7, user_id="u-2")


@pytest.mark.rule("OUT-8", "OUT-11", "REF-45")
@pytest.mark.parametrize("how", ["loaded", "found in the store"])
def test_another_user_does_not_send_what_is_kept(how: str) -> None:
    bench = keeping()
    waiting = send(bench, "a")
    if how == "loaded":
        bench.load(THEIRS)
    else:
        bench.store.record = THEIRS
        bench.refresh()
    bench.run_for(10_000)
    assert bench.results[waiting] == LoggedOutResult()
    assert outcomes(bench) == [("expired", None)] and not bench.messages.undecided
    assert len(uplinks(bench)) == 1 and bench.state.connected


@pytest.mark.rule("OUT-8", "OUT-11")
def test_nor_does_another_user_send_what_was_never_kept() -> None:
    bench = online()
    transmitted = send(bench, "a")
    bench.step(Closed(bench.generation, 1006))
    queued = send(bench, "b")
    bench.load(THEIRS)
    bench.run_for(10_000)
    assert bench.results[transmitted] == bench.results[queued] == LoggedOutResult()
    assert len(uplinks(bench)) == 1 and bench.state.connected
    assert isinstance(send(bench, "c"), int) and len(uplinks(bench)) == 2


def test_another_pairing_of_the_same_user_does() -> None:
    bench = keeping()
    send(bench, "a")
    bench.load(credentials(pair(jwt("b1"), "refresh-b"), generation=7, device_id="lab-02"))
    bench.run_for(10_000)
    assert len(uplinks(bench)) == 2 and bench.messages.undecided
