"""Heartbeat, acknowledgements and the cursor reset (HB-3, R1-5, R2-21, HIST-13)."""

from clawproto.hub.connection import Connection
from clawproto.hub.context import Context
from clawproto.hub.delivery import cursor_ack, sync_ack
from clawproto.hub.frames import JsonObject, envelope, int_of, object_of, text_of


def _ping(context: Context, connection: Connection, frame: JsonObject) -> str:
    emitted_at = int_of(frame.get("emitted_at")) or 0
    context.answer(connection, envelope("pong", text_of(frame.get("trace_id")), emitted_at, {}))
    return "handled"


def _acknowledge_seq(context: Context, connection: Connection, frame: JsonObject) -> str:
    seq = int_of(object_of(frame.get("payload")).get("seq"))
    if seq is None or seq <= 0:
        return "SILENT-7"
    if not connection.stamps_seq:
        return "ignored"
    cursor_ack(context, connection, seq)
    return "handled"


def _acknowledge_dseq(context: Context, connection: Connection, frame: JsonObject) -> str:
    payload = object_of(frame.get("payload"))
    dseq = int_of(payload.get("dseq"))
    if dseq is None or not sync_ack(context, connection, dseq, text_of(payload.get("epoch"))):
        return "SILENT-8"
    return "handled"


def _reset_cursor(context: Context, connection: Connection, _frame: JsonObject) -> str:
    if context.reset_fails:
        return "reset failed"  # HIST-15
    context.inbox(connection.user_id).cursors[connection.device_id] = 0
    context.cut(connection)
    return "handled"


HANDLERS = {
    "ping": _ping,
    "message.cursor_ack": _acknowledge_seq,
    "message.sync_ack": _acknowledge_dseq,
    "device.cursor.reset": _reset_cursor,
}
