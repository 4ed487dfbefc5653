"""A bench with a hub's side of the wire: what the session wrote, and downlinks stamped as a hub stamps them."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from clawproto.app_events import MessageReceived
from clawproto.credentials import Credentials
from clawproto.effects import Abort, Close, Effect, Emit, Open, Reconnect, RequestRefresh, SendFrame
from clawproto.events import Closed, Event, FrameReceived, Opened, Send, Settle, SetTyping
from clawproto.json_types import Json
from clawproto.link_state import Online
from tests.core.harness import Bench, credentials, frame, of

Grant = Literal["v2", "v1"]

CHAT = "cnv_01J5ZK3M4N5P6Q7R8S9TABCDEF"
OTHER_CHAT = "cnv_01J5ZK3M4N5P6Q7R8S9TABCXYZ"
SENDER: dict[str, Json] = {"id": "usr_friend", "type": "direct", "nick_name": "Friend"}
TEXT: tuple[dict[str, Json], ...] = ({"kind": "text", "text": "hello"},)


class LinkBench(Bench):
    """One session and its hub.

    Attributes:
        grant: ``v2`` lets ``hello-ok`` grant the dseq mode, ``v1`` does not.
        answers_close: whether the other side completes a closing handshake at once.
        answers_pings: whether it answers a ping at once.
    """

    def __init__(self, record: Credentials | None = None, *, grant: Grant = "v1", **settings: Any) -> None:
        self.grant: Grant = grant
        self.answers_close = True
        self.answers_pings = True
        self.dseq = 0
        super().__init__(credentials() if record is None else record, **settings)

    def _carry_out(self, effect: Effect) -> Iterable[Event]:
        if isinstance(effect, Close | Reconnect):
            return [Closed(effect.generation, 1000)] if self.answers_close else []
        if isinstance(effect, SendFrame) and effect.event == "ping":
            if not self.answers_pings:
                return []
            sent = json.loads(effect.text)
            pong = frame("pong", {}, trace_id=sent["trace_id"], at_ms=sent["emitted_at"])
            return [FrameReceived(effect.generation, pong)]
        return super()._carry_out(effect)

    def hello(self, connect: SendFrame) -> FrameReceived:
        self.dseq = 0
        if self.grant == "v1":
            return super().hello(connect)
        sent = json.loads(connect.text)
        hello = {
            "device_id": sent["payload"]["device_id"],
            "delivery_mode": "device_replay",
            "ack_mode": "dseq",
            "ack_epoch": self.epoch(connect.generation),
        }
        return FrameReceived(connect.generation, frame("hello-ok", hello, trace_id=sent["trace_id"]))

    @staticmethod
    def epoch(generation: int) -> str:
        return f"01J5ZK3M4N5P6Q7R8S9TEPC{generation:03d}"

    # --- the hub's side

    def down(self, event: str, payload: Mapping[str, Json], **more: Json) -> tuple[Effect, ...]:
        """A downlink on the last socket."""
        return self.step(FrameReceived(self.generation, frame(event, payload, **more)))  # type: ignore[arg-type]

    def stamped(self, event: str, payload: Mapping[str, Json], **more: Json) -> tuple[Effect, ...]:
        """A downlink with the next dseq."""
        self.dseq += 1
        return self.down(event, payload, dseq=self.dseq, **more)

    def raw(self, text: str | bytes) -> tuple[Effect, ...]:
        """Anything on the last socket."""
        return self.step(FrameReceived(self.generation, text))

    def message(self, message_id: str, text: str = "hi", **more: Json) -> tuple[Effect, ...]:
        """A message of the friend: stamped under v2, else as it is. ``more`` goes into the envelope."""
        envelope: dict[str, Json] = {"chat_id": CHAT, "chat_type": "direct", "sender": SENDER, **more}
        deliver = self.stamped if self.grant == "v2" and "dseq" not in more else self.down
        return deliver("message.send", message_payload(message_id, text), **envelope)

    def closed(self, code: int = 1006, reason: str = "") -> tuple[Effect, ...]:
        """The last socket is gone."""
        return self.step(Closed(self.generation, code, reason))

    def challenge_now(self) -> tuple[Effect, ...]:
        """Without automatic greeting: the socket opens and the hub speaks first. Returns the effects of both."""
        return self.step(Opened(self.generation)) + self.step(self.challenge(self.generation))

    def hello_now(self, **payload: Json) -> tuple[Effect, ...]:
        """Without automatic greeting: ``hello-ok`` with ``payload`` on top of the usual fields."""
        hello: dict[str, Json] = {"device_id": "lab-01", "delivery_mode": "device_replay", **payload}
        return self.down("hello-ok", hello)

    # --- the application's side

    def send(self, chat_id: str = CHAT, **more: Any) -> int:
        """A message; returns its command number."""
        command = self.command()
        fragments = more.pop("fragments", TEXT)
        self.step(Send(command, chat_id, fragments, **more))
        return command

    def type(self, is_typing: bool = True, chat_id: str = CHAT) -> tuple[Effect, ...]:
        return self.step(SetTyping(chat_id, is_typing))

    def settle(self, delivery: int | None) -> tuple[Effect, ...]:
        assert delivery is not None
        return self.step(Settle(delivery))

    def ack(self, uplink: Mapping[str, Any], **payload: Json) -> tuple[Effect, ...]:
        """The hub accepts ``uplink``."""
        body: dict[str, Json] = {"message_id": uplink["payload"]["message_id"], "accepted_at": 5, **payload}
        return self.down("message.ack", body, trace_id=uplink["trace_id"], chat_id=uplink["chat_id"])

    def refuse(self, uplink: Mapping[str, Any], code: str, **payload: Json) -> tuple[Effect, ...]:
        """The hub refuses ``uplink``."""
        message_id = uplink["payload"].get("message_id")
        body: dict[str, Json] = {"code": code, "rejected_at": 5, **payload}
        if message_id is not None:
            body.setdefault("message_id", message_id)
        return self.down("message.error", body, trace_id=uplink["trace_id"], chat_id=uplink["chat_id"])

    # --- looking

    @property
    def online(self) -> bool:
        return isinstance(self.state.link.phase, Online)

    def uplinks(self, event: str | None = None, effects: Iterable[Effect] | None = None) -> list[dict[str, Any]]:
        """Frames that the session wrote, of one event, parsed."""
        sent = of(self.effects if effects is None else effects, SendFrame)
        return [json.loads(one.text) for one in sent if event is None or one.event == event]

    def delivered(self, effects: Iterable[Effect] | None = None) -> list[tuple[MessageReceived, int | None]]:
        """Messages that went to the application, with their delivery numbers."""
        emits = of(self.effects if effects is None else effects, Emit)
        return [(one.event, one.delivery) for one in emits if isinstance(one.event, MessageReceived)]

    def sockets(self) -> int:
        return len(self.all(Open))

    def wait_for_socket(self, within_ms: int = 200_000) -> int:
        """Let time pass until the next socket is opened; returns the milliseconds that it took."""
        begin = self.now.mono_ms
        self.run_until(Open, within_ms=within_ms)
        return self.now.mono_ms - begin

    def run_until_refresh(self) -> None:
        """Let hours pass until the token is due and the session asks for another one."""
        self.liveness = False  # thousands of idle steps
        self.run_until(RequestRefresh)
        self.liveness = True

    def online_again(self) -> int:
        """Wait for the next socket, which is greeted; returns the milliseconds that it took."""
        waited = self.wait_for_socket()
        assert self.online
        return waited

    def reconnect(self) -> None:
        """The socket is lost, and replaced when the time has come."""
        self.closed(1006)
        self.online_again()


def message_payload(message_id: str, text: str = "hi", **more: Json) -> dict[str, Json]:
    """The payload of ``message.send``; ``more`` goes into it."""
    body: Json = {"fragments": [{"kind": "text", "text": text}]}
    context: Json = {"mentions": [], "reply": None}
    return {
        "message_id": message_id,
        "message_mode": "normal",
        "message": {"body": body, "context": context},
        **more,
    }


def closing(effects: Iterable[Effect]) -> list[Close | Reconnect | Abort]:
    """Effects that end a socket."""
    return [effect for effect in effects if isinstance(effect, Close | Reconnect | Abort)]


def sent_ids(bench: LinkBench) -> list[str]:
    """Ids of the messages transmitted, in order."""
    return [
        one["payload"]["message_id"] for one in bench.uplinks() if one["event"] in ("message.send", "message.reply")
    ]


def own_id(bench: LinkBench) -> str:
    """The user of this session."""
    known = bench.state.tokens.credentials
    assert known is not None
    return known.identity.user_id


# --- the inbox -----------------------------------------------------------------------------------------------------


def v2() -> LinkBench:
    """A bench with the v2 grant."""
    return LinkBench(grant="v2")


def acks(bench: LinkBench) -> list[int]:
    """Marks acknowledged so far under v2."""
    return [one["payload"]["dseq"] for one in bench.uplinks("message.sync_ack")]


def cursor_acks(bench: LinkBench) -> list[int]:
    """Cursors acknowledged so far under v1."""
    return [one["payload"]["seq"] for one in bench.uplinks("message.cursor_ack")]


def take(bench: LinkBench, message_id: str, text: str = "hi", **more: Json) -> None:
    """A message arrives, and the application is done with it at once."""
    for _, delivery in bench.delivered(bench.message(message_id, text, **more)):
        bench.settle(delivery)


def received_ids(bench: LinkBench) -> list[str]:
    """Ids of the messages that went to the application, in order."""
    return [one.message.message_id for one, _ in bench.delivered()]
