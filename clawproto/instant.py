"""The two clocks that every step is told."""

from clawproto.deferred import frozen


@frozen
class Instant:
    """One moment, read from both clocks of the host at once.

    Tokens expire on the wall clock, delays run on the monotonic clock (TOK-21).

    Attributes:
        wall_ms: milliseconds since the Unix epoch; may jump in either direction.
        mono_ms: milliseconds of a monotonic clock with an arbitrary origin; never runs backwards.
    """

    wall_ms: int
    mono_ms: int
