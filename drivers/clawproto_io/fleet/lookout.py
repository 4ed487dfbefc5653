"""What a member concludes from a look at the store: who lives, what is free, and what its fair share is.

No clocks are compared. Whether somebody lives is judged by how long a beat has stood still on the clock of the member
that looks, or by the operating system, which knows processes of the same machine.
"""

from collections.abc import Container, Mapping
from typing import TypeAlias

from attrs import define

from clawproto.deferred import frozen
from clawproto_io.fleet.messages import Surveyed, Sweep, Take
from clawproto_io.fleet.policy import FleetPolicy
from clawproto_io.fleet.shares import Shard, Share, fair_share, rank, shard_of
from clawproto_io.stores.base import AccountRow, LeaseRow

Living: TypeAlias = dict[str, Shard]

_ALONE_SILENCE_MS = 6_000  # least silence of an owner that is no fleet: it keeps to a term of its own


@define
class _Seen:
    """Something that stands still, and since when."""

    value: object
    since_ms: int


@frozen
class View:
    """What a look at the store says.

    Attributes:
        rows: all accounts.
        usable: those that this member may own.
        free: what it could take, in its own order.
        nobodys: those of them that have been free for the whole term.
        share: how many it should own.
        loads: how many the other members with the same shard own.
        room: how many each of the other members, with its shard, may still take.
        dead: members to take out now.
    """

    rows: Mapping[str, AccountRow]
    usable: Mapping[str, AccountRow]
    free: tuple[Take, ...]
    nobodys: frozenset[str]
    share: Share
    loads: Mapping[str, int]
    room: Mapping[str, tuple[Shard, int]]
    dead: tuple[Sweep, ...]


class Lookout:
    """Remembers what stands still since when.

    Args:
        me: the member that looks.
    """

    def __init__(self, me: str, shard: Shard, policy: FleetPolicy) -> None:
        self._me = me
        self._shard = shard
        self._policy = policy
        self._beats: dict[str, _Seen] = {}
        self._leases: dict[str, _Seen] = {}  # of owners that are no members
        self._free_since: dict[str, int] = {}
        self._refused: dict[str, _Seen] = {}
        self._looked_ms: int | None = None
        self._afresh_ms: int | None = None

    def refuse(self, account: str, now_ms: int) -> None:
        """The session of ``account`` has ended because it has no usable tokens: leave it alone until it is paired
        again."""
        self._refused[account] = _Seen("told", now_ms)

    def look(self, event: Surveyed, held: Container[str], now_ms: int) -> View:
        """Judge what the store holds.

        Args:
            held: what this member owns, or is about to.
        """
        if self._looked_ms is not None and now_ms - self._looked_ms > self._policy.beat_ms:
            self._start_afresh(now_ms)
        self._looked_ms = now_ms
        rows = {row.name: row for row in event.accounts}
        paired = {name: row for name, row in rows.items() if row.paired}
        usable = {name: row for name, row in paired.items() if name in self._shard}
        self._forgive(rows, event, now_ms)
        living, dead = self._living(event, now_ms)
        free = self._free(usable, held, event, now_ms)
        loads = {member: 0 for member in living if member != self._me}
        for row in paired.values():
            if row.lease is not None and row.lease.owner in loads:
                loads[row.lease.owner] += 1
        shares = {shard: fair_share(shard, paired, living) for shard in set(living.values())}
        return View(
            rows=rows,
            usable=usable,
            free=free,
            nobodys=frozenset(
                take.account for take in free if now_ms - self._free_since[take.account] >= self._policy.term_ms
            ),
            share=shares[self._shard],
            loads={member: load for member, load in loads.items() if living[member] == self._shard},
            room={member: (living[member], shares[living[member]].high - load) for member, load in loads.items()},
            dead=dead,
        )

    def _start_afresh(self, now_ms: int) -> None:
        """This member has not looked for a while, suspended or without the store: nothing is known about that time.

        Not again soon, though: on a machine where every look takes long, the dead must be found as well.
        """
        if self._afresh_ms is not None and now_ms - self._afresh_ms < 3 * self._policy.silence_ms:
            return
        self._afresh_ms = now_ms
        for seen in (*self._beats.values(), *self._leases.values()):
            seen.since_ms = now_ms

    def _forgive(self, rows: Mapping[str, AccountRow], event: Surveyed, now_ms: int) -> None:
        for name, seen in tuple(self._refused.items()):
            row = rows.get(name)
            if seen.since_ms >= event.began_ms:
                continue
            if row is not None and not row.paired:
                seen.value = "cleared"
            elif row is None or seen.value == "cleared" or now_ms - seen.since_ms >= self._policy.backoff_max_ms:
                del self._refused[name]  # or the store could not be cleared, and the server is asked once more

    def _living(self, event: Surveyed, now_ms: int) -> tuple[Living, tuple[Sweep, ...]]:
        """The fleet's members that live, this one included, and the dead that it is our turn to take out."""
        self._beats = {member: self._still(self._beats, member, beat, now_ms) for member, beat in event.members.items()}
        living: Living = {self._me: self._shard}
        dead: list[tuple[str, int]] = []  # with the time since their death was known
        for member, seen in self._beats.items():
            shard = shard_of(member)
            late_ms = now_ms - seen.since_ms
            if member not in event.gone:
                late_ms -= self._policy.silence_ms if shard is not None else self._patience_ms
            if member == self._me:
                continue
            if late_ms >= 0:
                dead.append((member, late_ms))
            elif shard is not None:
                living[member] = shard
        sweeps: list[Sweep] = []
        for member, late_ms in dead:
            # One of the living after the other tries, the first at once, so that they do not all do the same.
            order = sorted(living, key=lambda one: rank(one, member), reverse=True)  # used at once
            if late_ms >= order.index(self._me) * self._policy.survey_ms:
                sweeps.append(Sweep(member, event.members[member]))
        return living, tuple(sweeps)

    def _free(
        self, usable: Mapping[str, AccountRow], held: Container[str], event: Surveyed, now_ms: int
    ) -> tuple[Take, ...]:
        free: list[Take] = []
        leases: dict[str, _Seen] = {}
        for name, row in usable.items():
            if name in held or name in self._refused:
                continue
            if row.lease is not None and row.lease.owner is not None:
                if row.lease.owner == self._me or row.lease.owner in event.members:
                    continue  # ours a moment ago; or its owner lives, or is taken out first
                leases[name] = self._still(self._leases, name, row.lease, now_ms)
                if row.lease.owner not in event.gone and now_ms - leases[name].since_ms < self._patience_ms:
                    continue
            free.append(Take(name, row.lease))
        self._leases = leases
        self._free_since = {take.account: self._free_since.get(take.account, now_ms) for take in free}
        return tuple(sorted(free, key=lambda take: rank(self._me, take.account), reverse=True))

    @property
    def _patience_ms(self) -> int:
        return max(self._policy.silence_ms, _ALONE_SILENCE_MS)

    def _still(self, known: Mapping[str, _Seen], name: str, value: LeaseRow | int, now_ms: int) -> _Seen:
        seen = known.get(name)
        return seen if seen is not None and seen.value == value else _Seen(value, now_ms)
