"""What counts of messages, acks and typing, in tables: what is said, what is left to the whole reading, and how far the
name may be from the beginning."""

import json
from functools import partial
from typing import Any

import pytest

from clawproto.json_types import Json
from clawproto.wire import codec, json_backend
from clawproto.wire.codec import decode
from clawproto.wire.payloads import read_message
from clawproto.wire.quick import Answer, Said, Writing
from clawproto.wire.traffic import decode_traffic
from clawproto.wire.values import BadFrame, Frame, MessagePayload, Peer, TextFragment
from tests.decoded import LEAST, MOST, WRONG, Object, cost_of

BODY: Object = {
    "body": {"fragments": [{"kind": "text", "text": "x"}]},
    "context": {"mentions": [], "reply": None},
}
MESSAGE: Object = {"message_id": "m", "message_mode": "normal", "message": BODY}
SENDER: Object = {"id": "a", "type": "agent", "nick_name": "A"}
READ = MessagePayload("m", "normal", (TextFragment("x"),), ())


@pytest.fixture(params=["stdlib", "msgspec", "msgspec, only as a reader"], autouse=True)
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    way = str(request.param)
    monkeypatch.setattr(json_backend, "loads", getattr(json_backend, f"{way.partition(',')[0]}_loads"))
    if "," in way:
        monkeypatch.setattr(codec, "read_traffic", None)
    return way


def traffic(event: Json, payload: Json, **envelope: Json) -> Said | Answer | Writing | None:
    """Read as text and as bytes."""
    text = json.dumps({"event": event, "version": "2", "payload": payload, **envelope})
    found = decode_traffic(text, 1_000_000)
    assert found == decode_traffic(text.encode(), 1_000_000)
    return found


# --- messages ------------------------------------------------------------------------------------------------------

ENVELOPE: Object = {"chat_id": "c", "chat_type": "group", "sender": SENDER, "emitted_at": 1, "dseq": 2}
ORDER = ("event", "chat_id", "chat_type", "sender", "payload", "emitted_at", "ciphertext_fragments", "dseq")


def said(event: str, **changes: Any) -> Any:
    whole: dict[str, Any] = {"event": event, "payload": READ, "ciphertext_fragments": None, **ENVELOPE}
    whole |= {"sender": Peer("a", "agent", "A"), **changes}
    return tuple(whole[name] for name in ORDER)


@pytest.mark.rule("ENV-13", "ENV-14", "CAP-6")
@pytest.mark.parametrize("event", ["message.send", "message.reply"])
def test_what_counts_of_a_message(event: str) -> None:
    assert traffic(event, MESSAGE, **ENVELOPE) == said(event)
    for field, good in ENVELOPE.items():
        rest = {name: value for name, value in ENVELOPE.items() if name != field}
        for changed in (rest, *({**rest, field: wrong} for wrong in WRONG[type(good)])):
            absent = "" if field == "chat_id" else None
            expected = None if field == "sender" else said(event, **{field: absent})
            assert traffic(event, MESSAGE, **changed) == expected
        for value in (LEAST, -1, 0, MOST) if type(good) is int else ():
            assert traffic(event, MESSAGE, **{**ENVELOPE, field: value}) == said(event, **{field: value})
    ciphertexts: list[Json] = [[], [1.5, {"a": None}], "x", 5, None]
    for hidden in ciphertexts:
        whole: Object = {**ENVELOPE, "ciphertext_fragments": hidden}
        assert traffic(event, MESSAGE, **whole) == said(event, ciphertext_fragments=hidden)
    for name in SENDER:
        peer = {other: value for other, value in SENDER.items() if other != name}
        read = Peer(*(peer.get(other) for other in SENDER))  # type: ignore[arg-type]
        expected = None if name == "id" else said(event, sender=read)
        assert traffic(event, MESSAGE, **{**ENVELOPE, "sender": peer}) == expected


@pytest.mark.rule("R2-11")
@pytest.mark.parametrize("event", ["message.send", "message.reply"])
@pytest.mark.parametrize(
    "payload", [None, 5, [], {}, {**MESSAGE, "message_id": 5}, {**MESSAGE, "message": {}}, {"message_id": "m"}]
)
def test_a_message_of_no_use_is_left_to_the_whole_reading(event: str, payload: Json) -> None:
    assert traffic(event, payload, **ENVELOPE) is None


# --- acks and typing -----------------------------------------------------------------------------------------------


@pytest.mark.rule("ENV-6", "ENV-13", "ENV-14", "R2-31")
def test_what_counts_of_an_ack() -> None:
    whole: Object = {"message_id": "m", "accepted_at": 5}
    assert traffic("message.ack", whole, trace_id="t") == ("t", "m", 5)
    assert traffic("message.ack", whole) == ("", "m", 5)
    for wrong in WRONG[str]:
        assert traffic("message.ack", whole, trace_id=wrong) == ("", "m", 5)
        assert traffic("message.ack", {**whole, "message_id": wrong}, trace_id="t") == ("t", None, 5)
    for wrong in WRONG[int]:
        assert traffic("message.ack", {**whole, "accepted_at": wrong}, trace_id="t") == ("t", "m", None)
        assert traffic("message.ack", whole, trace_id="t", dseq=wrong) is None
    for value in (LEAST, 0, MOST):
        assert traffic("message.ack", {**whole, "accepted_at": value}, trace_id="t") == ("t", "m", value)
        assert traffic("message.ack", whole, trace_id="t", dseq=value) is None
    nothings: list[Json] = [None, 5, [], "x", {}]
    for nothing in nothings:
        assert traffic("message.ack", nothing, trace_id="t") == ("t", None, None)


