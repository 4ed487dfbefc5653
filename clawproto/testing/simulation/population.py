"""The population engine: a model of when sessions act, for millions of them. Needs numpy (the extra ``plot``).

What it leaves out is in `clawproto.testing.simulation.cohort`. Faults that it does not know it refuses.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

from clawproto.policy import MINUTE_MS, SECOND_MS
from clawproto.testing.simulation.cohort import Cohort
from clawproto.testing.simulation.draws import CoreDraws, FastDraws, Ints
from clawproto.testing.simulation.hardships import FAR
from clawproto.testing.simulation.plan import Plan
from clawproto.testing.simulation.report import Load, Recovery, Report

COHORT = 1 << 16
"""So many sessions at once: their arrays stay in the processor's cache."""

KNOWN = frozenset({"deploy", "outage", "restart", "revocation", "slow-disk"})
LEAST_LIFE_MS = 5 * MINUTE_MS


def problem(plan: Plan) -> str | None:
    """Why this engine cannot run ``plan``, or None if it can."""
    for fault in plan.faults:
        if fault.kind not in KNOWN:
            return f"it does not know {fault.kind}"
        if fault.fail:
            return "it does not know failing disks"
    if plan.token_life_ms < LEAST_LIFE_MS:
        return "it does not know tokens that live for less than 5 minutes"
    return None


def simulate(
    plan: Plan, *, draws: Literal["fast", "core"] = "fast", progress: Callable[[int], None] | None = None
) -> Report:
    """Run all sessions of ``plan``.

    Args:
        draws: ``core`` draws what the cores of these sessions would draw: the same events as with the exact engine.
        progress: told how many sessions are done.

    Raises:
        ValueError: the plan has something in it that this engine does not know.
    """
    unknown = problem(plan)
    if unknown is not None:
        raise ValueError(f"the population engine cannot run this: {unknown}")
    source = CoreDraws(plan) if draws == "core" else FastDraws(plan)
    seconds = -(-plan.end_ms // SECOND_MS)
    refreshes, opens = np.zeros(seconds, np.int64), np.zeros(seconds, np.int64)
    waits: dict[int, list[Ints]] = {}
    report = Report(plan, "population", Load.of(0), Load.of(0))
    for begin in range(0, plan.sessions, COHORT):
        numbers = np.arange(begin, min(begin + COHORT, plan.sessions), dtype=np.int64)
        cohort = Cohort(plan, numbers, source)
        cohort.run()
        refreshes += _per_second(cohort.refreshes, seconds)
        opens += _per_second(cohort.opens, seconds)
        for index, found in cohort.waits.items():
            waits.setdefault(index, []).append(found[found >= 0])
        lost = cohort.lost_at < FAR
        report.lost["revoked"] += int((lost & cohort.revoked).sum())
        report.lost["answer-lost"] += int((lost & ~cohort.revoked).sum())
        report.not_ready += int((~lost & ~cohort.online).sum())
        if progress is not None:
            progress(int(numbers[-1]) + 1)
    report.refreshes, report.opens = Load(refreshes.tolist()), Load(opens.tolist())
    report.recoveries = [
        Recovery(str(plan.faults[index]), np.sort(np.concatenate(parts)).tolist()) for index, parts in waits.items()
    ]
    return report


def _per_second(instants: list[Ints], seconds: int) -> Ints:
    counted = np.zeros(seconds, np.int64)
    for part in instants:
        counted += np.bincount(part // SECOND_MS, minlength=seconds)
    return counted
