"""What an application may ask a message store, and what is removed from it, on each store that keeps messages."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from attrs import define

from clawproto.app_events import (
    FrameRejected,
    HistoryReceived,
    MessageRecalled,
    ReactionChanged,
    ReadMarkMoved,
    TypingChanged,
)
from clawproto.instant import Instant
from clawproto.keeping import Backlog, Filed, Handled, Quarantined, SendDecision
from clawproto_io import SqliteStore
from clawproto_io.errors import Unstorable
from clawproto_io.stores.base import MessageArchive, MessageStore, StoredSend
from clawproto_io.stores.retention import Retention
from tests.io.message_samples import DAY_MS, arrivals, message, send

if TYPE_CHECKING:
    from clawproto_io.stores.postgres import PostgresStore

pytestmark = pytest.mark.anyio


@define
class ManualClock:
    """A clock that a test moves."""

    wall_ms: int = 1_000 * DAY_MS

    def now(self) -> Instant:
        return Instant(self.wall_ms, self.wall_ms)

    def seconds(self, delay_ms: int) -> float:
        return delay_ms / 1000


class Messages(MessageStore, MessageArchive, Protocol):
    """Both sides of a store of messages."""


class Opener(Protocol):
    def __call__(self, retention: Retention | None = None) -> Messages: ...


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["sqlite", "postgres"])
async def opened(request: pytest.FixtureRequest, clock: ManualClock, tmp_path: Path) -> AsyncGenerator[Opener]:
    """Opens the same store once more; all are closed in the end."""
    made: list[SqliteStore | PostgresStore] = []
    database: str | None = request.getfixturevalue("database") if request.param == "postgres" else None

    def again(retention: Retention | None = None) -> Messages:
        if database is None:
            made.append(SqliteStore(tmp_path / "claw.db", clock=clock, retention=retention))
        else:
            from clawproto_io.stores.postgres import PostgresStore

            made.append(PostgresStore(database, clock=clock, retention=retention))
        return made[-1].messages

    yield again
    for store in made:
        await store.aclose()


async def filed(store: Messages, *events: object) -> list[int]:
    """File and be done with these. Returns their rows."""
    rows = [one.row for one in await store.commit(arrivals(*events))]
    await store.commit([Handled(row) for row in rows])
    return rows


async def texts(store: Messages, chat_id: str = "cnv_1") -> list[str]:
    return [one.event.text for one in await store.messages(chat_id)]


# --- questions -----------------------------------------------------------------------------------------------------


async def test_an_empty_store_answers_and_is_not_created(opened: Opener, tmp_path: Path) -> None:
    store = opened()
    assert (await store.messages("cnv_1"), await store.sends(), await store.quarantined()) == ((), (), ())
    assert await store.message("msg-1") is None and await store.read_mark("cnv_1") is None
    assert await store.reactions("msg-1") == ()
    assert list(tmp_path.iterdir()) == []


async def test_a_chat_page_by_page_in_the_order_of_the_hub(opened: Opener) -> None:
    store = opened()
    times = {"a": 30, "b": 10, "c": 20, "d": 20, "e": 40, "f": 15}
    await store.commit(arrivals(*(message(name, name, emitted_at_ms=at) for name, at in times.items())))
    await store.commit(arrivals(message("other", chat_id="cnv_2"), ReadMarkMoved("cnv_1", 5)))
    assert await texts(store) == ["b", "f", "c", "d", "a", "e"]
    page = await store.messages("cnv_1", limit=2)
    assert [one.event.text for one in page] == ["a", "e"]
    page = await store.messages("cnv_1", before=page[0].position, limit=3)
    assert [one.event.text for one in page] == ["f", "c", "d"]
    page = await store.messages("cnv_1", after=page[1].position, limit=2)
    assert [one.event.text for one in page] == ["d", "a"]
    assert await store.messages("cnv_1", after=(40, 10**9)) == ()
    assert await texts(store, "cnv_2") == ["hello"] and await texts(store, "cnv_3") == []


async def test_a_changed_message_stays_where_it_was(opened: Opener) -> None:
    store = opened()
    first = await filed(store, message("a", "a", emitted_at_ms=1), message("b", "b", emitted_at_ms=2))
    await store.commit(arrivals(message("a", "better", emitted_at_ms=9)))
    assert await texts(store) == ["better", "b"]
    found = await store.message("a")
    assert found is not None and found.row > first[1] and not found.handled
    assert found.event.text == "better" and found.event.update and found.event.emitted_at_ms == 9


async def test_a_message_without_a_time_stands_where_it_arrived(opened: Opener, clock: ManualClock) -> None:
    store = opened()
    await store.commit(arrivals(message("a", "a", emitted_at_ms=clock.wall_ms - 1)))
    await store.commit(arrivals(message("b", "b", emitted_at_ms=None)))
    await store.commit(arrivals(message("c", "c", emitted_at_ms=clock.wall_ms + 1)))
    assert await texts(store) == ["a", "b", "c"]
    found = await store.message("b")
    assert found is not None and found.event.emitted_at_ms is None


async def test_one_message_and_whether_it_is_handled(opened: Opener) -> None:
    store = opened()
    (row,) = [one.row for one in await store.commit(arrivals(message()))]
    found = await store.message("msg-1")
    assert found is not None and (found.row, found.handled, found.event) == (row, False, message())
    await store.commit([Handled(row)])
    found = await store.message("msg-1")
    assert found is not None and found.handled
    assert await store.message("msg-2") is None


@pytest.mark.rule("RECALL-1")
async def test_a_recalled_message_is_gone(opened: Opener) -> None:
    store = opened()
    await store.commit(arrivals(message("a", "secret"), message("b", "b")))
    recall = MessageRecalled("cnv_1", "a")
    await store.commit(arrivals(recall))
    assert await store.message("a") is None and await texts(store) == ["b"]
    assert [one.event for one in (await opened().backlog()).arrivals] == [message("b", "b"), recall]


@pytest.mark.rule("RX-3", "READ-4")
async def test_reactions_and_read_marks(opened: Opener) -> None:
    store = opened()
    slots = [
        ReactionChanged("cnv_1", "msg-1", user, emoji) for user, emoji in (("u1", "👍"), ("u2", "🎉"), ("u1", None))
    ]
    await store.commit(arrivals(*slots, ReactionChanged("cnv_1", "msg-2", "u1", "x")))
    assert await store.reactions("msg-1") == (slots[1],)
    await store.commit(arrivals(ReadMarkMoved("cnv_1", 10), ReadMarkMoved("cnv_1", 5)))
    assert await store.read_mark("cnv_1") == 10 and await store.read_mark("cnv_2") is None


async def test_sends_with_their_outcome(opened: Opener, clock: ManualClock) -> None:
    store = opened()
    decision = SendDecision("trace-2", "rejected", "msg-x", "FORBIDDEN", 7)
    await store.commit([send(1), send(2), send(3), decision])
    one, two, three = await store.sends()
    assert (one, three) == (StoredSend(send(1), None, None), StoredSend(send(3), None, None))
    assert two == StoredSend(send(2), decision, clock.wall_ms)
    assert await store.sends(limit=1) == (three,) and await store.sends(before=3, limit=5) == (one, two)
    assert await store.sends(undecided=True) == (one, three)


@pytest.mark.rule("R2-11")
async def test_what_is_in_quarantine(opened: Opener, clock: ManualClock) -> None:
    store = opened()
    rejections = [FrameRejected("x", "bad", "…", number, b"\xff", message()) for number in (1, 2, 3)]
    await store.commit([Quarantined(one) for one in rejections])
    found = await store.quarantined()
    assert [one.rejection for one in found] == rejections and found[0].filed_at_ms == clock.wall_ms
    assert await store.quarantined(before=found[2].row, limit=1) == (found[1],)


async def test_questions_that_make_no_sense(opened: Opener) -> None:
    store = opened()
    with pytest.raises(ValueError, match="before a position or after"):
        await store.messages("c", before=(1, 1), after=(2, 2))
    for ask in (
        lambda: store.messages("c", limit=0),
        lambda: store.sends(limit=0),
        lambda: store.quarantined(limit=-1),
    ):
        with pytest.raises(ValueError, match="at least one row"):
            await ask()


# --- commits that cannot be made, and repeated ones -----------------------------------------------------------------


@pytest.mark.rule("R2-11")
async def test_what_can_never_be_stored_is_named_and_holds_nothing_up(opened: Opener) -> None:
    store = opened()
    never = HistoryReceived("k", {"n": float("nan")}, None)
    with pytest.raises(Unstorable) as caught:
        await store.commit([send(1), *arrivals(message(), never)])
    assert caught.value.index == 2
    assert await opened().backlog() == Backlog(), "nothing of it was written"
    await store.commit([send(1), *arrivals(message())])


@pytest.mark.rule("R2-10")
async def test_an_event_without_a_name_is_recognized_when_its_report_was_lost(opened: Opener) -> None:
    """Not when it comes again later: then it is news."""
    store = opened()
    known = (await store.backlog()).last_row
    begins, ends = TypingChanged("cnv_1", "usr_2", True), TypingChanged("cnv_1", "usr_2", False)
    changes = arrivals(begins, message(), ends, begins)
    filed = await opened().commit(changes)  # as this store would have done it, had it failed afterwards
    again = await store.commit(changes)
    assert [one.row for one in again] == [one.row for one in filed]
    assert all(one.event is None and one.row > known for one in again)
    (later,) = await store.commit(arrivals(begins))
    assert later.event == begins and later.row > filed[-1].row


# --- removal -------------------------------------------------------------------------------------------------------


def test_bounds_are_positive() -> None:
    for wrong in ({"age_days": 0}, {"count": -1}, {"rejected": 0}, {"undecided_days": 0}):
        with pytest.raises(ValueError, match="positive"):
            Retention(**wrong)


async def test_what_is_old_and_done_with_is_removed(opened: Opener, clock: ManualClock) -> None:
    store = opened(Retention(age_days=10))
    await filed(store, message("old", "old"), ReadMarkMoved("cnv_1", 5), ReactionChanged("cnv_1", "old", "u", "x"))
    await store.commit(arrivals(message("waiting", "waiting")))
    clock.wall_ms += 5 * DAY_MS
    await filed(store, message("young", "young"))
    assert await texts(store) == ["old", "waiting", "young"]
    clock.wall_ms += 5 * DAY_MS + 1
    await store.commit([])
    assert await texts(store) == ["waiting", "young"], "what waits stays, however old"
    assert await store.reactions("old") == () and await store.read_mark("cnv_1") == 5


async def test_removal_at_the_start(opened: Opener, clock: ManualClock) -> None:
    await filed(opened(), message("old", "old"), message("older", "older"))
    clock.wall_ms += 100 * DAY_MS
    assert (await opened(Retention(age_days=None)).backlog()).arrivals == ()
    assert len(await texts(opened())) == 2
    backlog = await opened().backlog()
    assert backlog.arrivals == () and await texts(opened()) == []
    (again,) = await opened().commit(arrivals(message("old", "old")))
    assert again.event == message("old", "old") and again.row > backlog.last_row


async def test_no_more_than_so_many(opened: Opener, clock: ManualClock) -> None:
    store = opened(Retention(age_days=None, count=100))
    for start in range(0, 3_000, 100):
        await filed(store, *(message(f"msg-{number}") for number in range(start, start + 100)))
    (waiting,) = await store.commit(arrivals(message("waiting")))
    clock.wall_ms += DAY_MS
    for _ in range(3):
        await store.commit([])
        clock.wall_ms += DAY_MS
    found = await store.messages("cnv_1", limit=10_000)
    kept = sorted(one.row for one in found)
    assert len(kept) == 101 and kept[-1] == waiting.row
    assert await store.message("msg-2900") is not None and await store.message("msg-2899") is None


async def test_removal_keeps_up_within_the_commits(opened: Opener) -> None:
    """Without time passing: the store does not grow while messages come in."""
    store, most = opened(Retention(age_days=None, count=50)), 0
    for number in range(30):
        await filed(store, *(message(f"msg-{number}-{at}") for at in range(100)))
        most = max(most, len(await store.messages("cnv_1", limit=10_000)))
    assert most < 50 + 600


@pytest.mark.rule("SEND-17")
async def test_decided_sends_are_removed_and_undecided_ones_are_not(opened: Opener, clock: ManualClock) -> None:
    retention = Retention(age_days=10, undecided_days=None)
    store = opened(retention)
    await store.commit([send(number) for number in range(1, 6)])
    await store.commit([SendDecision(f"trace-{number}", "accepted", "m") for number in (1, 2, 4, 5)])
    clock.wall_ms += 11 * DAY_MS
    await store.commit([])
    assert [one.send.number for one in await store.sends()] == [3, 5], "the last number is never forgotten"
    backlog = await opened(retention).backlog()
    assert backlog.sends == (send(3),) and backlog.last_number == 5


@pytest.mark.rule("SEND-15")
async def test_a_send_without_an_answer_for_days_is_given_up_at_the_start(opened: Opener, clock: ManualClock) -> None:
    old, young = send(1, created_ms=clock.wall_ms), send(2, created_ms=clock.wall_ms + DAY_MS)
    await opened().commit([old, young])
    clock.wall_ms += 7 * DAY_MS + 1
    backlog = await opened().backlog()
    assert backlog.sends == (young,) and backlog.last_number == 2 and backlog.expired == (old,)
    assert (await opened().backlog()).expired == (), "it is told once"
    first, _ = await opened().sends()
    assert first == StoredSend(old, SendDecision("trace-1", "expired", "msg-out-1"), clock.wall_ms)


async def test_the_quarantine_is_bounded(opened: Opener, clock: ManualClock) -> None:
    store = opened(Retention(rejected=3))
    rejections = [FrameRejected("x", "bad", "…", number, "x") for number in range(1, 9)]
    await store.commit([Quarantined(one) for one in rejections])
    clock.wall_ms += DAY_MS
    await store.commit([])
    assert [one.rejection for one in await store.quarantined()] == rejections[-3:]


async def test_an_event_without_a_name_is_removed_as_well(opened: Opener, clock: ManualClock) -> None:
    store = opened()
    typing = TypingChanged("cnv_1", "u", True)
    rows = await filed(store, typing, typing)
    clock.wall_ms += 100 * DAY_MS
    (last,) = await store.commit(arrivals(typing))
    assert last == Filed(rows[1] + 1, typing)
    assert [one.row for one in (await opened().backlog()).arrivals] == [last.row]
