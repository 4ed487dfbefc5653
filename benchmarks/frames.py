"""Downlinks of the kinds and sizes that a hub sends, as text."""

import json
from collections.abc import Callable, Mapping

from clawproto.json_types import Json

ALPHABET = "The quick brown fox jumps over the lazy dog, and 73 geese watch. "
FOREIGN = "今天的天气很好。我们去公园散步吧。你什么时候有空。"
CHATS = 8  # that take turns
FIRST_ID = "01K5Z3NDEKTSV4RRFFQ69G5"  # with three more characters a ULID

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def _number(value: int) -> str:
    return "".join(_CROCKFORD[value >> shift & 31] for shift in (20, 15, 10, 5, 0))


def envelope(event: str, payload: Mapping[str, Json], **fields: Json) -> str:
    """One downlink as compact JSON."""
    whole: dict[str, Json] = {
        "version": "2",
        "event": event,
        "trace_id": "s-01K5Z3NDEKTSV4RRFFQ69G5FAV",
        "emitted_at": 1_790_000_000_000,
        **fields,
        "payload": dict(payload),
    }
    return json.dumps(whole, separators=(",", ":"), ensure_ascii=False)


def _message(number: int, fragments: list[Json]) -> str:
    context: dict[str, Json] = {"mentions": [], "reply": None}
    payload: dict[str, Json] = {
        "message_id": f"msg-01K5Z3NDEKTSV4RRFFQ69{_number(number)}",
        "message_mode": "normal",
        "message": {"body": {"fragments": fragments}, "context": context},
    }
    return envelope(
        "message.send",
        payload,
        chat_id=chat(number),
        chat_type="direct",
        to={"id": "usr_8f14e45fceea167a", "type": "direct"},
        sender={"id": f"usr_c9f0f895fb98ab9{number % CHATS}", "type": "direct", "nick_name": "Ada"},
        seq=4711 + number,
        dseq=number,
    )


def chat(number: int) -> str:
    """One of `CHATS`, in turns."""
    return f"cnv_01HZXJ5Q8YV7W3R2M4K6N8P0{number % CHATS}"


def text(length: int, number: int = 0, alphabet: str = ALPHABET) -> str:
    """So many characters, different ones for different numbers."""
    start = number % len(alphabet)
    return (alphabet * (length // len(alphabet) + 2))[start : start + length]


def message(number: int, size: int) -> str:
    """``message.send`` of ``size`` bytes with the stamp ``dseq`` = ``number``."""
    bare = len(_message(number, [{"kind": "text", "text": ""}]))
    return _message(number, [{"kind": "text", "text": text(size - bare, number)}])


def foreign_message(number: int, size: int) -> str:
    """The same with a text in Chinese, three bytes a character; up to two bytes short of ``size``."""
    bare = len(_message(number, [{"kind": "text", "text": ""}]))
    return _message(number, [{"kind": "text", "text": text((size - bare) // 3, number, FOREIGN)}])


def fragmented_message(number: int, count: int) -> str:
    """``message.send`` with ``count`` fragments: texts, mentions and images in turns."""
    return _message(number, fragments(number, count))


def fragments(number: int, count: int) -> list[Json]:
    """Texts, mentions and images in turns."""
    kinds: list[Json] = [
        {"kind": "text", "text": text(40, number)},
        {"kind": "mention", "user_id": "usr_8f14e45fceea167a", "display": "@Grace"},
        {"kind": "image", "url": "/media/3c59dc048e8850243be8079a5c74d079", "mime": "image/png", "size": 48213},
    ]
    return [kinds[index % 3] for index in range(count)]


def ack(trace_id: str, message_id: str) -> str:
    """``message.ack``, about 200 bytes."""
    return envelope("message.ack", {"message_id": message_id, "accepted_at": 1_790_000_000_123}, trace_id=trace_id)


def typing(number: int, *, is_typing: bool) -> str:
    """``typing.update`` of somebody else."""
    return envelope(
        "typing.update",
        {"is_typing": is_typing},
        chat_id=chat(number),
        chat_type="direct",
        to={"id": "usr_8f14e45fceea167a", "type": "direct"},
        sender={"id": f"usr_c9f0f895fb98ab9{number % CHATS}", "type": "direct", "nick_name": "Ada"},
    )


def quickly(size: int) -> Callable[[int], str]:
    """`message` of about ``size`` bytes, for very many numbers: only what differs is made anew."""
    number = 7_654_321
    head, _, rest = message(number, size).partition(str(4711 + number))
    middle, _, rest = rest.partition(str(number))
    before, _, end = rest.partition(_number(number))
    return lambda dseq: f"{head}{4711 + dseq}{middle}{dseq}{before}{_number(dseq)}{end}"
