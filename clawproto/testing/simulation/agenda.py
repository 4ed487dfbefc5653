"""What is still to happen, by the time at which it does."""

import heapq
from collections.abc import Callable


class Agenda:
    """A queue of actions; those of the same instant come in the order in which they were put in.

    Attributes:
        now: true time in milliseconds since the begin of the simulation.
    """

    def __init__(self) -> None:
        self.now = 0
        self._queue: list[tuple[int, int, Callable[[], object]]] = []
        self._order = 0

    def put(self, at: int, action: Callable[[], object]) -> None:
        """Do ``action`` at ``at``."""
        self._order += 1
        heapq.heappush(self._queue, (at, self._order, action))

    def next_due(self) -> int | None:
        """When the next action is due, or None."""
        return self._queue[0][0] if self._queue else None

    def take(self) -> Callable[[], object]:
        """The next action; the caller does it."""
        return heapq.heappop(self._queue)[2]
