"""Streams of ours: written piece by piece, always ended, and followed by a message that takes their place.

Rules: STREAM-2 to STREAM-6, STREAM-8, STREAM-12, LIM-3, ERR-3, ERR-10, CLOSE-12.

    OpenStream --> waiting -- online --> created -- text --> message.add, one per interval
                      |                    |   |-- FinishStream --> message.done --> closing message (outbox)
                      |                    |   |-- FailStream, end of the session --> message.failed
                      |                    |   '-- message.error, message.failed ----> refused
                      |             connection lost
                      |                    v
                      |                  broken -- online, message.failed --> gathering
                      |                    |      (the deltas could no longer be kept, STREAM-5)
                      '-- FinishStream ----'--> closing message (outbox): it has the whole text
"""

from typing import Literal, TypeAlias

from attrs import field

from clawproto.deferred import frozen
from clawproto.effects import SendFrame
from clawproto.events import AppendStream, FinishStream, OpenStream
from clawproto.evolving import evolve
from clawproto.gates import Gates, blocking, is_valid_chat
from clawproto.json_types import Json
from clawproto.persistent import StrMap
from clawproto.results import Done, SendGated, SendRejected, StreamEnded, StreamOpened
from clawproto.timing import earliest
from clawproto.turn import Turn
from clawproto.wire.codec import MESSAGE_ID_LIMIT, encode_envelope
from clawproto.wire.json_text import write
from clawproto.wire.streams import encode_stream_add, encode_stream_created, encode_stream_end

Stage: TypeAlias = Literal["waiting", "created", "broken", "gathering"]
ROOM = 2_000  # bytes for everything in a frame but the text


@frozen
class Draft:
    """One stream.

    Attributes:
        to: the display hint as JSON text.
        text: everything so far.
        sent: how many characters of it went out.
        size: of `text` in bytes, as JSON.
        sequence: of the next ``message.add``.
        started_at: wall clock at its creation on the wire.
        next_at: monotonic ms before which no further piece goes out.
        refused: code and reason of the hub, or ours.
        ended: only ``message.failed`` is still owed to the hub.
    """

    chat_id: str
    mode: str
    to: str | None
    stage: Stage = "waiting"
    text: str = field(default="", repr=lambda text: f"<{len(text)} characters>")
    sent: int = 0
    size: int = 0
    sequence: int = 0
    started_at: int = 0
    next_at: int = 0
    refused: tuple[str, str | None] | None = None
    ended: bool = False


Drafts: TypeAlias = StrMap[Draft]
"""Our streams by message id."""


def begin(drafts: Drafts, command: OpenStream, gates: Gates, online: int | None, turn: Turn) -> Drafts:
    """Take a stream up; on the wire it begins now, or with the next connection."""
    chat_id, message_id = command.chat_id, command.message_id or f"msg-{turn.mint()}"
    gate = blocking(gates, chat_id, turn)
    problem: SendRejected | SendGated
    if not is_valid_chat(chat_id, turn):
        problem = SendRejected(chat_id, message_id, "invalid_chat_id", "chat ids begin with cnv_")
    elif gate is not None:
        problem = SendGated(chat_id, gate.code, max(0, (gate.until or 0) - turn.mono))
    elif message_id in drafts:
        problem = SendRejected(chat_id, message_id, "duplicate_id", "a stream with this id is open")
    elif len(message_id.encode("utf-8", "surrogatepass")) > MESSAGE_ID_LIMIT or "\0" in message_id:
        problem = SendRejected(chat_id, message_id, "unencodable", "a message id has 1 to 512 bytes and no U+0000")
    else:
        try:
            to = None if command.to is None else write(command.to)
        except ValueError as error:
            turn.resolve(command.command, SendRejected(chat_id, message_id, "unencodable", str(error)))
            return drafts
        draft = Draft(chat_id, command.mode, to)
        turn.resolve(command.command, StreamOpened(chat_id, message_id))
        return drafts.set(message_id, draft if online is None else _create(message_id, draft, online, turn))
    turn.resolve(command.command, problem)
    return drafts


