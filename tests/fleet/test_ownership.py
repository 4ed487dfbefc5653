"""Who owns what in a fleet, in virtual time."""

import math

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from clawproto_io.fleet.messages import (
    Beat,
    Beaten,
    Evicted,
    GiveBack,
    GivenBack,
    SessionEnded,
    StartSession,
    StopSession,
    Survey,
    Surveyed,
    Take,
    Taken,
    Tick,
)
from clawproto_io.fleet.ownership import Ownership
from clawproto_io.fleet.policy import FleetPolicy
from clawproto_io.fleet.shares import Shard, member_name
from clawproto_io.stores.base import AccountRow
from tests.fleet.virtual import Fleet, Member

TERM = FleetPolicy().term_ms


def settled(fleet: Fleet) -> bool:
    loads = fleet.loads().values()
    return fleet.all_owned() and max(loads) - min(loads) <= 1


def started(seed: int, members: int, accounts: int, **more: int | bool) -> Fleet:
    """A fleet that has settled."""
    fleet = Fleet(seed, **more)  # type: ignore[arg-type]
    fleet.add_accounts(accounts)
    for _ in range(members):
        fleet.join()
    fleet.run_until(lambda: settled(fleet), 2 * TERM)
    fleet.run_until(fleet.all_running, TERM + accounts * 100)
    return fleet


def at_most_one_holder(fleet: Fleet) -> None:
    """Of those that are neither paused nor cut off."""
    for name in fleet.accounts:
        awake = [one for one in fleet.holders(name) if not one.paused and not one.cut_off]
        assert len(awake) <= 1, (name, [one.name for one in awake])


def test_one_member_owns_everything_and_starts_it_in_turn() -> None:
    fleet = Fleet()
    fleet.add_accounts(100)
    (member,) = (fleet.join(),)
    fleet.run_until(fleet.all_owned, TERM)
    fleet.run_until(fleet.all_running, 10_000)
    times = [at for at, _, _ in fleet.starts]
    assert max(sum(at <= other < at + 1000 for other in times) for at in times) <= 40, "twice the rate, for the jitter"
    assert times[-1] - times[0] > 99 / fleet.policy.starts_per_second * 500
    assert fleet.most_under_way == fleet.policy.takes_at_once
    assert len(member.machine.owned) == 100


def test_many_that_start_together_share_without_moving_anything() -> None:
    fleet = Fleet()
    fleet.add_accounts(200)
    for _ in range(8):
        fleet.join()
        fleet.run(50)
    fleet.run_until(lambda: settled(fleet), TERM)
    fleet.run(5 * TERM)
    assert sum(fleet.moves.values()) == 200, "each account was taken once"
    assert set(fleet.loads().values()) == {25}
    assert sum(won for _, _, won in fleet.takes) >= len(fleet.takes) * 0.8, "they do not all reach for the same"


@pytest.mark.parametrize("gone_is_known", [False, True])
def test_the_accounts_of_a_dead_member_are_owned_within_the_term(gone_is_known: bool) -> None:
    fleet = started(1, 4, 200, gone_is_known=gone_is_known)
    (victim, *_) = fleet.members
    orphans = [name for name, account in fleet.accounts.items() if account.owner == victim.name]
    before = fleet.moves.copy()
    fleet.kill(victim)
    took = fleet.run_until(fleet.all_owned, TERM)
    assert (took < TERM / 3) == gone_is_known
    fleet.run(3 * TERM)
    assert settled(fleet)
    assert (fleet.moves - before) == dict.fromkeys(orphans, 1), "nothing else has moved, and nothing twice"
    assert len(fleet.sweeps) == 1, "one of them does it"


def test_a_member_that_joins_gets_its_share_within_the_term_and_no_account_moves_twice() -> None:
    fleet = started(2, 2, 200)
    before = fleet.moves.copy()
    fleet.join()
    worst = 0

    def look() -> None:
        nonlocal worst
        worst = max(worst, sum(account.owner is None for account in fleet.accounts.values()))
        at_most_one_holder(fleet)

    fleet.run(TERM, look)
    assert sorted(fleet.loads().values()) == [66, 67, 67]
    fleet.run(3 * TERM, look)
    assert sum((fleet.moves - before).values()) in (66, 67)
    assert worst <= 40, "not all at once"


