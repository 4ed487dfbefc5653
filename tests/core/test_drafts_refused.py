"""Streams of ours that are refused, gated or broken: what is said about them, and that nothing is said twice."""

from typing import Any

import pytest

from clawproto.drafts import ROOM
from clawproto.events import FailStream, MarkRead
from clawproto.json_types import Json
from clawproto.policy import Policy
from clawproto.results import Done, Result, SendGated, SendRejected, StreamEnded, StreamOpened
from tests.core.link_harness import CHAT, OTHER_CHAT, LinkBench
from tests.core.test_drafts import append, begin, events, finish, opened, pieces

NOT_MEMBER: dict[str, Json] = {"code": "not_member"}


def close_way(bench: LinkBench) -> None:
    """The hub refuses something in the chat, so that nothing more may go there for a while."""
    bench.down("message.error", NOT_MEMBER, chat_id=CHAT)


def open_way(bench: LinkBench) -> None:
    bench.message("msg-sign-of-life")


def refusal(result: Result) -> tuple[str, str | None, str]:
    """What was refused and why; a person is always told more about it."""
    assert isinstance(result, SendRejected) and result.reason and result.reason != "None"
    return result.chat_id, result.message_id, result.code


def is_forgotten(bench: LinkBench, message_id: str) -> bool:
    """Whether the id is free again. Asked offline, so that nothing is written under it."""
    bench.closed(1006)
    return begin(bench, message_id=message_id) == StreamOpened(CHAT, message_id)


# --- what cannot begin, or go on -----------------------------------------------------------------------------------


@pytest.mark.rule("ROUTE-7", "SEND-4")
@pytest.mark.parametrize(
    ("chat_id", "message_id", "more", "code"),
    [
        ("chat-1", "msg-1", {}, "invalid_chat_id"),
        (CHAT, "msg-open", {}, "duplicate_id"),
        (CHAT, "x" * 513, {}, "unencodable"),
        (CHAT, "ü" * 257, {}, "unencodable"),
        (CHAT, "a\0b", {}, "unencodable"),
        (CHAT, "msg-1", {"to": {"id": float("nan")}}, "unencodable"),
    ],
    ids=str,
)
def test_what_cannot_begin_is_refused_by_name(chat_id: str, message_id: str, more: dict[str, Any], code: str) -> None:
    bench = LinkBench()
    opened(bench, message_id="msg-open")
    assert refusal(begin(bench, chat_id, message_id=message_id, **more)) == (chat_id, message_id, code)
    assert events(bench) == ["created"]


@pytest.mark.rule("SEND-4")
@pytest.mark.parametrize("message_id", ["x" * 512, "ü" * 256])
def test_the_longest_id_is_one(message_id: str) -> None:
    assert begin(LinkBench(), message_id=message_id) == StreamOpened(CHAT, message_id)


@pytest.mark.rule("ERR-10")
def test_a_gated_stream_says_when_the_way_is_open_again() -> None:
    bench = LinkBench(policy=Policy(gate_ms=60_000))
    close_way(bench)
    assert begin(bench) == SendGated(CHAT, "not_member", 60_000)
    bench.run_for(59_999)
    assert begin(bench) == SendGated(CHAT, "not_member", 1)
    assert isinstance(begin(bench, OTHER_CHAT), StreamOpened)
    bench.run_for(1)
    assert isinstance(begin(bench), StreamOpened)


def test_streams_that_nobody_knows_are_refused_by_name() -> None:
    bench = LinkBench()
    for result in (append(bench, "msg-never", "a"), bench.results[finish(bench, "msg-never")]):
        assert refusal(result) == ("", "msg-never", "unknown_stream")


@pytest.mark.rule("STREAM-8", "ERR-2")
def test_what_the_hub_refused_is_told_by_its_end_and_then_forgotten() -> None:
    bench = LinkBench()
    message_id = opened(bench)
    bench.refuse(pieces(bench)[0], "bad_request", reason="no")
    refused = SendRejected(CHAT, message_id, "bad_request", "no")
    assert append(bench, message_id, "a") == bench.results[finish(bench, message_id)] == refused
    assert is_forgotten(bench, message_id) and events(bench) == ["created"]


@pytest.mark.rule("STREAM-8")
def test_what_the_hub_refused_is_forgotten_when_it_is_given_up() -> None:
    bench = LinkBench()
    message_id = opened(bench)
    bench.refuse(pieces(bench)[0], "bad_request")
    bench.step(FailStream(message_id))
    assert is_forgotten(bench, message_id) and events(bench) == ["created"]


@pytest.mark.rule("LIM-3")
def test_the_longest_text_that_fits_twice_into_a_frame() -> None:
    bench = LinkBench(policy=Policy(frame_limit=ROOM + 2 * 9_000))
    message_id, other = opened(bench), opened(bench)
    assert append(bench, message_id, "x" * 9_000) == Done()
    assert append(bench, other, "x" * 8_999) == append(bench, other, "x") == Done()
    result = append(bench, other, "x")
    assert refusal(result) == (CHAT, other, "frame_too_large")
    assert isinstance(result, SendRejected) and f"{ROOM + 18_000} bytes" in (result.reason or "")


