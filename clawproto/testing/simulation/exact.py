"""The exact engine: every session with the real core and the real hub, one after the other."""

from collections.abc import Callable, Iterator

from clawproto.testing.simulation.course import Course
from clawproto.testing.simulation.life import Life
from clawproto.testing.simulation.plan import Plan
from clawproto.testing.simulation.report import Report, gather


def simulate(plan: Plan, *, heartbeats: bool = False, progress: Callable[[int], None] | None = None) -> Report:
    """Run all sessions of ``plan``.

    Args:
        heartbeats: carry out every ping and pong instead of skipping quiet hours; some hundred times slower.
        progress: told how many sessions are done.
    """

    def courses() -> Iterator[Course]:
        for number in range(plan.sessions):
            yield Life(plan, number, heartbeats=heartbeats).run()
            if progress is not None:
                progress(number + 1)

    return gather(plan, courses())
