"""The two drivers behind one shape, each loaded only when it is chosen."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, TypeVar

import anyio

from clawproto.app_events import AppEvent, MessageReceived
from clawproto.config import Features
from clawproto.credentials import Credentials, Identity
from clawproto.deferred import frozen
from clawproto.effects import Effect
from clawproto.events import Event
from clawproto.instant import Instant
from clawproto.json_types import Json
from clawproto.policy import Policy
from clawproto.results import Receipt, RefreshSkipped, RefreshSucceeded
from clawproto_cli.signals import terminated_as_interrupted
from clawproto_io import AccountStore, CredentialStore, Journal
from clawproto_io.fleet.board import AccountView, FleetNews, Totals
from clawproto_io.fleet.policy import FleetPolicy
from clawproto_io.fleet.shares import Shard
from clawproto_io.throttle import Throttle

DriverName: TypeAlias = Literal["asyncio", "trio"]
Store: TypeAlias = CredentialStore | str | Path
_T = TypeVar("_T")


class Stream(Protocol):
    """What commands use of a stream."""

    @property
    def message_id(self) -> str: ...
    @property
    def receipt(self) -> Receipt | None: ...
    async def append(self, text: str) -> None: ...


class Client(Protocol):
    """What commands use of a driver's client."""

    def __aiter__(self) -> AsyncIterator[AppEvent]: ...
    @property
    def is_ready(self) -> bool: ...
    @property
    def credentials(self) -> Credentials | None: ...
    @property
    def identity(self) -> Identity | None: ...
    async def wait_ready(self) -> None: ...
    async def send(
        self,
        chat_id: str,
        content: str | Iterable[Mapping[str, Json]],
        *,
        reply_to: MessageReceived | Mapping[str, Json] | None = None,
        message_id: str | None = None,
    ) -> Receipt: ...
    async def react(self, chat_id: str, message_id: str, emoji: str | None) -> Receipt: ...
    def stream(
        self,
        chat_id: str,
        *,
        reply_to: MessageReceived | Mapping[str, Json] | None = None,
        message_id: str | None = None,
    ) -> AbstractAsyncContextManager[Stream]: ...
    def typing(self, chat_id: str) -> AbstractContextManager[None]: ...
    async def upload(self, content: Path) -> dict[str, Json]: ...
    async def refresh(self) -> RefreshSucceeded | RefreshSkipped: ...
    async def settle(self, event: AppEvent) -> None: ...
    async def aclose(self) -> None: ...


class Connect(Protocol):
    """``connect`` of a driver."""

    def __call__(
        self,
        store: Store,
        *,
        policy: Policy | None = None,
        features: Features | None = None,
        client_version: str = "",
        socket_device_id: str | None = None,
        settle: Literal["auto", "explicit"] = "auto",
        on_logout: Literal["end", "wait"] = "end",
        messages: Literal[False] | None = None,
        exclusive: bool | float | None = None,
        observer: Callable[[Instant, Event, tuple[Effect, ...], object], None] | None = None,
        journal: Journal | str | Path | None = None,
    ) -> AbstractAsyncContextManager[Client]: ...


class PairCode(Protocol):
    """``pair`` of a driver."""

    async def __call__(
        self,
        store: Store,
        code: str,
        *,
        base_url: str,
        ws_url: str | None = None,
        platform: str = "clawproto",
        identity: Literal["refuse", "repair", "new"] = "refuse",
        policy: Policy | None = None,
    ) -> Credentials: ...


class Fleet(Protocol):
    """What commands use of a driver's fleet."""

    name: str

    @property
    def accounts(self) -> tuple[AccountView, ...]: ...
    @property
    def members(self) -> tuple[str, ...]: ...
    @property
    def totals(self) -> Totals: ...
    @property
    def store_problem(self) -> str | None: ...
    def stop(self) -> None: ...
    async def wait_stopped(self) -> None: ...


Handler: TypeAlias = Callable[[Client, str], Awaitable[None]]


class OpenFleet(Protocol):
    """``fleet`` of a driver."""

    def __call__(
        self,
        accounts: AccountStore,
        handler: Handler | None = None,
        *,
        shard: Shard | None = None,
        fleet_policy: FleetPolicy | None = None,
        throttle: Throttle | None = None,
        on_news: Callable[[FleetNews], None] | None = None,
        policy: Policy | None = None,
        features: Features | None = None,
        client_version: str = "",
    ) -> AbstractAsyncContextManager[Fleet]: ...


@frozen
class Driver:
    """One driver's entry points."""

    connect: Connect
    pair: PairCode
    fleet: OpenFleet


def load_driver(name: DriverName) -> Driver:
    """Import the driver for a loop, and only that one."""
    if name == "trio":
        import clawproto_trio  # noqa: PLC0415

        return Driver(clawproto_trio.connect, clawproto_trio.pair, clawproto_trio.fleet)
    import clawproto_asyncio  # noqa: PLC0415

    return Driver(clawproto_asyncio.connect, clawproto_asyncio.pair, clawproto_asyncio.fleet)


def run(work: Callable[[], Awaitable[_T]], name: DriverName) -> _T:
    """Run ``work`` to its end on the loop called ``name``."""
    with terminated_as_interrupted():
        return anyio.run(work, backend=name)
