"""The population engine's model of a session: when it acts, and nothing else. Many sessions at once, as arrays.

    DOWN --open--> (handshake) --> ONLINE --refresh due--> (flight) --> DOWN, reopened at once
      ^               | refused       | outage: cut
      '---------------'---------------'          killed at any time: a new process, DOWN

A session depends on no other one, so each goes on by its own next action, whatever the time of the others. An action is
taken as a whole, up to its outcome: opening a socket with its handshake, a refresh with its two writes. The formulas
are those of `clawproto.timing`, the ones that depend on a draw as arrays. What the model knows is what these rules say:
TOK-7, TOK-10, TOK-12, TOK-14, TOK-19, TOK-22, REF-8, REF-16, REF-20 to 22, REF-26, REF-44, REF-46, CLOSE-2 to 5, HS-15.
It does not know skewed clocks, sleeping machines, partitions, failing disks, messages, takeovers.
"""

import numpy as np
from attrs import evolve
from numpy.typing import NDArray

from clawproto.policy import SECOND_MS, Policy
from clawproto.testing.simulation.draws import Draws, Ints
from clawproto.testing.simulation.hardships import FAR, Flags, Hardships
from clawproto.testing.simulation.plan import Plan
from clawproto.testing.simulation.report import LATE_MS
from clawproto.testing.simulation.surroundings import WALL_MS
from clawproto.timing import jitter_range_ms, reconnect_delay_ms, refresh_backoff_ms

NONE = -FAR
_ATTEMPTS = 64  # backoffs have long reached their ceiling


