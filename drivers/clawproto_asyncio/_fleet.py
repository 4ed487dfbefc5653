"""Many sessions on asyncio: tasks around one `clawproto_io.fleet.ownership.Ownership`.

    keeper ──┬── timer       one; feeds Tick
             ├── store       one task for whatever is asked of the store
             └── session     one task an account that is ours and runs: connect, then the handler

As in the driver of one session, the tasks are guarded against the end of ``asyncio.run``, so that accounts are given
back and rotations on their way are saved.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias, Unpack

from clawproto.errors import DriverFailed
from clawproto_asyncio._client import Client
from clawproto_asyncio._connect import connect
from clawproto_asyncio._signal import Signal
from clawproto_asyncio._tasks import GuardedTask, TaskGroup
from clawproto_io.fleet.base import HANDLER_PATIENCE, FleetBase, FleetSettings, log
from clawproto_io.fleet.work import StoreDecision, failed
from clawproto_io.stores import AccountStore

Handler: TypeAlias = Callable[[Client, str], Awaitable[None]]


class Fleet(FleetBase[Client]):
    """One member of a fleet. Made by `clawproto_asyncio.fleet`."""

    def __init__(
        self,
        accounts: AccountStore | str | os.PathLike[str],
        handler: Handler | None,
        settings: FleetSettings,
    ) -> None:
        super().__init__(accounts, handler, settings)
        self._loop = asyncio.get_running_loop()
        self._tasks = TaskGroup("clawproto fleet", self.stop, self._fail)
        self._sessions: dict[str, _Session] = {}
        self._due = Signal()
        self._departed = Signal()
        self._failure: BaseException | None = None
        self._keeper: GuardedTask | None = None

    async def wait_stopped(self) -> None:
        """Wait until the fleet has come to its end: somebody has called `stop` or `aclose`, or it has failed."""
        if self._keeper is not None:
            await asyncio.wait({self._keeper})

    async def aclose(self) -> None:
        """End all sessions in good order, give the accounts back, and wait for it. Cancelling this ends the waiting."""
        self.stop()
        await self.wait_stopped()

    # --- for `fleet` ---

    def begin(self) -> None:
        """Once."""
        _ = self._tasks.spawn(self._keep_time(), "timer")
        self._keeper = self._tasks.guard(self._keep(), "keeper")

    async def finish(self) -> None:
        """Stop and wait for the end, also if cancelled meanwhile: the end of every session is bounded."""
        self.stop()
        cancelled: asyncio.CancelledError | None = None
        while self._keeper is not None and not self._keeper.done():
            try:
                await self.wait_stopped()
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    def raise_failure(self) -> None:
        """Raises DriverFailed if there is a reason to."""
        if self._failure is not None:
            raise DriverFailed from self._failure

    # --- tasks ---

    def _fail(self, name: str, error: BaseException) -> None:
        if self._failure is None:
            log.critical("%s failed", name, exc_info=error)
            self._failure = error
            self._departed.set()

    async def _keep(self) -> None:
        while not self._departed.is_set():
            try:
                await self._departed.wait()
            except asyncio.CancelledError:
                self.stop()
        await self._tasks.end()
        if self._failure is not None:
            await self._work.depart()
        await self._close()

    async def _keep_time(self) -> None:
        while True:
            self._due.clear()
            delay = self._tick_delay()
            if delay is not None and delay <= 0:
                self._tick()
                await asyncio.sleep(0)
                continue
            try:
                async with asyncio.timeout(delay):
                    await self._due.wait()
            except TimeoutError:
                pass

    async def _hold(self, session: "_Session") -> None:
        error: BaseException | None = None
        try:
            async with connect(
                self._work.store_of(session.account),
                **self._settings,
                exclusive=False,  # the lease is the fleet's
                http=self._http,
                throttle=self._throttle,
                on_notice=self._listener(session.account),
                clock=self._clock,
            ) as client:
                session.client = client
                if self._handler is not None:
                    await self._handler(client, session.account)
                else:
                    async for _ in client:
                        pass
        except Exception as caught:
            error = caught
        except asyncio.CancelledError:
            if not session.stopping:  # from outside: a wish to stop
                session.stopping = True
                self.stop()
        finally:
            self._count(session.account, session.client)
            session.client = None
        del self._sessions[session.account]
        self._session_ended(session.account, error, session.stopping)

    async def _carry_out(self, decision: StoreDecision) -> None:
        try:
            report = await self._work.carry_out(decision)
        except asyncio.CancelledError:
            if self._departed.is_set():
                raise
            self.stop()
            report = failed(decision)
        self._feed(report)

    async def _leave(self) -> None:
        await self._work.depart()
        self._departed.set()

    # --- decisions ---

    def _ask(self, decision: StoreDecision) -> None:
        _ = self._tasks.spawn(self._carry_out(decision), type(decision).__name__)

    def _start(self, account: str) -> None:
        session = self._sessions[account] = _Session(account)
        session.task = self._tasks.spawn(self._hold(session), f"session {account}")

    def _stop(self, account: str) -> None:
        session = self._sessions.get(account)
        if session is None or session.stopping or session.task is None:
            return
        session.stopping = True
        if session.client is None:
            session.task.end()
            return
        # The iteration ends with the session; a handler that does not iterate is cancelled a little later.
        _ = self._tasks.spawn(session.client.aclose(), f"end of {account}")
        self._loop.call_later(HANDLER_PATIENCE, session.task.end)

    def _client_of(self, account: str) -> Client | None:
        session = self._sessions.get(account)
        return None if session is None else session.client

    def _depart(self) -> None:
        _ = self._tasks.spawn(self._leave(), "departure")

    def _soon(self, what: Callable[[], None]) -> None:
        self._loop.call_soon(what)

    def _rearm(self) -> None:
        self._due.set()


class _Session:
    """One that runs."""

    def __init__(self, account: str) -> None:
        self.account = account
        self.client: Client | None = None
        self.task: GuardedTask | None = None
        self.stopping = False


@asynccontextmanager
async def fleet(
    accounts: AccountStore | str | os.PathLike[str],
    handler: Handler | None = None,
    **settings: Unpack[FleetSettings],
) -> AsyncGenerator[Fleet]:
    """Hold the sessions of many accounts for as long as the block runs, together with all other processes that do so on
    the same store: each account has one owner, everybody owns a fair share, and what a dead process owned is owned by
    others within the term.

    Leaving the block ends all sessions in good order and gives the accounts back, also if the task is cancelled.

    Args:
        accounts: a store of accounts, or its path or address. A store that is given stays open.
        handler: called for each session, with its client and the name of the account; it reads the events until there
            are no more. A session whose handler returns earlier or raises is begun again, with backoff. None: events
            are read, which settles them, and nothing else is done with them.
        settings: of the fleet and of its sessions: `clawproto_io.fleet.base.FleetSettings`, `connect`.

    Raises:
        ValueError: a setting that cannot be.
        DriverFailed: at the end: the fleet broke.
    """
    running = Fleet(accounts, handler, settings)
    running.begin()
    try:
        yield running
    finally:
        await running.finish()
    running.raise_failure()


async def run_fleet(
    accounts: AccountStore | str | os.PathLike[str],
    handler: Handler | None = None,
    **settings: Unpack[FleetSettings],
) -> None:
    """`fleet`, until cancelled."""
    async with fleet(accounts, handler, **settings) as running:
        await running.wait_stopped()
