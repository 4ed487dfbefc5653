"""The queue between session and application: its marks, to the event and to the byte."""

import asyncio

import pytest

from clawproto.app_events import AppEvent, MessageReceived, ReplayFinished
from clawproto.errors import Misuse
from clawproto.mailbox import InboxLimit, Mailbox
from tests.test_engine import READY, message

NEWS = ReplayFinished(announced=True)


def make(events: int, size: int = 1_000, settled: list[int] | None = None) -> Mailbox:
    return Mailbox(InboxLimit(events=events, size=size), "explicit", ([] if settled is None else settled).append)


def marks(mailbox: Mailbox) -> tuple[bool, bool]:
    return mailbox.is_full, mailbox.is_drained


def test_an_empty_one_is_drained_however_small_it_is() -> None:
    mailbox = make(1, 1)
    assert marks(mailbox) == (False, True)
    assert (len(mailbox), mailbox.ahead, mailbox.ahead_size, mailbox.displaced) == (0, 0, 0, 0)
    assert mailbox.take() is None


@pytest.mark.rule("R2-25")
def test_what_was_handed_out_counts_until_it_is_settled() -> None:
    settled = list[int]()
    mailbox = make(4, settled=settled)
    for number in range(1, 5):
        assert not mailbox.is_full
        mailbox.put(message(number), number, 10)
    assert marks(mailbox) == (True, False)
    taken = [event for _ in range(4) if (event := mailbox.take()) is not None]
    assert taken == [message(number) for number in range(1, 5)] and len(mailbox) == 0
    found: list[tuple[bool, bool]] = []
    for event in (*taken, taken[0]):
        mailbox.settle(event)
        found.append(marks(mailbox))
    assert found == [(False, False), (False, True), (False, True), (False, True), (False, True)]
    assert settled == [1, 2, 3, 4]
    for number in range(5, 9):  # and not one of them counts any more
        assert not mailbox.is_full
        mailbox.put(message(number), number, 10)
    assert mailbox.is_full


def test_what_needs_no_settling_counts_until_it_is_handed_out() -> None:
    mailbox = make(3)
    for _ in range(5):
        for number in range(3):
            assert not mailbox.is_full
            mailbox.put(message(number), None, 10)
        found: list[tuple[bool, bool]] = []
        while mailbox.take() is not None:
            found.append(marks(mailbox))
        assert found == [(False, False), (False, True), (False, True)]


def test_bytes_count_until_they_are_handed_out() -> None:
    mailbox = make(100, 60)
    for size, expected in ((10, (False, True)), (20, (False, True)), (29, (False, False)), (1, (True, False))):
        mailbox.put(message(size), size, size)
        assert marks(mailbox) == expected
    found: list[tuple[bool, bool]] = []
    while mailbox.take() is not None:
        found.append(marks(mailbox))
    assert found == [(False, False), (False, True), (False, True), (False, True)]


def test_what_is_on_its_way_counts_already() -> None:
    mailbox = make(4, 60)
    mailbox.put(message(1), 1, 10)
    for ahead, size, expected in (
        (1, 20, (False, True)),
        (2, 20, (False, False)),
        (3, 20, (True, False)),
        (1, 21, (False, False)),
        (1, 49, (False, False)),
        (1, 50, (True, False)),
    ):
        mailbox.ahead, mailbox.ahead_size = ahead, size
        assert marks(mailbox) == expected


def test_news_makes_room_for_news_and_for_nothing_else() -> None:
    mailbox = make(3, 100)
    mailbox.put(NEWS, None, 10)
    mailbox.put(READY, None, 20)
    mailbox.put(message(1), 1, 30)
    assert mailbox.is_full and mailbox.displaced == 0, "there was room for all of them"
    mailbox.put(message(2), 2, 5)
    assert mailbox.displaced == 0, "a message displaces nothing"
    mailbox.put(READY, None, 7)
    assert (mailbox.displaced, len(mailbox)) == (1, 4)
    assert mailbox.take() is READY
    for _ in range(2):
        mailbox.put(NEWS, None, 9)  # the first finds nothing but a READY to displace, the second that NEWS
    assert (mailbox.displaced, len(mailbox)) == (3, 3)
    taken: list[AppEvent] = []
    while (event := mailbox.take()) is not None:
        taken.append(event)
    assert taken == [message(1), message(2), NEWS]
    for event in taken:
        mailbox.settle(event)
    for number in range(3):  # nothing of what was displaced counts any more
        assert not mailbox.is_full
        mailbox.put(message(number), None, 33)
    assert mailbox.is_full
    mailbox.take()
    mailbox.take()
    mailbox.put(message(9), None, 66)
    assert not mailbox.is_full, "99 bytes of 100"
    mailbox.put(message(9), None, 1)
    assert mailbox.is_full


def test_the_bytes_of_what_was_displaced_count_no_more() -> None:
    mailbox = make(100, 100)
    mailbox.put(message(1), 1, 60)
    mailbox.put(READY, None, 30)
    mailbox.put(NEWS, None, 10)
    assert marks(mailbox) == (True, False)
    mailbox.put(NEWS, None, 5)
    assert (*marks(mailbox), mailbox.displaced) == (False, False, 1), "75 bytes"
    mailbox.put(NEWS, None, 24)
    assert not mailbox.is_full
    mailbox.put(message(2), 2, 1)
    assert mailbox.is_full


class Settler:
    """A client, as far as messages know it."""

    def __init__(self) -> None:
        self.settled: list[MessageReceived] = []
        self.rejected: list[tuple[MessageReceived, str]] = []

    async def settle(self, event: MessageReceived) -> None:
        self.settled.append(event)

    async def reject(self, event: MessageReceived, problem: str) -> None:
        self.rejected.append((event, problem))


@pytest.mark.rule("R2-10", "R2-11")
def test_a_message_is_settled_through_whoever_has_handed_it_out() -> None:
    mailbox, settler = make(3), Settler()
    mailbox.put(message(1), 1, 10)
    mailbox.put(message(2), 2, 10)
    early = mailbox.take()
    assert isinstance(early, MessageReceived)
    with pytest.raises(Misuse, match="not handed out by a client"):
        _ = early.settle()
    mailbox.settler = settler
    taken = mailbox.take()
    assert isinstance(taken, MessageReceived)

    async def finish() -> None:
        await taken.settle()
        await taken.reject("no room")

    asyncio.run(finish())
    assert settler.settled == [taken] and settler.rejected == [(taken, "no room")]