class Cohort:
    """Some sessions of a plan.

    Args:
        numbers: of the sessions.

    Attributes:
        refreshes, opens: instants, as arrays in the order in which they were found.
        waits: by fault, the time to recovery of each session, -1 where there is none.
        lost_at: when a session was logged out, or `FAR`.
        revoked: whether that was because of a revocation.
    """

    def __init__(self, plan: Plan, numbers: Ints, draws: Draws) -> None:
        self.plan, self.numbers = plan, numbers
        self._draws, self._policy, self._times = draws, plan.policy, plan.timings
        size = len(numbers)
        self.refreshes: list[Ints] = []
        self.opens: list[Ints] = []
        self.lost_at = np.full(size, FAR)
        self.revoked = np.zeros(size, np.bool_)
        self._delays, self._backoffs = _delays(self._policy), _backoffs(self._policy)
        self._faults = faults = Hardships(plan, numbers)
        self.waits = {index: np.full(size, -1) for index in faults.answerable}
        # the process
        self._process = np.zeros(size, np.int64)
        self._counter = np.zeros(size, np.int64)
        self._now = faults.starts.copy()
        self._hold = np.full(size, NONE)  # nothing but a kill before this
        # the link
        self.online = np.zeros(size, np.bool_)
        self._since = np.zeros(size, np.int64)
        self._open_at = faults.starts.copy()
        self._floor = np.zeros(size, np.int64)
        self._attempts = np.zeros(size, np.int64)
        self._broken_at = np.full(size, NONE)
        self._killed_at = np.full(size, NONE)
        self._killed_by = np.full(size, -1)
        # the tokens
        self._issued = np.zeros(size, np.int64)
        self._due = np.zeros(size, np.int64)
        self._near = np.zeros(size, np.int64)
        self._dead = np.zeros(size, np.int64)
        self._last_attempt = np.full(size, NONE)
        self._not_before = np.full(size, NONE)
        self._backoff = np.full(size, NONE)
        self._held_off = np.full(size, NONE)
        self._failures = np.zeros(size, np.int64)
        self._lost_until = np.full(size, NONE)
        self._intent = np.full(size, NONE)
        self._rejected = np.zeros(size, np.bool_)
        self._spent_at = np.full(size, NONE)  # the server has rotated, and the session does not have the pair
        self._redeemed = np.zeros(size, np.int64)
        everyone = np.arange(size)
        self._take_pair(everyone, faults.starts)
        self._finished = faults.starts >= plan.end_ms

    def run(self) -> None:
        """Up to the end of the plan."""
        active = np.flatnonzero(~self._finished)
        while len(active):
            kill, cut, refresh, opening = self._candidates(active)
            first = np.minimum(np.minimum(kill, cut), np.minimum(refresh, opening))
            self._finished[active[first >= self.plan.end_ms]] = True
            going = first < self.plan.end_ms
            killed = going & (kill == first)
            refreshing = going & ~killed & (refresh == first)  # a refresh that is due in the very step of a cut begins
            cuts = going & ~killed & ~refreshing & (cut == first)
            opens = going & ~killed & ~refreshing & ~cuts
            if killed.any():
                self._kill(active[killed], kill[killed])
            if cuts.any():
                self._cut(active[cuts], cut[cuts])
            if refreshing.any():
                self._refresh(active[refreshing], refresh[refreshing], kill[refreshing], cut[refreshing])
            if opens.any():
                self._open(active[opens], opening[opens], kill[opens], refresh[opens])
            active = active[~self._finished[active]]

    # --- what comes next ---------------------------------------------------------------------------------------------

    def _candidates(self, which: Ints) -> tuple[Ints, Ints, Ints, Ints]:
        """When each is killed, cut off, refreshes, opens a socket, if nothing else comes before."""
        now, online, floor = self._now[which], self.online[which], self._policy.refresh_floor_ms
        ready = np.maximum(now, self._hold[which])
        kill, _ = self._faults.next_kill(which, self._killed_at[which])
        cut = np.where(online, self._faults.next_outage(self._since[which] - self._times.one_way_ms + 1), FAR)
        cut = np.where(cut < FAR, cut + self._times.one_way_ms, FAR)
        allowed = np.maximum(self._backoff[which], self._not_before[which])
        allowed = np.maximum(np.maximum(allowed, self._last_attempt[which] + floor), ready)
        lost = np.where(allowed < self._lost_until[which], allowed, FAR)
        due = np.maximum(np.maximum(self._due[which], self._since[which]), np.maximum(allowed, self._held_off[which]))
        due = np.where(online, due, FAR)
        refresh = np.where(self._rejected[which], allowed, np.minimum(lost, due))
        opening = np.where(online | self._rejected[which], FAR, np.maximum(self._open_at[which], ready))
        return kill, cut, refresh, opening

    def _draw(self, label: str, which: Ints) -> NDArray[np.float64]:
        self._counter[which] += 1
        return self._draws(label, self.numbers[which], self._process[which], self._counter[which])

    # --- the process -------------------------------------------------------------------------------------------------

    def _kill(self, which: Ints, at: Ints) -> None:
        _, fault = self._faults.next_kill(which, self._killed_at[which])
        self._killed_by[which] = fault
        self._killed_at[which] = at
        boot = at + self._times.boot_ms
        self._process[which] += 1
        self._counter[which] = 0
        self._now[which] = self._open_at[which] = boot
        self.online[which] = self._rejected[which] = False
        self._attempts[which] = self._failures[which] = self._floor[which] = 0
        past = (self._hold, self._held_off, self._backoff, self._not_before, self._lost_until, self._last_attempt)
        for instants in past:
            instants[which] = NONE
        lost = which[self._intent[which] > NONE]  # a record of a rotation without its end (REF-46)
        began = self._intent[lost]
        self._last_attempt[lost] = began
        self._not_before[lost] = began + self._policy.unknown_answer_wait_ms
        self._lost_until[lost] = began + self._policy.grace_ms
        self._draw_jitter(which)
        earliest = np.maximum(self._not_before[which], self._last_attempt[which] + self._policy.refresh_floor_ms)
        startup = (boot >= self._near[which]) & (boot >= earliest)  # TOK-14
        if startup.any():
            kill, _ = self._faults.next_kill(which[startup], self._killed_at[which[startup]])
            self._refresh(which[startup], boot[startup], kill, np.full(int(startup.sum()), FAR))

    # --- the link ----------------------------------------------------------------------------------------------------

    def _open(self, which: Ints, at: Ints, kill: Ints, refresh: Ints) -> None:
        """Open a socket and go through the handshake, or as much of it as there is time for."""
        self.opens.append(at)
        times = self._times
        there = at + times.open_ms
        heard, greeted = there + 2 * times.one_way_ms, there + 3 * times.one_way_ms
        out = self._faults.is_out(at)
        outage = self._faults.next_outage(at)
        reset = ~out & (outage <= there)
        cut = ~out & ~reset & (outage <= heard)
        bad = ~(out | reset | cut) & self._is_bad(which, heard)
        result = np.where(out, at + 2 * times.one_way_ms, np.where(reset, there, greeted))
        result = np.where(cut, outage + times.one_way_ms, result)
        dies = kill <= result
        aborted = ~dies & (refresh < result)  # a lost rotation is redeemed first (REF-29, REF-44)
        self._now[which] = np.where(aborted, refresh, np.where(dies, at, result))
        self._open_at[which[aborted]] = refresh[aborted]
        self._hold[which[dies]] = kill[dies] + 1
        failed = (out | reset | cut) & ~dies & ~aborted
        if failed.any():
            self._retry(which[failed], result[failed], 0)
        bad &= ~dies & ~aborted
        self._attempts[which[bad]] += 1
        self._rejected[which[bad]] = True
        self._open_at[which[bad]] = result[bad]
        ready = ~(failed | bad | dies | aborted)
        if ready.any():
            self._ready(which[ready], result[ready])

    def _is_bad(self, which: Ints, at: Ints) -> Flags:
        """Whether the hub refuses the access token."""
        issued = self._issued[which]
        bad = at >= self._dead[which]
        for rejected_at in (self._faults.revoked_at, *self._faults.rejections):
            bad |= (issued <= rejected_at[which]) & (rejected_at[which] <= at)
        return bad

    def _ready(self, which: Ints, at: Ints) -> None:
        self.online[which] = True
        self._since[which] = at
        broken = self._broken_at[which]
        for index, waits in self.waits.items():
            fault, killed = self.plan.faults[index], self._killed_by[which] == index
            if fault.kind == "restart":
                waits[which[killed]] = at[killed] - self._killed_at[which[killed]]
            else:
                late = (broken >= fault.at_ms) & (broken <= fault.end_ms + LATE_MS)
                waits[which[late]] = np.maximum(at[late] - fault.end_ms, 0)
        self._broken_at[which] = NONE
        self._killed_by[which] = -1

    def _cut(self, which: Ints, at: Ints) -> None:
        """An outage takes the socket (CLOSE-4, CLOSE-5)."""
        self.online[which] = False
        self._broken_at[which] = at
        stable = at >= self._since[which] + self._policy.stable_after_ms
        self._attempts[which[stable]] = 0
        self._now[which] = np.maximum(self._now[which], at)
        self._retry(which, at, self._policy.unexplained_floor_ms)

    def _retry(self, which: Ints, at: Ints, floor_ms: int) -> None:
        self._attempts[which] += 1
        attempts = np.minimum(self._attempts[which], _ATTEMPTS)
        base = np.maximum(floor_ms, self._delays[attempts])
        spread = np.rint(base * self._policy.reconnect_jitter * self._draw("reconnect", which)).astype(np.int64)
        self._open_at[which] = at + base + spread
        self._floor[which] = at + floor_ms

    # --- the tokens --------------------------------------------------------------------------------------------------

    def _take_pair(self, which: Ints, issued: Ints) -> None:
        """A new pair, issued by the server at this instant, is in force."""
        self._issued[which] = issued
        minted = WALL_MS + issued
        expires = (minted + self.plan.token_life_ms) // SECOND_MS * SECOND_MS
        self._dead[which] = expires - WALL_MS
        self._draw_jitter(which)

    def _draw_jitter(self, which: Ints) -> None:
        """TOK-10; a process that starts draws anew for the pair that it finds."""
        dead, minted = self._dead[which], WALL_MS + self._issued[which]
        lives = dead + WALL_MS - minted // SECOND_MS * SECOND_MS
        drawn = self._draw("token-jitter", which)
        for life in np.unique(lives).tolist():
            lead, earliest, latest = jitter_range_ms(life, self._policy)
            same = lives == life
            jitter = np.rint(earliest + drawn[same] * (latest - earliest)).astype(np.int64)
            self._near[which[same]] = dead[same] - lead
            self._due[which[same]] = dead[same] - lead + jitter

    def _refresh(self, which: Ints, at: Ints, kill: Ints, cut: Ints) -> None:
        """One flight: the intent is recorded, the request sent, the new pair saved, if all goes well."""
        times = self._times
        sent = at + self._faults.disk(which, at)
        there, answered = sent + times.http_ms // 2, sent + times.http_ms // 2 * 2
        out = self._faults.is_out(sent)
        outage = self._faults.next_outage(sent)
        unheard = ~out & (outage <= there)  # the request is lost
        unanswered = ~out & ~unheard & (outage <= answered)  # the answer is lost
        heard = ~(out | unheard)
        redeems = self._spent_at[which] > NONE
        refused = heard & ((there >= self._faults.revoked_at[which]) | (redeems & ~self._redeemable(which, there)))
        rotated = heard & ~refused
        saved = answered + self._faults.disk(which, answered)
        ends = np.where(
            out, sent + 2 * times.one_way_ms, np.where(unheard | unanswered, outage + times.one_way_ms, saved)
        )
        ends = np.where(refused & ~unanswered, saved + self._faults.disk(which, saved), ends)
        leaves = kill > sent
        self.refreshes.append(sent[leaves & (sent < self.plan.end_ms)])
        self._last_attempt[which] = at
        self._intent[which[leaves]] = at[leaves]
        dies = kill <= ends
        self._hold[which[dies]] = kill[dies] + 1
        self._now[which] = np.where(dies, at, ends)
        lost_answer = rotated & leaves & (dies | unanswered)
        first = lost_answer & ~redeems
        self._spent_at[which[first]] = there[first]
        self._redeemed[which[rotated & leaves & redeems]] += 1
        cuts = ~dies & (cut < ends)
        if cuts.any():
            self._cut(which[cuts], cut[cuts])
        failed = ~dies & (out | unheard | unanswered)
        if failed.any():
            self._put_off(which[failed], at[failed], ends[failed], (unheard | unanswered)[failed])
        over = ~dies & refused & ~unanswered
        self.lost_at[which[over]] = ends[over]
        self.revoked[which[over]] = there[over] >= self._faults.revoked_at[which[over]]
        self.online[which[over]] = False
        self._finished[which[over]] = True
        swapped = ~dies & rotated & ~unanswered
        if swapped.any():
            self._swap(which[swapped], there[swapped], ends[swapped])

    def _redeemable(self, which: Ints, at: Ints) -> Flags:
        """REF-8: a spent token, in production's mode."""
        age = at - self._spent_at[which]
        grace = (age >= 2_000) & (age <= 90_000) & (self._redeemed[which] < 2)
        return grace if self.plan.refresh_mode == "grace" else np.zeros(len(which), np.bool_)

    def _put_off(self, which: Ints, began: Ints, at: Ints, unknown: Flags) -> None:
        """A transient outcome (REF-20, REF-44)."""
        policy = self._policy
        self._failures[which] += 1
        base = self._backoffs[np.minimum(self._failures[which], _ATTEMPTS)]
        spread = base * policy.refresh_backoff_jitter
        drawn = self._draw("refresh-backoff", which)
        wait = np.minimum(policy.refresh_backoff_max_ms, np.rint(base - spread + drawn * 2 * spread).astype(np.int64))
        self._backoff[which] = at + wait
        those = which[unknown]
        self._not_before[those] = np.maximum(self._not_before[those], at[unknown] + policy.unknown_answer_wait_ms)
        self._lost_until[those] = began[unknown] + policy.grace_ms

    def _swap(self, which: Ints, issued: Ints, at: Ints) -> None:
        """The new pair is saved: the socket is changed for one with the new token (REF-26), or opened at last."""
        for instants in (
            self._held_off,
            self._backoff,
            self._not_before,
            self._lost_until,
            self._intent,
            self._spent_at,
        ):
            instants[which] = NONE
        self._failures[which] = self._redeemed[which] = 0
        self._rejected[which] = False
        before = self._dead[which]
        self._take_pair(which, issued)
        stale = (self._dead[which] <= before) | (at >= self._near[which])  # TOK-22
        wait = max(self.plan.token_life_ms // 2, self._policy.refresh_floor_ms)
        self._held_off[which[stale]] = at[stale] + wait
        online = self.online[which]
        hurried = ~online & (self._open_at[which] > at)
        waiting, live = which[hurried], which[online]
        self._attempts[waiting] = self._attempts[live] = 0
        self._open_at[waiting] = np.maximum(at[hurried], self._floor[waiting])
        cut = self._faults.next_outage(self._since[live] - self._times.one_way_ms + 1) + self._times.one_way_ms
        closed = np.minimum(cut, at[online] + 2 * self._times.one_way_ms)
        self._now[live] = self._open_at[live] = closed
        self._floor[live] = 0
        self.online[live] = False


def _delays(policy: Policy) -> NDArray[np.int64]:
    """The delay before each attempt without its jitter (CLOSE-3)."""
    return np.array([0] + [reconnect_delay_ms(count, 0.0, policy) for count in range(1, _ATTEMPTS + 1)], np.int64)


def _backoffs(policy: Policy) -> NDArray[np.int64]:
    """The backoff after each failure without its jitter (REF-20)."""
    plain = evolve(policy, refresh_backoff_jitter=0.0)
    return np.array([0] + [refresh_backoff_ms(count, 0.0, plain) for count in range(1, _ATTEMPTS + 1)], np.int64)
