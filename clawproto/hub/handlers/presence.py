"""Presence subscriptions; they live and die with the connection (PRES)."""

from datetime import UTC, datetime

from clawproto.hub.connection import Connection, Phase
from clawproto.hub.context import Context
from clawproto.hub.frames import JsonObject, object_of, text_of


def subscribe(context: Context, connection: Connection, frame: JsonObject) -> str:
    user_id = _target(context, frame)
    if user_id is None or not _visible(context, connection.user_id, user_id):
        return "SILENT-10"
    if len(connection.watching) < context.settings.presence_limit:
        connection.watching.add(user_id)
    payload = _presence(context, user_id, online=bool(context.of_user(user_id)))
    context.answer(connection, context.build("presence.snapshot", payload, trace_id=text_of(frame.get("trace_id"))))
    return "handled"


def unsubscribe(context: Context, connection: Connection, frame: JsonObject) -> str:
    user_id = _target(context, frame)
    if user_id is None:
        return "SILENT-10"
    connection.watching.discard(user_id)
    return "handled"


def announce(context: Context, user_id: str, *, online: bool) -> None:
    """Tell the subscribers that the user came or went (PRES-1)."""
    frame = context.build("presence.update", _presence(context, user_id, online=online))
    for connection in list(context.connections.values()):
        if connection.phase is Phase.LIVE and user_id in connection.watching:
            context.answer(connection, frame)


def _target(context: Context, frame: JsonObject) -> str | None:
    """PRES-7."""
    user_id = text_of(object_of(frame.get("payload")).get("user_id"))
    return user_id if user_id.startswith(("usr_", "agt_")) else None


def _visible(context: Context, watcher: str, user_id: str) -> bool:
    """PRES-5."""
    if not context.settings.presence_gate or watcher == user_id:
        return True
    return any(user_id in conversation.members for conversation in context.directory.conversations_of(watcher))


def _presence(context: Context, user_id: str, *, online: bool) -> JsonObject:
    payload: JsonObject = {"user_id": user_id, "online": online}
    seen = context.last_seen.get(user_id)
    if seen is not None:
        moment = datetime.fromtimestamp(seen / 1000, UTC)
        payload["last_seen_at"] = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return payload


HANDLERS = {"presence.subscribe": subscribe, "presence.unsubscribe": unsubscribe}
