"""Streams of others: messages that are written piece by piece, put together and checked.

Rules: STREAM-1, STREAM-9, STREAM-10, STREAM-12, STREAM-14, RECALL-1, ROUTE-6.

    message.created --> followed -- message.add, fits -----------> grown by its delta
         (or a first       |    |-- message.add, does not fit ---> replaced by the cumulative text
          message.add)     |    '-- message.failed, silence -----> discarded
                           '------- message.done ----------------> finished, until a message takes its place
"""

from typing import Literal, TypeAlias

from clawproto.app_events import StreamDiscarded, StreamFinished, StreamGrew, StreamStarted
from clawproto.deferred import frozen
from clawproto.evolving import evolve
from clawproto.persistent import IntMap, StrMap
from clawproto.recent import Recent
from clawproto.turn import Turn
from clawproto.wire.values import Fragment, Frame, Peer, StreamAdd, StreamCreate, StreamDone, StreamFail, TextFragment

StreamPayload: TypeAlias = StreamCreate | StreamAdd | StreamDone | StreamFail


@frozen
class Followed:
    """One stream.

    Attributes:
        texts: of its text fragments, as far as they are known.
        sequence: of the last piece; None before the first.
        slot: place in the order of silence.
    """

    chat_id: str
    message_id: str
    sender: Peer | None
    slot: int
    texts: tuple[str, ...] = ()
    sequence: int | None = None


@frozen
class StreamState:
    """Everything that is known of streams.

    Attributes:
        followed: by author and message id, which any author may choose.
        due: slot to (monotonic ms, key into `followed`): when each has been silent for too long.
        finished: keys of streams that were seen to the end.
    """

    followed: StrMap[Followed] = StrMap()
    due: IntMap[tuple[int, str]] = IntMap()
    finished: Recent[bool] = Recent()
    next_slot: int = 1


def _key(sender: Peer | None, message_id: str) -> str:
    return f"{'' if sender is None else sender.id}\0{message_id}"


def receive(streams: StreamState, frame: Frame, payload: StreamPayload, *, own: bool, turn: Turn) -> StreamState:
    """One of the four events. Each is told to the application as soon as it changes what is to be shown."""
    chat_id, sender = frame.chat_id or "", frame.sender
    key = _key(sender, payload.message_id)
    followed = streams.followed.get(key)
    match payload:
        case StreamCreate():
            if followed is None:
                turn.emit(StreamStarted(chat_id, payload.message_id, sender, own))
            return _keep(streams, key, followed or Followed(chat_id, payload.message_id, sender, 0), turn)
        case StreamAdd():
            if followed is None:
                joined = payload.sequence != 0
                turn.emit(StreamStarted(chat_id, payload.message_id, sender, own, joined))
                followed = Followed(chat_id, payload.message_id, sender, 0)
            return _added(streams, key, followed, payload, turn)
        case StreamDone():
            turn.emit(StreamFinished(chat_id, payload.message_id, sender, payload.fragments, own))
            streams = _drop(streams, key)
            return evolve(streams, finished=streams.finished.put(key, True, turn.policy.remembered_slots))
        case StreamFail():
            if followed is not None:
                turn.emit(StreamDiscarded(chat_id, payload.message_id, sender, "failed"))
            return _drop(streams, key)


def _added(streams: StreamState, key: str, followed: Followed, piece: StreamAdd, turn: Turn) -> StreamState:
    """A piece; one that is not newer than the last changes nothing."""
    last = followed.sequence
    if last is not None and piece.sequence <= last:
        return streams
    texts = tuple(part.text for part in piece.fragments if isinstance(part, TextFragment))
    before, text = "".join(followed.texts), "".join(texts)
    fits = piece.sequence == (0 if last is None else last + 1) and _continues(followed.texts, piece.fragments)
    delta = text[len(before) :] if fits and text.startswith(before) else None
    turn.emit(StreamGrew(followed.chat_id, followed.message_id, followed.sender, delta, text, piece.fragments))
    return _keep(streams, key, evolve(followed, texts=texts, sequence=piece.sequence), turn)


def _continues(before: tuple[str, ...], fragments: tuple[Fragment, ...]) -> bool:
    """Whether each text is what it was before plus its delta (STREAM-5, STREAM-9)."""
    parts = [part for part in fragments if isinstance(part, TextFragment)]
    if len(parts) < len(before):
        return False
    earlier = before + ("",) * (len(parts) - len(before))
    return all(old + (part.delta or "") == part.text for old, part in zip(earlier, parts, strict=True))


def _keep(streams: StreamState, key: str, followed: Followed, turn: Turn) -> StreamState:
    """The stream has shown a sign of life; the one that has been silent for longest makes room."""
    slot = streams.next_slot
    due = streams.due.remove(followed.slot) if followed.slot else streams.due
    streams = evolve(
        streams,
        followed=streams.followed.set(key, evolve(followed, slot=slot)),
        due=due.set(slot, (turn.mono + turn.policy.stream_silence_ms, key)),
        next_slot=slot + 1,
    )
    while len(streams.followed) > turn.policy.streams_followed:
        streams = _discard_first(streams, "crowded", turn)
    return streams


def _drop(streams: StreamState, key: str) -> StreamState:
    followed = streams.followed.get(key)
    if followed is None:
        return streams
    return evolve(streams, followed=streams.followed.remove(key), due=streams.due.remove(followed.slot))


def _discard_first(streams: StreamState, cause: Literal["crowded", "silent"], turn: Turn) -> StreamState:
    first = streams.due.first()
    assert first is not None
    key = first[1][1]
    followed = streams.followed.get(key)
    assert followed is not None
    turn.emit(StreamDiscarded(followed.chat_id, followed.message_id, followed.sender, cause))
    return _drop(streams, key)


def superseded(streams: StreamState, sender: Peer | None, message_id: str) -> tuple[StreamState, bool]:
    """A message under the id of a stream takes its place (STREAM-12).

    Returns:
        The streams, and whether this one was known.
    """
    key = _key(sender, message_id)
    known = key in streams.followed or streams.finished.get(key) is not None
    return (_drop(streams, key) if known else streams), known


def recalled(streams: StreamState, message_id: str, turn: Turn) -> StreamState:
    """Its author has withdrawn a message that was still being written (RECALL-1)."""
    for key, followed in list(streams.followed.items()):
        if followed.message_id == message_id:
            turn.emit(StreamDiscarded(followed.chat_id, message_id, followed.sender, "recalled"))
            streams = _drop(streams, key)
    return streams


def advance(streams: StreamState, turn: Turn) -> StreamState:
    """Discard what has been silent for too long: its end was lost, and streams are not replayed (RPL-9)."""
    while (first := streams.due.first()) is not None and turn.mono >= first[1][0]:
        streams = _discard_first(streams, "silent", turn)
    return streams


def deadline(streams: StreamState) -> int | None:
    """Monotonic ms at which `advance` has something to do."""
    first = streams.due.first()
    return None if first is None else first[1][0]
