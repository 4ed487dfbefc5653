"""Frames to and from text.

Downlinks (`decode`): nothing that a peer sends raises. What is no frame at all is a `BadFrame` (ENV-12); a frame whose
payload is of no use keeps its envelope, so that its ``dseq`` still counts (R2-11); unknown fields and wrongly typed
optional ones do no harm (ENV-13).

    text ── limit ── JSON ── object ── version ── event ──► Frame ── payload by event ──► typed, opaque or malformed
             └────────┴────────┴─────────┴─────────┴──────► BadFrame

Uplinks (``encode_…``): compact JSON text. They have no way to write ``sender``, ``chat_type``, ``origin_device_id``,
``seq`` or ``dseq`` (ENV-2), and refuse routing fields on events that have none (ENV-10).
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Final

from clawproto.json_types import Json
from clawproto.wire import json_backend, json_text
from clawproto.wire.fragments import KNOWN_KINDS
from clawproto.wire.json_text import plain, write_exactly, write_flat, write_text
from clawproto.wire.optional import optional_integer, optional_string
from clawproto.wire.payloads import read_payload, read_peer
from clawproto.wire.values import BadFrame, Frame

if TYPE_CHECKING:
    from clawproto.wire.quick import Answer, Said, Writing

VERSION: Final = "2"
PROTOCOL_VERSION: Final = 2
MESSAGE_ID_LIMIT: Final = 512  # bytes, LIM-4
EXCERPT_LIMIT: Final = 200

# --- downlinks -----------------------------------------------------------------------------------------------------


def load() -> None:
    """Load what the first frames would load otherwise: cattrs, and msgspec if it is installed, some 40 ms. Harmless if
    repeated, and on another thread."""
    global read_quickly, read_traffic
    import_module("clawproto.wire.structure")
    json_text.load()
    from clawproto.wire import quick  # noqa: PLC0415

    read_quickly, read_traffic = quick.read_quickly, quick.read_traffic


def is_loaded() -> bool:
    """Whether `load` has nothing left to do."""
    return read_quickly is not _load_and_read


def _load_and_read(data: str | bytes) -> Frame | None:
    load()
    return None if read_quickly is None else read_quickly(data)


def _load_and_read_traffic(data: str | bytes) -> "Said | Answer | Writing | None":
    load()
    return None if read_traffic is None else read_traffic(data)


read_quickly: Callable[[str | bytes], Frame | None] | None = _load_and_read
read_traffic: "Callable[[str | bytes], Said | Answer | Writing | None] | None" = _load_and_read_traffic


def exceeds(data: str | bytes, limit: int) -> bool:
    """Whether ``data`` takes more than ``limit`` bytes as UTF-8; never if four times its length does not."""
    length = len(data)
    if length > limit or isinstance(data, bytes):
        return length > limit
    return len(data.encode("utf-8", "surrogatepass")) > limit


def excerpt(data: str | bytes) -> str:
    """The beginning of a message as encodable text."""
    if isinstance(data, bytes):
        return data[:EXCERPT_LIMIT].decode("utf-8", "replace")
    return data[:EXCERPT_LIMIT].encode("utf-8", "replace").decode("utf-8")


def decode(data: str | bytes, limit: int) -> Frame | BadFrame:
    """Read one WebSocket message. Never raises.

    Args:
        data: the message; bytes are taken as UTF-8.
        limit: longest acceptable message in bytes; a longer one is not looked at.

    Returns:
        A `Frame`, whose payload may be a `MalformedPayload`; or a `BadFrame`, to be counted and dropped (ENV-12).
    """
    if len(data) * 4 > limit and exceeds(data, limit):
        return BadFrame("too-long", excerpt(data))
    if read_quickly is not None and json_backend.loads is not json_backend.stdlib_loads:
        quick = read_quickly(data)
        if quick is not None:
            return quick
    try:
        source = json_backend.loads(data)
    except json_backend.NotJson as error:
        return BadFrame(error.problem, excerpt(data))
    if not isinstance(source, dict):
        return BadFrame("not-an-object", excerpt(data))
    get = source.get
    dseq = optional_integer(get("dseq"))
    if get("version") != VERSION:
        return BadFrame("version", excerpt(data), dseq)
    event = get("event")
    if not isinstance(event, str):
        return BadFrame("no-event", excerpt(data), dseq)
    return Frame(
        event,
        read_payload(event, get("payload")),
        optional_string(get("trace_id")) or "",
        optional_integer(get("emitted_at")),
        optional_string(get("chat_id")),
        optional_string(get("chat_type")),
        read_peer(get("to")),
        read_peer(get("sender")),
        optional_string(get("origin_device_id")),
        optional_integer(get("seq")),
        dseq,
        dseq is None and "dseq" in source,
        get("ciphertext_fragments"),
    )


# --- uplinks -------------------------------------------------------------------------------------------------------

UNROUTED_EVENTS: Final = frozenset(
    {
        "connect",
        "ping",
        "message.cursor_ack",
        "message.sync_ack",
        "presence.subscribe",
        "presence.unsubscribe",
        "history.transit",
        "device.cursor.reset",
    }
)


def encode_envelope(
    event: str,
    *,
    trace_id: str,
    emitted_at: int,
    payload_text: str,
    chat_id: str | None = None,
    to_text: str | None = None,
) -> str:
    """One uplink.

    Args:
        event: its name.
        trace_id: chosen by the client for this uplink (ENV-6).
        emitted_at: wall clock, milliseconds.
        payload_text: the payload as JSON, inserted as it is: a retransmission keeps its bytes (SEND-5).
        chat_id: on business events.
        to_text: the display hint as JSON, inserted as it is (ENV-5).

    Raises:
        ValueError: ``chat_id`` or ``to_text`` on an event that carries neither (ENV-10).
    """
    if event in UNROUTED_EVENTS and not (chat_id is None and to_text is None):
        raise ValueError(f"{event} carries neither chat_id nor to (ENV-10)")
    chat = "" if chat_id is None else f',"chat_id":{write_text(chat_id)}'
    to = "" if to_text is None else f',"to":{to_text}'
    return (
        f'{{"version":"2","event":{write_text(event)},"trace_id":{write_text(trace_id)},"emitted_at":{int(emitted_at)}'
        f'{chat}{to},"payload":{payload_text}}}'
    )


def encode_minted(
    event: str, trace_id: str, emitted_at: int, payload_text: str, chat_id: str, to_text: str | None
) -> str:
    """`encode_envelope` of a message whose event and trace id hold nothing that JSON would have to escape."""
    to = "" if to_text is None else f',"to":{to_text}'
    return (
        f'{{"version":"2","event":"{event}","trace_id":"{trace_id}","emitted_at":{emitted_at}'
        f',"chat_id":{write_text(chat_id)}{to},"payload":{payload_text}}}'
    )


def encode_connect(
    *,
    trace_id: str,
    emitted_at: int,
    token: str,
    nonce: str,
    device_id: str,
    client_version: str,
    capabilities: Mapping[str, bool],
) -> str:
    """The answer to ``connect.challenge``. Token and nonce go out exactly as they came (HS-2, AUTH-1)."""
    payload: dict[str, Json] = {
        "token": token,
        "nonce": nonce,
        "device_id": plain(device_id),
        "client_version": plain(client_version),
        "protocol_version": PROTOCOL_VERSION,
        "capabilities": plain(capabilities),
    }
    payload_text = write_exactly(payload)
    return encode_envelope("connect", trace_id=trace_id, emitted_at=emitted_at, payload_text=payload_text)


def _check_fragments(fragments: Json) -> None:
    """``fragments`` as `plain` made them: what the types of the caller promise is checked, not believed."""
    if not isinstance(fragments, list):
        raise ValueError("the fragments of a message are a list (FRAG-1)")
    kinds: set[str] = set()
    for item in fragments:
        if not (isinstance(item, dict) and isinstance(kind := item.get("kind"), str)):
            raise ValueError("a fragment is an object with a string kind (FRAG-1)")
        if "delta" in item:
            raise ValueError("only message.add has a delta (STREAM-6)")
        kinds.add(kind)
    if "text" not in kinds and not kinds <= KNOWN_KINDS:
        raise ValueError("a fragment of a custom kind needs a text fragment next to it (FRAG-4)")


def _check_mentions(mentions: Json) -> None:
    """Bare ids are read (MENT-2), but never written (MENT-1, LEGACY-7)."""
    if not isinstance(mentions, list):
        raise ValueError("the mentions of a message are a list (MENT-1)")
    for item in mentions:
        if not (isinstance(item, dict) and item.get("kind") == "mention" and isinstance(item.get("user_id"), str)):
            raise ValueError("a mention is an object with the kind 'mention' and a string user_id (MENT-1)")


def _check_reply(reply: Json) -> None:
    if not isinstance(reply, dict):
        complete = reply is None
    else:
        complete = isinstance(reply.get("reply_to_msg_id"), str) and isinstance(reply.get("reply_preview"), dict)
    if not complete:
        raise ValueError("a reply is an object with a string reply_to_msg_id and an object reply_preview (SEND-4)")


def encode_message_payload(
    message_id: str,
    mode: str,
    fragments: Sequence[Mapping[str, Json]],
    mentions: Sequence[Json],
    reply: Mapping[str, Json] | None,
) -> str:
    """The payload of ``message.send`` and ``message.reply``, as text to be kept for retransmission (SEND-1, SEND-5).

    Args:
        message_id: minted by the client; written as it is.
        mode: ``message_mode`` (SEND-3).
        fragments: ordered (FRAG-1).
        mentions: the ``context.mentions`` list (MENT-1).
        reply: ``context.reply`` with ``reply_to_msg_id`` and ``reply_preview``; for ``message.reply`` (SEND-4).

    Raises:
        ValueError: a value that JSON cannot express (NaN, foreign types, circular), a message id that is empty, longer
            than 512 bytes or contains U+0000 (LIM-4), a fragment without a kind or with a ``delta`` (STREAM-6), a
            custom kind without a text (FRAG-4), a mention that is no object (MENT-1), a reply that does not
            say what it answers (SEND-4).
    """
    if not 0 < len(message_id.encode("utf-8", "surrogatepass")) <= MESSAGE_ID_LIMIT or "\0" in message_id:
        raise ValueError("a message id has 1 to 512 bytes and no U+0000 (LIM-4)")
    if message_id.isascii():
        return f'{{"message_id":{write_text(message_id)},{encode_content(mode, fragments, mentions, reply)}'
    return write_exactly({"message_id": message_id, **_content(mode, fragments, mentions, reply)})


def encode_content(
    mode: str,
    fragments: Sequence[Mapping[str, Json]],
    mentions: Sequence[Json],
    reply: Mapping[str, Json] | None,
) -> str:
    """What follows ``{"message_id":…,`` in `encode_message_payload`, if the id is ASCII. Arguments as there.

    Raises:
        ValueError: as there, but for the id.
    """
    content = _ordinary_content(mode, fragments, mentions, reply)
    return write_exactly(_content(mode, fragments, mentions, reply))[1:] if content is None else content


def _content(mode: str, fragments: object, mentions: object, reply: object) -> dict[str, Json]:
    plain_fragments, plain_mentions, plain_reply = plain(fragments), plain(mentions), plain(reply)
    _check_fragments(plain_fragments)
    _check_mentions(plain_mentions)
    _check_reply(plain_reply)
    body: Json = {"fragments": plain_fragments}
    context: Json = {"mentions": plain_mentions, "reply": plain_reply}
    return {"message_mode": plain(mode), "message": {"body": body, "context": context}}


def _ordinary_content(
    mode: str, fragments: Sequence[Mapping[str, Json]], mentions: Sequence[Json], reply: object
) -> str | None:
    """The same for a message of known fragments that mentions nobody and answers nothing, else None."""
    if mode != "normal" or type(mode) is not str or mentions != () or reply is not None:
        return None
    written = write_flat(fragments)
    if written is None:
        return None
    for fragment in fragments:
        if fragment.get("kind") not in KNOWN_KINDS or "delta" in fragment:
            return None
    context = '"context":{"mentions":[],"reply":null}'
    return f'"message_mode":"normal","message":{{"body":{{"fragments":{written}}},{context}}}}}'


def encode_ping(*, trace_id: str, emitted_at: int) -> str:
    """A heartbeat (HB)."""
    return encode_envelope("ping", trace_id=trace_id, emitted_at=emitted_at, payload_text="{}")


def encode_typing(*, trace_id: str, emitted_at: int, chat_id: str, is_typing: bool) -> str:
    """Show or hide the typing indicator (TYPE)."""
    payload_text = '{"is_typing":true}' if is_typing else '{"is_typing":false}'
    return encode_envelope(
        "typing.update", trace_id=trace_id, emitted_at=emitted_at, payload_text=payload_text, chat_id=chat_id
    )


def encode_transit(
    *,
    trace_id: str,
    emitted_at: int,
    target_device_id: str,
    user_id: str,
    device_id: str,
    kind: str,
    data: Mapping[str, Json],
    ciphertext_fragments: Sequence[Json] | None,
) -> str:
    """``history.transit``, the one uplink that names its sender and its device itself (HIST-3, ENV-2).

    Raises:
        ValueError: what JSON cannot hold; ``data`` names another kind; no target device (SILENT-9).
    """
    if not target_device_id:
        raise ValueError("history.transit needs a target device (SILENT-9)")
    content = plain(data)
    assert isinstance(content, dict)
    if content.setdefault("kind", kind) != kind:
        raise ValueError("data names another kind")
    frame: dict[str, Json] = {
        "version": VERSION,
        "event": "history.transit",
        "trace_id": trace_id,
        "emitted_at": emitted_at,
        "target_device_id": target_device_id,
        "origin_device_id": device_id,
        "sender": {"id": user_id, "type": "direct"},
        "payload": content,
    }
    if ciphertext_fragments is not None:
        frame["ciphertext_fragments"] = plain(ciphertext_fragments)
    return write_exactly(frame)


def encode_sync_ack(*, trace_id: str, emitted_at: int, dseq: int, epoch: str) -> str:
    """The v2 acknowledgement (R2-12). Raises ValueError for a mark of 0 (R2-34)."""
    if dseq < 1:
        raise ValueError("there is nothing to acknowledge yet (R2-34)")
    payload_text = f'{{"dseq":{int(dseq)},"epoch":{write_exactly(epoch)}}}'
    return encode_envelope("message.sync_ack", trace_id=trace_id, emitted_at=emitted_at, payload_text=payload_text)


def encode_cursor_ack(*, trace_id: str, emitted_at: int, seq: int) -> str:
    """The v1 acknowledgement (R1-1). Raises ValueError for a ``seq`` below 1 (SILENT-7)."""
    if seq < 1:
        raise ValueError("seq starts at 1 (SILENT-7)")
    payload_text = write_exactly({"seq": seq})
    return encode_envelope("message.cursor_ack", trace_id=trace_id, emitted_at=emitted_at, payload_text=payload_text)
