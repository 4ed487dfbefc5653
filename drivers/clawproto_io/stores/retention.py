"""How long a message store keeps what nobody waits for any more."""

from collections.abc import Sequence

from clawproto.deferred import frozen
from clawproto.keeping import KeptSend

_DAY_MS = 86_400_000


@frozen
class Retention:
    """Bounds on what is kept, for each account. What waits for the application or for an answer is never removed, nor
    are read marks, of which there is one for each chat.

    A message that was removed is new if the hub hands it out once more, so do not keep them for a shorter time than the
    hub does. Removal is done in small bites within the commits.

    Attributes:
        age_days: since it was filed or decided; None for ever.
        count: of events, and of decided sends; None for any number.
        rejected: frames in quarantine.
        undecided_days: a send that has no answer for so long is given up at the next start, as ``expired``; None never.

    Raises:
        ValueError: a bound that is not positive.
    """

    age_days: float | None = 90
    count: int | None = 100_000
    rejected: int = 256
    undecided_days: float | None = 7

    def __attrs_post_init__(self) -> None:
        bounds = (self.age_days, self.count, self.rejected, self.undecided_days)
        if any(bound is not None and bound <= 0 for bound in bounds):
            raise ValueError("what is kept is bounded by positive numbers; None stands for no bound")

    def done_before(self, now_ms: int) -> int | None:
        """What was done with before this may go; None if nothing may for its age."""
        return None if self.age_days is None else now_ms - round(self.age_days * _DAY_MS)

    def undecided_before(self, now_ms: int) -> int | None:
        """Sends from before this are given up; None if none is."""
        return None if self.undecided_days is None else now_ms - round(self.undecided_days * _DAY_MS)

    def given_up(self, sends: Sequence[KeptSend], now_ms: int) -> tuple[tuple[KeptSend, ...], tuple[KeptSend, ...]]:
        """Undecided ``sends``: those that are still to be transmitted, and those that are given up."""
        limit = self.undecided_before(now_ms)
        if limit is None:
            return tuple(sends), ()
        return (
            tuple(send for send in sends if send.created_ms >= limit),
            tuple(send for send in sends if send.created_ms < limit),
        )
