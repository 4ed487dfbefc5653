"""Streams of others: put together, checked, repaired, and always brought to an end."""

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from clawproto.app_events import (
    AppEvent,
    MessageReceived,
    StreamDiscarded,
    StreamFinished,
    StreamGrew,
    StreamStarted,
)
from clawproto.config import Capabilities
from clawproto.effects import Emit, SendFrame
from clawproto.json_types import Json
from clawproto.policy import Policy
from clawproto.wire.values import MentionFragment, TextFragment
from tests.core.harness import of
from tests.core.link_harness import CHAT, SENDER, LinkBench, message_payload, v2

ME: dict[str, Json] = {"id": "usr_agent", "type": "direct"}
STREAM_EVENTS = (StreamStarted, StreamGrew, StreamFinished, StreamDiscarded)


def say(bench: LinkBench, event: str, message_id: str = "msg-1", **payload: Any) -> list[AppEvent]:
    """One of the four events; returns what the application was told."""
    envelope = {"chat_id": CHAT, "chat_type": "direct", "sender": SENDER, **payload.pop("envelope", {})}
    return [one.event for one in of(bench.down(event, {"message_id": message_id, **payload}, **envelope), Emit)]


def add(bench: LinkBench, sequence: int, text: str, delta: str | None, **more: Any) -> list[AppEvent]:
    fragment: dict[str, Json] = {"kind": "text", "text": text}
    if delta is not None:
        fragment["delta"] = delta
    return say(bench, "message.add", sequence=sequence, fragments=[fragment], **more)


def done(bench: LinkBench, text: str, **more: Any) -> list[AppEvent]:
    return say(bench, "message.done", fragments=[{"kind": "text", "text": text}], **more)


def grown(events: list[AppEvent]) -> list[tuple[str | None, str]]:
    return [(event.delta, event.text) for event in events if isinstance(event, StreamGrew)]


@pytest.mark.rule("STREAM-9", "STREAM-1")
def test_a_stream_from_beginning_to_end() -> None:
    bench = LinkBench()
    (started,) = say(bench, "message.created", message_mode="normal")
    assert isinstance(started, StreamStarted)
    assert (started.chat_id, started.message_id, started.own, started.joined) == (CHAT, "msg-1", False, False)
    assert started.sender is not None and started.sender.id == "usr_friend"
    assert grown(add(bench, 0, "Hel", "Hel")) == [("Hel", "Hel")]
    assert grown(add(bench, 1, "Hello", "lo")) == [("lo", "Hello")]
    (finished,) = done(bench, "Hello.")
    assert isinstance(finished, StreamFinished) and finished.text == "Hello."
    assert len(bench.state.streams.followed) == 0 and bench.state.streams.due.first() is None


@pytest.mark.rule("STREAM-9", "STREAM-5")
@pytest.mark.parametrize(
    ("sequence", "text", "delta"),
    [
        (1, "Hello", "l"),  # the sum does not add up
        (1, "Halp", "p"),  # what was there before has changed
        (1, "Hello", None),  # it does not say
        (2, "Hello", "lo"),  # a piece is missing
        (1, "H", ""),  # it has shrunk
    ],
)
def test_where_the_pieces_do_not_add_up_the_whole_text_counts(sequence: int, text: str, delta: str | None) -> None:
    bench = LinkBench()
    say(bench, "message.created")
    add(bench, 0, "Hel", "Hel")
    assert grown(add(bench, sequence, text, delta)) == [(None, text)]
    assert grown(add(bench, sequence + 1, f"{text}!", "!")) == [("!", f"{text}!")], "from there on they fit again"


@pytest.mark.rule("STREAM-9")
def test_pieces_that_come_again_or_too_late_change_nothing() -> None:
    bench = LinkBench()
    say(bench, "message.created")
    add(bench, 0, "a", "a")
    add(bench, 1, "ab", "b")
    for sequence in (1, 0, -1):
        assert add(bench, sequence, "x", "x") == []
    assert say(bench, "message.created") == []
    assert grown(add(bench, 2, "abc", "c")) == [("c", "abc")]


