"""``history.transit``: from one device of a user to another, unread by the hub (HIST-2 to HIST-10)."""

from clawproto.hub.connection import Connection
from clawproto.hub.context import Context
from clawproto.hub.delivery import store
from clawproto.hub.frames import JsonObject, encode, object_of, text_of
from clawproto.hub.handlers.messages import too_large
from clawproto.hub.inbox import Row
from clawproto.hub.routing import refuse


def _handle(context: Context, connection: Connection, frame: JsonObject) -> str:
    if not connection.can("history_sync"):
        return refuse(context, connection, frame, "capability_missing")
    target = text_of(frame.get("target_device_id"))
    if not target:
        return "SILENT-9"
    downlink = context.build("history.transit", object_of(frame.get("payload")))
    kept = ["sender", "target_device_id", "ciphertext_fragments"]
    if context.settings.keep_transit_origin:
        kept.append("origin_device_id")  # HIST-6
    downlink |= {name: frame[name] for name in kept if name in frame}
    text = encode(downlink)
    reason = too_large(context, text)
    if reason is not None:
        return refuse(context, connection, frame, "message_too_large", reason)
    slot = f"transit:{context.entropy.ulid(context.now.wall_ms)}"
    row = Row(0, slot, text, connection.user_id, connection.device_id, target_device=target)
    store(context, [connection.user_id], row)
    return "handled"


HANDLERS = {"history.transit": _handle}