def test_a_member_that_leaves_hands_over_at_once() -> None:
    fleet = started(3, 3, 90)
    leaver = fleet.members[0]
    fleet.leave(leaver)
    fleet.run_until(lambda: leaver.departed, 2_000)
    fleet.run_until(fleet.all_owned, TERM // 3)
    assert leaver.name not in fleet.beats
    fleet.run(TERM)
    assert settled(fleet)


def test_a_paused_member_stops_its_sessions_when_it_wakes_up() -> None:
    fleet = started(4, 2, 40)
    sleeper = fleet.members[0]
    fleet.pause(sleeper)
    fleet.run_until(fleet.all_owned, TERM)
    asleep = dict(sleeper.running)
    assert asleep
    fleet.resume(sleeper)
    fleet.run_until(lambda: not sleeper.running.items() & asleep.items(), 1_000)
    fleet.run(2 * TERM, lambda: at_most_one_holder(fleet))
    assert settled(fleet)


def test_a_short_pause_changes_nothing() -> None:
    fleet = started(5, 2, 40)
    before = fleet.moves.copy()
    fleet.pause(fleet.members[0])
    fleet.run(TERM // 4)
    fleet.resume(fleet.members[0])
    fleet.run(2 * TERM)
    assert fleet.moves == before


def test_a_store_that_is_down_for_all_ends_no_session() -> None:
    fleet = started(6, 3, 30)
    before, running = fleet.moves.copy(), [dict(one.running) for one in fleet.members]
    fleet.store_down = True
    fleet.run(4 * TERM)
    assert [one.machine.is_out_of_touch(fleet.now_ms) for one in fleet.members] == [True] * 3
    fleet.store_down = False
    fleet.run(2 * TERM)
    assert fleet.moves == before
    assert [one.running for one in fleet.members] == running


def test_who_is_cut_off_from_the_store_lets_go_of_what_the_hub_gave_to_another() -> None:
    fleet = started(7, 2, 10)
    lost = fleet.members[0]
    lost.cut_off = True
    fleet.run_until(fleet.all_owned, TERM + 1) if not fleet.all_owned() else None
    fleet.run(2 * TERM)
    kept = list(lost.running)
    assert len(kept) == 5, "it goes on: perhaps the store is down for all"
    fleet._feed(lost, Evicted(kept[0]))  # pyright: ignore[reportPrivateUsage]
    fleet.run(1_000)
    assert sorted(lost.running) == sorted(kept[1:])
    fleet.run(2 * TERM)
    assert kept[0] not in lost.running, "and does not begin it again"
    lost.cut_off = False
    fleet.run(2 * TERM)
    assert settled(fleet)
    at_most_one_holder(fleet)


def test_an_eviction_by_a_stranger_is_the_sessions_own_business() -> None:
    fleet = started(8, 1, 3)
    fleet._feed(fleet.members[0], Evicted("agent-1"))  # pyright: ignore[reportPrivateUsage]
    assert len(fleet.members[0].running) == 3


def test_an_account_without_tokens_is_left_alone_until_it_is_paired_again() -> None:
    fleet = started(9, 2, 10)
    (holder,) = fleet.holders("agent-3")
    fleet.accounts["agent-3"].paired = False
    fleet.end_session(holder, "agent-3", "logged-out")
    fleet.run(TERM)
    assert fleet.accounts["agent-3"].owner is None
    assert fleet.holders("agent-3") == []
    assert sorted(fleet.loads().values()) == [4, 5], "it is nobody's, and counts for nobody"
    fleet.accounts["agent-3"].paired = True
    fleet.run_until(lambda: bool(fleet.holders("agent-3")), TERM // 2)


def test_a_logout_that_could_not_be_stored_is_not_tried_at_full_speed() -> None:
    fleet = started(10, 1, 1)
    fleet.end_session(fleet.members[0], "agent-0", "logged-out")
    begun = len(fleet.starts)
    fleet.run(fleet.policy.backoff_max_ms - 1_000)
    assert len(fleet.starts) == begun
    fleet.run(2 * TERM)
    assert len(fleet.starts) == begun + 1


def test_accounts_that_appear_and_vanish_while_it_runs() -> None:
    fleet = started(11, 2, 10)
    fleet.add_accounts(10)
    fleet.run_until(fleet.all_running, TERM // 2)
    assert settled(fleet)
    del fleet.accounts["agent-0"]
    fleet.run_until(lambda: not fleet.holders("agent-0"), TERM // 2)
    fleet.run(TERM)
    assert settled(fleet)


def test_a_session_that_fails_is_begun_again_with_backoff() -> None:
    fleet = Fleet(12)
    fleet.add_accounts(1)
    fleet.failing.add("agent-0")
    member = fleet.join()
    fleet.run(300_000)
    gaps = [later[0] - earlier[0] for earlier, later in zip(fleet.starts, fleet.starts[1:], strict=False)]
    assert 700 <= gaps[0] <= 1_300
    assert all(45_000 <= gap <= 76_000 for gap in gaps[7:])
    assert fleet.accounts["agent-0"].owner == member.name, "it stays ours: elsewhere it would fail as well"
    fleet.failing.clear()
    fleet.run_until(fleet.all_running, 80_000)
    fleet.run(fleet.policy.stable_after_ms + 1)
    fleet.end_session(member, "agent-0", "failed")
    assert member.machine.failures("agent-0") == 1, "what was stable for long begins with the shortest wait"


def test_shards_share_nothing() -> None:
    fleet = Fleet(13)
    fleet.add_accounts(60)
    one, two, three = fleet.join(Shard(1, 2)), fleet.join(Shard(2, 2)), fleet.join(Shard(2, 2))
    fleet.run_until(fleet.all_owned, 2 * TERM)
    fleet.run(TERM)
    for name, account in fleet.accounts.items():
        assert (account.owner == one.name) == (name in Shard(1, 2))
    loads = fleet.loads()
    assert abs(loads[two.name] - loads[three.name]) <= 1
    fleet.kill(one)
    fleet.run(3 * TERM)
    assert {account.owner for name, account in fleet.accounts.items() if name in Shard(1, 2)} == {None}
    assert one.name not in fleet.beats, "the others take it out all the same"


def test_members_with_and_without_a_shard_leave_nothing_over() -> None:
    fleet = Fleet(14)
    fleet.add_accounts(50)
    fleet.join(Shard(1, 2))
    fleet.join()
    fleet.run_until(fleet.all_owned, 3 * TERM)
    fleet.run(TERM)
    before = sum(fleet.moves.values())
    fleet.run(20 * TERM)
    assert sum(fleet.moves.values()) == before, "and rest"


def test_the_dead_are_found_even_if_every_look_takes_long() -> None:
    fleet = started(16, 2, 10, latency_ms=20)
    fleet.kill(fleet.members[0])
    fleet.latency_ms = 9_000  # each way, at most: looks are further apart than signs of life should be
    fleet.run_until(fleet.all_owned, 8 * TERM)


def test_a_session_held_by_a_single_process_is_respected_while_it_lives() -> None:
    fleet = Fleet(15)
    fleet.add_accounts(4)
    alone = "host:1:beef"
    fleet.accounts["agent-0"].owner, fleet.accounts["agent-0"].fence = alone, 7
    fleet.beats[alone] = 1
    member = fleet.join()
    for _ in range(20):
        fleet.run(2_000)
        fleet.beats[alone] += 1
    assert fleet.accounts["agent-0"].owner == alone
    assert fleet.loads() == {member.name: 3}, "and it counts as no member: the rest is ours"
    fleet.run_until(fleet.all_owned, 2 * TERM)
    assert alone not in fleet.beats


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32),
    members=st.integers(1, 6),
    accounts=st.integers(0, 40),
    latency_ms=st.integers(0, 800),
    gone_is_known=st.booleans(),
    troubles=st.lists(
        st.tuples(
            st.sampled_from(["kill", "pause", "resume", "join", "leave", "cut", "heal", "down", "up", "add", "end"]),
            st.integers(0, 7),
            st.integers(0, 25_000),
        ),
        max_size=12,
    ),
)
def test_whatever_happens_nobody_owns_twice_and_peace_comes_back(
    seed: int,
    members: int,
    accounts: int,
    latency_ms: int,
    gone_is_known: bool,
    troubles: list[tuple[str, int, int]],
) -> None:
    fleet = Fleet(seed, latency_ms=latency_ms, gone_is_known=gone_is_known)
    fleet.add_accounts(accounts)
    for _ in range(members):
        fleet.join()

    def check() -> None:
        assert fleet.most_under_way <= fleet.policy.takes_at_once
        for name, account in fleet.accounts.items():
            for holder in fleet.holders(name):
                # A session runs elsewhere than the store says only with whoever has not been able to look.
                if account.owner != holder.name and not (holder.paused or holder.cut_off or fleet.store_down):
                    late = fleet.now_ms - last_ok.get(holder.name, fleet.now_ms)
                    assert late <= fleet.policy.beat_ms + 2 * latency_ms + 200 + 50, (name, holder.name, late)
                else:
                    last_ok[holder.name] = fleet.now_ms

    last_ok: dict[str, int] = {}
    for what, which, pause_ms in troubles:
        fleet.run(pause_ms, check)
        act(fleet, what, which)
    # Peace.
    fleet.store_down = False
    for member in fleet.members:
        member.cut_off = False
        if member.alive and member.paused:
            fleet.resume(member)
    if all(member.leaving for member in fleet.living):
        fleet.join()
    fleet.run(4 * TERM, check)
    assert settled(fleet)
    fleet.run_until(fleet.all_running, 2 * TERM)
    before = fleet.moves.copy()
    fleet.run(4 * TERM, check)
    assert fleet.moves == before, "nothing moves any more"
    assert fleet.beats.keys() == {one.name for one in fleet.living}
    victims = fleet.living[1:]
    if victims:
        fleet.kill(victims[0])
        fleet.run_until(fleet.all_owned, TERM + 4 * latency_ms + math.ceil(accounts / 8) * 2 * latency_ms)


def act(fleet: Fleet, what: str, which: int) -> None:
    member: Member = fleet.members[which % len(fleet.members)]
    match what:
        case "kill":
            fleet.kill(member)
        case "pause":
            fleet.pause(member)
        case "resume":
            fleet.resume(member)
        case "join":
            fleet.join()
        case "leave":
            if member.alive and not member.paused:
                fleet.leave(member)
        case "cut":
            member.cut_off = True
        case "heal":
            member.cut_off = False
        case "down":
            fleet.store_down = True
        case "up":
            fleet.store_down = False
        case "add":
            fleet.add_accounts(which)
        case _:
            for account in list(member.running)[:which]:
                if member.alive and not member.paused:
                    fleet.end_session(member, account, "failed")


def taken(account: str = "robo") -> tuple[Ownership, int]:
    """A machine that has just taken an account with fence 1, and the time."""
    me = member_name("host:1:beef", Shard())
    machine = Ownership(me, FleetPolicy(), b"seed")
    row = AccountRow(account, "usr_1", True, None)
    now = 1_000
    assert machine.handle(Tick(), now) == (Beat(),)
    assert machine.handle(Beaten(now, {}), now + 1) == (Survey(),)
    assert machine.handle(Surveyed(now + 1, {me: 0}, (row,)), now + 2) == (), "it looks twice"
    now += 2_000
    assert machine.handle(Surveyed(now, {me: 0}, (row,)), now) == (Take(account, None),)
    assert machine.handle(Taken(account, 1), now + 10) == (StartSession(account),)
    return machine, now + 10


def test_an_answer_that_is_older_than_the_lease_says_nothing() -> None:
    machine, now = taken()
    assert machine.handle(Beaten(now - 5, {}), now + 5) == ()
    assert machine.owned == {"robo"}
    assert machine.handle(Beaten(now + 5, {}), now + 10) == (StopSession("robo"),)
    assert machine.owned == frozenset()
    assert machine.handle(SessionEnded("robo", "stopped"), now + 20) == (), "nothing to give back"


def test_another_fence_means_another_owner_in_between() -> None:
    machine, now = taken()
    assert machine.handle(Beaten(now + 5, {"robo": 2}), now + 10) == (StopSession("robo"),)


def test_a_lease_that_it_did_not_know_of_is_given_back() -> None:
    machine, now = taken()
    assert GiveBack("other", 4) in machine.handle(Beaten(now + 5, {"robo": 1, "other": 4}), now + 10)
    assert machine.handle(GivenBack("other"), now + 20) == ()
    assert machine.handle(Beaten(now + 15, {"robo": 1, "other": 4}), now + 25) == (), "asked before it was given back"


def test_nothing_is_begun_while_it_does_not_know_what_is_still_its_own() -> None:
    machine, now = taken()
    machine.handle(SessionEnded("robo", "failed"), now + 5)
    late = now + 60_000
    assert Beat() in machine.handle(Tick(), late)
    assert machine.handle(Tick(), late + 1) == (), "suspended for a minute"
    assert machine.next_deadline() is None, "and no busy waiting"
    assert machine.handle(Beaten(late, {"robo": 1}), late + 2) == (StartSession("robo"),)
