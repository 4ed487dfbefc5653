"""``typing.update``: relayed and forgotten (TYPE-4, TYPE-5)."""

from clawproto.hub.connection import Connection
from clawproto.hub.context import Context
from clawproto.hub.delivery import push
from clawproto.hub.frames import JsonObject, object_of, text_of
from clawproto.hub.routing import members_but, resolve, stamp


def _handle(context: Context, connection: Connection, frame: JsonObject) -> str:
    chat_id = text_of(frame.get("chat_id"))
    if not chat_id:
        return "SILENT-1"
    chat = resolve(context, chat_id, connection.user_id)
    is_typing = object_of(frame.get("payload")).get("is_typing")
    if isinstance(chat, str) or not isinstance(is_typing, bool):
        return "SILENT-4"
    downlink = context.build("typing.update", {"is_typing": is_typing})
    stamp(context, downlink, frame, connection, chat)
    for member in members_but(chat, connection.user_id):
        push(context, member, downlink)
    return "relayed"


HANDLERS = {"typing.update": _handle}
