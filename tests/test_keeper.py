"""The engine with a message store, against a scripted session: what is committed, settled, handed out, and when."""

from collections.abc import Sequence

import pytest
from attrs import evolve

from clawproto import events
from clawproto.app_events import (
    AppEvent,
    FrameRejected,
    LoggedOut,
    MessageRecalled,
    MessageReceived,
    MessagesSaved,
    MessagesUnsaved,
    PermissionDecided,
    ReactionChanged,
    ReadMarkMoved,
    Ready,
    ReplayFinished,
    SaveAlarm,
    SendSettled,
    SignalReceived,
    TypingChanged,
)
from clawproto.effects import Effect, Emit, Keep
from clawproto.engine import Engine
from clawproto.events import Event, KeepFailed, Kept, Settle, Start, Stop, Tick
from clawproto.filing import Filing
from clawproto.instant import Instant
from clawproto.keeper import Commit, CommitFailed, Committed, Keeper
from clawproto.keeping import Arrival, Backlog, Change, Filed, ForUser, Handled, KeptSend, Quarantined
from clawproto.mailbox import InboxLimit, SettleMode
from clawproto.policy import Policy
from tests.test_engine import CREDENTIALS, IDENTITY, READY, Scripted, frame, message

SEND = KeptSend("s-1", 1, "msg-1", "cnv_1", "message.send", "{}", None, 0)


