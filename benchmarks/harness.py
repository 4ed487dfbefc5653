"""Interleaved pairs: subject and baseline take turns, so that whatever slows the machine down slows both.

Pure code is timed by the CPU time of this process, which a busy machine disturbs least; what waits for a network is
timed by the wall. The figure that counts is the ratio: one per round, of two neighbours in time; the table shows its
median and its quartiles, and judges the median.
"""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias, TypeVar

from attrs import evolve, field, frozen
from attrs.validators import in_

from benchmarks.targets import LINES

Work: TypeAlias = Callable[[], None]
SECONDS = 0.03

T = TypeVar("T")
Verdict: TypeAlias = Literal["met", "missed"]


@frozen
class Target:
    """What a row is held to.

    Attributes:
        line: the line of the table that it belongs to, a key of `benchmarks.targets.LINES`.
        limit: for the ratio, or for the figure itself where there is no baseline; in the row's unit.
        at_least: whether it is a floor and no ceiling.
    """

    line: str = field(validator=in_(LINES))
    limit: float = field()
    at_least: bool = False


@frozen
class Row:
    """One line of the table.

    Attributes:
        group: heading under which it is printed among the details.
        subject: median of what was measured, in `unit`.
        baseline: median of what it is compared with, in `unit`; None for a figure that stands alone.
        ratio: median of subject/baseline.
        low, high: quartiles of the ratio; without a baseline of the figure itself.
        target: None for a detail, which nobody has set a target for.
    """

    group: str
    name: str
    against: str
    unit: str
    subject: float
    baseline: float | None
    ratio: float | None
    low: float
    high: float
    rounds: int
    target: Target | None = None

    @property
    def verdict(self) -> Verdict | None:
        """Whether the median keeps to the target; None without one."""
        if self.target is None:
            return None
        judged, limit = self.subject if self.ratio is None else self.ratio, self.target.limit
        return "met" if (judged >= limit if self.target.at_least else judged <= limit) else "missed"

    def held_to(self, line: str, limit: float, *, at_least: bool = False) -> "Row":
        """This row with a target."""
        return evolve(self, target=Target(line, limit, at_least))


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def paired(group: str, name: str, against: str, unit: str, subject: Sequence[float], baseline: Sequence[float]) -> Row:
    """The row of two series that were measured in turns."""
    low, middle, high = quartiles([mine / theirs for mine, theirs in zip(subject, baseline, strict=True)])
    return Row(
        group,
        name,
        against,
        unit,
        statistics.median(subject),
        statistics.median(baseline),
        middle,
        low,
        high,
        len(subject),
    )


def single(group: str, name: str, unit: str, values: list[float]) -> Row:
    """The row of a figure without a baseline."""
    low, middle, high = quartiles(values)
    return Row(group, name, "", unit, middle, None, None, low, high, len(values))


def cpu_seconds(work: Work, repeat: int) -> float:
    """CPU time of this process for ``repeat`` runs, the garbage collector at rest as in `timeit`."""
    gc.collect()
    gc.disable()
    try:
        began = time.process_time()
        for _ in range(repeat):
            work()
        return time.process_time() - began
    finally:
        gc.enable()


def _calibrated(work: Work, seconds: float) -> int:
    repeat = 1
    while (spent := cpu_seconds(work, repeat)) < seconds / 4:
        repeat *= 2
    return max(1, round(repeat * seconds / spent))


def compare(
    group: str,
    name: str,
    subject: Work,
    against: str,
    baseline: Work,
    *,
    operations: int = 1,
    baseline_operations: int | None = None,
    rounds: int = 15,
) -> Row:
    """Time two pieces of pure work in turns; the row is in microseconds per operation.

    Args:
        operations: how many operations one call of ``subject`` makes.
        baseline_operations: the same of ``baseline``; None for as many.
        rounds: pairs, each half of about `SECONDS` of CPU time.
    """
    mine, theirs = _calibrated(subject, SECONDS), _calibrated(baseline, SECONDS)
    subject_unit = 1e6 / (mine * operations)
    baseline_unit = 1e6 / (theirs * (operations if baseline_operations is None else baseline_operations))
    subjects, baselines = alternate(
        lambda: cpu_seconds(subject, mine) * subject_unit, lambda: cpu_seconds(baseline, theirs) * baseline_unit, rounds
    )
    return paired(group, name, against, "µs", subjects, baselines)


def alternate(subject: Callable[[], T], baseline: Callable[[], T], rounds: int) -> tuple[list[T], list[T]]:
    """The two series of ``rounds`` pairs; whoever was first in one pair is second in the next."""
    subjects: list[T] = []
    baselines: list[T] = []
    for turn in range(rounds):
        if turn % 2:
            baselines.append(baseline())
            subjects.append(subject())
        else:
            subjects.append(subject())
            baselines.append(baseline())
    return subjects, baselines
