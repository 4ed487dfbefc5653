"""Carries out the HTTP requests of the core, on asyncio and on trio alike.

Rules: REF-43, PAIR-6, PAIR-7, REST-3, AUTH-9.

Whether a failed request was sent decides if it may be repeated, so it is not guessed from the kind of the exception:
the transport tells when it starts to write the request head. Everything before (name lookup, connect, TLS, the tunnel
through a proxy) is "not sent", everything from there on is "sent".
"""

import ssl
import zlib
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import AbstractContextManager, aclosing, asynccontextmanager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from logging import Filter, LogRecord, getLogger
from types import TracebackType
from typing import Protocol, cast

import anyio
import httpx2

from clawproto.http import FileBody, HttpAnswer, HttpRequest
from clawproto_io.errors import HttpFailure
from clawproto_io.http_clients import (
    Clients,
    Settings,
    borrow,
    default_context,
    give_back,
    new_client as new_client,
)
from clawproto_io.logs import logger

DEFAULT_BODY_LIMIT = 8 * 1024 * 1024  # bytes

_log = logger("http")

_NEVER_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
    httpx2.InvalidURL,
)


class HttpRunner:
    """Sends `clawproto.http.HttpRequest` values; any number at once.

    Redirects are answers like any other and never followed, since a followed one would carry the token elsewhere.
    Cookies are not kept. Without a ready-made client it uses those of its loop, which all runners with the same
    settings have in common (`clawproto_io.http_clients`), from the first request to `aclose`. They speak HTTP/1.1 and
    take as many connections as there are requests.

    Args:
        client: a ready-made client, for instance one that is shared with the application; it is never closed here. Its
            transport should support the ``trace`` extension, as httpx2's own does; with another one the kind of the
            exception decides whether a request counts as sent. Keep its logging and event hooks free of headers.
        proxy: address of a proxy; None takes it from the environment if ``trust_env``.
        ssl_context: for servers with a private certificate authority.
        headers: added to every request; then the clients are its own.
        trust_env: whether proxies and certificate stores named in the environment count.
        body_limit: largest body of an answer, in bytes, after decompression.

    Raises:
        ValueError: ``client`` together with a setting that only an own client could follow; no address of a proxy.
    """

    def __init__(
        self,
        client: httpx2.AsyncClient | None = None,
        *,
        proxy: str | httpx2.Proxy | None = None,
        ssl_context: ssl.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
        trust_env: bool = True,
        body_limit: int = DEFAULT_BODY_LIMIT,
    ) -> None:
        if client is not None and (proxy is not None or ssl_context is not None or headers or not trust_env):
            raise ValueError("a ready-made client brings its own proxy, ssl_context, headers and trust_env")
        self._given = client
        self._own: Clients | None = None
        self._shared: Clients | None = None
        self._settings: Settings | None = None
        if client is None:
            context = default_context(trust_env) if ssl_context is None else ssl_context
            if headers or isinstance(proxy, httpx2.Proxy):
                made = partial(new_client, proxy=proxy, ssl_context=context, headers=headers, trust_env=trust_env)
                self._own = Clients(made)
            else:
                if proxy is not None:
                    httpx2.Proxy(proxy)  # complain now, not at the first request
                self._settings = (proxy, context, trust_env)
        self._body_limit = body_limit
        self.sources: dict[int, BodySource] = {}
        getLogger("httpx2").addFilter(_quiet)

    async def __aenter__(self) -> "HttpRunner":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of the clients; a ready-made one is left alone. The last runner of a loop closes their connections."""
        if self._own is not None:
            await self._own.aclose()
        shared, self._shared = self._shared, None
        if shared is not None and self._settings is not None:
            await give_back(self._settings, shared)

    def _client(self) -> AbstractContextManager[httpx2.AsyncClient]:
        """For one request."""
        if self._given is not None:
            return nullcontext(self._given)
        if self._own is not None:
            return self._own.one()
        if self._shared is None:
            assert self._settings is not None
            self._shared = borrow(self._settings)
        return self._shared.one()

    async def send(self, http: HttpRequest, timeout_ms: int) -> HttpAnswer:
        """Send ``http`` and read the whole answer, whatever its status.

        Args:
            timeout_ms: limit of the whole call, name lookup included (PAIR-7).

        Raises:
            HttpFailure: no usable answer; it tells whether the request may have arrived (REF-43). Nothing is repeated
                here.
        """
        problem = _unsendable(http)
        if problem is not None:
            raise HttpFailure(sent=False, detail=problem)
        wire = _Wire()
        error: Exception | None = None  # stays None if the deadline passes
        with anyio.move_on_after(timeout_ms / 1000), _logging_off():
            try:
                with self._client() as client:
                    answer = await self._exchange(client, http, timeout_ms / 1000, wire)
            except Exception as caught:
                # Deliberately everything: a request that ended without a report would leave the session waiting.
                error = caught
            else:
                _log.debug("%s answered with status %d", http.method, answer.status)
                return answer
        # Raised out here, so that no exception that quotes the request hangs on as its context.
        failure = HttpFailure(wire.was_sent(error), "timed out" if error is None else _describe(error))
        _log.debug("%s failed: %s", http.method, failure)
        raise failure

    async def _exchange(
        self, client: httpx2.AsyncClient, http: HttpRequest, seconds: float, wire: "_Wire"
    ) -> HttpAnswer:
        named = {name.lower() for name, _ in http.headers}
        extra = [] if "accept-encoding" in named else [("accept-encoding", "identity")]
        content: bytes | AsyncGenerator[bytes] | None = http.body
        length: list[tuple[str, str]] = []
        if http.file is not None:
            content = _streamed(http.file, self.sources.get(http.file.source))
            length = [("content-length", str(len(http.file)))]
        request = client.build_request(
            http.method,
            http.url,
            headers=[*http.headers, *extra, *length],
            content=content,
            # Single steps end a little before the whole: the library closes the socket after a timeout of its own, but
            # not after being cancelled in a TLS handshake. Waiting for a free connection so ends as "not sent" as well.
            timeout=httpx2.Timeout(seconds * 0.9, pool=seconds / 2),
            extensions={"trace": wire},
        )
        response = await client.send(request, stream=True, auth=None, follow_redirects=False)
        try:
            body = await _read(response, self._body_limit)
        finally:
            await response.aclose()
        return HttpAnswer(response.status_code, tuple(response.headers.multi_items()), body)

    @asynccontextmanager
    async def open(
        self, url: str, headers: Mapping[str, str], timeout: float, server_name: str | None
    ) -> AsyncGenerator[httpx2.Response]:
        """GET ``url`` and hand out the answer before its body was read. No token goes with it, no redirect is followed.

        Args:
            timeout: seconds for each step.
            server_name: whom the certificate must name, where ``url`` holds an address.

        Raises:
            httpx2.HTTPError, httpx2.InvalidURL: no answer.
        """
        extensions: dict[str, object] = {"timeout": httpx2.Timeout(timeout).as_dict()}
        if server_name is not None:
            extensions["sni_hostname"] = server_name
        # Not built by the client, whose own headers and cookies are for another server.
        request = httpx2.Request("GET", url, headers=dict(headers), extensions=extensions)
        with self._client() as client:
            with _logging_off():
                response = await client.send(request, stream=True, auth=None, follow_redirects=False)
            try:
                yield response
            finally:
                await response.aclose()


class BodySource(Protocol):
    """Content that a request streams; see `clawproto.http.FileBody`."""

    def chunks(self) -> AsyncGenerator[bytes]:
        """The content from its beginning."""
        ...


async def _streamed(body: FileBody, source: BodySource | None) -> AsyncGenerator[bytes]:
    if source is None:
        raise _UnusableBodyError("the content was withdrawn")
    yield body.head
    left = body.size
    async with aclosing(source.chunks()) as chunks:
        async for chunk in chunks:
            left -= len(chunk)
            if left < 0:
                break
            yield chunk
    if left:
        raise _UnusableBodyError("the content changed its size while it was sent")
    yield body.tail


class _UnusableBodyError(Exception):
    """The request cannot be completed. The text is ours."""


async def _read(response: httpx2.Response, limit: int) -> bytes:
    raw = bytearray()
    too_large = False
    try:
        async for chunk in response.aiter_raw():
            if not too_large:
                raw += chunk
                if len(raw) > limit:
                    too_large = True
                    # The iteration is left to run dry, which it does at once now: breaking out of it would leave the
                    # library's generators to the garbage collector.
                    await response.aclose()
    except httpx2.HTTPError:
        if not too_large:
            raise
    if too_large:
        raise _UnusableAnswerError("the answer is too large")
    return _unpack(bytes(raw), response.headers.get("content-encoding", "identity").strip().lower(), limit)


def _unpack(raw: bytes, encoding: str, limit: int) -> bytes:
    """Undo a compression that was not asked for; a pair of tokens may be inside. Never makes more than the limit."""
    if encoding in ("", "identity"):
        return raw
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise _UnusableAnswerError("the answer has an encoding that was not asked for")
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)  # finds out by itself whether it is gzip or zlib
    try:
        body = unpacker.decompress(raw, limit + 1)
    except zlib.error:
        raise _UnusableAnswerError("the answer could not be decompressed") from None
    if len(body) > limit:
        raise _UnusableAnswerError("the answer is too large")
    if not unpacker.eof:
        raise _UnusableAnswerError("the answer could not be decompressed")
    return body


class _UnusableAnswerError(Exception):
    """The answer arrived but cannot be used. The text is ours and holds nothing of the answer."""


class _Wire:
    """Listens to the transport: has it begun to write the request?"""

    def __init__(self) -> None:
        self.traced = False
        self.sent = False

    async def __call__(self, name: str, info: Mapping[str, object]) -> None:
        self.traced = True
        if name.endswith("send_request_headers.started"):
            # The CONNECT that asks a proxy for a tunnel is not our request.
            self.sent = self.sent or getattr(info.get("request"), "method", None) != b"CONNECT"

    def was_sent(self, error: Exception | None) -> bool:
        return self.sent if self.traced else not isinstance(error, _NEVER_SENT)


def _unsendable(http: HttpRequest) -> str | None:
    """What makes the request unfit for the wire. Checked here because the library's complaint would quote the value."""
    for name, value in http.headers:
        if not name.isascii() or not value.isascii() or not value.isprintable() or value != value.strip():
            return f"header {name!r} cannot be sent"
    return None


