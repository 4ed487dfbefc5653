"""Downlinks that lack something, concern nobody or are no frames: told in full, or settled at once."""

import json
from typing import Any

import pytest

from clawproto.app_events import (
    AppEvent,
    FrameRejected,
    HistoryReceived,
    MessageDelivered,
    MessageRecalled,
    MetadataInvalidated,
    PermissionDecided,
    PermissionRequested,
    PermissionResolved,
    ReactionChanged,
    SignalReceived,
    TypingChanged,
)
from clawproto.effects import Emit
from clawproto.events import MarkApplied
from clawproto.json_types import Json
from clawproto.wire.values import Peer
from tests.core.harness import credentials, emitted, of
from tests.core.link_harness import CHAT, SENDER, LinkBench, acks, message_payload, v2

NOTICE: dict[str, Json] = {
    "kind": "permission_result",
    "request_id": "req-1",
    "operation": "post",
    "outcome": "approved",
    "reason": "owner_allowed",
}
OURS: dict[str, Json] = {"id": "u-1"}
SYSTEM: dict[str, Json] = {"id": "system"}


# --- told in full --------------------------------------------------------------------------------------------------


@pytest.mark.rule("ENV-13", "PERM-3", "PERM-9", "RX-3", "RECALL-1", "DEL-7")
@pytest.mark.parametrize(
    ("event", "payload", "sender", "told"),
    [
        (
            "permission.request",
            {"request_id": "req-1", "agent_id": "agt_1", "operation": "post", "target": {"a": 1}, "expires_at": 2**41},
            None,
            lambda chat: PermissionRequested(chat or "", "req-1", "agt_1", "post", {"a": 1}, 2**41),
        ),
        (
            "permission.resolved",
            {"request_id": "req-1", "decision": "deny_once", "reason": "owner_denied"},
            None,
            lambda chat: PermissionResolved(chat or "", "req-1", "deny_once", "owner_denied"),
        ),
        (
            "message.send",
            message_payload("msg-1", metadata=NOTICE),
            SYSTEM,
            lambda chat: PermissionDecided(chat or "", "req-1", "post", "approved", "owner_allowed", None),
        ),
        (
            "message.recall",
            {"message_id": "rcl:msg-0", "target_message_id": "msg-0"},
            SENDER,
            lambda chat: MessageRecalled(chat or "", "msg-0"),
        ),
        (
            "message.reaction",
            {"target_message_id": "msg-0", "emoji": "👍"},
            SENDER,
            lambda chat: ReactionChanged(chat or "", "msg-0", "usr_friend", "👍", own=False),
        ),
        (
            "message.reaction",
            {"target_message_id": "msg-0", "emoji": "👍", "reactor_user_id": "u-1"},
            SENDER,
            lambda chat: ReactionChanged(chat or "", "msg-0", "u-1", "👍", own=True),
        ),
        (
            "message.delivered",
            {"message_id": "msg-0", "delivered_at": 7},
            SENDER,
            lambda chat: MessageDelivered("msg-0", chat, "usr_friend", 7),
        ),
        (
            "message.delivered",
            {"message_id": "msg-0", "delivered_at": 7},
            None,
            lambda chat: MessageDelivered("msg-0", chat, None, 7),
        ),
        (
            "history.transit",
            {"kind": "history_sync_done", "n": 1},
            SENDER,
            lambda _: HistoryReceived(
                "history_sync_done", {"kind": "history_sync_done", "n": 1}, Peer("usr_friend", "direct", "Friend"), None
            ),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("chat", [CHAT, None])
def test_all_that_a_frame_says_is_told_with_its_chat_or_without_one(
    event: str, payload: dict[str, Json], sender: dict[str, Json] | None, told: Any, chat: str | None
) -> None:
    bench = LinkBench()
    envelope: dict[str, Json] = {"chat_id": chat, "sender": sender}
    known = {name: value for name, value in envelope.items() if value is not None}
    expected: AppEvent = told(chat)
    assert emitted(bench.down(event, payload, **known), type(expected)) == [expected]


@pytest.mark.rule("META-2", "META-4")
@pytest.mark.parametrize(
    ("chat_type", "scope", "everything", "paths"),
    [
        ("direct", ["behavior"], False, ("/v1/agents/agent-1",)),
        ("direct", ["later"], True, (f"/v1/conversations/{CHAT}", "/v1/agents/agent-1")),
        ("group", [], True, (f"/v1/conversations/{CHAT}", f"/v1/conversations/{CHAT}/announcements")),
    ],
)
def test_metadata_are_fetched_from_the_chat_and_from_our_own_agent(
    chat_type: str, scope: list[Json], everything: bool, paths: tuple[str, ...]
) -> None:
    effects = LinkBench().down(
        "chat.metadata.invalidated", {"scope": scope, "version": 7}, chat_id=CHAT, chat_type=chat_type
    )
    names = tuple(name for name in scope if isinstance(name, str))
    expected = MetadataInvalidated(CHAT, chat_type, names, everything, 7, paths)
    assert emitted(effects, MetadataInvalidated) == [expected]


@pytest.mark.rule("META-2")
def test_without_an_agent_of_our_own_only_the_chat_is_fetched() -> None:
    bench = LinkBench(credentials(agent_id=None))
    effects = bench.down("chat.metadata.invalidated", {"scope": ["behavior"]}, chat_id=CHAT, chat_type="direct")
    assert [event.paths for event in emitted(effects, MetadataInvalidated)] == [(f"/v1/conversations/{CHAT}",)]


@pytest.mark.rule("RX-3")
def test_no_emoji_is_another_content_than_any_emoji() -> None:
    """Not even than one of that name."""
    bench = LinkBench()
    for emoji in (None, "None", None):
        payload: dict[str, Json] = {"target_message_id": "msg-0", "removed": emoji is None, "emoji": emoji or ""}
        effects = bench.down("message.reaction", payload, chat_id=CHAT, sender=SENDER)
        assert [event.emoji for event in emitted(effects, ReactionChanged)] == [emoji]


# --- settled at once -----------------------------------------------------------------------------------------------


@pytest.mark.rule("R2-8", "R2-11", "TYPE-3", "READ-2", "NOTIFY-3", "NOTIFY-8", "META-3", "RX-7", "HS-21")
@pytest.mark.parametrize(
    ("event", "payload", "envelope"),
    [
        ("message.reaction", {"target_message_id": "m", "emoji": "x"}, {"sender": OURS, "origin_device_id": "lab-01"}),
        ("message.created", {"message_id": "m"}, {"sender": OURS, "origin_device_id": "lab-01"}),
        ("notify.signal", {"event_id": "ev"}, {}),
        ("notify.signal", {"type": "friend.added"}, {}),
        ("notify.signal", {"type": "friend.added", "event_id": "ev", "entity_id": "usr_1", "version": 5}, {}),
        ("typing.update", {"is_typing": True}, {}),
        ("typing.update", {"is_typing": True}, {"sender": SENDER, "chat_id": None}),
        ("typing.update", {"is_typing": True}, {"sender": OURS}),
        ("message.read", {"last_read_emitted_at": 5}, {"chat_id": None}),
        ("message.read", {"last_read_emitted_at": 5}, {"sender": SENDER}),
        ("chat.metadata.invalidated", {"scope": ["title"]}, {"chat_id": None}),
        ("chat.metadata.invalidated", {"scope": ["title"], "version": 5}, {}),
        ("message.ack", {"message_id": "m", "accepted_at": 5}, {}),
        ("connect.challenge", {"nonce": "n"}, {}),
        ("hello-ok", {"device_id": "other"}, {}),
        ("hello-fail", {"reason": "authentication failed"}, {}),
        ("sync.mark", {"covers_seq": 5}, {}),
        ("pong", {}, {}),
    ],
)
def test_what_is_of_no_concern_is_settled_at_once_and_told_to_nobody(
    event: str, payload: dict[str, Json], envelope: dict[str, Json]
) -> None:
    bench = v2()
    bench.step(MarkApplied("entity", "friend.added:usr_1", 5))
    bench.step(MarkApplied("chat", CHAT, 5))
    envelope = {"chat_id": CHAT, **envelope}
    effects = bench.stamped(event, payload, **{name: value for name, value in envelope.items() if value is not None})
    assert not of(effects, Emit)
    bench.run_for(200)
    assert acks(bench) == [1] and bench.online


@pytest.mark.rule("AUTH-10", "TYPE-3", "RX-7")
def test_nothing_is_ours_while_it_is_not_known_who_we_are() -> None:
    """A frame that names nobody is not taken for our own either."""
    bench = LinkBench(credentials(user_id=""))
    payload: dict[str, Json] = {"target_message_id": "m", "emoji": "x"}
    effects = bench.down("message.reaction", payload, chat_id=CHAT, origin_device_id="lab-01")
    assert [(event.reactor_user_id, event.own) for event in emitted(effects, ReactionChanged)] == [("", False)]
    effects = bench.down("typing.update", {"is_typing": True}, chat_id=CHAT, sender=SENDER)
    assert [event.user_id for event in emitted(effects, TypingChanged)] == ["usr_friend"]


@pytest.mark.rule("RX-3", "RX-7", "ROUTE-6")
@pytest.mark.parametrize(
    ("reactor", "device", "told"),
    [("u-1", "lab-01", []), ("u-1", "other", [True]), ("u-1", None, [True]), ("usr_friend", "lab-01", [False])],
)
def test_only_our_own_reaction_from_this_device_is_not_told(reactor: str, device: str | None, told: list[bool]) -> None:
    payload: dict[str, Json] = {"target_message_id": "m", "emoji": "x", "reactor_user_id": reactor}
    envelope: dict[str, Json] = {} if device is None else {"origin_device_id": device}
    effects = LinkBench().down("message.reaction", payload, chat_id=CHAT, sender=SENDER, **envelope)
    assert [event.own for event in emitted(effects, ReactionChanged)] == told


# --- no frames -----------------------------------------------------------------------------------------------------


@pytest.mark.rule("ENV-12", "HS-9")
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"version":"1","event":"pong","dseq":1}', "version"),
        ('{"version":"1","event":"pong"}', "version"),
        ('{"version":"2","event":7,"dseq":1}', "no-event"),
        ("[]", "not-an-object"),
    ],
)
def test_what_is_no_frame_has_no_event_and_no_place_before_hello_ok(text: str, problem: str) -> None:
    bench = LinkBench(greet=False, grant="v2")
    bench.challenge_now()
    (event,) = [emit.event for emit in of(bench.raw(text), Emit)]
    assert isinstance(event, FrameRejected)
    assert (event.event, event.problem, event.dropped, event.frame) == (None, problem, 1, text)
    bench.hello_now(ack_mode="dseq", ack_epoch="e")
    bench.message("msg-1")
    assert bench.online and len(bench.delivered()) == 1, "counted from 1"


