"""Where the population engine takes its random numbers from.

`CoreDraws` draws what the core of that very session would draw, so that the two engines agree event for event; a
microsecond and a half each. `FastDraws` mixes seed, session and counter, a hundred times faster: other numbers, equally
independent of each other and of the order in which they are drawn.
"""

from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clawproto.entropy import unit
from clawproto.testing.simulation.plan import Plan

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]


class Draws(Protocol):
    """A number in [0, 1) for each of some sessions."""

    def __call__(self, label: str, numbers: Ints, processes: Ints, counters: Ints) -> Floats:
        """One draw for ``label`` for each session number, of the process with its counter."""
        ...


class CoreDraws:
    """The numbers of `clawproto.entropy`, with the seeds of the plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._seeds: dict[tuple[int, int], bytes] = {}

    def __call__(self, label: str, numbers: Ints, processes: Ints, counters: Ints) -> Floats:
        drawn = [
            unit(self._seed(number, process), label, counter)
            for number, process, counter in zip(numbers.tolist(), processes.tolist(), counters.tolist(), strict=True)
        ]
        return np.array(drawn, np.float64)

    def _seed(self, number: int, process: int) -> bytes:
        seed = self._seeds.get((number, process))
        if seed is None:
            seed = self._seeds[number, process] = self._plan.session_seed(number, process)
        return seed


class FastDraws:
    """Numbers from the splitmix64 finalizer, applied to seed and session, then to that and the counter."""

    def __init__(self, plan: Plan) -> None:
        self._key = np.uint64(int.from_bytes(plan.key[:8], "big"))

    def __call__(self, label: str, numbers: Ints, processes: Ints, counters: Ints) -> Floats:
        mixed = _mix(self._key ^ _mix(numbers.astype(np.uint64)))
        mixed = _mix(mixed + (processes.astype(np.uint64) << np.uint64(32)) + counters.astype(np.uint64))
        return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
