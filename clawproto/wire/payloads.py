"""Payloads, from JSON, by the name of their event (EVT-4)."""

from collections.abc import Callable
from typing import Final, TypeAlias, cast

from cattrs import BaseValidationError, transform_error

from clawproto.json_types import Json
from clawproto.wire.fragments import read_fragments, read_mentions
from clawproto.wire.structure import optional_string, tolerant
from clawproto.wire.values import (
    Ack,
    Challenge,
    HelloFail,
    HelloOk,
    MalformedPayload,
    MessagePayload,
    NotifySignal,
    OpaquePayload,
    Payload,
    Peer,
    Pong,
    Refusal,
    ReplayDone,
    Reply,
    SyncMark,
    Typing,
)

_Object: TypeAlias = dict[str, Json]
_Reader: TypeAlias = Callable[[_Object], Payload]

_NOTHING: Final[_Object] = {}
_PONG: Final = Pong()
_REPLAY_DONE: Final = ReplayDone()


class _Unusable(Exception):
    """The payload lacks what its event cannot do without."""


def _object(value: Json) -> _Object:
    return value if type(value) is dict else _NOTHING


def _read_reply(value: Json) -> Reply | None:
    """``context.reply``; None unless it says which message it answers."""
    source = _object(value)
    message_id = source.get("reply_to_msg_id")
    if type(message_id) is not str:
        return None
    preview = _object(source.get("reply_preview"))
    items = preview.get("fragments")
    fragments = read_fragments(items)[0] if type(items) is list else ()
    return Reply(message_id, optional_string(preview.get("id")), optional_string(preview.get("nick_name")), fragments)


def _read_message(data: _Object) -> MessagePayload:
    message_id = data.get("message_id")
    if type(message_id) is not str:
        raise _Unusable("payload.message_id is not a string")
    message = _object(data.get("message"))
    items = _object(message.get("body")).get("fragments")
    if type(items) is not list:
        raise _Unusable("payload.message.body.fragments is not a list")
    fragments, skipped = read_fragments(items)
    context = _object(message.get("context"))
    metadata = data.get("metadata")
    return MessagePayload(
        message_id,
        optional_string(data.get("message_mode")) or "",
        fragments,
        read_mentions(context.get("mentions")),
        _read_reply(context.get("reply")),
        data.get("stream_merged") is True,
        metadata if type(metadata) is dict else None,
        skipped,
    )


def _generated(type_: type[Payload]) -> _Reader:
    hook = cast(Callable[[_Object, object], Payload], tolerant.get_structure_hook(type_))

    def read(data: _Object) -> Payload:
        return hook(data, None)

    return read


_READERS: Final[dict[str, _Reader]] = {
    "connect.challenge": _generated(Challenge),
    "hello-ok": _generated(HelloOk),
    "hello-fail": _generated(HelloFail),
    "message.ack": _generated(Ack),
    "message.error": _generated(Refusal),
    "message.send": _read_message,
    "message.reply": _read_message,
    "typing.update": _generated(Typing),
    "pong": lambda data: _PONG,
    "replay.done": lambda data: _REPLAY_DONE,
    "sync.mark": _generated(SyncMark),
    "notify.signal": _generated(NotifySignal),
}


def read_peer(value: Json) -> Peer | None:
    """``to`` or ``sender``; None unless it is an object with an id (ENV-13). Never raises."""
    if type(value) is not dict or type(peer_id := value.get("id")) is not str:
        return None
    return Peer(peer_id, optional_string(value.get("type")), optional_string(value.get("nick_name")))


def _explain(error: BaseException, type_: type | None) -> str:
    return "is missing" if isinstance(error, KeyError) else f"is {error}"


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
    except _Unusable as error:
        return MalformedPayload(str(error), payload)
    except BaseValidationError as error:
        parts = [part.split(" @ ", 1) for part in transform_error(error, "payload", _explain)]
        return MalformedPayload("; ".join(f"{path} {text}" for text, path in parts), payload)
