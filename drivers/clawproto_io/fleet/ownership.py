"""Which accounts this member of a fleet owns, and which of their sessions run: a machine without clock and IO.

Every process of a fleet runs one. They agree through the store alone: by leases, and one sign of life for each member.

                 a lease is taken              in its turn                    it ends by itself
    (not ours) ------------------> waiting ------------------> running --------------------------> waiting, with backoff
         ^                           |                            | too many here; left; unpaired
         |                           v                            v
         '------------------------ giving <------------------- stopping

Whatever the store says to be somebody else's goes from anywhere to "not ours"; a session that runs is stopped first.

- A member that has shown no sign of life for two thirds of the term is taken out, and in the last third everybody alive
  takes a fair share of what it owned.
- A share is fair to within one account. Who owns too much gives a third of it back with each look at the store, so that
  an account is without an owner for a moment only, and not all of them at once.
- A member that joins looks twice before it takes anything, so that many which start together see each other first.
- Nothing is taken or started faster than `FleetPolicy` allows. Everybody takes in an order of its own.
- A member that cannot reach the store goes on: a store that is down for all must not end the sessions of all. If the
  hub gives one of its connections to somebody else meanwhile, it lets go of that account.
"""

from collections import deque
from collections.abc import Mapping
from math import ceil
from typing import Literal, TypeAlias, assert_never

from attrs import define

from clawproto.entropy import unit
from clawproto_io.fleet.lookout import Lookout, View
from clawproto_io.fleet.messages import (
    Beat,
    Beaten,
    Decision,
    Depart,
    Evicted,
    FleetEvent,
    GiveBack,
    GivenBack,
    Leave,
    SessionEnded,
    StartSession,
    StopSession,
    Survey,
    Surveyed,
    Swept,
    Take,
    Taken,
    Tick,
    Unreachable,
)
from clawproto_io.fleet.policy import FleetPolicy
from clawproto_io.fleet.shares import Shard, rank, shard_of

Phase: TypeAlias = Literal["taking", "waiting", "running", "stopping", "giving"]


@define
class _Held:
    """An account that is ours, or about to be."""

    phase: Phase
    fence: int = 0
    since_ms: int = 0  # of the lease
    start_ms: int = 0  # not before
    running_since_ms: int = 0
    failures: int = 0
    keep: bool = True  # the lease, when the session has ended
    lost: bool = False


