"""Reactions, recalls and read marks: last write wins, repeats are silent, marks only rise."""

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from clawproto import commands
from clawproto.app_events import AckAnomaly, MessageRecalled, ReactionChanged, ReadMarkMoved
from clawproto.config import Capabilities
from clawproto.effects import Effect, Emit
from clawproto.events import MarkRead, React
from clawproto.json_types import Json
from clawproto.policy import Policy
from clawproto.results import Receipt, SendGated, SendRejected, SendUndecided
from clawproto.wire.signals import encode_reaction
from tests.core.harness import emitted, of
from tests.core.link_harness import CHAT, OTHER_CHAT, SENDER, LinkBench, acks, received_ids, v2


def own_id(bench: LinkBench) -> str:
    credentials = bench.state.tokens.credentials
    assert credentials is not None
    return credentials.identity.user_id


# --- reactions -----------------------------------------------------------------------------------------------------


def react(bench: LinkBench, emoji: str | None, target: str = "msg-1", chat_id: str = CHAT) -> int:
    command = bench.command()
    bench.step(React(command, chat_id, target, emoji))
    return command


def reaction(bench: LinkBench, emoji: str | None, reactor: str = "usr_friend", **more: Any) -> list[ReactionChanged]:
    payload: dict[str, Json] = {
        "message_id": f"rxn:msg-1:{reactor}",
        "target_message_id": "msg-1",
        "reactor_user_id": reactor,
        "emoji": emoji or "",
        "removed": emoji is None,
    }
    down = bench.stamped if more.pop("stamped", False) else bench.down
    return emitted(down("message.reaction", payload, chat_id=CHAT, sender=SENDER, **more), ReactionChanged)


@pytest.mark.rule("RX-1", "RX-4")
def test_a_reaction_is_acknowledged_by_its_slot() -> None:
    bench = LinkBench()
    command = react(bench, "👍")
    (sent,) = bench.uplinks("message.reaction")
    assert sent["payload"] == {"target_message_id": "msg-1", "emoji": "👍"}
    assert sent["chat_id"] == CHAT
    slot = f"rxn:msg-1:{own_id(bench)}"
    bench.down("message.ack", {"message_id": slot, "accepted_at": 5}, trace_id=sent["trace_id"], chat_id=CHAT)
    assert bench.results[command] == Receipt(CHAT, slot, 5, slot)
    assert not bench.told(AckAnomaly)


@pytest.mark.rule("RX-1", "RX-3")
def test_taking_a_reaction_back() -> None:
    bench = LinkBench()
    react(bench, None)
    (sent,) = bench.uplinks("message.reaction")
    assert sent["payload"] == {"target_message_id": "msg-1", "removed": True}


@pytest.mark.rule("RX-6", "LIM-5")
def test_the_bytes_of_an_emoji_are_counted() -> None:
    family = "👩‍👩‍👧‍👦"  # 25 bytes
    assert len(family.encode()) == 25
    encode_reaction("msg-1", family + family)
    encode_reaction("msg-1", "é" * 32)
    for emoji in ("", "é" * 32 + "x", family * 3, "x" * 65, "\ud83d", "a\0"):
        with pytest.raises(ValueError):
            encode_reaction("msg-1", emoji)
    bench = LinkBench()
    for command in (react(bench, "é" * 33), react(bench, "👍", target="")):
        result = bench.results[command]
        assert isinstance(result, SendRejected) and result.code == "unencodable"
    assert not bench.uplinks("message.reaction")


@pytest.mark.rule("RX-3", "SEND-17", "SEND-13")
def test_two_reactions_in_one_slot_go_out_in_order_and_again_after_a_cut() -> None:
    bench = LinkBench()
    first, second = react(bench, "👍"), react(bench, "👎")
    bench.reconnect()
    sent = bench.uplinks("message.reaction")
    assert [one["payload"]["emoji"] for one in sent] == ["👍", "👎", "👍", "👎"]
    for one in sent[2:]:
        bench.down("message.ack", {"message_id": "rxn", "accepted_at": 5}, trace_id=one["trace_id"], chat_id=CHAT)
    assert isinstance(bench.results[first], Receipt) and isinstance(bench.results[second], Receipt)
    lost = react(bench, "😶")
    bench.run_for(15_000)
    assert isinstance(bench.results[lost], SendUndecided)


@pytest.mark.rule("ERR-2", "ERR-10", "ERR-11")
def test_a_reaction_that_is_refused_and_one_that_is_gated() -> None:
    bench = LinkBench()
    command = react(bench, "👍")
    (sent,) = bench.uplinks("message.reaction")
    bench.down("message.error", {"code": "not_member"}, trace_id=sent["trace_id"], chat_id=CHAT)
    result = bench.results[command]
    assert isinstance(result, SendRejected) and result.code == "not_member"
    assert isinstance(bench.results[react(bench, "👍")], SendGated)
    bad = bench.results[react(bench, "👍", chat_id="nowhere")]
    assert isinstance(bad, SendRejected) and bad.code == "invalid_chat_id"


