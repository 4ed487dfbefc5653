"""The development hub on a real port: WebSocket, companion API and control endpoint in one (aiohttp, asyncio only).

    /ws           the protocol                    /v1/…, /media/…   the companion API
    /health       "ok"                            /control/…        switches and state, see docs/hub.md

A tool for development and tests. It binds loopback unless told otherwise. Uploads are kept in a temporary folder,
everything else in memory.
"""

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

from aiohttp import WSMsgType, web
from aiohttp.typedefs import Handler

from clawproto.hub import (
    CloseSocket,
    CutSocket,
    HttpDrop,
    HttpReceived,
    HttpRespond,
    Hub,
    HubEffect,
    HubInput,
    HubSettings,
    PongSeen,
    SendPing,
    SendText,
    SocketClosed,
    SocketOpened,
    SocketText,
    SocketWritten,
    Tick,
    control,
)
from clawproto.instant import Instant
from clawproto_io.hub_media import MediaFolder
from clawproto_io.hub_socket import HubSocket

T = TypeVar("T")

REFUSE_LIMIT_MS = 600_000
_BODY_SLACK = 1024 * 1024  # multipart framing around an upload of the largest size


def read_clock() -> Instant:
    """Both clocks of this machine."""
    return Instant(time.time_ns() // 1_000_000, time.monotonic_ns() // 1_000_000)


class HubServer:
    """A hub with its sockets. Use `serve`; every method belongs to the event loop it runs in.

    Attributes:
        hub: the machine; change it through `call` only, so that its effects are carried out.
    """

    def __init__(self, settings: HubSettings, host: str, port: int, seed: bytes) -> None:
        self._media = MediaFolder()
        self.hub = Hub(settings, seed, read_clock(), self._media)
        self._host = host
        self._port = port
        self._sockets: dict[int, HubSocket] = {}
        self._answers: dict[int, asyncio.Future[HttpRespond | HttpDrop]] = {}
        self._last_number = 0
        self._timer: asyncio.TimerHandle | None = None
        self._armed: int | None = None  # the deadline that the timer is for
        self._listener: asyncio.Server | None = None
        self._reopening: asyncio.Task[None] | None = None
        application = web.Application(
            client_max_size=settings.upload_limit + _BODY_SLACK, middlewares=[_let_who_is_gone_be_gone]
        )
        application.router.add_get("/ws", self._serve_socket)
        application.router.add_get("/health", self._serve_health)
        application.router.add_route("*", "/control{path:.*}", self._serve_control)
        application.router.add_route("*", "/{path:.*}", self._serve_http)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)

    # --- addresses -------------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port, also while connections are refused."""
        return self._port

    @property
    def base_url(self) -> str:
        return f"http://{self._host}:{self._port}"

    @property
    def ws_url(self) -> str:
        return f"ws://{self._host}:{self._port}/ws"

    @property
    def control_url(self) -> str:
        return f"{self.base_url}/control"

    # --- life ------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Bind and accept.

        Raises:
            OSError: the address is not available.
        """
        await self._runner.setup()
        await self._listen()

    async def stop(self) -> None:
        """Stop accepting, drop every connection and wait until all is gone."""
        if self._reopening is not None:
            self._reopening.cancel()
        await self.refuse_connections(True)
        if self._timer is not None:
            self._timer.cancel()
        self.cut_all()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_result(HttpDrop(0))
        await self._runner.cleanup()
        self._media.close()

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        server = self._runner.server
        assert server is not None, "set up before"
        self._listener = await loop.create_server(server, self._host, self._port, reuse_address=True, backlog=1024)
        self._port = int(self._listener.sockets[0].getsockname()[1])

    # --- the network's misbehaviour --------------------------------------------------------------------------------

    def cut_all(self) -> int:
        """Abort every WebSocket's transport, as a broken network would; return how many."""
        sockets = list(self._sockets.values())
        for hub_socket in sockets:
            hub_socket.abort()
        return len(sockets)

    async def refuse_connections(self, refuse: bool) -> None:
        """Close the listening port, or open the same one again. Established connections stay.

        Raises:
            OSError: the port has been taken meanwhile.
        """
        if refuse and self._listener is not None:
            self._listener.close()
            self._listener = None
        elif not refuse and self._listener is None:
            await self._listen()

    async def _refuse_for(self, milliseconds: int) -> None:
        await self.refuse_connections(True)
        await asyncio.sleep(milliseconds / 1000)
        await self.refuse_connections(False)

    # --- the machine -----------------------------------------------------------------------------------------------

    def call(self, action: Callable[[Hub], T]) -> T:
        """Run ``action`` on the hub at the present time and carry out what it asks for."""
        self.hub.advance(read_clock())
        try:
            return action(self.hub)
        finally:
            self._perform(self.hub.take_effects())

    def _handle(self, event: HubInput) -> None:
        self._perform(self.hub.handle(event, read_clock()))

    def _perform(self, effects: list[HubEffect]) -> None:
        for effect in effects:
            match effect:
                case HttpRespond() | HttpDrop():
                    answer = self._answers.get(effect.request_id)
                    if answer is not None and not answer.done():
                        answer.set_result(effect)
                case SendText() | SendPing() | CloseSocket() | CutSocket():
                    hub_socket = self._sockets.get(effect.conn)
                    if hub_socket is not None:
                        hub_socket.perform(effect)
        self._arm()

    def _arm(self) -> None:
        deadline = self.hub.next_deadline()
        if deadline == self._armed:
            return
        self._armed = deadline
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            delay = max(0, deadline - read_clock().mono_ms) / 1000
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        self._armed = None
        self._handle(Tick())

    def _number(self) -> int:
        self._last_number += 1
        return self._last_number

    # --- routes ----------------------------------------------------------------------------------------------------

    async def _serve_socket(self, request: web.Request) -> web.StreamResponse:
        # The machine itself judges sizes, Ping and Pong; the margin lets it see a frame that is just too large.
        upgraded = web.WebSocketResponse(
            autoping=False,
            heartbeat=None,
            compress=False,
            timeout=2.0,
            max_msg_size=self.hub.settings.frame_limit + 1024,
        )
        await upgraded.prepare(request)
        conn = self._number()
        hub_socket = HubSocket(upgraded, request.transport, lambda sent: self._handle(SocketWritten(conn, sent)))
        self._sockets[conn] = hub_socket
        writer = asyncio.create_task(hub_socket.run(), name=f"hub-writer-{conn}")
        try:
            self._handle(SocketOpened(conn))
            await self._read(upgraded, conn)
        finally:
            del self._sockets[conn]
            self._handle(SocketClosed(conn))
            hub_socket.finish()
            await asyncio.wait((writer,))
        return upgraded

    async def _read(self, upgraded: web.WebSocketResponse, conn: int) -> None:
        while True:
            message = await upgraded.receive()
            match message.type:
                case WSMsgType.TEXT | WSMsgType.BINARY:
                    self._handle(SocketText(conn, message.data))
                case WSMsgType.PING:
                    with contextlib.suppress(ConnectionError):
                        await upgraded.pong(message.data)
                case WSMsgType.PONG:
                    self._handle(PongSeen(conn))
                case _:
                    return

    async def _serve_http(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _json(413, {"code": 41301, "msg": "file is too large"})
        number = self._number()
        headers = {name.lower(): value for name, value in request.headers.items()}
        received = HttpReceived(number, request.method, request.path, dict(request.query), headers, body)
        self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            self._handle(received)
            outcome = await self._answers[number]
            if outcome.delay_ms:
                await asyncio.sleep(outcome.delay_ms / 1000)
        finally:
            del self._answers[number]
        if isinstance(outcome, HttpRespond):
            return web.Response(status=outcome.status, headers=outcome.headers, body=outcome.body)
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("dropped on request")

    async def _serve_health(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(text="ok")

    async def _serve_control(self, request: web.Request) -> web.StreamResponse:
        # A browser cannot send JSON to another origin without asking first, so no web page can turn a switch.
        if request.method == "POST" and request.content_type != "application/json":
            return _json(415, {"ok": False, "error": "Content-Type must be application/json"})
        body = await request.read()
        path = request.match_info["path"]
        network = self._network_switch(path.strip("/"), body) if request.method == "POST" else None
        if network is not None:
            return _json(*network)
        status, value = self.call(lambda hub: control(hub, request.method, path, dict(request.query), body))
        return _json(status, value)

    def _network_switch(self, name: str, body: bytes) -> tuple[int, object] | None:
        """The two switches that concern the listener and the transports."""
        if name == "cut_all":
            return 200, {"ok": True, "result": self.cut_all()}
        if name != "refuse_connections":
            return None
        try:
            milliseconds = json.loads(body)["for_ms"]
        except (ValueError, KeyError, TypeError):
            milliseconds = None
        if type(milliseconds) is not int or not 0 < milliseconds <= REFUSE_LIMIT_MS:
            return 400, {"ok": False, "error": f"for_ms: 1 to {REFUSE_LIMIT_MS} milliseconds expected"}
        if self._reopening is not None and not self._reopening.done():
            return 409, {"ok": False, "error": "connections are being refused already"}
        self._reopening = asyncio.create_task(self._refuse_for(milliseconds))
        return 200, {"ok": True, "result": None}


@web.middleware
async def _let_who_is_gone_be_gone(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A client that dies in the middle of a request is a client's affair, and no error of the hub's to be logged."""
    try:
        return await handler(request)
    except ConnectionError:
        return web.Response(status=400)  # nobody reads it


def _json(status: int, value: object) -> web.Response:
    return web.Response(status=status, text=json.dumps(value), content_type="application/json")


@contextlib.asynccontextmanager
async def serve(
    settings: HubSettings | None = None, *, host: str = "127.0.0.1", port: int = 0, seed: bytes | None = None
) -> AsyncGenerator[HubServer, None]:
    """Run a hub for the length of the block.

    Args:
        port: 0 picks a free one.
        seed: fixes ids and tokens; None draws it from the system.

    Raises:
        OSError: the address is not available.
    """
    server = HubServer(settings or HubSettings(), host, port, seed or secrets.token_bytes(32))
    try:
        await server.start()
        yield server
    finally:
        await server.stop()
