"""Sends: minted once, bounded, queued while there is no socket."""

import json
import re
import sys
from types import FrameType

import pytest

from clawproto.effects import SendFrame
from clawproto.events import Send, Start
from clawproto.json_types import Json
from clawproto.policy import Policy
from clawproto.results import (
    LoggedOutResult,
    NotPaired,
    SendDropped,
    SendRejected,
    SendUndecided,
)
from clawproto.session import step
from tests.core.harness import REFUSED
from tests.core.link_harness import CHAT, OTHER_CHAT, TEXT, LinkBench, sent_ids

MINTED = re.compile(r"\Amsg-[0-7][0-9A-HJKMNP-TV-Z]{25}\Z")
RESEND = Policy(retransmit_after_timeout=True)


# --- what goes out -------------------------------------------------------------------------------------------------


@pytest.mark.rule("SEND-1", "SEND-2", "SEND-3", "SEND-6", "ENV-2", "LEGACY-4")
def test_the_smallest_message() -> None:
    bench = LinkBench()
    bench.send()
    (uplink,) = bench.uplinks("message.send")
    payload = uplink.pop("payload")
    assert uplink.keys() == {"version", "event", "trace_id", "emitted_at", "chat_id"}
    assert uplink["version"] == "2" and uplink["chat_id"] == CHAT and uplink["emitted_at"] == bench.now.wall_ms
    assert MINTED.match(payload.pop("message_id"))
    assert payload == {
        "message_mode": "normal",
        "message": {
            "body": {"fragments": [{"kind": "text", "text": "hello"}]},
            "context": {"mentions": [], "reply": None},
        },
    }


@pytest.mark.rule("SEND-4", "ENV-5")
def test_a_reply_says_what_it_answers_and_passes_the_display_hint_on() -> None:
    bench = LinkBench()
    preview: dict[str, Json] = {"id": "usr_a", "nick_name": "A", "fragments": [{"kind": "text", "text": "q"}]}
    reply: dict[str, Json] = {"reply_to_msg_id": "msg-q", "reply_preview": preview}
    bench.send(reply=reply, to={"id": CHAT, "type": "group"}, mode="thinking")
    (uplink,) = bench.uplinks("message.reply")
    assert uplink["payload"]["message"]["context"]["reply"] == reply
    assert uplink["to"] == {"id": CHAT, "type": "group"}
    assert uplink["payload"]["message_mode"] == "thinking"


@pytest.mark.rule("SEND-5", "SEND-6")
def test_every_send_gets_an_id_of_its_own_ascending_in_time() -> None:
    bench = LinkBench()
    for _ in range(50):
        bench.send()
        bench.pass_time(1)
    ids = sent_ids(bench)
    assert all(MINTED.match(one) for one in ids)
    assert sorted(set(ids)) == ids


@pytest.mark.rule("ENV-6")
def test_every_uplink_has_a_trace_id_of_its_own() -> None:
    bench = LinkBench(grant="v2")
    for _ in range(5):
        bench.send()
        bench.type()
        bench.message(f"msg-{bench.dseq}")
        bench.settle(bench.delivered()[-1][1])
        bench.run_for(40_000)
    traces = [one["trace_id"] for one in bench.uplinks()]
    assert all(traces) and len(set(traces)) == len(traces) > 20


@pytest.mark.rule("LIM-6", "LIM-4")
@pytest.mark.parametrize(
    ("message_id", "accepted"), [("x", True), ("ä" * 256, True), ("x" * 512, True), ("ä" * 257, False)]
)
def test_an_id_of_the_caller_may_have_512_bytes(message_id: str, accepted: bool) -> None:
    bench = LinkBench()
    command = bench.send(message_id=message_id)
    assert sent_ids(bench) == ([message_id] if accepted else [])
    assert (command in bench.results) is not accepted


@pytest.mark.rule("LIM-3")
@pytest.mark.parametrize("where", ["text", "to", "metadata-like fragment"])
def test_too_large_a_message_is_refused_locally(where: str) -> None:
    bench = LinkBench()
    much = "x" * 900_001
    match where:
        case "text":
            command = bench.send(fragments=({"kind": "text", "text": much},))
        case "to":
            command = bench.send(to={"id": much, "type": "direct"})
        case _:
            command = bench.send(fragments=(*TEXT, {"kind": "later", "data": {"x": much}}))
    result = bench.results[command]
    assert isinstance(result, SendRejected) and result.code == "frame_too_large"
    assert sent_ids(bench) == []


