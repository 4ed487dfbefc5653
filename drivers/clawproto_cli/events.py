"""Application events as JSON and as lines for people. Both forms are described in docs/cli.md and stay stable."""

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

from attrs import fields

from clawproto import app_events
from clawproto.app_events import AppEvent
from clawproto.credentials import Identity
from clawproto.json_types import Json
from clawproto.text import render_text
from clawproto.wire.values import (
    Fragment,
    MalformedPayload,
    MediaFragment,
    MentionFragment,
    OpaquePayload,
    Peer,
    TextFragment,
    UnknownFragment,
)
from clawproto_cli.text import clock_time, printable, span

JsonObject: TypeAlias = dict[str, Json]


def name_of(event: AppEvent) -> str:
    """``TokensRotated`` is called ``tokens_rotated``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()


def event_form(event: AppEvent, at_ms: int) -> JsonObject:
    """The JSON form: ``event`` and ``at_ms``, then what the event holds."""
    form: JsonObject = {"event": name_of(event), "at_ms": at_ms}
    match event:
        case app_events.MessageReceived():
            return form | _message_form(event)
        case app_events.UnknownEvent():
            return form | _unknown_form(event)
        case app_events.StreamFinished():
            return form | _plain(event) | {"text": event.text}
        case app_events.HistoryReceived():  # what is encrypted stays with the devices
            held = _plain(event)
            del held["ciphertext_fragments"]
            return form | held
        case app_events.FrameRejected():  # its excerpt may hold anything at all
            return form | {"name": event.event, "problem": event.problem, "dropped": event.dropped}
        case _:
            return form | _plain(event)


def _plain(value: AppEvent | Identity) -> JsonObject:
    return {item.name: _value_form(getattr(value, item.name)) for item in fields(type(value))}


def _value_form(value: object) -> Json:
    """What a member holds, as JSON."""
    match value:
        case Identity():
            return _plain(value)
        case Peer():
            return _peer_form(value)
        case TextFragment() | MentionFragment() | MediaFragment() | UnknownFragment():
            return _fragment_form(value)
        case tuple() | list():
            return [_value_form(item) for item in cast(Sequence[object], value)]
        case Mapping():
            return {str(key): _value_form(item) for key, item in cast(Mapping[object, object], value).items()}
        case None | bool() | int() | float() | str():
            return value
        case _:
            raise TypeError(f"{type(value).__name__} has no JSON form")


def _message_form(event: app_events.MessageReceived) -> JsonObject:
    message = event.message
    reply: Json = None
    if message.reply is not None:
        reply = {"message_id": message.reply.message_id, "author_id": message.reply.author_id}
    return {
        "kind": event.event,
        "chat_id": event.chat_id,
        "chat_type": event.chat_type,
        "sender": _peer_form(event.sender),
        "message_id": message.message_id,
        "mode": message.message_mode,
        "text": render_text(message.fragments),
        "fragments": [_fragment_form(fragment) for fragment in message.fragments],
        "mentions": [{"user_id": mention.user_id, "display": mention.display} for mention in message.mentions],
        "reply": reply,
        "own": event.own,
        "system": event.system,
        "update": event.update,
        "conversational": event.conversational,
        "emitted_at_ms": event.emitted_at_ms,
        "streamed": event.streamed,
    }


def _unknown_form(event: app_events.UnknownEvent) -> JsonObject:
    frame, payload = event.frame, event.payload
    data: Json = None
    if isinstance(payload, OpaquePayload | MalformedPayload):
        data = _value_form(payload.data)
    return {"name": frame.event, "chat_id": frame.chat_id, "sender": _peer_form(frame.sender), "payload": data}


def _peer_form(peer: Peer | None) -> Json:
    return None if peer is None else {"id": peer.id, "nick_name": peer.nick_name}


def _fragment_form(fragment: Fragment) -> JsonObject:
    match fragment:
        case TextFragment():
            return {"kind": "text", "text": fragment.text}
        case MentionFragment():
            return {"kind": "mention", "user_id": fragment.user_id, "display": fragment.display}
        case MediaFragment():
            return {item.name: getattr(fragment, item.name) for item in fields(MediaFragment)}
        case UnknownFragment():
            data = _value_form(fragment.data)
            return (data if isinstance(data, dict) else {}) | {"kind": fragment.kind}


# --- for people ----------------------------------------------------------------------------------------------------


def event_line(event: AppEvent, at_ms: int) -> tuple[str, str]:
    """One line of text, and the style it is to be shown in."""
    style, words = words_of(event)
    return f"{clock_time(at_ms)}  {printable(words)}", style


def words_of(event: AppEvent) -> tuple[str, str]:
    """A style, and what happened, in words; what others wrote is in it as it came."""
    match event:
        case app_events.MessageReceived():
            who = "system" if event.sender is None else _who(event.sender)
            marks = " (edited)" if event.update else ""
            return "", f"{event.chat_id} {'me' if event.own else who}: {render_text(event.message.fragments)}{marks}"
        case app_events.Ready():
            return "green", f"connected as device {event.device_id}, {event.delivery} delivery"
        case app_events.ReplayFinished():
            return "dim", "backlog is through"
        case app_events.Disconnected():
            code = "" if event.code is None else f" {event.code}"
            if event.planned:
                return "dim", f"connection changed{code} {event.reason}".rstrip()
            return "yellow", f"disconnected{code} {event.reason}".rstrip() + _again(event.retry_in_ms)
        case app_events.TakenOver():
            return "red", f"another client took over the connection ({event.code}); run one only"
        case app_events.HandshakeRefused():
            return "yellow", f"the hub refused the handshake: {event.reason}; next: {event.action}"
        case app_events.TokensRotated():
            source = "taken from the store, where another process had put them" if event.adopted else "rotated"
            until = "" if event.expires_at_ms is None else f", valid until {clock_time(event.expires_at_ms)}"
            return "green", f"tokens {source} and saved{until}"
        case app_events.RefreshDelayed():
            return "yellow", f"refresh failed: {event.text}" + _again(event.retry_in_ms)
        case app_events.SaveAlarm():
            return "red", f"the new tokens cannot be saved ({event.attempts} tries): {event.detail}"
        case app_events.SaveRecovered():
            return "green", "the new tokens are saved after all"
        case app_events.MessagesUnsaved():
            return "red", f"messages cannot be stored ({event.attempts} tries): {event.detail}"
        case app_events.MessagesSaved():
            return "green", "messages are stored again"
        case app_events.ClockSkewed():
            return "yellow", f"this machine's clock is off by {span(event.offset_ms)}; allowing for it"
        case app_events.LoggedOut():
            kept = "" if event.cleared else "; the store could not be cleared yet"
            return "bold red", f"logged out ({event.cause}, {event.code} {event.text}): pair the agent again{kept}"
        case app_events.CredentialsNeeded():
            return "bold red", f"no usable tokens: {event.text}; pair the agent"
        case app_events.Misconfigured():
            return "yellow", f"misconfigured ({event.code}): {event.text}"
        case _:
            return _activity_words(event)


def _activity_words(event: AppEvent) -> tuple[str, str]:
    """Streams, reactions, marks and signals."""
    match event:
        case app_events.StreamStarted():
            return "dim", f"{event.chat_id} {_who(event.sender)} begins to write {event.message_id}"
        case app_events.StreamGrew(delta=None):
            return "dim", f"{event.chat_id} {_who(event.sender)} has written so far: {event.text}"
        case app_events.StreamGrew():
            return "dim", f"{event.chat_id} {_who(event.sender)} goes on: {event.delta}"
        case app_events.StreamFinished():
            return (
                "",
                f"{event.chat_id} {'me' if event.own else _who(event.sender)} wrote: {render_text(event.fragments)}",
            )
        case app_events.StreamDiscarded():
            return "yellow", f"{event.chat_id} {_who(event.sender)} gave up {event.message_id} ({event.cause})"
        case app_events.MessageDelivered():
            return "dim", f"{event.message_id} has arrived at {event.user_id or 'somebody'}"
        case app_events.ReactionChanged():
            did = "takes the reaction back from" if event.emoji is None else f"reacts with {event.emoji} to"
            who = "me" if event.own else event.reactor_user_id
            return "", f"{event.chat_id} {who} {did} {event.target_message_id}"
        case app_events.ReadMarkMoved():
            return "dim", f"{event.chat_id} was read up to {clock_time(event.read_up_to_ms)} on another device"
        case app_events.MessageRecalled():
            return "", f"{event.chat_id} {event.target_message_id} was withdrawn"
        case app_events.TypingChanged():
            return "dim", f"{event.chat_id} {event.user_id} {'types' if event.is_typing else 'no longer types'}"
        case app_events.PresenceChanged():
            seen = "" if event.last_seen_at is None else f", last seen {event.last_seen_at}"
            return "dim", f"{event.user_id} is {'online' if event.online else f'offline{seen}'}"
        case app_events.PermissionRequested():
            return "yellow", f"{event.chat_id} asks for leave to {event.operation or '?'} (request {event.request_id})"
        case app_events.HistoryTruncated():
            return "yellow", "nothing earlier is available"
        case _:
            held = ", ".join(
                f"{key}={value}"
                for key, value in event_form(event, 0).items()
                if key not in ("event", "at_ms", "payload") and value is not None
            )
            return "dim", f"{name_of(event)} {held}"


def _who(peer: Peer | None) -> str:
    return "somebody" if peer is None else peer.nick_name or peer.id


def _again(retry_in_ms: int | None) -> str:
    return "" if retry_in_ms is None else f"; again in {span(retry_in_ms)}"
