"""The engine against a scripted session: what is sorted where, and what a driver is told."""

from collections.abc import Callable

import pytest

from clawproto import events
from clawproto.app_events import LoggedOut, MessageReceived, Ready, ReplayFinished, SignalReceived
from clawproto.credentials import Credentials, Guard, Identity, Intent, TokenPair
from clawproto.effects import (
    Abort,
    Close,
    Effect,
    Emit,
    Logout,
    Open,
    Persist,
    Reconnect,
    RecordIntent,
    Reload,
    RememberDevice,
    RequestHttp,
    RequestRefresh,
    Resolve,
    SendFrame,
    Swap,
)
from clawproto.engine import Engine
from clawproto.events import Event, Refresh, Start, Stop, Stored
from clawproto.http import HttpAnswer, HttpRequest
from clawproto.instant import Instant
from clawproto.mailbox import InboxLimit, SettleMode
from clawproto.results import Paired, RefreshSkipped, Result, StoppedResult
from clawproto.secret import Secret
from clawproto.wire.values import MessagePayload

IDENTITY = Identity("usr_me", "dev", "http://hub", "ws://hub/ws")
PAIR = TokenPair(Secret("access"), Secret("refresh"))
CREDENTIALS = Credentials(IDENTITY, PAIR, 1)
HTTP = HttpRequest("POST", "http://hub/v1")
READY = Ready("dev", "v2")


class Scripted:
    """A session that answers each event with what the test put down for it."""

    def __init__(self) -> None:
        self.script: dict[type[object], list[tuple[Effect, ...]]] = {}
        self.seen: list[Event] = []
        self.error: Exception | None = None
        self.is_finished = False
        self.is_ready = True
        self.guard = Guard()
        self.credentials: Credentials | None = CREDENTIALS
        self.state: object = "a state"
        self.deadline: int | None = None

    def on(self, kind: type[object], *effects: Effect) -> None:
        self.script.setdefault(kind, []).append(effects)

    def handle(self, event: Event, now: Instant) -> tuple[Effect, ...]:
        if self.error is not None:
            raise self.error
        self.seen.append(event)
        prepared = self.script.get(type(event))
        return prepared.pop(0) if prepared else ()

    def next_deadline(self) -> int | None:
        return self.deadline

    def count(self, kind: type[object]) -> int:
        return sum(isinstance(event, kind) for event in self.seen)


def make(
    session: Scripted,
    *,
    limit: InboxLimit | None = None,
    settle: SettleMode = "auto",
    on_step: Callable[[], None] = lambda: None,
) -> Engine:
    engine = Engine(session, now=lambda: Instant(0, 0), inbox_limit=limit, settle=settle, on_step=on_step)
    engine.handle(Start(CREDENTIALS))
    return engine


def message(number: int) -> MessageReceived:
    return MessageReceived(
        event="message.send",
        chat_id="cnv_1",
        chat_type="direct",
        sender=None,
        message=MessagePayload(f"msg-{number}", "normal", (), ()),
        own=False,
        system=False,
        update=False,
        conversational=True,
        emitted_at_ms=None,
    )


def frame(size: int = 10) -> events.FrameReceived:
    return events.FrameReceived(1, b"x" * size)


def test_io_is_sorted_by_who_does_it_and_keeps_its_order() -> None:
    session = Scripted()
    saves: tuple[Effect, ...] = (
        RecordIntent(1, Intent("d", 1, 0)),
        Persist(2, CREDENTIALS, 1),
        Logout(3, IDENTITY, "d", 1, "refused"),
        Reload(4),
        RememberDevice("dev"),
    )
    calls: tuple[Effect, ...] = (RequestRefresh(1, HTTP, 1), RequestHttp(2, HTTP, 1, "rest"))
    session.on(Start, *saves, *calls)
    engine = make(session)
    assert tuple(engine.store_jobs) == saves
    assert tuple(engine.http_jobs) == calls


def test_frames_and_closing_stay_in_one_queue_per_socket() -> None:
    session = Scripted()
    first, second = SendFrame(1, "a", "ping"), SendFrame(1, "b", "ping")
    session.on(Start, Open(1, "ws://hub/ws", 1))
    session.on(events.Tick, first, second, Close(1, 1000, "bye"))
    engine = make(session)
    assert [opening.generation for opening in engine.openings] == [1]
    engine.handle(events.Tick())
    assert list(engine.links[1].outgoing) == [first, second, Close(1, 1000, "bye")]
    assert engine.links[1].closing