@pytest.mark.rule("STREAM-5", "STREAM-2")
@pytest.mark.parametrize(("texts", "sequence"), [([], 0), (["a"], 0), (["a", "b"], 1)])
def test_the_end_has_the_number_of_the_last_piece(texts: list[str], sequence: int) -> None:
    bench = LinkBench(policy=Policy(stream_interval_ms=0))
    message_id = opened(bench)
    for text in texts:
        append(bench, message_id, text)
    finish(bench, message_id)
    assert pieces(bench)[-1]["payload"]["streaming"]["sequence"] == sequence


# --- the end of a stream in a gated chat ---------------------------------------------------------------------------


@pytest.mark.rule("ERR-10", "STREAM-2")
@pytest.mark.parametrize("end", ["finish", "fail", "stop"])
def test_the_end_of_a_gated_stream_is_not_written(end: str) -> None:
    bench = LinkBench()
    message_id = opened(bench)
    append(bench, message_id, "a")
    close_way(bench)
    if end == "finish":
        assert bench.results[finish(bench, message_id)] == StreamEnded(CHAT, message_id, complete=False)
    elif end == "fail":
        bench.step(FailStream(message_id))
    else:
        bench.stop()
    assert events(bench) == ["created", "add"]


@pytest.mark.rule("ERR-10", "STREAM-2", "STREAM-8")
@pytest.mark.parametrize("gated", [False, True])
def test_a_stream_that_ended_gated_is_failed_with_the_next_connection_if_the_way_is_open(gated: bool) -> None:
    bench = LinkBench()
    message_id = opened(bench)
    append(bench, message_id, "a")
    close_way(bench)
    finish(bench, message_id)
    bench.run_for(1_000)
    bench.step(MarkRead(OTHER_CHAT, 5))
    if not gated:
        open_way(bench)
        bench.run_for(1_000)
    assert events(bench) == ["created", "add"]
    bench.reconnect()
    bench.reconnect()
    assert events(bench) == ["created", "add"] + ([] if gated else ["failed"])
    open_way(bench)
    assert is_forgotten(bench, message_id)


@pytest.mark.rule("ERR-10", "STREAM-2")
@pytest.mark.parametrize("gated", [False, True])
def test_a_stream_that_ended_gated_is_failed_at_the_end_of_the_session_if_the_way_is_open(gated: bool) -> None:
    bench = LinkBench()
    message_id = opened(bench)
    append(bench, message_id, "a")
    close_way(bench)
    finish(bench, message_id)
    if not gated:
        open_way(bench)
    bench.stop()
    assert events(bench) == ["created", "add"] + ([] if gated else ["failed"])


@pytest.mark.rule("STREAM-8")
def test_what_the_hub_has_failed_itself_is_not_failed_once_more() -> None:
    bench = LinkBench()
    message_id = opened(bench)
    close_way(bench)
    finish(bench, message_id)
    open_way(bench)
    bench.down("message.failed", {"message_id": message_id}, chat_id=CHAT)
    assert is_forgotten(bench, message_id) and events(bench) == ["created"]


# --- the next connection -------------------------------------------------------------------------------------------


@pytest.mark.rule("STREAM-8")
def test_a_refused_stream_is_not_failed_by_the_next_connection() -> None:
    bench = LinkBench()
    opened(bench)
    bench.refuse(pieces(bench)[0], "bad_request")
    bench.reconnect()
    assert events(bench) == ["created"]


@pytest.mark.rule("STREAM-8", "STREAM-2")
@pytest.mark.parametrize("end", ["finish", "finish offline", "fail", "fail offline", "stop"])
def test_a_broken_stream_is_failed_once_whatever_follows(end: str) -> None:
    bench = LinkBench()
    message_id = opened(bench)
    append(bench, message_id, "a")
    bench.reconnect()
    assert events(bench) == ["created", "add", "failed"]
    bench.reconnect()
    if end.endswith("offline"):
        bench.closed(1006)
    if end.startswith("finish"):
        assert bench.results[finish(bench, message_id)] == StreamEnded(CHAT, message_id, complete=False)
    elif end.startswith("fail"):
        bench.step(FailStream(message_id))
    else:
        bench.stop()
    if end.endswith("offline"):
        bench.online_again()
    if end != "stop":
        bench.reconnect()
        assert is_forgotten(bench, message_id)
    assert events(bench) == ["created", "add", "failed"]


@pytest.mark.rule("STREAM-2")
@pytest.mark.parametrize("end", ["done", "failed"])
def test_a_stream_that_has_ended_does_not_end_again(end: str) -> None:
    bench = LinkBench()
    message_id = opened(bench)
    if end == "done":
        finish(bench, message_id)
    else:
        bench.step(FailStream(message_id))
    bench.reconnect()
    assert events(bench) == ["created", end] and all("to" not in one for one in pieces(bench))


def test_what_waited_goes_out_stream_by_stream_and_before_messages() -> None:
    bench = LinkBench()
    bench.closed(1006)
    bench.send()
    ids = [opened(bench), opened(bench)]
    for message_id in ids:
        append(bench, message_id, "a")
    bench.online_again()
    written = [one["event"] for one in bench.uplinks() if one["event"].startswith("message.")]
    assert written == ["message.created", "message.add", "message.created", "message.add", "message.send"]
