"""Deadlines on the monotonic clock: a heap with lazy removal."""

import heapq
from collections.abc import Iterator
from typing import TypeAlias

Timer: TypeAlias = tuple[int, str]
"""Connection number and what is due."""


class Timers:
    """At most one deadline per (connection, purpose); setting it again replaces it."""

    def __init__(self) -> None:
        self._due: dict[Timer, int] = {}
        self._heap: list[tuple[int, int, Timer]] = []
        self._order = 0

    def set(self, conn: int, purpose: str, due_ms: int) -> None:
        self._due[conn, purpose] = due_ms
        self._order += 1
        heapq.heappush(self._heap, (due_ms, self._order, (conn, purpose)))

    def clear(self, conn: int, *purposes: str) -> None:
        for purpose in purposes:
            self._due.pop((conn, purpose), None)

    def next_due(self) -> int | None:
        """The earliest deadline, or None."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def expired(self, mono_ms: int) -> Iterator[Timer]:
        """Remove and yield every deadline that has come, earliest first."""
        while (due := self.next_due()) is not None and due <= mono_ms:
            timer = heapq.heappop(self._heap)[2]
            del self._due[timer]
            yield timer