@pytest.mark.rule("REF-26")
def test_a_reconnect_keeps_the_old_socket_apart_from_the_new_one() -> None:
    session = Scripted()
    session.on(Start, Open(1, "ws://hub/ws", 1))
    session.on(events.Tick, Reconnect(1, "rotated"), Open(2, "ws://hub/ws", 1), SendFrame(2, "x", "connect"))
    engine = make(session)
    engine.handle(events.Tick())
    assert list(engine.links[1].outgoing) == [Reconnect(1, "rotated")]
    assert list(engine.links[2].outgoing) == [SendFrame(2, "x", "connect")]


def test_nothing_is_written_to_a_socket_that_is_gone() -> None:
    session = Scripted()
    session.on(Start, Open(1, "ws://hub/ws", 1))
    session.on(events.Closed, SendFrame(1, "late", "ping"), Close(1, 1000, ""))
    engine = make(session)
    engine.handle(events.Closed(1, 1006))
    session.on(events.Tick, SendFrame(1, "late", "ping"), Close(1, 1000, ""))
    engine.handle(events.Tick())
    assert engine.links == {}


def test_frames_of_an_aborted_socket_do_not_reach_the_session() -> None:
    session = Scripted()
    session.on(Start, Open(1, "ws://hub/ws", 1))
    session.on(events.Tick, Abort(1))
    engine = make(session)
    engine.receive(1, b"before")
    engine.handle(events.Tick())
    engine.receive(1, b"after")
    assert list(engine.aborts) == [1]
    assert [event.data for event in session.seen if isinstance(event, events.FrameReceived)] == [b"before"]


@pytest.mark.rule("OUT-11")
def test_every_command_is_resolved_once_whatever_happens() -> None:
    session = Scripted()
    engine = make(session)
    results: list[Result] = []
    for _ in range(3):
        engine.submit(Refresh, results.append)
    session.on(events.Tick, Resolve(2, RefreshSkipped("in-flight")), Resolve(2, RefreshSkipped("in-flight")))
    engine.handle(events.Tick())
    assert results == [RefreshSkipped("in-flight")]
    engine.shut()
    engine.shut()
    assert results == [RefreshSkipped("in-flight"), StoppedResult(), StoppedResult()]
    engine.submit(Refresh, results.append)
    assert results[3:] == [StoppedResult()]
    assert session.count(Refresh) == 3


def test_a_command_that_cannot_be_given_is_not_resolved() -> None:
    session = Scripted()
    engine = make(session)
    results: list[Result] = []

    def impossible(_command: int) -> Refresh:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        engine.submit(impossible, results.append)
    session.error = RuntimeError("misuse")
    with pytest.raises(RuntimeError, match="misuse"):
        engine.submit(Refresh, results.append)
    engine.shut()
    assert results == []


def test_reading_pauses_at_the_high_mark_and_resumes_at_half() -> None:
    session = Scripted()
    for number in range(4):
        session.on(events.FrameReceived, Emit(message(number), number))
    session.on(Start, Open(1, "ws://hub/ws", 1))
    engine = make(session, limit=InboxLimit(events=4))
    for _ in range(3):
        engine.receive(1, b"{}")
    assert engine.may_read(1)
    engine.receive(1, b"{}")
    assert not engine.may_read(1)
    assert session.count(events.ReceiverPaused) == 1
    engine.take()
    engine.take()
    assert session.count(events.ReceiverResumed) == 0, "what was handed out is still owed an ack (R2-25)"
    engine.mailbox.settle_handed_out()
    assert session.count(events.ReceiverResumed) == 1
    assert engine.may_read(1)


def test_the_size_of_the_frames_counts_as_well() -> None:
    session = Scripted()
    session.on(events.FrameReceived, Emit(message(1), 1))
    engine = make(session, limit=InboxLimit(size=1000))
    engine.handle(frame(1000))
    assert engine.paused
    engine.take()
    assert not engine.paused


def test_a_full_inbox_holds_up_neither_handshake_nor_closing() -> None:
    session = Scripted()
    session.on(Start, Open(1, "ws://hub/ws", 1))
    session.on(events.FrameReceived, Emit(message(1), 1))
    engine = make(session, limit=InboxLimit(events=1))
    engine.receive(1, b"{}")
    assert not engine.may_read(1)
    session.is_ready = False
    assert engine.may_read(1)
    session.is_ready = True
    session.on(events.Tick, Close(1, 1000, "bye"))
    engine.handle(events.Tick())
    assert engine.may_read(1)
    # What a closing socket still brings is not taken up: unacknowledged, it comes again.
    engine.receive(1, b"{}")
    assert session.count(events.FrameReceived) == 1


