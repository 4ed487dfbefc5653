"""The durable store per recipient: rows unique by message id, ordered by seq, and a cursor per device.

A second arrival under a message id replaces the row and moves it to the tail under a new seq (SEND-18, NOTIFY-5).
"""

from bisect import bisect_right
from collections.abc import Iterator

from attrs import define, field


@define
class Row:
    """One stored downlink.

    Attributes:
        text: the frame without ``seq`` and ``dseq``, encoded once, so that every copy is the same (RPL-3, ENV-9).
        author_id: whose message it is; with ``author_device`` it decides about the own echo (RPL-11).
        stamped: carries a ``dseq`` on a v2 connection (R2-4).
        signal: a ``notify.signal`` (R2-20).
        target_device: a ``history.transit`` for this device alone (HIST-5); the row dies once landed (HIST-9).
    """

    seq: int
    message_id: str
    text: str = field(repr=False)
    author_id: str
    author_device: str | None = None
    stamped: bool = True
    signal: bool = False
    target_device: str | None = None


class Inbox:
    """The rows of one user and the cursors of their devices."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self._by_seq: dict[int, Row] = {}
        self._order: list[int] = []  # ascending; may name rows that have moved on
        self.pruned_to = 0
        self.cursors: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return self.after(0)

    def get(self, message_id: str) -> Row | None:
        return self._rows.get(message_id)

    def put(self, row: Row) -> None:
        """Insert at the tail; ``row.seq`` must be the highest so far."""
        self.remove(row.message_id)
        self._rows[row.message_id] = row
        self._by_seq[row.seq] = row
        self._order.append(row.seq)

    def remove(self, message_id: str) -> None:
        old = self._rows.pop(message_id, None)
        if old is None:
            return
        del self._by_seq[old.seq]
        if len(self._order) > 64 and len(self._order) > 2 * len(self._rows):
            self._order = sorted(self._by_seq)

    def after(self, seq: int) -> Iterator[Row]:
        """Rows beyond ``seq`` in order. Stop using it once the inbox has changed."""
        order = self._order
        for index in range(bisect_right(order, seq), len(order)):
            row = self._by_seq.get(order[index])
            if row is not None:
                yield row

    def has_after(self, seq: int) -> bool:
        return next(self.after(seq), None) is not None

    def oldest_seq(self) -> int:
        """The first seq that is still there; 0 if the inbox is empty."""
        row = next(self.after(0), None)
        return 0 if row is None else row.seq

    def prune(self, keep: int) -> int:
        """Delete all but the newest ``keep`` rows; return how many went (O-14)."""
        doomed = list(self)[: max(0, len(self._rows) - keep)]
        for row in doomed:
            self.remove(row.message_id)
            self.pruned_to = max(self.pruned_to, row.seq)
        return len(doomed)

    def cursor(self, device_id: str) -> int:
        """0 for a device seen for the first time (DEV-9)."""
        return self.cursors.setdefault(device_id, 0)

    def advance(self, device_id: str, seq: int) -> None:
        """Move a cursor forward, never back (R1-5, R2-22)."""
        self.cursors[device_id] = max(self.cursor(device_id), seq)