@pytest.mark.rule("RX-3")
def test_a_slot_is_told_when_its_content_changes() -> None:
    bench = LinkBench()
    assert [one.emoji for one in reaction(bench, "👍")] == ["👍"]
    assert reaction(bench, "👍") == []
    assert [one.emoji for one in reaction(bench, "👎")] == ["👎"]
    assert [one.emoji for one in reaction(bench, "👍", "usr_other")] == ["👍"]
    assert [one.emoji for one in reaction(bench, None)] == [None]
    assert reaction(bench, None) == []
    bench.reconnect()
    assert reaction(bench, None) == [], "replayed"
    assert [one.emoji for one in reaction(bench, "👍")] == ["👍"]


@pytest.mark.rule("RX-3", "ROUTE-6", "RX-7")
def test_own_reactions_from_another_device_are_marked() -> None:
    bench = LinkBench()
    (event,) = reaction(bench, "👍", own_id(bench), origin_device_id="other")
    assert event.own and event.reactor_user_id == own_id(bench)
    assert reaction(bench, "👎", own_id(bench), origin_device_id=bench.state.link.device_id) == []


@pytest.mark.rule("RX-3", "R2-8", "R2-10", "R2-28")
def test_a_stamped_reaction_is_acknowledged_once_the_application_has_it() -> None:
    bench = v2()
    (emit,) = of(stamped(bench, "👍"), Emit)
    bench.run_for(60_000)
    assert acks(bench) == []
    bench.reconnect()
    assert not emitted(stamped(bench, "👍"), ReactionChanged)
    bench.settle(emit.delivery)
    bench.run_for(200)
    assert acks(bench) == [1], "its place has moved to the new connection"
    assert not emitted(stamped(bench, "👍"), ReactionChanged)
    bench.run_for(200)
    assert acks(bench)[-1] == 2, "what is known is settled at once"


def stamped(bench: LinkBench, emoji: str) -> tuple[Effect, ...]:
    payload: dict[str, Json] = {"target_message_id": "msg-1", "reactor_user_id": "usr_friend", "emoji": emoji}
    return bench.stamped("message.reaction", payload, chat_id=CHAT, sender=SENDER)


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.sampled_from(["u", "w"]), st.sampled_from(["👍", "👎", None]), st.booleans()), max_size=30)
)
def test_what_was_told_last_is_what_the_hub_said_last(writes: list[tuple[str, str | None, bool]]) -> None:
    """Whatever repeats and reconnects come in between."""
    bench = LinkBench()
    bench.liveness = False
    said: dict[str, str | None] = {}
    told: dict[str, str | None] = {}
    for reactor, emoji, cut in writes:
        if cut:
            bench.reconnect()
        for _ in range(2):
            for event in reaction(bench, emoji, reactor):
                assert told.get(reactor, "") != event.emoji
                told[reactor] = event.emoji
        said[reactor] = emoji
        assert told == said


def test_slots_are_bounded() -> None:
    bench = LinkBench(policy=Policy(remembered_slots=10))
    bench.liveness = False
    for number in range(100):
        reaction(bench, "👍", f"usr_{number}")
    slots = bench.state.inbox.slots
    assert len(slots.young) + len(slots.old) <= 10


# --- recalls -------------------------------------------------------------------------------------------------------


def recall(bench: LinkBench, target: str) -> list[MessageRecalled]:
    payload: dict[str, Json] = {"message_id": f"rcl:{target}", "target_message_id": target}
    return emitted(bench.down("message.recall", payload, chat_id=CHAT, sender=SENDER), MessageRecalled)


@pytest.mark.rule("RECALL-1", "RECALL-2")
def test_a_recall_names_its_target_and_is_told_once() -> None:
    bench = v2()
    bench.message("msg-1")
    before = len(bench.uplinks())
    assert recall(bench, "msg-1") == [MessageRecalled(CHAT, "msg-1")]
    assert recall(bench, "msg-1") == []
    bench.reconnect()
    assert recall(bench, "msg-1") == [], "replayed"
    assert [one["event"] for one in bench.uplinks()[before:]] == ["connect"], "nothing is answered"


@pytest.mark.rule("RECALL-1", "R2-11")
def test_what_was_withdrawn_is_not_handed_over_any_more() -> None:
    bench = v2()
    recall(bench, "msg-1")
    bench.message("msg-1")
    bench.message("rcl:msg-1", "the slot's own id is no target")
    assert received_ids(bench) == ["rcl:msg-1"]
    bench.run_for(200)
    assert acks(bench) == [1], "its place is settled all the same"


@pytest.mark.rule("RECALL-3")
def test_there_is_no_way_to_recall() -> None:
    assert not [name for name in vars(commands) if "recall" in name.lower()]


# --- read marks ----------------------------------------------------------------------------------------------------


