"""``message.reaction``: one slot per (target, reactor), last write wins (RX)."""

from clawproto.hub.connection import Connection
from clawproto.hub.context import Context
from clawproto.hub.delivery import store
from clawproto.hub.frames import JsonObject, encode, text_of
from clawproto.hub.inbox import Row
from clawproto.hub.routing import acknowledge, recipients, refuse, resolve, stamp
from clawproto.json_types import Json


def _handle(context: Context, connection: Connection, frame: JsonObject) -> str:
    chat_id = text_of(frame.get("chat_id"))
    if not chat_id:
        return "SILENT-1"
    rejection = context.switches.rejections.take(connection.user_id)
    if rejection is not None:
        return refuse(context, connection, frame, rejection.code, rejection.reason)
    chat = resolve(context, chat_id, connection.user_id)
    if isinstance(chat, str):
        return refuse(context, connection, frame, chat)
    payload = frame.get("payload")
    problem = _problem(context, payload)
    if problem is not None or not isinstance(payload, dict):
        return refuse(context, connection, frame, "bad_request", problem or "")
    target = text_of(payload.get("target_message_id"))
    slot = f"rxn:{target}:{connection.user_id}"
    relayed: JsonObject = {
        "message_id": slot,
        "target_message_id": target,
        "emoji": text_of(payload.get("emoji")),
        "removed": payload.get("removed") is True,
        "reactor_user_id": connection.user_id,  # RX-1: whatever the uplink said
    }
    downlink = context.build("message.reaction", relayed)
    stamp(context, downlink, frame, connection, chat)
    fate = acknowledge(context, connection, frame, slot)  # RX-4
    stamped = context.settings.stamp_reactions  # D-26
    row = Row(0, slot, encode(downlink), connection.user_id, connection.device_id, stamped)
    store(context, recipients(chat, connection), row)
    return fate


def _problem(context: Context, payload: Json) -> str | None:
    """Why a reaction is refused (RX-5), or None."""
    if not isinstance(payload, dict):
        return "payload does not decode"
    target, emoji, removed = payload.get("target_message_id"), payload.get("emoji", ""), payload.get("removed", False)
    if not isinstance(target, str) or not isinstance(emoji, str) or not isinstance(removed, bool):
        return "payload does not decode"
    if not target:
        return "target_message_id is empty"
    if removed:
        return None
    try:
        length = len(emoji.encode())
    except UnicodeEncodeError:
        return "emoji is not UTF-8"
    limit = context.settings.emoji_limit
    return None if 1 <= length <= limit else f"emoji has {length} bytes, 1 to {limit} are allowed"


HANDLERS = {"message.reaction": _handle}
