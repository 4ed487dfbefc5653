"""How a session begins and ends on trio."""

import os
import ssl as ssl_module
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

import trio
from attrs import evolve

from clawproto.app_events import AppEvent
from clawproto.config import Features
from clawproto.credentials import Credentials, Guard
from clawproto.engine import Observer
from clawproto.events import Start
from clawproto.mailbox import InboxLimit, SettleMode
from clawproto.policy import Policy
from clawproto_io.clock import Clock
from clawproto_io.setup import Headers, LogoutMode, PairMode, assemble
from clawproto_io.stores.base import CredentialStore, MessageStore
from clawproto_io.throttle import Throttle
from clawproto_trio._client import Client
from clawproto_trio._driver import Driver, log

if TYPE_CHECKING:
    import httpx2

    from clawproto_io.journal import Journal


@asynccontextmanager
async def connect(
    store: CredentialStore | str | os.PathLike[str],
    *,
    policy: Policy | None = None,
    features: Features | None = None,
    client_version: str = "",
    socket_device_id: str | None = None,
    volatile_device_id: bool = False,
    guard: Guard | None = None,
    headers: Headers = (),
    proxy: str | Literal[True] | None = True,
    ssl: ssl_module.SSLContext | None = None,
    http: "httpx2.AsyncClient | None" = None,
    inbox_limit: InboxLimit | None = None,
    settle: SettleMode = "auto",
    send_limit: int = 256,
    shutdown_timeout: float | None = None,
    observer: Observer | None = None,
    journal: "Journal | str | os.PathLike[str] | None" = None,
    clock: Clock | None = None,
    seed: bytes | None = None,
    on_logout: LogoutMode = "end",
    messages: MessageStore | Literal[False] | None = None,
    exclusive: bool | float | None = None,
    throttle: Throttle | None = None,
    on_notice: Callable[[AppEvent], None] | None = None,
) -> AsyncGenerator[Client]:
    """Hold one session for as long as the block runs; it reconnects and refreshes by itself.

    Leaving the block stops the session and waits until a rotation on its way is saved, for at most
    ``shutdown_timeout``, also if it is cancelled: the session runs shielded in a nursery of this block. Nothing is left
    running. An error of the block comes out as it is.

    Args:
        store: where the credentials are, the path of an SQLite file, or an address (`clawproto_io.open_store`). A store
            that is given stays open.
        policy: every number; None: the protocol's.
        features: what the application turns on; what is asked of the hub follows from it (CAP-1).
        client_version: log material for the hub (HS-6).
        socket_device_id: for a parallel instance of the same agent (CLOSE-11).
        volatile_device_id: the device id came from something that may change (DEV-6).
        guard: `Client.guard` of an earlier session of this agent (REF-33).
        headers: of the upgrade request; no token belongs there (AUTH-2).
        proxy: True: from the environment; None: none; or the address of one.
        ssl: for ``wss`` and ``https``; None: the default.
        http: a ready-made HTTP client, which stays open.
        inbox_limit: how much may wait for the application before reading stops.
        settle: ``auto``: a message is done with when the next event is asked for; ``explicit``: a message is,
            once `MessageReceived.settle` or `Client.settle` says so.
        send_limit: how many sends may be undecided before `Client.send` waits.
        shutdown_timeout: seconds; None: a little more than a refresh may take.
        observer: called after every step with instant, event, effects and state; what it raises is logged.
        journal: the path of a file in which every step is recorded, without tokens, for `clawproto replay`; or a
            `clawproto_io.Journal`, which stays open. One that cannot be written is logged and disturbs nothing.
        clock: None: the system's.
        seed: 16 bytes for jitter and ids; None: drawn from the system. Never use one twice.
        on_logout: ``end``: the iteration ends after the `LoggedOut` event; ``wait``: it goes on until somebody pairs
            the agent again (OUT-8).
        messages: where messages are kept, so that settled means on the disk, and a send survives the process. None: in
            the store, if it keeps messages; False: in memory only; or a message store of the application, which stays
            open.
        exclusive: of all processes that connect to this store in this way, one holds the session; the others wait here
            and take over when it ends, or within seconds when it dies. A number is the term in seconds after which an
            owner without a sign of life counts as dead, 6 if not given. None: if messages are kept and the store has
            leases.
        throttle: shared by the sessions of one process, it limits how fast they open sockets and refresh.
        on_notice: called at once with every event but messages, whoever iterates; what it raises is logged.

    Raises:
        StoreError: the store could not be read; nothing was started.
        ValueError: a setting that cannot be.
        RotationUnsaved: at the end: ``shutdown_timeout`` was not enough to save a new pair (REF-10).
        SessionTakenOver: at the end: an exclusive session has another owner now.
        DriverFailed: at the end: the driver broke.
    """
    parts = assemble(
        store,
        log,
        policy=policy,
        features=features,
        client_version=client_version,
        socket_device_id=socket_device_id,
        volatile_device_id=volatile_device_id,
        headers=headers,
        proxy=proxy,
        ssl=ssl,
        http=http,
        inbox_limit=inbox_limit,
        settle=settle,
        send_limit=send_limit,
        shutdown_timeout=shutdown_timeout,
        observer=observer,
        journal=journal,
        clock=clock,
        seed=seed,
        on_logout=on_logout,
        messages=messages,
        exclusive=exclusive,
        throttle=throttle,
        on_notice=on_notice,
    )
    start = await parts.load(guard)
    async with _running(Driver(parts), start) as driver:
        await parts.complete()
        yield Client(driver, parts)
        parts.engine.mailbox.settle_handed_out()


