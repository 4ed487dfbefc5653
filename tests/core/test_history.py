"""History between devices, its end at the hub, the reset of the cursor, and the capability set."""

import re

import pytest

from clawproto.app_events import (
    Disconnected,
    HistoryReceived,
    HistoryTruncated,
    MessageRecalled,
    PermissionDecided,
    ReactionChanged,
    SignalReceived,
)
from clawproto.config import Capabilities, Features
from clawproto.credentials import Credentials
from clawproto.effects import Close, Emit, Open, SendFrame
from clawproto.events import Opened, Refresh, ResetCursor, TransferHistory
from clawproto.json_types import Json
from clawproto.policy import Policy
from clawproto.results import Done, LoggedOutResult, NotDone, Result, StoppedResult
from tests.core.harness import of, verdict
from tests.core.link_harness import CHAT, SENDER, LinkBench, acks, message_payload, received_ids, v2

ON = Capabilities(history_sync=True)


def transfer(bench: LinkBench, target: str = "phone", **more: object) -> Result:
    command = bench.command()
    data: dict[str, Json] = {"messages": [1]}
    bench.step(TransferHistory(command, target, "history_sync_message", data, **more))  # type: ignore[arg-type]
    return bench.results[command]


@pytest.mark.rule("HIST-3", "ENV-2", "ENV-10")
def test_the_one_uplink_that_names_its_sender_and_device() -> None:
    bench = LinkBench(capabilities=ON)
    assert transfer(bench, ciphertext_fragments=({"c": "x"},)) == Done()
    (sent,) = bench.uplinks("history.transit")
    credentials = bench.state.tokens.credentials
    assert credentials is not None
    assert sent["sender"] == {"id": credentials.identity.user_id, "type": "direct"}
    assert sent["origin_device_id"] == bench.state.link.device_id
    assert (sent["target_device_id"], sent["ciphertext_fragments"]) == ("phone", [{"c": "x"}])
    assert sent["payload"] == {"kind": "history_sync_message", "messages": [1]}
    assert "chat_id" not in sent and "to" not in sent


@pytest.mark.rule("HIST-3", "HS-7", "ENV-10")
def test_it_names_the_device_that_the_hub_has_resolved_and_the_moment() -> None:
    bench = LinkBench(capabilities=ON, greet=False)
    bench.challenge_now()
    bench.hello_now(device_id="dev-9")
    bench.pass_time(1_234)
    assert transfer(bench) == Done()
    (sent,) = bench.uplinks("history.transit")
    assert (sent["origin_device_id"], sent["emitted_at"]) == ("dev-9", bench.now.wall_ms)
    assert re.fullmatch("h-[0-9A-Z]{26}", sent["trace_id"])


@pytest.mark.rule("HIST-3", "LIM-3")
@pytest.mark.parametrize("lacking", [0, 1])
def test_a_piece_may_be_as_long_as_a_frame(lacking: int) -> None:
    piece = TransferHistory(1, "phone", "history_sync_message", {"text": "é" * 1_000})
    bench = LinkBench(capabilities=ON)
    bench.step(piece)
    (sent,) = [one for one in bench.all(SendFrame) if one.event == "history.transit"]
    size = len(sent.text.encode())
    bench = LinkBench(capabilities=ON, policy=Policy(frame_limit=size - lacking))
    bench.step(piece)
    refused = NotDone("frame_too_large", f"{size} bytes, the limit is {size - 1}")
    assert bench.results[1] == (refused if lacking else Done())
    assert len(bench.uplinks("history.transit")) == 1 - lacking


@pytest.mark.rule("HIST-1", "CAP-1")
def test_nothing_is_sent_without_the_capability() -> None:
    bench = LinkBench()
    result = transfer(bench)
    assert isinstance(result, NotDone) and result.code == "capability-off"
    assert not bench.uplinks("history.transit")


def test_what_cannot_be_passed_on() -> None:
    bench = LinkBench(capabilities=ON, policy=Policy(frame_limit=2_000))
    for target, data, code, why in (
        ("", {}, "unencodable", "needs a target device"),
        ("phone", {"kind": "another"}, "unencodable", "names another kind"),
        ("phone", {"x": float("nan")}, "unencodable", "JSON"),
        ("phone", {"x": "y" * 2_000}, "frame_too_large", "the limit is 2000"),
    ):
        command = bench.command()
        bench.step(TransferHistory(command, target, "history_sync_done", data))
        result = bench.results[command]
        assert isinstance(result, NotDone) and result.code == code and why in result.text
    bench.closed(1006)
    result = transfer(bench)
    assert isinstance(result, NotDone) and result.code == "offline"
    bench.stop()
    assert isinstance(transfer(bench), StoppedResult)