@pytest.mark.rule("ENV-12", "R2-8", "R2-11")
@pytest.mark.parametrize(("text", "counted"), [('{"version":"1","event":"pong","dseq":1}', True), ("[]", False)])
def test_what_is_no_frame_counts_under_v2_if_it_bears_a_stamp(text: str, counted: bool) -> None:
    bench = v2()
    (event,) = [emit.event for emit in of(bench.raw(text), Emit)]
    assert isinstance(event, FrameRejected) and event.event is None and event.dropped == 1
    bench.dseq += counted
    bench.message("msg-1")
    bench.settle(bench.delivered()[0][1])
    bench.run_for(200)
    assert acks(bench) == [1 + counted]


@pytest.mark.rule("ENV-12", "HS-2")
def test_an_unusable_payload_before_hello_ok_is_rejected_by_its_event_and_the_handshake_goes_on() -> None:
    bench = LinkBench(greet=False)
    bench.challenge_now()
    effects = bench.down("connect.challenge", {"nonce": 5})
    (event,) = emitted(effects, FrameRejected)
    assert event.event == "connect.challenge" and json.loads(str(event.frame))["payload"] == {"nonce": 5}
    assert [one.dropped for one in emitted(bench.down("connect.challenge", {}), FrameRejected)] == [2]
    bench.hello_now()
    assert bench.online


