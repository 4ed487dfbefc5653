"""How events are filed: keys, what counts as the same content, and what is news."""

import hashlib
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, strategies as st

from clawproto.app_events import (
    AppEvent,
    HistoryReceived,
    HistoryTruncated,
    MessageDelivered,
    MessageRecalled,
    MessageReceived,
    PermissionDecided,
    PermissionRequested,
    PermissionResolved,
    ReactionChanged,
    ReadMarkMoved,
    SignalReceived,
    TypingChanged,
    UnknownEvent,
)
from clawproto.event_rows import EventRow, KnownRow, event_row, message_key, replaces, storable, verdict
from clawproto.event_text import event_from_text
from clawproto.wire.values import (
    Frame,
    MediaFragment,
    Mention,
    MessagePayload,
    OpaquePayload,
    Peer,
    Reply,
    TextFragment,
)

MESSAGE = MessageReceived(
    event="message.send",
    chat_id="cnv_1",
    chat_type="direct",
    sender=Peer("usr_1"),
    message=MessagePayload("msg-1", "normal", (TextFragment("hi"),), ()),
    own=False,
    system=False,
    update=False,
    conversational=True,
    emitted_at_ms=5,
)
UNKNOWN = Frame("poll.opened", OpaquePayload({}), "trace-1", 7, "cnv_1")


def with_message(**changes: Any) -> MessageReceived:
    return evolve(MESSAGE, message=evolve(MESSAGE.message, **changes))


def known(row: EventRow) -> KnownRow:
    return KnownRow(row.content, row.final, row.at_ms)


@pytest.mark.rule("SEND-19", "R2-28")
def test_a_copy_on_another_connection_is_the_same_message() -> None:
    row = event_row(MESSAGE)
    assert (row.kind, row.key, row.final) == ("message_received", message_key("msg-1"), True)
    assert (row.chat_id, row.message_id, row.at_ms) == ("cnv_1", "msg-1", 5)
    assert event_from_text(row.text) == MESSAGE
    copy = evolve(MESSAGE, emitted_at_ms=9, update=True, streamed=True, sender=Peer("usr_1", nick_name="Ann"))
    assert verdict(event_row(copy), None) == "new"
    assert verdict(event_row(copy), known(row)) == "same"


@pytest.mark.rule("SEND-19")
@pytest.mark.parametrize(
    "other",
    [
        with_message(fragments=(TextFragment("ho"),)),
        with_message(fragments=(TextFragment("hi", "i"),)),
        with_message(fragments=(TextFragment("hi"), MediaFragment("image", "/1"))),
        with_message(mentions=(Mention("usr_2"),)),
        with_message(reply=Reply("msg-0")),
        with_message(metadata={"kind": "x"}),
        with_message(message_mode="whisper"),
    ],
)
def test_other_content_is_a_change(other: MessageReceived) -> None:
    assert event_row(other).key == event_row(MESSAGE).key
    assert verdict(event_row(other), known(event_row(MESSAGE))) == "changed"
    assert verdict(event_row(other), known(event_row(other))) == "same"


@pytest.mark.rule("STREAM-14")
def test_nothing_provisional_replaces_a_final_copy() -> None:
    final, provisional = event_row(MESSAGE), event_row(with_message(stream_merged=True))
    assert verdict(provisional, known(final)) == "older"
    assert verdict(final, known(provisional)) == "changed"
    assert verdict(provisional, known(provisional)) == "same"


def test_the_digest_of_a_content_is_the_same_in_every_version() -> None:
    """It is in the files of users: with another one every message that comes again would be an update."""
    assert event_row(MESSAGE).content == "90a5ada0c227e9498287cf657338e8e7"