async def pair(
    store: CredentialStore | str | os.PathLike[str],
    code: str,
    *,
    base_url: str,
    ws_url: str | None = None,
    device_id: str | None = None,
    platform: str = "clawproto",
    kind: str = "clawbot",
    plugin_version: str | None = None,
    identity: PairMode = "refuse",
    policy: Policy | None = None,
    proxy: str | Literal[True] | None = True,
    ssl: ssl_module.SSLContext | None = None,
    http: "httpx2.AsyncClient | None" = None,
    shutdown_timeout: float | None = None,
    observer: Observer | None = None,
    journal: "Journal | str | os.PathLike[str] | None" = None,
    clock: Clock | None = None,
) -> Credentials:
    """Redeem a pairing code and store what it brings, without connecting. A running session on the same store takes the
    new pair up by itself (OUT-8).

    Cancelling this while the request is under way waits for its answer and saves it first: the code is single-use.

    Args:
        store: where to keep the credentials, the path of an SQLite file, or an address (`open_store`).
        code: as typed by a person.
        base_url: origin of the REST surface.
        ws_url: None derives it from ``base_url`` (AUTH-8).
        device_id: None: that of the stored identity, or a new one (DEV-4).
        identity: what to do if an identity is stored: ``refuse``, ``repair`` that agent, or ``new`` (PAIR-2, PAIR-10).

    Raises:
        PairRefused: nothing was stored.
        StoreError: the store could not be read; the code was not sent.
        RotationUnsaved: the code is spent, but the pair could not be saved in time.
    """
    parts = assemble(
        store,
        log,
        policy=evolve(policy or Policy(), credential_poll_ms=None),
        proxy=proxy,
        ssl=ssl,
        http=http,
        shutdown_timeout=shutdown_timeout,
        observer=observer,
        journal=journal,
        clock=clock,
    )
    stored = (await parts.load()).credentials
    start = Start(None if stored is None else evolve(stored, tokens=None, intent=None))
    async with _running(Driver(parts, opens_sockets=False), start) as driver:
        await parts.complete()  # before the code is spent
        return await Client(driver, parts).pair(
            code,
            base_url=base_url,
            ws_url=ws_url,
            device_id=device_id,
            platform=platform,
            kind=kind,
            plugin_version=plugin_version,
            identity=identity,
        )


@asynccontextmanager
async def _running(driver: Driver, start: Start) -> AsyncGenerator[Driver]:
    error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(driver.run)
            driver.start(start)
            try:
                yield driver
            except BaseException as caught:
                error = caught
                raise
            finally:
                driver.stop()
    except BaseExceptionGroup as group:
        # The nursery is nobody's business: an error of the block comes out as it went in, cause and context included.
        if len(group.exceptions) != 1 or group.exceptions[0] is not error:
            raise
    if error is not None:
        raise error
    driver.raise_failure()
