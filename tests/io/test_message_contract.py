"""What every message store promises, checked on each of ours."""

from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest
from attrs import evolve

from clawproto.app_events import (
    AppEvent,
    FrameRejected,
    HistoryReceived,
    HistoryTruncated,
    MessageDelivered,
    MessageRecalled,
    MessageReceived,
    MetadataInvalidated,
    PermissionRequested,
    PermissionResolved,
    PresenceChanged,
    ReactionChanged,
    ReadMarkMoved,
    SignalReceived,
    TypingChanged,
    UnknownEvent,
)
from clawproto.filing import Filing
from clawproto.instant import Instant
from clawproto.keeping import Arrival, Backlog, Filed, ForUser, Handled, Quarantined, SendDecision
from clawproto.wire.values import Frame, OpaquePayload
from clawproto_io import SqliteStore
from clawproto_io.stores import MemoryMessageStore
from clawproto_io.stores.base import MessageStore
from tests.io.message_samples import arrivals, message, send

pytestmark = pytest.mark.anyio

UNKNOWN = Frame("poll.opened", OpaquePayload({"a": [1]}), "trace-9", 7, "cnv_1")
EVERYTHING: list[AppEvent] = [
    message(),
    MessageDelivered("msg-1", "cnv_1", "usr_2", 5),
    ReactionChanged("cnv_1", "msg-1", "usr_2", "👍"),
    ReadMarkMoved("cnv_1", 100),
    MessageRecalled("cnv_1", "msg-9"),
    TypingChanged("cnv_1", "usr_2", True),
    PresenceChanged("usr_2", True, None, False),
    MetadataInvalidated("cnv_1", "group", ("x",), False, 3, ("/x",)),
    SignalReceived("friend.added", "usr_2", 1, "evt-1", ("/friends",)),
    PermissionRequested("cnv_1", "req-1", "agt_1", "op", {"label": "x"}, 9),
    PermissionResolved("cnv_1", "req-1", "allow", None),
    HistoryReceived("history_sync_message", {"n": [1, {"x": None}]}, None, ["c"]),
    HistoryTruncated(5),
    UnknownEvent(UNKNOWN, UNKNOWN.payload),
]


class Midday:
    """A clock that stands still, on the day of the samples."""

    def now(self) -> Instant:
        return Instant(wall_ms=43_200_000, mono_ms=0)

    def seconds(self, delay_ms: int) -> float:
        return delay_ms / 1000


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Callable[[], MessageStore]]:
    """Opens the same store once more, as after a restart; all are closed in the end."""
    made: list[MessageStore] = []
    filing = Filing()
    database: str = request.getfixturevalue("database") if request.param == "postgres" else ""

    def again() -> MessageStore:
        match request.param:
            case "memory":
                made.append(MemoryMessageStore(filing))
            case "postgres":
                from clawproto_io.stores.postgres import PostgresStore

                made.append(PostgresStore(database, clock=Midday()).messages)
            case _:
                made.append(SqliteStore(tmp_path / "claw.db", clock=Midday()).messages)
        return made[-1]

    yield again
    for store in made:
        await store.aclose()


@pytest.fixture
def store(opened: Callable[[], MessageStore]) -> MessageStore:
    return opened()


async def left(opened: Callable[[], MessageStore]) -> list[AppEvent]:
    """What the next session would be handed first."""
    backlog = await opened().backlog()
    assert [filed.row for filed in backlog.arrivals] == sorted({filed.row for filed in backlog.arrivals})
    assert all(filed.row <= backlog.last_row for filed in backlog.arrivals)
    return [filed.event for filed in backlog.arrivals if filed.event is not None]


# --- arrivals ------------------------------------------------------------------------------------------------------


async def test_an_empty_store_has_no_backlog(store: MessageStore) -> None:
    assert await store.backlog() == Backlog()


@pytest.mark.rule("R2-10", "R2-27", "R1-1")
async def test_everything_with_a_place_in_the_stream_survives_a_restart(opened: Callable[[], MessageStore]) -> None:
    filed = await opened().commit(arrivals(*EVERYTHING))
    assert [one.event for one in filed] == EVERYTHING
    assert [one.row for one in filed] == sorted({one.row for one in filed}), "rows grow in the order of arrival"
    assert await left(opened) == EVERYTHING
    store = opened()
    await store.commit([Handled(one.row) for one in filed[1:]])
    assert await left(opened) == EVERYTHING[:1]
    await store.commit([Handled(filed[0].row), Handled(filed[0].row), Handled(99_999)])
    assert await left(opened) == []
    assert (await opened().backlog()).last_row >= filed[-1].row