@pytest.mark.parametrize(
    ("event", "row"),
    [
        (MESSAGE, ("message_received", '["msg-1"]', None, True, "cnv_1", "msg-1", 5)),
        (
            ReactionChanged("cnv_1", "msg-1", "usr_1", "x"),
            ("reaction_changed", '["msg-1","usr_1"]', None, True, "cnv_1", "msg-1", None),
        ),
        (ReadMarkMoved("cnv_1", 100), ("read_mark_moved", '["cnv_1"]', "", True, "cnv_1", None, 100)),
        (MessageRecalled("cnv_1", "msg-1"), ("message_recalled", '["msg-1"]', "", True, "cnv_1", "msg-1", None)),
        (
            MessageDelivered("msg-1", "cnv_1", "usr_1", 7),
            ("message_delivered", '["msg-1","usr_1"]', "", True, "cnv_1", "msg-1", 7),
        ),
        (
            MessageDelivered("msg-1", "cnv_1", None, None),
            ("message_delivered", '["msg-1",""]', "", True, "cnv_1", "msg-1", None),
        ),
        (
            SignalReceived("friend.added", "u", 1, "evt-1", ()),
            ("signal_received", '["evt-1"]', "", True, None, None, None),
        ),
        *(
            (event, (kind, '["r"]', "", True, "cnv_1", None, None))
            for event, kind in (
                (PermissionRequested("cnv_1", "r", None, None, None, 5), "permission_requested"),
                (PermissionDecided("cnv_1", "r", None, "approved", None), "permission_decided"),
                (PermissionResolved("cnv_1", "r", "allow", None), "permission_resolved"),
            )
        ),
        (
            UnknownEvent(UNKNOWN, UNKNOWN.payload),
            ("unknown_event", '["poll.opened","trace-1"]', "", True, "cnv_1", None, 7),
        ),
    ],
)
def test_what_a_row_says_besides_its_text(event: AppEvent, row: tuple[Any, ...]) -> None:
    found = event_row(event)
    kind, key, content, final, chat_id, message_id, at_ms = row
    assert (found.kind, found.key, found.final, found.chat_id, found.message_id, found.at_ms) == (
        kind,
        key,
        final,
        chat_id,
        message_id,
        at_ms,
    )
    assert content is None or found.content == content
    assert event_from_text(found.text) == event


def test_an_event_without_a_key_is_known_by_its_text_and_history_by_its_contents() -> None:
    typing = event_row(TypingChanged("cnv_1", "usr_1", True))
    assert (typing.kind, typing.key, typing.final, len(typing.content)) == ("typing_changed", None, True, 32)
    assert event_from_text(typing.text) == TypingChanged("cnv_1", "usr_1", True)
    assert typing.content == hashlib.blake2b(typing.text.encode(), digest_size=16).hexdigest()
    piece = HistoryReceived("k", {"a": 1}, None)
    row = event_row(piece)
    assert (row.kind, row.content, row.final) == ("history_received", "", True)
    assert row.key is not None and len(row.key) == 36 and event_from_text(row.text) == piece


@pytest.mark.rule("READ-4")
@pytest.mark.parametrize(
    ("before", "now", "word"), [(None, None, "same"), (None, 1, "changed"), (1, None, "older"), (0, None, "same")]
)
def test_a_mark_without_an_instant_is_the_lowest(before: int | None, now: int | None, word: str) -> None:
    row = evolve(event_row(ReadMarkMoved("cnv_1", 1)), at_ms=now)
    assert verdict(row, KnownRow("", True, before)) == word


def test_a_key_is_the_same_in_every_version() -> None:
    """It is in the files of users, too."""
    reaction = event_row(ReactionChanged("cnv_1", "msg-1", "usr_1", "👍"))
    assert (message_key("msg-1"), reaction.key) == ('["msg-1"]', '["msg-1","usr_1"]')
    assert reaction.final


@pytest.mark.rule("STREAM-14", "RECALL-1", "READ-4")
def test_which_of_two_events_a_row_holds_in_the_end() -> None:
    recall, provisional = MessageRecalled("cnv_1", "msg-1"), with_message(stream_merged=True)
    other = with_message(fragments=(TextFragment("ho"),))
    replaced: list[tuple[AppEvent, AppEvent]] = [(recall, MESSAGE), (other, MESSAGE), (MESSAGE, provisional)]
    kept: list[tuple[AppEvent, AppEvent]] = [(MESSAGE, recall), (MESSAGE, MESSAGE), (provisional, MESSAGE)]
    assert all(replaces(later, earlier) for later, earlier in replaced)
    assert not any(replaces(later, earlier) for later, earlier in kept)
    assert replaces(ReadMarkMoved("cnv_1", 2), ReadMarkMoved("cnv_1", 1))
    assert not replaces(ReadMarkMoved("cnv_1", 1), ReadMarkMoved("cnv_1", 2))


