"""What somebody would write who has msgspec and wants these frames typed: the baseline of "typed decode alone".

Every field that the frames of `benchmarks.frames` have is there with its type, and no other: no rule of the protocol is
checked, no field is bounded, nothing odd is let through.
"""

from typing import TypeAlias

import msgspec


class Text(msgspec.Struct, tag_field="kind", tag="text"):
    text: str


class Mention(msgspec.Struct, tag_field="kind", tag="mention"):
    user_id: str
    display: str


class Image(msgspec.Struct, tag_field="kind", tag="image"):
    url: str
    mime: str
    size: int


class Peer(msgspec.Struct):
    id: str
    type: str
    nick_name: str | None = None


class Reply(msgspec.Struct):
    reply_to_msg_id: str
    reply_preview: dict[str, str]


class Body(msgspec.Struct):
    fragments: list[Text | Mention | Image]


class Context(msgspec.Struct):
    mentions: list[Mention]
    reply: Reply | None


class Content(msgspec.Struct):
    body: Body
    context: Context


class Message(msgspec.Struct):
    message_id: str
    message_mode: str
    message: Content


class Ack(msgspec.Struct):
    message_id: str
    accepted_at: int


class Typing(msgspec.Struct):
    is_typing: bool


class Envelope(msgspec.Struct, tag_field="event"):
    version: str
    trace_id: str
    emitted_at: int


class MessageFrame(Envelope, tag="message.send"):
    chat_id: str
    chat_type: str
    to: Peer
    sender: Peer
    seq: int
    dseq: int
    payload: Message


class AckFrame(Envelope, tag="message.ack"):
    payload: Ack


class TypingFrame(Envelope, tag="typing.update"):
    chat_id: str
    chat_type: str
    to: Peer
    sender: Peer
    payload: Typing


Frame: TypeAlias = MessageFrame | AckFrame | TypingFrame

decode = msgspec.json.Decoder(Frame).decode
