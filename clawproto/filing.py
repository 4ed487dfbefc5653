"""What a message store does, without a disk: the reference by which real ones are judged, and the store of simulations.

Rules: SEND-5, SEND-15, SEND-19, R1-3, R2-10, R2-11, R2-28, STREAM-14, RX-3, RECALL-1, READ-4, NOTIFY-2.

    Arrival --> known under this key? --no--------------> a new row, handed over
                  | yes, with this content: no news
                  | yes, with other content: a new row takes the place of the old one, an update
"""

from collections.abc import Sequence
from typing import TypeAlias

from attrs import evolve, field, frozen

from clawproto.app_events import (
    AppEvent,
    FrameRejected,
    HistoryReceived,
    MessageDelivered,
    MessageRecalled,
    MessageReceived,
    PermissionRequested,
    PermissionResolved,
    ReactionChanged,
    ReadMarkMoved,
    SignalReceived,
    UnknownEvent,
)
from clawproto.inbox import fingerprint
from clawproto.keeping import (
    Arrival,
    Backlog,
    Change,
    Filed,
    Handled,
    KeptSend,
    Quarantined,
    SendDecision,
)

Key: TypeAlias = tuple[str, ...]
MESSAGE, RECALLED = "message", "recalled"


def identity(event: AppEvent) -> tuple[Key, object] | None:
    """Under which key an event is filed, and what it says there; None: every copy is news.

    Two events of one key and one content are the same event, whatever connection brought them.
    """
    match event:
        case MessageReceived(message=message):
            return (MESSAGE, message.message_id), (fingerprint(message), message.stream_merged)
        case MessageRecalled(target_message_id=target):
            return (RECALLED, target), None
        case ReactionChanged(target_message_id=target, reactor_user_id=reactor, emoji=emoji):
            return ("slot", target, reactor), emoji
        case ReadMarkMoved(chat_id=chat_id, read_up_to_ms=mark):
            return ("mark", chat_id), mark
        case SignalReceived(event_id=event_id):
            return ("signal", event_id), None
        case MessageDelivered(message_id=message_id, user_id=user_id):
            return ("delivered", message_id, user_id or ""), None
        case PermissionRequested(request_id=request_id):
            return ("request", request_id), None
        case PermissionResolved(request_id=request_id):
            return ("resolution", request_id), None
        case HistoryReceived():
            return ("history", repr((event.kind, event.data, event.ciphertext_fragments))), None
        case UnknownEvent(frame=frame) if frame.trace_id:
            return ("unknown", frame.event, frame.trace_id), None
        case _:
            return None


@frozen
class _Known:
    row: int
    content: object = field(repr=False)
    again: bool  # an earlier content was handled; only then it is an update to an application that starts anew


class Filing:
    """One agent's messages, in memory.

    Attributes:
        waiting: what was filed and is not handled, by row.
        quarantine: what could not be taken, in order (R2-11).
        sends: kept and not decided, by trace id.
        decisions: what became of the others, by trace id.
        last_row, last_number: the highest ever given.
    """

    def __init__(self) -> None:
        self.waiting: dict[int, AppEvent] = {}
        self.quarantine: list[FrameRejected] = []
        self.sends: dict[str, KeptSend] = {}
        self.decisions: dict[str, SendDecision] = {}
        self.last_row = 0
        self.last_number = 0
        self._known: dict[Key, _Known] = {}

    def commit(self, changes: Sequence[Change]) -> tuple[Filed, ...]:
        """Take all of these, in order. Repeating the last commit changes nothing.

        Returns:
            One for each `Arrival`, in order.
        """
        filed: list[Filed] = []
        for change in changes:
            match change:
                case Arrival(event):
                    filed.append(self._file(event))
                case Handled(row):
                    self.waiting.pop(row, None)
                case Quarantined(rejection):
                    if not self.quarantine or self.quarantine[-1] != rejection:
                        self.quarantine.append(rejection)
                case KeptSend(trace_id=trace_id, number=number):
                    if trace_id not in self.decisions:  # what is decided is never transmitted again
                        self.sends[trace_id] = change
                    self.last_number = max(self.last_number, number)
                case SendDecision(trace_id=trace_id):
                    self.sends.pop(trace_id, None)
                    self.decisions[trace_id] = change
        return tuple(filed)

    def backlog(self) -> Backlog:
        """What is to be handed out, and transmitted, after a restart."""
        return Backlog(
            arrivals=tuple(Filed(row, event) for row, event in sorted(self.waiting.items())),
            sends=tuple(sorted(self.sends.values(), key=lambda kept: kept.number)),
            last_number=self.last_number,
            last_row=self.last_row,
        )

    def _file(self, event: AppEvent) -> Filed:
        named = identity(event)
        if named is None:
            return self._new_row(event)
        key, content = named
        known = self._known.get(key)
        if known is not None and (known.content == content or _is_older(event, content, known.content)):
            return Filed(known.row, None)
        again = known is not None and (known.again or known.row not in self.waiting)
        told = event
        if isinstance(event, MessageReceived):
            recalled = self._known.get((RECALLED, event.message_id))
            if recalled is not None:
                return Filed(recalled.row, None)  # withdrawn before it arrived (RECALL-1)
            told, event = evolve(event, update=known is not None), evolve(event, update=again)
        elif isinstance(event, MessageRecalled):
            withdrawn = self._known.pop((MESSAGE, event.target_message_id), None)
            if withdrawn is not None:
                self.waiting.pop(withdrawn.row, None)
        if known is not None:
            self.waiting.pop(known.row, None)
        filed = self._new_row(event)
        self._known[key] = _Known(filed.row, content, again)
        return Filed(filed.row, told)

    def _new_row(self, event: AppEvent) -> Filed:
        self.last_row += 1
        self.waiting[self.last_row] = event
        return Filed(self.last_row, event)


def _is_older(event: AppEvent, content: object, known: object) -> bool:
    """Whether what is filed already says more: a final copy (STREAM-14), a higher mark (READ-4)."""
    if isinstance(event, MessageReceived):
        return event.message.stream_merged and isinstance(known, tuple) and not known[1]
    return isinstance(content, int) and isinstance(known, int) and content <= known
