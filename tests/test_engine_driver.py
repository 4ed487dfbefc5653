"""What a driver and its application may rely on: counts, instants, calls of ``on_step``, and what is told twice."""

from collections.abc import Callable

import pytest

from clawproto import events
from clawproto.app_events import CredentialsNeeded, FrameRejected, LoggedOut, MessageReceived
from clawproto.effects import Abort, Close, Effect, Emit, Keep, Open, Resolve
from clawproto.engine import Engine, Queue
from clawproto.events import Event, Refresh, Start, Stored
from clawproto.instant import Instant
from clawproto.keeper import CommitFailed, Committed
from clawproto.keeping import Backlog, Filed
from clawproto.mailbox import InboxLimit
from clawproto.results import Paired, Receipt, RefreshSkipped, Result
from clawproto.wire.codec import EXCERPT_LIMIT
from clawproto.wire.values import MessagePayload, TextFragment
from tests.test_engine import CREDENTIALS, IDENTITY, READY, Scripted, make, message
from tests.test_keeper import Desk


def online(*, limit: InboxLimit | None = None, on_step: Callable[[], None] = lambda: None) -> tuple[Scripted, Engine]:
    """A session whose first socket is open."""
    session = Scripted()
    session.on(Start, Open(1, "ws://hub/ws", 1))
    return session, make(session, limit=limit, on_step=on_step)


def frames_of(session: Scripted) -> list[tuple[int, str | bytes]]:
    return [(event.generation, event.data) for event in session.seen if isinstance(event, events.FrameReceived)]


def rejected(number: int) -> FrameRejected:
    return FrameRejected("message.send", "no id", "{", number)


def test_an_engine_that_has_done_nothing() -> None:
    engine = Engine(Scripted(), now=lambda: Instant(0, 0))
    flags = (engine.has_work, engine.paused, engine.stopped, engine.is_shut, engine.credentials_needed)
    assert flags == (False,) * 5
    assert (engine.logged_out, engine.logout_told, engine.logout_was_told) == (None, None, False)
    assert (engine.rejected, engine.received, engine.accepted) == (0, 0, 0)
    assert not engine.quarantined and not engine.links and not engine.holds_rotation


def test_queues_give_the_oldest_first() -> None:
    queue = Queue("abc")
    assert [queue.popleft() for _ in range(3)] == ["a", "b", "c"]
    with pytest.raises(IndexError):
        queue.popleft()


def test_a_socket_knows_its_number_and_reads_on_until_it_is_closed() -> None:
    session, engine = online()
    link = engine.links[1]
    assert (link.generation, link.closing) == (1, False)
    session.on(events.Tick, Close(1, 1000, "bye"))
    engine.handle(events.Tick())
    assert engine.links[1] is link and link.closing


def test_what_is_gone_may_go_again() -> None:
    """The end of a socket is reported by whoever notices it first; after an abort by nobody, or late."""
    session, engine = online()
    session.on(events.Tick, Abort(1), Abort(7))
    engine.handle(events.Tick())
    engine.handle(events.Closed(1, 1006))
    engine.handle(events.OpenFailed(8, "refused"))
    assert engine.links == {} and list(engine.aborts) == [1, 7]


# --- the instant of a step -----------------------------------------------------------------------------------------


def test_session_and_observer_are_told_one_instant() -> None:
    stepped, observed, readings = list[Instant](), list[Instant](), list[Instant]()

    class Clocked(Scripted):
        def handle(self, event: Event, now: Instant) -> tuple[Effect, ...]:
            stepped.append(now)
            return super().handle(event, now)

    def read() -> Instant:
        readings.append(Instant(1_000 + len(readings), len(readings)))
        return readings[-1]

    session = Clocked()
    session.on(Start, Open(1, "ws://hub/ws", 1))
    engine = Engine(session, now=read, observer=lambda now, _event, _effects, _state: observed.append(now))
    engine.handle(Start(CREDENTIALS))
    engine.handle(events.Tick())
    engine.receive(1, b"{}")
    assert stepped == observed == readings[:3] and len(readings) >= 3


@pytest.mark.parametrize(("session", "store", "expected"), [(42, False, 42), (42, True, 42), (120, True, 100)])
def test_the_deadline_is_the_sessions_or_that_of_the_commits(session: int, store: bool, expected: int) -> None:
    """A commit that has failed is tried again 100 ms later."""
    desk = Desk()
    desk.session.deadline = session
    if store:
        desk.arrives((message(1), 1))
        desk.fail()
    assert desk.engine.next_deadline() == expected


# --- frames --------------------------------------------------------------------------------------------------------


