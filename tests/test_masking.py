"""What a masked journal has in place of what people wrote: the shape of it, and nothing that could be read."""

import json
from typing import Any

import pytest

from clawproto.app_events import FrameRejected, ReactionChanged
from clawproto.events import (
    AppendStream,
    CallRest,
    FinishStream,
    FrameReceived,
    HttpAnswered,
    OpenStream,
    React,
    Send,
    Tick,
    TransferHistory,
)
from clawproto.http import FileBody, HttpAnswer
from clawproto.json_types import Json
from clawproto.keeping import Arrival, Handled, KeptSend, Quarantined
from clawproto.masking import Masker, mask_text

MASKER = Masker(b"salt")
WORDS: tuple[dict[str, Json], ...] = ({"kind": "text", "text": "Ab 1", "n": 5},)
MASKED: tuple[dict[str, Json], ...] = ({"kind": "text", "text": "Xx 0", "n": 5},)


def downlink(text: str) -> Any:
    """A masked downlink, parsed."""
    return json.loads(MASKER.frame(FrameReceived(1, text)).data)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("", ""),
        ("Hello, World 42!", "Xxxxxx Xxxxx 00x"),
        ('a"b\\c\n\t\x01', 'x"x\\x\n\t\x01'),
        ("äß", "éé"),
        ("\x7f\x80\u07ff\u0800\uffff", "xéé……"),
        ("€漢", "……"),
        ("👍🙂", "🙂🙂"),
        ("\ud800a\udfff", "\ud800x\udfff"),
        ("\ue000", "…"),
        ("\U00010000", "🙂"),
    ],
)
def test_a_text_keeps_its_shape(text: str, masked: str) -> None:
    assert mask_text(text) == masked


@pytest.mark.parametrize("character", ["X", "Z", "\x1f", " ", "\x85"])
def test_white_space_and_what_json_escapes_stay_and_letters_do_not(character: str) -> None:
    assert mask_text(character) == (character if not character.isalpha() else "X")


def test_a_mark_depends_on_what_is_said_and_not_on_the_order_of_its_names() -> None:
    one = downlink('{"event":"message.send","payload":{"a":1,"b":2}}')["payload"]["metadata"]
    other = downlink('{"event":"message.send","payload":{"b":2,"a":1}}')["payload"]["metadata"]
    assert one == other


def test_an_emoji_that_was_kept_has_a_stand_in_wherever_it_is() -> None:
    put = Arrival(ReactionChanged("cnv_1", "msg-1", "usr_1", "Z"))
    masked = MASKER._written(put)  # pyright: ignore[reportPrivateUsage]
    assert masked == Arrival(ReactionChanged("cnv_1", "msg-1", "usr_1", MASKER.tree({"emoji": "Z"})["emoji"]))
    assert masked.event.emoji != "Z"


def test_a_masked_text_is_as_long_as_before_in_utf_8() -> None:
    for text in ("Hello, World 42!", "äß", "\u0800\uffff", "👍"):
        assert len(mask_text(text).encode()) == len(text.encode())


@pytest.mark.parametrize(
    "name", ["version", "event", "chat_id", "kind", "message_id", "reply_to_msg_id", "mime", "scope", "user_id"]
)
def test_names_and_ids_stay_in_a_tree(name: str) -> None:
    assert MASKER.tree({name: "Ab", "title": "Ab", "deep": [{name: ("Ab", 1)}]}) == {
        name: "Ab",
        "title": "Xx",
        "deep": [{name: ("Ab", 1)}],
    }


def test_a_list_is_masked_by_the_name_that_it_has() -> None:
    assert MASKER.tree({"code": ["Ab", ["Cd"]], "title": ["Ab", ("Cd",)], 5: "Ab"}) == {
        "code": ["Ab", ["Cd"]],
        "title": ["Xx", ("Xx",)],
        5: "Xx",
    }


def test_equal_emoji_have_equal_stand_ins_in_this_journal_only() -> None:
    other = Masker(b"another")
    one, same, unlike = (MASKER.tree({"emoji": emoji})["emoji"] for emoji in ("👍", "👍", "👎"))
    assert one == same != unlike and len(one) == len(unlike) == 9 and one.startswith("x")
    assert other.tree({"emoji": "👍"})["emoji"] != one
    longest = "e" * 64
    assert MASKER.tree({"emoji": longest})["emoji"] != longest
    assert MASKER.tree({"emoji": longest + "e"})["emoji"] == longest + "e", "the session refuses it as it is"
    assert MASKER.tree({"emoji": ""})["emoji"] == ""
    assert MASKER.tree({"emoji": "\ud800"})["emoji"].startswith("x")


