"""``message.read``: durable marks, shown to the reader's other devices only (READ)."""

from clawproto.hub.connection import Connection
from clawproto.hub.context import Context
from clawproto.hub.frames import JsonObject, encode, envelope, int_of, object_of, text_of


def _handle(context: Context, connection: Connection, frame: JsonObject) -> str:
    chat_id = text_of(frame.get("chat_id"))
    mark = int_of(object_of(frame.get("payload")).get("last_read_emitted_at"))
    if not chat_id or mark is None or mark <= 0:
        return "SILENT-6"
    marks = context.read_marks.setdefault(connection.user_id, {})
    marks[chat_id] = max(mark, marks.pop(chat_id, 0))  # newest chat last
    while len(marks) > context.settings.read_mark_chats:
        del marks[next(iter(marks))]
    downlink = context.build("message.read", {"last_read_emitted_at": marks[chat_id]})
    downlink |= {"chat_id": chat_id, "sender": context.sender(connection.user_id)}
    for sibling in context.of_user(connection.user_id):
        if sibling is not connection and sibling.can("multi_device"):
            context.answer(sibling, downlink)
    return "handled"


def snapshot(context: Context, connection: Connection) -> None:
    """The marks of the last 30 days, at most 500 chats, ahead of the inbox rows (READ-3)."""
    settings = context.settings
    oldest = context.now.wall_ms - settings.read_mark_age_ms
    marks = context.read_marks.get(connection.user_id, {})
    recent = [(chat_id, mark) for chat_id, mark in marks.items() if mark >= oldest]
    for chat_id, mark in recent[max(0, len(recent) - settings.read_mark_chats) :]:
        frame = envelope("message.read", "", mark, {"last_read_emitted_at": mark})
        frame |= {"chat_id": chat_id, "sender": context.sender(connection.user_id)}
        context.send(connection, encode(frame))


HANDLERS = {"message.read": _handle}