@pytest.mark.rule("R2-25")
def test_a_frame_that_was_read_already_is_taken_though_the_inbox_is_full() -> None:
    session, engine = online(limit=InboxLimit(events=1))
    session.on(events.FrameReceived, Emit(message(1), 1))
    engine.receive(1, b"a")
    assert engine.paused and not engine.may_read(1)
    engine.receive(1, b"b")
    assert engine.receive_all(1, [b"c"]) == 0
    assert engine.receive_all(1, [b"d", b"e"], even_if_full=True) == 2
    assert frames_of(session) == [(1, b"a"), (1, b"b"), (1, b"d"), (1, b"e")]


@pytest.mark.rule("R2-25")
def test_a_full_inbox_does_not_hold_up_the_frames_of_a_handshake() -> None:
    session, engine = online(limit=InboxLimit(events=1))
    session.on(events.FrameReceived, Emit(message(1), 1))
    engine.receive(1, b"a")
    session.is_ready = False
    assert engine.receive_all(1, [b"b", b"c"]) == 2
    assert frames_of(session) == [(1, b"a"), (1, b"b"), (1, b"c")]


def test_frames_that_go_nowhere_are_no_step() -> None:
    steps: list[int] = []
    session, engine = online(limit=InboxLimit(events=1), on_step=lambda: steps.append(0))
    session.on(events.FrameReceived, Emit(message(1), 1))
    steps.clear()
    assert engine.receive_all(9, [b"a", b"b"]) == 2
    assert engine.receive_all(1, []) == 0
    assert steps == []
    engine.receive(1, b"a")
    session.on(events.Tick, Close(1, 1000, "bye"))
    engine.handle(events.Tick())
    steps.clear()
    assert engine.receive_all(1, [b"a", b"b"]) == 2
    assert steps == [] and frames_of(session) == [(1, b"a")]


# --- the inbox -----------------------------------------------------------------------------------------------------


@pytest.mark.rule("R2-25")
def test_the_driver_is_called_when_reading_goes_on_and_not_before() -> None:
    steps: list[int] = []
    session, engine = online(limit=InboxLimit(events=4), on_step=lambda: steps.append(0))
    session.on(events.FrameReceived, *[Emit(message(number), None) for number in range(5)])
    engine.receive(1, b"a")
    steps.clear()
    engine.has_work = False
    found: list[tuple[int, bool, bool]] = []
    while engine.take() is not None:
        found.append((len(steps), engine.has_work, engine.paused))
    assert found == [(0, False, True), (0, False, True), (1, True, False), (1, True, False), (1, True, False)]


@pytest.mark.rule("REF-32")
def test_after_a_stop_room_in_the_inbox_is_work_for_the_driver_alone() -> None:
    session, engine = online(limit=InboxLimit(events=1))
    session.on(events.FrameReceived, Emit(message(1), None))
    engine.receive(1, b"a")
    engine.handle(events.Stop())
    assert engine.paused and not engine.may_read(1)
    engine.has_work = False
    assert engine.take() == message(1)
    assert engine.has_work and engine.may_read(1)
    assert session.count(events.ReceiverResumed) == 0


@pytest.mark.rule("R2-9")
def test_events_are_settled_by_asking_for_the_next_unless_said_otherwise() -> None:
    session = Scripted()
    session.on(events.FrameReceived, Emit(message(1), 7))
    engine = Engine(session, now=lambda: Instant(0, 0))
    engine.handle(Start(CREDENTIALS))
    engine.handle(events.FrameReceived(1, b"{}"))
    assert engine.take() == message(1)
    engine.mailbox.settle_handed_out()
    assert session.seen[-1] == events.Settle(7)


def test_a_backlog_that_fills_the_inbox_does_not_step_a_session_that_was_not_started() -> None:
    """The application may begin with it while the driver still starts."""
    session = Scripted()
    engine = Engine(session, now=lambda: Instant(0, 0), keeps_messages=True, inbox_limit=InboxLimit(events=2))
    backlog = Backlog(tuple(Filed(row, message(row)) for row in range(1, 4)), last_row=3, user_id=IDENTITY.user_id)
    engine.take_up(backlog)
    assert engine.take() == message(1)
    engine.mailbox.settle_handed_out()
    assert session.seen == []
    engine.handle(Start(CREDENTIALS))
    assert session.seen == [Start(CREDENTIALS), events.ReceiverPaused()]


# --- counts --------------------------------------------------------------------------------------------------------


def test_messages_sends_and_rejections_are_counted() -> None:
    session, engine = online()
    session.on(events.FrameReceived, Emit(message(1), 1), Emit(READY), Emit(rejected(1)), Emit(message(2), 2))
    session.on(events.FrameReceived, Emit(message(3), None), Emit(rejected(2)))
    found: list[tuple[int, int, int]] = []
    for _ in range(2):
        engine.receive(1, b"{}")
        found.append((engine.received, engine.rejected, engine.accepted))
    assert found == [(2, 1, 0), (3, 2, 0)]
    assert engine.quarantined == [rejected(1), rejected(2)]
    receipt = Receipt("cnv_1", "msg-1", 5, "msg-1")
    session.on(events.FrameReceived, Resolve(1, receipt), Resolve(2, receipt), Resolve(3, RefreshSkipped("in-flight")))
    session.on(events.FrameReceived, Resolve(4, receipt))
    for accepted in (2, 3):
        engine.receive(1, b"{}")
        assert (engine.received, engine.rejected, engine.accepted) == (3, 2, accepted)