def append(drafts: Drafts, command: AppendStream, gates: Gates, online: int | None, turn: Turn) -> Drafts:
    """Gather text. `advance` passes it on as soon as the interval allows, in this very step if it already does."""
    message_id, draft = command.message_id, drafts.get(command.message_id)
    if draft is None or draft.ended:
        turn.resolve(command.command, SendRejected("", message_id, "unknown_stream", "it has ended, or never began"))
        return drafts
    text = command.text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")  # halves of pairs have no delta
    size = draft.size + len(write(text).encode("utf-8")) - 2
    if draft.refused is None and 2 * size + ROOM > turn.policy.frame_limit:  # text and delta, LIM-3
        _fail(message_id, draft, gates, online, turn)
        limit = turn.policy.frame_limit
        draft = evolve(draft, refused=("frame_too_large", f"each frame holds all of the text; {limit} bytes at most"))
    elif draft.refused is None:
        draft = evolve(draft, text=draft.text + text, size=size)
    if draft.refused is not None:
        turn.resolve(command.command, SendRejected(draft.chat_id, message_id, *draft.refused))
        return drafts.set(message_id, draft)
    turn.resolve(command.command, Done())
    return drafts.set(message_id, draft)


def finish(
    drafts: Drafts, command: FinishStream, gates: Gates, online: int | None, turn: Turn
) -> tuple[Drafts, Draft | None]:
    """End a stream. What is missing goes out first, then ``message.done``.

    Returns:
        The drafts, and the draft whose closing message is to be sent; None if the command is resolved.
    """
    message_id, draft = command.message_id, drafts.get(command.message_id)
    if draft is None or draft.ended:
        turn.resolve(command.command, SendRejected("", message_id, "unknown_stream", "it has ended, or never began"))
        return drafts, None
    if draft.refused is not None:
        turn.resolve(command.command, SendRejected(draft.chat_id, message_id, *draft.refused))
        return drafts.remove(message_id), None
    complete = _is_open(draft, gates, online, turn)
    if complete and online is not None:
        draft = _add(message_id, draft, online, turn)
        _end(message_id, draft, "done", online, turn)
    drafts = _release(drafts, message_id, draft, complete)
    if command.closing is not None:
        return drafts, draft
    turn.resolve(command.command, StreamEnded(draft.chat_id, message_id, complete))
    return drafts, None


def fail(drafts: Drafts, message_id: str, gates: Gates, online: int | None, turn: Turn) -> Drafts:
    """Give a stream up. Unknown ones change nothing."""
    draft = drafts.get(message_id)
    if draft is None or draft.ended:
        return drafts
    if draft.refused is not None:
        return drafts.remove(message_id)
    _fail(message_id, draft, gates, online, turn)
    return _release(drafts, message_id, draft, online is not None)


def _release(drafts: Drafts, message_id: str, draft: Draft, settled: bool) -> Drafts:
    """Forget a stream, unless the hub still has to be told that it failed."""
    if settled or draft.stage in ("waiting", "gathering"):
        return drafts.remove(message_id)
    return drafts.set(message_id, evolve(draft, text="", sent=0, ended=True))


def refused(drafts: Drafts, message_id: str | None, code: str, reason: str | None) -> Drafts:
    """``message.error`` or ``message.failed`` for a stream of ours: nothing of it goes out any more (STREAM-8)."""
    draft = None if message_id is None else drafts.get(message_id)
    if message_id is None or draft is None:
        return drafts
    return drafts.remove(message_id) if draft.ended else drafts.set(message_id, evolve(draft, refused=(code, reason)))


# --- connection ----------------------------------------------------------------------------------------------------


def connected(drafts: Drafts, gates: Gates, online: int, turn: Turn) -> Drafts:
    """Begin what waited; end what broke. Both before the outbox sends, whose messages take their places."""
    for message_id, draft in list(drafts.items()):
        way = blocking(gates, draft.chat_id, turn) is None
        if draft.stage == "broken":
            if way and draft.refused is None:
                _end(message_id, draft, "failed", online, turn)
            told = evolve(draft, stage="gathering")
            drafts = drafts.remove(message_id) if draft.ended else drafts.set(message_id, told)
        elif draft.stage == "waiting" and way:
            created = _create(message_id, draft, online, turn)
            drafts = drafts.set(message_id, _advance_one(message_id, created, gates, online, turn))
    return drafts


