"""What both drivers do before the first await: check the settings and put the parts of a session together."""

import logging
import ssl as ssl_module
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

import anyio.to_thread
from attrs import fields

from clawproto import app_events
from clawproto.app_events import AppEvent
from clawproto.config import Config, Features
from clawproto.credentials import Credentials, Guard, Intent, TokenPair
from clawproto.deferred import frozen
from clawproto.effects import Effect, Logout, Persist, RecordIntent, Reload, RequestRefresh, Swap
from clawproto.engine import Engine, Observer
from clawproto.event_rows import storable
from clawproto.events import Event, HttpAnswered, HttpFailed, Reloaded, Start, StoreConflicted, Stored, StoreFailed
from clawproto.http import HttpAnswer, HttpRequest
from clawproto.instant import Instant
from clawproto.keeping import Backlog
from clawproto.mailbox import InboxLimit, SettleMode
from clawproto.policy import Policy
from clawproto.session import Session
from clawproto.wire import codec
from clawproto_io.clock import Clock, SystemClock, system_seed
from clawproto_io.lease import Lease
from clawproto_io.session_http import SessionHttp
from clawproto_io.sockets import default_tls
from clawproto_io.stores.base import CredentialStore, HasMessages, LeaseStore, MessageStore
from clawproto_io.stores.places import open_store
from clawproto_io.throttle import Gate, Throttle

if TYPE_CHECKING:
    import os

    import httpx2

    from clawproto_io.journal import Journal

LogoutMode: TypeAlias = Literal["end", "wait"]
PairMode: TypeAlias = Literal["refuse", "repair", "new"]
Headers: TypeAlias = Iterable[tuple[str, str]]
SHUTDOWN_MARGIN_MS = 5_000
_POLICY = Policy()  # one for all sessions: it has some sixty numbers

# Kinds of values that a refresh is made of: they are complete before a token is spent (`clawproto.deferred`).
_ON_THE_WAY_OF_TOKENS: tuple[type, ...] = (
    *(Credentials, TokenPair, Intent, HttpRequest, HttpAnswer, HttpAnswered, HttpFailed),
    *(RecordIntent, RequestRefresh, Persist, Swap, Reload, Logout, Stored, StoreFailed, StoreConflicted, Reloaded),
)


@frozen(kw_only=True)
class SocketOptions:
    """How the sockets of one session are opened.

    Attributes:
        headers: of the upgrade request, never a token (AUTH-2).
        proxy: True: from the environment; None: none; or the address of a proxy.
        ssl: None: the default for ``wss``.
        max_size: of a downlink, in bytes.
        close_timeout: bound on the closing handshake, in real seconds (CLOSE-12).
    """

    headers: tuple[tuple[str, str], ...]
    proxy: str | Literal[True] | None
    ssl: ssl_module.SSLContext | None
    max_size: int
    close_timeout: float

    def tls(self) -> ssl_module.SSLContext:
        """What a ``wss`` socket is opened with."""
        return default_tls() if self.ssl is None else self.ssl


@frozen(kw_only=True)
class Parts:
    """One session, not yet started, and what it runs on."""

    engine: Engine
    store: CredentialStore
    owns_store: bool
    runner: SessionHttp
    sockets: SocketOptions
    clock: Clock
    shutdown_timeout: float
    on_logout: LogoutMode
    send_limit: int
    lease: Lease | None
    journal: "Journal | None"
    messages: MessageStore | None
    throttle: Throttle | None

    @property
    def socket_gate(self) -> Gate | None:
        """Where a socket waits for its turn."""
        return None if self.throttle is None else self.throttle.sockets

    @property
    def refresh_gate(self) -> Gate | None:
        """Where a refresh waits for its turn."""
        return None if self.throttle is None else self.throttle.refreshes

    async def load(self, guard: Guard | None = None) -> Start:
        """Become the owner if the session is exclusive, and read the stores. What it raises leaves nothing open."""
        backlog = Backlog()
        try:
            if self.lease is not None:
                await self.lease.acquire()
            credentials = await self.store.load()
            if self.messages is not None:
                user_id = None if credentials is None else storable(credentials.identity.user_id)
                backlog = (await self.messages.backlog()).for_user(user_id)
                self.engine.take_up(backlog)
        except BaseException:
            await self.aclose()
            raise
        return Start(credentials, guard, backlog.sends, backlog.last_number)

    async def complete(self) -> None:
        """Load what the session needs beyond opening its socket, which goes on meanwhile. What is missing is so found
        out now, not weeks later."""
        if not codec.is_loaded():
            await anyio.to_thread.run_sync(codec.load, abandon_on_cancel=True)
        await self.runner.load()
        for cls in _ON_THE_WAY_OF_TOKENS:
            fields(cls)

    async def aclose(self) -> None:
        """Let go of the lease, of connections and files."""
        if self.journal is not None:
            await anyio.to_thread.run_sync(self.journal.close)
        if self.lease is not None:
            await self.lease.release()
        await self.runner.aclose()
        if self.owns_store:
            await self.store.aclose()


