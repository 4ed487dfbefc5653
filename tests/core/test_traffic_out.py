"""The short way of sends and acks comes to what ``step`` comes to, event by event."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from clawproto import traffic_out
from clawproto.effects import Effect, Resolve, SendFrame
from clawproto.events import Event, FrameReceived, React, Send, SetTyping, Tick
from clawproto.evolving import evolve
from clawproto.ids import Minter
from clawproto.instant import Instant
from clawproto.policy import Policy
from clawproto.results import Receipt
from clawproto.session import Session, step
from clawproto.state import State
from clawproto.traffic import Traffic
from tests.core.link_harness import LinkBench
from tests.core.messaging import HELLO, answer
from tests.core.test_traffic import said


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["send", "send", "ack", "ack", "late", "look"]), st.integers(0, 40)), max_size=80
    ),
    st.sampled_from([0, 3, 30]),
    st.sampled_from([2_000, 15_000]),
    st.sampled_from([0, 8, 256]),
)
@pytest.mark.rule("SEND-8", "SEND-11", "SEND-13", "SEND-15")
def test_sends_and_acks_in_any_order(history: list[tuple[str, int]], former: int, timeout: int, few: int) -> None:
    """Densely: each send has a deadline of its own, and any of them may be answered first, and again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(traffic_out, "_FEW", few)
        check_sends(history, former, timeout)


def check_sends(history: list[tuple[str, int]], former: int, timeout: int) -> None:
    bench = LinkBench(grant="v2", policy=Policy(ack_timeout_ms=timeout))
    assert bench.online
    state, now = bench.state, bench.now
    sent: list[tuple[str, str]] = []
    decided: list[tuple[str, str]] = []
    for number in range(former):
        now = Instant(now.wall_ms + 1, now.mono_ms + 3)
        state, done = step(state, Send(4_000_000 + number, "cnv_1", HELLO), now)
        sent += uplinks(done)
    session = Session.of(state)
    for number, (what, at) in enumerate(history, 5_000_000):
        now = Instant(now.wall_ms + 1, now.mono_ms + 3)
        event: Event
        if what == "send":
            event = Send(number, "cnv_1", HELLO)
        elif what == "look":
            assert session.state == state
            continue
        else:
            source = sent if what == "ack" else decided
            if not source:
                continue
            answered = source.pop(0 if at % 3 else at % len(source))
            decided.append(answered)
            event = FrameReceived(bench.generation, answer("by id" if at % 5 == 4 else "", *answered, 0))
        state, expected = step(state, event, now)
        assert session.handle(event, now) == expected
        assert session.next_deadline() == state.deadline
        sent += uplinks(expected)
    assert session.state == state


