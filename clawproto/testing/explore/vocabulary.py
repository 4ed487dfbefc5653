"""What can happen to the session under exploration, and what it asks for, in a few words that can be compared.

Events::

    ("start", record, seconds)      begin with what the store holds, seconds after the last write to it
    ("restart", record)             a session that has ended begins again, with the guard of its earlier life
    ("refresh",)  ("stop",)  ("load", record)  ("pause",)  ("resume",)
    ("time",)                       until the next instant at which anything is different, with a Tick if that is due
    ("late",)                       the host slept, and wakes up late for everything
    ("age",)                        hours pass: the token in force is due
    ("http", answer)                rotated, rotated-due, refused, bad-request, internal, busy, garbage, unknown, unsent
    ("store", operation, answer)    stored, conflict, failed, reloaded
    ("opened",)  ("open-failed",)  ("frame", what)  ("closed", code)
    ("socket", what)                where the link is left out: ready, rejected, unwell, lost

A record is ``(generation, pair, intent, refused)`` with NONE for what is not there. Pairs that the node does not know
have the numbers above its own; their ages come along with the move.
"""

import json
from typing import Any, Final, TypeAlias

from clawproto.app_events import AppEvent, LoggedOut
from clawproto.commands import Refresh
from clawproto.credentials import Credentials, Intent
from clawproto.effects import (
    Abort,
    Close,
    Effect,
    Emit,
    Logout,
    Open,
    Persist,
    Reconnect,
    RecordIntent,
    Reload,
    RequestRefresh,
    Resolve,
    SendFrame,
    Swap,
)
from clawproto.events import (
    Closed,
    CredentialsLoaded,
    Event,
    FrameReceived,
    HttpAnswered,
    HttpFailed,
    Opened,
    OpenFailed,
    ReceiverPaused,
    ReceiverResumed,
    Reloaded,
    Start,
    Stop,
    StoreConflicted,
    Stored,
    StoreFailed,
)
from clawproto.http import HttpAnswer
from clawproto.policy import SECOND_MS
from clawproto.state import State
from clawproto.testing.explore.canonical import GENERATION
from clawproto.testing.explore.pool import (
    ACCESS,
    DATE,
    IDENTITY,
    NOW,
    PAIRS,
    REFRESH,
    Age,
    by_access,
    by_refresh,
)

NONE: Final = -1
Record: TypeAlias = tuple[int, int, int, int]
Move: TypeAlias = tuple[Any, ...]  # one of the events above


def frame(event: str, payload: dict[str, Any]) -> FrameReceived:
    """A downlink on the socket of the moment."""
    text = {"version": "2", "event": event, "trace_id": "", "emitted_at": NOW.wall_ms, "payload": payload}
    return FrameReceived(1, json.dumps(text))


FRAMES: Final = {
    "challenge": frame("connect.challenge", {"nonce": "nonce-nonce-nonce-nonce1"}),
    "ready": frame("hello-ok", {"device_id": "device-1", "delivery_mode": "device_replay"}),
    "rejected": frame("hello-fail", {"reason": "authentication failed"}),
    "outage": frame("hello-fail", {"reason": "auth service unavailable, try later"}),
    "unwell": frame("hello-fail", {"reason": "not now"}),
    "pong": frame("pong", {}),
    "garbage": FrameReceived(1, "{"),
}


def json_answer(code: int, data: dict[str, str] | None = None) -> HttpAnswer:
    """An answer of the server, which knows what time it is."""
    body = {"code": code, "msg": "", "data": data or {}}
    return HttpAnswer(200, (("date", DATE),), json.dumps(body).encode())


def credentials_of(record: Record, ages: tuple[Age, ...], seconds: int = 0) -> Credentials:
    """The record of a store, as a session gets it. ``seconds``: age of its intent."""
    generation, pair, intent, refused = record
    return Credentials(
        IDENTITY,
        None if pair == NONE else PAIRS[pair, ages[pair]],
        GENERATION + generation,
        None
        if intent == NONE
        else Intent(REFRESH[intent].digest, GENERATION + generation, NOW.wall_ms - seconds * SECOND_MS),
        None if refused == NONE else ACCESS[refused, ages[refused]].digest,
    )


