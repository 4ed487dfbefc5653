"""Closing on purpose: what goes out before it, and what still counts meanwhile."""

import pytest

from clawproto.app_events import Disconnected, SendSettled
from clawproto.config import Capabilities
from clawproto.effects import Abort, Close, Effect
from clawproto.events import Closed, FrameReceived, Send
from clawproto.link_state import Closing, Ended
from clawproto.policy import Policy
from clawproto.results import Receipt, StoppedResult
from tests.core.harness import REFUSED, frame, jwt, of, rotated
from tests.core.link_harness import CHAT, TEXT, LinkBench, closing

MINUTE_MS = 60_000


# --- closing on purpose --------------------------------------------------------------------------------------------


@pytest.mark.rule("CLOSE-12", "R2-16", "TYPE-1")
def test_before_a_deliberate_close_typing_ends_and_the_mark_is_acknowledged() -> None:
    bench = LinkBench(grant="v2")
    bench.type()
    bench.message("msg-1")
    bench.settle(bench.delivered()[0][1])
    effects = bench.stop()
    sent = bench.uplinks(effects=effects)
    assert sorted(one["event"] for one in sent) == ["message.sync_ack", "typing.update"]
    assert [one["payload"] for one in sent if one["event"] == "typing.update"] == [{"is_typing": False}]
    position = [isinstance(effect, Close) for effect in effects].index(True)
    assert len(bench.uplinks(effects=effects[:position])) == 2  # both before the close


@pytest.mark.rule("CLOSE-12")
def test_typing_that_was_ended_is_not_ended_again() -> None:
    bench = LinkBench()
    bench.type()
    bench.type(False)
    assert bench.uplinks(effects=bench.stop()) == []


@pytest.mark.rule("CLOSE-12", "ERR-10")
@pytest.mark.parametrize("how", ["not_member", "dissolved"])
def test_typing_in_a_gated_chat_is_not_even_ended(how: str) -> None:
    bench = LinkBench()
    bench.type()
    if how == "dissolved":
        bench.down("notify.signal", {"type": "conversation.dissolved", "entity_id": CHAT, "event_id": "ev-1"})
    else:
        bench.refuse(bench.uplinks("typing.update")[0], how)
    assert bench.uplinks(effects=bench.stop()) == []


@pytest.mark.rule("CLOSE-12")
def test_the_closing_handshake_is_bounded() -> None:
    bench = LinkBench()
    bench.answers_close = False
    bench.stop()
    bench.run_for(4_999)
    assert not bench.all(Abort)
    assert of(bench.run_for(1), Abort) == [Abort(1)]
    assert isinstance(bench.state.link.phase, Ended)
    assert bench.deadline is None


@pytest.mark.rule("CLOSE-13", "SEND-17")
def test_an_unanswered_message_is_undecided_across_a_close() -> None:
    bench = LinkBench()
    command = bench.send()
    bench.closed(1006)
    assert command not in bench.results
    bench.online_again()
    first, second = bench.uplinks("message.send")
    assert first["payload"] == second["payload"]
    bench.ack(second)
    assert isinstance(bench.results[command], Receipt)


@pytest.mark.rule("CLOSE-13")
def test_stop_tells_which_messages_may_have_arrived() -> None:
    bench = LinkBench()
    sent = bench.send(message_id="msg-sent")
    bench.closed(1006)
    queued = bench.send(message_id="msg-queued")
    bench.stop()
    assert bench.results[sent] == StoppedResult("msg-sent", True)
    assert bench.results[queued] == StoppedResult("msg-queued", False)


# --- frames and commands while closing -----------------------------------------------------------------------------


@pytest.mark.rule("CLOSE-12", "SEND-15")
def test_while_closing_answers_and_messages_still_count_but_nothing_is_sent() -> None:
    bench = LinkBench(grant="v2")
    bench.answers_close = False
    command = bench.send()
    bench.stamped("message.unknown", {})
    bench.run_until_refresh()
    bench.reply(rotated(jwt("a2", issued_ms=bench.now.wall_ms)))
    command = bench.send()
    assert isinstance(bench.state.link.phase, Closing)
    before = len(bench.uplinks())
    bench.message("msg-1")
    bench.settle(bench.delivered()[0][1])
    bench.type()
    bench.run_for(1_000)
    assert len(bench.uplinks()) == before
    bench.step(Closed(1, 1000))
    assert [one["event"] for one in bench.uplinks()[before:]] == ["connect", "message.send", "typing.update"]
    assert command not in bench.results


@pytest.mark.rule("SEND-15")
def test_an_ack_that_arrives_while_closing_is_taken() -> None:
    bench = LinkBench()
    bench.answers_close = False
    bench.run_until_refresh()
    command = bench.send()
    bench.reply(rotated(jwt("a2", issued_ms=bench.now.wall_ms)))
    bench.ack(bench.uplinks("message.send")[0])
    assert isinstance(bench.results[command], Receipt)


@pytest.mark.rule("R2-7")
def test_a_broken_count_while_closing_changes_nothing() -> None:
    bench = LinkBench(grant="v2")
    bench.answers_close = False
    bench.message("msg-1", dseq=5)
    assert len(closing(bench.effects)) == 1
    assert bench.message("msg-2", dseq=9) == ()
    assert not bench.delivered()