class Ownership:
    """The machine of one member.

    Args:
        me: its name, from `clawproto_io.fleet.shares.member_name`.
        seed: at least 1 byte, for the jitter.
    """

    def __init__(self, me: str, policy: FleetPolicy, seed: bytes) -> None:
        self._me = me
        self._lookout = Lookout(me, shard_of(me) or Shard(), policy)
        self._policy = policy
        self._seed = seed
        self._drawn = 0
        self._held: dict[str, _Held] = {}
        self._given: dict[str, int] = {}  # when
        self._wanted: deque[Take] = deque()
        self._sweeping: set[str] = set()
        self._beat_due_ms: int | None = 0
        self._survey_due_ms: int | None = None  # the first one follows the first sign of life
        self._next_start_ms = 0
        self._looked_ms = 0
        self._joined_ms: int | None = None
        self._in_touch_ms: int | None = None
        self._held_back = False
        self._leaving = False
        self._departed = False
        self._decisions: list[Decision] = []

    # --- what others may know ---

    @property
    def phases(self) -> Mapping[str, Phase]:
        """Every account that is ours or about to be."""
        return {account: held.phase for account, held in self._held.items()}

    @property
    def owned(self) -> frozenset[str]:
        """Accounts whose lease we hold, as far as we know."""
        return frozenset(account for account, held in self._held.items() if held.phase != "taking" and not held.lost)

    def start_due_ms(self, account: str) -> int | None:
        """Before this its session is not begun; None if it is not waiting."""
        held = self._held.get(account)
        return held.start_ms if held is not None and held.phase == "waiting" else None

    def failures(self, account: str) -> int:
        """How often its session has failed in a row."""
        held = self._held.get(account)
        return 0 if held is None else held.failures

    def is_out_of_touch(self, now_ms: int) -> bool:
        """No sign of life could be stored for so long that the others may take this member for dead."""
        return self._in_touch_ms is not None and now_ms - self._in_touch_ms >= self._policy.silence_ms

    def next_deadline(self) -> int | None:
        """When a `Tick` is due; None if only an event can change anything."""
        dues = [due for due in (self._beat_due_ms, self._survey_due_ms) if due is not None]
        starts = [held.start_ms for held in self._held.values() if held.phase == "waiting"]
        if starts and not self._leaving and not self._held_back:
            dues.append(max(min(starts), self._next_start_ms))
        return min(dues, default=None) if not self._departed else None

    # --- the step ---

    def handle(self, event: FleetEvent, now_ms: int) -> tuple[Decision, ...]:
        """Take one event and return what to do. ``now_ms`` never goes back."""
        match event:
            case Tick():
                pass
            case Beaten():
                self._beaten(event, now_ms)
            case Surveyed():
                self._surveyed(event, now_ms)
            case Unreachable(asked):
                self._unreachable(asked, now_ms)
            case Taken(account, fence):
                self._taken(account, fence, now_ms)
            case GivenBack(account):
                self._drop(account, now_ms)
                self._survey_soon(now_ms)
            case Swept(member):
                self._sweeping.discard(member)
                self._survey_soon(now_ms)
            case SessionEnded():
                self._ended(event, now_ms)
            case Evicted(account):
                if self.is_out_of_touch(now_ms):
                    self._lose(account)
            case Leave():
                self._leave()
            case _:
                assert_never(event)
        self._advance(now_ms)
        decisions, self._decisions = self._decisions, []
        return tuple(decisions)

    def _advance(self, now_ms: int) -> None:
        if self._departed:
            return
        if self._beat_due_ms is not None and now_ms >= self._beat_due_ms:
            self._beat_due_ms = None
            self._decisions.append(Beat())
        if self._survey_due_ms is not None and now_ms >= self._survey_due_ms:
            self._survey_due_ms = None
            self._decisions.append(Survey())
        if self._leaving:
            if not self._held:
                self._departed = True
                self._decisions.append(Depart())
            return
        self._held_back = self.is_out_of_touch(now_ms)
        if self._held_back:
            return  # first learn what is still ours
        under_way = sum(held.phase == "taking" for held in self._held.values())
        while self._wanted and under_way < self._policy.takes_at_once:
            take = self._wanted.popleft()
            if take.account not in self._held:
                self._held[take.account] = _Held("taking")
                self._decisions.append(take)
                under_way += 1
        self._start(now_ms)

    def _start(self, now_ms: int) -> None:
        if now_ms < self._next_start_ms:
            return
        due = [(held.start_ms, account) for account, held in self._held.items() if held.phase == "waiting"]
        due = [item for item in due if item[0] <= now_ms]
        if due:
            _, account = min(due)
            held = self._held[account]
            held.phase, held.running_since_ms = "running", now_ms
            gap = 1000 / self._policy.starts_per_second
            self._next_start_ms = now_ms + max(1, round(gap * (0.5 + self._unit())))
            self._decisions.append(StartSession(account))

    # --- signs of life ---

    def _beaten(self, event: Beaten, now_ms: int) -> None:
        self._in_touch_ms = event.began_ms
        self._beat_due_ms = max(now_ms, event.began_ms + self._policy.beat_ms)
        if self._joined_ms is None:
            self._joined_ms = now_ms
            self._survey_due_ms = None if self._leaving else now_ms
        for account, held in tuple(self._held.items()):
            if held.phase == "taking" or held.since_ms >= event.began_ms:
                continue  # the answer may be older than the lease
            if event.owned.get(account) != held.fence:
                self._lose(account)
        for account, fence in event.owned.items():
            # Taken without our knowing: the report was lost, or the store was unreachable when it was given back.
            if account not in self._held and self._given.get(account, -1) < event.began_ms and not self._leaving:
                self._held[account] = _Held("giving", fence, now_ms)
                self._decisions.append(GiveBack(account, fence))

    def _unreachable(self, asked: Beat | Survey, now_ms: int) -> None:
        """Ask again, a little earlier than usual."""
        delay = max(1, round(self._policy.survey_ms * (0.5 + self._unit())))
        if isinstance(asked, Beat):
            self._beat_due_ms = now_ms + delay
        elif not self._leaving:
            self._survey_due_ms = now_ms + delay

    def _survey_soon(self, now_ms: int) -> None:
        """Something has just become free."""
        if self._survey_due_ms is not None:
            self._survey_due_ms = min(self._survey_due_ms, now_ms + self._policy.survey_ms // 4)

    # --- looking around ---

    def _surveyed(self, event: Surveyed, now_ms: int) -> None:
        if self._leaving:
            return
        since_ms, self._looked_ms = now_ms - self._looked_ms, now_ms
        self._survey_due_ms = now_ms + max(1, round(self._policy.survey_ms * (0.75 + self._unit() / 2)))
        self._given = {name: at for name, at in self._given.items() if at >= event.began_ms}
        view = self._lookout.look(event, self._held, now_ms)
        for sweep in view.dead:
            if sweep.member not in self._sweeping:
                self._sweeping.add(sweep.member)
                self._decisions.append(sweep)
        for name, held in tuple(self._held.items()):
            if name in view.usable or held.since_ms >= event.began_ms:
                continue
            if held.phase == "waiting" or name not in view.rows:  # a session that runs sees a logout by itself
                self._release(name)
        if self._joined_ms is not None and event.began_ms >= self._joined_ms + self._policy.survey_ms // 2:
            self._share_out(view, since_ms)

    # --- sharing ---

    def _share_out(self, view: View, since_ms: int) -> None:
        share, free = view.share, view.free
        mine = sum(held.keep and held.phase in ("taking", "waiting", "running") for held in self._held.values())
        missing = sum(max(0, share.low - load) for load in view.loads.values())
        count = max(0, share.low - mine)
        if mine + count < share.high and len(free) - count > missing:
            count += 1
        nobodys = [take for take in free[count:] if take.account in view.nobodys]
        self._wanted = deque([*free[:count], *nobodys])  # better too many here than nowhere
        excess = mine - share.high
        if excess > 0:
            # A third with each look, or more if looks take long, so that all has moved within the term.
            part = min(1.0, max(1 / 3, since_ms / (3 * self._policy.survey_ms)))
            self._shed(ceil(excess * part), view)
        elif excess == 0 and mine > share.low and missing and not free:
            rich = sorted([self._me, *(member for member, load in view.loads.items() if load > share.low)])
            if rich.index(self._me) < missing:
                self._shed(1, view)

    def _shed(self, count: int, view: View) -> None:
        """Give some back that others have room for: first those that do not run yet, then those for which others are
        the right ones."""
        room = {member: left for member, (_, left) in view.room.items()}
        ours = [
            (held.phase == "running", rank(self._me, account), account)
            for account, held in self._held.items()
            if held.phase in ("waiting", "running") and held.keep and not held.lost
        ]
        for _, _, account in sorted(ours):
            takers = [member for member, (shard, _) in view.room.items() if room[member] > 0 and account in shard]
            if takers and count > 0:
                room[max(takers, key=room.__getitem__)] -= 1
                count -= 1
                self._release(account)

    # --- one account ---

    def _taken(self, account: str, fence: int | None, now_ms: int) -> None:
        held = self._held.get(account)
        if held is None or held.phase != "taking":
            return
        if fence is None:
            del self._held[account]
            return
        held.phase, held.fence, held.since_ms, held.start_ms = "waiting", fence, now_ms, now_ms
        if self._leaving or not held.keep:
            self._release(account)

    def _release(self, account: str) -> None:
        """Give it back, after its session has ended."""
        held = self._held[account]
        held.keep = False
        if held.phase == "running":
            held.phase = "stopping"
            self._decisions.append(StopSession(account))
        elif held.phase == "waiting":
            self._give(account, held)

    def _give(self, account: str, held: _Held) -> None:
        held.phase = "giving"
        self._decisions.append(GiveBack(account, held.fence))

    def _lose(self, account: str) -> None:
        """It is somebody else's."""
        held = self._held.get(account)
        if held is None or held.lost:
            return
        if held.phase == "waiting":
            del self._held[account]
            return
        held.lost = True
        if held.phase == "running":
            held.phase = "stopping"
            self._decisions.append(StopSession(account))

    def _drop(self, account: str, now_ms: int) -> None:
        if account in self._held:
            del self._held[account]
            self._given[account] = now_ms

    def _ended(self, event: SessionEnded, now_ms: int) -> None:
        held = self._held.get(event.account)
        if held is None or held.phase not in ("running", "stopping"):
            return
        if held.lost or event.ending == "lost":
            self._drop(event.account, now_ms)
        elif event.ending == "logged-out":
            self._lookout.refuse(event.account, now_ms)
            self._give(event.account, held)
        elif not held.keep or self._leaving:
            self._give(event.account, held)
        else:
            stable = now_ms - held.running_since_ms >= self._policy.stable_after_ms
            held.failures = 1 if stable else held.failures + 1
            held.phase, held.start_ms = "waiting", now_ms + self._backoff(held.failures)

    def _backoff(self, failures: int) -> int:
        policy = self._policy
        base = min(policy.backoff_max_ms, policy.backoff_first_ms << min(failures - 1, 30))
        return round(base * (0.75 + self._unit() / 2))

    def _leave(self) -> None:
        if self._leaving:
            return
        self._leaving = True
        self._survey_due_ms = None
        for account, held in self._held.items():
            if held.phase == "running":
                held.keep, held.phase = False, "stopping"
                self._decisions.append(StopSession(account))
            elif held.phase == "waiting":
                self._give(account, held)

    def _unit(self) -> float:
        self._drawn += 1
        return unit(self._seed, "fleet", self._drawn)
