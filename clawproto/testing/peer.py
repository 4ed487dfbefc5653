"""The other end of the wire for the conformance suite: a few lines of hub on real sockets, in threads of its own, so
that it serves a driver on any loop. It misbehaves exactly when told to. For the rest there is the development hub."""

import json
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, NoReturn, Self, TypeAlias

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from clawproto.credentials import Credentials, Identity, TokenPair
from clawproto.secret import Secret

CHAT = "cnv_01K9F40000QRSTVWXYZ0123456"
USER = "usr_agent"
DEVICE = "device-1"
PATIENCE = 15.0  # seconds until a gate that nobody opens opens by itself

Stage: TypeAlias = Literal["drop-upgrade", "redirect", "drop", "drop-after-challenge", "drop-after-connect", "silent"]


class Peer:
    """``with Peer() as peer:`` serves a WebSocket and the refresh call on loopback.

    Attributes:
        upgrades: path and headers of each upgrade request.
        presented: the token of each ``connect``.
        uplinks: every other uplink, decoded.
        redeemed: the refresh token of each refresh call.
        stages: what happens to the next sockets instead of a handshake, one each.
        verdicts: what the next refresh calls answer instead of rotating, one code each.
        on_redeem: called, in another thread, when a refresh call arrives.
        answers_sends: whether a message is acknowledged.
        reading: cleared, it reads nothing more.
        refresh_gate: cleared, refresh calls rotate at once but answer only when it is set.
        rest_gate: the same for REST calls.
    """

    def __init__(self) -> None:
        self.upgrades: list[tuple[str, dict[str, str]]] = []
        self.presented: list[str] = []
        self.uplinks: list[dict[str, Any]] = []
        self.redeemed: list[str] = []
        self.stages: deque[Stage] = deque()
        self.verdicts: deque[int] = deque()
        self.on_redeem: Callable[[], None] = lambda: None
        self.answers_sends = True
        self.reading = _open_gate()
        self.refresh_gate = _open_gate()
        self.rest_gate = _open_gate()
        self.pair = _new_pair()
        self.dseq = 0
        self._counting = threading.Lock()
        self._live: ServerConnection | None = None
        self._sockets: list[socket.socket] = []
        self._changed = threading.Condition()
        self._websocket = serve(
            self._serve_socket,
            "127.0.0.1",
            0,
            process_request=self._inspect,
            compression=None,
            ping_interval=None,
            close_timeout=0.5,
            max_size=None,
        )
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler_for(self))
        self._http.daemon_threads = True
        self._threads = [
            threading.Thread(target=self._websocket.serve_forever, daemon=True),
            threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True),
        ]

    @property
    def base_url(self) -> str:
        """Origin of the HTTP side."""
        return f"http://127.0.0.1:{self._http.server_port}"

    @property
    def ws_url(self) -> str:
        """Address of the WebSocket side."""
        return f"ws://127.0.0.1:{self._websocket.socket.getsockname()[1]}/ws"

    def credentials(self) -> Credentials:
        """A record that is good here."""
        identity = Identity(USER, DEVICE, self.base_url, self.ws_url)
        access, refresh = self.pair
        return Credentials(identity, TokenPair(Secret(access), Secret(refresh), time.time_ns() // 1_000_000), 1)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for gate in (self.reading, self.refresh_gate, self.rest_gate):
            gate.set()
        self._websocket.shutdown()
        self._http.shutdown()
        self._http.server_close()
        for open_socket in self._sockets:
            _drop(open_socket)
        for thread in self._threads:
            thread.join()

    # --- what the suite does with it ---

    def says(self, event: str, payload: dict[str, Any], **envelope: Any) -> None:
        """Send a frame on the newest socket."""
        assert self._live is not None, "nobody is connected"
        _say(self._live, event, payload, **envelope)

    def message(self, text: str, number: int) -> None:
        """Send a message from another user, counted."""
        body: dict[str, Any] = {
            "body": {"fragments": [{"kind": "text", "text": text}]},
            "context": {"mentions": [], "reply": None},
        }
        payload: dict[str, Any] = {"message_id": f"msg-{number}", "message_mode": "normal", "message": body}
        sender = {"id": "usr_dora", "type": "direct", "nick_name": "Dora"}
        with self._counting:
            self.dseq += 1
            self.says("message.send", payload, chat_id=CHAT, chat_type="direct", sender=sender, dseq=self.dseq)

    def garbles(self) -> None:
        """Send a text frame that is no UTF-8 on the newest socket."""
        assert self._live is not None
        self._live.send(b"\xff\xfe{", text=True)

    def closes(self, code: int, reason: str = "") -> None:
        """Begin to close the newest socket."""
        assert self._live is not None
        threading.Thread(target=self._live.close, args=(code, reason), daemon=True).start()

    def cuts(self) -> None:
        """Drop the transport of the newest socket."""
        assert self._live is not None
        _drop(self._live.socket)

    def pings(self) -> bool:
        """Send a ping control frame; whether the pong came."""
        assert self._live is not None
        return self._live.ping().wait(PATIENCE)

    def sent(self, event: str) -> list[dict[str, Any]]:
        """The uplinks of this name so far."""
        return [frame for frame in self.uplinks if frame["event"] == event]

    def acked(self) -> int:
        """The last dseq that was acknowledged on any socket, 0 for none."""
        acks = self.sent("message.sync_ack")
        return acks[-1]["payload"]["dseq"] if acks else 0

    # --- the WebSocket side ---

    def _inspect(self, connection: ServerConnection, request: Request) -> Response | None:
        self.upgrades.append((request.path, {name.lower(): value for name, value in request.headers.raw_items()}))
        self._sockets.append(connection.socket)
        if self.stages and self.stages[0] == "drop-upgrade":
            self.stages.popleft()
            _drop(connection.socket)
        elif self.stages and self.stages[0] == "redirect":
            self.stages.popleft()
            return Response(302, "Found", Headers({"Location": self.ws_url, "Content-Length": "0"}))
        return None

    def _serve_socket(self, connection: ServerConnection) -> None:
        try:
            self._handshake(connection, self.stages.popleft() if self.stages else None)
            while True:
                self.reading.wait(PATIENCE)
                self._take(connection, json.loads(connection.recv()))
        except (ConnectionClosed, OSError):
            pass

    def _handshake(self, connection: ServerConnection, stage: Stage | None) -> None:
        if stage == "silent":
            connection.recv()
        if stage == "drop":
            _hang_up(connection)
        _say(connection, "connect.challenge", {"nonce": "q0Yx3bVtL8mWc2RkZ7dNaP5s"}, trace_id="challenge")
        if stage == "drop-after-challenge":
            _hang_up(connection)
        connect = json.loads(connection.recv())
        token = connect["payload"]["token"]
        self.presented.append(token)
        if stage == "drop-after-connect":
            _hang_up(connection)
        if token != self.pair[0]:
            _say(connection, "hello-fail", {"reason": "authentication failed"}, trace_id=connect["trace_id"])
            _hang_up(connection)
        granted = {"device_id": DEVICE, "delivery_mode": "device_replay", "ack_mode": "dseq", "ack_epoch": "epoch-1"}
        with self._counting:  # whoever sees the client ready may send a message; it comes after these
            self.dseq = 1
            self._live = connection
            _say(connection, "hello-ok", granted, trace_id=connect["trace_id"])
            _say(connection, "replay.done", {}, dseq=1)

    def _take(self, connection: ServerConnection, frame: dict[str, Any]) -> None:
        self.uplinks.append(frame)
        if frame["event"] == "message.send" and self.answers_sends:
            payload = {"message_id": frame["payload"]["message_id"], "accepted_at": 1}
            _say(connection, "message.ack", payload, trace_id=frame["trace_id"], chat_id=frame["chat_id"])
        elif frame["event"] == "ping":
            _say(connection, "pong", {}, trace_id=frame["trace_id"])

    # --- the HTTP side ---

    def answer(self, path: str, authorization: str | None, body: bytes) -> tuple[int, dict[str, Any]]:
        """Status and envelope of one HTTP call."""
        if path != "/v1/auth/refresh":
            self.rest_gate.wait(PATIENCE)
            if authorization != f"Bearer {self.pair[0]}":
                return 401, {"code": 401, "msg": "unauthorized", "data": {}}
            return 200, {"code": 0, "msg": "ok", "data": {"path": path}}
        token = json.loads(body)["refresh_token"]
        self.redeemed.append(token)
        self.on_redeem()
        code = self.verdicts.popleft() if self.verdicts else 0
        if code == 0 and token != self.pair[1]:
            code = 10003
        data: dict[str, Any] = {}
        if code == 0:
            self.pair = _new_pair()
            data = {"access_token": self.pair[0], "refresh_token": self.pair[1]}
        self.refresh_gate.wait(PATIENCE)
        return 200, {"code": code, "msg": "", "data": data}


def _open_gate() -> threading.Event:
    gate = threading.Event()
    gate.set()
    return gate


def _new_pair() -> tuple[str, str]:
    return f"access-{secrets.token_hex(16)}", secrets.token_hex(32)


def _drop(connection: socket.socket) -> None:
    with suppress(OSError):  # it may be gone already
        connection.shutdown(socket.SHUT_RDWR)


def _hang_up(connection: ServerConnection) -> NoReturn:
    _drop(connection.socket)
    raise ConnectionAbortedError


def _say(connection: ServerConnection, event: str, payload: dict[str, Any], **envelope: Any) -> None:
    frame = {"version": "2", "event": event, "emitted_at": time.time_ns() // 1_000_000, **envelope, "payload": payload}
    connection.send(json.dumps(frame))


def _handler_for(peer: Peer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, envelope = peer.answer(self.path, self.headers.get("authorization"), body)
            encoded = json.dumps(envelope).encode()
            with suppress(OSError):  # the client may have given up; some checks want it to
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(encoded)))
                self.end_headers()
                self.wfile.write(encoded)

        do_GET = do_POST = _answer  # noqa: N815 (the base class looks them up by these names)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
            pass

    return Handler