@pytest.mark.rule("R2-11")
def test_what_the_application_rejects_is_kept_with_its_beginning() -> None:
    session, engine = online()
    long = MessageReceived(
        event="message.reply",
        chat_id="cnv_1",
        chat_type="direct",
        sender=None,
        message=MessagePayload("msg-9", "normal", (TextFragment("x" * 150), TextFragment("y" * 150)), ()),
        own=False,
        system=False,
        update=False,
        conversational=True,
        emitted_at_ms=None,
    )
    session.on(events.FrameReceived, Emit(message(1), 7), Emit(long, 8))
    engine.receive(1, b"{}")
    for number in (1, 2):
        taken = engine.take()
        assert isinstance(taken, MessageReceived)
        engine.reject(taken, f"reason {number}")
    assert engine.quarantined == [
        FrameRejected("message.send", "reason 1", "", 1, message=message(1)),
        FrameRejected("message.reply", "reason 2", "x" * 150 + "y" * (EXCERPT_LIMIT - 150), 2, message=long),
    ]
    assert engine.rejected == 2
    assert [event for event in session.seen if isinstance(event, events.Settle)] == [events.Settle(7), events.Settle(8)]


@pytest.mark.rule("R2-11")
def test_what_is_no_message_and_can_never_be_stored_is_kept_without_a_name() -> None:
    desk = Desk()
    desk.arrives((READY, 5))
    desk.engine.commit_report(CommitFailed(desk.commit.number, "no such letters", unstorable=0))
    assert desk.engine.quarantined == [FrameRejected(None, "no such letters", "", 1)]


def test_after_the_end_nothing_more_is_filed() -> None:
    desk = Desk()
    desk.arrives((message(1), 1))
    desk.store()
    (taken,) = desk.drain()
    assert isinstance(taken, MessageReceived)
    desk.engine.shut()
    desk.engine.reject(taken, "too late")
    assert not desk.keeper.commits and desk.keeper.is_idle and len(desk.engine.quarantined) == 1


# --- commands ------------------------------------------------------------------------------------------------------


def test_commands_are_numbered_from_one() -> None:
    session, engine = online()
    for _ in range(3):
        engine.submit(Refresh, lambda _: None)
    assert [event for event in session.seen if isinstance(event, Refresh)] == [Refresh(1), Refresh(2), Refresh(3)]


def test_what_goes_wrong_after_the_result_reaches_whoever_gave_the_command() -> None:
    session, engine = online()
    results: list[Result] = []

    def resolve(result: Result) -> None:
        results.append(result)
        raise RuntimeError("of the application")

    session.on(Refresh, Resolve(1, RefreshSkipped("in-flight")))
    with pytest.raises(RuntimeError, match="of the application"):
        engine.submit(Refresh, resolve)
    engine.shut()
    assert results == [RefreshSkipped("in-flight")]


# --- what makes work -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("report", ["stored", "failed", "stale"])
def test_a_report_of_the_message_store_is_work(report: str) -> None:
    """It may have been all that the end was waiting for."""
    desk = Desk()
    desk.does(Keep(9, ()))
    desk.arrives((message(1), None))
    number = desk.commit.number
    desk.engine.has_work = False
    if report == "failed":
        desk.engine.commit_report(CommitFailed(number, "disk full"))
    else:
        desk.engine.commit_report(Committed(number + (report == "stale"), ()))
    assert desk.engine.has_work is True


def test_a_pairing_is_work() -> None:
    session, engine = online()
    session.on(Stored, Resolve(1, Paired(CREDENTIALS)))
    engine.has_work = False
    engine.handle(Stored(1, 1))
    assert engine.has_work is True


@pytest.mark.rule("OUT-10", "OUT-7")
@pytest.mark.parametrize("revived", [Emit(READY), Resolve(1, Paired(CREDENTIALS))])
def test_what_the_session_has_ended_with_is_known_until_something_revives_it(revived: Effect) -> None:
    session, engine = online()
    over = LoggedOut("refused", 10003, "revoked", IDENTITY, cleared=True)
    for _ in range(2):
        session.on(events.Tick, Emit(CredentialsNeeded("not paired")), Emit(over))
        engine.handle(events.Tick())
        assert engine.credentials_needed is True and engine.logged_out == over
        session.on(events.Tick, revived)
        engine.handle(events.Tick())
        assert engine.credentials_needed is False and engine.logged_out is None
