"""Payloads, from JSON, by the name of their event (EVT-4)."""

from collections.abc import Callable
from operator import itemgetter
from typing import Any, Final, TypeAlias

from clawproto.evolving import constructor
from clawproto.json_types import Json
from clawproto.wire.fragments import read_fragments, read_mentions
from clawproto.wire.optional import Unusable, optional_integer, optional_string
from clawproto.wire.values import (
    Ack,
    Challenge,
    Delivered,
    Fragment,
    HelloFail,
    HelloOk,
    HistoryTransit,
    HistoryTruncated,
    MalformedPayload,
    MessagePayload,
    MetadataInvalidated,
    NotifySignal,
    OpaquePayload,
    Payload,
    Peer,
    PermissionRequest,
    PermissionResolved,
    Pong,
    Presence,
    Reaction,
    ReadMark,
    Recall,
    Refusal,
    ReplayDone,
    Reply,
    StreamAdd,
    StreamCreate,
    StreamDone,
    StreamFail,
    SyncMark,
    TextFragment,
    Typing,
)

_Object: TypeAlias = dict[str, Json]
_Reader: TypeAlias = Callable[[_Object], Payload]

_NOTHING: Final[_Object] = {}
_PONG: Final = Pong()
_REPLAY_DONE: Final = ReplayDone()


_new_message: Final = constructor(MessagePayload)
_new_text: Final = constructor(TextFragment)
_new_peer: Final = constructor(Peer)


def _object(value: Json) -> _Object:
    return value if type(value) is dict else _NOTHING


def read_reply(value: Json) -> Reply | None:
    """``context.reply``; None unless it says which message it answers."""
    source = _object(value)
    message_id = source.get("reply_to_msg_id")
    if type(message_id) is not str:
        return None
    preview = _object(source.get("reply_preview"))
    items = preview.get("fragments")
    fragments = read_fragments(items)[0] if type(items) is list else ()
    return Reply(message_id, optional_string(preview.get("id")), optional_string(preview.get("nick_name")), fragments)


_payload_parts: Final = itemgetter("message_id", "message_mode", "message")
_message_parts: Final = itemgetter("body", "context")
_context_parts: Final = itemgetter("mentions", "reply")
_text_parts: Final = itemgetter("kind", "text")


def _read_usual(data: Any) -> MessagePayload | None:
    """One text that mentions nobody and answers nothing, in a payload that holds nothing else; else None."""
    try:
        message_id, mode, message = _payload_parts(data)
        body, context = _message_parts(message)
        mentions, reply = _context_parts(context)
        items = body["fragments"]
        (item,) = items
        kind, text = _text_parts(item)
    except (KeyError, TypeError, ValueError):
        return None
    if (
        kind == "text"
        and type(text) is str
        and type(message_id) is str
        and type(mode) is str
        and not mentions
        and not reply
        and type(items) is list
        and len(data) == 3
        and len(item) == 2
    ):
        return _new_message(message_id, mode, (_new_text(text),), ())
    return None


def read_message(data: Json) -> MessagePayload | str:
    """The payload of ``message.send`` and ``message.reply``, or why there is none. Never raises."""
    usual = _read_usual(data)
    if usual is not None:
        return usual
    if type(data) is not dict:
        data = _NOTHING
    message_id = data.get("message_id")
    if type(message_id) is not str:
        return "payload.message_id is not a string"
    message = data.get("message")
    body = message.get("body") if type(message) is dict else None
    items = body.get("fragments") if type(body) is dict else None
    if type(message) is not dict or type(items) is not list:
        return "payload.message.body.fragments is not a list"
    fragments, skipped = read_fragments(items)
    context, metadata, mode = message.get("context"), data.get("metadata"), data.get("message_mode")
    mentions, reply = (context.get("mentions"), context.get("reply")) if type(context) is dict else (None, None)
    return _new_message(
        message_id,
        mode if type(mode) is str else "",
        fragments,
        read_mentions(mentions) if mentions else (),
        read_reply(reply) if reply else None,
        data.get("stream_merged") is True,
        metadata if type(metadata) is dict else None,
        skipped,
    )


def _read_message(data: _Object) -> MessagePayload:
    message = read_message(data)
    if isinstance(message, str):
        raise Unusable(message)
    return message


def _string(data: _Object, name: str) -> str:
    value = data.get(name)
    if type(value) is not str:
        raise Unusable(f"payload.{name} is not a string")
    return value


def _stream_fragments(data: _Object) -> tuple[Fragment, ...]:
    items = data.get("fragments")
    if type(items) is not list:
        raise Unusable("payload.fragments is not a list")
    return read_fragments(items)[0]


