"""Messages, acks and typing straight into typed structures, where msgspec is installed.

Only what is ordinary is read here. Whatever msgspec refuses, be it damaged or only unusual, is None, and
`clawproto.wire.codec.decode` reads it in its own way, which comes to the same result for everything that both can read.
"""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Final, TypeAlias, cast

from clawproto.evolving import constructor
from clawproto.json_types import Json
from clawproto.wire.fragments import read_mentions
from clawproto.wire.json_backend import is_shallow
from clawproto.wire.payloads import read_reply
from clawproto.wire.values import (
    Ack,
    Fragment,
    Frame,
    MediaFragment,
    Mention,
    MentionFragment,
    MessagePayload,
    Peer,
    TextFragment,
    Typing,
)

Read: TypeAlias = Callable[[str | bytes], Frame | None]
Answer: TypeAlias = tuple[str, str | None, int | None]
"""An ack without a stamp: trace id, message id, time of acceptance."""
Said: TypeAlias = tuple[str, str, str | None, Peer, MessagePayload, int | None, Json, int | None]
"""A message with a sender: event, chat, type of chat, sender, payload, time, ciphertext, ``dseq``."""
Writing: TypeAlias = tuple[tuple[str, str], bool]
"""``typing.update`` without a stamp: chat and sender, blank if absent, and whether they write."""
ReadTraffic: TypeAlias = Callable[[str | bytes], Said | Answer | Writing | None]

try:
    import msgspec
except ImportError:
    read_quickly: Read | None = None
    read_traffic: ReadTraffic | None = None