@pytest.mark.rule("R2-6", "R2-7", "R2-31")
@pytest.mark.parametrize(
    ("dseq", "problem"),
    [
        (2, "dseq 2 is out of turn"),
        (0, "dseq 0 is out of turn"),
        (-1, "dseq -1 is out of turn"),
        ("1", "no integer as dseq"),
        (None, "no integer as dseq"),
        (1.5, "no integer as dseq"),
    ],
)
def test_a_broken_count_is_told_with_what_was_wrong_and_nothing_is_done_with_the_frame(
    dseq: Json, problem: str
) -> None:
    bench = v2()
    effects = bench.down("message.send", message_payload("msg-1"), chat_id=CHAT, sender=SENDER, dseq=dseq)
    (event,) = emitted(effects, FrameRejected)
    assert (event.event, event.problem, event.dropped) == ("message.send", problem, 1)
    assert not bench.delivered()
    bench.online_again()


@pytest.mark.rule("R2-7", "ENV-12")
def test_a_broken_count_in_what_is_no_frame_has_no_event() -> None:
    bench = v2()
    (event,) = emitted(bench.raw('{"version":"1","event":"pong","dseq":2}'), FrameRejected)
    assert (event.event, event.problem) == (None, "dseq 2 is out of turn")


@pytest.mark.rule("NOTIFY-1")
def test_a_signal_names_what_to_fetch_of_its_own_entity() -> None:
    payload: dict[str, Json] = {"type": "conversation.updated", "entity_id": "cnv_7", "event_id": "ev", "version": 3}
    effects = LinkBench().down("notify.signal", payload)
    expected = SignalReceived("conversation.updated", "cnv_7", 3, "ev", ("/v1/conversations/cnv_7",))
    assert emitted(effects, SignalReceived) == [expected]