def test_news_about_the_session_cannot_fill_the_memory() -> None:
    session = Scripted()
    session.on(events.FrameReceived, Emit(READY), Emit(message(1), 1), Emit(message(2), 2))
    engine = make(session, limit=InboxLimit(events=3))
    engine.handle(frame())
    for number in range(50):
        session.on(events.Tick, Emit(ReplayFinished(announced=bool(number % 2))))
        engine.handle(events.Tick())
    assert len(engine.mailbox) == 3
    assert engine.mailbox.displaced == 50
    taken = [engine.take() for _ in range(3)]
    assert taken == [message(1), message(2), ReplayFinished(announced=True)]


@pytest.mark.rule("R2-9")
def test_auto_settles_what_was_handed_out_when_the_next_is_asked_for() -> None:
    session = Scripted()
    session.on(events.FrameReceived, Emit(READY), Emit(message(1), 7))
    engine = make(session)
    engine.handle(frame())
    engine.take()
    engine.mailbox.settle_handed_out()
    engine.take()
    assert session.count(events.Settle) == 0
    engine.mailbox.settle_handed_out()
    engine.mailbox.settle_handed_out()
    assert [event for event in session.seen if isinstance(event, events.Settle)] == [events.Settle(7)]


@pytest.mark.rule("R2-10")
def test_explicit_settles_what_the_application_names_once() -> None:
    session = Scripted()
    session.on(events.FrameReceived, Emit(message(1), 7), Emit(message(1), 8), Emit(READY))
    engine = make(session, settle="explicit")
    engine.handle(frame())
    handed = [engine.take() for _ in range(3)]
    engine.mailbox.settle_handed_out()
    assert session.count(events.Settle) == 0
    for event in (handed[1], handed[1], handed[2]):
        assert event is not None
        engine.mailbox.settle(event)
    assert [event for event in session.seen if isinstance(event, events.Settle)] == [events.Settle(8)]


@pytest.mark.rule("R2-8", "R2-10")
def test_explicit_is_about_messages_and_signals_settle_themselves() -> None:
    session = Scripted()
    signal = SignalReceived("friend.added", "usr_1", 1, "ev-1", ())
    session.on(events.FrameReceived, Emit(signal, 7), Emit(message(1), 8))
    engine = make(session, settle="explicit")
    engine.handle(frame())
    assert [engine.take(), engine.take()] == [signal, message(1)]
    engine.mailbox.settle_handed_out()
    assert [event for event in session.seen if isinstance(event, events.Settle)] == [events.Settle(7)]


@pytest.mark.rule("REF-32", "REF-10")
def test_a_rotation_is_held_from_the_request_until_its_save_is_confirmed() -> None:
    session = Scripted()
    session.on(Start, RequestRefresh(1, HTTP, 1))
    session.on(events.HttpAnswered, Persist(5, CREDENTIALS, 1))
    session.on(events.StoreFailed, Persist(6, CREDENTIALS, 1))
    session.on(Stored, Swap(PAIR))
    engine = make(session)
    assert engine.holds_rotation
    engine.handle(events.HttpAnswered(1, HttpAnswer(200)))
    assert engine.holds_rotation
    engine.handle(events.StoreFailed(5, "full"))
    assert engine.holds_rotation
    engine.handle(Stored(5, 2))  # an answer to an older try says nothing about this one
    assert engine.holds_rotation
    engine.handle(Stored(6, 2))
    assert not engine.holds_rotation


def test_rest_calls_are_nothing_to_wait_for_and_pairing_is() -> None:
    session = Scripted()
    session.on(Start, RequestHttp(1, HTTP, 1, "rest"))
    engine = make(session)
    assert not engine.holds_rotation
    session.on(events.Tick, RequestHttp(2, HTTP, 1, "pairing"))
    engine.handle(events.Tick())
    assert engine.holds_rotation
    engine.handle(events.HttpFailed(2, False, "refused"))
    assert not engine.holds_rotation


def test_it_is_finished_when_session_sockets_and_store_are() -> None:
    session = Scripted()
    session.on(Start, Open(1, "ws://hub/ws", 1), RememberDevice("dev"))
    engine = make(session)
    session.is_finished = True
    assert not engine.is_finished
    engine.handle(Stop())
    assert not engine.is_finished
    engine.handle(events.Closed(1, 1000))
    assert not engine.is_finished
    engine.store_jobs.clear()
    assert engine.is_finished


def test_a_logout_is_told_once_it_was_handed_out_and_forgotten_with_new_tokens() -> None:
    session = Scripted()
    logged_out = LoggedOut("refused", 10003, "revoked", IDENTITY, cleared=True)
    session.on(events.Tick, Emit(logged_out))
    engine = make(session)
    engine.handle(events.Tick())
    assert engine.logged_out == logged_out
    assert not engine.logout_was_told
    assert engine.take() == logged_out
    assert engine.logout_was_told
    session.on(events.Tick, Resolve(9, Paired(CREDENTIALS)))
    engine.handle(events.Tick())
    assert engine.logged_out is None
    assert not engine.logout_was_told


