"""Our typing indicator: repeated, shown again, and always ended."""

import pytest

from clawproto.policy import Policy
from tests.core.link_harness import CHAT, OTHER_CHAT, LinkBench


def shown(bench: LinkBench, chat_id: str | None = None) -> list[bool]:
    """What was said so far, about one chat or all."""
    return [
        one["payload"]["is_typing"]
        for one in bench.uplinks("typing.update")
        if chat_id is None or one["chat_id"] == chat_id
    ]


@pytest.mark.rule("TYPE-2")
def test_it_is_repeated_every_three_seconds_and_no_more_often() -> None:
    bench = LinkBench()
    bench.type()
    bench.run_for(2_999)
    bench.type()
    bench.type()
    assert shown(bench) == [True]
    bench.run_for(1)
    assert shown(bench) == [True] * 2
    bench.run_for(30_000)
    assert shown(bench) == [True] * 12


@pytest.mark.rule("TYPE-1", "TYPE-2")
def test_it_is_ended_once() -> None:
    bench = LinkBench()
    bench.type(False)
    bench.type()
    bench.run_for(4_000)
    bench.type(False)
    bench.type(False)
    bench.run_for(60_000)
    assert shown(bench) == [True, True, False]
    bench.type()
    assert shown(bench)[-1], "another activity begins at once"


@pytest.mark.rule("TYPE-6", "TYPE-1")
def test_it_is_cut_off_after_fifteen_minutes() -> None:
    bench = LinkBench()
    bench.liveness = False
    bench.type()
    bench.run_for(899_999)
    assert False not in shown(bench)
    bench.run_for(1)
    assert shown(bench)[-1] is False
    before = len(shown(bench))
    bench.run_for(60_000)
    assert len(shown(bench)) == before and bench.state.typing == ()


@pytest.mark.rule("TYPE-6")
def test_saying_so_again_renews_the_guard() -> None:
    bench = LinkBench(policy=Policy(typing_guard_ms=10_000))
    bench.type()
    bench.run_for(9_000)
    bench.type()
    bench.run_for(9_999)
    assert False not in shown(bench)
    bench.run_for(1)
    assert shown(bench)[-1] is False


@pytest.mark.rule("SEND-20", "TYPE-2")
def test_what_still_goes_on_is_shown_again_after_a_reconnect() -> None:
    bench = LinkBench()
    bench.type()
    bench.type(chat_id=OTHER_CHAT)
    bench.closed(1006)
    bench.type(False, OTHER_CHAT)
    assert shown(bench) == [True, True]
    bench.online_again()
    assert shown(bench, CHAT) == [True, True] and shown(bench, OTHER_CHAT) == [True]


@pytest.mark.rule("SEND-20", "TYPE-2")
def test_while_the_connection_is_gone_there_is_nothing_to_repeat() -> None:
    bench = LinkBench(policy=Policy(reconnect_jitter=0.0))
    bench.type()
    bench.closed(4002, "retry_after_ms=60000")
    assert bench.deadline == bench.now.mono_ms + 60_000


@pytest.mark.rule("SEND-20", "TYPE-6")
def test_what_begins_offline_is_not_repeated_to_nobody() -> None:
    bench = LinkBench(policy=Policy(reconnect_jitter=0.0, typing_guard_ms=10_000))
    bench.closed(4002, "retry_after_ms=60000")
    bench.type()
    assert bench.deadline == bench.now.mono_ms + 10_000, "only the guard is due"


@pytest.mark.rule("TYPE-1", "CLOSE-12")
@pytest.mark.parametrize("how", ["stop", "silence"])
def test_a_deliberate_close_ends_it_first(how: str) -> None:
    bench = LinkBench()
    bench.type()
    bench.type(chat_id=OTHER_CHAT)
    if how == "stop":
        bench.stop()
        bench.run_for(60_000)
        assert shown(bench, CHAT) == shown(bench, OTHER_CHAT) == [True, False]
        return
    bench.answers_pings = False
    bench.run_for(45_000)
    assert bench.online, "it came back"
    for chat_id in (CHAT, OTHER_CHAT):
        said = shown(bench, chat_id)
        assert said.count(False) == 1 and said[-1] is True


@pytest.mark.rule("ERR-17", "ERR-10")
def test_a_gate_stops_it_and_its_end() -> None:
    bench = LinkBench()
    bench.type()
    bench.down("notify.signal", {"type": "conversation.dissolved", "entity_id": CHAT, "event_id": "e"})
    bench.run_for(10_000)
    bench.type(False)
    assert shown(bench) == [True]
    bench.type()
    bench.run_for(10_000)
    assert shown(bench) == [True]
    bench.message("msg-1")
    bench.run_for(3_000)
    assert shown(bench) == [True, True], "a sign of life opens the way again"


@pytest.mark.rule("ROUTE-7")
def test_a_chat_that_is_none_is_not_typed_in() -> None:
    bench = LinkBench()
    bench.type(chat_id="")
    bench.type(chat_id="chat-1")
    bench.run_for(10_000)
    assert shown(bench) == [] and bench.state.typing == ()


@pytest.mark.rule("TYPE-1", "ERR-17", "SEND-20")
def test_what_the_new_connection_has_not_heard_of_is_not_ended_there() -> None:
    bench = LinkBench()
    bench.type()
    bench.down("notify.signal", {"type": "conversation.dissolved", "entity_id": CHAT, "event_id": "e"})
    bench.reconnect()
    bench.message("msg-1")
    bench.type(False)
    assert shown(bench) == [True], "the gate was open again, but nothing was shown yet"
