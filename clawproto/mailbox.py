"""The bounded queue between a session and its application, with settlement.

An event that the hub wants acknowledged carries a delivery number. It is settled when the application is done with it:
by asking for the next event (``auto``), or, if it is a message, by saying so (``explicit``). What was not settled comes
again after the next connect, so delivery is at least once (R2-9, R1-1).
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

from attrs import define, field, frozen
from attrs.validators import ge

from clawproto import app_events
from clawproto.app_events import AppEvent, Settler

SettleMode: TypeAlias = Literal["auto", "explicit"]

# News about the session itself: while the queue is full, a new one displaces the oldest, so that an application which
# does not listen for days cannot fill the memory. Everything else arrives by frames, which stop while it is full.
_STATUS = frozenset(
    (
        app_events.Ready,
        app_events.ReplayFinished,
        app_events.Disconnected,
        app_events.TakenOver,
        app_events.HandshakeRefused,
        app_events.TokensRotated,
        app_events.RefreshDelayed,
        app_events.SaveAlarm,
        app_events.SaveRecovered,
        app_events.MessagesUnsaved,
        app_events.MessagesSaved,
        app_events.ClockSkewed,
        app_events.TokenNotNewer,
        app_events.ChatGated,
        app_events.ChatUngated,
        app_events.FrameRejected,
        app_events.TypingChanged,
        app_events.PresenceChanged,
    )
)


@frozen(kw_only=True)
class InboxLimit:
    """When reading stops. It resumes at half of both.

    Attributes:
        events: number of events that wait, or were handed out and are not settled. Keep it well below the 4096 unacked
            frames after which a hub kicks (R2-25).
        size: sum of the frames they came in, in bytes.
    """

    events: int = field(default=2048, validator=ge(1))
    size: int = field(default=32 * 1024 * 1024, validator=ge(1))


@define(eq=False)  # never changed, but made for every message
class _Item:
    event: AppEvent
    delivery: int | None
    size: int


class Mailbox:
    """Events on their way to the application.

    Args:
        settle: called with the delivery number of each event that the application is done with.

    Attributes:
        ahead, ahead_size: events that are on their way into the mailbox and count already, and the sum of their sizes.
        settler: what messages that are handed out are settled through.
        displaced: how many events about the session made room for newer ones.
    """

    __slots__ = (
        "_bytes",
        "_count",
        "_events",
        "_handed_out",
        "_items",
        "_mode",
        "_next",
        "_settle",
        "_size",
        "ahead",
        "ahead_size",
        "displaced",
        "settler",
    )

    def __init__(self, limit: InboxLimit, mode: SettleMode, settle: Callable[[int], None]) -> None:
        self._events = limit.events
        self._bytes = limit.size
        self._mode = mode
        self._settle = settle
        self._items: list[_Item] = []  # not a deque, which takes 760 bytes while it is empty
        self._next: list[_Item] = []  # before those, the oldest last
        self._count = 0  # those that wait, and those that were handed out and are not settled
        self._size = 0
        self.ahead = 0
        self.ahead_size = 0
        self._handed_out: dict[int, _Item] = {}  # by identity of the event, since equal events may be two deliveries
        self.settler: Settler | None = None
        self.displaced = 0

    def __len__(self) -> int:
        return len(self._items) + len(self._next)

    @property
    def is_full(self) -> bool:
        """At or above the high watermark. What was handed out and is not settled counts as well: it is not acknowledged
        either, and the hub kicks whoever owes it too many acks (R2-25)."""
        return self._count + self.ahead >= self._events or self._size + self.ahead_size >= self._bytes

    @property
    def is_drained(self) -> bool:
        """At or below the low watermark."""
        return (self._count + self.ahead) * 2 <= self._events and (self._size + self.ahead_size) * 2 <= self._bytes

    def put(self, event: AppEvent, delivery: int | None, size: int) -> None:
        """Queue an event; never refuses, since whoever fills the queue is told to stop reading."""
        if type(event) in _STATUS and self.is_full:
            self._displace()
        self._items.append(_Item(event, delivery, size))
        self._count += 1
        self._size += size

    def take(self) -> AppEvent | None:
        """Hand out the oldest event, or None."""
        if not self._next:
            if not self._items:
                return None
            self._items, self._next = self._next, self._items
            self._next.reverse()
        item = self._next.pop()
        event = item.event
        self._size -= item.size
        if item.delivery is not None:
            self._handed_out[id(event)] = item
        else:
            self._count -= 1
        if isinstance(event, app_events.MessageReceived):
            object.__setattr__(event, "_settler", self.settler)
        return event

    def number_of(self, event: AppEvent) -> int | None:
        """The number of an event that was handed out and is not settled; None if it has none."""
        item = self._handed_out.get(id(event))
        return None if item is None else item.delivery

    def settle_handed_out(self) -> None:
        """The application has come back for more: in ``auto`` mode it is done with what it got. In ``explicit`` mode
        that holds for everything but messages, so that nobody holds up the stream by overlooking a signal."""
        if not self._handed_out:
            return
        for key, item in tuple(self._handed_out.items()):
            if self._mode == "auto" or not isinstance(item.event, app_events.MessageReceived):
                del self._handed_out[key]
                self._report(item)

    def settle(self, event: AppEvent) -> None:
        """The application is done with ``event``. Settling twice, or an event that needs none, changes nothing."""
        item = self._handed_out.pop(id(event), None)
        if item is not None:
            self._report(item)

    def _report(self, item: _Item) -> None:
        self._count -= 1
        if item.delivery is not None:
            self._settle(item.delivery)

    def _displace(self) -> None:
        for items, order in ((self._next, reversed(range(len(self._next)))), (self._items, range(len(self._items)))):
            for index in order:
                if type(items[index].event) in _STATUS:
                    self._count -= 1
                    self._size -= items.pop(index).size
                    self.displaced += 1
                    return
