"""The HTTP of one session, loaded while its socket opens.

The HTTP library, its transport and the certificates take as long to load as everything else together, and a session
with good tokens needs none of them before its socket is open. So a worker thread loads them, for the first session of a
process, and `SessionHttp.load` returns when they are there. A request that comes sooner waits for them, and one that
finds that they cannot be loaded has not been sent (REF-43): no token is spent on a library that is not there.
"""

import ssl
import threading
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from clawproto.http import HttpAnswer, HttpRequest
from clawproto_io.errors import HttpFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx2

    from clawproto_io.http import BodySource, HttpRunner


_making = threading.Lock()  # one after the other, so that they share the certificates
_loaded = False  # since then making another one is quick


class SessionHttp:
    """What a session asks of `clawproto_io.http.HttpRunner`, with one that is made in good time.

    Args:
        client, proxy, ssl_context, trust_env: as of `HttpRunner`. With one of the first two it is made at once.

    Raises:
        ValueError: no address of a proxy; settings that a ready-made ``client`` cannot follow.
    """

    def __init__(
        self,
        client: "httpx2.AsyncClient | None" = None,
        *,
        proxy: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        trust_env: bool = True,
    ) -> None:
        self.sources: dict[int, BodySource] = {}
        self._client = client
        self._proxy = proxy
        self._ssl_context = ssl_context
        self._trust_env = trust_env
        self._runner: HttpRunner | None = None
        if client is not None or proxy is not None:
            self._make()

    async def load(self) -> None:
        """Wait until requests can be sent.

        Raises:
            ImportError, OSError: the library or the certificates cannot be read.
        """
        if _loaded:
            self._make()
        elif self._runner is None:
            await anyio.to_thread.run_sync(self._make, abandon_on_cancel=True)

    async def send(self, http: HttpRequest, timeout_ms: int) -> HttpAnswer:
        """As `HttpRunner.send`; the limit counts the loading."""
        deadline = anyio.current_time() + timeout_ms / 1000
        problem = "timed out"
        with anyio.move_on_at(deadline):
            try:
                await self.load()
            except Exception as error:
                problem = f"HTTP cannot be used: {type(error).__name__}"
        if self._runner is None:
            raise HttpFailure(sent=False, detail=problem)
        return await self._runner.send(http, round((deadline - anyio.current_time()) * 1000))

    def open(
        self, url: str, headers: "Mapping[str, str]", timeout: float, server_name: str | None
    ) -> "AbstractAsyncContextManager[httpx2.Response]":
        """As `HttpRunner.open`."""
        return self._make().open(url, headers, timeout, server_name)

    async def aclose(self) -> None:
        """As `HttpRunner.aclose`."""
        if self._runner is not None:
            await self._runner.aclose()

    def _make(self) -> "HttpRunner":
        global _loaded  # noqa: PLW0603
        with _making:
            if self._runner is None:
                from clawproto_io.http import HttpRunner  # noqa: PLC0415

                import_module("httpcore2")  # which the library loads with its first client
                runner = HttpRunner(
                    self._client, proxy=self._proxy, ssl_context=self._ssl_context, trust_env=self._trust_env
                )
                runner.sources = self.sources
                self._runner = runner
                _loaded = True
            return self._runner