def marks(bench: LinkBench, chat_id: str = CHAT) -> list[int]:
    sent = bench.uplinks("message.read")
    return [one["payload"]["last_read_emitted_at"] for one in sent if one["chat_id"] == chat_id]


def mark(bench: LinkBench, value: int, chat_id: str | None = CHAT) -> list[ReadMarkMoved]:
    more: dict[str, Json] = {"sender": {"id": own_id(bench)}, **({} if chat_id is None else {"chat_id": chat_id})}
    effects = bench.down("message.read", {"last_read_emitted_at": value}, **more)
    return emitted(effects, ReadMarkMoved)


@pytest.mark.rule("READ-1", "SILENT-12")
def test_a_mark_is_sent_once_and_nothing_is_awaited() -> None:
    bench = LinkBench()
    bench.step(MarkRead(CHAT, 1_000))
    (sent,) = bench.uplinks("message.read")
    assert sent["payload"] == {"last_read_emitted_at": 1_000} and sent["chat_id"] == CHAT and "to" not in sent
    for lower in (1_000, 999, 0, -5):
        bench.step(MarkRead(CHAT, lower))
    bench.run_for(60_000)
    bench.step(MarkRead(CHAT, 1_001))
    bench.step(MarkRead("nowhere", 1_001))
    assert marks(bench) == [1_000, 1_001] and len(bench.uplinks("message.read")) == 2


@pytest.mark.rule("READ-1", "READ-4")
def test_while_offline_the_highest_mark_is_kept() -> None:
    bench = LinkBench()
    bench.closed(1006)
    for value in (5, 9, 7):
        bench.step(MarkRead(CHAT, value))
    bench.step(MarkRead(OTHER_CHAT, 3))
    bench.online_again()
    assert marks(bench) == [9] and marks(bench, OTHER_CHAT) == [3]
    bench.reconnect()
    assert marks(bench) == [9]


@pytest.mark.rule("ERR-10", "READ-1")
def test_a_mark_in_a_gated_chat_waits() -> None:
    bench = LinkBench()
    bench.down("message.error", {"code": "not_member"}, chat_id=CHAT)
    bench.step(MarkRead(CHAT, 5))
    assert marks(bench) == []
    bench.message("msg-1")
    bench.step(MarkRead(OTHER_CHAT, 1))
    assert marks(bench) == [5]


@pytest.mark.rule("READ-4")
def test_marks_of_other_devices_are_merged_by_maximum() -> None:
    bench = LinkBench(capabilities=Capabilities(multi_device=True))
    assert mark(bench, 10) == [ReadMarkMoved(CHAT, 10)]
    assert mark(bench, 10) == mark(bench, 9) == []
    bench.step(MarkRead(CHAT, 20))
    assert mark(bench, 15) == [], "we were further already"
    assert mark(bench, 30) == [ReadMarkMoved(CHAT, 30)]
    bench.step(MarkRead(CHAT, 25))
    assert marks(bench) == [20]
    assert mark(bench, 1, OTHER_CHAT) == [ReadMarkMoved(OTHER_CHAT, 1)]
    assert mark(bench, 99, None) == [], "a mark without a chat marks nothing"


@pytest.mark.rule("READ-2", "READ-4")
def test_what_somebody_else_has_read_is_no_mark_of_ours() -> None:
    bench = LinkBench(capabilities=Capabilities(multi_device=True))
    effects = bench.down("message.read", {"last_read_emitted_at": 50}, chat_id=CHAT, sender=SENDER)
    assert not emitted(effects, ReadMarkMoved)
    assert mark(bench, 10) == [ReadMarkMoved(CHAT, 10)]


@pytest.mark.rule("READ-5", "ENV-6", "ENV-7")
def test_the_burst_after_hello_ok_is_no_clock() -> None:
    bench = LinkBench(capabilities=Capabilities(multi_device=True))
    bench.liveness = False
    offset = bench.state.tokens.offset
    for number in range(500):
        effects = bench.down(
            "message.read",
            {"last_read_emitted_at": 1_000 + number},
            trace_id="",
            at_ms=1_000 + number,
            chat_id=f"cnv_{number}",
            sender={"id": own_id(bench)},
        )
        assert emitted(effects, ReadMarkMoved) == [ReadMarkMoved(f"cnv_{number}", 1_000 + number)]
    assert bench.state.tokens.offset == offset and bench.online


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["ours", "theirs", "cut"]), st.integers(1, 20)), max_size=25))
def test_marks_only_rise(acts: list[tuple[str, int]]) -> None:
    bench = LinkBench()
    bench.liveness = False
    highest = 0
    for kind, value in acts:
        if kind == "cut":
            bench.reconnect()
        elif kind == "ours":
            bench.step(MarkRead(CHAT, value))
            highest = max(highest, value)
        else:
            assert [one.read_up_to_ms for one in mark(bench, value)] == ([value] if value > highest else [])
            highest = max(highest, value)
    assert bench.state.signals.marks.get(CHAT) == (highest or None)
    assert marks(bench) == sorted(set(marks(bench)))