@pytest.mark.rule("SEND-19", "R2-10", "R2-28")
@pytest.mark.parametrize("handled", [False, True])
async def test_what_comes_again_unchanged_is_no_news(opened: Callable[[], MessageStore], handled: bool) -> None:
    """Whether the application still has it, or is done with it."""
    named = [
        event
        for event in EVERYTHING
        if not isinstance(event, TypingChanged | PresenceChanged | HistoryTruncated | MetadataInvalidated)
    ]
    filed = await opened().commit(arrivals(*named))
    if handled:
        await opened().commit([Handled(one.row) for one in filed])
    again = await opened().commit(arrivals(*named))
    assert again == tuple(Filed(one.row, None) for one in filed)
    assert await left(opened) == ([] if handled else named)


@pytest.mark.rule("SEND-19")
async def test_other_content_is_an_update_in_a_new_row(opened: Callable[[], MessageStore]) -> None:
    store = opened()
    (first,) = await store.commit(arrivals(message(update=True)))
    assert first.event == message(), "nothing was there before"
    await store.commit([Handled(first.row)])
    (second,) = await store.commit(arrivals(message(text="better")))
    assert second.row > first.row and second.event == message(text="better", update=True)
    assert await left(opened) == [message(text="better", update=True)]
    (third,) = await store.commit(arrivals(message(text="best")))
    await store.commit([Handled(second.row)])
    assert await left(opened) == [message(text="best", update=True)], "that another content was handled changes nothing"
    assert (await store.commit(arrivals(message(text="best")))) == (Filed(third.row, None),)


@pytest.mark.rule("STREAM-14")
async def test_nothing_provisional_replaces_a_final_copy(opened: Callable[[], MessageStore]) -> None:
    store = opened()
    (provisional,) = await store.commit(arrivals(message(text="so far", merged=True)))
    assert provisional.event == message(text="so far", merged=True)
    (final,) = await store.commit(arrivals(message(text="so far")))
    assert final.event == message(text="so far", update=True)
    (late,) = await store.commit(arrivals(message(text="so fa", merged=True)))
    assert late == Filed(final.row, None)
    (remaining,) = await left(opened)
    assert isinstance(remaining, MessageReceived) and remaining.message == message(text="so far").message


@pytest.mark.rule("RX-3")
async def test_the_last_reaction_of_a_slot_counts(opened: Callable[[], MessageStore]) -> None:
    store, put = opened(), ReactionChanged("cnv_1", "msg-1", "usr_2", "👍")
    taken = evolve(put, emoji=None)
    filed = await store.commit(arrivals(put, put, taken, taken, put))
    assert [one.event for one in filed] == [put, None, taken, None, put]
    assert await left(opened) == [put]


@pytest.mark.rule("READ-4")
async def test_read_marks_only_rise(opened: Callable[[], MessageStore]) -> None:
    store = opened()
    marks = [ReadMarkMoved("cnv_1", mark) for mark in (100, 50, 100, 150)]
    filed = await store.commit(arrivals(*marks, ReadMarkMoved("cnv_2", 10)))
    assert [one.event for one in filed] == [marks[0], None, None, marks[3], ReadMarkMoved("cnv_2", 10)]
    assert await left(opened) == [marks[3], ReadMarkMoved("cnv_2", 10)]


@pytest.mark.rule("RECALL-1")
async def test_what_was_recalled_before_it_came_is_no_news(opened: Callable[[], MessageStore]) -> None:
    store, recall = opened(), MessageRecalled("cnv_1", "msg-1")
    first, second, third = await store.commit(arrivals(recall, message(), recall))
    assert first.event == recall and second.event is None and third == Filed(first.row, None)
    assert await left(opened) == [recall]


@pytest.mark.rule("RECALL-1")
async def test_what_is_recalled_is_not_handed_over_after_a_restart(opened: Callable[[], MessageStore]) -> None:
    store, recall = opened(), MessageRecalled("cnv_1", "msg-1")
    await store.commit(arrivals(message(), message("msg-2")))
    await store.commit(arrivals(recall))
    assert await left(opened) == [message("msg-2"), recall]
    (again,) = await store.commit(arrivals(message()))
    assert again.event is None


@pytest.mark.rule("SEND-19")
async def test_whether_it_is_an_update_is_told_by_what_was_handled(opened: Callable[[], MessageStore]) -> None:
    """After a restart, whoever passes over updates must not lose a message that nobody has handled."""
    store = opened()
    await store.commit(arrivals(message()))
    (update,) = await store.commit(arrivals(message(text="better")))
    assert update.event == message(text="better", update=True), "the first one was handed over in this session"
    assert await left(opened) == [message(text="better")]
    await store.commit([Handled(update.row)])
    await store.commit(arrivals(message(text="best")))
    await store.commit(arrivals(message(text="best of all")))
    assert await left(opened) == [message(text="best of all", update=True)]


@pytest.mark.rule("NOTIFY-2", "PERM-3")
async def test_what_counts_once_counts_once(opened: Callable[[], MessageStore]) -> None:
    signal = SignalReceived("friend.added", "usr_2", 1, "evt-1", ())
    card = PermissionRequested("cnv_1", "req-1", None, None, None, None)
    events = [signal, card, evolve(signal, version=2), evolve(card, expires_at_ms=4), evolve(signal, event_id="evt-2")]
    filed = await opened().commit(arrivals(*events))
    assert [one.event for one in filed] == [events[0], events[1], None, None, events[4]]


async def test_what_has_no_name_is_news_each_time(opened: Callable[[], MessageStore]) -> None:
    begins, ends = TypingChanged("cnv_1", "usr_2", True), TypingChanged("cnv_1", "usr_2", False)
    filed = await opened().commit(arrivals(begins, ends, begins))
    assert [one.event for one in filed] == [begins, ends, begins]
    store = opened()
    await store.backlog()
    (later,) = await store.commit(arrivals(begins))
    assert later.event == begins and later.row > filed[-1].row


@pytest.mark.rule("R2-10")
async def test_a_commit_whose_report_was_lost_can_be_repeated(opened: Callable[[], MessageStore]) -> None:
    """Nothing is there twice, and what the session did not hear of can be told from what it knows by its row."""
    store = opened()
    known = (await store.backlog()).last_row
    events = [message(), ReadMarkMoved("cnv_1", 5), message("msg-2"), FrameRejected(None, "not-json", "x", 1, "x")]
    changes = [*arrivals(*events[:-1]), Quarantined(events[-1]), send(1), send(2),  # type: ignore[arg-type]
               SendDecision("trace-2", "accepted", "msg-out-2")]  # fmt: skip
    other = opened()  # as the same store would be after an error: it was not told what became of it
    filed = await other.commit(changes)
    again = await store.commit(changes)
    assert [one.row for one in again] == [one.row for one in filed]
    assert all(one.event is None and one.row > known for one in again)
    backlog = await opened().backlog()
    assert [one.event for one in backlog.arrivals] == events[:-1] and backlog.sends == (send(1),)


@pytest.mark.rule("R2-11", "ENV-12")
async def test_odd_texts_do_not_stop_the_stream(opened: Callable[[], MessageStore]) -> None:
    odd = message("id\0\ud800é", "text\0\ud800", chat_id="chat\0\ud800", emitted_at_ms=None)
    unknown = UnknownEvent(evolve(UNKNOWN, trace_id="\ud800"), OpaquePayload({"\0": float("inf"), "n": 10**400}))
    events = [odd, unknown, ReactionChanged("\0", "\ud800", "", "\ud800")]
    filed = await opened().commit(arrivals(*events))
    assert [one.event for one in filed] == events
    assert await left(opened) == events
    assert await opened().commit(arrivals(*events)) == tuple(Filed(one.row, None) for one in filed)


# --- sends ---------------------------------------------------------------------------------------------------------


@pytest.mark.rule("SEND-5", "SEND-17")
async def test_undecided_sends_come_back_byte_for_byte_and_in_order(opened: Callable[[], MessageStore]) -> None:
    store = opened()
    await store.commit([send(3), send(1)])
    await store.commit([send(2)])
    backlog = await opened().backlog()
    assert backlog.sends == (send(1), send(2), send(3)) and backlog.last_number == 3


@pytest.mark.rule("SEND-15")
@pytest.mark.parametrize("outcome", ["accepted", "rejected", "dropped", "expired"])
async def test_what_is_decided_is_not_transmitted_again(opened: Callable[[], MessageStore], outcome: str) -> None:
    store = opened()
    decision = SendDecision("trace-2", outcome, "msg-x", "FORBIDDEN", 5)  # type: ignore[arg-type]
    await store.commit([send(1), send(2), decision])
    assert (await opened().backlog()).sends == (send(1),)
    await store.commit([send(2), decision])
    backlog = await opened().backlog()
    assert backlog.sends == (send(1),) and backlog.last_number == 2
    await store.commit([SendDecision("trace-1", "accepted", "msg-1")])
    assert await opened().backlog() == Backlog(last_number=2)


@pytest.mark.rule("SEND-5")
async def test_a_send_that_is_asked_for_again_takes_its_own_place(opened: Callable[[], MessageStore]) -> None:
    store = opened()
    await store.commit([send(1), send(2)])
    await store.commit([evolve(send(1), number=3)])
    backlog = await opened().backlog()
    assert backlog.sends == (send(2), evolve(send(1), number=3)) and backlog.last_number == 3


# --- users ---------------------------------------------------------------------------------------------------------


@pytest.mark.rule("R2-10", "SEND-19")
async def test_another_user_gets_and_sends_nothing_of_the_one_before(opened: Callable[[], MessageStore]) -> None:
    """Both are in one chat, so the second one is sent a message under an id that the first one had."""
    store, recall = opened(), MessageRecalled("cnv_1", "msg-2")
    await store.commit([ForUser("usr_1")])
    first, *_ = await store.commit([*arrivals(message(), message("msg-3"), recall), send(1), send(2),
                                    Quarantined(FrameRejected(None, "not-json", "x", 1, "x")),
                                    SendDecision("trace-2", "accepted", "msg-out-2")])  # fmt: skip
    await store.commit([Handled(first.row)])
    before = await opened().backlog()
    assert before.user_id == "usr_1" and before.for_user("usr_1") == before
    for other in ("usr_2", None):
        assert before.for_user(other) == Backlog(last_number=2, last_row=before.last_row, user_id="usr_1")
    for same in (opened(), opened()):
        await same.commit([ForUser("usr_1")])
        assert await same.backlog() == before
    changes = [ForUser("usr_2"), *arrivals(message("msg-3"), message("msg-2"), message())]
    filed = await opened().commit(changes)
    assert [one.event for one in filed] == [message("msg-3"), message("msg-2"), message()]
    assert filed[0].row > before.last_row, "what is done with a row of the one before must not count for these"
    assert await left(opened) == [message("msg-3"), message("msg-2"), message()]
    assert (await opened().backlog()).sends == () and (await opened().backlog()).last_number == 2
    assert await opened().commit(changes) == tuple(Filed(one.row, None) for one in filed), "its report may be lost"
    await opened().commit([send(1)])
    assert (await opened().backlog()).sends == (send(1),), "nobody remembers what became of the one before's"


async def test_the_first_user_gets_what_was_there(opened: Callable[[], MessageStore]) -> None:
    """As in a store that is older than its knowledge of users."""
    store = opened()
    await store.commit([*arrivals(message()), send(1)])
    before = await opened().backlog()
    await store.commit([ForUser("usr_1")])
    await store.commit([ForUser("usr_1")])
    assert await opened().backlog() == evolve(before, user_id="usr_1")


async def test_changes_are_made_in_their_order(opened: Callable[[], MessageStore]) -> None:
    store = opened()
    decision = SendDecision("trace-1", "accepted", "msg-1")
    (filed,) = await store.commit([send(1), decision, Arrival(message()), send(2)])
    backlog = await opened().backlog()
    assert backlog.sends == (send(2),) and backlog.arrivals == (filed,)
    assert await store.commit([]) == ()


async def test_many_at_once_keep_their_order(opened: Callable[[], MessageStore]) -> None:
    events = [message(f"msg-{number}") for number in range(1000)]
    filed = await opened().commit(arrivals(*events))
    assert [one.event for one in filed] == events
    assert await left(opened) == events
