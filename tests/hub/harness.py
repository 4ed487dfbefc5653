"""A hub under virtual time with clients that are nothing but lists of frames."""

import contextlib
import json
from typing import Any, cast

from attrs import define, field

from clawproto.hub import (
    CloseSocket,
    CutSocket,
    HttpDrop,
    HttpReceived,
    HttpRespond,
    Hub,
    HubAgent,
    HubEffect,
    HubInput,
    HubSettings,
    SendPing,
    SendText,
    SocketClosed,
    SocketOpened,
    SocketText,
    SocketWritten,
    Tick,
)
from clawproto.instant import Instant

START_MS = 1_790_000_000_000
V2 = ("reliable_delivery", "reliable_delivery_v2")
V1 = ("reliable_delivery",)

Frame = dict[str, Any]


@define(eq=False)
class Client:
    """One socket.

    Attributes:
        frames: everything received and not yet taken.
        ended: the effect that ended it, if any.
        writing: whether frames are reported as written at once.
    """

    world: "World"
    conn: int
    frames: list[Frame] = field(factory=list[Frame])
    texts: list[str] = field(factory=list[str])
    sends: list[SendText] = field(factory=list[SendText])
    pings: int = 0
    ended: CloseSocket | CutSocket | None = None
    writing: bool = True

    def send(self, frame: Frame | str | bytes) -> list[Frame]:
        """Send one uplink; return what came back on this socket."""
        self.take()
        data = json.dumps(frame) if isinstance(frame, dict) else frame
        self.world.handle(SocketText(self.conn, data))
        return self.take()

    def take(self) -> list[Frame]:
        frames, self.frames = self.frames, []
        return frames

    def events(self) -> list[str]:
        return [frame["event"] for frame in self.take()]

    def write(self) -> None:
        """Report everything sent so far as written."""
        if self.sends:
            self.world.handle(SocketWritten(self.conn, self.sends[-1].number))

    def hang_up(self) -> None:
        self.world.handle(SocketClosed(self.conn))


