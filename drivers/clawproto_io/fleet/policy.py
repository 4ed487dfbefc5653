"""The numbers of a fleet."""

from attrs import field
from attrs.validators import ge, gt

from clawproto.deferred import frozen


@frozen(kw_only=True)
class FleetPolicy:
    """The numbers of a fleet; the same for all of its members. Times in milliseconds.

    Attributes:
        term_ms: within it the accounts of a dead member are owned by others.
        takes_at_once: leases that may be on their way to this member.
        starts_per_second: sessions that this member begins.
        backoff_first_ms: before a session that failed is begun again; doubles up to ``backoff_max_ms``.
        stable_after_ms: a session that lived so long has not failed before.

    Raises:
        ValueError: a number that cannot be.
    """

    term_ms: int = field(default=15_000, validator=ge(300))
    takes_at_once: int = field(default=8, validator=ge(1))
    starts_per_second: float = field(default=20.0, validator=gt(0))
    backoff_first_ms: int = field(default=1_000, validator=ge(0))
    backoff_max_ms: int = field(default=60_000, validator=ge(0))
    stable_after_ms: int = field(default=60_000, validator=ge(0))

    @property
    def beat_ms(self) -> int:
        """Between two signs of life."""
        return self.term_ms // 3

    @property
    def silence_ms(self) -> int:
        """After which a member counts as dead."""
        return self.term_ms * 2 // 3

    @property
    def survey_ms(self) -> int:
        """Between two looks at the store."""
        return self.term_ms // 12