def disconnected(drafts: Drafts) -> Drafts:
    """Nobody knows which pieces arrived: what had begun can no longer keep its deltas (STREAM-5, STREAM-8)."""
    for message_id, draft in list(drafts.items()):
        if draft.stage == "created":
            drafts = drafts.set(message_id, evolve(draft, stage="broken"))
    return drafts


def flush(drafts: Drafts, gates: Gates, online: int | None, turn: Turn) -> Drafts:
    """The session ends: none is left dangling (STREAM-2)."""
    for message_id, draft in drafts.items():
        if draft.refused is None:
            _fail(message_id, draft, gates, online, turn)
    return StrMap()


# --- on the wire ---------------------------------------------------------------------------------------------------


def _create(message_id: str, draft: Draft, online: int, turn: Turn) -> Draft:
    _send("message.created", draft, encode_stream_created(message_id, draft.mode), online, turn)
    return evolve(draft, stage="created", started_at=turn.wall)


def _advance_one(message_id: str, draft: Draft, gates: Gates, online: int | None, turn: Turn) -> Draft:
    open_way = online is not None and draft.stage == "created" and draft.refused is None
    if not open_way or draft.sent == len(draft.text) or turn.mono < draft.next_at:
        return draft
    gate = blocking(gates, draft.chat_id, turn)
    if gate is not None:
        return evolve(draft, refused=(gate.code, "the chat is gated"))  # ERR-10
    assert online is not None
    return _add(message_id, draft, online, turn)


def _add(message_id: str, draft: Draft, online: int, turn: Turn) -> Draft:
    delta = draft.text[draft.sent :]
    if not delta:
        return draft
    payload = encode_stream_add(message_id, draft.sequence, draft.text, delta, draft.started_at, turn.wall)
    _send("message.add", draft, payload, online, turn)
    next_at = turn.mono + turn.policy.stream_interval_ms
    return evolve(draft, sent=len(draft.text), sequence=draft.sequence + 1, next_at=next_at)


def _end(message_id: str, draft: Draft, status: Literal["done", "failed"], online: int, turn: Turn) -> None:
    sequence = max(draft.sequence - 1, 0)
    fragments: list[Json] = [{"kind": "text", "text": draft.text[: draft.sent]}]
    payload = encode_stream_end(message_id, status, sequence, fragments, draft.started_at, turn.wall)
    _send(f"message.{status}", draft, payload, online, turn)


def _fail(message_id: str, draft: Draft, gates: Gates, online: int | None, turn: Turn) -> None:
    if online is not None and _is_open(draft, gates, online, turn):
        _end(message_id, draft, "failed", online, turn)


def _is_open(draft: Draft, gates: Gates, online: int | None, turn: Turn) -> bool:
    """Whether pieces of it can go out now."""
    return draft.stage == "created" and online is not None and blocking(gates, draft.chat_id, turn) is None


def _send(event: str, draft: Draft, payload: str, online: int, turn: Turn) -> None:
    text = encode_envelope(
        event,
        trace_id=f"w-{turn.mint()}",
        emitted_at=turn.wall,
        payload_text=payload,
        chat_id=draft.chat_id,
        to_text=draft.to,
    )
    turn.do(SendFrame(online, text, event))


def advance(drafts: Drafts, gates: Gates, online: int | None, turn: Turn) -> Drafts:
    """Pass on what has been gathered meanwhile."""
    for message_id, draft in drafts.items():
        moved = _advance_one(message_id, draft, gates, online, turn)
        if moved is not draft:
            drafts = drafts.set(message_id, moved)
    return drafts


def deadline(drafts: Drafts) -> int | None:
    """Monotonic ms at which `advance` has something to do."""
    return earliest(
        *(
            draft.next_at
            for draft in drafts.values()
            if draft.stage == "created" and draft.refused is None and draft.sent < len(draft.text)
        )
    )