class World:
    """The hub, its clock and its sockets."""

    def __init__(self, settings: HubSettings | None = None, seed: bytes = b"seed") -> None:
        self.now = Instant(START_MS, 1_000)
        self.hub = Hub(settings or HubSettings(), seed, self.now)
        self.clients: dict[int, Client] = {}
        self.http_effects: list[HttpRespond | HttpDrop] = []
        self._last = 0

    # --- time and effects ------------------------------------------------------------------------------------------

    def handle(self, event: HubInput) -> None:
        self.carry_out(self.hub.handle(event, self.now))

    def carry_out(self, effects: list[HubEffect]) -> None:
        for effect in effects:
            match effect:
                case SendText():
                    client = self.clients[effect.conn]
                    assert client.ended is None, "a frame after the end"
                    client.sends.append(effect)
                    client.texts.append(effect.text)
                    with contextlib.suppress(ValueError):
                        client.frames.append(json.loads(effect.text))
                case SendPing():
                    self.clients[effect.conn].pings += 1
                case CloseSocket() | CutSocket():
                    self.clients[effect.conn].ended = effect
                case HttpRespond() | HttpDrop():
                    self.http_effects.append(effect)
        for client in list(self.clients.values()):
            written = [
                effect.number for effect in effects if isinstance(effect, SendText) and effect.conn == client.conn
            ]
            if written and client.writing and client.ended is None:
                self.handle(SocketWritten(client.conn, written[-1]))

    def handle_written(self, client: Client, number: int) -> None:
        """Report only the first ``number`` frames of a socket as written."""
        self.handle(SocketWritten(client.conn, number))

    def do(self, _result: object = None) -> None:
        """Carry out what a control has asked for: ``world.do(world.hub.kick())``."""
        self.carry_out(self.hub.take_effects())

    def sleep(self, milliseconds: int) -> None:
        """Let time pass, with a Tick at every deadline."""
        until = self.now.mono_ms + milliseconds
        while (due := self.hub.next_deadline()) is not None and due <= until:
            self._go_to(max(due, self.now.mono_ms))
            self.handle(Tick())
            following = self.hub.next_deadline()
            assert following is None or following > due, "a Tick must make progress"
        self._go_to(until)
        self.hub.advance(self.now)

    def _go_to(self, mono_ms: int) -> None:
        self.now = Instant(self.now.wall_ms + mono_ms - self.now.mono_ms, mono_ms)

    # --- sockets ---------------------------------------------------------------------------------------------------

    def open(self) -> Client:
        self._last += 1
        client = self.clients[self._last] = Client(self, self._last)
        self.handle(SocketOpened(self._last))
        return client

    def hello(self, client: Client, token: str, device_id: str | None = "d1", *capabilities: str) -> Frame | None:
        """Answer the challenge; return the hello, if one came."""
        nonce = client.take()[0]["payload"]["nonce"]
        payload: Frame = {"token": token, "nonce": nonce, "capabilities": dict.fromkeys(capabilities, True)}
        if device_id is not None:
            payload["device_id"] = device_id
        self.handle(SocketText(client.conn, json.dumps(frame("connect", payload, trace_id="c-1"))))
        return client.frames[0] if client.frames else None

    def connect(self, token: str, device_id: str | None = "d1", *capabilities: str) -> Client:
        """A socket that has had ``hello-ok``; its frames after that wait in it."""
        client = self.open()
        hello = self.hello(client, token, device_id, *capabilities)
        assert hello is not None
        assert hello["event"] == "hello-ok", hello
        client.frames.pop(0)
        return client

    # --- people ----------------------------------------------------------------------------------------------------

    def agent(self) -> HubAgent:
        return self.hub.create_agent(self.hub.create_user("Dora"), "Robo", "d1")

    def token(self, user_id: str, device_id: str = "d1") -> str:
        return self.hub.issue_tokens(user_id, device_id)["access_token"]

    def pair_of_users(self) -> tuple[str, str, str]:
        """Two people and their direct conversation."""
        ann, bob = self.hub.create_user("Ann"), self.hub.create_user("Bob")
        return ann, bob, self.hub.create_conversation([ann, bob])

    # --- HTTP ------------------------------------------------------------------------------------------------------

    def http(
        self, method: str, path: str, body: object = None, token: str | None = None, device_id: str | None = "d1"
    ) -> HttpRespond | HttpDrop:
        headers: dict[str, str] = {}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        if device_id is not None:
            headers["x-device-id"] = device_id
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self.http_effects.clear()
        self.handle(HttpReceived(1, method, path, {}, headers, data))
        assert len(self.http_effects) == 1, "every request has one outcome"
        return self.http_effects[0]

    def call(self, method: str, path: str, body: object = None, token: str | None = None) -> tuple[int, Frame]:
        """Status and envelope of an answered request."""
        return answered(self.http(method, path, body, token))

    def refresh(self, refresh_token: str, device_id: str | None = "d1") -> Frame:
        status, envelope = answered(
            self.http("POST", "/v1/auth/refresh", {"refresh_token": refresh_token}, device_id=device_id)
        )
        assert status == 200
        return envelope


def answered(outcome: HttpRespond | HttpDrop) -> tuple[int, Frame]:
    assert isinstance(outcome, HttpRespond)
    return outcome.status, cast("Frame", json.loads(outcome.body))


def frame(event: str, payload: object = None, *, trace_id: str = "t-1", **fields: object) -> Frame:
    """An uplink."""
    head: Frame = {"version": "2", "event": event, "trace_id": trace_id, "emitted_at": 1, **fields}
    return head if payload is None else {**head, "payload": payload}


def message(chat_id: str, text: str = "hi", message_id: str | None = "msg-1", **fields: Any) -> Frame:
    """A ``message.send`` uplink."""
    content: Frame = {
        "body": {"fragments": [{"kind": "text", "text": text}]},
        "context": {"mentions": [], "reply": None},
    }
    payload: Frame = {"message_mode": "normal", "message": content}
    if message_id is not None:
        payload["message_id"] = message_id
    return frame("message.send", payload, chat_id=chat_id, **fields)
