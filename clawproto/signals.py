"""Signals: who types, who is there, what was read, what is to be fetched again, what an owner is asked.

Rules: TYPE-3, PRES-3, PRES-4, PRES-6, PRES-8, READ-1, READ-4, READ-5, META-1 to META-4, NOTIFY-1 to NOTIFY-3, NOTIFY-8,
PERM-3 to PERM-9, PERM-12, HIST-1, HIST-3.

    typing.update true --> known -- false, or 6 s of silence --> gone          each change is told once
    presence.subscribe --> watched, again after each hello-ok
    permission.request --> card -- permission.resolved, or expires_at --> collapsed
    message.read, versions: merged by maximum; our own mark --> owed -- online, no gate --> sent
"""

from collections.abc import Mapping

from clawproto.app_events import (
    PermissionDecided,
    PermissionRequested,
    PermissionResolved as PermissionResolvedEvent,
    PresenceChanged,
    ReadMarkMoved,
    TypingChanged,
)
from clawproto.deferred import frozen
from clawproto.effects import SendFrame
from clawproto.evolving import evolve
from clawproto.gates import Gates, blocking, is_valid_chat
from clawproto.json_types import Json
from clawproto.persistent import IntMap, StrMap
from clawproto.recent import Recent
from clawproto.results import Done, LocalResult, NotDone
from clawproto.timing import earliest
from clawproto.turn import Turn
from clawproto.wire.codec import encode_envelope
from clawproto.wire.signals import (
    PermissionRequest,
    PermissionResolved,
    Presence,
    encode_presence,
    encode_read,
)

PRESENCE_PREFIXES = ("usr_", "agt_")  # PRES-7
PERMISSION_RESULT = "permission_result"  # PERM-9


@frozen
class Indicator:
    """Somebody writes.

    Attributes:
        slot: place in the order of expiry.
    """

    chat_id: str
    user_id: str
    slot: int


@frozen
class Card:
    """A request that waits for the owner.

    Attributes:
        expires_at: server time in milliseconds, None for never.
    """

    chat_id: str
    request_id: str
    expires_at: int | None


@frozen
class SignalState:
    """Everything that these small machines know.

    Attributes:
        typing: who writes where, by chat and user.
        typing_due: slot to (monotonic ms, key into `typing`), in the order of expiry.
        watched: users whose presence we asked for, in the order of asking.
        marks: how far each chat was read, on any device (READ-4).
        owed_marks: marks that the hub must still be told, by chat.
        versions: highest version applied, by subject and key (META-3, NOTIFY-3).
        cards: open requests by number, oldest first; `card_numbers` finds them by request id.
        decided: requests whose lasting record was told (PERM-9).
    """

    typing: StrMap[Indicator] = StrMap()
    typing_due: IntMap[tuple[int, str]] = IntMap()
    watched: tuple[str, ...] = ()
    marks: Recent[int] = Recent()
    owed_marks: StrMap[int] = StrMap()
    versions: Recent[int] = Recent()
    cards: IntMap[Card] = IntMap()
    card_numbers: StrMap[int] = StrMap()
    decided: Recent[bool] = Recent()
    next_slot: int = 1


# --- typing of others ----------------------------------------------------------------------------------------------


def typing_received(
    signals: SignalState, chat_id: str, user_id: str, *, is_typing: bool, turn: Turn
) -> tuple[SignalState, TypingChanged | None]:
    """``typing.update``. Only a change is an event; a repetition moves the expiry (TYPE-3)."""
    key = f"{chat_id}\0{user_id}"
    known = signals.typing.get(key)
    if not is_typing:
        return (
            (signals, None) if known is None else (_forget(signals, key, known), TypingChanged(chat_id, user_id, False))
        )
    slot = signals.next_slot
    due = signals.typing_due if known is None else signals.typing_due.remove(known.slot)
    signals = evolve(
        signals,
        typing=signals.typing.set(key, Indicator(chat_id, user_id, slot)),
        typing_due=due.set(slot, (turn.mono + turn.policy.typing_expiry_ms, key)),
        next_slot=slot + 1,
    )
    while len(signals.typing) > turn.policy.typing_table:
        signals = _expire_first(signals, turn)
    return signals, TypingChanged(chat_id, user_id, True) if known is None else None


def _forget(signals: SignalState, key: str, known: Indicator) -> SignalState:
    return evolve(signals, typing=signals.typing.remove(key), typing_due=signals.typing_due.remove(known.slot))


def _expire_first(signals: SignalState, turn: Turn) -> SignalState:
    first = signals.typing_due.first()
    assert first is not None
    key = first[1][1]
    known = signals.typing.get(key)
    assert known is not None
    turn.emit(TypingChanged(known.chat_id, known.user_id, False, expired=True))
    return _forget(signals, key, known)