def _describe(error: Exception) -> str:
    """A text from a fixed vocabulary: library texts may quote the request, or what the peer wrote."""
    if isinstance(error, _UnusableAnswerError | _UnusableBodyError):
        return str(error)
    if isinstance(error, httpx2.TimeoutException):
        return _phrase(error)  # what it came from says only where the waiting happened
    seen: list[BaseException] = [error]  # the error and what it came from, nearest first
    for item in seen:
        if isinstance(item, ssl.SSLCertVerificationError):
            return f"certificate refused: {item.verify_message}"
        if isinstance(item, ssl.SSLError):
            return f"TLS failed: {item.reason or 'no reason given'}"
        if isinstance(item, OSError) and item.strerror:
            return f"{_phrase(error)}: {item.strerror}"
        inner: list[BaseException | None] = [item.__cause__, item.__context__]
        if isinstance(item, ExceptionGroup):  # several addresses were tried
            inner += cast("ExceptionGroup[Exception]", item).exceptions
        seen += [found for found in inner if found is not None and found not in seen]
    return _phrase(error)


def _phrase(error: Exception) -> str:
    for kind, phrase in _PHRASES:
        if isinstance(error, kind):
            return phrase
    return f"failed with {type(error).__name__}"


_PHRASES: tuple[tuple[type[Exception], str], ...] = (
    (httpx2.ConnectTimeout, "timed out while connecting"),
    (httpx2.PoolTimeout, "timed out while waiting for a free connection"),
    (httpx2.TimeoutException, "timed out"),
    (httpx2.ConnectError, "could not connect"),
    (httpx2.ProxyError, "the proxy refused"),
    (httpx2.RemoteProtocolError, "the server broke off or did not speak HTTP"),
    (httpx2.NetworkError, "the connection broke"),
    (httpx2.UnsupportedProtocol, "the address is neither http nor https"),
    (httpx2.InvalidURL, "the address is not valid"),
)

# --- logging -------------------------------------------------------------------------------------------------------
# At INFO httpx2 writes the full address of every request, query included, and a query may hold a signature. Only
# records about requests from here are dropped. httpcore2 at DEBUG names methods, hosts and the headers of answers,
# never those of requests.

_sending: ContextVar[bool] = ContextVar("clawproto_http_sending", default=False)


class _QuietFilter(Filter):
    def filter(self, record: LogRecord) -> bool:
        return not _sending.get()


_quiet = _QuietFilter()


@contextmanager
def _logging_off() -> Generator[None]:
    token = _sending.set(True)
    try:
        yield
    finally:
        _sending.reset(token)
