"""Taking out of events what people write, and leaving its shape: lengths, kinds, ids, and what equals what.

A letter becomes ``x``, a digit ``0``, other characters one of the same length in UTF-8; white space and what JSON
escapes stay. So a text that grows still grows, and a size limit is reached when it was. Whether a message that comes
again says the same can no longer be told from that; a digest with the journal's salt goes along for it.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from attrs import fields, has

from clawproto.events import (
    AppendStream,
    CallRest,
    Event,
    FinishStream,
    FrameReceived,
    HttpAnswered,
    OpenStream,
    React,
    Send,
    TransferHistory,
)
from clawproto.evolving import evolve
from clawproto.http import FileBody
from clawproto.journal_encoding import class_of
from clawproto.json_types import Json
from clawproto.wire import json_backend

MARK: Final = "masked"  # field of a masked message's metadata that tells two contents apart

# Names of fields that say what something is, never what somebody wrote.
# fmt: off
_KEPT: Final = frozenset(
    {
        "version", "event", "trace_id", "chat_id", "chat_type", "id", "type", "kind", "user_id", "message_id",
        "target_message_id", "reactor_user_id", "reply_to_msg_id", "device_id", "origin_device_id",
        "target_device_id", "nonce", "delivery_mode", "ack_mode", "ack_epoch", "epoch", "code", "message_mode",
        "mode", "mime", "event_id", "entity_id", "agent_id", "request_id", "decision", "operation", "outcome",
        "scope", "last_seen_at", "owner_id", "conversation_id",
    }
)
# fmt: on
_MESSAGES: Final = ("message.send", "message.reply")
_WRITTEN: Final = frozenset({"text", "delta", "display", "nick_name", "name", "url", "emoji", "excerpt"})
_JSON_TEXTS: Final = frozenset({"payload", "data", "to"})


def mask_text(text: str) -> str:
    """``text`` with nothing left but its shape."""
    return "".join(map(_mask_character, text))


def _mask_character(character: str) -> str:
    if character.isspace() or character in '"\\' or character < " " or "\ud800" <= character <= "\udfff":
        return character
    if character < "\x80":
        return "0" if character.isdigit() else ("X" if character.isupper() else "x")
    return "é" if character < "\u0800" else ("…" if character < "\U00010000" else "🙂")


class Masker:
    """Masks the events of one session.

    Args:
        salt: makes equal texts equal within this journal, and only there.
    """

    def __init__(self, salt: bytes) -> None:
        self._salt = salt

    def event(self, event: Event) -> Event:
        """The same event without what people wrote. Never raises."""
        mask = _BY_TYPE.get(type(event))
        return self._written(event) if mask is None else mask(self, event)

    # --- from outside ---

    def frame(self, event: FrameReceived) -> FrameReceived:
        """A downlink; a handshake as it is."""
        frame = _read(event.data)
        if not isinstance(frame, dict) or not isinstance(frame.get("payload"), dict):
            return evolve(event, data=_mask_raw(event.data))
        if frame.get("event") in ("connect.challenge", "hello-ok", "hello-fail"):
            return event
        payload = cast("dict[str, Json]", frame["payload"])
        masked = cast("dict[str, Json]", self.tree(frame))
        if frame.get("event") in _MESSAGES:
            said = cast("dict[str, Json]", masked["payload"])
            metadata = said.get("metadata")
            mark: dict[str, Json] = {MARK: self._digest(payload)}
            said["metadata"] = {**metadata, **mark} if isinstance(metadata, dict) else mark
        text = _write(masked)
        return evolve(event, data=text if isinstance(event.data, str) else text.encode())

    def answer(self, event: HttpAnswered) -> HttpAnswered:
        """A REST answer; one that brings tokens as it is, since the session reads it."""
        body = event.answer.body
        envelope = _read(body)
        if not isinstance(envelope, dict):
            return evolve(event, answer=evolve(event.answer, body=_mask_raw(body)))
        data = envelope.get("data")
        if not isinstance(data, dict) or "access_token" in data:
            return event
        body = _write({**envelope, "data": self.tree(data)}).encode()
        return evolve(event, answer=evolve(event.answer, body=body))

    # --- from the application ---

    def send(self, command: Send) -> Send:
        """A message to be sent."""
        return evolve(
            command,
            fragments=self.tree(command.fragments),
            mentions=self.tree(command.mentions),
            reply=self.tree(command.reply),
            to=self.tree(command.to),
        )

    def react(self, command: React) -> React:
        """A reaction to be sent."""
        return command if command.emoji is None else evolve(command, emoji=self._emoji(command.emoji))

    def append(self, command: AppendStream) -> AppendStream:
        """A piece of a stream."""
        return evolve(command, text=mask_text(command.text))

    def open(self, command: OpenStream) -> OpenStream:
        """The beginning of a stream."""
        return evolve(command, to=self.tree(command.to))

    def finish(self, command: FinishStream) -> FinishStream:
        """The end of a stream, and the message that follows."""
        return command if command.closing is None else evolve(command, closing=self.send(command.closing))

    def transfer(self, command: TransferHistory) -> TransferHistory:
        """A piece of history."""
        return evolve(
            command, data=self.tree(command.data), ciphertext_fragments=self.tree(command.ciphertext_fragments)
        )

    def call(self, command: CallRest) -> CallRest:
        """What the application sends to the REST surface."""
        body = command.body
        if isinstance(body, FileBody):
            return evolve(command, body=evolve(body, head=_mask_raw(body.head), tail=_mask_raw(body.tail)))
        if body is None:
            return command
        try:
            tree = json_backend.loads(body)
        except ValueError:
            return evolve(command, body=_mask_raw(body))
        return evolve(command, body=_write(self.tree(tree)).encode())

    # --- pieces ---

    def tree(self, value: object, name: object = None) -> Any:
        """JSON with its strings masked, but for names and ids; what is no JSON stays, for the session to refuse."""
        if isinstance(value, str):
            if name in _KEPT:
                return value
            return self._emoji(value) if name == "emoji" else mask_text(value)
        if isinstance(value, Mapping):
            return {key: self.tree(item, key) for key, item in cast(Mapping[object, object], value).items()}
        if isinstance(value, list):
            return [self.tree(item, name) for item in cast("list[object]", value)]
        if isinstance(value, tuple):
            return tuple(self.tree(item, name) for item in cast("tuple[object, ...]", value))
        return value

    def _written(self, value: object) -> Any:
        """Any other event: fields by their names, whatever it is made of."""
        if isinstance(value, tuple):
            return tuple(self._written(item) for item in cast("tuple[object, ...]", value))
        if isinstance(value, Mapping):
            return self.tree(cast(Mapping[object, object], value))
        class_ = class_of(value)
        if not has(class_):
            return value
        changed: dict[str, Any] = {}
        for attribute in fields(class_):
            old = getattr(value, attribute.name)
            new = self._field(attribute.name, old) if isinstance(old, str) else self._written(old)
            if new is not old:
                changed[attribute.name] = new
        return evolve(cast(Any, value), **changed) if changed else value

    def _field(self, name: str, text: str) -> str:
        if name == "emoji":
            return self._emoji(text)
        if name in _JSON_TEXTS:
            try:
                return _write(self.tree(json_backend.loads(text)))
            except ValueError:
                return mask_text(text)
        return mask_text(text) if name in _WRITTEN else text

    def _emoji(self, emoji: str) -> str:
        return f"x{self._digest(emoji)[:8]}" if 0 < len(emoji.encode("utf-8", "surrogatepass")) <= 64 else emoji

    def _digest(self, value: Json) -> str:
        text = json.dumps(value, sort_keys=True).encode()
        return hashlib.blake2b(text, digest_size=8, key=self._salt).hexdigest()


def _read(text: str | bytes) -> Json:
    """None for what cannot be read. No text in it has half of a character, so it can be encoded."""
    try:
        return json_backend.loads(text)
    except ValueError:
        return None


def _mask_raw(data: str | bytes) -> Any:
    """Something that cannot be read: it stays as unreadable as it is."""
    if isinstance(data, str):
        return mask_text(data)
    return mask_text(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def _write(value: Json) -> str:
    return json.dumps(_finite(value), separators=(",", ":"), ensure_ascii=False)


def _finite(value: Json) -> Json:
    """A number too large for a float was read as an infinite one, and is none at all; so is a text."""
    if isinstance(value, float) and not math.isfinite(value):
        return "x"
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return value


_BY_TYPE: Final[dict[type, Callable[[Masker, Any], Event]]] = {
    FrameReceived: Masker.frame,
    HttpAnswered: Masker.answer,
    Send: Masker.send,
    React: Masker.react,
    AppendStream: Masker.append,
    OpenStream: Masker.open,
    FinishStream: Masker.finish,
    TransferHistory: Masker.transfer,
    CallRest: Masker.call,
}
