"""A hundred thousand messages through fifty broken connections, each handed over and settled exactly once by id."""

import random
from collections import Counter

import pytest

from clawproto.app_events import MessageReceived
from clawproto.config import Delivery, Features
from clawproto.testing.world import Member, World

HELD_MOST = 300


def check_marks(member: Member) -> None:
    """No ack has passed what the application still has (R2-9), and the window stays far below 4096 (R2-25)."""
    inbox = member.session.state.inbox
    stream = inbox.stream
    assert stream is not None
    open_numbers = [place.number for place in inbox.places.values() if place.generation == stream.generation]
    assert all(number > stream.mark for number in open_numbers if number)
    assert stream.acked <= stream.mark <= stream.last
    assert stream.last - stream.acked < 4096


@pytest.mark.rule("R2-9", "R2-10", "R2-25", "R2-28", "SEND-19", "RPL-8")
@pytest.mark.parametrize(
    ("delivery", "messages", "cuts", "edits"),
    [("v2", 100_000, 50, False), ("v2", 5_000, 50, True), ("v1", 5_000, 50, False)],
)
def test_each_message_is_settled_exactly_once(delivery: Delivery, messages: int, cuts: int, edits: bool) -> None:
    chance = random.Random(f"{delivery}-{messages}")
    world = World(records=False)
    hub = world.hub
    ann, bob = hub.create_user("Ann"), hub.create_user("Bob")
    chat = hub.create_conversation([ann, bob])
    member = world.join(ann, "phone", features=Features(delivery=delivery), settle="explicit")
    world.run_for(1_000)

    handed: Counter[str] = Counter()
    settled: Counter[str] = Counter()
    cut_at = set(chance.sample(range(messages), cuts))
    edited = 0

    def post(text: str, message_id: str) -> None:
        world.control(lambda hub: hub.post(chat, bob, text, message_id))

    def settle_some(keep: int) -> None:
        numbers = list(member.held)
        chance.shuffle(numbers)
        for number in numbers[: max(0, len(numbers) - keep)]:
            event = member.held[number]
            if isinstance(event, MessageReceived):
                settled[event.message_id] += 1
            member.settle(number)

    for number in range(messages):
        if edits and number % 100 == 50:  # the same message again, with other content: an update, not a repeat
            edited += 1
            post("edited", f"msg-{number - 1}")
        post("hello", f"msg-{number}")
        if number in cut_at:
            member.cut()
            for extra in range(chance.randrange(3)):
                post("hello", f"late-{number}-{extra}")
            world.run_until(lambda: member.session.is_ready)
        if number % 64 == 0:
            settle_some(chance.randrange(HELD_MOST))
            world.run_for(chance.randrange(400))
            check_marks(member)
            for event in member.told:
                if isinstance(event, MessageReceived):
                    handed[event.message_id] += 1
            member.told.clear()
    world.run_for(10_000)
    settle_some(0)
    world.run_for(1_000)
    check_marks(member)
    handed.update(event.message_id for event in member.told if isinstance(event, MessageReceived))

    state = member.session.state
    assert {one for one in handed if one.startswith("msg-")} == {f"msg-{number}" for number in range(messages)}
    twice = {one: count for one, count in handed.items() if count != 1}
    assert len(twice) == edited and set(twice.values()) <= {2}
    assert handed == settled
    assert len(state.inbox.places) == 0 and state.inbox.stream is not None
    assert state.inbox.stream.mark == state.inbox.stream.acked == state.inbox.stream.last
    known = state.inbox.known
    assert len(known) <= state.config.policy.remembered_messages
    assert hub.state()["kicks"] == 0

    before = len(member.told)
    member.cut()
    world.run_until(lambda: member.session.is_ready)
    world.run_for(1_000)
    later = [event for event in member.told[before:] if isinstance(event, MessageReceived)]
    assert later == [], "the hub's cursor covers everything: nothing is replayed"