@pytest.mark.rule("HIST-8", "HIST-7", "CAP-6")
@pytest.mark.parametrize(
    "kind",
    [
        "history_sync_request",
        "history_sync_message",
        "history_sync_progress",
        "history_sync_done",
        "history_sync_cancel",
        "a_later_kind",
        None,
        7,
    ],
)
@pytest.mark.parametrize("sender", [{"id": "usr_1", "type": 7, "nick_name": []}, None, "x", {"type": "direct"}])
def test_whatever_another_device_sends_is_passed_on(kind: Json, sender: Json) -> None:
    bench = v2()
    cipher: Json = [{"c": "x"}, None, 7]
    effects = bench.stamped("history.transit", {"kind": kind, "n": 1}, sender=sender, ciphertext_fragments=cipher)
    (emit,) = of(effects, Emit)
    event = emit.event
    assert isinstance(event, HistoryReceived)
    assert event.kind == (kind if isinstance(kind, str) else None)
    assert event.data == {"kind": kind, "n": 1} and event.ciphertext_fragments == cipher
    bench.settle(emit.delivery)
    bench.run_for(200)
    assert acks(bench) == [1]


@pytest.mark.rule("CAP-6")
def test_ciphertext_of_a_message_is_carried_through() -> None:
    bench = LinkBench()
    bench.message("msg-1", ciphertext_fragments=[{"device": "a", "c": "x"}])
    assert bench.delivered()[0][0].ciphertext_fragments == [{"device": "a", "c": "x"}]
    assert "e2ee" not in Features(own_devices=True, history=True).capabilities.flags


@pytest.mark.rule("HIST-12")
def test_a_truncation_is_a_boundary_and_the_replay_goes_on() -> None:
    bench = v2()
    bench.down("history.truncated", {"oldest_seq": 7})
    bench.down("history.truncated", {})
    bench.message("msg-1")
    assert bench.told(HistoryTruncated) == [HistoryTruncated(7), HistoryTruncated(None)]
    assert received_ids(bench) == ["msg-1"]


# --- the cursor ----------------------------------------------------------------------------------------------------


def reset(bench: LinkBench) -> int:
    command = bench.command()
    bench.step(ResetCursor(command))
    return command


@pytest.mark.rule("HIST-14", "HIST-16", "R2-3")
@pytest.mark.parametrize("code", [1000, 1005, 1006])
def test_the_close_is_the_confirmation_and_everything_is_wanted_again(code: int) -> None:
    bench = v2()
    bench.message("msg-1")
    bench.settle(bench.delivered()[0][1])
    command = reset(bench)
    (sent,) = bench.uplinks("device.cursor.reset")
    assert sent["payload"] == {} and not {"chat_id", "to", "sender"} & set(sent)
    assert command not in bench.results
    bench.closed(code)
    assert bench.results[command] == Done()
    (told,) = bench.told(Disconnected)
    assert told.retry_in_ms is not None and told.retry_in_ms < 1_000, "a close that was asked for has no floor"
    assert bench.online_again() < 1_000
    connects = [one["payload"]["device_id"] for one in bench.uplinks("connect")]
    assert connects[0] == connects[1]
    bench.message("msg-1")
    assert received_ids(bench) == ["msg-1", "msg-1"], "handed over again, counted from 1"
    bench.settle(bench.delivered()[-1][1])
    bench.run_for(200)
    assert acks(bench)[-1] == 1


@pytest.mark.rule("HIST-14", "NOTIFY-2", "RECALL-1", "PERM-9", "RPL-5")
def test_what_counts_once_counts_once_after_a_reset_as_well() -> None:
    """Messages and reactions are handed over again; signals and decisions are not, and nothing withdrawn comes back."""
    bench = v2()

    def everything() -> None:
        bench.message("msg-kept")
        bench.message("msg-withdrawn")
        bench.stamped("message.reaction", {"target_message_id": "msg-kept", "emoji": "👍"}, chat_id=CHAT, sender=SENDER)
        bench.stamped("notify.signal", {"type": "friend.added", "entity_id": "usr_1", "event_id": "ev-1"})
        notice = message_payload("msg-notice", metadata={"kind": "permission_result", "request_id": "req-1"})
        bench.stamped("message.send", notice, chat_id=CHAT, sender={"id": "system"})

    everything()
    bench.down("message.recall", {"target_message_id": "msg-withdrawn"}, chat_id=CHAT, sender=SENDER)
    reset(bench)
    bench.closed(1005)
    bench.online_again()
    everything()
    assert received_ids(bench) == ["msg-kept", "msg-withdrawn", "msg-notice", "msg-kept", "msg-notice"]
    for event, times in ((ReactionChanged, 2), (SignalReceived, 1), (PermissionDecided, 1), (MessageRecalled, 1)):
        assert len(bench.told(event)) == times


@pytest.mark.rule("HIST-14", "HIST-16")
@pytest.mark.parametrize("phase", ["opening", "waiting", "greeting", "closing", "down"])
def test_a_reset_is_refused_while_there_is_no_connection(phase: str) -> None:
    bench = v2()
    if phase == "closing":
        bench.answers_close = False
        bench.down("message.send", {}, dseq=9)  # a gap: the session closes
    else:
        bench.closed(1006)
    if phase not in ("closing", "down"):
        bench.greet = False
        bench.wait_for_socket()
        if phase != "opening":
            bench.step(Opened(bench.generation))
        if phase == "greeting":
            bench.step(bench.challenge(bench.generation))
    assert type(bench.state.link.phase).__name__.lower() == phase
    result = bench.results[reset(bench)]
    assert isinstance(result, NotDone) and result.code == "offline"
    assert not bench.uplinks("device.cursor.reset")