@pytest.mark.rule("STREAM-9", "RPL-9")
def test_a_stream_whose_beginning_was_missed_is_joined() -> None:
    bench = LinkBench()
    started, grew = add(bench, 7, "so far", "far")
    assert isinstance(started, StreamStarted) and started.joined
    assert isinstance(grew, StreamGrew) and (grew.delta, grew.text) == (None, "so far")
    bench.reconnect()
    assert grown(add(bench, 9, "so far so good", " good")) == [(None, "so far so good")]
    (finished,) = done(LinkBench(), "never seen before")
    assert isinstance(finished, StreamFinished)


@pytest.mark.rule("STREAM-10")
def test_a_failed_stream_is_discarded() -> None:
    bench = LinkBench()
    say(bench, "message.created")
    add(bench, 0, "a", "a")
    (discarded,) = say(bench, "message.failed", fragments=[])
    assert isinstance(discarded, StreamDiscarded) and discarded.cause == "failed"
    assert len(bench.state.streams.followed) == 0
    assert say(bench, "message.failed") == [], "of what is not shown there is nothing to discard"


def test_several_fragments_and_fragments_that_come_later() -> None:
    bench = LinkBench()
    one: dict[str, Json] = {"kind": "text", "text": "a", "delta": "a"}
    image: dict[str, Json] = {"kind": "image", "url": "https://h/1"}
    say(bench, "message.created")
    assert grown(say(bench, "message.add", sequence=0, fragments=[one])) == [("a", "a")]
    two: list[Json] = [{**one, "delta": ""}, image, {"kind": "text", "text": "b", "delta": "b"}]
    (grew,) = say(bench, "message.add", sequence=1, fragments=two)
    assert isinstance(grew, StreamGrew) and (grew.delta, grew.text, len(grew.fragments)) == ("b", "ab", 3)
    front: list[Json] = [{**one, "text": "aa"}, image, {"kind": "text", "text": "b", "delta": ""}]
    assert grown(say(bench, "message.add", sequence=2, fragments=front)) == [(None, "aab")], "no growth at the end"
    assert grown(say(bench, "message.add", sequence=3, fragments=[])) == [(None, "")]


@pytest.mark.rule("STREAM-12", "STREAM-14")
def test_a_message_takes_the_place_of_its_stream() -> None:
    bench = v2()
    say(bench, "message.created")
    add(bench, 0, "draft", "draft")
    done(bench, "draft")
    bench.message("msg-1", "polished")
    ((event, _),) = bench.delivered()
    assert event.streamed and not event.update and event.text == "polished"
    bench.stamped("message.reply", message_payload("msg-1", "draft", stream_merged=True), chat_id=CHAT, sender=SENDER)
    assert len(bench.delivered()) == 1, "nothing provisional after the author's own word"
    bench.message("msg-2")
    assert not bench.delivered()[-1][0].streamed


@pytest.mark.rule("STREAM-12")
def test_a_message_ends_a_stream_whose_end_was_lost() -> None:
    bench = LinkBench()
    add(bench, 0, "draft", "draft")
    bench.message("msg-1", "polished")
    assert bench.delivered()[-1][0].streamed
    assert len(bench.state.streams.followed) == 0
    assert not bench.run_for(3_600_000) or not bench.told(StreamDiscarded)


def test_a_stream_belongs_to_its_author() -> None:
    bench = LinkBench()
    add(bench, 0, "mine", "mine")
    other = {"sender": {"id": "usr_other"}}
    (started, grew) = add(bench, 0, "yours", "yours", envelope=other)
    assert isinstance(started, StreamStarted) and isinstance(grew, StreamGrew) and grew.text == "yours"
    done(bench, "yours", envelope=other)
    assert grown(add(bench, 1, "mine!", "!")) == [("!", "mine!")]


@pytest.mark.rule("RECALL-1")
def test_a_recall_in_the_middle_discards_it() -> None:
    bench = LinkBench()
    add(bench, 0, "a", "a")
    bench.down("message.recall", {"message_id": "rcl:msg-1", "target_message_id": "msg-1"}, chat_id=CHAT)
    assert [event.cause for event in bench.told(StreamDiscarded)] == ["recalled"]


