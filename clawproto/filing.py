"""What a message store does, without a disk: the reference by which real ones are judged, and the store of simulations.

Rules: SEND-5, SEND-15, SEND-19, R1-3, R2-10, R2-11, R2-28, STREAM-14, RX-3, RECALL-1, READ-4, NOTIFY-2. What is the
same event and what is news is decided by `clawproto.event_rows`, as for every store.
"""

from collections.abc import Sequence
from typing import TypeAlias, assert_never

from attrs import evolve

from clawproto.app_events import AppEvent, FrameRejected, MessageRecalled, MessageReceived
from clawproto.deferred import frozen
from clawproto.event_rows import MESSAGE, RECALL, KnownRow, event_row, verdict
from clawproto.keeping import (
    Arrival,
    Backlog,
    Change,
    Filed,
    ForUser,
    Handled,
    KeptSend,
    Quarantined,
    SendDecision,
)

Key: TypeAlias = tuple[str, str]


@frozen
class _Known:
    number: int
    row: KnownRow
    again: bool  # an earlier content was handled; only then it is an update to an application that starts anew


class Filing:
    """One agent's messages, in memory.

    Attributes:
        user_id: whose they are; None if nobody has said.
        waiting: what was filed and is not handled, by row.
        quarantine: what could not be taken, in order (R2-11).
        sends: kept and not decided, by trace id.
        decisions: what became of the others, by trace id.
        last_row, last_number: the highest ever given.
    """

    def __init__(self) -> None:
        self.user_id: str | None = None
        self.last_row = 0
        self.last_number = 0
        self._empty()

    def _empty(self) -> None:
        self.waiting: dict[int, AppEvent] = {}
        self.quarantine: list[FrameRejected] = []
        self.sends: dict[str, KeptSend] = {}
        self.decisions: dict[str, SendDecision] = {}
        self._known: dict[Key, _Known] = {}

    def commit(self, changes: Sequence[Change]) -> tuple[Filed, ...]:
        """Take all of these, in order. Repeating the last commit changes nothing.

        Returns:
            One for each `Arrival`, in order.

        Raises:
            ValueError: an event holds a number that is none (NaN); what came before it is taken.
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
                case ForUser(user_id):
                    if self.user_id not in (None, user_id):
                        self._empty()
                    self.user_id = user_id
                case KeptSend(trace_id=trace_id, number=number):
                    if trace_id not in self.decisions:  # what is decided is never transmitted again
                        self.sends[trace_id] = change
                    self.last_number = max(self.last_number, number)
                case SendDecision(trace_id=trace_id):
                    if self.sends.pop(trace_id, None) is not None:
                        self.decisions[trace_id] = change
                case _:
                    assert_never(change)
        return tuple(filed)

    def backlog(self) -> Backlog:
        """What is to be handed out, and transmitted, after a restart."""
        return Backlog(
            arrivals=tuple(Filed(row, event) for row, event in sorted(self.waiting.items())),
            sends=tuple(sorted(self.sends.values(), key=lambda kept: kept.number)),
            last_number=self.last_number,
            last_row=self.last_row,
            user_id=self.user_id,
        )

    def _file(self, event: AppEvent) -> Filed:
        row = event_row(event)
        if row.key is None:
            return self._new_row(event)
        if isinstance(event, MessageReceived) and (recalled := self._known.get((RECALL, row.key))) is not None:
            return Filed(recalled.number, None)  # withdrawn before it arrived (RECALL-1)
        known = self._known.get((row.kind, row.key))
        judged = verdict(row, None if known is None else known.row)
        if known is not None and judged in ("same", "older"):
            if judged == "same" and known.number in self.waiting:  # written over, as everywhere (R2-10)
                self.waiting[known.number] = _with_update(event, known.again)
            return Filed(known.number, None)
        again = known is not None and (known.again or known.number not in self.waiting)
        if isinstance(event, MessageRecalled):
            self._drop(self._known.pop((MESSAGE, row.key), None))
        self._drop(known)
        filed = self._new_row(_with_update(event, again))
        self._known[row.kind, row.key] = _Known(filed.row, KnownRow(row.content, row.final, row.at_ms), again)
        return Filed(filed.row, _with_update(event, known is not None))

    def _drop(self, known: _Known | None) -> None:
        if known is not None:
            self.waiting.pop(known.number, None)

    def _new_row(self, event: AppEvent) -> Filed:
        self.last_row += 1
        self.waiting[self.last_row] = event
        return Filed(self.last_row, event)


def _with_update(event: AppEvent, update: bool) -> AppEvent:
    return evolve(event, update=update) if isinstance(event, MessageReceived) else event
