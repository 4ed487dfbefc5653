"""Events as text: lossless for everything, tolerant of later versions, and damage is noticed."""

import json
import string
from collections.abc import Mapping
from contextlib import suppress
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs
import pytest
from hypothesis import given, settings, strategies as st

from clawproto.app_events import (
    AppEvent,
    FrameRejected,
    HistoryReceived,
    MessageReceived,
    ReadMarkMoved,
    TypingChanged,
    UnknownEvent,
)
from clawproto.event_text import UnreadableEvent, event_from_text, event_to_text, kind_of
from clawproto.wire.codec import decode
from clawproto.wire.values import (
    Frame,
    MediaFragment,
    MessagePayload,
    OpaquePayload,
    Peer,
    Reply,
    TextFragment,
    UnknownFragment,
)

# --- every event, by the types of its fields -----------------------------------------------------------------------

# Half of a surrogate pair is what a text can hold and UTF-8 cannot.
TEXTS = st.text(alphabet=st.one_of(st.characters(), st.sampled_from("\0\ud800\udfff\u2028é😀")), max_size=12)
NUMBERS = st.integers(-(2**200), 2**200)
FLOATS = st.floats(allow_nan=False)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, FLOATS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)


def of_hint(hint: Any) -> st.SearchStrategy[Any]:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        options = get_args(hint)
        if any(get_origin(option) is dict for option in options):
            return JSON
        return st.one_of(*(of_hint(option) for option in options))
    if origin is Literal:
        return st.sampled_from(get_args(hint))
    if origin is tuple:
        return st.lists(of_hint(get_args(hint)[0]), max_size=3).map(tuple)
    if origin is Mapping:
        return st.dictionaries(TEXTS, JSON, max_size=3)
    if attrs.has(hint):
        return of_class(hint)
    simple = {str: TEXTS, int: NUMBERS, bool: st.booleans(), bytes: st.binary(max_size=9), NoneType: st.none()}
    return simple[hint]


def of_class(type_: Any) -> st.SearchStrategy[Any]:
    hints = get_type_hints(type_)
    return st.builds(type_, **{field.name: of_hint(hints[field.name]) for field in attrs.fields(type_) if field.init})


EVENTS: list[Any] = list(get_args(AppEvent))


@pytest.mark.rule("R2-10", "R2-27", "CAP-6")
@pytest.mark.parametrize("type_", EVENTS, ids=lambda type_: type_.__name__)
def test_every_event_comes_back_as_it_was(type_: Any) -> None:
    @settings(max_examples=60, deadline=None)
    @given(of_class(type_))
    def check(event: AppEvent) -> None:
        text = event_to_text(event)
        assert "\n" not in text and "\0" not in text and text.encode("utf-8")
        back = event_from_text(text)
        assert back == event and type(back) is type(event) and repr(back) == repr(event)
        assert event_to_text(back) == text
        json.loads(text, parse_constant=pytest.fail)  # JSON to the letter

    check()


def test_no_two_events_have_one_name() -> None:
    assert len({kind_of(attrs_free) for attrs_free in map(object.__new__, EVENTS)}) == len(EVENTS)


# --- the form ------------------------------------------------------------------------------------------------------

MESSAGE = MessageReceived(
    event="message.send",
    chat_id="cnv_1",
    chat_type="direct",
    sender=Peer("usr_1"),
    message=MessagePayload(
        "msg-1",
        "normal",
        (
            TextFragment("hi"),
            MediaFragment("image", "/m/1", size=5),
            UnknownFragment("poll", {"is": "peer", "n": [1, 1.0, True, float("inf"), float("-inf")]}),
        ),
        (),
        reply=Reply("msg-0"),
        metadata={},
    ),
    own=False,
    system=False,
    update=False,
    conversational=True,
    emitted_at_ms=5,
)


def test_the_form_is_what_stores_hold_for_years() -> None:
    """Texts of this form are in the files of users: a change of this test breaks them."""
    text = (
        '{"v":1,"is":"message_received","event":"message.send","chat_id":"cnv_1","chat_type":"direct",'
        '"sender":{"is":"peer","id":"usr_1"},"message":{"is":"message_payload","message_id":"msg-1",'
        '"message_mode":"normal","fragments":[{"is":"text_fragment","text":"hi"},{"is":"media_fragment",'
        '"kind":"image","url":"/m/1","size":5},{"is":"unknown_fragment","kind":"poll","data":{"is":"peer",'
        '"n":[1,1.0,true,1e999,-1e999]}}],"mentions":[],"reply":{"is":"reply","message_id":"msg-0"},"metadata":{}},'
        '"own":false,"system":false,"update":false,"conversational":true,"emitted_at_ms":5}'
    )
    assert event_to_text(MESSAGE) == text
    assert event_from_text(text) == MESSAGE


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        event_to_text(HistoryReceived("k", {"x": float("nan")}, None))


