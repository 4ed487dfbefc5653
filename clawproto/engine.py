"""The synchronous half of every driver: one session in, sorted work out.

Rules: REF-32, REF-48, OUT-11, CLOSE-12, R2-9, SEND-20.

A driver feeds events and, after each step, looks at what there is to do. Nothing here waits, and nothing is awaited
between a step and the queueing of its effects::

    event ──> Session.handle ──> effects ──┬─> store_jobs, http_jobs      Persist, RequestRefresh, …
                                           ├─> openings, aborts           Open, Abort
                                           ├─> outgoing[generation]       SendFrame, Close, Reconnect; in this order
                                           ├─> inbox                      Emit; bounded
                                           └─> waiters                    Resolve; each exactly once

``on_step`` is called after every step. There the driver starts the jobs, wakes the writers and whoever waits for the
inbox, and arms its timer with `Engine.next_deadline`. A driver for another loop is built from this class, too; see the
conformance suite in ``clawproto.testing``.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeAlias, assert_never

from clawproto import app_events
from clawproto.app_events import AppEvent, FrameRejected
from clawproto.credentials import Credentials, Guard
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
from clawproto.events import (
    Closed,
    Command,
    Event,
    FrameReceived,
    HttpAnswered,
    HttpFailed,
    OpenFailed,
    ReceiverPaused,
    ReceiverResumed,
    Settle,
    Start,
    Stop,
    StoreConflicted,
    Stored,
)
from clawproto.instant import Instant
from clawproto.mailbox import InboxLimit, Mailbox, SettleMode
from clawproto.results import Paired, Result, StoppedResult
from clawproto.wire.codec import EXCERPT_LIMIT

QUARANTINE = 64  # rejected frames that are kept, R2-11
_SMALL = 256  # bytes charged for an event that came in no frame

StoreJob: TypeAlias = RecordIntent | Persist | Logout | Reload | RememberDevice
HttpJob: TypeAlias = RequestRefresh | RequestHttp
Outgoing: TypeAlias = SendFrame | Close | Reconnect
Observer: TypeAlias = Callable[[Instant, Event, tuple[Effect, ...], object], None]
"""Called after every step with the instant, the event, its effects and the state after it."""


class SessionLike(Protocol):
    """What the engine needs of `clawproto.session.Session`."""

    def handle(self, event: Event, now: Instant) -> tuple[Effect, ...]: ...
    def next_deadline(self) -> int | None: ...
    @property
    def state(self) -> object: ...
    @property
    def is_finished(self) -> bool: ...
    @property
    def is_ready(self) -> bool: ...
    @property
    def guard(self) -> Guard: ...
    @property
    def credentials(self) -> Credentials | None: ...


class Link:
    """One socket, as far as the driver has to remember it.

    Attributes:
        outgoing: what its writer has to do, in order.
        closing: a `Close` or `Reconnect` was queued: from now on read regardless of a full inbox, for at most
            `close_timeout_ms`.
    """

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.outgoing: deque[Outgoing] = deque()
        self.closing = False


class Engine:
    """Feeds one session and sorts what comes out of it.

    Args:
        now: reads the clocks.
        on_step: called after every step; must not raise.
        settle: ``auto`` or ``explicit``, see `clawproto.mailbox`.
        observer: for journals and diagnosis; must not raise, so a driver wraps what the application gives it.
    """

    def __init__(
        self,
        session: SessionLike,
        *,
        now: Callable[[], Instant],
        on_step: Callable[[], None] = lambda: None,
        inbox_limit: InboxLimit | None = None,
        settle: SettleMode = "auto",
        observer: Observer | None = None,
    ) -> None:
        self.session = session
        self.on_step = on_step
        self.mailbox = Mailbox(inbox_limit or InboxLimit(), settle, self._settle)
        self.store_jobs: deque[StoreJob] = deque()
        self.http_jobs: deque[HttpJob] = deque()
        self.openings: deque[Open] = deque()
        self.aborts: deque[int] = deque()
        self.links: dict[int, Link] = {}
        self.paused = False
        self.stopped = False
        self.is_shut = False
        self.logged_out: app_events.LoggedOut | None = None
        self.credentials_needed = False
        self.rejected = 0
        self.quarantined: deque[FrameRejected] = deque(maxlen=QUARANTINE)
        self._logout_told: app_events.LoggedOut | None = None
        self._now = now
        self._observer = observer
        self._started = False
        self._last_command = 0
        self._waiters: dict[int, Callable[[Result], None]] = {}
        self._flights: set[int] = set()
        self._unsaved: int | None = None

    # --- feeding ---

    def handle(self, event: Event) -> None:
        """Feed one event and sort its effects.

        Raises:
            Misuse: from the session; its state is unchanged then.
        """
        self._step(event)
        if self.mailbox.is_full and not self.paused and self._started and not self.stopped:
            self.paused = True
            self._step(ReceiverPaused())
        self.on_step()

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
        link = self.links.get(generation)
        if link is not None and not (link.closing and self.paused):
            self.handle(FrameReceived(generation, data))

    def shut(self) -> None:
        """No more steps: whatever still waits is told that the session has stopped. Harmless when repeated."""
        self.stopped = self.is_shut = True
        waiters, self._waiters = self._waiters, {}
        for resolve in waiters.values():
            resolve(StoppedResult())

    # --- the application's side ---

    def take(self) -> AppEvent | None:
        """The next event for the application, or None. When enough have been taken, reading resumes."""
        event = self.mailbox.take()
        if isinstance(event, app_events.LoggedOut):
            self._logout_told = event
        self._relieve()
        return event

    def reject(self, message: app_events.MessageReceived, problem: str) -> None:
        """The application cannot take ``message``: into quarantine with it, and settle it (R2-11)."""
        self.rejected += 1
        excerpt = message.text[:EXCERPT_LIMIT]
        self.quarantined.append(FrameRejected(message.event, problem, excerpt, self.rejected, message=message))
        self.mailbox.settle(message)

    def _relieve(self) -> None:
        """Read on once there is room."""
        if self.paused and self.mailbox.is_drained:
            self.paused = False
            if not self.stopped:
                self._step(ReceiverResumed())
            self.on_step()

    # --- what a driver asks ---

    @property
    def logout_was_told(self) -> bool:
        """The application has got the event that ended the session, and nothing has revived it since."""
        return self.logged_out is not None and self.logged_out is self._logout_told

    def next_deadline(self) -> int | None:
        """Monotonic milliseconds at which to feed a `Tick`; None: nothing is awaited."""
        return self.session.next_deadline()

    def may_read(self, generation: int) -> bool:
        """Whether the reader of this socket should ask for the next frame. A full inbox holds up neither a handshake,
        which brings nothing for the application, nor a closing."""
        link = self.links.get(generation)
        return link is not None and (not self.paused or link.closing or not self.session.is_ready)

    @property
    def is_finished(self) -> bool:
        """Stopped, nothing in flight, and every socket gone: the driver may go."""
        return self.stopped and self.session.is_finished and not self.links and not self.store_jobs

    @property
    def holds_rotation(self) -> bool:
        """A new pair is on its way or not saved yet: leaving now would lose it (REF-9, REF-10)."""
        return bool(self._flights) or self._unsaved is not None

    # --- the step ---

    def _settle(self, delivery: int) -> None:
        if not self.is_shut:
            self.handle(Settle(delivery))
            self._relieve()

    def _step(self, event: Event) -> None:
        now = self._now()
        effects = self.session.handle(event, now)
        if self._observer is not None:  # before the effects, which may lead to further steps
            self._observer(now, event, effects, self.session.state)
        self._note(event)
        size = len(event.data) if isinstance(event, FrameReceived) else _SMALL
        for effect in effects:
            self._sort(effect, size)

    def _note(self, event: Event) -> None:
        match event:
            case Start():
                self._started = True
            case Stop():
                self.stopped = True
            case OpenFailed(generation) | Closed(generation):
                self.links.pop(generation, None)
            case HttpAnswered(request) | HttpFailed(request):
                self._flights.discard(request)
            case Stored(operation) | StoreConflicted(operation):
                if operation == self._unsaved:
                    self._unsaved = None
            case _:
                pass

    def _sort(self, effect: Effect, size: int) -> None:
        match effect:
            case SendFrame(generation):
                if (link := self.links.get(generation)) is not None:
                    link.outgoing.append(effect)
            case Emit(event, delivery):
                self._note_status(event)
                self.mailbox.put(event, delivery, size)
            case Resolve(command, result):
                if isinstance(result, Paired):
                    self._forget_logout()
                resolve = self._waiters.pop(command, None)
                if resolve is not None:
                    resolve(result)
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
                    self._flights.add(request)
                self.http_jobs.append(effect)
            case Swap():
                self._forget_logout()
            case _:
                assert_never(effect)

    def _note_status(self, event: AppEvent) -> None:
        if isinstance(event, FrameRejected):
            self.rejected += 1
            self.quarantined.append(event)
        elif isinstance(event, app_events.CredentialsNeeded):
            self.credentials_needed = True
        elif isinstance(event, app_events.LoggedOut):
            self.logged_out = event
        elif isinstance(event, app_events.Ready):
            self._forget_logout()

    def _forget_logout(self) -> None:
        self.logged_out = None
        self.credentials_needed = False
