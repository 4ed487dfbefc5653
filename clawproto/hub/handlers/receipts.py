"""``message.delivered``: routed to the user in ``to``, never kept (DEL-5, DEL-6)."""

from clawproto.hub.connection import Connection
from clawproto.hub.context import Context
from clawproto.hub.delivery import push
from clawproto.hub.frames import JsonObject, object_of, text_of


def _handle(context: Context, connection: Connection, frame: JsonObject) -> str:
    addressee = text_of(object_of(frame.get("to")).get("id"))
    if not addressee:
        return "SILENT-5"
    payload = object_of(frame.get("payload"))
    relayed: JsonObject = {name: payload[name] for name in ("message_id", "delivered_at") if name in payload}
    downlink = context.build("message.delivered", relayed)
    for name in ("chat_id", "to"):  # O-8
        if name in frame:
            downlink[name] = frame[name]
    downlink["sender"] = context.sender(connection.user_id)
    reached = push(context, addressee, downlink, "delivery_receipt")
    return "relayed" if reached else "addressee offline"


HANDLERS = {"message.delivered": _handle}