@pytest.mark.rule("HIST-15", "HIST-16")
def test_our_own_close_ends_the_wait_and_a_late_close_confirms_nothing() -> None:
    bench = v2()
    bench.message("msg-1")
    bench.answers_close = False
    command = reset(bench)
    bench.down("message.send", {}, dseq=9)
    result = bench.results[command]
    assert isinstance(result, NotDone) and result.code == "no-answer"
    bench.closed(1005)
    bench.online_again()
    bench.message("msg-1")
    assert received_ids(bench) == ["msg-1"]
    late = reset(bench)
    bench.run_for(10_000)
    assert isinstance(bench.results[late], NotDone)
    bench.closed(1005)
    (told,) = bench.told(Disconnected)[-1:]
    assert told.retry_in_ms is not None and told.retry_in_ms >= 5_000, "unexplained by then (CLOSE-5)"


@pytest.mark.rule("HIST-15", "HIST-14")
def test_without_a_close_it_may_be_tried_again() -> None:
    bench = v2()
    command, joined = reset(bench), reset(bench)
    assert len(bench.uplinks("device.cursor.reset")) == 1, "one at a time"
    bench.run_for(9_999)
    assert not {command, joined} & bench.results.keys()
    bench.run_for(1)
    for one in (command, joined):
        result = bench.results[one]
        assert isinstance(result, NotDone) and result.code == "no-answer"
    assert bench.online and bench.state.reset is None
    again = reset(bench)
    bench.closed(1005)
    assert bench.results[again] == Done()


@pytest.mark.rule("HIST-14")
@pytest.mark.parametrize("code", [1009, 1011, 4001])
def test_a_close_for_another_reason_confirms_nothing(code: int) -> None:
    bench = v2()
    bench.message("msg-1")
    command = reset(bench)
    bench.closed(code, "other")
    result = bench.results[command]
    assert isinstance(result, NotDone) and result.code == "no-answer"
    bench.online_again()
    bench.message("msg-1")
    assert received_ids(bench) == ["msg-1"]


def test_a_reset_needs_a_connection_and_ends_with_the_session() -> None:
    bench = v2()
    bench.closed(1006)
    result = bench.results[reset(bench)]
    assert isinstance(result, NotDone) and result.code == "offline"
    bench.online_again()
    command = reset(bench)
    bench.stop()
    assert bench.results[command] == StoppedResult()
    other = v2()
    other.run_until_refresh()
    pending = reset(other)
    other.reply(verdict(10003))
    assert isinstance(other.results[pending], NotDone | LoggedOutResult)


@pytest.mark.rule("OUT-11", "HIST-15")
def test_a_logout_by_another_process_ends_the_wait_with_the_logout_as_its_cause() -> None:
    bench = v2()
    waiting, joined = reset(bench), reset(bench)
    record = bench.store.record
    assert record is not None
    bench.store.record = Credentials(record.identity, None, record.generation + 1, refused="digest")
    bench.step(Refresh(bench.command()))
    assert bench.results[waiting] == bench.results[joined] == LoggedOutResult()
    assert bench.state.reset is None and len(bench.all(Close)) == 1


@pytest.mark.rule("HIST-16")
def test_nothing_resets_the_cursor_by_itself() -> None:
    bench = v2()
    bench.liveness = False
    for _ in range(5):
        bench.reconnect()
        bench.run_for(60_000)
    assert not bench.uplinks("device.cursor.reset")
    assert len(bench.all(Open)) == 6


# --- capabilities --------------------------------------------------------------------------------------------------


@pytest.mark.rule("CAP-1", "CAP-2", "CAP-7")
def test_capabilities_follow_from_what_is_turned_on() -> None:
    always = {"device_replay": True}
    reliable = {"reliable_delivery": True, "reliable_delivery_v2": True}
    assert Features().capabilities.flags == always | reliable
    assert Features(delivery="v1").capabilities.flags == always | {"reliable_delivery": True}
    assert Features(delivery="legacy").capabilities.flags == always
    for features, flag in (
        (Features(receipts=True), "delivery_receipt"),
        (Features(own_devices=True), "multi_device"),
        (Features(metadata=True), "chat_meta_events"),
        (Features(signals=True), "notify_signals"),
        (Features(permissions=True), "permission_events"),
        (Features(history=True), "history_sync"),
    ):
        assert features.capabilities.flags == always | reliable | {flag: True}
    user_facing = Features(own_devices=True, metadata=True, receipts=True).capabilities.flags
    assert {"multi_device", "device_replay", "chat_meta_events", "delivery_receipt"} <= user_facing.keys()


def test_a_transit_leaves_the_chats_alone() -> None:
    bench = v2()
    bench.stamped("history.transit", {"kind": "history_sync_request"}, chat_id=CHAT)
    assert not bench.delivered()
