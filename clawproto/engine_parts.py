"""What a `clawproto.engine.Engine` is made of; everything can be imported from there as well."""

from collections.abc import Callable
from typing import Protocol, TypeAlias, TypeVar

from clawproto.credentials import Credentials, Guard
from clawproto.effects import (
    Close,
    Effect,
    Logout,
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
