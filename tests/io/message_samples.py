"""Messages and other events that the tests of message stores file."""

from typing import Any

from attrs import evolve

from clawproto.app_events import MessageReceived
from clawproto.keeping import Arrival, Change, KeptSend
from clawproto.wire.values import MessagePayload, Peer, TextFragment

DAY_MS = 86_400_000


def message(message_id: str = "msg-1", text: str = "hello", **changes: Any) -> MessageReceived:
    """A message of somebody else. ``merged`` makes it a provisional copy."""
    merged = bool(changes.pop("merged", False))
    payload = MessagePayload(message_id, "normal", (TextFragment(text),), (), stream_merged=merged)
    event = MessageReceived(
        event="message.send",
        chat_id="cnv_1",
        chat_type="direct",
        sender=Peer("usr_2", "direct", "Ann"),
        message=payload,
        own=False,
        system=False,
        update=False,
        conversational=True,
        emitted_at_ms=1_000,
    )
    return evolve(event, **changes)


def arrivals(*events: Any) -> list[Change]:
    return [Arrival(event) for event in events]


def send(number: int = 1, **changes: Any) -> KeptSend:
    """A send that is kept. Created at wall clock ``created_ms``, 0 by default."""
    kept = KeptSend(
        trace_id=f"trace-{number}",
        number=number,
        message_id=f"msg-out-{number}",
        chat_id="cnv_1",
        event="message.send",
        payload='{"message_id":"msg-out","é":"\\ud800"}',
        to=None if number % 2 else '{"id":"usr_2"}',
        created_ms=0,
    )
    return evolve(kept, **changes)
