"""What the conformance suite for drivers stands on: the adapter for a loop, and the surroundings of one check."""

import secrets
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeAlias, TypeVar

from attrs import define, evolve

from clawproto.app_events import AppEvent
from clawproto.policy import Policy
from clawproto.testing.client_api import ClientApi
from clawproto.testing.peer import CHAT, Peer
from clawproto_io.stores import FaultyStore, MemoryStore

Raised = TypeVar("Raised", bound=Exception)
Work: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
LIMIT = 20.0  # seconds for one check

# Real time, so everything that the driver waits for is short; what it must not reach is long.
POLICY = Policy(
    refresh_floor_ms=0,
    unknown_answer_wait_ms=50,
    refresh_backoff_first_ms=50,
    refresh_backoff_max_ms=100,
    save_retry_first_ms=20,
    save_retry_max_ms=50,
    credential_poll_ms=50,
    open_timeout_ms=2_000,
    handshake_timeout_ms=1_000,
    reconnect_first_ms=20,
    reconnect_max_ms=100,
    unexplained_floor_ms=100,
    close_timeout_ms=500,
    ack_debounce_ms=20,
    refresh_timeout_ms=5_000,
)


class DriverAdapter(Protocol):
    """What the suite needs to know about a driver and its loop."""

    name: str

    def run(self, main: Callable[[], Awaitable[None]]) -> None:
        """Run a program: ``asyncio.run``, ``trio.run``."""
        ...

    def connect(self, store: Any, **settings: Any) -> AbstractAsyncContextManager[ClientApi]:
        """The driver's own ``connect``; the store is a `clawproto_io.stores.CredentialStore`."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let the loop run."""
        ...

    async def within(self, seconds: float, work: Work) -> None:
        """Do ``work``; raise TimeoutError if it takes longer."""
        ...

    async def together(self, *works: Work) -> None:
        """Do all of them concurrently and wait for all."""
        ...

    async def cancelled(self, work: Callable[[Callable[[], None]], Coroutine[Any, Any, None]]) -> bool:
        """Do ``work`` in a scope or task of its own and hand it what cancels it; whether it was cancelled."""
        ...

    def leftovers(self) -> list[str]:
        """Names of the tasks that run on this loop, without the suite's own."""
        ...


@define
class Scene:
    """One check's surroundings."""

    adapter: DriverAdapter
    peer: Peer
    store: FaultyStore

    def connect(self, **settings: Any) -> AbstractAsyncContextManager[ClientApi]:
        """Connect with short times; ``policy`` may be a dict of changes."""
        changes = settings.pop("changes", {})
        return self.adapter.connect(self.store, policy=evolve(POLICY, **changes), **settings)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something to become true; the limit of the whole check bounds it."""
        while not condition():
            await self.adapter.sleep(0.005)

    async def event(self, client: ClientApi, kind: type[AppEvent]) -> Any:
        """The next event of this kind; others are passed over."""
        async for event in client:
            if isinstance(event, kind):
                return event
        raise AssertionError(f"the events ended before a {kind.__name__}")

    def fill_disk_at_next_refresh(self) -> None:
        """The request can still be recorded; what it brings cannot be saved."""
        self.peer.on_redeem = lambda: setattr(self.store, "full", True)

    async def stored_refresh(self) -> str | None:
        """The refresh token in the store."""
        credentials = await self.store.load()
        tokens = None if credentials is None else credentials.tokens
        return None if tokens is None or tokens.refresh is None else tokens.refresh.reveal()


Check: TypeAlias = Callable[[Scene], Coroutine[Any, Any, None]]


def run_check(adapter: DriverAdapter, check: Check) -> None:
    """Run one check on one driver.

    Raises:
        AssertionError: the driver does not conform; anything else may come from a driver that fails altogether.
    """
    with Peer() as peer:

        async def main() -> None:
            scene = Scene(adapter, peer, FaultyStore(MemoryStore(peer.credentials())))
            await adapter.within(LIMIT, lambda: check(scene))
            assert adapter.leftovers() == [], "tasks are left over"

        adapter.run(main)


@types.coroutine
def interrupting(work: Coroutine[Any, Any, None], at: int, interrupt: Callable[[], None]) -> Generator[Any, Any, None]:
    """Do ``work``, and call ``interrupt`` the moment it waits for the ``at``-th time. Works on any loop."""
    answer: Any = None
    error: BaseException | None = None
    waits = 0
    while True:
        try:
            request = work.send(answer) if error is None else work.throw(error)
        except StopIteration:
            return
        waits += 1
        if waits == at:
            interrupt()
        answer, error = None, None
        try:
            answer = yield request
        except BaseException as thrown:
            error = thrown


def noise(size: int) -> str:
    """Text that does not compress."""
    return secrets.token_hex(size // 2)


async def sending(client: ClientApi, text: str) -> None:
    """Send, and leave the receipt aside."""
    await client.send(CHAT, text)


async def refreshing(client: ClientApi) -> None:
    """Refresh, and leave the outcome aside."""
    await client.refresh()


async def raises(kind: type[Raised], call: Callable[[], Awaitable[Any]]) -> Raised:
    """The exception of this kind that the call raises; AssertionError if it raises none."""
    try:
        await call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


def access_token(client: ClientApi) -> str:
    """The access token in force."""
    credentials = client.credentials
    assert credentials is not None and credentials.tokens is not None
    return credentials.tokens.access.reveal()
