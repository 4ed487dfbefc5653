"""Reactions and recalls: the last write wins, repeats are silent."""

from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st

from clawproto import commands
from clawproto.app_events import AckAnomaly, FrameRejected, MessageRecalled, ReactionChanged
from clawproto.effects import Effect, Emit
from clawproto.events import React
from clawproto.json_types import Json
from clawproto.policy import Policy
from clawproto.results import Receipt, SendGated, SendRejected, SendUndecided
from clawproto.wire.signals import encode_reaction
from tests.core.harness import emitted, of
from tests.core.link_harness import CHAT, SENDER, LinkBench, acks, own_id, received_ids, v2

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


@pytest.mark.rule("RX-1", "SEND-11")
def test_the_answer_to_a_reaction_is_none_to_a_message_that_bears_the_id_of_its_slot() -> None:
    bench = LinkBench()
    slot = f"rxn:msg-1:{own_id(bench)}"
    message, command = bench.send(message_id=slot), react(bench, "👍")
    (sent,) = bench.uplinks("message.reaction")
    accepted: dict[str, Json] = {"message_id": slot, "accepted_at": 5}
    bench.down("message.ack", accepted, trace_id=sent["trace_id"], chat_id=CHAT)
    assert isinstance(bench.results[command], Receipt) and message not in bench.results
    bench.down("message.ack", accepted, trace_id="unknown", chat_id=CHAT)
    assert bench.results[message] == Receipt(CHAT, slot, 5, slot)


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
    for command, problem in (
        (react(bench, "é" * 33), "66 bytes"),
        (react(bench, "👍", target=""), "id of its message"),
    ):
        result = bench.results[command]
        assert isinstance(result, SendRejected) and result.code == "unencodable"
        assert result.reason is not None and problem in result.reason
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


@pytest.mark.rule("RX-3", "RX-7")
def test_a_slot_that_we_have_written_into_is_told_again() -> None:
    """What was told of it last is no longer what is in it, even if no copy of our own write ever comes."""
    bench = LinkBench()
    other = own_id(bench)
    assert len(reaction(bench, "👍", other)) == 1
    react(bench, "❤")
    (sent,) = bench.uplinks("message.reaction")
    assert [one.emoji for one in reaction(bench, "😶", other)] == ["😶"], "written before ours, seen after"
    bench.down("message.ack", {"message_id": "rxn", "accepted_at": 5}, trace_id=sent["trace_id"], chat_id=CHAT)
    assert [one.emoji for one in reaction(bench, "😶", other)] == ["😶"], "and written once more"
    assert reaction(bench, "😶", other) == []


@pytest.mark.rule("RX-3")
def test_what_was_told_before_we_wrote_is_told_again_if_it_comes_after() -> None:
    bench = LinkBench()
    other = own_id(bench)
    assert [len(reaction(bench, "👍", other)) for _ in range(2)] == [1, 0]
    react(bench, "❤")
    assert [len(reaction(bench, "👍", other)) for _ in range(2)] == [1, 0]


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.sampled_from(["ours", "sibling", "lost answer", "cut"]), st.sampled_from(["👍", "👎", None])),
        max_size=20,
    )
)
@example([("sibling", "👍"), ("lost answer", "👎"), ("sibling", "👍")])
def test_our_own_slot_converges_to_the_last_write(acts: list[tuple[str, str | None]]) -> None:
    """We and another device of ours write into one slot; the hub sends us copies of the other's writes only."""
    bench = v2()
    bench.liveness = False
    shown: str | None = None
    for act, emoji in acts:
        if act == "cut":
            bench.reconnect()
            continue
        if act == "sibling":
            for event in reaction(bench, emoji, own_id(bench), stamped=True):
                shown = event.emoji
        else:
            shown = emoji
            react(bench, emoji)
            sent = bench.uplinks("message.reaction")[-1]
            if act == "ours":
                bench.down("message.ack", {"message_id": "rxn"}, trace_id=sent["trace_id"], chat_id=CHAT)
        assert shown == emoji


def test_slots_are_bounded() -> None:
    bench = LinkBench(policy=Policy(remembered_slots=10))
    bench.liveness = False
    for number in range(100):
        reaction(bench, "👍", f"usr_{number}")
    slots = bench.state.inbox.slots
    assert len(slots) <= 10


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


@pytest.mark.rule("RECALL-1", "R2-11")
@pytest.mark.parametrize("event", ["message.recall", "message.reaction"])
def test_what_names_no_message_is_quarantined(event: str) -> None:
    bench = v2()
    bench.stamped(event, {"target_message_id": "", "emoji": "👍", "reactor_user_id": "u"}, chat_id=CHAT, sender=SENDER)
    (rejected,) = bench.told(FrameRejected)
    assert rejected.problem == "payload.target_message_id is empty"
    bench.message("")
    assert received_ids(bench) == [""], "nothing was withdrawn"
    bench.run_for(200)
    assert acks(bench) == [1]


@pytest.mark.rule("RECALL-3")
def test_there_is_no_way_to_recall() -> None:
    assert not [name for name in vars(commands) if "recall" in name.lower()]