# --- presence ------------------------------------------------------------------------------------------------------


def watch(signals: SignalState, user_id: str, online: int | None, turn: Turn) -> tuple[SignalState, LocalResult]:
    """Subscribe now, or with the next connection; asking again asks for another snapshot (PRES-2)."""
    if not user_id.startswith(PRESENCE_PREFIXES):
        return signals, NotDone("invalid-user-id", "presence is known of usr_… and agt_… only (PRES-7)")
    if user_id not in signals.watched:
        if len(signals.watched) >= turn.policy.presence_limit:
            limit = turn.policy.presence_limit
            return signals, NotDone("presence-limit", f"{limit} users are watched already (PRES-4)")
        signals = evolve(signals, watched=(*signals.watched, user_id))
    if online is not None:
        _subscribe("presence.subscribe", user_id, online, turn)
    return signals, Done()


def unwatch(signals: SignalState, user_id: str, online: int | None, turn: Turn) -> SignalState:
    """Take a subscription back; harmless if there is none."""
    if user_id not in signals.watched:
        return signals
    if online is not None:
        _subscribe("presence.unsubscribe", user_id, online, turn)
    return evolve(signals, watched=tuple(other for other in signals.watched if other != user_id))


def _subscribe(event: str, user_id: str, online: int, turn: Turn) -> None:
    payload = encode_presence(user_id)
    text = encode_envelope(event, trace_id=f"p-{turn.mint()}", emitted_at=turn.wall, payload_text=payload)
    turn.do(SendFrame(online, text, event))


def presence_received(presence: Presence, *, snapshot: bool) -> PresenceChanged:
    """``presence.snapshot`` and ``presence.update``. Nothing is kept: the snapshot repairs what was lost (PRES-3)."""
    return PresenceChanged(presence.user_id, presence.online, presence.last_seen_at, snapshot)


# --- read marks ----------------------------------------------------------------------------------------------------


def mark_read(
    signals: SignalState, chat_id: str, mark: int, gates: Gates, online: int | None, turn: Turn
) -> SignalState:
    """The application has read on: tell the hub, now or with the next connection (READ-1). Lower marks are nothing."""
    if mark < 1 or not is_valid_chat(chat_id, turn) or mark <= (signals.marks.get(chat_id) or 0):
        return signals
    owed = signals.owed_marks.set(chat_id, mark)
    while len(owed) > turn.policy.read_marks_owed:
        owed = owed.remove(next(other for other in owed if other != chat_id))
    signals = evolve(signals, marks=signals.marks.put(chat_id, mark, turn.policy.remembered_slots), owed_marks=owed)
    return signals if online is None else _pay_marks(signals, gates, online, turn)


def _pay_marks(signals: SignalState, gates: Gates, online: int, turn: Turn) -> SignalState:
    owed = signals.owed_marks
    for chat_id, mark in signals.owed_marks.items():
        if blocking(gates, chat_id, turn) is not None:
            continue  # ERR-10; it stays owed
        owed = owed.remove(chat_id)
        text = encode_envelope(
            "message.read",
            trace_id=f"r-{turn.mint()}",
            emitted_at=turn.wall,
            payload_text=encode_read(mark),
            chat_id=chat_id,
        )
        turn.do(SendFrame(online, text, "message.read"))
    return signals if owed is signals.owed_marks else evolve(signals, owed_marks=owed)


def mark_received(
    signals: SignalState, chat_id: str, mark: int, turn: Turn
) -> tuple[SignalState, ReadMarkMoved | None]:
    """``message.read`` of another device: merged by maximum (READ-4), the burst after ``hello-ok`` too (READ-5)."""
    if mark <= (signals.marks.get(chat_id) or 0):
        return signals, None
    marks = signals.marks.put(chat_id, mark, turn.policy.remembered_slots)
    return evolve(signals, marks=marks, owed_marks=signals.owed_marks.remove(chat_id)), ReadMarkMoved(chat_id, mark)


# --- versions ------------------------------------------------------------------------------------------------------


def is_applied(signals: SignalState, subject: str, key: str, version: int | None) -> bool:
    """Whether this version, or a later one, was applied already (META-3, NOTIFY-3). Without a version: never, nor
    without a key, since versions of different things cannot be compared."""
    applied = signals.versions.get(f"{subject}:{key}") if key else None
    return version is not None and applied is not None and version <= applied


def applied(signals: SignalState, subject: str, key: str, version: int, turn: Turn) -> SignalState:
    """The application has fetched and applied this version."""
    name = f"{subject}:{key}"
    if not key or version <= (signals.versions.get(name) or 0):
        return signals
    return evolve(signals, versions=signals.versions.put(name, version, turn.policy.remembered_slots))


