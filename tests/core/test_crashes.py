"""Processes that die anywhere between frame, commit, ack and application: nothing is lost or doubled."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import TypeAlias, cast

import pytest
from hypothesis import given, settings, strategies as st

from clawproto.app_events import MessageReceived, SendSettled
from clawproto.config import Features
from clawproto.events import React, ResetCursor, Send
from clawproto.filing import Filing
from clawproto.keeping import Arrival, Handled
from clawproto.results import Done, Receipt
from clawproto.testing.durable_member import DurableMember, durable
from clawproto.testing.world import SettleMode, World


class Pair:
    """Two agents in one conversation, each with a message store."""

    def __init__(self, features: Features | None = None, settle: SettleMode = "auto") -> None:
        self.world = World(records=False)
        users = [self.world.hub.create_user(name) for name in ("Ann", "Bob")]
        self.chat = self.world.hub.create_conversation(users)
        self.members = [
            cast(DurableMember, self.world.join(user, "device", features=features, settle=settle, kind=durable))
            for user in users
        ]
        self.given: list[tuple[DurableMember, str, int]] = []

    def send(self, number: int) -> None:
        member = self.members[number]
        if member.is_up:
            text = f"{len(self.given)}"
            build = lambda command: Send(command, self.chat, ({"kind": "text", "text": text},))  # noqa: E731
            self.given.append((member, text, member.give(build)))

    def crash_after(self, number: int, things: int) -> None:
        """That process dies after so many more things were done in the world."""
        left, member = [things], self.members[number]

        def count() -> None:
            left[0] -= 1
            if left[0] == 0 and member.is_up:
                member.crash()

        self.world.after_each = count

    def heal(self) -> None:
        """Everything works from now on, for some minutes."""
        self.world.after_each = lambda: None
        for member in self.members:
            member.failing = member.lost_reports = 0
            if not member.is_up:
                member.restart()
        self.world.run_for(200_000)

    def check(self) -> None:
        """What was kept has arrived, once; what arrived was told until it was handled."""
        for member in self.members:
            assert not member.filing.sends, "a kept send is still not decided"
            assert not member.filing.waiting, "something was filed and never handed out"
            assert {decision.outcome for decision in member.filing.decisions.values()} <= {"accepted"}
        for sender, receiver in (self.members, self.members[::-1]):
            told = [event for event in receiver.told if isinstance(event, MessageReceived)]
            ids = {event.text: event.message_id for event in told}
            assert len({event.message_id for event in told}) == len(ids), "one text under two ids"
            assert not any(event.update for event in told)
            kept = {decision.message_id for decision in sender.filing.decisions.values()}
            assert set(ids.values()) == kept, "what was kept is not what arrived"
            for giver, text, command in self.given:
                if giver is sender and isinstance(sender.results.get(command), Receipt):
                    assert text in ids
            firsts = list(dict.fromkeys(int(event.text) for event in told))
            assert firsts == sorted(firsts), "out of order"


@pytest.mark.rule("R2-10", "R2-28", "SEND-5", "SEND-17", "SEND-19")
@pytest.mark.parametrize("features", [Features(), Features(delivery="v1")], ids=["v2", "v1"])
@pytest.mark.parametrize("victim", [0, 1])
def test_a_crash_after_each_single_thing_that_happens(victim: int, features: Features) -> None:
    deaths = 0
    for things in range(1, 60):
        pair = Pair(features)
        pair.world.run_for(1_000)
        pair.crash_after(victim, things)
        for _ in range(3):
            pair.send(0)
        pair.world.run_for(1_000)
        deaths += not pair.members[victim].is_up
        pair.heal()
        pair.check()
    assert deaths > 30


Action: TypeAlias = tuple[str, int, int]  # name, which member or how long, how many
ACTIONS: st.SearchStrategy[Action] = st.one_of(
    st.tuples(st.just("send"), st.integers(0, 1), st.just(0)),
    st.tuples(st.just("crash"), st.integers(0, 1), st.integers(1, 60)),
    st.tuples(st.just("restart"), st.integers(0, 1), st.just(0)),
    st.tuples(st.just("cut"), st.integers(0, 1), st.just(0)),
    st.tuples(st.just("fail"), st.integers(0, 1), st.integers(1, 5)),
    st.tuples(st.just("lose"), st.integers(0, 1), st.integers(1, 3)),
    st.tuples(st.just("pass"), st.sampled_from([0, 50, 250, 1_000, 20_000]), st.just(0)),
)


def play(pair: Pair, script: Sequence[Action]) -> None:
    for name, number, many in script:
        if name == "pass":
            pair.world.run_for(number)
            continue
        member = pair.members[number]
        match name:
            case "send":
                pair.send(number)
            case "crash":
                pair.crash_after(number, many)
            case "restart" if not member.is_up:
                member.restart()
            case "cut":
                member.cut()
            case "fail":
                member.failing = many
            case "lose":
                member.lost_reports = many
            case _:
                pass
    pair.heal()
    pair.check()


@pytest.mark.rule("R2-10", "R2-28", "SEND-5", "SEND-15", "SEND-17", "SEND-19")
@settings(max_examples=150, deadline=None)
@given(st.lists(ACTIONS, max_size=25), st.sampled_from(["v1", "v2"]))
def test_random_crashes_lose_and_double_nothing(script: list[Action], delivery: str) -> None:
    play(Pair(Features(delivery="v1" if delivery == "v1" else "v2")), script)


@pytest.mark.soak
def test_many_long_lives_with_crashes() -> None:
    for seed in range(3_000):
        dice = Random(seed)
        names = ["send", "send", "send", "crash", "restart", "cut", "fail", "lose", "pass", "pass"]
        script: list[Action] = []
        for _ in range(60):
            name = dice.choice(names)
            more = dice.randrange(1, 90) if name == "crash" else dice.randrange(1, 6)
            script.append((name, dice.choice([0, 50, 250, 20_000]) if name == "pass" else dice.randrange(2), more))
        play(Pair(), script)


@pytest.mark.rule("R2-9", "R2-10")
def test_what_was_told_and_not_settled_is_told_again_after_a_restart() -> None:
    pair = Pair(settle="explicit")
    bob = pair.members[1]
    pair.world.run_for(1_000)
    for _ in range(3):
        pair.send(0)
    pair.world.run_for(1_000)
    first, second, third = [event for event in bob.told if isinstance(event, MessageReceived)]
    bob.settle(bob.rows[-2])
    bob.crash()
    before = len(bob.told)
    bob.restart()
    assert bob.told[before:][:2] == [first, third], "the backlog comes first"
    pair.world.run_for(60_000)
    assert [event for event in bob.told[before:] if isinstance(event, MessageReceived)] == [first, third]
    assert second not in bob.told[before:]
    assert all(earlier < later for earlier, later in pairwise(bob.rows[-2:]))


@pytest.mark.rule("SEND-15")
def test_the_application_learns_what_became_of_sends_of_an_earlier_life() -> None:
    pair = Pair()
    ann = pair.members[0]
    pair.world.run_for(1_000)
    ann.cut()
    pair.send(0)
    ann.crash()
    ann.restart()
    pair.world.run_for(60_000)
    assert [event.accepted for event in ann.told if isinstance(event, SendSettled)] == [True]


@pytest.mark.rule("RX-3")
def test_a_reaction_survives_as_well() -> None:
    pair = Pair()
    ann, bob = pair.members
    pair.world.run_for(1_000)
    pair.send(0)
    pair.world.run_for(1_000)
    (message,) = [event for event in bob.told if isinstance(event, MessageReceived)]
    bob.cut()
    bob.give(lambda command: React(command, pair.chat, message.message_id, "x"))
    bob.crash()
    bob.restart()
    pair.world.run_for(60_000)
    assert not bob.filing.sends
    kinds = Counter(type(event).__name__ for event in ann.told)
    assert kinds["ReactionChanged"] == 1


@pytest.mark.rule("HIST-14", "R2-10", "SEND-19")
def test_after_a_reset_only_what_the_store_does_not_have_is_handed_over() -> None:
    """It has the rest, and can be asked for it."""
    pair = Pair()
    bob = pair.members[1]
    pair.world.run_for(1_000)
    for _ in range(3):
        pair.send(0)
    pair.world.run_for(1_000)
    told = [event for event in bob.told if isinstance(event, MessageReceived)]
    assert len(told) == 3
    bob.crash()
    bob.filing = Filing()  # a copy from before, in which the last one is missing
    bob.filing.last_row = 100
    bob.filing.commit([change for row, event in enumerate(told[:2], 101) for change in (Arrival(event), Handled(row))])
    bob.restart()
    pair.world.run_for(1_000)
    before = len(bob.told)
    command = bob.give(ResetCursor)
    pair.world.run_for(60_000)
    assert bob.results[command] == Done()
    assert [event for event in bob.told[before:] if isinstance(event, MessageReceived)] == told[2:]
    assert not bob.filing.waiting