@pytest.mark.rule("LIM-3")
def test_the_limit_is_counted_in_bytes_and_is_a_setting() -> None:
    bench = LinkBench(policy=Policy(frame_limit=1_000))
    assert bench.send(fragments=({"kind": "text", "text": "ä" * 600},)) in bench.results
    assert bench.send(fragments=({"kind": "text", "text": "a" * 600},)) not in bench.results


@pytest.mark.rule("LIM-3")
@pytest.mark.parametrize("to", [None, {"id": CHAT, "type": "group"}])
def test_the_limit_is_exact_and_holds_for_payload_and_routing_together(to: dict[str, Json] | None) -> None:
    bench = LinkBench()
    bench.send(message_id="msg-a", fragments=({"kind": "text", "text": "ü"},), to=to)
    (uplink,) = bench.uplinks("message.send")
    parts = [json.dumps(one, ensure_ascii=False, separators=(",", ":")) for one in (uplink["payload"], to) if one]
    size = len("".join((*parts, CHAT)).encode())
    for limit in (size, size - 1):
        bench = LinkBench(policy=Policy(frame_limit=limit))
        command = bench.send(message_id="msg-a", fragments=({"kind": "text", "text": "ü"},), to=to)
        text = f"{size} bytes, the limit is {size - 1}"
        refused = SendRejected(CHAT, "msg-a", "frame_too_large", text)
        assert bench.results.get(command) == (None if limit == size else refused)


@pytest.mark.rule("LIM-3")
def test_a_message_just_below_the_limit_stays_well_below_the_hubs() -> None:
    bench = LinkBench()
    assert bench.send(fragments=({"kind": "text", "text": "x" * 899_000},)) not in bench.results
    assert len(bench.all(SendFrame)[-1].text.encode()) < 950_000


