"""Read marks: they only rise, and each reaches the hub as soon as there is a way."""

import pytest
from hypothesis import given, settings, strategies as st

from clawproto.app_events import ReadMarkMoved
from clawproto.config import Capabilities
from clawproto.events import MarkRead, WatchPresence
from clawproto.json_types import Json
from clawproto.policy import Policy
from tests.core.harness import credentials, emitted, jwt, pair
from tests.core.link_harness import CHAT, OTHER_CHAT, SENDER, LinkBench, own_id


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


@pytest.mark.rule("ERR-10", "ERR-12", "ERR-14", "READ-1")
@pytest.mark.parametrize("opening", ["time", "life", "reconnect"])
def test_a_mark_goes_out_as_soon_as_its_gate_is_open(opening: str) -> None:
    """Without another mark, which may never come."""
    bench = LinkBench()
    bench.down("message.error", {"code": "not_member"}, chat_id=CHAT)
    for value in (5, 9):
        bench.step(MarkRead(CHAT, value))
    bench.reconnect()
    assert marks(bench) == []
    if opening == "life":
        bench.message("msg-1")
    else:
        bench.liveness = False
        if opening == "reconnect":
            bench.closed(1006)
        bench.run_for(600_000)
    assert marks(bench) == [9]
    bench.run_for(60_000)
    assert marks(bench) == [9], "once"


@pytest.mark.rule("READ-1", "READ-4")
def test_marks_are_bounded_and_an_owed_one_is_not_crowded_out() -> None:
    bench = LinkBench(policy=Policy(remembered_slots=10, read_marks_owed=4))
    bench.liveness = False
    bench.down("message.error", {"code": "not_member"}, chat_id=CHAT)
    bench.step(MarkRead(CHAT, 7))
    for number in range(100):
        mark(bench, 5, f"cnv_{number}")
    known = bench.state.signals.marks
    assert len(known) <= 10
    bench.message("msg-1")
    assert marks(bench) == [7]
    bench.closed(1006)
    for number in range(100):
        bench.step(MarkRead(f"cnv_x{number}", 5))
    assert len(bench.state.signals.owed_marks) == 4
    bench.online_again()
    assert len(bench.uplinks("message.read")) == 5 and marks(bench, "cnv_x99") == [5]


@pytest.mark.rule("READ-1", "OUT-11")
def test_owed_marks_do_not_outlive_the_session() -> None:
    bench = LinkBench()
    bench.down("message.error", {"code": "not_member"}, chat_id=CHAT)
    bench.step(MarkRead(CHAT, 5))
    bench.answers_close = False
    bench.stop()
    bench.message("msg-1")
    bench.step(MarkRead(OTHER_CHAT, 5))
    assert not bench.uplinks("message.read")


@pytest.mark.rule("READ-4", "OUT-8")
def test_marks_of_another_user_are_not_ours() -> None:
    bench = LinkBench()
    bench.closed(1006)
    bench.step(MarkRead(CHAT, 50))
    bench.load(credentials(pair(jwt("other"), "refresh-other"), user_id="usr_other"))
    assert bench.online and marks(bench) == []
    assert mark(bench, 10) == [ReadMarkMoved(CHAT, 10)]


@pytest.mark.rule("ERR-10", "READ-1")
@pytest.mark.parametrize(("gated", "other"), [(CHAT, OTHER_CHAT), (OTHER_CHAT, CHAT)])
def test_a_gated_chat_holds_up_no_mark_of_another(gated: str, other: str) -> None:
    bench = LinkBench()
    bench.down("message.error", {"code": "not_member"}, chat_id=gated)
    bench.closed(1006)
    for chat_id in (CHAT, OTHER_CHAT):
        bench.step(MarkRead(chat_id, 5))
    bench.online_again()
    assert marks(bench, other) == [5] and marks(bench, gated) == []


@pytest.mark.rule("READ-4", "ERR-10")
def test_a_mark_that_another_device_has_passed_is_owed_no_more() -> None:
    bench = LinkBench(capabilities=Capabilities(multi_device=True))
    bench.down("message.error", {"code": "not_member"}, chat_id=CHAT)
    bench.step(MarkRead(CHAT, 5))
    assert mark(bench, 9) == [ReadMarkMoved(CHAT, 9)]
    bench.run_for(1_000)
    bench.reconnect()
    assert marks(bench) == [], "that frame has opened the way, and there is nothing left to say"


@pytest.mark.rule("SEND-17", "PRES-3", "READ-1", "SEND-20")
def test_what_waits_for_a_connection_goes_out_in_order() -> None:
    bench = LinkBench()
    bench.closed(1006)
    bench.type()
    bench.step(MarkRead(CHAT, 5))
    bench.step(WatchPresence(bench.command(), "usr_1"))
    bench.send()
    before = len(bench.uplinks())
    bench.online_again()
    said = [one["event"] for one in bench.uplinks()[before:]]
    assert said == ["connect", "message.send", "presence.subscribe", "message.read", "typing.update"]