@pytest.mark.rule("ROUTE-6")
def test_own_streams_from_another_device_are_marked_and_own_echoes_are_not_told() -> None:
    bench = LinkBench()
    user = {"id": bench.state.tokens.credentials.identity.user_id}  # type: ignore[union-attr]
    sibling = {"sender": user, "origin_device_id": "other-device"}
    (started,) = say(bench, "message.created", envelope=sibling)
    assert isinstance(started, StreamStarted) and started.own
    (finished,) = done(bench, "x", envelope=sibling)
    assert isinstance(finished, StreamFinished) and finished.own
    echo = {"sender": user, "origin_device_id": bench.state.link.device_id}
    assert say(bench, "message.created", "msg-9", envelope=echo) == []


@pytest.mark.rule("RPL-9")
def test_a_stream_that_falls_silent_is_discarded() -> None:
    bench = LinkBench(policy=Policy(stream_silence_ms=17_000))  # nothing else falls due then
    add(bench, 0, "a", "a")
    bench.run_for(4_000)
    add(bench, 1, "ab", "b")
    bench.run_for(16_999)
    assert not bench.told(StreamDiscarded)
    bench.run_for(1)
    assert [event.cause for event in bench.told(StreamDiscarded)] == ["silent"]
    assert len(bench.state.streams.followed) == 0


def test_the_oldest_makes_room() -> None:
    bench = LinkBench(policy=Policy(streams_followed=3))
    for number in range(5):
        say(bench, "message.created", f"msg-{number}")
    assert [(event.message_id, event.cause) for event in bench.told(StreamDiscarded)] == [
        ("msg-0", "crowded"),
        ("msg-1", "crowded"),
    ]
    assert len(bench.state.streams.followed) == 3


@pytest.mark.rule("STREAM-9", "STREAM-10", "RECALL-1")
@pytest.mark.parametrize("begin", ["created", "joined"])
@pytest.mark.parametrize("end", ["failed", "crowded", "recalled", "silent"])
def test_the_author_is_named_from_beginning_to_end(begin: str, end: str) -> None:
    bench = LinkBench(policy=Policy(streams_followed=1, stream_silence_ms=5_000))
    if begin == "created":
        say(bench, "message.created")
    add(bench, 3, "a", "a")
    if end == "failed":
        say(bench, "message.failed")
    elif end == "crowded":
        say(bench, "message.created", "msg-2")
    elif end == "recalled":
        bench.down("message.recall", {"message_id": "rcl:msg-1", "target_message_id": "msg-1"}, chat_id=CHAT)
    else:
        bench.run_for(5_000)
    told = [effect.event for effect in bench.all(Emit)]
    ours = [event for event in told if isinstance(event, STREAM_EVENTS) and event.message_id == "msg-1"]
    assert [type(event) for event in ours] == [StreamStarted, StreamGrew, StreamDiscarded]
    assert all(event.sender is not None and event.sender.id == "usr_friend" for event in ours)
    assert isinstance(add(bench, 4, "ab", "b")[0], StreamStarted), "it is forgotten"


@pytest.mark.rule("STREAM-9")
@pytest.mark.parametrize(("sequence", "joined"), [(0, False), (1, True), (2, True)])
def test_only_the_first_piece_is_a_beginning(sequence: int, joined: bool) -> None:
    started, _ = add(LinkBench(), sequence, "a", "a")
    assert isinstance(started, StreamStarted) and started.joined is joined


@pytest.mark.rule("ROUTE-6")
def test_a_stream_of_nowhere_is_told_as_such() -> None:
    bench = LinkBench()
    for events in (say(bench, "message.created", envelope={"chat_id": ""}), add(bench, 0, "a", "a")):
        (event,) = events
        assert isinstance(event, StreamStarted | StreamGrew) and event.chat_id == ""


