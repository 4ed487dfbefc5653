"""Durable messages, the synchronous half: with a message store, the store stands where the application stood before.

Rules: R2-9, R2-10, R2-11, R2-27, R2-28, R1-1, SEND-19, STREAM-14, REF-10 (its numbers), RPL-4.

    Emit ──> line ──────────────────────────────────────────────> mailbox ──> application
              │ occupies a place in the stream, or is a message      ^             │
              v                                                      │ news        │ done with
            Arrival ─┐                                               │             v
            Keep ────┼──> gathered ──> one commit under way ──ok──> Settle, Kept   Handled ──> gathered
            Handled ─┘                    ^        │ failed
                                          '────────' 0.1 s to 5 s later, for ever; alarm at the third

What is settled is on the disk. Events keep the order of their arrival: what needs no commit waits in the line behind
what does, so that a `ReplayFinished` never overtakes a message. Only while commits fail does news of trouble overtake.
"""

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from attrs import define

from clawproto import app_events
from clawproto.app_events import AppEvent, FrameRejected, MessageReceived, MessagesSaved, MessagesUnsaved, SendSettled
from clawproto.deferred import frozen
from clawproto.effects import Keep
from clawproto.event_rows import replaces, storable
from clawproto.events import Event, KeepFailed, Kept, Settle
from clawproto.instant import Instant
from clawproto.keeping import Arrival, Backlog, Change, Filed, ForUser, Handled, Quarantined
from clawproto.mailbox import Mailbox
from clawproto.policy import Policy
from clawproto.timing import save_backoff_ms

# What stores have a place for, also where the stream does not count it: recalls never bear a stamp (RECALL-2), and what
# an owner has decided is read out of a message that bears its own.
_KEPT = (
    MessageReceived,
    app_events.MessageRecalled,
    app_events.ReactionChanged,
    app_events.ReadMarkMoved,
    app_events.PermissionDecided,
)
_TROUBLE = (
    app_events.SaveAlarm,
    app_events.SaveRecovered,
    app_events.RefreshDelayed,
    app_events.Misconfigured,
    app_events.CredentialsNeeded,
    app_events.LoggedOut,
)


@frozen
class Commit:
    """What a driver has to give to the message store, as one transaction. Answer: Committed or CommitFailed."""

    number: int
    changes: tuple[Change, ...]


@frozen
class Committed:
    """Commit ``number`` is durable.

    Attributes:
        filed: one for each arrival, in order.
    """

    number: int
    filed: tuple[Filed, ...]


@frozen
class CommitFailed:
    """Commit ``number`` is not durable, or nobody knows.

    Attributes:
        lost: another process owns the session now: it is of no use to try again.
        unstorable: the index of a change that can never be stored (R2-11); the others are not to blame.
    """

    number: int
    detail: str
    lost: bool = False
    unstorable: int | None = None


CommitReport: TypeAlias = Committed | CommitFailed


@define(eq=False)
class _Waiting:
    """An event in the line. ``event`` becomes None if it turns out to be no news."""

    event: AppEvent | None
    delivery: int | None
    size: int
    filed: bool
    row: int | None = None


@frozen
class _Gathered:
    """Changes for the store, and what is to follow once they are durable."""

    changes: tuple[Change, ...]
    waiting: _Waiting | None = None
    operation: int | None = None


