"""The four streaming events: relayed live, merged into one stored reply for whoever is absent (STREAM-7, 11, 13)."""

from clawproto.hub.connection import Connection
from clawproto.hub.context import Context
from clawproto.hub.delivery import push, store
from clawproto.hub.directory import Conversation
from clawproto.hub.frames import JsonObject, encode, object_of, relay_fragments, text_of
from clawproto.hub.handlers.messages import SEALED, too_large
from clawproto.hub.inbox import Row
from clawproto.hub.routing import id_too_long, members_but, recipients, refuse, resolve, stamp

_RELAYED = ("message_id", "message_mode", "sequence", "mutation", "streaming", "added_at", "completed_at")


def _handle(context: Context, connection: Connection, frame: JsonObject) -> str:
    chat_id, event = text_of(frame.get("chat_id")), text_of(frame.get("event"))
    if not chat_id:
        return "SILENT-1"
    payload = object_of(frame.get("payload"))
    reason = id_too_long(context, text_of(payload.get("message_id")))
    if reason is not None:
        return refuse(context, connection, frame, "message_id_too_long", reason)
    chat = resolve(context, chat_id, connection.user_id)
    if isinstance(chat, str):
        return refuse(context, connection, frame, chat)
    relayed: JsonObject = {name: payload[name] for name in _RELAYED if name in payload}
    if "fragments" in payload:
        relayed["fragments"] = relay_fragments(payload["fragments"], delta=event == "message.add")
    downlink = context.build(event, relayed)
    stamp(context, downlink, frame, connection, chat)
    downlink["origin_device_id"] = connection.device_id
    reason = too_large(context, encode(downlink))
    if reason is not None:
        return refuse(context, connection, frame, "message_too_large", reason)
    present = {user_id for user_id in chat.members if context.of_user(user_id)}
    for user_id in recipients(chat, connection):
        push(context, user_id, downlink, except_for=connection)
    if event == "message.done":
        _store_merged(context, connection, frame, chat, present)
    return "relayed"


def _store_merged(
    context: Context, connection: Connection, frame: JsonObject, chat: Conversation, present: set[str]
) -> None:
    """One ``message.reply`` per absent recipient; in merge mode for the present ones too."""
    payload = object_of(frame.get("payload"))
    message_id = text_of(payload.get("message_id"))
    merged: JsonObject = {
        "message_id": message_id,
        "message_mode": text_of(payload.get("message_mode")),
        "message": {
            "body": {"fragments": relay_fragments(payload.get("fragments"))},
            "context": {"mentions": None, "reply": None},
            "streaming": dict(SEALED),
        },
        "stream_merged": True,
    }
    reply = context.build("message.reply", merged)
    stamp(context, reply, frame, connection, chat)
    reply["origin_device_id"] = connection.device_id
    row = Row(0, message_id, encode(reply), connection.user_id, connection.device_id)
    everyone = context.settings.merge_streams_live
    due = [user for user in members_but(chat, connection.user_id) if everyone or user not in present]
    store(context, due, row)


HANDLERS = {
    "message.created": _handle,
    "message.add": _handle,
    "message.done": _handle,
    "message.failed": _handle,
}