@pytest.mark.rule("RPL-9")
@pytest.mark.parametrize("begin", ["created", "joined"])
def test_each_stream_that_falls_silent_is_discarded(begin: str) -> None:
    bench = LinkBench(policy=Policy(stream_silence_ms=5_000))
    for message_id in ("msg-1", "msg-2", "msg-3"):
        if begin == "created":
            say(bench, "message.created", message_id)
        else:
            say(bench, "message.add", message_id, sequence=4, fragments=[{"kind": "text", "text": "a", "delta": "a"}])
    bench.run_for(5_000)
    assert [event.message_id for event in bench.told(StreamDiscarded)] == ["msg-1", "msg-2", "msg-3"]


@pytest.mark.rule("STREAM-9", "STREAM-5")
def test_several_texts_grow_at_the_end_and_never_become_fewer() -> None:
    bench = LinkBench()

    def texts(sequence: int, *parts: tuple[str, str]) -> list[tuple[str | None, str]]:
        fragments: list[Json] = [{"kind": "text", "text": text, "delta": delta} for text, delta in parts]
        return grown(say(bench, "message.add", sequence=sequence, fragments=fragments))

    say(bench, "message.created")
    assert texts(0, ("a", "a"), ("b", "b")) == [("ab", "ab")]
    assert texts(1, ("a", ""), ("bc", "c")) == [("c", "abc")]
    assert texts(2, ("abcd", "bcd")) == [(None, "abcd")], "one text is gone, though the sum begins in the same way"


@pytest.mark.rule("DEL-2")
def test_streams_earn_no_receipt() -> None:
    bench = LinkBench(capabilities=Capabilities(delivery_receipt=True))
    say(bench, "message.created")
    add(bench, 0, "a", "a")
    done(bench, "a")
    assert not bench.uplinks("message.delivered")
    bench.message("msg-1", "a")
    assert len(bench.uplinks("message.delivered")) == 1


@pytest.mark.rule("R2-8", "STREAM-9")
def test_a_stamped_piece_is_settled_like_any_other_frame() -> None:
    bench = v2()
    payload: dict[str, Json] = {"message_id": "msg-1"}
    bench.stamped("message.created", payload, chat_id=CHAT, sender=SENDER)
    bench.message("msg-2")
    ((_, delivery),) = bench.delivered()
    bench.settle(delivery)
    bench.run_for(200)
    assert [one["payload"]["dseq"] for one in bench.uplinks("message.sync_ack")] == [2]


Piece = tuple[int, str, str]


@settings(max_examples=200)
@given(
    st.lists(st.text(max_size=5), min_size=1, max_size=12),
    st.lists(st.integers(0, 11), max_size=20),
)
def test_what_is_shown_is_always_the_newest_text(words: list[str], order: list[int]) -> None:
    """Pieces may be lost, repeated and reordered: following the deltas, and replacing where there is none, shows the
    text of the newest piece that came."""
    texts = ["".join(words[: number + 1]) for number in range(len(words))]
    bench = LinkBench()
    bench.liveness = False
    shown, newest = "", -1
    for index in [one for one in order if one < len(words)]:
        for event in add(bench, index, texts[index], words[index]):
            if isinstance(event, StreamGrew):
                shown = event.text if event.delta is None else shown + event.delta
        newest = max(newest, index)
        assert shown == texts[newest]
    in_order = LinkBench()
    in_order.liveness = False
    deltas = [
        event.delta
        for index, word in enumerate(words)
        for event in add(in_order, index, texts[index], word)
        if isinstance(event, StreamGrew)
    ]
    assert deltas == words


def test_no_stream_event_makes_us_write_anything() -> None:
    bench = LinkBench()
    before = len(bench.all(SendFrame))
    for event in ("message.created", "message.done", "message.failed"):
        say(bench, event, fragments=[])
    add(bench, 0, "a", "a")
    assert len(bench.all(SendFrame)) == before
    assert not bench.told(MessageReceived)


def test_the_text_of_a_finished_stream_is_that_of_its_texts() -> None:
    pieces = TextFragment("Hello "), MentionFragment("usr_2"), TextFragment("you")
    assert StreamFinished(CHAT, "msg-1", None, pieces).text == "Hello you"
