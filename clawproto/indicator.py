"""Our typing indicator: shown while we write and are online, repeated, and always ended.

Rules: TYPE-1, TYPE-2, TYPE-6, SEND-20, CLOSE-12, ERR-10, ERR-17.

    true --> shown, repeated every 3 s -- false, or 900 s --> ended
               |   ^
     connection lost |     nothing is queued: what still goes on is shown anew
               v   |
              hidden -- false --> gone
"""

from typing import TypeAlias

from clawproto.deferred import frozen
from clawproto.effects import SendFrame
from clawproto.evolving import evolve
from clawproto.gates import Gates, blocking, is_valid_chat
from clawproto.timing import earliest
from clawproto.turn import Turn
from clawproto.wire.codec import encode_typing


@frozen
class Activity:
    """We write in one chat.

    Attributes:
        until: monotonic ms of the guard against a leaked indicator (TYPE-6).
        due: monotonic ms of the next repetition; None while offline.
        shown: the socket that carries uplinks has heard of it.
    """

    chat_id: str
    until: int
    due: int | None = None
    shown: bool = False


IndicatorState: TypeAlias = tuple[Activity, ...]


def set_typing(
    activities: IndicatorState, chat_id: str, is_typing: bool, gates: Gates, online: int | None, turn: Turn
) -> IndicatorState:
    """Begin, go on, or end. Beginning again only renews the guard; repeated ends are suppressed (TYPE-2)."""
    if not is_valid_chat(chat_id, turn):
        return activities
    known = next((activity for activity in activities if activity.chat_id == chat_id), None)
    others = tuple(activity for activity in activities if activity.chat_id != chat_id)
    until = turn.mono + turn.policy.typing_guard_ms
    if is_typing and known is not None:
        return (*others, evolve(known, until=until))
    if is_typing:
        return advance((*others, Activity(chat_id, until, None if online is None else turn.mono)), gates, online, turn)
    if known is not None:
        _end(known, gates, online, turn)
    return others


def advance(activities: IndicatorState, gates: Gates, online: int | None, turn: Turn) -> IndicatorState:
    """Repeat what is due, end what has gone on for too long."""
    now = turn.mono
    if not any(now >= one.until or (one.due is not None and now >= one.due) for one in activities):
        return activities
    kept: list[Activity] = []
    for activity in activities:
        if now >= activity.until:
            _end(activity, gates, online, turn)
        elif activity.due is None or now < activity.due:
            kept.append(activity)
        else:
            kept.append(_show(activity, gates, online, turn))
    return tuple(kept)


def _show(activity: Activity, gates: Gates, online: int | None, turn: Turn) -> Activity:
    shown = activity.shown
    if online is not None and blocking(gates, activity.chat_id, turn, typing=True) is None:
        _send(online, activity.chat_id, True, turn)
        shown = True
    return evolve(activity, shown=shown, due=turn.mono + turn.policy.typing_repeat_ms)


def _end(activity: Activity, gates: Gates, online: int | None, turn: Turn) -> None:
    if activity.shown and online is not None and blocking(gates, activity.chat_id, turn, typing=True) is None:
        _send(online, activity.chat_id, False, turn)


def _send(generation: int, chat_id: str, is_typing: bool, turn: Turn) -> None:
    trace_id = f"t-{turn.mint()}"
    text = encode_typing(trace_id=trace_id, emitted_at=turn.wall, chat_id=chat_id, is_typing=is_typing)
    turn.do(SendFrame(generation, text, "typing.update"))


def connected(activities: IndicatorState, turn: Turn) -> IndicatorState:
    """Whatever still goes on is shown on the new connection."""
    return tuple(evolve(activity, due=turn.mono, shown=False) for activity in activities)


def flush(activities: IndicatorState, gates: Gates, online: int | None, turn: Turn) -> IndicatorState:
    """Before a deliberate close: end what is shown (CLOSE-12). What goes on is shown again by the next connection."""
    for activity in activities:
        _end(activity, gates, online, turn)
    return disconnected(activities)


def disconnected(activities: IndicatorState) -> IndicatorState:
    """Nothing is shown any more, and nothing is due."""
    return tuple(evolve(activity, due=None, shown=False) for activity in activities)


def deadline(activities: IndicatorState) -> int | None:
    """Monotonic ms at which `advance` has something to do."""
    return earliest(*(earliest(activity.due, activity.until) for activity in activities)) if activities else None