@pytest.mark.rule("RX-3")
def test_a_reaction_is_filed_by_its_slot() -> None:
    put = ReactionChanged("cnv_1", "msg-1", "usr_1", "👍")
    row = event_row(put)
    assert (row.message_id, row.chat_id) == ("msg-1", "cnv_1")
    assert verdict(event_row(evolve(put, own=True)), known(row)) == "same"
    for other in (evolve(put, emoji="🎉"), evolve(put, emoji=None), evolve(put, emoji="None")):
        assert event_row(other).key == row.key and verdict(event_row(other), known(row)) == "changed"
    for other in (evolve(put, target_message_id="msg-2"), evolve(put, reactor_user_id="usr_2")):
        assert event_row(other).key != row.key
    one, two = ReactionChanged("c", "a:b", "c", "x"), ReactionChanged("c", "a", "b:c", "x")
    assert event_row(one).key != event_row(two).key


@pytest.mark.rule("READ-4")
def test_read_marks_rise() -> None:
    row = event_row(ReadMarkMoved("cnv_1", 100))
    assert verdict(event_row(ReadMarkMoved("cnv_1", 101)), known(row)) == "changed"
    assert verdict(event_row(ReadMarkMoved("cnv_1", 100)), known(row)) == "same"
    assert verdict(event_row(ReadMarkMoved("cnv_1", 99)), known(row)) == "older"


@pytest.mark.rule("NOTIFY-2", "RECALL-1", "DEL-4", "PERM-3", "PERM-9", "EVT-2", "R2-27")
@pytest.mark.parametrize(
    ("event", "copy"),
    [
        (SignalReceived("friend.added", "u", 1, "evt-1", ("/x",)), SignalReceived("friend.added", "u", 2, "evt-1", ())),
        (MessageRecalled("cnv_1", "msg-1"), MessageRecalled("", "msg-1")),
        (MessageDelivered("msg-1", "cnv_1", "usr_1", 5), MessageDelivered("msg-1", None, "usr_1", 9)),
        (PermissionRequested("c", "r", None, None, {}, None), PermissionRequested("c", "r", None, None, None, 5)),
        (PermissionResolved("c", "r", "allow", None), PermissionResolved("c", "r", None, None, expired=True)),
        (PermissionDecided("c", "r", None, "approved", None), PermissionDecided("c", "r", None, "denied", None)),
        (UnknownEvent(UNKNOWN, UNKNOWN.payload), UnknownEvent(evolve(UNKNOWN, dseq=9), UNKNOWN.payload)),
        (HistoryReceived("k", {"a": 1, "b": 2}, None), HistoryReceived("k", {"b": 2, "a": 1}, Peer("usr_1"))),
    ],
    ids=lambda event: type(event).__name__,
)  # fmt: skip
def test_what_counts_once_counts_once(event: AppEvent, copy: AppEvent) -> None:
    assert event_row(event).key == event_row(copy).key is not None
    assert verdict(event_row(copy), known(event_row(event))) == "same"


def test_other_pieces_of_history_are_other_events() -> None:
    piece = HistoryReceived("k", {"a": 1}, None)
    others: list[dict[str, Any]] = [{}, {"kind": "l"}, {"data": {}}, {"ciphertext_fragments": [1]}]
    keys = {event_row(evolve(piece, **other)).key for other in others}
    assert len(keys) == 4


@pytest.mark.parametrize(
    "event",
    [
        TypingChanged("cnv_1", "usr_1", True),
        HistoryTruncated(5),
        PermissionResolved("cnv_1", "", "deny", "policy"),
        UnknownEvent(evolve(UNKNOWN, trace_id=""), UNKNOWN.payload),
    ],
)  # fmt: skip
def test_what_has_no_name_is_news_each_time(event: AppEvent) -> None:
    row = event_row(event)
    assert row.key is None and row.content == event_row(event).content and event_from_text(row.text) == event


@given(st.text(), st.text())
def test_what_is_bound_can_be_stored_everywhere(chat_id: str, message_id: str) -> None:
    row = event_row(
        evolve(MESSAGE, chat_id=f"{chat_id}\0\ud800", message=evolve(MESSAGE.message, message_id=message_id))
    )
    for text in (row.key, row.chat_id, row.message_id, row.text):
        assert text is not None and "\0" not in text and text.encode("utf-8") is not None
    assert row.key == message_key(message_id)
    assert storable("a\0b\ud83d\ude00\ud800") == "a\ufffdb😀\ufffd"