def _read_stream_add(data: _Object) -> StreamAdd:
    sequence = optional_integer(data.get("sequence"))
    if sequence is None:
        raise Unusable("payload.sequence is not an integer")
    return StreamAdd(_string(data, "message_id"), sequence, _stream_fragments(data))


def _read_stream_done(data: _Object) -> StreamDone:
    return StreamDone(_string(data, "message_id"), _stream_fragments(data))


def _read_reaction(data: _Object) -> Reaction:
    emoji, removed = optional_string(data.get("emoji")), data.get("removed") is True
    if not removed and not emoji:
        raise Unusable("payload.emoji is empty, and the reaction is not removed")
    return Reaction(
        _target(data),
        optional_string(data.get("reactor_user_id")),
        None if removed else emoji,
        removed,
        optional_string(data.get("message_id")),
    )


def _read_recall(data: _Object) -> Recall:
    return Recall(_target(data), optional_string(data.get("message_id")))


def _target(data: _Object) -> str:
    target = _string(data, "target_message_id")
    if not target:
        raise Unusable("payload.target_message_id is empty")
    return target


def _read_metadata(data: _Object) -> MetadataInvalidated:
    items = data.get("scope")
    scope = tuple(item for item in items if type(item) is str) if type(items) is list else ()
    if type(items) is list and len(scope) < len(items):
        scope = ()  # something in it cannot be understood: everything (META-2)
    return MetadataInvalidated(scope, optional_integer(data.get("version")), optional_integer(data.get("updated_at")))


def _read_permission_request(data: _Object) -> PermissionRequest:
    target = data.get("target")
    return PermissionRequest(
        _string(data, "request_id"),
        optional_string(data.get("agent_id")),
        optional_string(data.get("operation")),
        target if type(target) is dict else None,
        optional_integer(data.get("expires_at")),
    )


def _read_transit(data: _Object) -> HistoryTransit:
    return HistoryTransit(optional_string(data.get("kind")), data)


def _generated(event: str, type_: type[Payload]) -> _Reader:
    """A reader that has cattrs make another in its place when it is first needed."""

    def read(data: _Object) -> Payload:
        from clawproto.wire.structure import reader  # noqa: PLC0415

        made = _READERS[event] = reader(type_)
        return made(data)

    return read


_READERS: Final[dict[str, _Reader]] = {
    "connect.challenge": _generated("connect.challenge", Challenge),
    "hello-ok": _generated("hello-ok", HelloOk),
    "hello-fail": _generated("hello-fail", HelloFail),
    "message.ack": _generated("message.ack", Ack),
    "message.error": _generated("message.error", Refusal),
    "message.send": _read_message,
    "message.reply": _read_message,
    "message.created": _generated("message.created", StreamCreate),
    "message.add": _read_stream_add,
    "message.done": _read_stream_done,
    "message.failed": _generated("message.failed", StreamFail),
    "message.delivered": _generated("message.delivered", Delivered),
    "message.reaction": _read_reaction,
    "message.read": _generated("message.read", ReadMark),
    "message.recall": _read_recall,
    "typing.update": _generated("typing.update", Typing),
    "presence.snapshot": _generated("presence.snapshot", Presence),
    "presence.update": _generated("presence.update", Presence),
    "chat.metadata.invalidated": _read_metadata,
    "permission.request": _read_permission_request,
    "permission.resolved": _generated("permission.resolved", PermissionResolved),
    "history.transit": _read_transit,
    "history.truncated": _generated("history.truncated", HistoryTruncated),
    "pong": lambda data: _PONG,
    "replay.done": lambda data: _REPLAY_DONE,
    "sync.mark": _generated("sync.mark", SyncMark),
    "notify.signal": _generated("notify.signal", NotifySignal),
}


def read_peer(value: Json) -> Peer | None:
    """``to`` or ``sender``; None unless it is an object with an id (ENV-13). Never raises."""
    if type(value) is not dict or type(peer_id := value.get("id")) is not str:
        return None
    kind, name = value.get("type"), value.get("nick_name")
    return _new_peer(peer_id, kind if type(kind) is str else None, name if type(name) is str else None)


def read_payload(event: str, payload: Json) -> Payload:
    """The payload of ``event``; one that is no object counts as empty. Never raises.

    An event without a typed form, unknown ones included, is opaque (EVT-2). A payload that lacks what its event needs
    is a `MalformedPayload`: its frame, and its ``dseq``, are still there to be dealt with (R2-11).
    """
    data = _object(payload)
    reader = _READERS.get(event)
    if reader is None:
        return OpaquePayload(data)
    try:
        return reader(data)
    except Unusable as error:
        return MalformedPayload(str(error), payload)
