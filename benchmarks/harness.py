"""Interleaved pairs: subject and baseline take turns, so that whatever slows the machine down slows both.

Pure code is timed by the CPU time of this process, which a busy machine disturbs least; what waits for a network is
timed by the wall. The figure that counts is the ratio: one per round, of two neighbours in time; the table shows its
median and its quartiles.
"""

import gc
import statistics
import time
from collections.abc import Callable
from typing import TypeAlias

from attrs import frozen

Work: TypeAlias = Callable[[], None]


@frozen
class Row:
    """One line of the table.

    Attributes:
        group: heading under which it is printed.
        subject: median of what was measured, in `unit`.
        baseline: median of what it is compared with, in `unit`; None for a figure that stands alone.
        ratio: median of subject/baseline.
        low, high: quartiles of the ratio; without a baseline of the figure itself.
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


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def paired(group: str, name: str, against: str, unit: str, subject: list[float], baseline: list[float]) -> Row:
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
    seconds: float = 0.03,
) -> Row:
    """Time two pieces of pure work in turns; the row is in microseconds per operation.

    Args:
        operations: how many operations one call of ``subject`` makes.
        baseline_operations: the same of ``baseline``; None for as many.
        rounds: pairs.
        seconds: CPU time of one half of a pair, about.
    """
    mine, theirs = _calibrated(subject, seconds), _calibrated(baseline, seconds)
    subject_unit = 1e6 / (mine * operations)
    baseline_unit = 1e6 / (theirs * (operations if baseline_operations is None else baseline_operations))
    subjects: list[float] = []
    baselines: list[float] = []
    for turn in range(rounds):
        if turn % 2:
            baselines.append(cpu_seconds(baseline, theirs) * baseline_unit)
            subjects.append(cpu_seconds(subject, mine) * subject_unit)
        else:
            subjects.append(cpu_seconds(subject, mine) * subject_unit)
            baselines.append(cpu_seconds(baseline, theirs) * baseline_unit)
    return paired(group, name, against, "µs", subjects, baselines)
