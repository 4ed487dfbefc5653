"""What happened, as the applications saw it. Written by the agents' threads, read by the director's."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Literal, TypeAlias

from attrs import define, field

Ending: TypeAlias = Literal["", "logged out", "stopped", "failed"]


@define
class Tally:
    """One agent's account.

    Attributes:
        sent: ids of messages given to the driver whose fate was told, or is still awaited.
        acknowledged: ids in receipts.
        received: how often each message of the other agent was handed over, by id.
        rotations: new pairs saved and in force, taken over from another process not included.
        reactive: those of them that followed a refused token.
        connects: how often the session became ready.
        repeats: undecided sends that were repeated under their id.
        held: rotations whose pair had to be held because it could not be saved.
        pings: sent so far, in all sessions.
        live: the backlog of this connection is through.
        replayed: messages that came out of a backlog since the last absence.
        absences: how often the application left and came back.
        streamed: long answers written piece by piece, and acknowledged.
        pieces: of the other's answers, as they were written.
        stream_seen: long answers of the other whose pieces added up to the message at the end.
        ended: how the session ended.
    """

    sent: int = 0
    acknowledged: set[str] = field(factory=set[str])
    received: Counter[str] = field(factory=Counter[str])
    rotations: int = 0
    reactive: int = 0
    connects: int = 0
    ready: bool = False
    repeats: int = 0
    alarms: int = 0
    held: int = 0
    pings: int = 0
    live: bool = False
    replayed: int = 0
    absences: int = 0
    streamed: int = 0
    pieces: int = 0
    stream_seen: int = 0
    ended: Ending = ""

    @property
    def reconnects(self) -> int:
        return max(0, self.connects - 1)


class Board:
    """All tallies behind one lock."""

    def __init__(self) -> None:
        self._changed = threading.Condition()

    @contextmanager
    def change(self) -> Generator[None]:
        """Hold the lock, then wake whoever waits."""
        with self._changed:
            yield
            self._changed.notify_all()

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until ``condition``, which is called under the lock, holds; tell whether it does."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not condition():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(min(left, 0.5))  # in slices, so that an interrupt gets through everywhere
            return True
