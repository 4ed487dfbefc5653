"""Messages and acks straight into typed structures, where msgspec is installed.

Only what is ordinary is read here. Whatever msgspec refuses, be it damaged or only unusual, is None, and
`clawproto.wire.codec.decode` reads it in its own way, which comes to the same result for everything that both can read.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, TypeAlias

from clawproto.evolving import constructor
from clawproto.wire.fragments import read_mentions
from clawproto.wire.json_backend import MAX_DEPTH
from clawproto.wire.payloads import read_reply
from clawproto.wire.values import (
    Ack,
    Fragment,
    Frame,
    MediaFragment,
    MentionFragment,
    MessagePayload,
    Peer,
    TextFragment,
)

Read: TypeAlias = Callable[[str | bytes], Frame | None]
Answer: TypeAlias = tuple[str, str | None, int | None]
"""An ack without a stamp: trace id, message id, time of acceptance."""
ReadTraffic: TypeAlias = Callable[[str | bytes], Frame | Answer | None]

try:
    import msgspec
except ImportError:
    read_quickly: Read | None = None
    read_traffic: ReadTraffic | None = None
else:
    _Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]  # ENV-14

    class _Text(msgspec.Struct, tag_field="kind", tag="text", gc=False):
        text: str
        delta: str | None = None

    class _Mention(msgspec.Struct, tag_field="kind", tag="mention", gc=False):
        user_id: str | None = None
        display: str | None = None

    class _Image(msgspec.Struct, tag_field="kind", tag="image", gc=False):
        url: str
        name: str | None = None
        mime: str | None = None
        size: _Integer | None = None
        width: _Integer | None = None
        height: _Integer | None = None

    class _Body(msgspec.Struct, gc=False):
        fragments: list[_Text | _Mention | _Image]

    class _Context(msgspec.Struct, gc=False):
        mentions: list[Any] | None = None
        reply: dict[str, Any] | None = None

    class _Said(msgspec.Struct, gc=False):
        body: _Body
        context: _Context | None = None

    class _Message(msgspec.Struct, gc=False):
        message_id: str
        message: _Said
        message_mode: str | None = None
        stream_merged: bool | None = None
        metadata: dict[str, Any] | None = None

    class _Ack(msgspec.Struct, gc=False):
        message_id: str | None = None
        accepted_at: _Integer | None = None

    class _Envelope(msgspec.Struct, tag_field="event", gc=False):
        version: str
        trace_id: str | None = None
        emitted_at: _Integer | None = None
        chat_id: str | None = None
        chat_type: str | None = None
        to: Peer | None = None
        sender: Peer | None = None
        origin_device_id: str | None = None
        seq: _Integer | None = None
        dseq: _Integer | msgspec.UnsetType = msgspec.UNSET  # null would be no integer (R2-31)
        ciphertext_fragments: Any = None

    class _SendEnvelope(_Envelope, tag="message.send", gc=False, kw_only=True):
        payload: _Message

    class _ReplyEnvelope(_Envelope, tag="message.reply", gc=False, kw_only=True):
        payload: _Message

    class _AckEnvelope(_Envelope, tag="message.ack", gc=False, kw_only=True):
        payload: _Ack

    _Ordinary: TypeAlias = _SendEnvelope | _ReplyEnvelope | _AckEnvelope
    _EVENTS: Final[dict[type[_Ordinary], str]] = {
        _SendEnvelope: "message.send",
        _ReplyEnvelope: "message.reply",
        _AckEnvelope: "message.ack",
    }
    _decode: Final = msgspec.json.Decoder(_Ordinary).decode

    _make_text: Final = constructor(TextFragment)
    _make_mention: Final = constructor(MentionFragment)
    _make_media: Final = constructor(MediaFragment)
    _make_message: Final = constructor(MessagePayload)
    _make_ack: Final = constructor(Ack)
    _make_frame: Final = constructor(Frame)

    def _fragment(found: _Text | _Mention | _Image) -> Fragment:
        if type(found) is _Text:
            return _make_text(found.text, found.delta)
        if type(found) is _Mention:
            return _make_mention(found.user_id, found.display)
        assert type(found) is _Image
        return _make_media("image", found.url, found.name, found.mime, found.size, found.width, found.height)

    def _payload(found: _Message) -> MessagePayload:
        said = found.message
        context, fragments = said.context, said.body.fragments
        return _make_message(
            found.message_id,
            found.message_mode or "",
            (_fragment(fragments[0]),) if len(fragments) == 1 else tuple([_fragment(one) for one in fragments]),
            read_mentions(context.mentions) if context is not None and context.mentions else (),
            read_reply(context.reply) if context is not None and context.reply is not None else None,
            found.stream_merged is True,
            found.metadata,
        )

    def _ordinary(data: str | bytes) -> _Ordinary | None:
        try:
            # Through text, since msgspec passes over strings that nobody wants without looking at their encoding.
            text = data if isinstance(data, str) else data.decode()
            found: _Ordinary = _decode(text)
        except (ValueError, RecursionError):  # UnicodeError and msgspec's errors are ValueErrors
            return None
        if found.version != "2" or text.count("[") + text.count("{") > MAX_DEPTH:
            return None
        return found

    def _frame(found: _Ordinary) -> Frame:
        dseq = found.dseq
        return _make_frame(
            _EVENTS[type(found)],
            _make_ack(found.payload.message_id, found.payload.accepted_at)
            if isinstance(found, _AckEnvelope)
            else _payload(found.payload),
            found.trace_id or "",
            found.emitted_at,
            found.chat_id,
            found.chat_type,
            found.to,
            found.sender,
            found.origin_device_id,
            found.seq,
            None if dseq is msgspec.UNSET else dseq,
            False,
            found.ciphertext_fragments,
        )

    def msgspec_read(data: str | bytes) -> Frame | None:
        """The frame, if it is an ordinary message or ack."""
        found = _ordinary(data)
        return None if found is None else _frame(found)

    def msgspec_read_traffic(data: str | bytes) -> Frame | Answer | None:
        """The same; of an ack without a stamp only what counts."""
        found = _ordinary(data)
        if found is None:
            return None
        if isinstance(found, _AckEnvelope) and found.dseq is msgspec.UNSET:
            payload = found.payload
            return found.trace_id or "", payload.message_id, payload.accepted_at
        return _frame(found)

    read_quickly = msgspec_read
    read_traffic = msgspec_read_traffic
