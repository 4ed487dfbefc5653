"""What a simulation found: load over time, times to recovery, what was lost, what went wrong."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from attrs import define, field

from clawproto.deferred import frozen
from clawproto.json_types import Json
from clawproto.policy import MINUTE_MS, SECOND_MS
from clawproto.testing.simulation.course import Course
from clawproto.testing.simulation.plan import Fault, Plan, duration

Engine: TypeAlias = Literal["exact", "population"]

AROUND_MS = 10 * MINUTE_MS
"""How long after its end a fault is looked at."""

LATE_MS = 90 * SECOND_MS
"""A socket that breaks so soon after the end of a fault is put down to it: the loss is noticed late."""


@define
class Load:
    """How often something was done in each second."""

    per_second: list[int] = field(repr=False)

    @classmethod
    def of(cls, seconds: int) -> "Load":
        return cls([0] * seconds)

    def add(self, instants_ms: Iterable[int]) -> None:
        """Count these; what lies behind the end is not counted."""
        for at in instants_ms:
            if at < len(self.per_second) * SECOND_MS:
                self.per_second[at // SECOND_MS] += 1

    @property
    def total(self) -> int:
        return sum(self.per_second)

    def peak(self, begin_ms: int = 0, end_ms: int | None = None) -> tuple[int, int]:
        """The largest number in one second, and which second that is; of those between the instants."""
        seconds = self._between(begin_ms, end_ms)
        best = max(seconds, key=self.per_second.__getitem__, default=0)
        return (self.per_second[best] if seconds else 0), best

    def peak_minute(self, begin_ms: int = 0, end_ms: int | None = None) -> int:
        """The largest number in one minute of the clock."""
        seconds = self._between(begin_ms, end_ms)
        return max((sum(self.per_second[at : min(at + 60, seconds.stop)]) for at in seconds[::60]), default=0)

    def _between(self, begin_ms: int, end_ms: int | None) -> range:
        last = len(self.per_second)
        end = last if end_ms is None else min(last, -(-end_ms // SECOND_MS))
        return range(min(begin_ms // SECOND_MS, end), end)


@frozen
class Recovery:
    """How long it took until sessions were ready again: after the end of a fault, or after the death of a process.

    Attributes:
        fault: as written.
        waits: of the sessions that had lost their socket, in ms, in order.
    """

    fault: str
    waits: Sequence[int] = field(repr=False)

    def quantile(self, share: float) -> int | None:
        """The wait that this share of the sessions did not exceed; None if none was struck."""
        count = len(self.waits)
        return None if not count else int(self.waits[min(count - 1, int(share * count))])


@frozen
class Trouble:
    """A session that did what it must not do, and how to see it again."""

    number: int
    text: str


@define
class Report:
    """The outcome of one plan.

    Attributes:
        refreshes: refresh requests that left, answered or not.
        opens: sockets whose opening began, accepted or not.
        lost: sessions logged out, by excuse; ``unexcused`` must be 0.
        not_ready: sessions that are neither ready nor lost at the end.
    """

    plan: Plan
    engine: Engine
    refreshes: Load
    opens: Load
    recoveries: list[Recovery] = field(factory=list[Recovery])
    lost: Counter[str] = field(factory=Counter[str])
    not_ready: int = 0
    troubles: list[Trouble] = field(factory=list[Trouble])

    @property
    def is_sound(self) -> bool:
        return not self.troubles

    def to_json(self) -> dict[str, Json]:
        """For programs; equal plans give equal values."""
        plan = self.plan
        return {
            "engine": self.engine,
            "seed": plan.seed,
            "sessions": plan.sessions,
            "hours": plan.hours,
            "jitter": plan.jitter,
            "faults": [str(fault) for fault in plan.faults],
            "refresh_mode": plan.refresh_mode,
            "token_life": duration(plan.token_life_ms),
            "refreshes": _load_json(self.refreshes),
            "opens": _load_json(self.opens),
            "around": [self._around_json(fault) for fault in plan.faults],
            "recoveries": [_recovery_json(recovery) for recovery in self.recoveries],
            "lost": {name: self.lost[name] for name in ("revoked", "answer-lost", "unexcused")},
            "not_ready": self.not_ready,
            "troubles": [{"session": trouble.number, "text": trouble.text} for trouble in self.troubles],
        }

    def during(self, fault: Fault) -> tuple[int, int]:
        """The most refreshes and openings in one second, from the begin of a fault to ten minutes after its end."""
        begin, end = fault.at_ms, fault.end_ms + AROUND_MS
        return self.refreshes.peak(begin, end)[0], self.opens.peak(begin, end)[0]

    def after(self, fault: Fault) -> tuple[int, int]:
        """The same, in the ten minutes after its end."""
        begin, end = fault.end_ms, fault.end_ms + AROUND_MS
        return self.refreshes.peak(begin, end)[0], self.opens.peak(begin, end)[0]

    def _around_json(self, fault: Fault) -> dict[str, Json]:
        (refreshes, opens), (refreshes_after, opens_after) = self.during(fault), self.after(fault)
        return {
            "fault": str(fault),
            "refreshes_per_second": refreshes,
            "opens_per_second": opens,
            "refreshes_per_second_after": refreshes_after,
            "opens_per_second_after": opens_after,
        }


def _load_json(load: Load) -> dict[str, Json]:
    count, second = load.peak()
    return {
        "total": load.total,
        "peak_per_second": count,
        "peak_at_s": second,
        "peak_per_minute": load.peak_minute(),
    }


def _recovery_json(recovery: Recovery) -> dict[str, Json]:
    return {
        "fault": recovery.fault,
        "sessions": len(recovery.waits),
        "median_ms": recovery.quantile(0.5),
        "p99_ms": recovery.quantile(0.99),
        "last_ms": recovery.quantile(1),
    }


def recovery_of(plan: Plan, index: int, course: Course) -> int | None:
    """How long this session took to be ready again after fault ``index``; None if it was not struck, or is gone."""
    fault = plan.faults[index]
    if not plan.strikes(index, course.number):
        return None
    if fault.kind == "restart":
        killed = plan.instant_in(index, course.number)
        back = course.ready_after(killed + 1) if killed > course.starts_at else None
        return None if back is None else back - killed
    broken = [at for at in course.broken if fault.at_ms <= at <= fault.end_ms + LATE_MS]
    back = course.ready_after(max(broken[-1], fault.end_ms)) if broken else None
    return None if back is None else back - fault.end_ms


def has_recovery(fault: Fault) -> bool:
    """Whether the fault costs sessions their socket, so that one may ask when they are back."""
    return fault.kind in ("outage", "restart", "partition", "suspend")


def gather(plan: Plan, courses: Iterable[Course]) -> Report:
    """The report on sessions of the exact engine."""
    seconds = -(-plan.end_ms // SECOND_MS)
    report = Report(plan, "exact", Load.of(seconds), Load.of(seconds))
    struck = [index for index, fault in enumerate(plan.faults) if has_recovery(fault)]
    waits: dict[int, list[int]] = {index: [] for index in struck}
    for course in courses:
        report.refreshes.add(course.refreshes)
        report.opens.add(course.opens)
        for index in struck:
            wait = recovery_of(plan, index, course)
            if wait is not None:
                waits[index].append(wait)
        if course.loss is not None:
            report.lost[course.loss.excuse or "unexcused"] += 1
        elif not course.ready or course.ready[-1][1] < plan.end_ms:
            report.not_ready += 1
        if course.trouble is not None:
            report.troubles.append(Trouble(course.number, course.trouble))
    report.recoveries = [Recovery(str(plan.faults[index]), sorted(waits[index])) for index in struck]
    return report
