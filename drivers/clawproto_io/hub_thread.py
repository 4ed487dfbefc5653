"""The development hub in a thread of its own, for synchronous tests and for other event loops such as trio's."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import TypeVar

from clawproto.hub import Hub, HubAgent, HubSettings
from clawproto_io.hub_server import HubServer, serve

T = TypeVar("T")

_CALL_SECONDS = 30.0


class HubThread:
    """``with HubThread(settings) as hub:`` runs a hub for the length of the block.

    Methods block until the hub's loop has done the work. They are safe from any thread but the hub's own.

    Raises:
        OSError: on entry, the address is not available.
    """

    def __init__(
        self,
        settings: HubSettings | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: bytes | None = None,
    ) -> None:
        self._settings = settings
        self._host = host
        self._port = port
        self._seed = seed
        self._started: concurrent.futures.Future[HubServer] = concurrent.futures.Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="clawproto-hub", daemon=True)
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> "HubThread":
        self._thread.start()
        self._started.result(_CALL_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_CALL_SECONDS)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        try:
            async with serve(self._settings, host=self._host, port=self._port, seed=self._seed) as server:
                self._started.set_result(server)
                await self._stop.wait()
        except OSError as error:
            if self._started.done():
                raise
            self._started.set_exception(error)

    # --- addresses -------------------------------------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        return self._server.base_url

    @property
    def ws_url(self) -> str:
        return self._server.ws_url

    @property
    def control_url(self) -> str:
        return self._server.control_url

    # --- the hub ---------------------------------------------------------------------------------------------------

    def call(self, action: Callable[[Hub], T]) -> T:
        """Run ``action`` on the hub, e.g. ``call(lambda hub: hub.revoke(user_id))``; exceptions come back."""

        async def work() -> T:
            return self._server.call(action)

        return self._run(work())

    def create_agent(self, owner_id: str | None = None, nick_name: str = "agent") -> HubAgent:
        """An agent of ``owner_id``, or of a new owner."""
        return self.call(lambda hub: hub.create_agent(owner_id or hub.create_user("owner"), nick_name))

    def cut_all(self) -> int:
        """Abort every WebSocket's transport; return how many."""

        async def work() -> int:
            return self._server.cut_all()

        return self._run(work())

    def refuse_connections(self, refuse: bool) -> None:
        """Close the listening port, or open the same one again.

        Raises:
            OSError: the port has been taken meanwhile.
        """
        self._run(self._server.refuse_connections(refuse))

    @property
    def _server(self) -> HubServer:
        return self._started.result(0)

    def _run(self, work: Coroutine[object, object, T]) -> T:
        assert self._loop is not None, "entered before"
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_SECONDS)
