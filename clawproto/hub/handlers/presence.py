"""Presence subscriptions; they live and die with the connection (PRES)."""

from datetime import UTC, datetime

from clawproto.hub.connection import Connection, Phase
from clawproto.hub.context import Context
from clawproto.hub.frames import JsonObject, object_of, text_of


def _subscribe(context: Context, connection: Connection, frame: JsonObject) -> str:
    user_id = _target(context, frame)
    if user_id is None or not _visible(context, connection.user_id, user_id):
        return "SILENT-10"
    if len(connection.watching) < context.settings.presence_limit:
        context.watch(connection, user_id)
    payload = _presence(context, user_id, online=bool(context.of_user(_person(context, user_id))))
    context.answer(connection, context.build("presence.snapshot", payload, trace_id=text_of(frame.get("trace_id"))))
    return "handled"


def _unsubscribe(context: Context, connection: Connection, frame: JsonObject) -> str:
    user_id = _target(context, frame)
    if user_id is None:
        return "SILENT-10"
    context.unwatch(connection, user_id)
    return "handled"


def announce(context: Context, user_id: str, *, online: bool) -> None:
    """Tell the subscribers that the user came or went (PRES-1)."""
    agent = context.directory.agents.get(user_id)
    names = [user_id] if agent is None else [user_id, agent.agent_id]
    for name in names:
        for connection in context.watchers(name):
            if connection.phase is Phase.LIVE:
                frame = context.build("presence.update", _presence(context, name, online=online))
                context.answer(connection, frame)


def _target(context: Context, frame: JsonObject) -> str | None:
    """PRES-7."""
    user_id = text_of(object_of(frame.get("payload")).get("user_id"))
    return user_id if user_id.startswith(("usr_", "agt_")) else None


def _person(context: Context, user_id: str) -> str:
    """The user id behind an ``agt_…`` id; any other id as it is."""
    agent = context.directory.agent_by_id(user_id)
    return user_id if agent is None else agent.user_id


def _visible(context: Context, watcher: str, user_id: str) -> bool:
    """PRES-5."""
    if not context.settings.presence_gate or watcher == user_id:
        return True
    return any(
        _person(context, user_id) in conversation.members
        for conversation in context.directory.conversations_of(watcher)
    )


def _presence(context: Context, user_id: str, *, online: bool) -> JsonObject:
    payload: JsonObject = {"user_id": user_id, "online": online}
    seen = context.last_seen.get(_person(context, user_id))
    if seen is not None:
        moment = datetime.fromtimestamp(seen / 1000, UTC)
        payload["last_seen_at"] = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return payload


HANDLERS = {"presence.subscribe": _subscribe, "presence.unsubscribe": _unsubscribe}
