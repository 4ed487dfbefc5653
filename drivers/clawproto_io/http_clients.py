"""The HTTP clients of the sessions of one event loop, which have them in common.

    runners with the same settings ──> Clients ──┬── client   up to AT_ONCE requests
                                                 ├── client   made when the others are busy
                                                 └── …

A session refreshes a few times a day, and a client of its own takes several times as much memory as everything else
that the session needs for HTTP. What is shared are connections, and no more: there are no cookies, and what identifies
a session is in the headers of each of its requests. The library's pool looks at all its requests whenever one of them
begins or ends, so a client is given only so many at a time.
"""

import ssl
from collections.abc import Callable, Generator, Mapping
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx2
from anyio.lowlevel import RunVar

from clawproto_io.certificates import shared_context

AT_ONCE = 32


def default_context(trust_env: bool) -> ssl.SSLContext:
    """The default certificate store, read once for all clients that live at the same time: it takes most of a megabyte,
    a hundred times what a session needs otherwise."""
    return shared_context(partial(httpx2.create_ssl_context, trust_env=trust_env), "http", trust_env)


def new_client(
    *,
    proxy: str | httpx2.Proxy | None = None,
    ssl_context: ssl.SSLContext | None = None,
    headers: Mapping[str, str] | None = None,
    trust_env: bool = True,
) -> httpx2.AsyncClient:
    """A client as `HttpRunner` makes one for itself, to be shared by several and closed by whoever made it. It keeps no
    cookies and verifies certificates. Arguments as of `HttpRunner`."""
    return httpx2.AsyncClient(
        proxy=proxy,
        verify=default_context(trust_env) if ssl_context is None else ssl_context,
        headers=headers,
        trust_env=trust_env,
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
    )


class Clients:
    """Any number of clients that are alike.

    Args:
        make: makes one.

    Attributes:
        users: how many runners hold it; for `borrow` and `give_back`.
    """

    def __init__(self, make: Callable[[], httpx2.AsyncClient]) -> None:
        self.users = 0
        self._make = make
        self._clients: list[httpx2.AsyncClient] = []
        self._busy: list[int] = []

    def __len__(self) -> int:
        return len(self._clients)

    @contextmanager
    def one(self) -> Generator[httpx2.AsyncClient]:
        """A client for one request: the first that has room, so that few are used."""
        busy = self._busy  # `aclose` may put another in its place
        chosen = next((number for number, count in enumerate(busy) if count < AT_ONCE), len(busy))
        if chosen == len(busy):
            self._clients.append(self._make())
            busy.append(0)
        busy[chosen] += 1
        try:
            yield self._clients[chosen]
        finally:
            busy[chosen] -= 1

    async def aclose(self) -> None:
        """Close their connections."""
        clients, self._clients, self._busy = self._clients, [], []
        async with AsyncExitStack() as stack:  # all of them, whatever one of them raises
            for client in clients:
                stack.push_async_callback(client.aclose)


Settings = tuple[str | None, ssl.SSLContext, bool]  # proxy, certificates, and whether the environment counts

_shared: RunVar[dict[Settings, Clients]] = RunVar("clawproto_http_clients")


def borrow(settings: Settings) -> Clients:
    """Those of the running loop with these settings. `give_back` them."""
    everything = _shared.get(None)
    if everything is None:
        everything = dict[Settings, Clients]()
        _shared.set(everything)
    clients = everything.get(settings)
    if clients is None:
        proxy, context, trust_env = settings
        clients = Clients(lambda: new_client(proxy=proxy, ssl_context=context, trust_env=trust_env))
        everything[settings] = clients
    clients.users += 1
    return clients


async def give_back(settings: Settings, clients: Clients) -> None:
    """Who comes last closes them."""
    clients.users -= 1
    if not clients.users:
        del _shared.get()[settings]
        await clients.aclose()
