"""Streams of ours: each piece adds up, each stream ends exactly once, and nothing of the text is lost."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from clawproto.app_events import RefusalReceived, StreamGrew
from clawproto.effects import Emit
from clawproto.events import AppendStream, FailStream, FinishStream, FrameReceived, OpenStream, Send, Start
from clawproto.json_types import Json
from clawproto.policy import Policy
from clawproto.results import (
    Done,
    LoggedOutResult,
    NotPaired,
    Receipt,
    Result,
    SendGated,
    SendRejected,
    StoppedResult,
    StreamEnded,
    StreamOpened,
)
from tests.core.harness import credentials, frame, jwt, of, pair, rotated, verdict
from tests.core.link_harness import CHAT, SENDER, LinkBench, sent_ids

STREAM = ("message.created", "message.add", "message.done", "message.failed")


def begin(bench: LinkBench, chat_id: str = CHAT, **more: Any) -> Result:
    command = bench.command()
    bench.step(OpenStream(command, chat_id, **more))
    return bench.results[command]


def opened(bench: LinkBench, **more: Any) -> str:
    result = begin(bench, **more)
    assert isinstance(result, StreamOpened)
    return result.message_id


def append(bench: LinkBench, message_id: str, text: str) -> Result:
    command = bench.command()
    bench.step(AppendStream(command, message_id, text))
    return bench.results[command]


def finish(bench: LinkBench, message_id: str, closing: str | None = None, **more: Any) -> int:
    command = bench.command()
    message = None if closing is None else Send(0, "ignored", ({"kind": "text", "text": closing},), **more)
    bench.step(FinishStream(command, message_id, message))
    return command


def pieces(bench: LinkBench) -> list[dict[str, Any]]:
    return [one for one in bench.uplinks() if one["event"] in STREAM]


def events(bench: LinkBench) -> list[str]:
    return [one["event"].removeprefix("message.") for one in pieces(bench)]


def texts(bench: LinkBench) -> list[tuple[str, str]]:
    return [
        (part["text"], part["delta"]) for one in bench.uplinks("message.add") for part in one["payload"]["fragments"]
    ]


@pytest.mark.rule("STREAM-2", "STREAM-3", "STREAM-4", "STREAM-5", "STREAM-6")
def test_a_stream_from_beginning_to_end() -> None:
    bench = LinkBench()
    message_id = opened(bench, to={"id": "usr_1", "type": "direct"})
    for text in ("Hel", "lo ", "you"):
        assert append(bench, message_id, text) == Done()
        bench.run_for(100)
    command = finish(bench, message_id)
    assert bench.results[command] == StreamEnded(CHAT, message_id, complete=True)
    frames = pieces(bench)
    assert events(bench) == ["created", "add", "add", "add", "done"]
    assert re.fullmatch(r"msg-[0-9A-HJKMNP-TV-Z]{26}", message_id)
    for one in frames:
        assert (one["chat_id"], one["payload"]["message_id"]) == (CHAT, message_id)
        assert one["to"] == {"id": "usr_1", "type": "direct"}
        assert "sender" not in one and "chat_type" not in one
    assert frames[0]["payload"] == {"message_id": message_id, "message_mode": "normal"}
    assert texts(bench) == [("Hel", "Hel"), ("Hello ", "lo "), ("Hello you", "you")]
    adds, last = frames[1:-1], frames[-1]["payload"]
    assert [one["payload"]["sequence"] for one in adds] == [0, 1, 2]
    for one in adds:
        streaming = one["payload"]["streaming"]
        assert (streaming["status"], streaming["mutation_policy"]) == ("streaming", "append_text_only")
        assert streaming["sequence"] == one["payload"]["sequence"] and streaming["completed_at"] is None
        assert one["payload"]["mutation"] == {"type": "append", "target_fragment_index": 0}
        assert type(one["payload"]["added_at"]) is int
    assert {one["payload"]["streaming"]["started_at"] for one in frames[1:]} == {frames[0]["emitted_at"]}
    assert last["fragments"] == [{"kind": "text", "text": "Hello you"}], "no delta outside message.add"
    assert (last["streaming"]["status"], last["streaming"]["sequence"]) == ("done", 2)
    assert last["completed_at"] == last["streaming"]["completed_at"] > last["streaming"]["started_at"]


@pytest.mark.rule("STREAM-12")
def test_the_closing_message_bears_the_id_of_the_stream() -> None:
    bench = LinkBench()
    message_id = opened(bench)
    append(bench, message_id, "draft")
    command = finish(bench, message_id, "polished", mentions=({"kind": "mention", "user_id": "usr_1"},))
    assert [one["event"] for one in bench.uplinks()][1:] == [
        "message.created",
        "message.add",
        "message.done",
        "message.send",
    ]
    (message,) = bench.uplinks("message.send")
    assert message["payload"]["message_id"] == message_id and message["chat_id"] == CHAT
    assert message["payload"]["message"]["body"]["fragments"] == [{"kind": "text", "text": "polished"}]
    assert command not in bench.results
    bench.ack(message)
    assert bench.results[command] == Receipt(CHAT, message_id, 5, message_id)


@pytest.mark.rule("STREAM-12", "SEND-4")
def test_the_answer_to_a_message_closes_with_a_reply() -> None:
    bench = LinkBench()
    message_id = opened(bench)
    append(bench, message_id, "yes")
    quote = {"reply_to_msg_id": "msg-0", "reply_preview": {"id": "u", "nick_name": "U", "fragments": []}}
    finish(bench, message_id, "yes", reply=quote)
    (reply,) = bench.uplinks("message.reply")
    assert reply["payload"]["message_id"] == message_id and reply["payload"]["message"]["context"]["reply"] == quote


def test_quick_pieces_go_out_together() -> None:
    bench = LinkBench(policy=Policy(stream_interval_ms=100))
    message_id = opened(bench)
    for letter in "abcde":
        append(bench, message_id, letter)
        bench.run_for(30)
    assert texts(bench) == [("a", "a"), ("abcd", "bcd")]
    bench.run_for(50)
    assert texts(bench)[-1] == ("abcde", "e")
    bench.run_for(1_000)
    assert len(texts(bench)) == 3, "without news nothing is sent"
    append(bench, message_id, "f")
    append(bench, message_id, "g")
    finish(bench, message_id)
    assert texts(bench)[3:] == [("abcdef", "f"), ("abcdefg", "g")], "what is missing goes out before the end"


@pytest.mark.rule("STREAM-2")
def test_a_stream_that_is_given_up_fails() -> None:
    bench = LinkBench()
    message_id = opened(bench)
    append(bench, message_id, "a")
    bench.step(FailStream(message_id))
    assert events(bench) == ["created", "add", "failed"]
    last = pieces(bench)[-1]["payload"]
    assert (last["streaming"]["status"], last["fragments"]) == ("failed", [{"kind": "text", "text": "a"}])
    bench.step(FailStream(message_id))
    assert len(events(bench)) == 3
    for result in (append(bench, message_id, "b"), bench.results[finish(bench, message_id, "b")]):
        assert isinstance(result, SendRejected) and result.code == "unknown_stream"


@pytest.mark.rule("STREAM-2")
@pytest.mark.parametrize("how", ["stop", "logout"])
def test_the_end_of_the_session_leaves_none_dangling(how: str) -> None:
    bench = LinkBench()
    one, two = opened(bench), opened(bench)
    append(bench, one, "a")
    bench.step(FailStream(two))
    if how == "stop":
        bench.stop()
    else:
        bench.run_until_refresh()
        bench.reply(verdict(10003))
    ends = [(piece["event"], piece["payload"]["message_id"]) for piece in pieces(bench) if "fail" in piece["event"]]
    assert sorted(ends) == sorted([("message.failed", one), ("message.failed", two)])
    result = append(bench, one, "b")
    assert isinstance(result, StoppedResult if how == "stop" else LoggedOutResult)
    assert isinstance(begin(bench), StoppedResult if how == "stop" else LoggedOutResult)


@pytest.mark.rule("STREAM-2", "OUT-8")
def test_whoever_is_paired_after_a_logout_hears_no_more_of_a_stream_before_it() -> None:
    bench = LinkBench()
    message_id = opened(bench)
    append(bench, message_id, "a")
    bench.refresh()
    bench.reply(verdict(10003))
    assert events(bench) == ["created", "add", "failed"]
    bench.load(credentials(pair(jwt("b1"), "refresh-b"), generation=3))
    assert bench.online and events(bench) == ["created", "add", "failed"]
    result = append(bench, message_id, "b")
    assert isinstance(result, SendRejected)


@pytest.mark.rule("STREAM-8", "STREAM-5")
def test_a_broken_connection_breaks_the_stream_but_not_the_text() -> None:
    bench = LinkBench()
    message_id = opened(bench)
    append(bench, message_id, "before ")
    bench.closed(1006)
    assert append(bench, message_id, "during ") == Done()
    bench.online_again()
    assert append(bench, message_id, "after") == Done()
    bench.run_for(1_000)
    command = finish(bench, message_id, "before during after")
    assert events(bench) == ["created", "add", "failed"]
    names = [one["event"] for one in bench.uplinks()]
    assert names.index("message.failed") < names.index("message.send")
    assert sent_ids(bench) == [message_id]
    bench.ack(bench.uplinks("message.send")[0])
    assert isinstance(bench.results[command], Receipt)


@pytest.mark.rule("STREAM-8", "STREAM-2")
def test_a_stream_that_broke_and_ended_while_offline_is_failed_before_its_message() -> None:
    bench = LinkBench()
    message_id = opened(bench)
    append(bench, message_id, "a")
    bench.closed(1006)
    finish(bench, message_id, "whole")
    other = opened(bench)
    append(bench, other, "x")
    bench.step(FailStream(other))
    bench.online_again()
    tail = [one["event"] for one in bench.uplinks()][-2:]
    assert tail == ["message.failed", "message.send"]
    assert len(bench.state.drafts) == 0
    bench.reconnect()
    assert events(bench).count("failed") == 1


@pytest.mark.rule("STREAM-8")
def test_the_change_of_sockets_at_a_rotation_counts_as_a_break() -> None:
    bench = LinkBench()
    bench.run_until_refresh()
    message_id = opened(bench)
    append(bench, message_id, "a")
    bench.reply(rotated(jwt("a2", issued_ms=bench.now.wall_ms)))
    bench.run_for(1_000)
    assert bench.online
    append(bench, message_id, "b")
    bench.run_for(1_000)
    finish(bench, message_id, "ab")
    assert events(bench) == ["created", "add", "failed"] and sent_ids(bench) == [message_id]


def test_a_stream_that_begins_while_offline_waits() -> None:
    bench = LinkBench()
    bench.closed(1006)
    message_id = opened(bench)
    append(bench, message_id, "a")
    append(bench, message_id, "b")
    assert events(bench) == []
    bench.online_again()
    assert events(bench) == ["created", "add"] and texts(bench) == [("ab", "ab")]
    assert bench.results[finish(bench, message_id)] == StreamEnded(CHAT, message_id, complete=True)


def test_a_stream_that_ends_before_it_could_begin_is_only_its_message() -> None:
    bench = LinkBench()
    bench.closed(1006)
    message_id, bare = opened(bench), opened(bench)
    append(bench, message_id, "a")
    finish(bench, message_id, "a")
    assert bench.results[finish(bench, bare)] == StreamEnded(CHAT, bare, complete=False)
    bench.online_again()
    assert events(bench) == [] and sent_ids(bench) == [message_id]


@pytest.mark.rule("STREAM-8", "ERR-2")
@pytest.mark.parametrize("code", ["not_member", "bad_request", "later_code"])
def test_a_refusal_ends_it(code: str) -> None:
    bench = LinkBench()
    message_id = opened(bench)
    append(bench, message_id, "a")
    bench.refuse(pieces(bench)[-1], code, reason="no")
    before = len(events(bench))
    result = append(bench, message_id, "b")
    assert result == SendRejected(CHAT, message_id, code, "no")
    assert isinstance(bench.results[finish(bench, message_id, "ab")], SendRejected)
    assert len(events(bench)) == before and not sent_ids(bench)
    assert not bench.told(RefusalReceived), "it is no stray"
    assert len(bench.state.drafts) == 0


@pytest.mark.rule("STREAM-8")
def test_message_failed_from_the_hub_ends_it() -> None:
    bench = LinkBench()
    message_id = opened(bench)
    bench.down("message.failed", {"message_id": message_id}, chat_id=CHAT)
    result = append(bench, message_id, "a")
    assert result == SendRejected(CHAT, message_id, "failed", "the hub reported message.failed")


@pytest.mark.rule("STREAM-8")
def test_nobody_else_can_end_our_stream() -> None:
    bench = LinkBench()
    message_id = opened(bench)
    bench.down("message.failed", {"message_id": message_id}, chat_id=CHAT, sender=SENDER)
    assert append(bench, message_id, "a") == Done()
    credentials = bench.state.tokens.credentials
    assert credentials is not None
    own: dict[str, Json] = {"id": credentials.identity.user_id}
    bench.down("message.failed", {"message_id": message_id}, chat_id=CHAT, sender=own)
    assert isinstance(append(bench, message_id, "b"), SendRejected)


@pytest.mark.rule("ERR-10", "ERR-11", "ROUTE-7")
def test_what_cannot_begin() -> None:
    bench = LinkBench()
    result = begin(bench, "bad")
    assert isinstance(result, SendRejected) and result.code == "invalid_chat_id"
    message_id = opened(bench, message_id="msg-own")
    for strange in ("msg-own", "x" * 513, "a\0b"):
        again = begin(bench, message_id=strange)
        assert isinstance(again, SendRejected)
        assert again.code == ("duplicate_id" if strange == "msg-own" else "unencodable")
    assert isinstance(begin(bench, to={"id": float("nan")}), SendRejected)
    append(bench, message_id, "a")
    bench.down("message.error", {"code": "not_member"}, chat_id=CHAT)
    assert isinstance(begin(bench), SendGated)
    bench.run_for(200)
    append(bench, message_id, "b")
    assert events(bench) == ["created", "add"], "the gate stops every uplink of this chat"
    result = append(bench, message_id, "c")
    assert isinstance(result, SendRejected) and result.code == "not_member"


def test_without_tokens_nothing_begins() -> None:
    bench = LinkBench(start=False)
    bench.step(Start())
    assert isinstance(begin(bench), NotPaired)


@pytest.mark.rule("LIM-3")
@pytest.mark.parametrize("letter", ["x", '"', "ü", "\n", "\x01", "\\", "😀"])
def test_no_piece_is_ever_larger_than_a_frame_may_be(letter: str) -> None:
    bench = LinkBench(policy=Policy(frame_limit=20_000, stream_interval_ms=0))
    bench.liveness = False
    message_id = opened(bench)
    result: Result = Done()
    for _ in range(100):
        result = append(bench, message_id, letter * 300)
        if result != Done():
            break
    assert isinstance(result, SendRejected) and result.code == "frame_too_large"
    assert max(len(str(one).encode()) for one in pieces(bench)) > 1_000
    sizes = [len(json.dumps(one, ensure_ascii=False).encode()) for one in pieces(bench)]
    assert max(sizes) <= 20_000
    assert events(bench)[-1] == "failed" and events(bench).count("failed") == 1
    assert isinstance(append(bench, message_id, "y"), SendRejected)
    assert isinstance(bench.results[finish(bench, message_id, "short")], SendRejected)


def test_characters_that_cannot_be_added_up_are_replaced() -> None:
    bench = LinkBench(policy=Policy(stream_interval_ms=0))
    message_id = opened(bench)
    append(bench, message_id, "a\0\ud83d")
    append(bench, message_id, "\ude00b")
    append(bench, message_id, "\0")
    assert texts(bench) == [("a?", "a?"), ("a??b", "?b")]


def test_unknown_streams_are_no_harm() -> None:
    bench = LinkBench()
    bench.step(FailStream("msg-never"))
    bench.down("message.error", {"code": "bad_request", "message_id": "msg-never"}, chat_id=CHAT)
    assert [refusal.code for refusal in bench.told(RefusalReceived)] == ["bad_request"]
    assert isinstance(append(bench, "msg-never", "a"), SendRejected)
    assert isinstance(bench.results[finish(bench, "msg-never")], SendRejected)
    assert events(bench) == []


Act = tuple[str, str]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.text(max_size=6)),
            st.tuples(st.just("wait"), st.sampled_from(["30", "100", "2000"])),
            st.tuples(st.sampled_from(["cut", "back"]), st.just("")),
        ),
        max_size=25,
    ),
    st.sampled_from(["finish", "closing", "fail", "stop"]),
    st.lists(st.booleans(), min_size=40, max_size=40),
)
def test_whatever_happens_it_adds_up_and_ends_once(acts: list[Act], end: str, kept: list[bool]) -> None:
    bench, reader = LinkBench(), LinkBench()
    bench.liveness = reader.liveness = False
    message_id, text = opened(bench), ""
    for kind, argument in acts:
        if kind == "append":
            assert append(bench, message_id, argument) == Done()
            text += argument.replace("\0", "").encode("utf-8", "replace").decode()
        elif kind == "wait":
            bench.run_for(int(argument))
        elif kind == "cut" and bench.online:
            bench.closed(1006)
        elif kind == "back" and not bench.online:
            bench.online_again()
    if end == "fail":
        bench.step(FailStream(message_id))
    elif end == "stop":
        bench.stop()
    else:
        finish(bench, message_id, text if end == "closing" and text else None)
    if end != "stop" and not bench.online:
        bench.online_again()

    adds = [one["payload"] for one in bench.uplinks("message.add")]
    assert [one["sequence"] for one in adds] == list(range(len(adds)))
    so_far = ""
    for one in adds:
        (part,) = one["fragments"]
        assert part["text"] == so_far + part["delta"] and part["delta"]
        so_far = part["text"]
    assert text.startswith(so_far)
    names = events(bench)
    assert names.count("created") == (1 if names else 0)
    if end == "stop" and "failed" not in names and names:
        assert not bench.sockets() or "created" in names  # the socket was gone: nobody could be told any more
    else:
        assert names.count("done") + names.count("failed") == (1 if names else 0)
    if end == "closing" and text:
        assert sent_ids(bench) == [message_id]

    shown = ""
    for one, keep in zip(adds, kept, strict=False):
        if keep:
            data = frame("message.add", one, chat_id=CHAT, sender=SENDER)
            for emit in of(reader.step(FrameReceived(reader.generation, data)), Emit):
                if isinstance(emit.event, StreamGrew):
                    shown = emit.event.text if emit.event.delta is None else shown + emit.event.delta
            assert shown == one["fragments"][0]["text"]
