"""What a plan does to a cohort of sessions, as arrays: the counterpart of `Surroundings` in the population engine."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from clawproto.testing.simulation.draws import Ints
from clawproto.testing.simulation.plan import Fault, Plan

Flags: TypeAlias = NDArray[np.bool_]

FAR = np.int64(1) << np.int64(60)
"""Later than anything: what never happens."""


class Hardships:
    """When things go wrong for the sessions with these numbers.

    Attributes:
        starts: when each session starts.
        revoked_at: when the session's tokens are revoked.
        rejections: when its access token is.
        answerable: faults of which one may ask when the sessions are back.
    """

    def __init__(self, plan: Plan, numbers: Ints) -> None:
        self._plan, self._numbers = plan, numbers.tolist()
        size = len(numbers)
        self.starts = np.array([plan.start_of(number) for number in self._numbers], np.int64)
        self.revoked_at = np.full(size, FAR)
        self.rejections: list[Ints] = []
        self.answerable = [index for index, fault in enumerate(plan.faults) if fault.kind in ("outage", "restart")]
        self._disks: list[tuple[Fault, Flags]] = []
        kills: list[Ints] = []
        killers: list[int] = []
        for index, fault in enumerate(plan.faults):
            if fault.kind == "slow-disk":
                self._disks.append((fault, self._struck(index)))
            elif fault.kind == "revocation" and fault.of == "session":
                at = self._instants(index)
                self.revoked_at = np.minimum(self.revoked_at, np.where(at >= self.starts, at, FAR))
            elif fault.kind == "revocation":
                self.rejections.append(self._instants(index))
            elif fault.kind == "restart":
                at = self._instants(index)
                kills.append(np.where(at > self.starts, at, FAR))
                killers.append(index)
        self._kills = np.stack([*kills, np.full(size, FAR)])
        self._killers = np.array([*killers, -1])
        windows = _merged([(fault.at_ms, fault.end_ms) for fault in plan.faults if fault.kind == "outage"])
        self._outage_begins = np.array([*(begin for begin, _ in windows), FAR], np.int64)
        self._outage_ends = np.array([*(end for _, end in windows), FAR], np.int64)

    def is_out(self, at: Ints) -> Flags:
        """Whether the service is down."""
        found = np.searchsorted(self._outage_begins, at, "right") - 1
        return (found >= 0) & (at < self._outage_ends[found])

    def next_outage(self, at: Ints) -> Ints:
        """The begin of the first outage at or after ``at``."""
        return self._outage_begins[np.searchsorted(self._outage_begins, at, "left")]

    def next_kill(self, which: Ints, last: Ints) -> tuple[Ints, Ints]:
        """When the processes of these sessions die next after ``last``, and by which fault."""
        kills = self._kills[:, which]
        ahead = np.where(kills > last, kills, FAR)
        first = np.argmin(ahead, axis=0)
        return ahead[first, np.arange(len(which))], self._killers[first]

    def disk(self, which: Ints, at: Ints) -> Ints:
        """How long an operation of the store takes that begins at ``at``."""
        taken = np.full(len(which), self._plan.timings.disk_ms)
        for fault, struck in reversed(self._disks):
            taken = np.where((at >= fault.at_ms) & (at < fault.end_ms) & struck[which], fault.by_ms, taken)
        return taken

    def _struck(self, index: int) -> Flags:
        if self._plan.faults[index].share >= 1:
            return np.ones(len(self._numbers), np.bool_)
        return np.array([self._plan.strikes(index, number) for number in self._numbers], np.bool_)

    def _instants(self, index: int) -> Ints:
        """When the fault comes to each session, `FAR` for those that it spares."""
        fault = self._plan.faults[index]
        at = np.full(len(self._numbers), fault.at_ms)
        if fault.for_ms:
            at = np.array([self._plan.instant_in(index, number) for number in self._numbers], np.int64)
        return np.where(self._struck(index), at, FAR)


def _merged(windows: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """In order, those that overlap or touch as one."""
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(windows):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged
