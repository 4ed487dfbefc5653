"""The reference of a message store: what is news, what is an update, what is waiting."""

import pytest
from attrs import evolve

from clawproto.app_events import (
    AppEvent,
    FrameRejected,
    HistoryReceived,
    MessageDelivered,
    MessageRecalled,
    MessageReceived,
    MetadataInvalidated,
    PermissionRequested,
    PermissionResolved,
    ReactionChanged,
    ReadMarkMoved,
    SignalReceived,
    UnknownEvent,
)
from clawproto.filing import Filing
from clawproto.keeping import Arrival, Backlog, Change, Filed, Handled, KeptSend, Quarantined, SendDecision
from clawproto.wire.values import Frame, MessagePayload, OpaquePayload, Peer, TextFragment
from tests.test_engine import message


def said(text: str, *, provisional: bool = False) -> MessageReceived:
    payload = MessagePayload("msg-1", "normal", (TextFragment(text),), (), stream_merged=provisional)
    return evolve(message(1), message=payload)


def file(filing: Filing, event: AppEvent) -> Filed:
    (filed,) = filing.commit([Arrival(event)])
    return filed


@pytest.mark.rule("SEND-19", "R2-10", "R1-3")
def test_a_repeat_is_no_news_and_other_content_is_an_update() -> None:
    filing = Filing()
    assert file(filing, said("a")) == Filed(1, said("a"))
    assert file(filing, said("a")) == Filed(1, None)
    update = file(filing, said("b"))
    assert update.row == 2 and isinstance(update.event, MessageReceived)
    assert update.event.update and update.event.text == "b"
    new = Filed(2, said("b"))
    assert filing.backlog().arrivals == (new,), (
        "the newer content takes the place of the older one, which nobody handled"
    )
    filing.commit([Handled(2), Handled(77)])
    assert filing.backlog() == Backlog(last_row=2)
    assert file(filing, said("b")) == Filed(2, None)


def test_what_the_session_took_for_an_update_may_be_new() -> None:
    filed = file(Filing(), evolve(said("a"), update=True))
    assert isinstance(filed.event, MessageReceived) and not filed.event.update


@pytest.mark.rule("SEND-19", "R2-10")
def test_after_a_restart_it_is_an_update_only_if_an_earlier_content_was_handled() -> None:
    filing = Filing()

    def waiting() -> MessageReceived:
        (filed,) = filing.backlog().arrivals
        assert isinstance(filed.event, MessageReceived)
        return filed.event

    file(filing, said("a"))
    file(filing, said("b"))
    assert waiting() == said("b"), "nobody has seen the first"
    filing.commit([Handled(2)])
    file(filing, said("c"))
    assert waiting() == evolve(said("c"), update=True)
    file(filing, said("d"))
    assert waiting() == evolve(said("d"), update=True), "of three contents the first was handled"
    filing.commit([Handled(4)])
    assert filing.backlog().arrivals == ()


@pytest.mark.rule("R2-10")
def test_a_later_copy_is_written_over_the_one_that_waits() -> None:
    filing = Filing()
    for text, update in (("a", False), ("b", True)):
        filed = file(filing, said(text))
        copy = evolve(said(text), emitted_at_ms=77, update=not update)
        assert file(filing, copy) == Filed(filed.row, None)
        assert filing.backlog().arrivals == (Filed(filed.row, evolve(copy, update=update)),)
        filing.commit([Handled(filed.row)])
        file(filing, copy)
        assert filing.backlog().arrivals == (), "what was handled does not wait again"


@pytest.mark.rule("STREAM-14")
def test_nothing_provisional_replaces_a_final_copy() -> None:
    filing = Filing()
    assert file(filing, said("a", provisional=True)).event is not None
    assert file(filing, said("ab", provisional=True)).event is not None
    assert file(filing, said("abc")).event is not None
    assert file(filing, said("abcd", provisional=True)).event is None
    assert file(filing, said("abcde")).event is not None


@pytest.mark.rule("RECALL-1")
def test_what_was_withdrawn_before_it_arrived_stays_withdrawn() -> None:
    filing = Filing()
    recall = MessageRecalled("cnv_1", "msg-1")
    assert file(filing, recall).event == recall
    assert file(filing, said("a")).event is None
    assert file(filing, recall).event is None


SENDER = Peer("usr_2")
FRAME = Frame("future.thing", OpaquePayload({}), trace_id="t-1")


@pytest.mark.rule("RX-3", "READ-4", "NOTIFY-2", "R2-27", "R2-28")
@pytest.mark.parametrize(
    "event",
    [
        ReactionChanged("cnv_1", "msg-1", "usr_2", "x"),
        ReadMarkMoved("cnv_1", 7),
        SignalReceived("friend.added", "usr_2", 1, "ev-1", ()),
        MessageDelivered("msg-1", "cnv_1", "usr_2", 5),
        PermissionRequested("cnv_1", "req-1", "agt_1", "send_file", None, 9),
        PermissionResolved("cnv_1", "req-1", "allow_once", "owner_allowed"),
        HistoryReceived("history_sync_message", {"n": [1]}, SENDER),
        UnknownEvent(FRAME, FRAME.payload),
    ],
    ids=lambda event: type(event).__name__,
)
def test_each_of_these_is_news_once(event: AppEvent) -> None:
    filing = Filing()
    assert file(filing, event) == Filed(1, event)
    assert file(filing, event) == Filed(1, None)


@pytest.mark.rule("RX-3", "READ-4")
def test_slots_and_marks_change() -> None:
    filing = Filing()
    for emoji in ("x", "y", None, "x"):
        assert file(filing, ReactionChanged("cnv_1", "msg-1", "usr_2", emoji)).event is not None
    assert len(filing.backlog().arrivals) == 1
    assert file(filing, ReadMarkMoved("cnv_1", 7)).event is not None
    assert file(filing, ReadMarkMoved("cnv_1", 6)).event is None
    assert file(filing, ReadMarkMoved("cnv_1", 8)).event is not None


def test_what_has_no_key_is_always_news() -> None:
    filing = Filing()
    event = MetadataInvalidated("cnv_1", "group", (), True, None, ())
    assert [file(filing, event), file(filing, event)] == [Filed(1, event), Filed(2, event)]
    assert filing.backlog().arrivals == (Filed(1, event), Filed(2, event))


@pytest.mark.rule("SEND-5", "SEND-15", "SEND-17")
def test_sends_wait_in_order_until_they_are_decided() -> None:
    filing = Filing()
    first, second = (KeptSend(f"s-{n}", n, f"msg-{n}", "cnv_1", "message.send", "{}", None, 0) for n in (1, 2))
    again = evolve(first, number=3)
    batch: list[Change] = [second, first, again, SendDecision("s-2", "accepted", "msg-2")]
    for _ in range(2):  # a report that was lost
        filing.commit(batch)
        assert filing.backlog() == Backlog(sends=(again,), last_number=3)
    filing.commit([second])
    assert filing.decisions == {"s-2": SendDecision("s-2", "accepted", "msg-2")}
    third, fourth = evolve(first, trace_id="s-4", number=5), evolve(first, trace_id="s-3", number=4)
    filing.commit([third, fourth])
    assert filing.backlog().sends == (again, fourth, third)


@pytest.mark.rule("R2-11")
def test_the_quarantine() -> None:
    filing = Filing()
    rejection = FrameRejected("message.send", "no id", "{", 1)
    filing.commit([Quarantined(rejection)])
    filing.commit([Quarantined(rejection)])
    assert filing.quarantine == [rejection]