else:
    _Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]  # ENV-14

    class _Object(msgspec.Struct, gc=False, forbid_unknown_fields=True):
        """An object that holds what is known and nothing else, so that nothing is passed over unseen."""

    class _Text(_Object, tag_field="kind", tag="text"):
        text: str
        delta: str | None = None

    class _Mention(_Object, tag_field="kind", tag="mention"):
        user_id: str | None = None
        display: str | None = None

    class _Image(_Object, tag_field="kind", tag="image"):
        url: str
        name: str | None = None
        mime: str | None = None
        size: _Integer | None = None
        width: _Integer | None = None
        height: _Integer | None = None

    class _Peer(_Object):
        id: str
        type: str | None = None
        nick_name: str | None = None

    class _Body(_Object):
        fragments: list[_Text | _Mention | _Image]

    class _Context(_Object):
        mentions: list[Any] | None = None
        reply: dict[str, Any] | None = None

    class _Streaming(_Object):  # says nothing of a message that is whole (SEND-10)
        status: str | None = None
        sequence: _Integer | None = None
        mutation_policy: str | None = None
        started_at: _Integer | None = None
        completed_at: _Integer | None = None

    class _Said(_Object):
        body: _Body
        context: _Context | None = None
        streaming: _Streaming | None = None

    class _Message(_Object):
        message_id: str
        message: _Said
        message_mode: str = ""
        stream_merged: bool = False
        metadata: dict[str, Any] | None = None

    class _Ack(_Object):
        message_id: str | None = None
        accepted_at: _Integer | None = None

    class _Typing(_Object):
        is_typing: bool

    class _Envelope(_Object, tag_field="event"):
        version: str
        trace_id: str = ""
        emitted_at: _Integer | None = None
        chat_id: str | None = None
        chat_type: str | None = None
        to: _Peer | None = None
        sender: _Peer | None = None
        origin_device_id: str | None = None
        seq: _Integer | None = None
        dseq: _Integer = cast(int, None)  # absent, or an integer: null would be no integer (R2-31)
        ciphertext_fragments: Any = None

    class _SendEnvelope(_Envelope, tag="message.send", kw_only=True):
        event: ClassVar[str] = "message.send"
        payload: _Message

    class _ReplyEnvelope(_Envelope, tag="message.reply", kw_only=True):
        event: ClassVar[str] = "message.reply"
        payload: _Message

    class _AckEnvelope(_Envelope, tag="message.ack", kw_only=True):
        event: ClassVar[str] = "message.ack"
        payload: _Ack

    class _TypingEnvelope(_Envelope, tag="typing.update", kw_only=True):
        event: ClassVar[str] = "typing.update"
        payload: _Typing

    _Ordinary: TypeAlias = _SendEnvelope | _ReplyEnvelope | _AckEnvelope | _TypingEnvelope
    _decode: Final = msgspec.json.Decoder(_Ordinary).decode

    _make_text: Final = constructor(TextFragment)
    _make_mention: Final = constructor(MentionFragment)
    _make_media: Final = constructor(MediaFragment)
    _make_message: Final = constructor(MessagePayload)
    _make_typing: Final = constructor(Typing)
    _make_peer: Final = constructor(Peer)
    _make_ack: Final = constructor(Ack)
    _make_frame: Final = constructor(Frame)

    def _fragment(found: _Text | _Mention | _Image) -> Fragment:
        if type(found) is _Text:
            return _make_text(found.text, found.delta)
        if type(found) is _Mention:
            return _make_mention(found.user_id, found.display)
        assert type(found) is _Image
        return _make_media("image", found.url, found.name, found.mime, found.size, found.width, found.height)

    def _message(found: _Message, text: str) -> MessagePayload | None:
        """None if what is untyped in it nests too deeply."""
        said, metadata = found.message, found.metadata
        context, fragments = said.context, said.body.fragments
        mentions: tuple[Mention, ...] = ()
        reply = None
        if metadata is not None or (context is not None and (context.mentions or context.reply)):
            if not is_shallow(text):
                return None
            if context is not None:
                mentions, reply = read_mentions(context.mentions), read_reply(context.reply)
        if len(fragments) == 1 and type(only := fragments[0]) is _Text:
            made: tuple[Fragment, ...] = (_make_text(only.text, only.delta),)
        else:
            made = tuple(
                [_make_text(one.text, one.delta) if type(one) is _Text else _fragment(one) for one in fragments]
            )
        return _make_message(found.message_id, found.message_mode, made, mentions, reply, found.stream_merged, metadata)

    def msgspec_read(data: str | bytes) -> Frame | None:
        """The frame, if it is ordinary."""
        try:
            # Through text, since msgspec passes over strings that nobody wants without looking at their encoding.
            text = data if isinstance(data, str) else data.decode()
            found: _Ordinary = _decode(text)
        except (ValueError, RecursionError):  # UnicodeError and msgspec's errors are ValueErrors
            return None
        if found.version != "2" or (found.ciphertext_fragments is not None and not is_shallow(text)):
            return None
        payload: MessagePayload | Ack | Typing | None
        if isinstance(found, _AckEnvelope):
            payload = _make_ack(found.payload.message_id, found.payload.accepted_at)
        elif isinstance(found, _TypingEnvelope):
            payload = _make_typing(found.payload.is_typing)
        elif (payload := _message(found.payload, text)) is None:
            return None
        to, sender = found.to, found.sender
        return _make_frame(
            found.event,
            payload,
            found.trace_id,
            found.emitted_at,
            found.chat_id,
            found.chat_type,
            None if to is None else _make_peer(to.id, to.type, to.nick_name),
            None if sender is None else _make_peer(sender.id, sender.type, sender.nick_name),
            found.origin_device_id,
            found.seq,
            found.dseq,
            False,
            found.ciphertext_fragments,
        )

    def msgspec_read_traffic(data: str | bytes) -> Said | Answer | Writing | None:
        """The same, of which only what counts."""
        try:
            text = data if isinstance(data, str) else data.decode()
            found: _Ordinary = _decode(text)
        except (ValueError, RecursionError):
            return None
        if isinstance(found, _AckEnvelope):
            payload, stamp = found.payload, cast(int | None, found.dseq)
            if stamp is not None or found.version != "2" or found.ciphertext_fragments is not None:
                return None
            return found.trace_id, payload.message_id, payload.accepted_at
        hidden, sender = found.ciphertext_fragments, found.sender
        if found.version != "2" or (hidden is not None and not is_shallow(text)):
            return None
        if isinstance(found, _TypingEnvelope):
            if cast(int | None, found.dseq) is not None:
                return None
            return (found.chat_id or "", "" if sender is None else sender.id), found.payload.is_typing
        if sender is None or (message := _message(found.payload, text)) is None:
            return None
        return (
            found.event,
            found.chat_id or "",
            found.chat_type,
            _make_peer(sender.id, sender.type, sender.nick_name),
            message,
            found.emitted_at,
            hidden,
            found.dseq,
        )

    read_quickly = msgspec_read
    read_traffic = msgspec_read_traffic