def event_of(state: State, move: Move, ages: tuple[Age, ...]) -> Event:
    """The event that a move stands for, in the numbers of a canonical state."""
    match move:
        case ("start", record, seconds):
            return Start(None if record is None else credentials_of(record, ages, seconds))
        case ("load", record):
            return CredentialsLoaded(credentials_of(record, ages))
        case ("refresh",):
            return Refresh(1_000)
        case ("stop",):
            return Stop()
        case ("pause",):
            return ReceiverPaused()
        case ("resume",):
            return ReceiverResumed()
        case ("http", answer):
            return _http(answer, ages)
        case ("store", operation, answer):
            return _store_report(operation, answer, ages)
        case ("opened",):
            return Opened(1)
        case ("open-failed",):
            return OpenFailed(1, "unreachable")
        case ("closed", code):
            return Closed(1, code, "retry_after_ms=2000" if code == 4002 else "")
        case ("frame", what):
            return FRAMES[what]
        case _:
            raise ValueError(f"{move} is no event")


def _http(answer: tuple[Any, ...], ages: tuple[Age, ...]) -> Event:
    match answer:
        case ("rotated", pair):
            tokens = PAIRS[pair, ages[pair]]
            assert tokens.refresh is not None
            data = {"access_token": tokens.access.reveal(), "refresh_token": tokens.refresh.reveal()}
            return HttpAnswered(1, json_answer(0, data))
        case ("refused",):
            return HttpAnswered(1, json_answer(10003))
        case ("bad-request",):
            return HttpAnswered(1, json_answer(400))
        case ("internal",):
            return HttpAnswered(1, json_answer(1))
        case ("busy",):
            return HttpAnswered(1, HttpAnswer(429, (("retry-after", "6"),), b""))
        case ("garbage",):
            return HttpAnswered(1, HttpAnswer(502, (), b"<html>"))
        case ("unknown",):
            return HttpFailed(1, True, "connection reset")
        case ("unsent",):
            return HttpFailed(1, False, "name not found")
        case _:
            raise ValueError(f"{answer} is no answer")


def _store_report(operation: int, answer: tuple[Any, ...], ages: tuple[Age, ...]) -> Event:
    match answer:
        case ("stored", generation):
            return Stored(operation, GENERATION + generation)
        case ("conflict", record):
            return StoreConflicted(operation, None if record is None else credentials_of(record, ages))
        case ("reloaded", record):
            return Reloaded(operation, None if record is None else credentials_of(record, ages))
        case ("failed",):
            return StoreFailed(operation, "disk full")
        case _:
            raise ValueError(f"{answer} is no answer")


def name_of(move: Move) -> str:
    """How the diagrams call an event."""
    match move:
        case ("http", answer) | ("store", _, answer):
            return f"{move[0]} {answer[0]}"
        case ("frame" | "closed" | "socket", what):
            return f"{move[0]} {what}"
        case _:
            return str(move[0])


def describe(effect: Effect, operations: dict[int, int]) -> tuple[Any, ...] | None:
    """What an effect asks for, with store operations under their new numbers; None if it is nobody's concern here."""
    match effect:
        case RecordIntent(operation=operation, intent=intent):
            number = operations.get(operation, 0)
            return "intent", number, by_refresh(intent.refresh_digest), intent.generation - GENERATION
        case RequestRefresh(http=http):
            token = json.loads(http.body or b"{}")["refresh_token"]
            return "request", int(token.removeprefix("refresh-"))
        case Persist(operation=operation, credentials=record, replaces=replaces):
            assert record.tokens is not None
            return (
                "persist",
                operations.get(operation, 0),
                by_access(record.tokens.access.digest)[0],
                record.generation - GENERATION,
                None if replaces is None else replaces - GENERATION,
            )
        case Logout(operation=operation, refused=refused, replaces=replaces):
            return "logout", operations.get(operation, 0), by_access(refused)[0], replaces - GENERATION
        case Reload(operation=operation):
            return "reload", operations.get(operation, 0)
        case Swap(tokens=tokens):
            return "swap", by_access(tokens.access.digest)[0]
        case Open() | Abort():
            return (type(effect).__name__.lower(),)
        case Close() | Reconnect():
            return type(effect).__name__.lower(), effect.reason
        case SendFrame(event=event):
            return "send", event
        case Resolve(result=result):
            return "resolve", type(result).__name__
        case Emit(event=event):
            return "tell", _told(event)
        case _:
            return None


def _told(event: AppEvent) -> str:
    return f"LoggedOut {event.cause}" if isinstance(event, LoggedOut) else type(event).__name__