@pytest.mark.parametrize(
    ("fragments", "problem"),
    [
        (({"text": "no kind"},), "a string kind (FRAG-1)"),
        (({"kind": "text", "text": float("nan")},), "not JSON"),
        (({"kind": "text", "text": object()},), "object is not a JSON value"),
        (({"kind": "text", "text": "t", "delta": "d"},), "has a delta"),
        (({"kind": "later"},), "needs a text fragment next to it"),
        ("text", "the fragments of a message are a list"),
        ({"kind": "text", "text": "t"}, "the fragments of a message are a list"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_no_trace(fragments: object, problem: str) -> None:
    bench = LinkBench()
    outbox = bench.state.outbox
    command = bench.send(fragments=fragments)
    result = bench.results[command]
    assert isinstance(result, SendRejected) and result.code == "unencodable"
    assert result.reason is not None and problem in result.reason
    assert bench.state.outbox == outbox


# --- offline -------------------------------------------------------------------------------------------------------


@pytest.mark.rule("SEND-17", "SEND-5", "HS-9")
def test_after_a_reconnect_everything_unanswered_follows_in_its_order_and_unchanged() -> None:
    bench = LinkBench(greet=False)
    bench.challenge_now()
    bench.hello_now()
    for number in range(4):
        bench.send(message_id=f"msg-{number}", fragments=({"kind": "text", "text": "ü€😀\ud800"},))
    before = {one["payload"]["message_id"]: one["payload"] for one in bench.uplinks("message.send")}
    bench.ack(bench.uplinks("message.send")[1])
    bench.closed(1006)
    bench.send(message_id="msg-late")
    bench.wait_for_socket()
    bench.challenge_now()
    begin = len(sent_ids(bench))
    assert begin == 4  # nothing before hello-ok
    bench.hello_now()
    assert sent_ids(bench)[begin:] == ["msg-0", "msg-2", "msg-3", "msg-late"]
    for uplink in bench.uplinks("message.send")[begin:-1]:
        assert uplink["payload"] == before[uplink["payload"]["message_id"]]


@pytest.mark.rule("SEND-17", "SEND-14")
def test_what_was_told_undecided_is_not_retransmitted_by_itself() -> None:
    bench = LinkBench()
    bench.send()
    bench.run_for(15_000)
    bench.reconnect()
    assert len(sent_ids(bench)) == 1


@pytest.mark.rule("SEND-14", "SEND-13")
def test_retransmission_after_a_reconnect_can_be_switched_off() -> None:
    bench = LinkBench(policy=Policy(retransmit_on_reconnect=False))
    command = bench.send()
    bench.closed(1006)
    bench.run_for(14_999)
    assert command not in bench.results
    bench.run_for(1)
    assert isinstance(bench.results[command], SendUndecided)
    assert len(sent_ids(bench)) == 1


@pytest.mark.rule("SEND-13")
def test_after_a_reconnect_the_deadline_runs_anew() -> None:
    bench = LinkBench()
    command = bench.send()
    bench.run_for(14_000)
    bench.reconnect()
    bench.run_for(14_999)
    assert command not in bench.results
    bench.run_for(1)
    assert isinstance(bench.results[command], SendUndecided)


@pytest.mark.rule("SEND-13", "ERR-10")
def test_of_what_a_gate_holds_back_after_a_reconnect_each_has_a_deadline_of_its_own() -> None:
    bench = LinkBench()
    gated = [bench.send(), bench.send(OTHER_CHAT)]
    for chat_id in (CHAT, OTHER_CHAT):
        bench.down("message.error", {"code": "not_member"}, chat_id=chat_id)
    bench.reconnect()
    bench.run_for(10_000)
    later = bench.send(f"{CHAT}3")
    bench.run_for(4_999)
    assert not bench.results
    bench.run_for(1)
    assert list(bench.results) == gated, "those that began first, and both of them"
    bench.run_for(9_999)
    assert later not in bench.results
    bench.run_for(1)
    assert isinstance(bench.results[later], SendUndecided)


@pytest.mark.rule("SEND-20")
def test_the_offline_queue_drops_the_oldest_and_tells_its_caller() -> None:
    bench = LinkBench(greet=False)
    commands = [bench.send(message_id=f"msg-{number}") for number in range(131)]
    assert [bench.results[one] for one in commands[:3]] == [SendDropped(CHAT, f"msg-{number}") for number in range(3)]
    assert not any(one in bench.results for one in commands[3:])
    bench.challenge_now()
    bench.hello_now()
    assert sent_ids(bench) == [f"msg-{number}" for number in range(3, 131)]


@pytest.mark.rule("SEND-20")
def test_the_queue_may_be_switched_off() -> None:
    bench = LinkBench(greet=False, policy=Policy(offline_queue=0))
    assert isinstance(bench.results[bench.send()], SendDropped)


@pytest.mark.rule("SEND-20", "SEND-17")
def test_what_was_transmitted_once_does_not_count_in_the_queue() -> None:
    bench = LinkBench(policy=Policy(offline_queue=2))
    for number in range(5):
        bench.send(message_id=f"msg-{number}")
    bench.closed(1006)
    bench.send(message_id="msg-5")
    bench.send(message_id="msg-6")
    assert not bench.results
    bench.send(message_id="msg-7")
    assert list(bench.results.values()) == [SendDropped(CHAT, "msg-5")]


@pytest.mark.rule("SEND-20")
def test_typing_is_not_queued() -> None:
    bench = LinkBench(greet=False)
    bench.type()
    bench.type(False)
    bench.challenge_now()
    bench.hello_now()
    assert not bench.uplinks("typing.update")


def test_without_tokens_a_send_fails_at_once() -> None:
    bench = LinkBench(greet=False)
    waiting = bench.send()
    bench.refresh()
    bench.reply(REFUSED)
    assert bench.results[waiting] == LoggedOutResult()
    assert bench.results[bench.send()] == LoggedOutResult()
    unpaired = LinkBench(start=False)
    unpaired.store.record = None
    unpaired.step(Start(None))
    assert unpaired.results[unpaired.send()] == NotPaired()


# --- cost ----------------------------------------------------------------------------------------------------------


def calls_per_send(pending: int) -> int:
    """Python calls that one more send makes when ``pending`` sends wait already."""
    bench = LinkBench(liveness=False, policy=Policy(offline_queue=20_000))
    for number in range(pending):
        bench.state, _ = step(bench.state, Send(10_000 + number, CHAT, TEXT), bench.now)
    count = 0

    def watch(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(watch)
    try:
        step(bench.state, Send(9_999, CHAT, TEXT), bench.now)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.rule("SEND-13")
def test_ten_thousand_pending_sends_stay_cheap() -> None:
    assert calls_per_send(10_000) < 3 * calls_per_send(10)
