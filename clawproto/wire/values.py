"""Decoded downlinks. Plain values; nothing here checks or coerces."""

from collections.abc import Mapping
from typing import TypeAlias

from attrs import field, frozen

from clawproto.json_types import Json


@frozen
class Peer:
    """``to`` or ``sender``: an id with display material (ENV-4, ENV-5).

    Attributes:
        id: a user id in ``sender``; whatever the author wrote in ``to``.
        type: says nothing about human or agent (ENV-4).
    """

    id: str
    type: str | None = None
    nick_name: str | None = None


# --- fragments and mentions ----------------------------------------------------------------------------------------


@frozen
class TextFragment:
    text: str
    delta: str | None = None


@frozen
class MentionFragment:
    """Both fields are optional on the wire (MENT-7)."""

    user_id: str | None = None
    display: str | None = None


@frozen
class MediaFragment:
    """``image``, ``video``, ``audio`` or ``file``: pixels, bytes and milliseconds (FRAG-1)."""

    kind: str
    url: str
    name: str | None = None
    mime: str | None = None
    size: int | None = None
    width: int | None = None
    height: int | None = None
    duration: int | None = None


@frozen
class UnknownFragment:
    """A fragment of a kind that this version does not know (FRAG-3)."""

    kind: str
    data: Mapping[str, Json]


Fragment: TypeAlias = TextFragment | MentionFragment | MediaFragment | UnknownFragment


@frozen
class Mention:
    """One element of ``context.mentions``, whichever way it was written (MENT-2)."""

    user_id: str
    display: str | None = None


@frozen
class Reply:
    """``context.reply``: what the message answers (SEND table)."""

    message_id: str
    author_id: str | None = None
    author_name: str | None = None
    fragments: tuple[Fragment, ...] = ()


# --- payloads ------------------------------------------------------------------------------------------------------


@frozen
class Challenge:
    nonce: str


@frozen
class HelloOk:
    device_id: str | None = None
    delivery_mode: str | None = None
    ack_mode: str | None = None
    ack_epoch: str | None = None


@frozen
class HelloFail:
    reason: str | None = None


@frozen
class Ack:
    message_id: str | None = None
    accepted_at: int | None = None


@frozen
class Refusal:
    """``message.error``."""

    code: str
    message_id: str | None = None
    reason: str | None = None
    rejected_at: int | None = None


@frozen
class MessagePayload:
    """``message.send`` and ``message.reply``.

    Attributes:
        message_mode: ``""`` and ``"normal"`` mean the same (SEND-21).
        skipped_fragments: how many malformed fragments were left out (FRAG-6).
        stream_merged: provisional copy of a stream (STREAM-14).
        metadata: of system notices (PERM-9).
    """

    message_id: str
    message_mode: str
    fragments: tuple[Fragment, ...]
    mentions: tuple[Mention, ...]
    reply: Reply | None = None
    stream_merged: bool = False
    metadata: Mapping[str, Json] | None = None
    skipped_fragments: int = 0


@frozen
class Typing:
    is_typing: bool


@frozen
class Pong:
    pass


@frozen
class ReplayDone:
    pass


@frozen
class SyncMark:
    covers_seq: int | None = None


@frozen
class NotifySignal:
    type: str | None = None
    entity_id: str | None = None
    version: int | None = None
    event_id: str | None = None
    message_id: str | None = None


@frozen
class OpaquePayload:
    """The payload of an event without a typed form, as it came."""

    data: Mapping[str, Json]


@frozen
class MalformedPayload:
    """A known event whose payload cannot be used.

    Attributes:
        problem: which field, and what is wrong with it.
    """

    problem: str
    data: Json


Payload: TypeAlias = (
    Challenge
    | HelloOk
    | HelloFail
    | Ack
    | Refusal
    | MessagePayload
    | Typing
    | Pong
    | ReplayDone
    | SyncMark
    | NotifySignal
    | OpaquePayload
    | MalformedPayload
)


@frozen
class Frame:
    """One downlink. Optional envelope fields of a wrong type count as absent (ENV-13).

    Attributes:
        trace_id: may be empty (ENV-6).
        emitted_at: hub's milliseconds; display material (ENV-7).
        dseq: v2 counter; None if absent.
        dseq_malformed: a ``dseq`` was there but was no integer (R2-31).
    """

    event: str
    payload: Payload
    trace_id: str = ""
    emitted_at: int | None = None
    chat_id: str | None = None
    chat_type: str | None = None
    to: Peer | None = None
    sender: Peer | None = None
    origin_device_id: str | None = None
    seq: int | None = None
    dseq: int | None = None
    dseq_malformed: bool = False


@frozen
class BadFrame:
    """A message that is no frame at all (ENV-12).

    Attributes:
        problem: what is wrong with it: ``too-long``, ``not-utf8``, ``not-json``, ``too-deep``, ``not-an-object``,
            ``version`` (ENV-1) or ``no-event``.
        excerpt: at most 200 characters of its beginning.
        dseq: of an object that is no frame otherwise (``version``, ``no-event``); None if it cannot be told (R2-32).
    """

    problem: str
    excerpt: str = field(default="", repr=False)
    dseq: int | None = None