@pytest.mark.rule("SEND-15")
def test_what_is_decided_is_not_learnt_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three former sends and one that is known, two are decided before the rest becomes few enough to be learnt."""
    monkeypatch.setattr(traffic_out, "_FEW", 2)
    first, last, look = ("ack", 1), ("ack", 3), ("look", 0)
    history = [("send", 0), look, first, look, first, look, last, first, ("late", 6), ("late", 1)]
    check_sends(history, 3, 15_000)


def both(bench: LinkBench, events: list[tuple[Event, int]]) -> tuple[list[Effect], State]:
    """Let a session and ``step`` do these, each so many ms after the one before, and compare."""
    state, session, now, done = bench.state, Session.of(bench.state), bench.now, list[Effect]()
    for event, later in events:
        now = Instant(now.wall_ms + later, now.mono_ms + later)
        state, expected = step(state, event, now)
        assert session.handle(event, now) == expected
        done += expected
    assert session.state == state
    return done, state


def uplinks(effects: Iterable[Effect]) -> list[tuple[str, str]]:
    """Trace and message id of what was sent."""
    sent = [json.loads(effect.text) for effect in effects if isinstance(effect, SendFrame)]
    return [(one["trace_id"], one["payload"].get("message_id", "")) for one in sent]


@pytest.mark.rule("SEND-11", "SEND-15")
def test_an_ack_that_comes_late_or_names_two_messages() -> None:
    """Late: its sender was told "undecided". Two: the trace is of one that is decided, so the message id tells."""
    bench = LinkBench(grant="v2", policy=Policy(ack_timeout_ms=2_000))
    assert bench.online
    one: tuple[Event, int] = (Send(1, "cnv_1", HELLO), 1)
    other: tuple[Event, int] = (Send(2, "cnv_1", HELLO), 1)
    tick: tuple[Event, int] = (Tick(), 5_000)
    look: tuple[Event, int] = (Tick(), 0)
    done, _ = both(bench, [one, other])
    (one_trace, one_id), (_, other_id) = uplinks(done)
    first: tuple[Event, int] = (FrameReceived(bench.generation, answer("", one_trace, one_id, 0)), 1)
    second: tuple[Event, int] = (FrameReceived(bench.generation, answer("", one_trace, other_id, 0)), 1)
    for events in ([one, other, first, second], [one, other, look, first, second], [one, look, other, first, second]):
        _, state = both(bench, [*events, second])
        assert not len(state.outbox.entries)
    _, state = both(bench, [one, other, tick, first, second])
    assert not len(state.outbox.entries) and not len(state.outbox.told)


@pytest.mark.rule("RX-1", "LIM-3")
def test_reactions_and_what_is_too_large_are_left_to_step() -> None:
    bench = LinkBench(grant="v2")
    assert bench.online
    react, send = (React(1, "cnv_1", "msg-1", "x"), 1), (Send(2, "cnv_1", HELLO), 1)
    done, _ = both(bench, [react])
    ack = FrameReceived(bench.generation, answer("by trace", uplinks(done)[0][0], "", 0)), 1
    _, state = both(bench, [react, send, ack])
    assert len(state.outbox.entries) == 1
    for size in (180_000, 900_000):
        for character in "x\U0001f600":
            done, _ = both(bench, [(Send(3, "cnv_1", ({"kind": "text", "text": character * size},)), 1)])
            assert [type(effect) for effect in done] == [SendFrame if size == 180_000 else Resolve]


def test_sends_go_the_short_way() -> None:
    """Else everything above would pass without it."""
    bench = LinkBench(grant="v2")
    assert bench.online
    traffic = Traffic.begin(bench.state)
    assert traffic is not None
    effects = traffic.handle(Send(1, "cnv_1", HELLO), bench.now)
    assert effects is not None
    (frame_sent,) = effects
    assert isinstance(frame_sent, SendFrame)
    assert len(traffic.state().outbox.entries) == 1 and not len(bench.state.outbox.entries)
    uplink = json.loads(frame_sent.text)
    ack = answer("", uplink["trace_id"], uplink["payload"]["message_id"], 0)
    effects = traffic.handle(FrameReceived(bench.generation, ack), bench.now)
    message_id = uplink["payload"]["message_id"]
    assert effects == (Resolve(1, Receipt("cnv_1", message_id, 5, message_id)),)
    assert not len(traffic.state().outbox.entries)
    assert traffic.handle(Send(2, "cnv_1", (), message_id="msg-own"), bench.now) is None
    assert traffic.handle(Send(2, "elsewhere", ()), bench.now) is None


@pytest.mark.rule("SEND-5")
def test_an_id_that_somebody_has_foreseen_is_left_to_step() -> None:
    """It would be the same twice; ids are minted from seed and clock, so a restarted host can know them."""
    bench = LinkBench(grant="v2")
    assert bench.online
    foreseen = f"msg-{Minter(bench.state.counters.ids, bench.state.config.seed).mint(bench.now.wall_ms)}"
    state, _ = step(bench.state, Send(1, "cnv_1", (), message_id=foreseen), bench.now)
    state = evolve(state, counters=evolve(state.counters, ids=bench.state.counters.ids))
    event = Send(2, "cnv_1", HELLO)
    traffic = Traffic.begin(state)
    assert traffic is not None and traffic.handle(event, bench.now) is None
    assert Session.of(state).handle(event, bench.now) == step(state, event, bench.now)[1]


@pytest.mark.rule("SEND-15")
def test_an_ack_that_comes_twice_settles_once_though_former_sends_were_taken_up_meanwhile() -> None:
    bench = LinkBench(grant="v2")
    state, former = step(bench.state, Send(1, "cnv_1", HELLO), bench.now)
    session = Session.of(state)
    sent = session.handle(Send(2, "cnv_1", HELLO), bench.now)
    assert session.state.outbox.entries
    (former_trace, former_id), (trace, message_id) = uplinks(former)[0], uplinks(sent)[0]
    ours = FrameReceived(bench.generation, answer("", trace, message_id, 0))
    theirs = FrameReceived(bench.generation, answer("", former_trace, former_id, 0))
    assert [type(effect) for effect in session.handle(ours, bench.now)] == [Resolve]
    assert [type(effect) for effect in session.handle(theirs, bench.now)] == [Resolve]
    assert session.handle(ours, bench.now) == ()


def test_what_was_due_and_has_been_answered_leaves_no_trace() -> None:
    """The look at all machines, which the deadline of a send would have brought, is not made up for."""
    bench = LinkBench(grant="v2")
    send: tuple[Event, int] = (Send(2, "cnv_1", HELLO), 0)
    done, _ = both(bench, [(Tick(), 6_000), send])
    trace, message_id = uplinks(done)[0]
    ack = FrameReceived(bench.generation, answer("", trace, message_id, 0))
    first, second = (FrameReceived(bench.generation, said(number, number)) for number in (1, 2))
    both(bench, [(Tick(), 6_000), send, (ack, 1), (first, 14_000), (second, 1_000)])


@pytest.mark.parametrize("name", ["ack_timeout_ms", "typing_expiry_ms", "typing_guard_ms", "replay_idle_ms"])
def test_what_is_over_as_it_begins_is_left_to_step(name: str) -> None:
    span: Any = {name: 0}
    bench = LinkBench(grant="v2", policy=Policy(**span))
    both(bench, [(Send(2, "cnv_1", HELLO), 0), (SetTyping("cnv_1", True), 0), (Tick(), 1)])
