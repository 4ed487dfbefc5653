"""What counts of the frames that are most of the traffic: messages, acks, typing, without the rest of their envelope.

text ──┬── msgspec, where it is installed (`clawproto.wire.quick`) ──► Said, Answer or Writing
       └── whatever names itself one of them, through JSON ──►         "
       └── anything else, and what is not ordinary: None, and `clawproto.wire.codec.decode` reads it
"""

from typing import TYPE_CHECKING, Final

from clawproto.json_types import Json
from clawproto.wire import codec, json_backend
from clawproto.wire.codec import VERSION, exceeds
from clawproto.wire.optional import LEAST, MOST, optional_integer, optional_string
from clawproto.wire.payloads import read_message, read_peer

if TYPE_CHECKING:
    from clawproto.wire.quick import Answer, Said, Writing

_BEGINNING: Final = 160  # characters in which a message names itself, unless its hub writes in another order
_SEND: Final = '"message.send"'
_REPLY: Final = '"message.reply"'
_ACK: Final = '"message.ack"'
_TYPING: Final = '"typing.update"'
_NOTHING: Final[dict[str, Json]] = {}


def decode_traffic(data: str | bytes, limit: int) -> "Said | Answer | Writing | None":
    """What counts of a message with a sender, or of an ack or typing without a stamp, if it is quickly read: None says
    nothing about it."""
    if len(data) * 4 > limit and exceeds(data, limit):
        return None
    if codec.read_traffic is not None and json_backend.loads is not json_backend.stdlib_loads:
        found = codec.read_traffic(data)
        if found is not None:
            return found
    beginning = data[:_BEGINNING] if isinstance(data, str) else data[:_BEGINNING].decode("utf-8", "replace")
    if _SEND not in beginning and _ACK not in beginning and _TYPING not in beginning and _REPLY not in beginning:
        return None
    try:
        source = json_backend.loads(data)
    except json_backend.NotJson:
        return None
    if type(source) is not dict or source.get("version") != VERSION:
        return None
    event = source.get("event")
    if event == "message.send":
        return _read_said("message.send", source)
    if event == "message.reply":
        return _read_said("message.reply", source)
    if "dseq" in source:
        return None
    if event == "message.ack":
        return _read_ack(source)
    return _read_writing(source) if event == "typing.update" else None


def _read_said(event: str, source: dict[str, Json]) -> "Said | None":
    get = source.get
    sender, chat_id, chat_type, emitted_at, dseq = (
        get("sender"),
        get("chat_id"),
        get("chat_type"),
        get("emitted_at"),
        get("dseq"),
    )
    message = read_message(get("payload"))
    found = read_peer(sender)
    if found is None or isinstance(message, str):
        return None
    return (
        event,
        chat_id if type(chat_id) is str else "",
        chat_type if type(chat_type) is str else None,
        found,
        message,
        emitted_at if type(emitted_at) is int and LEAST <= emitted_at <= MOST else None,
        get("ciphertext_fragments"),
        dseq if type(dseq) is int and LEAST <= dseq <= MOST else None,
    )


def _read_ack(source: dict[str, Json]) -> "Answer":
    payload = source.get("payload")
    get = payload.get if type(payload) is dict else _NOTHING.get
    return (
        optional_string(source.get("trace_id")) or "",
        optional_string(get("message_id")),
        optional_integer(get("accepted_at")),
    )


def _read_writing(source: dict[str, Json]) -> "Writing | None":
    payload, sender = source.get("payload"), read_peer(source.get("sender"))
    is_typing = payload.get("is_typing") if type(payload) is dict else None
    if type(is_typing) is not bool:
        return None
    return (optional_string(source.get("chat_id")) or "", "" if sender is None else sender.id), is_typing
