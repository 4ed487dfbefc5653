"""Every uplink after the handshake: inspect, dispatch, record (ENV-11, EVT-3, ERR-8, HUB-3).

A new group of events is one file in ``handlers/`` with a table ``HANDLERS``; add it to `_TABLES`.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from clawproto.hub.connection import Connection
from clawproto.hub.context import Context, UplinkRecord
from clawproto.hub.frames import JsonObject, decode, object_of, size, text_of, without_nul
from clawproto.hub.handlers import (
    control,
    history,
    messages,
    presence,
    reactions,
    read_marks,
    receipts,
    streams,
    typing,
)
from clawproto.hub.routing import refuse

Handler: TypeAlias = Callable[[Context, Connection, JsonObject], str]
"""Carries an uplink out and returns its fate."""

_TABLES: Final[tuple[Mapping[str, Handler], ...]] = (
    messages.HANDLERS,
    streams.HANDLERS,
    reactions.HANDLERS,
    receipts.HANDLERS,
    typing.HANDLERS,
    read_marks.HANDLERS,
    presence.HANDLERS,
    history.HANDLERS,
    control.HANDLERS,
)
HANDLERS: Final[dict[str, Handler]] = {event: handler for table in _TABLES for event, handler in table.items()}

TOO_LARGE = 1009


def receive(context: Context, connection: Connection, data: str | bytes) -> None:
    """Deal with one message of a connection that has had ``hello-ok``."""
    length = len(data) if isinstance(data, bytes) else size(data)
    if length > context.settings.frame_limit:
        record(context, connection, {}, "closed 1009")
        context.close(connection, TOO_LARGE, "frame too large")  # LIM-1
        return
    frame = decode(data)
    if frame is None:
        record(context, connection, {}, "SILENT-3")
        return
    if "\\u0000" in (data if isinstance(data, str) else data.decode("utf-8", "replace")):
        frame = object_of(without_nul(frame))  # ENV-9
    if context.switches.is_silent(connection.user_id):
        record(context, connection, frame, "silenced")
        return
    record(context, connection, frame, _dispatch(context, connection, frame))


def _dispatch(context: Context, connection: Connection, frame: JsonObject) -> str:
    if frame.get("version") != "2":
        return refuse(context, connection, frame, "unsupported_version")  # ERR-8
    event = text_of(frame.get("event"))
    handler = HANDLERS.get(event)
    if handler is not None:
        return handler(context, connection, frame)
    if event == "connect":
        return "ignored"
    return "SILENT-13" if event == "offline.ack" else "SILENT-2"


def record(context: Context, connection: Connection, frame: JsonObject, fate: str) -> None:
    """Note what became of an uplink, for tests to see."""
    context.counts[f"fate {fate}"] += 1
    context.uplinks.append(
        UplinkRecord(
            conn=connection.conn,
            user_id=connection.user_id,
            device_id=connection.device_id,
            event=text_of(frame.get("event")),
            trace_id=text_of(frame.get("trace_id")),
            chat_id=text_of(frame.get("chat_id")),
            message_id=text_of(object_of(frame.get("payload")).get("message_id")),
            fate=fate,
            at_ms=context.now.wall_ms,
        )
    )
