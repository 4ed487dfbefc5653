"""Shorthands for tests of sends and of what a hub says about them."""

import json
from collections.abc import Mapping
from typing import Any

from clawproto.app_events import AppEvent
from clawproto.effects import Emit, SendFrame
from clawproto.events import FrameReceived, Send, SetTyping
from clawproto.json_types import Json
from clawproto.link_state import generation
from tests.core.harness import Bench, credentials, frame

CHAT = "cnv_01K9F40000QRSTVWXYZ0123456"
OTHER_CHAT = "cnv_01K9F40000QRSTVWXYZ0123457"
OWNER_CHAT = "cnv_1"  # the bench's direct conversation with the owner
HELLO: tuple[dict[str, Json], ...] = ({"kind": "text", "text": "hello"},)


def online(**settings: Any) -> Bench:
    """A bench whose session is ready."""
    bench = Bench(credentials(), **settings)
    assert bench.state.connected
    return bench


def keeping(**settings: Any) -> Bench:
    """The same with a message store."""
    return online(keep_sends=True, **settings)


def restarted(bench: Bench, **settings: Any) -> Bench:
    """The process has died; another one starts on the same stores, an hour later."""
    return Bench(
        bench.store.record,
        messages=bench.messages,
        keep_sends=True,
        seed=bytes(range(1, 17)),
        wall_ms=bench.now.wall_ms + 3_600_000,
        mono_ms=500,
        **settings,
    )


def outcomes(bench: Bench) -> list[tuple[str, str | None]]:
    """What became of kept sends, with the code, as the message store was told."""
    return [(decision.outcome, decision.code) for decision in bench.messages.decisions]


def send(bench: Bench, text: str = "hi", chat_id: str = CHAT, **fields: Any) -> int:
    """Give a `Send`; returns its command number."""
    command = bench.command()
    bench.step(Send(command, chat_id, ({"kind": "text", "text": text},), **fields))
    return command


def type_in(bench: Bench, chat_id: str = CHAT, *, is_typing: bool = True) -> None:
    bench.step(SetTyping(chat_id, is_typing))


def uplinks(bench: Bench, event: str = "message.send") -> list[dict[str, Any]]:
    """Every uplink of this event so far, decoded."""
    return [json.loads(effect.text) for effect in bench.all(SendFrame) if effect.event == event]


def says(bench: Bench, event: str, payload: Mapping[str, Json], *, trace_id: str = "", **envelope: Any) -> None:
    """The hub sends a frame on the socket that counts."""
    number = generation(bench.state.link)
    assert number is not None
    bench.step(FrameReceived(number, frame(event, payload, at_ms=bench.now.wall_ms, trace_id=trace_id, **envelope)))


def ack(bench: Bench, uplink: Mapping[str, Any], message_id: str | None = None, accepted_at: int = 5) -> None:
    """The hub acknowledges an uplink."""
    payload: dict[str, Json] = {
        "message_id": message_id or uplink["payload"]["message_id"],
        "accepted_at": accepted_at,
    }
    says(bench, "message.ack", payload, trace_id=uplink["trace_id"], chat_id=uplink["chat_id"])


def refuse(bench: Bench, uplink: Mapping[str, Any], code: str, **payload: Json) -> None:
    """The hub refuses an uplink."""
    says(bench, "message.error", {"code": code, **payload}, trace_id=uplink["trace_id"], chat_id=uplink["chat_id"])


def message(text: str = "yo", message_id: str = "msg-1", **changes: Json) -> dict[str, Json]:
    """The payload of a received message."""
    body: dict[str, Json] = {
        "body": {"fragments": [{"kind": "text", "text": text}]},
        "context": {"mentions": [], "reply": None},
    }
    return {"message_id": message_id, "message_mode": "normal", "message": body, **changes}


def told(bench: Bench) -> list[AppEvent]:
    """Everything that the application was told so far."""
    return [effect.event for effect in bench.all(Emit)]


def answer(word: str, trace_id: str, message_id: str, dseq: int) -> str:
    """The ack of this message, in one way or another; or its refusal."""
    if word == "refused":
        return frame("message.error", {"code": "not_member", "message_id": message_id}, trace_id=trace_id)
    body: dict[str, Json] = {"message_id": message_id, "accepted_at": 5}
    more: dict[str, Json] = {"trace_id": trace_id, "chat_id": "cnv_1"}
    match word:
        case "other id":
            body["message_id"] = "another"
        case "stamped":
            more["dseq"] = dseq
        case "null stamp":
            more["dseq"] = None
        case "by trace":
            del body["message_id"]
        case "by id":
            more["trace_id"] = "s-other"
        case "both wrong":
            body, more["trace_id"] = {"message_id": 5, "accepted_at": True}, ""
        case "odd":
            body, more["trace_id"] = {"message_id": message_id, "accepted_at": 2**64, "x": [{}]}, 7
        case _:
            pass
    return frame("message.ack", body, **more)  # type: ignore[arg-type]
