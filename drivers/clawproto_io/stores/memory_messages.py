"""A message store without a disk, with faults on command. For tests and demonstrations."""

from collections.abc import Sequence

import anyio
from anyio.lowlevel import checkpoint

from clawproto.event_rows import event_row
from clawproto.filing import Filing
from clawproto.keeping import Arrival, Backlog, Change, Filed
from clawproto_io.errors import LeaseLost, StoreError, Unstorable


class MemoryMessageStore:
    """Keeps messages in a `clawproto.filing.Filing`, which outlives every session that uses it.

    Attributes:
        filing: what is kept, free to be looked at.
        commits: what was given to `commit`, in order, failed ones included.
        full: while True every commit fails as on a full disk, and nothing is kept.
        lost_reports: so many of the next commits are carried out and fail afterwards.
        taken_over: another process owns the session: `clawproto_io.errors.LeaseLost`.
        slow: seconds that every commit takes.
    """

    def __init__(self, filing: Filing | None = None) -> None:
        self.filing = filing or Filing()
        self.commits: list[tuple[Change, ...]] = []
        self.full = False
        self.lost_reports = 0
        self.taken_over = False
        self.slow = 0.0

    async def backlog(self) -> Backlog:
        """See `MessageStore.backlog`."""
        await checkpoint()
        return self.filing.backlog()

    async def commit(self, changes: Sequence[Change]) -> tuple[Filed, ...]:
        """See `MessageStore.commit`."""
        self.commits.append(tuple(changes))
        await anyio.sleep(self.slow)
        if self.taken_over:
            raise LeaseLost("memory")
        if self.full:
            raise StoreError("memory", "the disk is full")
        for index, change in enumerate(changes):
            if isinstance(change, Arrival) and not _is_storable(change):
                raise Unstorable("memory", index, "a value cannot be stored")
        filed = self.filing.commit(changes)
        if self.lost_reports > 0:
            self.lost_reports -= 1
            raise StoreError("memory", "input/output error after the write")
        return filed

    async def aclose(self) -> None:
        """Nothing to let go of; what is kept stays."""
        await checkpoint()


def _is_storable(change: Arrival) -> bool:
    try:
        event_row(change.event)
    except (ValueError, RecursionError):
        return False
    return True
