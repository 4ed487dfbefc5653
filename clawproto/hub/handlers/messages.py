"""``message.send`` and ``message.reply`` (SEND, ROUTE, FRAG-2, MENT-3)."""

from clawproto.hub.connection import Connection
from clawproto.hub.context import Context
from clawproto.hub.delivery import store
from clawproto.hub.directory import Conversation
from clawproto.hub.frames import JsonObject, encode, object_of, relay_fragments, size, text_of, with_stamps
from clawproto.hub.inbox import Row
from clawproto.hub.routing import acknowledge, id_too_long, recipients, refuse, resolve, stamp
from clawproto.json_types import Json

SEALED: JsonObject = {  # SEND-10
    "status": "static",
    "sequence": 0,
    "mutation_policy": "sealed",
    "started_at": None,
    "completed_at": None,
}


def _handle(context: Context, connection: Connection, frame: JsonObject) -> str:
    chat_id = text_of(frame.get("chat_id"))
    if not chat_id:
        return "SILENT-1"
    rejection = context.switches.rejections.take(connection.user_id)
    if rejection is not None:
        return refuse(context, connection, frame, rejection.code, rejection.reason)
    payload = object_of(frame.get("payload"))
    message_id = text_of(payload.get("message_id"))
    reason = id_too_long(context, message_id)
    if reason is not None:
        return refuse(context, connection, frame, "message_id_too_long", reason)
    chat = resolve(context, chat_id, connection.user_id)
    if isinstance(chat, str):
        return refuse(context, connection, frame, chat)
    message_id = message_id or f"msg-{context.entropy.ulid(context.now.wall_ms)}"  # SEND-7
    downlink = context.build(text_of(frame.get("event")), _relay(payload, message_id))
    stamp(context, downlink, frame, connection, chat)
    downlink["origin_device_id"] = connection.device_id  # ROUTE-5
    text = encode(downlink)
    reason = too_large(context, text)
    if reason is not None:
        return refuse(context, connection, frame, "message_too_large", reason)
    fate = acknowledge(context, connection, frame, message_id)
    row = Row(0, message_id, text, connection.user_id, connection.device_id)
    store(context, recipients(chat, connection), row)
    return fate


def too_large(context: Context, text: str) -> str | None:
    """The reason of a ``message_too_large``, or None; stamps count (ERR-19, LIM-2)."""
    length = size(with_stamps(text, context.upcoming_seq, context.settings.window_limit))
    limit = context.settings.downlink_limit
    return f"message has {length} bytes, limit {limit} bytes" if length > limit else None


def _relay(payload: JsonObject, message_id: str) -> JsonObject:
    """The payload of the downlink: what the hub knows of the author's, rebuilt."""
    message = object_of(payload.get("message"))
    context_in = object_of(message.get("context"))
    mentions = context_in.get("mentions")
    return {
        "message_id": message_id,
        "message_mode": text_of(payload.get("message_mode")),  # SEND-3
        "message": {
            "body": {"fragments": relay_fragments(object_of(message.get("body")).get("fragments"))},
            "context": {
                "mentions": mentions if isinstance(mentions, list) else None,  # SEND-23
                "reply": _relay_reply(object_of(context_in.get("reply"))),
            },
            "streaming": dict(SEALED),
        },
    }


def _relay_reply(reply: JsonObject) -> JsonObject | None:
    if not reply:
        return None
    preview = object_of(reply.get("reply_preview"))
    return {
        "reply_to_msg_id": text_of(reply.get("reply_to_msg_id")),
        "reply_preview": {
            "id": text_of(preview.get("id")),
            "nick_name": text_of(preview.get("nick_name")),
            "fragments": relay_fragments(preview.get("fragments")),
        }
        if preview
        else None,
    }


def message_row(context: Context, chat: Conversation, sender_id: str, message_id: str, text: str) -> Row:
    """The inbox row of a message that did not come over a socket.

    Raises:
        KeyError: the sender is neither a known user nor ``system``.
    """
    fragments: Json = [{"kind": "text", "text": text}]
    message: JsonObject = {"body": {"fragments": fragments}, "context": {"mentions": []}}
    payload: JsonObject = {"message_mode": "normal", "message": message}
    downlink = context.build("message.send", _relay(payload, message_id))
    downlink |= {"chat_id": chat.conversation_id, "chat_type": chat.chat_type}
    system: JsonObject = {"id": "system", "type": "direct", "nick_name": "system"}
    downlink["sender"] = system if sender_id == "system" else context.sender(sender_id)
    return Row(0, message_id, encode(downlink), sender_id)


HANDLERS = {"message.send": _handle, "message.reply": _handle}
