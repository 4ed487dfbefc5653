"""What a `clawproto.engine.Engine` is made of; everything can be imported from there as well."""

from collections.abc import Callable
from typing import Protocol, TypeAlias, TypeVar

from clawproto.app_events import AppEvent, CredentialsNeeded, FrameRejected, LoggedOut, MessageReceived, Ready
from clawproto.credentials import Credentials, Guard
from clawproto.effects import (
    Close,
    Effect,
    Logout,
    Open,
    Persist,
    Reconnect,
    RecordIntent,
    Reload,
    RememberDevice,
    RequestHttp,
    RequestRefresh,
    SendFrame,
)
from clawproto.events import Event
from clawproto.instant import Instant
from clawproto.wire.codec import EXCERPT_LIMIT

QUARANTINE = 64  # rejected frames that are kept, R2-11

StoreJob: TypeAlias = RecordIntent | Persist | Logout | Reload | RememberDevice
HttpJob: TypeAlias = RequestRefresh | RequestHttp
Outgoing: TypeAlias = SendFrame | Close | Reconnect
Observer: TypeAlias = Callable[[Instant, Event, tuple[Effect, ...], object], None]
"""Called after every step with the instant, the event, its effects and the state after it."""


_Item = TypeVar("_Item")


class Queue(list[_Item]):
    """First in, first out, and seldom longer than a few: an empty deque takes 760 bytes, and a session has many."""

    __slots__ = ()

    def popleft(self) -> _Item:
        """Remove the oldest. Raises IndexError if there is none."""
        return self.pop(0)


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

    __slots__ = ("closing", "generation", "outgoing")

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.outgoing: Queue[Outgoing] = Queue()
        self.closing = False


class Sorted:
    """What an engine has sorted for its driver, and what it has seen.

    Attributes:
        store_jobs, http_jobs, openings, aborts: for the driver; see `clawproto.engine`.
        links: the sockets that are there, by generation.
        has_work: since a driver has last set this to False, something has happened for which it must look at the
            queues, at `Engine.may_read` or at `Engine.is_finished`. It stays False for the steps that a driver sees
            most: a message has come for the application, or was settled. `Keeper.commits` and `Engine.next_deadline`
            count in any case.
        paused: the inbox is full.
        stopped, is_shut: there was a `Stop`; there are no more steps.
        logged_out, credentials_needed: what the session has ended with, until something revives it.
        logout_told: the event of that kind that the application got last.
        rejected, received, accepted: frames that could not be taken, messages with repeats, sends.
        quarantined: the last of what could not be taken (R2-11).
        flights: requests under way that may bring a new pair.
    """

    __slots__ = (
        "aborts",
        "accepted",
        "credentials_needed",
        "flights",
        "has_work",
        "http_jobs",
        "is_shut",
        "links",
        "logged_out",
        "logout_told",
        "openings",
        "paused",
        "quarantined",
        "received",
        "rejected",
        "stopped",
        "store_jobs",
    )

    def __init__(self) -> None:
        self.store_jobs: Queue[StoreJob] = Queue()
        self.http_jobs: Queue[HttpJob] = Queue()
        self.openings: Queue[Open] = Queue()
        self.aborts: Queue[int] = Queue()
        self.links: dict[int, Link] = {}
        self.has_work = False
        self.paused = False
        self.stopped = False
        self.is_shut = False
        self.logged_out: LoggedOut | None = None
        self.credentials_needed = False
        self.logout_told: LoggedOut | None = None
        self.rejected: int = 0
        self.received: int = 0
        self.accepted: int = 0
        self.quarantined: list[FrameRejected] = []
        self.flights: list[int] = []

    @property
    def logout_was_told(self) -> bool:
        """The application has got the event that ended the session, and nothing has revived it since."""
        return self.logged_out is not None and self.logged_out is self.logout_told

    def reject_event(self, event: AppEvent, problem: str) -> FrameRejected:
        """Count and keep what could not be taken or stored."""
        self.rejected += 1
        message = event if isinstance(event, MessageReceived) else None
        name, excerpt = (None, "") if message is None else (message.event, message.text[:EXCERPT_LIMIT])
        rejection = FrameRejected(name, problem, excerpt, self.rejected, message=message)
        self.quarantine(rejection)
        return rejection

    def quarantine(self, rejection: FrameRejected) -> None:
        """Keep what could not be taken, for a while."""
        self.quarantined.append(rejection)
        del self.quarantined[:-QUARANTINE]

    def note_status(self, event: AppEvent) -> None:
        """Remember what news about the session say."""
        if isinstance(event, FrameRejected):
            self.rejected += 1
            self.quarantine(event)
        elif isinstance(event, CredentialsNeeded):
            self.credentials_needed = True
        elif isinstance(event, LoggedOut):
            self.logged_out = event
        elif isinstance(event, Ready):
            self.forget_logout()

    def forget_logout(self) -> None:
        """The session lives again."""
        self.logged_out = None
        self.credentials_needed = False