# --- owner approvals -----------------------------------------------------------------------------------------------


def requested(
    signals: SignalState, chat_id: str, request: PermissionRequest, turn: Turn
) -> tuple[SignalState, PermissionRequested | None]:
    """``permission.request``: a card under its request id (PERM-3). The same card again is no event."""
    event = PermissionRequested(
        chat_id, request.request_id, request.agent_id, request.operation, request.target, request.expires_at
    )
    if not request.request_id or request.request_id in signals.card_numbers:
        return signals, None
    number = signals.next_slot
    signals = evolve(
        signals,
        cards=signals.cards.set(number, Card(chat_id, request.request_id, request.expires_at)),
        card_numbers=signals.card_numbers.set(request.request_id, number),
        next_slot=number + 1,
    )
    while len(signals.cards) > turn.policy.permission_cards and (oldest := signals.cards.first()) is not None:
        signals = _collapse(signals, oldest[0], oldest[1])
    return signals, event


def _collapse(signals: SignalState, number: int, card: Card) -> SignalState:
    return evolve(
        signals, cards=signals.cards.remove(number), card_numbers=signals.card_numbers.remove(card.request_id)
    )


def resolved(
    signals: SignalState, chat_id: str, resolution: PermissionResolved
) -> tuple[SignalState, PermissionResolvedEvent]:
    """``permission.resolved``: collapses the card of that id; an empty id has none (PERM-4)."""
    number = signals.card_numbers.get(resolution.request_id)
    card = None if number is None else signals.cards.get(number)
    if number is not None and card is not None:
        signals = _collapse(signals, number, card)
    return signals, PermissionResolvedEvent(chat_id, resolution.request_id, resolution.decision, resolution.reason)


def decided(
    signals: SignalState, chat_id: str, metadata: Mapping[str, Json], turn: Turn
) -> tuple[SignalState, PermissionDecided | None]:
    """The lasting record in a notice of the system, once per request id, replays included (PERM-9)."""
    if metadata.get("kind") != PERMISSION_RESULT:
        return signals, None
    request_id = _string(metadata, "request_id")
    if request_id is None or signals.decided.get(request_id) is not None:
        return signals, None
    event = PermissionDecided(
        chat_id,
        request_id,
        _string(metadata, "operation"),
        _string(metadata, "outcome"),
        _string(metadata, "reason"),
        metadata.get("result"),
    )
    return evolve(signals, decided=signals.decided.put(request_id, True, turn.policy.remembered_signals)), event


def _string(metadata: Mapping[str, Json], name: str) -> str | None:
    value = metadata.get(name)
    return value if isinstance(value, str) else None


# --- connection and deadlines --------------------------------------------------------------------------------------


def connected(signals: SignalState, gates: Gates, online: int, turn: Turn) -> SignalState:
    """Subscribe again (PRES-3), and tell the marks that are owed."""
    for user_id in signals.watched:
        _subscribe("presence.subscribe", user_id, online, turn)
    return _pay_marks(signals, gates, online, turn) if len(signals.owed_marks) else signals


def other_user(signals: SignalState) -> SignalState:
    """The session goes on under another user: marks, subscriptions and cards of the one before are not theirs."""
    return SignalState(typing=signals.typing, typing_due=signals.typing_due, next_slot=signals.next_slot)


def advance(signals: SignalState, offset: int, gates: Gates, online: int | None, turn: Turn) -> SignalState:
    """Indicators and cards whose time is over; marks whose gate is open again. ``offset`` is server time minus wall
    clock."""
    if online is not None and len(signals.owed_marks):
        signals = _pay_marks(signals, gates, online, turn)
    while (first := signals.typing_due.first()) is not None and turn.mono >= first[1][0]:
        signals = _expire_first(signals, turn)
    if len(signals.cards):
        server = turn.wall + offset
        for number, card in list(signals.cards.items()):
            if card.expires_at is not None and server >= card.expires_at:
                turn.emit(PermissionResolvedEvent(card.chat_id, card.request_id, None, None, expired=True))
                signals = _collapse(signals, number, card)
    return signals


def deadline(signals: SignalState, offset: int, turn: Turn) -> int | None:
    """Monotonic ms at which `advance` has something to do; for a wall-clock instant at most a minute ahead (TOK-21)."""
    first = signals.typing_due.first()
    due = None if first is None else first[1][0]
    if not len(signals.cards):
        return due
    expiry = earliest(*(card.expires_at for card in signals.cards.values()))
    if expiry is None:
        return due
    return earliest(due, turn.mono + min(max(expiry - turn.wall - offset, 0), turn.policy.wall_check_ms))
