"""Commands that come too early or too late are resolved at once, and leave the session as it is."""

from collections.abc import Callable
from typing import Any

import pytest

from clawproto import events
from clawproto.credentials import Guard
from clawproto.effects import Reconnect, Resolve
from clawproto.events import Event
from clawproto.results import LoggedOutResult, NotPaired, RefreshSkipped, StoppedResult
from tests.core.harness import REFUSED, Bench, credentials, jwt, rotated
from tests.core.link_harness import CHAT, TEXT

RESOLVED: dict[str, Callable[[int], Event]] = {
    "send": lambda number: events.Send(number, CHAT, TEXT),
    "react": lambda number: events.React(number, CHAT, "msg-1", "x"),
    "watch": lambda number: events.WatchPresence(number, "usr_2"),
    "transfer": lambda number: events.TransferHistory(number, "phone", "history_sync_done", {}),
    "reset": events.ResetCursor,
    "open": lambda number: events.OpenStream(number, CHAT),
    "append": lambda number: events.AppendStream(number, "msg-1", "x"),
    "finish": lambda number: events.FinishStream(number, "msg-1"),
    "rest": lambda number: events.CallRest(number, "GET", "/v1/users/me"),
}
SILENT: dict[str, Event] = {
    "typing": events.SetTyping(CHAT, True),
    "read": events.MarkRead(CHAT, 5),
    "unwatch": events.UnwatchPresence("usr_2"),
    "applied": events.MarkApplied("chat", CHAT, 3),
    "fail": events.FailStream("msg-1"),
}


def never_paired() -> Bench:
    return Bench(None)


def logged_out() -> Bench:
    bench = Bench(credentials())
    bench.refresh()
    bench.reply(REFUSED)
    return bench


def stopped() -> Bench:
    bench = Bench(credentials())
    bench.stop()
    return bench


ENDS: list[Any] = [
    pytest.param(never_paired, NotPaired(), id="never paired"),
    pytest.param(logged_out, LoggedOutResult(), id="logged out"),
    pytest.param(stopped, StoppedResult(), id="stopped"),
]


@pytest.mark.rule("OUT-11", "SEND-20")
@pytest.mark.parametrize("name", RESOLVED)
@pytest.mark.parametrize(("ended", "result"), ENDS)
def test_what_has_a_number_is_resolved_and_nothing_else_happens(
    name: str, ended: Callable[[], Bench], result: Any
) -> None:
    bench = ended()
    before, command = bench.state, bench.command()
    assert bench.step(RESOLVED[name](command)) == (Resolve(command, result),)
    assert bench.state == before


@pytest.mark.rule("OUT-11", "READ-1")
@pytest.mark.parametrize("name", SILENT)
@pytest.mark.parametrize(("ended", "result"), ENDS)
def test_what_has_none_changes_nothing(name: str, ended: Callable[[], Bench], result: Any) -> None:
    del result
    bench = ended()
    before = bench.state
    assert bench.step(SILENT[name]) == ()
    assert bench.state == before


def _stop(bench: Bench) -> Bench:
    bench.stop()
    return bench


@pytest.mark.rule("REF-18", "REF-32")
@pytest.mark.parametrize(
    ("bench", "reason"),
    [
        pytest.param(lambda: Bench(None), "no-refresh-token", id="never paired"),
        pytest.param(lambda: Bench(None, guard=Guard(refused="digest")), "no-refresh-token", id="once refused"),
        pytest.param(lambda: _stop(Bench(None)), "stopped", id="never paired, stopped"),
        pytest.param(stopped, "stopped", id="stopped"),
        pytest.param(logged_out, "rejected-latch", id="logged out"),
    ],
)
def test_why_there_is_nothing_to_refresh(bench: Callable[[], Bench], reason: Any) -> None:
    ended = bench()
    before, command = ended.state, ended.command()
    assert ended.step(events.Refresh(command)) == (Resolve(command, RefreshSkipped(reason)),)
    assert ended.state == before


@pytest.mark.rule("REF-28")
def test_a_refresh_that_the_application_asked_for_leaves_the_socket_alone() -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.reply(rotated(jwt("a2")))
    assert bench.access == jwt("a2") and bench.all(Reconnect) == []
    assert bench.state.connected