class Keeper:
    """Group commit for one session: one commit under way, the rest gathers.

    Args:
        feed: takes an event to the session.
        tell: takes news about the store to the application, past the line.
        reject: takes note of an event that cannot be stored, and why.

    Attributes:
        commits: for the driver; the first one stays in here while it is under way. At most one.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        policy: Policy,
        feed: Callable[[Event], None],
        tell: Callable[[AppEvent], None],
        reject: Callable[[AppEvent, str], FrameRejected],
    ) -> None:
        self.commits: deque[Commit] = deque()
        self._mailbox = mailbox
        self._policy = policy
        self._feed = feed
        self._tell = tell
        self._reject = reject
        self._line: deque[_Waiting] = deque()
        self._gathered: deque[_Gathered] = deque()
        self._batch: tuple[_Gathered, ...] = ()
        self._number = 0
        self._failures = 0
        self._retry_at: int | None = None
        self._given_up = False
        self._last_row = 0
        self._user_id: str | None = None

    # --- what happens ---

    def take_up(self, backlog: Backlog, size: int) -> None:
        """Hand out first what an earlier session left behind. ``size``: charged for each, in bytes."""
        self._user_id = backlog.user_id
        self._last_row = max(backlog.last_row, max((filed.row for filed in backlog.arrivals), default=0))
        for filed in backlog.arrivals:
            if filed.event is not None:
                self._mailbox.put(filed.event, filed.row, size)
        for kept in backlog.expired:
            self._mailbox.put(SendSettled(kept.chat_id, kept.message_id, accepted=False, code="expired"), None, size)

    def for_user(self, user_id: str) -> None:
        """The session is this user's. Call it before anything of theirs arrives; repeating it changes nothing."""
        if (user_id := storable(user_id)) != self._user_id:
            self._user_id = user_id
            self._gather((ForUser(user_id),))

    def arrived(self, event: AppEvent, delivery: int | None, size: int) -> None:
        """The session has an event for the application."""
        if self._failures and isinstance(event, _TROUBLE):
            self._mailbox.put(event, None, size)
            return
        durable = delivery is not None or isinstance(event, _KEPT)
        waiting = _Waiting(event, delivery, size, filed=not durable)
        if isinstance(event, FrameRejected):
            self._gather((Quarantined(event),), waiting if durable else None)
        elif durable:
            self._gather((Arrival(event),), waiting)
        self._line.append(waiting)
        self._mailbox.ahead += 1
        self._mailbox.ahead_size += size
        self._move_up()

    def keep(self, effect: Keep) -> None:
        """The session wants its sends kept."""
        self._gathered.append(_Gathered(effect.changes, operation=effect.operation))

    def handled(self, row: int) -> None:
        """The application is done with an event."""
        self._gather((Handled(row),))

    def quarantined(self, rejection: FrameRejected) -> None:
        """The application could not take a message (R2-11)."""
        self._gather((Quarantined(rejection),))

    def _gather(self, changes: tuple[Change, ...], waiting: _Waiting | None = None) -> None:
        if not self._given_up:
            self._gathered.append(_Gathered(changes, waiting))

    # --- commits ---

    @property
    def is_idle(self) -> bool:
        """Whether everything is durable."""
        return not self._batch and not self._gathered

    @property
    def deadline(self) -> int | None:
        """Monotonic ms at which `advance` has something to do."""
        return self._retry_at

    def advance(self, now: Instant) -> None:
        """Begin the next commit, or the failed one again, if it is time."""
        if self._given_up:
            self._refuse("the message store was given up")
        if self.commits or self.is_idle:
            return
        if self._batch:
            if self._retry_at is not None and now.mono_ms < self._retry_at:
                return
        else:
            batch: list[_Gathered] = []
            size = 0
            while self._gathered and (not batch or (size < self._policy.keep_batch and not self._turns())):
                batch.append(self._gathered.popleft())
                size += len(batch[-1].changes)
            self._batch = tuple(batch)
        self._number += 1
        self._retry_at = None
        self.commits.append(Commit(self._number, tuple(change for part in self._batch for change in part.changes)))

    def _turns(self) -> bool:
        """What is gathered next is another user's."""
        return isinstance(self._gathered[0].changes[0], ForUser)

    def hurry(self) -> None:
        """The session ends: try again now, not later."""
        if self._retry_at is not None:
            self._retry_at = 0

    def report(self, report: CommitReport, now: Instant, *, is_stopped: bool) -> None:
        """The store has answered. Answers to other commits change nothing."""
        if not self.commits or report.number != self.commits[0].number:
            return
        self.commits.popleft()
        if isinstance(report, CommitFailed):
            if report.unstorable is None or not self._set_aside(report.unstorable, report.detail):
                self._failed(report, now, is_stopped=is_stopped)
            return
        batch, failures = self._batch, self._failures
        self._batch, self._failures = (), 0
        arrived = [change for part in batch for change in part.changes if isinstance(change, Arrival)]
        filed = iter(report.filed if failures == 0 else self._with_lost_news(arrived, report.filed))
        followers: list[Event] = []
        for part in batch:
            if part.waiting is not None:
                if isinstance(part.changes[0], Arrival):
                    self._filed(part.waiting, next(filed))
                part.waiting.filed = True
                if part.waiting.delivery is not None:
                    followers.append(Settle(part.waiting.delivery))
            if part.operation is not None:
                followers.append(Kept(part.operation))
        self._move_up()
        if failures >= self._policy.save_alarm_after:
            self._tell(MessagesSaved(failures))
        for event in followers:
            self._feed(event)

    def _filed(self, waiting: _Waiting, filed: Filed) -> None:
        waiting.event, waiting.row = filed.event, filed.row
        self._last_row = max(self._last_row, filed.row)

    def _with_lost_news(self, arrivals: list[Arrival], filed: tuple[Filed, ...]) -> list[Filed]:
        """What a commit whose report was lost has filed is no news to the store when it comes again, but it is news to
        the application: its row is higher than any that was known. Of several that end in one row, only what that row
        holds is told: not a provisional copy in place of the final one, nor a message in place of its recall."""
        told = list(filed)
        places: dict[int, int] = {}
        for place, (arrival, one) in enumerate(zip(arrivals, filed, strict=True)):
            if one.event is None and one.row > self._last_row:
                before = places.get(one.row)
                if before is None or replaces(arrival.event, arrivals[before].event):
                    places[one.row] = place
        for row, place in places.items():
            told[place] = Filed(row, arrivals[place].event)
        return told

    def _set_aside(self, index: int, problem: str) -> bool:
        """What can never be stored goes into quarantine in place of the store, and the rest is tried again at once.
        False if that is no way out: a send of ours stays what it is."""
        before, batch = 0, list(self._batch)
        for place, part in enumerate(batch):
            if not before <= index < before + len(part.changes):
                before += len(part.changes)
                continue
            change = part.changes[index - before]
            if isinstance(change, Arrival) and part.waiting is not None:
                part.waiting.event = self._reject(change.event, problem)
                batch[place] = _Gathered((Quarantined(part.waiting.event),), part.waiting)
            elif isinstance(change, Quarantined) and part.waiting is not None:
                batch[place] = _Gathered((Handled(0),), part.waiting)  # not even that: it is settled without a trace
            elif isinstance(change, Handled | Quarantined):
                del batch[place]
            else:
                return False
            self._batch = tuple(batch)
            return True
        return False

    def _failed(self, report: CommitFailed, now: Instant, *, is_stopped: bool) -> None:
        self._failures += 1
        if self._failures == self._policy.save_alarm_after:
            self._tell(MessagesUnsaved(self._failures, report.detail))
        for waiting in [waiting for waiting in self._line if isinstance(waiting.event, _TROUBLE)]:
            self._line.remove(waiting)
            self._hand_over(waiting)
        if report.lost or (is_stopped and self._failures >= self._policy.save_alarm_after):
            self._give_up(report.detail)
        else:
            self._retry_at = now.mono_ms + save_backoff_ms(self._failures, self._policy)

    def _give_up(self, detail: str) -> None:
        """What is not durable stays unacknowledged, and comes again."""
        self._given_up = True
        self._gathered.extendleft(reversed(self._batch))
        self._batch, self._retry_at = (), None
        self._refuse(detail)

    def _refuse(self, detail: str) -> None:
        while self._gathered:
            operation = self._gathered.popleft().operation
            if operation is not None:
                self._feed(KeepFailed(operation, detail))

    # --- the line ---

    def _move_up(self) -> None:
        while self._line and self._line[0].filed:
            self._hand_over(self._line.popleft())

    def _hand_over(self, waiting: _Waiting) -> None:
        self._mailbox.ahead -= 1
        self._mailbox.ahead_size -= waiting.size
        if waiting.event is not None:
            self._mailbox.put(waiting.event, waiting.row, waiting.size)
