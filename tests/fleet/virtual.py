"""Fleets in virtual time: any number of `Ownership` machines on one store, which is a few dictionaries."""

import heapq
import random
from collections import Counter
from collections.abc import Callable
from itertools import count

from attrs import define, field

from clawproto_io.fleet.messages import (
    Beat,
    Beaten,
    Decision,
    Depart,
    FleetEvent,
    GiveBack,
    GivenBack,
    Leave,
    SessionEnded,
    StartSession,
    StopSession,
    Survey,
    Surveyed,
    Sweep,
    Swept,
    Take,
    Taken,
    Tick,
    Unreachable,
)
from clawproto_io.fleet.ownership import Ownership
from clawproto_io.fleet.policy import FleetPolicy
from clawproto_io.fleet.shares import Shard, member_name
from clawproto_io.stores.base import AccountRow, LeaseRow


@define
class Account:
    """What the store holds."""

    paired: bool = True
    owner: str | None = None
    fence: int = 0


@define(eq=False)
class Member:
    """One process.

    Attributes:
        alive: False: killed.
        paused: a suspended process: what is due waits until it goes on.
        cut_off: it cannot reach the store.
        leaving: it was told to leave, and will have departed soon.
        running: sessions, with the time at which each began.
    """

    name: str
    machine: Ownership
    alive: bool = True
    paused: bool = False
    cut_off: bool = False
    leaving: bool = False
    departed: bool = False
    running: dict[str, int] = field(factory=dict[str, int])
    missed: list[Callable[[], None]] = field(factory=list[Callable[[], None]])


