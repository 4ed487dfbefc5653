"""Mentions in both carriers."""

import json

import pytest

from clawproto.mentions import EVERYONE, compose, is_mentioned, mentioned_users
from clawproto.wire.codec import decode, encode_envelope, encode_message_payload
from clawproto.wire.values import Frame, Mention, MessagePayload


def received(fragments: object, mentions: object) -> MessagePayload:
    """What a receiver makes of these two carriers."""
    payload = {"message_id": "m", "message": {"body": {"fragments": fragments}, "context": {"mentions": mentions}}}
    text = json.dumps({"version": "2", "event": "message.send", "payload": payload})
    frame = decode(text, 1_000_000)
    assert isinstance(frame, Frame) and isinstance(frame.payload, MessagePayload)
    return frame.payload


@pytest.mark.rule("MENT-1", "MENT-6", "LEGACY-7")
def test_both_carriers_say_the_same() -> None:
    fragments, mentions = compose(
        "Ask ", Mention("usr_d", "@Dora"), " or ", Mention("usr_e"), " and ", Mention("usr_d")
    )
    assert [part["kind"] for part in fragments] == ["text", "mention", "text", "mention", "text", "mention"]
    assert mentions == (
        {"kind": "mention", "user_id": "usr_d", "display": "Dora"},
        {"kind": "mention", "user_id": "usr_e"},
    )
    assert [part["user_id"] for part in fragments if part["kind"] == "mention"] == ["usr_d", "usr_e", "usr_d"]
    assert fragments[1]["display"] == "Dora"


@pytest.mark.rule("MENT-1", "MENT-6", "MENT-4")
def test_what_was_composed_arrives() -> None:
    fragments, mentions = compose("hi ", Mention("usr_d", "Dora"))
    payload_text = encode_message_payload("m", "normal", fragments, mentions, None)
    frame = decode(
        encode_envelope("message.send", trace_id="t", emitted_at=1, payload_text=payload_text, chat_id="cnv_1"),
        1_000_000,
    )
    assert isinstance(frame, Frame) and isinstance(frame.payload, MessagePayload)
    assert frame.payload.mentions == (Mention("usr_d", "Dora"),)
    assert is_mentioned(frame.payload, "usr_d") and not is_mentioned(frame.payload, "usr_e")


@pytest.mark.rule("LEGACY-7", "MENT-1")
@pytest.mark.parametrize("bare", ["usr_d", 5, None, {"user_id": "usr_d"}, {"kind": "mention"}])
def test_an_uplink_carries_objects_only(bare: object) -> None:
    with pytest.raises(ValueError, match="mention"):
        encode_message_payload("m", "normal", [{"kind": "text", "text": "x"}], [bare], None)  # type: ignore[list-item]


def test_a_mention_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="user id"):
        compose(Mention(""))


def test_empty_texts_leave_no_fragment() -> None:
    assert compose("", "x", "") == (({"kind": "text", "text": "x"},), ())


@pytest.mark.rule("MENT-4")
def test_the_union_of_both_carriers_counts() -> None:
    in_body = received([{"kind": "mention", "user_id": "usr_a"}], [])
    in_context = received([{"kind": "text", "text": "x"}], [{"kind": "mention", "user_id": "usr_b"}, "usr_c"])
    assert mentioned_users(in_body) == {"usr_a"}
    assert mentioned_users(in_context) == {"usr_b", "usr_c"}
    assert is_mentioned(in_body, "usr_a") and is_mentioned(in_context, "usr_c") and not is_mentioned(in_body, "usr_b")


@pytest.mark.rule("MENT-3")
@pytest.mark.parametrize(
    ("fragments", "mentions"),
    [([{"kind": "mention", "user_id": "all"}], []), ([{"kind": "text", "text": "x"}], ["all"])],
)
def test_everyone_is_the_reader_too(fragments: object, mentions: object) -> None:
    message = received(fragments, mentions)
    assert is_mentioned(message, "usr_anybody")
    assert mentioned_users(message) == {EVERYONE}


@pytest.mark.rule("MENT-7")
def test_a_name_alone_names_nobody() -> None:
    message = received([{"kind": "mention", "display": "Dora"}], [])
    assert mentioned_users(message) == frozenset()
    assert len(message.fragments) == 1  # it is shown all the same