@pytest.mark.rule("EVT-2")
def test_an_unknown_event_keeps_its_frame() -> None:
    frame = decode(
        '{"version":"2","event":"poll.opened","trace_id":"t","payload":{"a":[1,{"b":null}]},"dseq":4}', 9_999
    )
    assert isinstance(frame, Frame)
    event = UnknownEvent(frame, frame.payload)
    assert event_from_text(event_to_text(event)) == event


@pytest.mark.rule("R2-11")
def test_a_rejected_frame_keeps_its_bytes_and_its_message() -> None:
    for frame, message in ((b"\xff\x00{", None), ("{", None), (None, MESSAGE)):
        event = FrameRejected("message.send", "not-utf8", "…", 3, frame, message)
        assert event_from_text(event_to_text(event)) == event


# --- later versions ------------------------------------------------------------------------------------------------


def changed(**members: Any) -> str:
    return json.dumps({**json.loads(event_to_text(MESSAGE)), **members})


def test_fields_of_a_later_version_are_passed_over() -> None:
    message = {**json.loads(event_to_text(MESSAGE))["message"], "later": {"is": "later"}}
    assert event_from_text(changed(later=[1], message=message)) == MESSAGE


@pytest.mark.rule("FRAG-3")
def test_a_fragment_of_a_later_version_is_an_unknown_one() -> None:
    message = {**json.loads(event_to_text(MESSAGE))["message"], "fragments": [{"is": "poll_fragment", "n": 1}]}
    event = event_from_text(changed(message=message))
    assert isinstance(event, MessageReceived)
    assert event.message.fragments == (UnknownFragment("poll_fragment", {"is": "poll_fragment", "n": 1}),)


@pytest.mark.parametrize("members", [{"is": "poll_opened"}, {"v": 2}])
def test_an_event_of_a_later_version_is_kept_whole(members: dict[str, Any]) -> None:
    event = event_from_text(changed(**members))
    assert isinstance(event, UnknownEvent) and isinstance(event.payload, OpaquePayload)
    assert event.frame.event == members.get("is", "message_received") and event.frame.payload == event.payload
    assert event.payload.data["message"] == json.loads(event_to_text(MESSAGE))["message"]


# --- damage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "has no version"),
        ('{"is":"typing_changed"}', "has no version"),
        ('{"v":"1","is":"typing_changed"}', "has no version"),
        ('{"v":true,"is":"typing_changed"}', "has no version"),
        ('{"v":1}', "does not say what it is"),
        ('{"v":1,"is":5}', "does not say what it is"),
        ('{"v":1,"is":"read_mark_moved","chat_id":"c"}', "read_mark_moved.read_up_to_ms is missing"),
        (changed(own=0), "message_received.own has a wrong type"),
        (changed(chat_id=None), "message_received.chat_id has a wrong type"),
        (changed(emitted_at_ms=1.0), "message_received.emitted_at_ms has a wrong type"),
        (changed(emitted_at_ms=True), "message_received.emitted_at_ms has a wrong type"),
        (changed(sender={"id": "usr_1"}), "message_received.sender has a wrong type"),
        (changed(sender={"is": "peer"}), "peer.id is missing"),
        (changed(sender={"is": "mention"}), "message_received.sender has a wrong type"),
        (changed(sender={"is": "none_type"}), "message_received.sender has a wrong type"),
        (changed(chat_id={"is": "str"}), "message_received.chat_id has a wrong type"),
        (changed(message=[]), "message_received.message has a wrong type"),
        ('{"v":1,"is":"frame_rejected","event":null,"problem":"p","excerpt":"","dropped":1,"frame":{"base64":"é"}}',
         "frame_rejected.frame has a wrong type"),
        ('{"v":1,"is":"frame_rejected","event":null,"problem":"p","excerpt":"","dropped":1,"frame":{"base64":"e!30="}}',
         "frame_rejected.frame has a wrong type"),
        ('{"v":1,"is":"stream_discarded","chat_id":"c","message_id":"m","sender":null,"cause":"bored"}',
         "stream_discarded.cause has a wrong type"),
    ],
)  # fmt: skip
def test_damage_is_named_and_not_quoted(text: str, problem: str) -> None:
    with pytest.raises(UnreadableEvent, match=problem) as caught:
        event_from_text(text)
    assert caught.value.__cause__ is None


@given(st.integers(0, 10_000), st.sampled_from(string.printable))
@settings(max_examples=400, deadline=None)
def test_whatever_is_in_the_file_is_an_event_or_an_error(position: int, put: str) -> None:
    for event in (MESSAGE, ReadMarkMoved("c", 5), TypingChanged("c", "u", True)):
        text = event_to_text(event)
        where = position % len(text)
        with suppress(UnreadableEvent):
            event_from_text(text[:where] + put + text[where + 1 :])