def test_a_downlink_keeps_names_and_ids() -> None:
    frame: dict[str, Json] = {
        "version": "2",
        "event": "typing.update",
        "chat_id": "cnv_1",
        "sender": {"id": "usr_1", "nick_name": "Ann"},
        "payload": {"is_typing": True, "big": 1.5},
    }
    assert downlink(json.dumps(frame)) == {**frame, "sender": {"id": "usr_1", "nick_name": "Xxx"}}


@pytest.mark.parametrize("event", ["message.send", "message.reply"])
def test_a_masked_message_says_whether_it_is_the_same_again(event: str) -> None:
    def mark(text: str, **metadata: Json) -> Json:
        payload: dict[str, Json] = {"message_id": "m1", "text": text}
        if metadata:
            payload["metadata"] = dict(metadata)
        masked = downlink(json.dumps({"event": event, "payload": payload}))["payload"]
        assert masked["message_id"] == "m1" and masked["text"] == "Xxx"
        found: Json = masked["metadata"]
        return found

    one, same, other = mark("Ann"), mark("Ann"), mark("Bob")
    assert isinstance(one, dict) and list(one) == ["masked"] and one == same != other
    assert isinstance(one["masked"], str) and len(one["masked"]) == 16
    kept = mark("Ann", note="Abc")
    assert isinstance(kept, dict) and kept["note"] == "Xxx" and len(kept) == 2


def test_a_message_whose_metadata_are_none_gets_some() -> None:
    masked = downlink('{"event":"message.send","payload":{"metadata":"Ab"}}')
    assert list(masked["payload"]["metadata"]) == ["masked"]
    assert "metadata" not in downlink('{"event":"message.add","payload":{"delta":"Ab"}}')["payload"]


@pytest.mark.parametrize("event", ["connect.challenge", "hello-ok", "hello-fail"])
def test_a_handshake_stays_as_it_is(event: str) -> None:
    received = FrameReceived(1, json.dumps({"event": event, "payload": {"reason": "Ab"}}))
    assert MASKER.frame(received) is received


@pytest.mark.parametrize("text", ["Ab {", '["Ab"]', '{"payload":"Ab"}', '{"event":"hello-ok","Ab":1}'])
def test_what_is_no_frame_stays_unreadable(text: str) -> None:
    assert MASKER.frame(FrameReceived(1, text)).data == mask_text(text)
    assert MASKER.frame(FrameReceived(1, text.encode())).data == mask_text(text).encode()
    broken = text.encode() + b"\xff"
    assert MASKER.frame(FrameReceived(1, broken)).data == mask_text(text).encode() + b"\xff"


def test_a_frame_is_of_the_type_that_it_was() -> None:
    text, masked = '{"event":"x","payload":{"t":"Ab"}}', '{"event":"x","payload":{"t":"Xx"}}'
    assert MASKER.frame(FrameReceived(1, text)).data == masked
    assert MASKER.frame(FrameReceived(1, text.encode())).data == masked.encode()


def test_numbers_that_are_none_stay_so() -> None:
    assert downlink('{"event":"x","payload":{"a":1e999,"b":[-1e999,2.5],"c":{"d":1e999}}}')["payload"] == {
        "a": "x",
        "b": ["x", 2.5],
        "c": {"d": "x"},
    }


@pytest.mark.parametrize(
    ("body", "masked"),
    [
        (
            b'{"code":0,"msg":"Ab","data":{"title":"Ab","id":"Ab"}}',
            b'{"code":0,"msg":"Ab","data":{"title":"Xx","id":"Ab"}}',
        ),
        (b'{"code":0,"data":{"access_token":"Ab"}}', b'{"code":0,"data":{"access_token":"Ab"}}'),
        (b'{"code":0,"data":["Ab"]}', b'{"code":0,"data":["Ab"]}'),
        (b'["Ab"]', b'x"Xx"x'),
        (b"Ab {", b"Xx x"),
    ],
)
def test_an_answer_is_masked_unless_the_session_reads_it(body: bytes, masked: bytes) -> None:
    event = HttpAnswered(3, HttpAnswer(200, (("date", "Ab"),), body))
    assert MASKER.event(event) == HttpAnswered(3, HttpAnswer(200, (("date", "Ab"),), masked))


