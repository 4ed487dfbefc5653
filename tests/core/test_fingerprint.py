"""The digest that tells a repeated message from a changed one."""

import json

import pytest
from hypothesis import given, strategies as st

from clawproto.fingerprint import fingerprint
from clawproto.wire.values import (
    Fragment,
    MediaFragment,
    Mention,
    MentionFragment,
    MessagePayload,
    Reply,
    TextFragment,
    UnknownFragment,
)

words = st.sampled_from(["", "a", "b", "ab", "1:a", "mention", "é", "\ud800", "normal"])
optional = st.one_of(st.none(), words)
sizes = st.one_of(st.none(), st.integers(0, 1), st.just(2**40))
objects = st.dictionaries(words, st.one_of(optional, st.booleans(), sizes, st.lists(words, max_size=2)), max_size=2)
fragments: st.SearchStrategy[tuple[Fragment, ...]] = st.lists(
    st.one_of(
        st.builds(TextFragment, words, optional),
        st.builds(MentionFragment, optional, optional),
        st.builds(MediaFragment, words, words, optional, optional, sizes, sizes, sizes, sizes),
        st.builds(UnknownFragment, words, objects),
    ),
    max_size=3,
).map(tuple)
payloads = st.builds(
    MessagePayload,
    st.just("msg-1"),
    words,
    fragments,
    st.lists(st.builds(Mention, words, optional), max_size=2).map(tuple),
    st.one_of(st.none(), st.builds(Reply, words, optional, optional, fragments)),
    st.booleans(),
    st.one_of(st.none(), objects),
)


def said(payload: MessagePayload) -> str:
    """All that counts; as text, since ``1 == True``."""
    return repr((payload.message_mode, payload.fragments, payload.mentions, payload.reply, payload.metadata))


@given(payloads, payloads)
@pytest.mark.rule("R2-10", "SEND-19")
def test_equal_for_what_says_the_same_and_for_nothing_else(one: MessagePayload, other: MessagePayload) -> None:
    assert (fingerprint(one) == fingerprint(other)) == (said(one) == said(other))


@pytest.mark.rule("R2-10")
def test_the_same_words_in_other_places_are_another_message() -> None:
    variants: list[tuple[Fragment, ...]] = [
        (),
        (TextFragment("ab"),),
        (TextFragment("a", "b"),),
        (TextFragment("a"), TextFragment("b")),
        (MentionFragment("a", "b"),),
        (MediaFragment("a", "b"),),
        (MediaFragment("mention", "a", "b"),),
        (UnknownFragment("a", {"b": 1}),),
        (UnknownFragment("a", {"b": True}),),
    ]
    payloads = [MessagePayload("m", mode, some, ()) for some in variants for mode in ("", "a", "ab")]
    assert len({fingerprint(payload) for payload in payloads}) == len(payloads)


@pytest.mark.rule("R2-10")
def test_a_repeated_string_counts_like_any_other() -> None:
    """Whether two fields hold one object or two equal ones is nobody's business."""
    one = "text" * 3
    same, equal = (one, one), (one, json.loads(f'"{one}"'))
    made = [MessagePayload("m", "", tuple(TextFragment(part, "x") for part in parts), ()) for parts in (same, equal)]
    assert fingerprint(made[0]) == fingerprint(made[1])


DIGESTS: list[tuple[MessagePayload, int]] = [
    (MessagePayload("m", "normal", (TextFragment("hello"),), ()), 8745398394916861658),
    (MessagePayload("m", "normal", (TextFragment("half of a pair: \ud83d"),), ()), 8841023319576824234),
    (
        MessagePayload("m", "normal", (MentionFragment("usr_1", "Ann"), MentionFragment("usr_2", None)), ()),
        11940284910255781795,
    ),
    (MessagePayload("m", "", (UnknownFragment("poll", {"options": [1, 2]}),), ()), 12701121645753532828),
    (
        MessagePayload(
            "m",
            "normal",
            (TextFragment("é"), MediaFragment("image", "/m", size=2**33)),
            (Mention("u"),),
            metadata={"a": [1]},
        ),
        2427524543237455306,
    ),
]


@pytest.mark.rule("R2-10")
@pytest.mark.parametrize(("message", "digest"), DIGESTS, ids=["text", "surrogate", "mentions", "unknown", "rich"])
def test_it_is_the_same_in_every_process_and_version(message: MessagePayload, digest: int) -> None:
    """It stands in journals, which are replayed elsewhere."""
    assert fingerprint(message) == digest