@pytest.mark.rule("TYPE-1", "ENV-13", "R2-31")
@pytest.mark.parametrize("is_typing", [True, False])
def test_what_counts_of_typing(is_typing: bool) -> None:
    payload: Object = {"is_typing": is_typing}
    whole: Object = {"chat_id": "c", "sender": SENDER}
    assert traffic("typing.update", payload, **whole) == (("c", "a"), is_typing)
    assert traffic("typing.update", payload) == (("", ""), is_typing)
    assert traffic("typing.update", {**payload, "later": 1}, **whole, later=1) == (("c", "a"), is_typing)
    for wrong in WRONG[str]:
        assert traffic("typing.update", payload, **{**whole, "chat_id": wrong}) == (("", "a"), is_typing)
        assert traffic("typing.update", payload, **{**whole, "sender": {"id": wrong}}) == (("c", ""), is_typing)
    for wrong in WRONG[dict]:
        assert traffic("typing.update", payload, **{**whole, "sender": wrong}) == (("c", ""), is_typing)
        assert traffic("typing.update", wrong, **whole) is None
    for wrong in WRONG[bool]:
        assert traffic("typing.update", {"is_typing": wrong}, **whole) is None
    for stamp in (1, LEAST, *WRONG[int]):
        assert traffic("typing.update", payload, **whole, dseq=stamp) is None


# --- anything else -------------------------------------------------------------------------------------------------

NAMES = ["message.send", "message.reply", "message.ack", "typing.update"]


@pytest.mark.rule("ENV-1", "EVT-4")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("event", ["pong", "message.error", "", 5, None, ["message.ack"]])
def test_a_name_elsewhere_makes_no_traffic(event: Json, name: str) -> None:
    payload: Object = {**MESSAGE, "is_typing": True, "accepted_at": 5}
    assert traffic(event, payload, trace_id=name, sender=SENDER) is None
    assert traffic(name, payload, sender=SENDER) is not None
    for version in ("1", 2, None):
        assert traffic(name, payload, sender=SENDER, version=version) is None


@pytest.mark.rule("ENV-12")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", ['"%s"', '["%s"]', '{"event":"%s"', '{"event":"%s"}}', '"%s" 5', "%s", ""])
def test_what_is_no_frame_is_no_traffic(name: str, text: str) -> None:
    written = text.replace("%s", name)
    assert decode_traffic(written, 1_000) is None
    assert decode_traffic(written.encode(), 1_000) is None
    assert decode_traffic(written.encode() + b"\xff", 1_000) is None


PAYLOADS: dict[str, Object] = {"message.ack": {"message_id": "m"}, "typing.update": {"is_typing": True}}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("character", ["x", "é", "€", "😀"])
def test_the_name_is_looked_for_at_the_beginning(name: str, character: str, reader: str) -> None:
    """The quick reader finds it anywhere; the other looks at 160 characters, or at as many bytes."""
    payload = PAYLOADS.get(name, MESSAGE)
    for before in range(130, 170):
        head = f'{{"version":"2","trace_id":"{character * 40}","chat_id":"'
        head += "c" * (before - len(head) - len('","event":')) + '","event":'
        text = f'{head}"{name}","sender":{json.dumps(SENDER)},"payload":{json.dumps(payload)}}}'
        for data, at in ((text, text.index(f'"{name}"')), (text.encode(), text.encode().index(f'"{name}"'.encode()))):
            if reader == "msgspec" or at + len(name) + 2 <= 160:
                assert decode_traffic(data, 10_000) is not None
            else:
                assert decode_traffic(data, 10_000) is None
            assert isinstance(decode(data, 10_000), Frame)


@pytest.mark.rule("ENV-12")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("character", ["x", "é", "€", "😀"])
def test_traffic_above_the_limit_is_not_looked_at(name: str, character: str) -> None:
    source = {"version": "2", "event": name, "sender": SENDER, "payload": PAYLOADS.get(name, MESSAGE)}
    text = json.dumps({**source, "trace_id": character * 1_000}, ensure_ascii=False)
    size = len(text.encode())
    for data in (text, text.encode()):
        for limit in (size, size + 1, 4 * size):
            assert decode_traffic(data, limit) is not None
        for limit in (0, len(text) - 1, size // 2, size - 1):
            assert decode_traffic(data, limit) is None
            assert isinstance(decode(data, limit), BadFrame)


# --- the short way -------------------------------------------------------------------------------------------------


def test_usual_traffic_is_read_the_short_way(reader: str) -> None:
    """With fewer instructions than the same frame with a field that nobody knows."""
    for event, payload in (("message.send", MESSAGE), *PAYLOADS.items()):
        usual = json.dumps({"event": event, "version": "2", "sender": SENDER, "payload": payload})
        other = json.dumps({"event": event, "version": "2", "sender": SENDER, "payload": payload, "later": 1})
        if reader == "msgspec":
            for read in (decode, decode_traffic):
                assert cost_of(partial(read, usual, 10_000)) < cost_of(partial(read, other, 10_000))
        assert decode_traffic(usual, 10_000) == decode_traffic(other, 10_000)


@pytest.mark.rule("SEND-21")
@pytest.mark.parametrize("mode", ["normal", "", "thinking"])
@pytest.mark.parametrize("empty", [None, [], {}, ""])
def test_a_usual_message_is_read_the_short_way(mode: str, empty: Json) -> None:
    """The same with something that nobody knows takes far more instructions."""
    context: Object = {"mentions": empty, "reply": empty}
    usual: Object = {**MESSAGE, "message_mode": mode, "message": {**BODY, "context": context}}
    other: Object = {**usual, "later": 1}
    assert read_message(usual) == read_message(other) == MessagePayload("m", mode, READ.fragments, ())
    assert cost_of(lambda: read_message(usual)) < cost_of(lambda: read_message(other)) * 0.7