@pytest.mark.parametrize(
    ("command", "masked"),
    [
        (
            Send(
                1,
                "cnv_A",
                WORDS,
                ({"user_id": "Ab", "display": "Ab"},),
                {"reply_to_msg_id": "Ab"},
                "Ab",
                "Ab",
                {"id": "Ab"},
            ),
            Send(
                1,
                "cnv_A",
                MASKED,
                ({"user_id": "Ab", "display": "Xx"},),
                {"reply_to_msg_id": "Ab"},
                "Ab",
                "Ab",
                {"id": "Ab"},
            ),
        ),
        (
            Send(1, "cnv_A", (), reply={"title": "Ab"}, to={"name": "Ab"}),
            Send(1, "cnv_A", (), reply={"title": "Xx"}, to={"name": "Xx"}),
        ),
        (React(1, "cnv_A", "Ab", None), React(1, "cnv_A", "Ab", None)),
        (AppendStream(1, "Ab", "Ab 1"), AppendStream(1, "Ab", "Xx 0")),
        (OpenStream(1, "cnv_A", "Ab", {"name": "Ab"}, "Ab"), OpenStream(1, "cnv_A", "Ab", {"name": "Xx"}, "Ab")),
        (FinishStream(1, "Ab"), FinishStream(1, "Ab")),
        (FinishStream(1, "Ab", Send(1, "cnv_A", WORDS)), FinishStream(1, "Ab", Send(1, "cnv_A", MASKED))),
        (
            TransferHistory(1, "Ab", "Ab", {"text": "Ab"}, ({"t": "Ab"},)),
            TransferHistory(1, "Ab", "Ab", {"text": "Xx"}, ({"t": "Xx"},)),
        ),
        (CallRest(1, "GET", "/Ab"), CallRest(1, "GET", "/Ab")),
        (CallRest(1, "POST", "/Ab", b'{"t": "Ab\xc3\xa4"}'), CallRest(1, "POST", "/Ab", b'{"t":"Xx\xc3\xa9"}')),
        (CallRest(1, "POST", "/Ab", b"Ab\xff{"), CallRest(1, "POST", "/Ab", b"Xx\xffx")),
        (
            CallRest(1, "POST", "/Ab", FileBody(7, b"Ab\xff", b"1", 5)),
            CallRest(1, "POST", "/Ab", FileBody(7, b"Xx\xff", b"0", 5)),
        ),
    ],
)
def test_a_command_is_masked(command: Any, masked: object) -> None:
    assert MASKER.event(command) == masked


def test_a_reaction_has_a_stand_in() -> None:
    masked = MASKER.event(React(1, "cnv_A", "Ab", "👍"))
    assert masked == React(1, "cnv_A", "Ab", MASKER.tree({"emoji": "👍"})["emoji"])


def test_an_event_without_any_words_is_the_same() -> None:
    for event in (Tick(), Handled(3)):
        assert MASKER.event(event) is event  # type: ignore[arg-type]


def test_other_values_are_masked_by_the_names_of_their_fields() -> None:
    written = MASKER._written  # pyright: ignore[reportPrivateUsage]
    kept = KeptSend("Ab", 1, "Ab", "Ab", "Ab", '{"id":"Ab","title":"Ab"}', "no JSON, Ab", 5)
    masked = KeptSend("Ab", 1, "Ab", "Ab", "Ab", '{"id":"Ab","title":"Xx"}', "xx XXXXx Xx", 5)
    assert written(kept) == masked
    assert written((kept, 7)) == (masked, 7)
    assert written({"id": "Ab", "title": "Ab"}) == {"id": "Ab", "title": "Xx"}
    rejected = Quarantined(FrameRejected("Ab", "Ab", "Ab", 1, "Ab"))
    assert written(rejected) == Quarantined(FrameRejected("Ab", "Ab", "Xx", 1, "Ab"))
    assert written(Arrival(FrameRejected(None, "Ab", "Ab", 1, b"Ab"))).event.excerpt == "Xx"