def test_the_driver_and_the_observer_see_every_step_after_it_was_sorted() -> None:
    session = Scripted()
    session.on(events.Tick, Open(1, "ws://hub/ws", 1))
    steps: list[int] = []
    observed: list[tuple[Event, int, object]] = []
    engine = Engine(
        session,
        now=lambda: Instant(1, 2),
        on_step=lambda: steps.append(len(engine.openings)),
        observer=lambda now, event, effects, state: observed.append((event, len(effects), state)),
    )
    engine.handle(Start(CREDENTIALS))
    engine.handle(events.Tick())
    assert steps == [0, 1]
    assert observed == [(Start(CREDENTIALS), 0, "a state"), (events.Tick(), 1, "a state")]


def test_the_deadline_is_the_sessions() -> None:
    session = Scripted()
    session.deadline = 42
    assert make(session).next_deadline() == 42


def test_frames_that_came_together_are_one_batch_with_one_instant() -> None:
    session, steps, readings = Scripted(), list[int](), list[Instant]()
    session.on(Start, Open(1, "ws://hub/ws", 1))
    for number in range(3):
        session.on(events.FrameReceived, Emit(message(number), number))

    def read() -> Instant:
        readings.append(Instant(0, len(readings)))
        return readings[-1]

    engine = Engine(session, now=read)
    engine.handle(Start(CREDENTIALS))
    engine.has_work = False
    engine.on_step = lambda: steps.append(len(engine.mailbox))
    readings.clear()
    assert engine.receive_all(1, [b"a", b"b", b"c"]) == 3
    assert steps == [3]
    assert len(readings) == 1
    assert not engine.has_work


def test_a_frame_that_leaves_work_is_looked_after_before_the_next() -> None:
    session, steps = Scripted(), list[int]()
    session.on(Start, Open(1, "ws://hub/ws", 1))
    session.on(events.FrameReceived, SendFrame(1, "x", "ping"))

    def look() -> None:
        engine.has_work = False
        steps.append(session.count(events.FrameReceived))

    engine = Engine(session, now=lambda: Instant(0, 0), on_step=look)
    engine.handle(Start(CREDENTIALS))
    steps.clear()
    assert engine.receive_all(1, [b"a", b"b"]) == 2
    assert steps == [1, 2]


@pytest.mark.rule("R2-25")
def test_a_batch_ends_where_the_inbox_is_full_and_goes_on_later() -> None:
    session = Scripted()
    session.on(Start, Open(1, "ws://hub/ws", 1))
    for number in range(4):
        session.on(events.FrameReceived, Emit(message(number), number))
    engine = make(session, limit=InboxLimit(events=2))
    frames = [b"a", b"b", b"c", b"d"]
    assert engine.receive_all(1, frames) == 2
    assert engine.paused and not engine.may_read(1)
    assert engine.receive_all(1, frames[2:]) == 0
    engine.take()
    engine.take()
    engine.mailbox.settle_handed_out()
    assert engine.may_read(1)
    assert engine.receive_all(1, frames[2:]) == 2


@pytest.mark.rule("CLOSE-12")
def test_a_batch_for_a_closing_socket_goes_nowhere_while_the_inbox_is_full() -> None:
    session = Scripted()
    session.on(Start, Open(1, "ws://hub/ws", 1))
    session.on(events.FrameReceived, Emit(message(1), 1))
    session.on(events.Tick, Reconnect(1, "rotated"))
    engine = make(session, limit=InboxLimit(events=1))
    engine.receive(1, b"a")
    engine.handle(events.Tick())
    assert engine.receive_all(1, [b"b", b"c"]) == 2
    assert session.count(events.FrameReceived) == 1


def test_a_batch_ends_with_its_socket() -> None:
    session = Scripted()
    session.on(Start, Open(1, "ws://hub/ws", 1))
    session.on(events.FrameReceived, Abort(1))
    engine = make(session)
    assert engine.receive_all(1, [b"a", b"b"]) == 2
    assert engine.receive_all(9, [b"a"]) == 1
    assert session.count(events.FrameReceived) == 1


def test_work_is_told_for_all_but_messages_and_their_settling() -> None:
    session = Scripted()
    session.on(Start, Open(1, "ws://hub/ws", 1))
    session.on(events.FrameReceived, Emit(message(1), 1))
    session.on(events.FrameReceived, Emit(READY))
    engine = make(session)
    assert engine.has_work
    engine.has_work = False
    engine.receive(1, b"a")
    assert engine.take() is not None
    engine.mailbox.settle_handed_out()
    assert not engine.has_work
    engine.receive(1, b"b")
    assert engine.has_work
    engine.has_work = False
    engine.handle(Stop())
    assert engine.has_work
