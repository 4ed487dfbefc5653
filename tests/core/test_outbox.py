"""Sends: minted once, answered once, transmitted again with the same bytes."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawproto.app_events import AckAnomaly, MessageReceived, SendSettled
from clawproto.effects import SendFrame
from clawproto.events import Closed, Send, Stop
from clawproto.policy import Policy
from clawproto.results import (
    LoggedOutResult,
    NotPaired,
    Receipt,
    SendDropped,
    SendRejected,
    SendUndecided,
    StoppedResult,
)
from tests.core.harness import REFUSED, Bench, credentials, pair
from tests.core.messaging import CHAT, ack, message, online, refuse, says, send, told, type_in, uplinks


def cut(bench: Bench, code: int = 1006) -> None:
    """The transport of the current socket is lost."""
    bench.step(Closed(bench.generation, code))


# --- what goes out -------------------------------------------------------------------------------------------------


@pytest.mark.rule("SEND-1", "SEND-2", "SEND-3", "SEND-5", "SEND-6", "EVT-5")
def test_a_message_goes_out_complete_and_minted() -> None:
    bench = online()
    send(bench, "lunch?")
    (frame,) = uplinks(bench)
    assert re.fullmatch(r"msg-[0-7][0-9A-HJKMNP-TV-Z]{25}", frame["payload"]["message_id"])
    assert frame["payload"]["message_mode"] == "normal"
    assert frame["payload"]["message"] == {
        "body": {"fragments": [{"kind": "text", "text": "lunch?"}]},
        "context": {"mentions": [], "reply": None},
    }
    assert frame["chat_id"] == CHAT
    assert not frame.keys() & {"sender", "chat_type", "origin_device_id", "seq", "dseq"}


@pytest.mark.rule("SEND-4")
def test_a_reply_is_another_event_with_what_it_answers() -> None:
    bench = online()
    preview: dict[str, Any] = {"id": "u-2", "nick_name": "Dora", "fragments": []}
    send(bench, "yes", reply={"reply_to_msg_id": "msg-1", "reply_preview": preview})
    (frame,) = uplinks(bench, "message.reply")
    assert frame["payload"]["message"]["context"]["reply"] == {"reply_to_msg_id": "msg-1", "reply_preview": preview}
    assert uplinks(bench) == []


@pytest.mark.rule("ENV-6")
def test_every_message_has_a_trace_of_its_own_and_keeps_it() -> None:
    bench = online()
    for _ in range(3):
        send(bench)
    cut(bench)
    bench.run_for(6_000)
    traces = [frame["trace_id"] for frame in uplinks(bench)]
    assert len(traces) == 6
    assert traces[:3] == traces[3:]
    assert len(set(traces)) == 3


# --- answers -------------------------------------------------------------------------------------------------------


@pytest.mark.rule("SEND-9", "SEND-11", "SILENT-12")
def test_an_ack_resolves_the_send_as_sent() -> None:
    bench = online()
    command = send(bench)
    assert command not in bench.results
    (frame,) = uplinks(bench)
    ack(bench, frame, accepted_at=77)
    minted = frame["payload"]["message_id"]
    assert bench.results[command] == Receipt(CHAT, minted, 77, minted)
    bench.run_for(60_000)  # and no deadline is left
    assert not [event for event in told(bench) if isinstance(event, SendSettled)]


@pytest.mark.rule("SEND-11", "SEND-12")
def test_the_hubs_id_is_adopted_and_the_difference_reported() -> None:
    bench = online()
    command = send(bench)
    (frame,) = uplinks(bench)
    ack(bench, frame, message_id="msg-of-the-hub")
    minted = frame["payload"]["message_id"]
    assert bench.results[command] == Receipt(CHAT, "msg-of-the-hub", 5, minted)
    assert AckAnomaly(minted, "msg-of-the-hub") in told(bench)


@pytest.mark.rule("SEND-11")
def test_an_ack_is_matched_by_message_id_if_its_trace_is_unknown_and_else_ignored() -> None:
    bench = online()
    command = send(bench)
    (frame,) = uplinks(bench)
    ack(bench, {**frame, "trace_id": "stray"}, message_id="msg-stray")
    assert command not in bench.results
    ack(bench, {**frame, "trace_id": "stray"})
    assert isinstance(bench.results[command], Receipt)


@pytest.mark.rule("SEND-13", "SEND-14")
def test_without_an_answer_a_send_is_undecided_after_its_deadline() -> None:
    bench = online()
    command = send(bench)
    bench.run_for(14_999)
    assert command not in bench.results
    bench.run_for(1)
    (frame,) = uplinks(bench)  # nothing was retransmitted
    assert bench.results[command] == SendUndecided(CHAT, frame["payload"]["message_id"])


@pytest.mark.rule("SEND-15")
@pytest.mark.parametrize(("accepted", "code"), [(True, None), (False, "not_member")])
def test_a_late_answer_still_decides(accepted: bool, code: str | None) -> None:
    bench = online()
    send(bench)
    bench.run_for(20_000)
    (frame,) = uplinks(bench)
    if code is None:
        ack(bench, frame)
    else:
        refuse(bench, frame, code)
    minted = frame["payload"]["message_id"]
    assert SendSettled(CHAT, minted, accepted, code) in told(bench)


@pytest.mark.rule("SEND-16", "ROUTE-6")
def test_an_own_message_in_the_echo_decides_an_undecided_send() -> None:
    bench = online()
    waiting = send(bench, "one")
    (frame,) = uplinks(bench)
    echo = message("one", frame["payload"]["message_id"])
    sender: dict[str, Any] = {"id": "u-1", "type": "direct"}
    says(bench, "message.send", echo, chat_id=CHAT, sender=sender, origin_device_id="lab-01")
    assert bench.results[waiting] == Receipt(CHAT, frame["payload"]["message_id"], None, frame["payload"]["message_id"])
    assert not [event for event in told(bench) if isinstance(event, MessageReceived)]


@pytest.mark.rule("SEND-14", "SEND-15")
def test_with_retransmission_on_the_deadline_transmits_again() -> None:
    bench = online(policy=Policy(retransmit_after_timeout=True))
    command = send(bench)
    bench.run_for(15_000)
    first, second = uplinks(bench)
    assert first["payload"] == second["payload"]
    assert command not in bench.results
    ack(bench, first)  # the answer to any transmission counts, but by the trace of the first one: by message id
    assert isinstance(bench.results[command], Receipt)


# --- reconnects ----------------------------------------------------------------------------------------------------


@pytest.mark.rule("SEND-5", "SEND-17", "CLOSE-13", "HS-9")
def test_after_a_reconnect_undecided_sends_go_first_in_order_with_the_same_bytes() -> None:
    bench = online()
    texts = ["one", "two", "three"]
    commands = [send(bench, text) for text in texts]
    bench.greet = False
    cut(bench)
    queued = send(bench, "four")
    assert not set(commands) & bench.results.keys()
    bench.run_for(6_000)
    before = [effect for effect in bench.all(SendFrame) if effect.event == "message.send"]
    assert len(before) == 3  # nothing without hello-ok
    bench.greet = True
    bench.handshake()
    frames = uplinks(bench)
    assert [frame["payload"] for frame in frames[3:6]] == [frame["payload"] for frame in frames[:3]]
    assert frames[6]["payload"]["message"]["body"]["fragments"][0]["text"] == "four"
    for frame in frames[3:]:
        ack(bench, frame)
    assert all(isinstance(bench.results[command], Receipt) for command in [*commands, queued])


@pytest.mark.rule("SEND-13", "CLOSE-13")
def test_the_deadline_starts_again_with_the_retransmission() -> None:
    bench = online()
    command = send(bench)
    bench.run_for(10_000)
    cut(bench)
    bench.run_for(10_000)
    assert command not in bench.results  # 20 s after the first transmission, at most 5 s after the second
    bench.run_for(15_000)
    assert isinstance(bench.results[command], SendUndecided)


def test_what_was_told_undecided_is_not_transmitted_again() -> None:
    bench = online()
    send(bench)
    bench.run_for(16_000)
    cut(bench)
    bench.run_for(6_000)
    assert len(uplinks(bench)) == 1


@pytest.mark.rule("SEND-5", "SEND-14")
def test_the_application_may_transmit_an_undecided_message_again() -> None:
    bench = online()
    send(bench, "once")
    bench.run_for(16_000)
    (first,) = uplinks(bench)
    again = send(bench, "once", message_id=first["payload"]["message_id"])
    _, second = uplinks(bench)
    assert second["payload"] == first["payload"]
    ack(bench, second)
    assert isinstance(bench.results[again], Receipt)


def test_one_message_id_is_not_sent_twice_at_the_same_time() -> None:
    bench = online()
    first = send(bench, "a", message_id="msg-mine")
    second = send(bench, "b", message_id="msg-mine")
    assert first not in bench.results
    rejected = bench.results[second]
    assert isinstance(rejected, SendRejected) and rejected.code == "duplicate_id"


# --- offline -------------------------------------------------------------------------------------------------------


@pytest.mark.rule("SEND-20", "HS-9")
def test_the_offline_queue_is_bounded_and_drops_the_oldest() -> None:
    bench = Bench(credentials(), greet=False, policy=Policy(offline_queue=3))
    commands = [send(bench, str(number)) for number in range(5)]
    assert [type(bench.results.get(command)) for command in commands[:3]] == [SendDropped, SendDropped, type(None)]
    assert uplinks(bench) == []
    bench.greet = True
    bench.handshake()
    texts = [frame["payload"]["message"]["body"]["fragments"][0]["text"] for frame in uplinks(bench)]
    assert texts == ["2", "3", "4"]


@pytest.mark.rule("SEND-20")
def test_typing_is_not_queued() -> None:
    bench = Bench(credentials(), greet=False)
    type_in(bench)
    bench.greet = True
    bench.handshake()
    assert uplinks(bench, "typing.update") == []


# --- limits --------------------------------------------------------------------------------------------------------


@pytest.mark.rule("LIM-3")
def test_a_message_near_the_hubs_limit_is_refused_here() -> None:
    bench = online()
    command = send(bench, "x" * 900_000)
    rejected = bench.results[command]
    assert isinstance(rejected, SendRejected) and rejected.code == "frame_too_large"
    assert uplinks(bench) == []
    fits = send(bench, "x" * 899_000)
    assert fits not in bench.results
    assert len(uplinks(bench)) == 1


@pytest.mark.rule("LIM-3")
def test_bytes_count_and_not_characters() -> None:
    bench = online()
    rejected = bench.results[send(bench, "é" * 460_000)]
    assert isinstance(rejected, SendRejected) and rejected.code == "frame_too_large"


@pytest.mark.rule("LIM-4", "LIM-6")
def test_ids_up_to_the_limit_are_sent_whatever_their_form() -> None:
    bench = online()
    send(bench, message_id="é" * 256)
    assert len(uplinks(bench)) == 1
    rejected = bench.results[send(bench, message_id="x" * 513)]
    assert isinstance(rejected, SendRejected) and rejected.code == "unencodable"


@pytest.mark.parametrize("bad", [float("nan"), {1, 2}, object()])
def test_what_json_cannot_express_is_rejected_and_nothing_else_happens(bad: Any) -> None:
    bench = online()
    command = bench.command()
    bench.step(Send(command, CHAT, ({"kind": "text", "text": "x", "extra": bad},)))
    rejected = bench.results[command]
    assert isinstance(rejected, SendRejected) and rejected.code == "unencodable"
    assert uplinks(bench) == []


@pytest.mark.rule("ROUTE-7")
@pytest.mark.parametrize("chat_id", ["", "usr_1", "CNV_1", "chat-1"])
def test_a_foreign_chat_id_is_refused_here_unless_switched_off(chat_id: str) -> None:
    bench = online()
    rejected = bench.results[send(bench, chat_id=chat_id)]
    assert isinstance(rejected, SendRejected) and rejected.code == "invalid_chat_id"
    type_in(bench, chat_id)
    assert uplinks(bench, "typing.update") == []
    open_bench = online(policy=Policy(require_chat_prefix=False))
    command = send(open_bench, chat_id=chat_id)
    assert (command in open_bench.results) == (chat_id == "")
    bench.run_for(40_000)
    assert uplinks(bench, "ping")  # frames without the key pass


# --- ends ----------------------------------------------------------------------------------------------------------


@pytest.mark.rule("OUT-11")
def test_a_logout_fails_everything_that_waits() -> None:
    bench = online()
    sent = send(bench)
    bench.refresh()
    bench.reply(REFUSED)
    assert bench.results[sent] == LoggedOutResult()
    assert bench.results[send(bench)] == LoggedOutResult()


def test_a_stop_tells_what_left_and_what_did_not() -> None:
    bench = online()
    sent = send(bench)
    (frame,) = uplinks(bench)
    bench.greet = False
    cut(bench)
    queued = send(bench)
    bench.step(Stop())
    assert bench.results[sent] == StoppedResult(frame["payload"]["message_id"], transmitted=True)
    stopped = bench.results[queued]
    assert isinstance(stopped, StoppedResult) and not stopped.transmitted
    assert bench.results[send(bench)] == StoppedResult()


def test_an_agent_that_was_never_paired_cannot_send() -> None:
    bench = Bench()
    assert bench.results[send(bench)] == NotPaired()


@pytest.mark.rule("OUT-10")
def test_a_send_waits_while_new_credentials_are_needed() -> None:
    bench = Bench(credentials(pair("opaque", refresh=None)), greet=False)
    bench.handshake()
    bench.hello_fail(bench.generation, "authentication failed")
    command = send(bench)
    assert command not in bench.results
    bench.greet = True
    bench.load(credentials(pair("other", refresh=None), generation=2))
    assert len(uplinks(bench)) == 1


# --- any order -----------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(["send", "cut", "wait", "ack", "ack-old", "refuse", "long"]), max_size=25))
def test_every_send_is_decided_exactly_once_whatever_happens(moves: list[str]) -> None:
    bench = online()  # the bench checks the invariants on every step, I9 and I10 among them
    commands: list[int] = []
    for move in moves:
        frames = uplinks(bench)
        match move:
            case "send":
                commands.append(send(bench, f"text {len(commands)}"))
            case "cut":
                if bench.state.connected:
                    cut(bench)
            case "wait":
                bench.run_for(1_000)
            case "long":
                bench.run_for(30_000)
            case _ if not frames or not bench.state.connected:
                pass
            case "ack":
                ack(bench, frames[-1])
            case "ack-old":
                ack(bench, frames[0])
            case "refuse":
                refuse(bench, frames[-1], "bad_request")
            case _:
                pass
    bench.run_for(120_000)
    assert set(commands) <= bench.results.keys()