class Desk:
    """An engine, its scripted session, and a message store that answers when the test says so."""

    def __init__(
        self,
        *,
        limit: InboxLimit | None = None,
        settle: SettleMode = "auto",
        backlog: Backlog | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.mono = 0
        self.session = Scripted()
        self.filing = Filing()
        self.notices: list[AppEvent] = []
        self.engine = Engine(
            self.session,
            now=lambda: Instant(self.mono, self.mono),
            inbox_limit=limit,
            settle=settle,
            keeps_messages=True,
            policy=policy,
            on_notice=self.notices.append,
        )
        self.filing.commit([ForUser(IDENTITY.user_id)])
        self.engine.take_up(evolve(backlog or Backlog(), user_id=IDENTITY.user_id))
        self.engine.handle(Start(CREDENTIALS))

    @property
    def keeper(self) -> Keeper:
        assert self.engine.keeper is not None
        return self.engine.keeper

    @property
    def commit(self) -> Commit:
        (commit,) = self.keeper.commits
        return commit

    def arrives(self, *emitted: tuple[AppEvent, int | None]) -> None:
        """One frame brings these events."""
        self.session.on(events.FrameReceived, *[Emit(event, delivery) for event, delivery in emitted])
        self.engine.handle(frame())

    def does(self, *effects: Effect) -> None:
        self.session.on(Tick, *effects)
        self.engine.handle(Tick())

    def store(self) -> Sequence[Change]:
        """The store carries out what it was given; returns that."""
        commit = self.commit
        self.engine.commit_report(Committed(commit.number, self.filing.commit(commit.changes)))
        return commit.changes

    def fail(self, *, lost: bool = False, after_all: bool = False) -> None:
        """The store fails; ``after_all``: it has stored it nevertheless."""
        if after_all:
            self.filing.commit(self.commit.changes)
        self.engine.commit_report(CommitFailed(self.commit.number, "disk full", lost))

    def drain(self) -> list[AppEvent]:
        """Everything that can be handed out now."""
        taken: list[AppEvent] = []
        while (event := self.engine.take()) is not None:
            taken.append(event)
        return taken

    def fed(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.session.seen if isinstance(event, kind)]


@pytest.mark.rule("R2-9", "R2-10")
def test_an_event_is_settled_and_handed_out_when_it_is_committed() -> None:
    desk = Desk()
    desk.arrives((message(1), 7))
    assert desk.drain() == [] and desk.fed(Settle) == []
    assert desk.store() == (Arrival(message(1)),)
    assert desk.fed(Settle) == [Settle(7)]
    assert desk.drain() == [message(1)]
    assert not desk.keeper.commits


@pytest.mark.rule("R2-9")
def test_what_the_application_is_done_with_is_recorded_and_not_settled_twice() -> None:
    desk = Desk()
    desk.arrives((message(1), 7))
    desk.store()
    desk.drain()
    assert not desk.keeper.commits
    desk.engine.mailbox.settle_handed_out()
    assert desk.store() == (Handled(1),)
    assert desk.filing.backlog() == Backlog(last_row=1, user_id=IDENTITY.user_id)
    assert desk.fed(Settle) == [Settle(7)]


@pytest.mark.rule("RPL-4")
def test_events_keep_the_order_of_their_arrival() -> None:
    desk = Desk()
    signal = SignalReceived("friend.added", "usr_2", 1, "ev-1", ())
    desk.arrives((READY, None), (message(1), 1), (ReplayFinished(True), None), (signal, 2))
    assert desk.drain() == [READY]
    desk.store()
    assert desk.drain() == [message(1), ReplayFinished(True), signal]


def test_one_commit_is_under_way_and_the_rest_gathers() -> None:
    desk = Desk()
    for number in range(1, 5):
        desk.arrives((message(number), number))
    desk.does(Keep(9, (SEND,)))
    assert desk.store() == (Arrival(message(1)),)
    assert desk.store() == (*(Arrival(message(number)) for number in range(2, 5)), SEND)
    assert desk.fed(Kept) == [Kept(9)]
    assert desk.drain() == [message(number) for number in range(1, 5)]
    assert desk.keeper.is_idle


def test_a_commit_is_bounded_but_takes_a_whole_batch_of_sends() -> None:
    desk = Desk(policy=Policy(keep_batch=2))
    for number in range(1, 6):
        desk.arrives((message(number), number))
    desk.does(Keep(9, (SEND,) * 3))
    sizes: list[int] = []
    while desk.keeper.commits:
        sizes.append(len(desk.store()))
    assert sizes == [1, 2, 2, 3]


@pytest.mark.rule("R2-28", "SEND-19")
def test_what_is_no_news_is_settled_and_not_handed_out() -> None:
    desk = Desk()
    desk.filing.commit([Arrival(message(1))])
    desk.arrives((message(1), 1))
    desk.store()
    assert desk.fed(Settle) == [Settle(1)] and desk.drain() == []
    assert desk.keeper.is_idle


def test_in_legacy_mode_messages_are_kept_as_well() -> None:
    desk = Desk()
    desk.arrives((message(1), None))
    desk.store()
    assert desk.fed(Settle) == [] and desk.drain() == [message(1)]
    desk.engine.mailbox.settle_handed_out()
    assert desk.store() == (Handled(1),)


@pytest.mark.rule("RECALL-1", "RECALL-2", "READ-4", "RX-3")
def test_recalls_reactions_marks_and_decisions_are_filed_though_no_place_waits_for_them() -> None:
    desk = Desk()
    decided = PermissionDecided("cnv_1", "req-1", "send_file", "approved", None)
    changed = ReactionChanged("cnv_1", "m-2", "usr_2", "x")
    told = (MessageRecalled("cnv_1", "m-1"), changed, ReadMarkMoved("cnv_1", 5), decided)
    desk.arrives(*((event, None) for event in told), (TypingChanged("cnv_1", "usr_2", True), None))
    assert desk.drain() == []
    assert desk.store() == tuple(Arrival(event) for event in told)
    assert desk.drain() == [*told, TypingChanged("cnv_1", "usr_2", True)] and desk.fed(Settle) == []


@pytest.mark.rule("R2-11")
def test_what_cannot_be_taken_is_kept_in_quarantine() -> None:
    desk = Desk(settle="explicit")
    rejected = FrameRejected("message.send", "no id", "{", 1)
    desk.arrives((rejected, None), (message(1), 1))
    assert desk.store() == (Quarantined(rejected), Arrival(message(1)))
    assert desk.drain() == [rejected, message(1)]
    desk.engine.reject(message(1), "unknown")  # not the one that was handed out: nothing to settle
    (by_application,) = desk.store()
    assert isinstance(by_application, Quarantined) and by_application.rejection.message == message(1)


@pytest.mark.rule("R2-11")
def test_what_the_application_rejects_is_handled() -> None:
    desk = Desk(settle="explicit")
    desk.arrives((message(1), 1))
    desk.store()
    (taken,) = desk.drain()
    assert isinstance(taken, MessageReceived)
    desk.engine.reject(taken, "unknown")
    desk.store()
    while desk.keeper.commits:
        desk.store()
    assert desk.filing.backlog().arrivals == () and len(desk.filing.quarantine) == 1


@pytest.mark.rule("R2-9")
def test_the_backlog_is_handed_out_first() -> None:
    backlog = Backlog((Filed(3, message(3)), Filed(5, message(5))), last_row=6)
    desk = Desk(backlog=backlog)
    desk.arrives((READY, None))
    assert desk.drain() == [message(3), message(5), READY]
    desk.engine.mailbox.settle_handed_out()
    assert desk.store() == (Handled(3),)
    assert desk.store() == (Handled(5),)


# --- failures ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("R2-10", "REF-10")
def test_a_failed_commit_is_tried_again_for_ever() -> None:
    desk = Desk()
    desk.arrives((message(1), 1))
    changes, waits = desk.commit.changes, list[int]()
    desk.arrives((message(2), 2))
    for _ in range(9):
        desk.fail()
        due = desk.engine.next_deadline()
        assert due is not None and not desk.keeper.commits
        waits.append(due - desk.mono)
        desk.mono = due - 1
        desk.engine.handle(Tick())
        assert not desk.keeper.commits
        desk.mono = due
        desk.engine.handle(Tick())
        assert desk.commit.changes == changes
    assert waits == [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]
    assert desk.drain() == [MessagesUnsaved(3, "disk full")] and desk.fed(Settle) == []
    desk.store()
    assert desk.drain() == [message(1), MessagesSaved(9)]
    desk.store()
    assert desk.drain() == [message(2)]
    assert desk.notices == [MessagesUnsaved(3, "disk full"), MessagesSaved(9)]
    assert desk.engine.next_deadline() is None
    desk.arrives((message(3), 3))
    desk.fail()
    assert desk.engine.next_deadline() == desk.mono + 100, "what is over does not count"


@pytest.mark.rule("REF-10")
@pytest.mark.parametrize(
    ("failures", "news"), [(1, []), (2, []), (3, [MessagesUnsaved(3, "disk full"), MessagesSaved(3)])]
)
def test_only_the_third_failure_in_a_row_raises_an_alarm(failures: int, news: list[AppEvent]) -> None:
    desk = Desk()
    desk.arrives((message(1), 1))
    for _ in range(failures):
        desk.fail()
        desk.mono += 1_000
        desk.engine.handle(Tick())
    desk.store()
    assert desk.notices == news
    assert [event for event in desk.drain() if event not in news] == [message(1)]


@pytest.mark.rule("R2-10")
def test_a_commit_whose_report_was_lost_is_news_all_the_same() -> None:
    desk = Desk()
    desk.filing.commit([Arrival(message(1)), Handled(1)])
    desk = _with_filing(desk.filing)
    desk.arrives((message(1), 1), (message(2), 2), (message(2), 3))
    desk.fail(after_all=True)
    desk.mono = 100
    desk.engine.handle(Tick())
    desk.store()
    assert desk.drain() == [message(2)], "the first was handled long ago, the third is the second"
    assert desk.fed(Settle) == [Settle(1), Settle(2), Settle(3)]
    desk.engine.mailbox.settle_handed_out()
    desk.store()
    assert desk.filing.backlog().arrivals == ()


@pytest.mark.rule("R2-10")
def test_after_a_lost_report_what_was_told_before_is_still_no_news() -> None:
    desk = Desk()
    desk.arrives((message(1), 1))
    desk.store()
    desk.arrives((message(1), 2), (message(2), 3))
    desk.fail(after_all=True)
    desk.mono = 100
    desk.engine.handle(Tick())
    desk.store()
    assert desk.drain() == [message(1), message(2)]
    assert desk.fed(Settle) == [Settle(1), Settle(2), Settle(3)]


FIRST, LAST = evolve(message(1), message=evolve(message(1).message, stream_merged=True)), message(1)
RECALL = MessageRecalled("cnv_1", LAST.message_id)
LOW, HIGH = ReadMarkMoved("cnv_1", 5), ReadMarkMoved("cnv_1", 7)


@pytest.mark.rule("R2-10", "STREAM-14", "RECALL-1", "READ-4")
@pytest.mark.parametrize(
    ("arrived", "told"),
    [
        ((FIRST, LAST), LAST),
        ((LAST, FIRST), LAST),
        ((FIRST, LAST, FIRST), LAST),
        ((LAST, RECALL), RECALL),
        ((RECALL, LAST), RECALL),
        ((LAST, RECALL, LAST), RECALL),
        ((LOW, HIGH), HIGH),
        ((HIGH, LOW), HIGH),
    ],
)
def test_of_a_commit_whose_report_was_lost_the_last_word_is_told(arrived: tuple[AppEvent, ...], told: AppEvent) -> None:
    """Several arrivals have ended in one row, and it is what the row holds that the application is told."""
    desk = Desk()
    desk.arrives(*[(event, place) for place, event in enumerate(arrived, 1)])
    desk.fail(after_all=True)
    desk.mono = 100
    desk.engine.handle(Tick())
    desk.store()
    assert desk.drain() == [told]
    assert desk.fed(Settle) == [Settle(place) for place, _ in enumerate(arrived, 1)]
    desk.engine.mailbox.settle_handed_out()
    desk.store()
    assert desk.filing.backlog().arrivals == ()


@pytest.mark.rule("R2-11")
def test_a_frame_is_settled_when_its_place_in_quarantine_is_committed() -> None:
    desk = Desk()
    rejected = FrameRejected("message.send", "no id", "{", 1)
    desk.arrives((rejected, 4))
    assert desk.fed(Settle) == [] and desk.drain() == []
    assert desk.store() == (Quarantined(rejected),)
    assert desk.fed(Settle) == [Settle(4)] and desk.drain() == [rejected]
    assert desk.filing.quarantine == [rejected] and not desk.filing.waiting


def test_what_another_user_brings_begins_a_commit() -> None:
    """So that what the one before had left can come again after a lost report without becoming theirs."""
    desk = Desk()
    desk.arrives((message(1), 1))
    desk.arrives((message(2), 2))
    desk.session.credentials = evolve(CREDENTIALS, identity=evolve(IDENTITY, user_id="usr_other"))
    desk.session.on(events.Stored)
    desk.engine.handle(events.Stored(9, 2))
    desk.arrives((message(2), 3))
    assert desk.store() == (Arrival(message(1)),)
    assert desk.store() == (Arrival(message(2)),)
    desk.engine.handle(events.Stored(10, 3))
    assert desk.store() == (ForUser("usr_other"), Arrival(message(2)))
    assert not desk.keeper.commits
    assert desk.filing.backlog().arrivals == (Filed(3, message(2)),) and desk.filing.user_id == "usr_other"


@pytest.mark.rule("SEND-15")
def test_the_application_is_told_what_its_store_has_given_up() -> None:
    desk = Desk(backlog=Backlog((Filed(1, message(1)),), last_number=1, last_row=1, expired=(SEND,)))
    assert desk.drain() == [message(1), SendSettled("cnv_1", "msg-1", accepted=False, code="expired")]


@pytest.mark.parametrize("user_id", [None, "usr_other", IDENTITY.user_id])
def test_whose_a_store_is_is_said_first_unless_it_knows(user_id: str | None) -> None:
    engine = Engine(Scripted(), now=lambda: Instant(0, 0), keeps_messages=True)
    assert engine.keeper is not None
    engine.take_up(Backlog(user_id=user_id))
    engine.handle(Start(CREDENTIALS))
    said = [] if user_id == IDENTITY.user_id else [(ForUser(IDENTITY.user_id),)]
    assert [commit.changes for commit in engine.keeper.commits] == said


@pytest.mark.rule("R2-9", "R2-10")
@pytest.mark.parametrize("user_id", ["", IDENTITY.user_id])
def test_a_store_that_is_new_needs_no_taking_up(user_id: str) -> None:
    session, mono = Scripted(), 0
    session.credentials = evolve(CREDENTIALS, identity=evolve(IDENTITY, user_id=user_id))
    engine = Engine(session, now=lambda: Instant(mono, mono), keeps_messages=True)
    assert engine.keeper is not None
    engine.handle(Start(session.credentials))
    assert [commit.changes for commit in engine.keeper.commits] == [(ForUser(user_id),)]
    engine.commit_report(Committed(engine.keeper.commits[0].number, ()))
    session.on(events.FrameReceived, Emit(message(1), 1))
    engine.handle(frame())
    engine.commit_report(CommitFailed(engine.keeper.commits[0].number, "the report was lost"))
    mono = 100
    engine.handle(Tick())
    engine.commit_report(Committed(engine.keeper.commits[0].number, (Filed(1, None),)))
    assert engine.take() == message(1)


def _with_filing(filing: Filing) -> Desk:
    desk = Desk(backlog=filing.backlog())
    desk.filing = filing
    return desk


def test_news_of_trouble_overtakes_while_commits_fail() -> None:
    desk = Desk()
    alarm = SaveAlarm(3, "disk full")
    over = LoggedOut("refused", 401, "", IDENTITY, cleared=False)
    desk.arrives((message(1), 1), (alarm, None))
    assert desk.drain() == []
    desk.fail()
    assert desk.drain() == [alarm]
    desk.arrives((over, None), (ReplayFinished(True), None))
    assert desk.drain() == [over]
    desk.mono = 100
    desk.engine.handle(Tick())
    desk.store()
    assert desk.drain() == [message(1), ReplayFinished(True)]


@pytest.mark.rule("R2-25")
def test_what_waits_for_its_commit_counts_in_the_inbox() -> None:
    desk = Desk(limit=InboxLimit(events=2))
    desk.arrives((message(1), 1))
    desk.arrives((message(2), 2))
    assert desk.engine.paused and desk.session.count(events.ReceiverPaused) == 1
    desk.store()
    desk.store()
    assert desk.engine.paused
    desk.drain()
    desk.engine.mailbox.settle_handed_out()
    assert not desk.engine.paused and desk.session.count(events.ReceiverResumed) == 1


@pytest.mark.rule("R2-25")
def test_sizes_add_up_while_they_wait_for_their_commit() -> None:
    desk = Desk(limit=InboxLimit(size=3 * len(frame().data)))
    for number in range(1, 4):
        assert not desk.engine.paused
        desk.arrives((message(number), number))
    assert desk.engine.paused
    while desk.keeper.commits:
        desk.store()
    desk.drain()
    assert not desk.engine.paused, "handed out, they take no room"


@pytest.mark.rule("R2-25")
def test_with_room_for_one_the_next_is_read_when_that_is_settled() -> None:
    desk = Desk(limit=InboxLimit(events=1))
    for number in (1, 2):
        desk.arrives((message(number), number))
        assert desk.engine.paused
        desk.store()
        assert desk.drain() == [message(number)]
        desk.engine.mailbox.settle_handed_out()
        desk.store()
        assert not desk.engine.paused


@pytest.mark.rule("R2-25")
def test_reading_goes_on_when_what_filled_the_inbox_was_no_news() -> None:
    desk = Desk(limit=InboxLimit(events=2, size=15))
    desk.filing.commit([Arrival(message(1)), Arrival(message(2))])
    desk.arrives((message(1), 1), (message(2), 2))
    assert desk.engine.paused
    desk.store()
    assert not desk.engine.paused and desk.session.count(events.ReceiverResumed) == 1


@pytest.mark.rule("R2-11")
def test_what_can_never_be_stored_holds_nothing_up() -> None:
    desk = Desk()
    desk.arrives((message(1), 1), (message(2), 2), (ReplayFinished(True), None))
    desk.engine.commit_report(CommitFailed(desk.commit.number, "no such letters", unstorable=0))
    quarantined, rest = desk.store()
    assert isinstance(quarantined, Quarantined) and rest == Arrival(message(2))
    rejection = quarantined.rejection
    assert (rejection.problem, rejection.message, rejection.dropped) == ("no such letters", message(1), 1)
    assert desk.drain() == [rejection, message(2), ReplayFinished(True)]
    assert desk.fed(Settle) == [Settle(1), Settle(2)]
    assert list(desk.engine.quarantined) == [rejection]
    assert desk.notices == [ReplayFinished(True), rejection]


@pytest.mark.rule("R2-11")
@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_change_that_is_blamed_is_set_aside_and_no_other(index: int) -> None:
    desk = Desk()
    desk.arrives(*[(message(number), number) for number in range(3)])
    desk.engine.commit_report(CommitFailed(desk.commit.number, "?", unstorable=index))
    changes = list(desk.store())
    blamed = changes.pop(index)
    assert isinstance(blamed, Quarantined) and blamed.rejection.message == message(index)
    assert changes == [Arrival(message(number)) for number in range(3) if number != index]


@pytest.mark.rule("R2-11")
def test_not_even_a_quarantine_that_cannot_be_stored_holds_anything_up() -> None:
    desk = Desk()
    desk.arrives((message(1), 1), (FrameRejected("message.send", "no id", "{", 1), None), (message(2), 2))
    for _ in range(2):  # the message, then its place in the quarantine
        desk.engine.commit_report(CommitFailed(desk.commit.number, "?", unstorable=0))
    desk.engine.commit_report(CommitFailed(desk.commit.number, "?", unstorable=1))
    assert desk.store() == (Handled(0), Arrival(message(2)))
    assert desk.fed(Settle) == [Settle(1), Settle(2)]


@pytest.mark.parametrize("index", [1, 2, 99, -1])
def test_a_send_that_is_blamed_is_an_ordinary_failure(index: int) -> None:
    desk = Desk()
    desk.does(Keep(9, (SEND, SEND)))
    desk.engine.commit_report(CommitFailed(desk.commit.number, "?", unstorable=index))
    assert not desk.keeper.commits and desk.engine.next_deadline() == 100


# --- the end -------------------------------------------------------------------------------------------------------


def test_the_end_waits_for_the_store() -> None:
    desk = Desk()
    desk.session.is_finished = True
    desk.arrives((message(1), 1))
    desk.engine.handle(Stop())
    assert not desk.engine.is_finished
    desk.store()
    assert desk.engine.is_finished


def test_after_a_stop_a_store_that_fails_is_given_up() -> None:
    desk = Desk()
    desk.session.is_finished = True
    desk.arrives((message(1), 1))
    desk.does(Keep(9, (SEND,)))
    desk.engine.handle(Stop())
    for _ in range(3):
        assert not desk.engine.is_finished
        desk.fail()
        desk.mono += 1_000
        desk.engine.handle(Tick())
    assert desk.engine.is_finished
    assert desk.fed(KeepFailed) == [KeepFailed(9, "disk full")] and desk.fed(Settle) == []
    desk.does(Keep(10, (SEND,)))
    desk.arrives((message(2), 2))
    assert desk.fed(KeepFailed)[1:] == [KeepFailed(10, "the message store was given up")]
    assert desk.fed(Settle) == [] and desk.keeper.is_idle


def test_a_stop_does_not_wait_out_the_backoff() -> None:
    desk = Desk()
    desk.arrives((message(1), 1))
    for _ in range(2):
        desk.fail()
        desk.mono += 200
        desk.engine.handle(Tick())
    desk.fail()
    assert not desk.keeper.commits
    desk.engine.handle(Stop())
    assert desk.commit.changes == (Arrival(message(1)),)


def test_a_store_that_belongs_to_somebody_else_is_given_up_at_once() -> None:
    desk = Desk()
    desk.arrives((message(1), 1))
    desk.does(Keep(9, (SEND,)))
    desk.fail(lost=True)
    assert desk.keeper.is_idle and desk.fed(Settle) == []
    assert [event.operation for event in desk.session.seen if isinstance(event, KeepFailed)] == [9]


def test_stale_and_late_reports_change_nothing() -> None:
    desk = Desk()
    desk.engine.commit_report(CommitFailed(1, "?"))
    desk.arrives((message(1), 1))
    commit = desk.commit
    desk.engine.commit_report(Committed(commit.number + 1, (Filed(1, message(1)),)))
    assert desk.commit is commit and desk.drain() == []
    desk.engine.shut()
    desk.engine.commit_report(Committed(commit.number, (Filed(1, message(1)),)))
    assert desk.drain() == []


def test_an_engine_without_a_store_has_no_commits() -> None:
    session = Scripted()
    engine = Engine(session, now=lambda: Instant(0, 0))
    engine.commit_report(CommitFailed(1, "?"))
    assert not len(session.seen)
    session.on(Start, Emit(Ready("d", "v2")))
    engine.handle(Start(CREDENTIALS))
    assert engine.take() == Ready("d", "v2")
