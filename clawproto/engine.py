"""The synchronous half of every driver: one session in, sorted work out.

Rules: REF-32, REF-48, OUT-11, CLOSE-12, R2-9, R2-10, SEND-20.

A driver feeds events and, after each step, looks at what there is to do. Nothing here waits, and nothing is awaited
between a step and the queueing of its effects::

    event ──> Session.handle ──> effects ──┬─> store_jobs, http_jobs      Persist, RequestRefresh, …
                                           ├─> openings, aborts           Open, Abort
                                           ├─> outgoing[generation]       SendFrame, Close, Reconnect; in this order
                                           ├─> inbox                      Emit; bounded
                                           ├─> commits                    with a message store, see `clawproto.keeper`
                                           └─> waiters                    Resolve; each exactly once

``on_step`` is called after every step. There the driver starts the jobs, wakes the writers and whoever waits for the
inbox, and arms its timer with `Engine.next_deadline`. A driver for another loop is built from this class, too; see the
conformance suite in ``clawproto.testing``.
"""

from collections.abc import Callable, Sequence
from typing import assert_never

from clawproto import app_events
from clawproto.app_events import AppEvent, FrameRejected
from clawproto.effects import (
    Abort,
    Close,
    Effect,
    Emit,
    Keep,
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
from clawproto.engine_parts import (
    HttpJob as HttpJob,
    Link as Link,
    Observer as Observer,
    Outgoing as Outgoing,
    Queue as Queue,
    SessionLike as SessionLike,
    Sorted,
    StoreJob as StoreJob,
)
from clawproto.events import (
    Closed,
    Command,
    CredentialsLoaded,
    Event,
    FrameReceived,
    HttpAnswered,
    HttpFailed,
    OpenFailed,
    ReceiverPaused,
    ReceiverResumed,
    Reloaded,
    Settle,
    Start,
    Stop,
    StoreConflicted,
    Stored,
)
from clawproto.instant import Instant
from clawproto.keeper import CommitReport, Keeper
from clawproto.keeping import Backlog
from clawproto.mailbox import InboxLimit, Mailbox, SettleMode
from clawproto.policy import Policy
from clawproto.results import Paired, Receipt, Result, StoppedResult
from clawproto.timing import earliest

_LOADING = (Start, CredentialsLoaded, Stored, StoreConflicted, Reloaded)  # after these it may be another user's session
_SMALL = 256  # bytes charged for an event that came in no frame


class Engine(Sorted):
    """Feeds one session and sorts what comes out of it.

    Args:
        now: reads the clocks.
        on_step: called after every step; must not raise.
        settle: ``auto`` or ``explicit``, see `clawproto.mailbox`.
        observer: for journals and diagnosis; must not raise, so a driver wraps what the application gives it.
        keeps_messages: there is a message store (`clawproto.keeper`); the session has `Config.keep_sends` then.
        policy: the session's; for the commits.
        on_notice: called with everything for the application but messages, as it comes; must not raise.
    """

    __slots__ = (
        "_last_command",
        "_now",
        "_observer",
        "_on_notice",
        "_started",
        "_unsaved",
        "_waiters",
        "keeper",
        "mailbox",
        "on_step",
        "session",
    )

    def __init__(
        self,
        session: SessionLike,
        *,
        now: Callable[[], Instant],
        on_step: Callable[[], None] = lambda: None,
        inbox_limit: InboxLimit | None = None,
        settle: SettleMode = "auto",
        observer: Observer | None = None,
        keeps_messages: bool = False,
        policy: Policy | None = None,
        on_notice: Callable[[AppEvent], None] = lambda _: None,
    ) -> None:
        super().__init__()
        self.session = session
        self.on_step = on_step
        self.mailbox = Mailbox(inbox_limit or InboxLimit(), settle, self._settle)
        self.keeper: Keeper | None = None
        if keeps_messages:
            self.keeper = Keeper(self.mailbox, policy or Policy(), self._step, self._notice, self._unstorable)
        self._now = now
        self._on_notice = on_notice
        self._observer = observer
        self._started = False
        self._last_command = 0
        self._waiters: dict[int, Callable[[Result], None]] = {}
        self._unsaved: int | None = None

    # --- feeding ---

    def handle(self, event: Event) -> None:
        """Feed one event and sort its effects.

        Raises:
            Misuse: from the session; its state is unchanged then.
        """
        self._step(event)
        self._finish_step()

    def _finish_step(self) -> None:
        if self.keeper is not None:
            self.keeper.advance(self._now())
        if not self.paused and self.mailbox.is_full and self._started and not self.stopped:
            self.paused = self.has_work = True
            self._step(ReceiverPaused())
        self.on_step()

    def take_up(self, backlog: Backlog) -> None:
        """Before `Start`: what an earlier session of the same user left behind (`Backlog.for_user`) is handed out
        first. The sends in it belong into the `Start`."""
        assert self.keeper is not None
        self.keeper.take_up(backlog, _SMALL)

    def commit_report(self, report: CommitReport) -> None:
        """The message store has answered to `Keeper.commits`."""
        if self.keeper is None or self.is_shut:
            return
        self.has_work = True
        self.keeper.report(report, self._now(), is_stopped=self.stopped)
        self._read_on()
        self._finish_step()

    def submit(self, build: Callable[[int], Command], resolve: Callable[[Result], None]) -> None:
        """Give a command and have ``resolve`` called with its result, exactly once; perhaps before this returns.

        Whoever stops waiting simply ignores the result: the command belongs to the session (REF-48).

        Raises:
            ValueError, Misuse: the command cannot be given; ``resolve`` will not be called.
        """
        if self.stopped:
            resolve(StoppedResult())
            return
        self._last_command += 1
        command = self._last_command
        self._waiters[command] = resolve
        try:
            self.handle(build(command))
        except BaseException:
            self._waiters.pop(command, None)
            raise

    def receive(self, generation: int, data: str | bytes) -> None:
        """Feed a frame. Frames of a dropped socket go nowhere, and so does what a closing socket still brings while the
        inbox is full: it was not acknowledged and comes again."""
        _ = self.receive_all(generation, (data,), even_if_full=True)

    def receive_all(self, generation: int, frames: Sequence[str | bytes], *, even_if_full: bool = False) -> int:
        """As `receive`, for frames that came together: they have one instant. ``on_step`` is called at the end, and
        after each of them that leaves something to do.

        Returns:
            How many were taken; fewer, if `may_read` has become false, so that the others should be fed later.
        """
        link, now, owed = self.links.get(generation), self._now(), False
        for taken, data in enumerate(frames):
            if link is None:
                break
            if self.paused:
                if link.closing:
                    continue
                if not (even_if_full or self.may_read(generation)):
                    return taken
            self._step(FrameReceived(generation, data), now)
            owed = not (self.has_work or self.mailbox.is_full)
            if not owed:
                self._finish_step()
                link, now = self.links.get(generation), self._now()
        if owed:
            self._finish_step()
        return len(frames)

    def shut(self) -> None:
        """No more steps: whatever still waits is told that the session has stopped. Harmless when repeated."""
        self.stopped = self.is_shut = self.has_work = True
        waiters, self._waiters = self._waiters, {}
        for resolve in waiters.values():
            resolve(StoppedResult())

    # --- the application's side ---

    def take(self) -> AppEvent | None:
        """The next event for the application, or None. When enough have been taken, reading resumes."""
        event = self.mailbox.take()
        if isinstance(event, app_events.LoggedOut):
            self.logout_told = event
        if self.paused and self._read_on():
            self._finish_step()
        return event

    def reject(self, message: app_events.MessageReceived, problem: str) -> None:
        """The application cannot take ``message``: into quarantine with it, and settle it (R2-11)."""
        rejection = self.reject_event(message, problem)
        if self.keeper is not None and not self.is_shut:
            self.keeper.quarantined(rejection)
        self.mailbox.settle(message)
        self._finish_step()

    def _unstorable(self, event: AppEvent, problem: str) -> FrameRejected:
        rejection = self.reject_event(event, problem)
        self._on_notice(rejection)
        return rejection

    def _read_on(self) -> bool:
        """Read on once there is room; whether it came to that."""
        if not (self.paused and self.mailbox.is_drained):
            return False
        self.paused, self.has_work = False, True
        if not self.stopped:
            self._step(ReceiverResumed())
        return True

    # --- what a driver asks ---

    def next_deadline(self) -> int | None:
        """Monotonic milliseconds at which to feed a `Tick`; None: nothing is awaited."""
        deadline = self.session.next_deadline()
        return deadline if self.keeper is None else earliest(deadline, self.keeper.deadline)

    def may_read(self, generation: int) -> bool:
        """Whether the reader of this socket should ask for the next frame. A full inbox holds up neither a handshake,
        which brings nothing for the application, nor a closing."""
        link = self.links.get(generation)
        return link is not None and (not self.paused or link.closing or not self.session.is_ready)

    @property
    def is_finished(self) -> bool:
        """Stopped, nothing in flight, and every socket gone: the driver may go."""
        stored = not self.store_jobs and (self.keeper is None or self.keeper.is_idle)
        return self.stopped and self.session.is_finished and not self.links and stored

    @property
    def holds_rotation(self) -> bool:
        """A new pair is on its way or not saved yet: leaving now would lose it (REF-9, REF-10)."""
        return bool(self.flights) or self._unsaved is not None

    # --- the step ---

    def _settle(self, delivery: int) -> None:
        if self.is_shut:
            return
        if self.keeper is None:
            self._step(Settle(delivery))
        else:
            self.keeper.handled(delivery)
        self._read_on()
        self._finish_step()

    def _notice(self, event: AppEvent) -> None:
        self.mailbox.put(event, None, _SMALL)
        self._on_notice(event)

    def _step(self, event: Event, now: Instant | None = None) -> None:
        now = now or self._now()
        effects = self.session.handle(event, now)
        if self._observer is not None:  # before the effects, which may lead to further steps
            self._observer(now, event, effects, self.session.state)
        if self.keeper is not None and isinstance(event, _LOADING) and (known := self.session.credentials) is not None:
            self.keeper.for_user(known.identity.user_id)
        if isinstance(event, FrameReceived):
            size = len(event.data)
        else:
            size = _SMALL
            if not isinstance(event, Settle):
                self.has_work = True
                self._note(event)
        for effect in effects:
            if isinstance(effect, Emit):
                self._emit(effect.event, effect.delivery, size)
            elif isinstance(effect, Resolve):
                self._resolve(effect.command, effect.result)
            else:
                self.has_work = True
                self._sort(effect)

    def _emit(self, event: AppEvent, delivery: int | None, size: int) -> None:
        if isinstance(event, app_events.MessageReceived):
            self.received += 1
        else:
            self.has_work = True
            self.note_status(event)
            self._on_notice(event)
        if self.keeper is None:
            self.mailbox.put(event, delivery, size)
        else:
            self.keeper.arrived(event, delivery, size)

    def _note(self, event: Event) -> None:
        match event:
            case Start():
                self._started = True
            case Stop():
                self.stopped = True
                if self.keeper is not None:
                    self.keeper.hurry()
            case OpenFailed(generation) | Closed(generation):
                self.links.pop(generation, None)
            case HttpAnswered(request) | HttpFailed(request):
                if request in self.flights:
                    self.flights.remove(request)
            case Stored(operation) | StoreConflicted(operation):
                if operation == self._unsaved:
                    self._unsaved = None
            case _:
                pass

    def _sort(self, effect: Effect) -> None:
        match effect:
            case SendFrame(generation):
                if (link := self.links.get(generation)) is not None:
                    link.outgoing.append(effect)
            case Emit() | Resolve():
                pass  # have been handed on
            case Keep():
                assert self.keeper is not None, "Config.keep_sends needs an engine that keeps messages"
                self.keeper.keep(effect)
            case Open(generation):
                self.links[generation] = Link(generation)
                self.openings.append(effect)
            case Close(generation) | Reconnect(generation):
                if (link := self.links.get(generation)) is not None:
                    link.closing = True
                    link.outgoing.append(effect)
            case Abort(generation):
                self.links.pop(generation, None)
                self.aborts.append(generation)
            case Persist(operation):
                self._unsaved = operation
                self.store_jobs.append(effect)
            case RecordIntent() | Logout() | Reload() | RememberDevice():
                self.store_jobs.append(effect)
            case RequestRefresh(request) | RequestHttp(request):
                if isinstance(effect, RequestRefresh) or effect.purpose == "pairing":
                    self.flights.append(request)
                self.http_jobs.append(effect)
            case Swap():
                self.forget_logout()
            case _:
                assert_never(effect)

    def _resolve(self, command: int, result: Result) -> None:
        if isinstance(result, Receipt):
            self.accepted += 1
        elif isinstance(result, Paired):
            self.has_work = True
            self.forget_logout()
        resolve = self._waiters.pop(command, None)
        if resolve is not None:
            resolve(result)
