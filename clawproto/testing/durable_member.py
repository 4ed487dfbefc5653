"""A member of a `clawproto.testing.world.World` that keeps its messages in a store: its process can die and come back.

    ann = world.join(user_id, "phone", kind=durable)
    ann.crash()
    ann.restart()

Store and application run in the world's queue as everything else does, so a process can die between any two of the
steps from the frame to the commit, to the ack, to the application, and back.
"""

from functools import partial

from attrs import evolve

from clawproto.app_events import AppEvent, FrameRejected
from clawproto.config import Config
from clawproto.credentials import Credentials
from clawproto.effects import Effect, Emit, Keep
from clawproto.events import Event, Start
from clawproto.filing import Filing
from clawproto.keeper import Commit, CommitFailed, CommitReport, Committed, Keeper
from clawproto.keeping import Handled
from clawproto.mailbox import InboxLimit, Mailbox
from clawproto.testing.world import Member, SettleMode, World
from clawproto.timing import earliest

_SIZE = 256  # bytes charged for an event


class DurableMember(Member):
    """One session with a message store.

    Attributes:
        filing: what its message store holds.
        rows: of the events that the application was told, in order, from all lives.
        failing: so many of the next commits fail.
        lost_reports: so many of the next commits are carried out and reported as failed.
    """

    def __init__(self, world: World, config: Config, record: Credentials, settle: SettleMode) -> None:
        super().__init__(world, evolve(config, keep_sends=True), record, settle)
        self.filing = Filing()
        self.rows: list[int] = []
        self._handled: set[int] = set()  # as the store knows
        self.failing = 0
        self.lost_reports = 0
        self._begin_life()

    def _begin_life(self) -> None:
        limit = InboxLimit(events=10**9, size=10**12)
        self.mailbox = Mailbox(limit, self._settle, self._is_handled)
        self.keeper = Keeper(self.mailbox, self.config.policy, self._feed, self._tell, self._unstorable)
        self._asked = 0

    def begin(self) -> None:
        """Start the session with what its store holds."""
        self._begin_life()
        backlog = self.filing.backlog()
        self.keeper.take_up(backlog, _SIZE)
        self.handle(Start(self.record, None, backlog.sends, backlog.last_number))

    def settle(self, delivery: int) -> None:
        """The application is done with something. ``delivery``: its row in the store."""
        event = self.held.pop(delivery, None)
        if event is not None:
            self.mailbox.settle(event)
            self._go_on()
            self._world.settle_down()

    # --- inside ---

    def next_deadline(self) -> int | None:
        """When it wants a Tick."""
        return earliest(super().next_deadline(), self.keeper.deadline) if self.is_up else None

    def handle(self, event: Event) -> None:
        """Feed the session, and put what it asks for into the world's queue."""
        super().handle(event)
        if self.is_up:
            self.later(self._go_on)
            self._world.settle_down()

    def _feed(self, event: Event) -> None:
        super().handle(event)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Emit(event, delivery):
                self.keeper.arrived(event, delivery, _SIZE)
            case Keep():
                self.keeper.keep(effect)
            case _:
                super()._carry_out(effect)
                return
        self._go_on()

    def _go_on(self) -> None:
        self.keeper.advance(self._world.now)
        if self.keeper.commits and self.keeper.commits[0].number != self._asked:
            self._asked = self.keeper.commits[0].number
            self.later(partial(self._commit, self.keeper.commits[0]))
        if len(self.mailbox):
            self.later(self._hand_out)

    def _commit(self, commit: Commit) -> None:
        report: CommitReport
        if self.failing > 0:
            self.failing -= 1
            report = CommitFailed(commit.number, "disk full")
        else:
            report = Committed(commit.number, self.filing.commit(commit.changes))
            self._handled.update(change.row for change in commit.changes if isinstance(change, Handled))
            if self.lost_reports > 0:
                self.lost_reports -= 1
                report = CommitFailed(commit.number, "input/output error")
        self.later(partial(self._committed, report))

    def _committed(self, report: CommitReport) -> None:
        self.keeper.report(report, self._world.now, is_stopped=self.session.state.tokens.stopped)
        self._go_on()

    def _hand_out(self) -> None:
        self.mailbox.settle_handed_out()
        event = self.mailbox.take()
        if event is not None:
            self._tell(event)
            self.later(self._hand_out)
        self._go_on()

    def _tell(self, event: AppEvent) -> None:
        self.told.append(event)
        row = self.mailbox.number_of(event)
        if row is None:
            return
        assert row not in self._handled, "the application is told again of what it was done with"
        self.rows.append(row)
        if self._settle == "explicit":
            self.held[row] = event

    def _unstorable(self, event: AppEvent, problem: str) -> FrameRejected:
        raise AssertionError(f"{type(event).__name__} cannot be stored: {problem}")

    def _is_handled(self, row: int) -> None:
        self.keeper.handled(row)


def durable(world: World, config: Config, record: Credentials, settle: SettleMode) -> DurableMember:
    """For the ``kind`` of `clawproto.testing.world.World.join`."""
    return DurableMember(world, config, record, settle)
