"""Where an uplink goes, and the answers to its author (ROUTE, ERR)."""

import re

from clawproto.hub.connection import Connection
from clawproto.hub.context import Context
from clawproto.hub.directory import Conversation
from clawproto.hub.frames import JsonObject, object_of, size, text_of

_CHAT_ID = re.compile(r"cnv_[0-9A-Z]{26}")


def resolve(context: Context, chat_id: str, user_id: str) -> Conversation | str:
    """The conversation, or the error code that says why not: form, existence, membership (ROUTE-8, ERR-20)."""
    if context.settings.resolver == "strict" and _CHAT_ID.fullmatch(chat_id) is None:
        return "bad_request"
    conversation = context.directory.conversations.get(chat_id)
    if conversation is None:
        return "chat_not_found"
    if user_id not in conversation.members:
        return "not_member"
    return conversation


def members_but(conversation: Conversation, user_id: str) -> list[str]:
    """Every member except one."""
    return [member for member in conversation.members if member != user_id]


def recipients(conversation: Conversation, connection: Connection) -> list[str]:
    """Every member but the sender, and the sender's other devices if the sender is multi-device (ROUTE-2, ROUTE-4)."""
    others = members_but(conversation, connection.user_id)
    return [*others, connection.user_id] if connection.can("multi_device") else others


def refuse(context: Context, connection: Connection, frame: JsonObject, code: str, reason: str = "") -> str:
    """Answer with ``message.error`` and return the fate (ERR-1)."""
    payload: JsonObject = {"code": code, "rejected_at": context.now.wall_ms}
    message_id = text_of(object_of(frame.get("payload")).get("message_id"))
    if message_id:
        payload["message_id"] = message_id
    if reason:
        payload["reason"] = reason
    answer = context.build("message.error", payload, trace_id=text_of(frame.get("trace_id")))
    echo(answer, frame)
    context.answer(connection, answer)
    return f"error:{code}"


def acknowledge(context: Context, connection: Connection, frame: JsonObject, message_id: str) -> str:
    """Answer with ``message.ack``, unless a switch loses it, and return the fate (SEND-8)."""
    payload: JsonObject = {"message_id": message_id, "accepted_at": context.now.wall_ms}
    answer = context.build("message.ack", payload, trace_id=text_of(frame.get("trace_id")))
    echo(answer, frame)
    if context.switches.lost_acks.take(connection.user_id) or not context.answer(connection, answer):
        return "acked, ack lost"
    return "acked"


def echo(answer: JsonObject, frame: JsonObject) -> None:
    """Copy ``chat_id`` and ``to`` of the uplink, if it had them (SEND-8, ERR table)."""
    for name in ("chat_id", "to"):
        if name in frame:
            answer[name] = frame[name]


def id_too_long(context: Context, message_id: str) -> str | None:
    """The reason of a ``message_id_too_long``, or None (LIM-4, ERR-19)."""
    length, limit = size(message_id), context.settings.message_id_limit
    return f"message_id has {length} bytes, limit {limit} bytes" if length > limit else None


def stamp(context: Context, frame: JsonObject, uplink: JsonObject, connection: Connection, chat: Conversation) -> None:
    """Turn a built frame into a business downlink: routing key, relayed ``to``, true sender (ENV-3, ENV-5, ROUTE-2)."""
    frame["chat_id"] = chat.conversation_id
    frame["chat_type"] = chat.chat_type
    if "to" in uplink:
        frame["to"] = uplink["to"]
    frame["sender"] = context.sender(connection.user_id)
