"""Decoded downlinks: the envelope, control frames and messages. Plain values; nothing here checks or coerces.

What is written in messages is in `clawproto.wire.content`, streams and signals are in `clawproto.wire.streams` and
`clawproto.wire.signals`; all of it can be had from here.
"""

from collections.abc import Mapping
from typing import TypeAlias

from attrs import field

from clawproto.deferred import frozen
from clawproto.json_types import Json
from clawproto.wire.content import (
    Fragment as Fragment,
    MediaFragment as MediaFragment,
    Mention as Mention,
    MentionFragment as MentionFragment,
    Peer as Peer,
    Reply as Reply,
    TextFragment as TextFragment,
    UnknownFragment as UnknownFragment,
)
from clawproto.wire.signals import (
    Delivered as Delivered,
    HistoryTransit as HistoryTransit,
    HistoryTruncated as HistoryTruncated,
    MetadataInvalidated as MetadataInvalidated,
    NotifySignal as NotifySignal,
    PermissionRequest as PermissionRequest,
    PermissionResolved as PermissionResolved,
    Presence as Presence,
    Reaction as Reaction,
    ReadMark as ReadMark,
    Recall as Recall,
    Typing as Typing,
)
from clawproto.wire.streams import (
    StreamAdd as StreamAdd,
    StreamCreate as StreamCreate,
    StreamDone as StreamDone,
    StreamFail as StreamFail,
)

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
class Pong:
    pass


@frozen
class ReplayDone:
    pass


@frozen
class SyncMark:
    covers_seq: int | None = None


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
    | Pong
    | ReplayDone
    | SyncMark
    | StreamCreate
    | StreamAdd
    | StreamDone
    | StreamFail
    | Delivered
    | Reaction
    | ReadMark
    | Recall
    | Typing
    | Presence
    | MetadataInvalidated
    | NotifySignal
    | PermissionRequest
    | PermissionResolved
    | HistoryTransit
    | HistoryTruncated
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
        ciphertext_fragments: carried through untouched (CAP-6).
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
    ciphertext_fragments: Json = None


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