def assemble(
    store: "CredentialStore | str | os.PathLike[str]",
    log: logging.Logger,
    *,
    policy: Policy | None = None,
    features: Features | None = None,
    client_version: str = "",
    socket_device_id: str | None = None,
    volatile_device_id: bool = False,
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
    messages: MessageStore | Literal[False] | None = False,
    exclusive: bool | float | None = False,
    throttle: Throttle | None = None,
    on_notice: Callable[[AppEvent], None] | None = None,
) -> Parts:
    """Check the settings and build the parts. Opens nothing.

    Raises:
        ValueError: a setting that cannot be.
    """
    if send_limit < 1:
        raise ValueError("send_limit must be at least 1")
    if shutdown_timeout is not None and shutdown_timeout < 0:
        raise ValueError("shutdown_timeout must not be negative")
    policy = policy or _POLICY
    clock = clock or SystemClock()
    opened = open_store(store)
    kept = _message_store(opened, messages)
    if exclusive is None:
        exclusive = kept is not None and isinstance(opened, LeaseStore)
    config = Config(
        seed=system_seed() if seed is None else seed,
        policy=policy,
        capabilities=(features or Features()).capabilities,
        client_version=client_version,
        socket_device_id=socket_device_id,
        volatile_device_id=volatile_device_id,
        keep_sends=kept is not None,
    )
    if http is not None:
        runner = SessionHttp(http)
    else:
        runner = SessionHttp(
            proxy=proxy if isinstance(proxy, str) else None, ssl_context=ssl, trust_env=proxy is not None
        )
    if shutdown_timeout is None:
        shutdown_timeout = clock.seconds(policy.refresh_timeout_ms + SHUTDOWN_MARGIN_MS)
    if exclusive is not False and not isinstance(opened, LeaseStore):
        raise ValueError("this store has no leases, which an exclusive session needs")
    lease = None
    if isinstance(opened, LeaseStore) and exclusive is not False:
        lease = Lease(opened) if exclusive is True else Lease(opened, exclusive)
    recording = None if journal is None else _journal(journal)
    return Parts(
        engine=Engine(
            Session(config),
            now=clock.now,
            inbox_limit=inbox_limit or InboxLimit(),
            settle=settle,
            observer=_guarded(log, observer, recording),
            keeps_messages=kept is not None,
            policy=policy,
            on_notice=_noticing(log, on_notice),
        ),
        store=opened,
        owns_store=opened is not store,
        runner=runner,
        sockets=SocketOptions(
            headers=tuple(headers),
            proxy=proxy,
            ssl=ssl,
            max_size=policy.downlink_limit,
            close_timeout=clock.seconds(policy.close_timeout_ms),
        ),
        clock=clock,
        shutdown_timeout=shutdown_timeout,
        on_logout=on_logout,
        send_limit=send_limit,
        lease=lease,
        journal=None if recording is journal else recording,
        throttle=throttle,
        messages=kept,
    )


def _journal(journal: "Journal | str | os.PathLike[str]") -> "Journal":
    from clawproto_io.journal import Journal  # noqa: PLC0415  (few sessions have one)

    return journal if isinstance(journal, Journal) else Journal(journal)


def _message_store(store: CredentialStore, wanted: MessageStore | Literal[False] | None) -> MessageStore | None:
    if wanted is None:
        return store.messages if isinstance(store, HasMessages) else None
    return None if wanted is False else wanted


# --- logging ------------------------------------------------------------------------------------------------------


def _guarded(log: logging.Logger, observer: Observer | None, journal: "Journal | None") -> Observer | None:
    if observer is None:
        return journal

    def observe(now: Instant, event: Event, effects: tuple[Effect, ...], state: object) -> None:
        if journal is not None:
            journal(now, event, effects, state)
        try:
            observer(now, event, effects, state)
        except Exception:
            log.exception("the observer failed")

    return observe


def _noticing(log: logging.Logger, on_notice: Callable[[AppEvent], None] | None) -> Callable[[AppEvent], None]:
    if on_notice is None:
        return partial(_log_event, log)

    def notice(event: AppEvent) -> None:
        _log_event(log, event)
        try:
            on_notice(event)
        except Exception:
            log.exception("on_notice failed")

    return notice


def _log_event(log: logging.Logger, event: app_events.AppEvent) -> None:
    level = _LEVELS.get(type(event))
    if level is not None:
        log.log(level, "%r", event)


# Only news about the session is logged, never what people write. None of these events holds a token (AUTH-9).
_LEVELS: dict[type[app_events.AppEvent], int] = {
    app_events.LoggedOut: logging.ERROR,
    app_events.SaveAlarm: logging.ERROR,
    app_events.MessagesUnsaved: logging.ERROR,
    app_events.CredentialsNeeded: logging.WARNING,
    app_events.Misconfigured: logging.WARNING,
    app_events.TakenOver: logging.WARNING,
    app_events.RefreshDelayed: logging.WARNING,
    app_events.HandshakeRefused: logging.WARNING,
    app_events.TokenNotNewer: logging.WARNING,
    app_events.ClockSkewed: logging.WARNING,
    app_events.FrameRejected: logging.WARNING,
    app_events.AckAnomaly: logging.WARNING,
    app_events.Ready: logging.INFO,
    app_events.Disconnected: logging.INFO,
    app_events.TokensRotated: logging.INFO,
    app_events.SaveRecovered: logging.INFO,
    app_events.MessagesSaved: logging.INFO,
}