class Fleet:
    """The world.

    Args:
        latency_ms: of the store, at most, each way.
        stop_ms: how long a session takes to end, at most.
        gone_is_known: a killed process is known to be gone, as on the same machine.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        policy: FleetPolicy | None = None,
        latency_ms: int = 20,
        stop_ms: int = 200,
        gone_is_known: bool = False,
    ) -> None:
        self.policy = policy or FleetPolicy()
        self.now_ms = 1_000
        self.accounts: dict[str, Account] = {}
        self.members: list[Member] = []
        self.beats: dict[str, int] = {}
        self.store_down = False
        self.moves: Counter[str] = Counter()  # changes of owner by account
        self.takes: list[tuple[int, str, bool]] = []  # when, by whom, with success
        self.sweeps: list[tuple[int, str]] = []
        self.starts: list[tuple[int, str, str]] = []
        self.most_under_way = 0
        self.failing: set[str] = set()  # sessions that fail at once
        self._chance = random.Random(seed)
        self.latency_ms = latency_ms
        self._stop_ms = stop_ms
        self._gone_is_known = gone_is_known
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._number = count()

    # --- the play ---

    def add_accounts(self, number: int) -> None:
        for _ in range(number):
            self.accounts[f"agent-{len(self.accounts)}"] = Account()

    def join(self, shard: Shard | None = None) -> Member:
        number = len(self.members)
        name = member_name(f"host-{number}:{number}:{self._chance.randrange(1 << 32):08x}", shard or Shard())
        member = Member(name, Ownership(name, self.policy, bytes([number % 256]) * 16))
        self.members.append(member)
        self._wake(member)
        return member

    def kill(self, member: Member) -> None:
        member.alive = False
        member.running.clear()

    def pause(self, member: Member) -> None:
        member.paused = True

    def resume(self, member: Member) -> None:
        member.paused = False
        missed, member.missed = member.missed, []
        for what in missed:
            what()

    def leave(self, member: Member) -> None:
        member.leaving = True
        self._feed(member, Leave())

    def end_session(self, member: Member, account: str, ending: str) -> None:
        if account in member.running:
            del member.running[account]
            self._feed(member, SessionEnded(account, ending))  # type: ignore[arg-type]

    def run(self, ms: int, check: Callable[[], None] = lambda: None) -> None:
        """Let so much time pass; ``check`` is called after everything that happens."""
        end = self.now_ms + ms
        while self._queue and self._queue[0][0] <= end:
            at, _, what = heapq.heappop(self._queue)
            self.now_ms = max(self.now_ms, at)
            what()
            check()
        self.now_ms = end

    def run_until(self, condition: Callable[[], bool], within_ms: int) -> int:
        """How long it took.

        Raises:
            AssertionError: longer than it may.
        """
        began = self.now_ms
        while not condition():
            assert self._queue and self._queue[0][0] <= began + within_ms, f"not within {within_ms} ms"
            self.run(max(0, self._queue[0][0] - self.now_ms))
        return self.now_ms - began

    # --- what is ---

    @property
    def living(self) -> list[Member]:
        return [one for one in self.members if one.alive and not one.paused and not one.departed]

    def loads(self) -> dict[str, int]:
        return {one.name: sum(a.owner == one.name for a in self.accounts.values()) for one in self.living}

    def all_owned(self) -> bool:
        names = {one.name for one in self.living}
        return all(account.owner in names for account in self.accounts.values() if account.paired)

    def all_running(self) -> bool:
        return all(self.holders(name) for name, account in self.accounts.items() if account.paired)

    def holders(self, account: str) -> list[Member]:
        return [one for one in self.members if one.alive and account in one.running]

    # --- machines ---

    def _later(self, delay_ms: int, member: Member, what: Callable[[], None]) -> None:
        def act() -> None:
            if not member.alive:
                return
            if member.paused:
                member.missed.append(what)
            else:
                what()

        heapq.heappush(self._queue, (self.now_ms + delay_ms, next(self._number), act))

    def _feed(self, member: Member, event: FleetEvent) -> None:
        for decision in member.machine.handle(event, self.now_ms):
            self._carry_out(member, decision)
        under_way = sum(phase == "taking" for phase in member.machine.phases.values())
        self.most_under_way = max(self.most_under_way, under_way)
        self._wake(member)

    def _wake(self, member: Member) -> None:
        due = member.machine.next_deadline()
        if due is None:
            return

        def tick() -> None:
            now_due = member.machine.next_deadline()
            if now_due is not None and now_due <= self.now_ms:
                self._feed(member, Tick())

        self._later(max(0, due - self.now_ms), member, tick)

    def _asked(self, member: Member, question: Callable[[], FleetEvent], failed: FleetEvent) -> None:
        """Ask the store, and hear its answer, each after some time."""

        def ask() -> None:
            event = failed if self.store_down or member.cut_off else question()
            self._later(self._chance.randint(0, self.latency_ms), member, lambda: self._feed(member, event))

        # The store does what it was asked even if the asker is paused or dies meanwhile.
        delay = self._chance.randint(0, self.latency_ms)
        heapq.heappush(self._queue, (self.now_ms + delay, next(self._number), ask))

    def _carry_out(self, member: Member, decision: Decision) -> None:
        began = self.now_ms
        match decision:
            case Beat():
                self._asked(member, lambda: Beaten(began, self._beat(member.name)), Unreachable(decision))
            case Survey():
                self._asked(member, lambda: self._survey(began), Unreachable(decision))
            case Take(account, expected):
                self._asked(member, lambda: self._take(member, account, expected), Taken(account, None))
            case GiveBack(account, fence):
                self._asked(member, lambda: self._give_back(account, fence), GivenBack(account))
            case Sweep(name, beat):
                self.sweeps.append((self.now_ms, member.name))
                self._asked(member, lambda: self._sweep(name, beat), Swept(name))
            case StartSession(account):
                member.running[account] = self.now_ms
                self.starts.append((self.now_ms, member.name, account))
                if account in self.failing:
                    self._later(5, member, lambda: self.end_session(member, account, "failed"))
            case StopSession(account):
                delay = self._chance.randint(0, self._stop_ms)
                self._later(delay, member, lambda: self.end_session(member, account, "stopped"))
            case Depart():
                member.departed = True
                self._sweep(member.name, None)

    # --- the store ---

    def _beat(self, name: str) -> dict[str, int]:
        self.beats[name] = self.beats.get(name, 0) + 1
        return {key: account.fence for key, account in self.accounts.items() if account.owner == name}

    def _survey(self, began: int) -> Surveyed:
        gone = {one.name for one in self.members if not one.alive} if self._gone_is_known else set[str]()
        rows = tuple(
            AccountRow(name, f"usr_{name}", account.paired, self._lease(account))
            for name, account in self.accounts.items()
        )
        return Surveyed(began, dict(self.beats), rows, frozenset(gone & self.beats.keys()))

    def _lease(self, account: Account) -> LeaseRow | None:
        if account.fence == 0:
            return None
        beat = 0 if account.owner is None else self.beats.get(account.owner, 0)
        return LeaseRow(account.owner, account.fence, beat)

    def _take(self, member: Member, name: str, expected: LeaseRow | None) -> Taken:
        account = self.accounts[name]
        won = self._lease(account) == expected
        self.takes.append((self.now_ms, member.name, won))
        if not won:
            return Taken(name, None)
        account.owner, account.fence = member.name, account.fence + 1
        self.beats.setdefault(member.name, 0)
        self.moves[name] += 1
        return Taken(name, account.fence)

    def _give_back(self, name: str, fence: int) -> GivenBack:
        account = self.accounts.get(name)
        if account is not None and account.fence == fence:
            account.owner = None
        return GivenBack(name)

    def _sweep(self, name: str, beat: int | None) -> Swept:
        if name in self.beats and beat in (None, self.beats[name]):
            del self.beats[name]
            for account in self.accounts.values():
                if account.owner == name:
                    account.owner = None
        return Swept(name)