@pytest.mark.rule("HS-21")
def test_after_the_close_nothing_of_that_socket_counts() -> None:
    bench = LinkBench()
    bench.closed(1006)
    assert bench.step(FrameReceived(1, frame("message.send", {"message_id": "m"}))) == ()
    assert bench.step(Closed(1, 4001)) == ()


def test_a_send_after_stop_is_refused_and_a_second_stop_does_nothing() -> None:
    bench = LinkBench()
    bench.stop()
    command = bench.send()
    assert bench.results[command] == StoppedResult()
    assert bench.stop() == ()


@pytest.mark.rule("CLOSE-12", "REF-32")
@pytest.mark.parametrize(
    ("stage", "ends"),
    [
        ("down", []),
        ("opening", [Abort(1)]),
        ("waiting", [Close(1, 1000, "session ended")]),
        ("greeting", [Close(1, 1000, "session ended")]),
        ("closing", []),
    ],
)
def test_stop_ends_the_session_from_every_phase(stage: str, ends: list[Effect]) -> None:
    bench = LinkBench(greet=stage == "closing")
    bench.answers_close = False
    match stage:
        case "down":
            bench.closed(1006)
        case "waiting":
            bench.step(bench.opened())
        case "greeting":
            bench.challenge_now()
        case "closing":
            bench.message("msg-1")
            bench.run_until_refresh()
            bench.reply(rotated(jwt("a2", issued_ms=bench.now.wall_ms)))
        case _:
            pass
    assert closing(bench.stop()) == ends
    bench.run_for(5_000)
    assert isinstance(bench.state.link.phase, Ended)
    sockets = bench.sockets()
    bench.run_for(600_000)
    assert bench.sockets() == sockets and bench.deadline is None


@pytest.mark.rule("CLOSE-12", "REF-26")
def test_stopped_while_the_socket_is_changed_nothing_begins_anew_and_nothing_takes_longer() -> None:
    bench = LinkBench()
    bench.answers_close = False
    bench.run_until_refresh()
    bench.reply(rotated(jwt("a2", issued_ms=bench.now.wall_ms)))
    bench.run_for(3_000)
    assert bench.stop() == ()
    assert of(bench.run_for(2_000), Abort) == [Abort(1)]
    assert bench.told(Disconnected) == [Disconnected(None, "token rotated", None, planned=True)]


@pytest.mark.rule("OUT-7", "CLOSE-12")
def test_a_logout_closes_the_socket_in_good_order() -> None:
    bench = LinkBench(grant="v2")
    bench.type()
    bench.message("msg-1")
    bench.settle(bench.delivered()[0][1])
    bench.refresh()
    begin = len(bench.effects)
    bench.reply(REFUSED)
    ended: list[Effect] = bench.effects[begin:]
    assert sorted(one["event"] for one in bench.uplinks(effects=ended)) == ["message.sync_ack", "typing.update"]
    assert of(ended, Close)
    bench.run_for(600_000)
    assert bench.sockets() == 1


def test_disconnections_name_their_delay() -> None:
    bench = LinkBench(policy=Policy(reconnect_jitter=0.0))
    bench.closed(1006, "r" * 1_000)
    (told,) = bench.told(Disconnected)
    assert (told.code, told.retry_in_ms, told.planned, len(told.reason)) == (1006, 5_000, False, 200)


@pytest.mark.rule("HB-6", "REF-26", "CLOSE-12")
@pytest.mark.parametrize(
    ("why", "told"),
    [
        ("silence", Disconnected(1000, "no sign of life", 500)),
        ("rotation", Disconnected(1000, "token rotated", 0, planned=True)),
        ("stop", Disconnected(1000, "session ended", None, planned=True)),
    ],
)
def test_disconnections_of_our_own_say_why_and_whether_they_are_trouble(why: str, told: Disconnected) -> None:
    bench = LinkBench(policy=Policy(reconnect_jitter=0.0))
    match why:
        case "silence":
            bench.answers_pings = False
            bench.run_for(40_000)
        case "rotation":
            bench.run_until_refresh()
            bench.reply(rotated(jwt("a2", issued_ms=bench.now.wall_ms)))
        case _:
            bench.stop()
    assert bench.told(Disconnected) == [told]


@pytest.mark.rule("CLOSE-6")
def test_no_list_of_missed_messages_is_kept() -> None:
    bench = LinkBench(grant="v2", capabilities=Capabilities())
    bench.message("msg-1")
    bench.message("msg-2")
    bench.closed(1006)
    bench.online_again()
    assert [one["event"] for one in bench.uplinks()] == ["connect", "connect"]


def test_a_late_answer_to_a_message_told_stopped_changes_nothing() -> None:
    bench = LinkBench()
    bench.answers_close = False
    command = bench.command()
    bench.step(Send(command, CHAT, TEXT))
    uplink = bench.uplinks("message.send")[0]
    bench.stop()
    bench.ack(uplink)
    assert isinstance(bench.results[command], StoppedResult) and not bench.told(SendSettled)
