"""What surrounds one session: its clocks, its way to the hub, its disk. Worked out from the plan beforehand.

Time here is the true time in milliseconds since the begin of the simulation. The host's clocks deviate from it: the
wall clock is skewed, and the monotonic clock stands still while the machine sleeps.
"""

from bisect import bisect_right
from typing import Literal

from clawproto.deferred import frozen
from clawproto.entropy import unit
from clawproto.instant import Instant
from clawproto.testing.simulation.plan import Kind, Plan

WALL_MS = 1_790_000_000_000
MONO_MS = 1_000
_FOREVER = 1 << 60


@frozen
class Window:
    """From ``begin`` on, up to ``end``; ``value`` is a skew or a time that the disk takes."""

    begin: int
    end: int
    value: int = 0
    fail: float = 0.0


class Surroundings:
    """One session's share of the plan.

    Attributes:
        starts_at: when its first process starts.
        outages: nothing can be reached, and whoever tries is told so at once.
        blocked: packets vanish: a partition, or the machine sleeps.
        kills: when its process dies.
        revocations: when its tokens are revoked, and what of them.
    """

    def __init__(self, plan: Plan, number: int) -> None:
        self.plan = plan
        self.number = number
        self.starts_at = plan.start_of(number)
        struck = [index for index in range(len(plan.faults)) if plan.strikes(index, number)]

        def windows(*kinds: Kind) -> list[Window]:
            faults = [plan.faults[index] for index in struck if plan.faults[index].kind in kinds]
            return [Window(fault.at_ms, fault.end_ms, fault.by_ms, fault.fail) for fault in faults]

        self.outages = _merged(windows("outage"))
        self.sleeps = _merged(windows("suspend"))
        self.blocked = _merged(windows("partition", "suspend"))
        kills = [plan.instant_in(index, number) for index in struck if plan.faults[index].kind == "restart"]
        self.kills = sorted(self._awake(kill) for kill in kills if kill > self.starts_at)
        self.revocations: list[tuple[int, Literal["session", "access"]]] = [
            (plan.faults[index].at_ms, plan.faults[index].of)
            for index in struck
            if plan.faults[index].kind == "revocation"
        ]
        self._disks = windows("slow-disk")
        self._skews = [
            Window(one.begin, one.end if one.end > one.begin else _FOREVER, one.value) for one in windows("skew")
        ]
        self._operations = 0

    # --- clocks ----------------------------------------------------------------------------------------------------

    def true_wall(self, at: int) -> int:
        """The hub's clock, which is right."""
        return WALL_MS + at

    def clocks(self, at: int) -> Instant:
        """What the host's clocks show."""
        return Instant(self.true_wall(at) + self.skew(at), self._mono(at))

    def skew(self, at: int) -> int:
        """How far the wall clock is ahead."""
        return sum(one.value for one in self._skews if one.begin <= at < one.end)

    def next_jump(self, at: int) -> int | None:
        """When the wall clock jumps next."""
        return min((edge for one in self._skews for edge in (one.begin, one.end) if edge > at), default=None)

    def when(self, mono_ms: int) -> int:
        """The true time at which the monotonic clock has come to ``mono_ms`` and the machine is awake."""
        at = mono_ms - MONO_MS
        for sleep in self.sleeps:
            if sleep.begin > at:
                break
            at += sleep.end - sleep.begin
        return at

    def after(self, at: int, delay_ms: int) -> int:
        """The true time at which ``delay_ms`` have passed on the monotonic clock."""
        return self.when(self._mono(at) + delay_ms)

    def _mono(self, at: int) -> int:
        slept = sum(min(at, sleep.end) - sleep.begin for sleep in self.sleeps if sleep.begin < at)
        return MONO_MS + at - slept

    def _awake(self, at: int) -> int:
        return next((one.end for one in self.sleeps if one.begin <= at < one.end), at)

    # --- the way to the hub ----------------------------------------------------------------------------------------

    def is_out(self, at: int) -> bool:
        """Whether the service is down."""
        return _covers(self.outages, at)

    def outage_within(self, begin: int, end: int) -> int | None:
        """When an outage begins within, both ends included."""
        return next((one.begin for one in self.outages if begin <= one.begin <= end), None)

    def passes(self, begin: int, end: int) -> bool:
        """Whether a packet that leaves at ``begin`` arrives at ``end``."""
        return not any(one.begin <= end and begin < one.end for one in self.blocked)

    # --- the disk --------------------------------------------------------------------------------------------------

    def disk(self, at: int) -> tuple[int, bool]:
        """How long an operation that begins now takes, and whether it fails."""
        slow = next((one for one in self._disks if one.begin <= at < one.end), None)
        if slow is None:
            return self.plan.timings.disk_ms, False
        self._operations += 1
        drawn = unit(self.plan.session_seed(self.number, 0), "disk", self._operations) if slow.fail else 1.0
        return slow.value, drawn < slow.fail

    def was_well(self, begin: int, end: int) -> bool:
        """Whether way, process and disk were in order throughout, so that a session has no excuse."""
        bad = [*self.outages, *self.blocked, *(one for one in self._disks if one.value > 5_000 or one.fail)]
        boot = self.plan.timings.boot_ms
        bad += [Window(kill, kill + boot) for kill in self.kills]
        return not any(one.begin <= end and begin < one.end for one in bad)


def _covers(windows: list[Window], at: int) -> bool:
    found = bisect_right([one.begin for one in windows], at)
    return found > 0 and at < windows[found - 1].end


def _merged(windows: list[Window]) -> list[Window]:
    """In order, those that overlap or touch as one."""
    merged: list[Window] = []
    for one in sorted(windows, key=lambda window: window.begin):
        if merged and one.begin <= merged[-1].end:
            merged[-1] = Window(merged[-1].begin, max(merged[-1].end, one.end))
        else:
            merged.append(one)
    return merged
