"""Many sessions on trio: tasks around one `clawproto_io.fleet.ownership.Ownership`.

    the block's nursery ── run ── a shielded nursery ──┬── timer       one; feeds Tick
                                                       ├── store       one task for whatever is asked of the store
                                                       └── session     one task an account that is ours and runs:
                                                                       connect, then the handler

A cancellation reaches the block, which then asks for the end: accounts are given back, rotations on their way saved.
"""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import inf
from typing import TypeAlias, Unpack

import trio

from clawproto.errors import DriverFailed
from clawproto_io.fleet.base import HANDLER_PATIENCE, FleetBase, FleetSettings, log
from clawproto_io.fleet.work import StoreDecision
from clawproto_io.stores import AccountStore
from clawproto_trio._client import Client
from clawproto_trio._connect import connect
from clawproto_trio._signal import Signal

Handler: TypeAlias = Callable[[Client, str], Awaitable[None]]


class Fleet(FleetBase[Client]):
    """One member of a fleet. Made by `clawproto_trio.fleet`."""

    def __init__(
        self,
        accounts: AccountStore | str | os.PathLike[str],
        handler: Handler | None,
        settings: FleetSettings,
    ) -> None:
        super().__init__(accounts, handler, settings)
        self._token = trio.lowlevel.current_trio_token()
        self._nursery: trio.Nursery | None = None
        self._sessions: dict[str, _Session] = {}
        self._due = Signal()
        self._departed = trio.Event()
        self._gone = trio.Event()
        self._failure: BaseException | None = None

    async def wait_stopped(self) -> None:
        """Wait until the fleet has come to its end: somebody has called `stop` or `aclose`, or it has failed."""
        await self._gone.wait()

    async def aclose(self) -> None:
        """End all sessions in good order, give the accounts back, and wait for it. Cancelling this ends the waiting."""
        self.stop()
        await self.wait_stopped()

    # --- for `fleet` ---

    async def run(self) -> None:
        """Do everything, until stopped and departed. Never raises: a failure is kept for `raise_failure`."""
        with trio.CancelScope(shield=True):
            try:
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    nursery.start_soon(self._keep_time)
                    await self._departed.wait()
                    nursery.cancel_scope.cancel()
            except Exception as error:
                log.critical("the fleet failed", exc_info=error)
                self._failure = error
                await self._work.depart()
            finally:
                self._nursery = None
            await self._close()
        self._gone.set()

    def raise_failure(self) -> None:
        """Raises DriverFailed if there is a reason to."""
        if self._failure is not None:
            raise DriverFailed from self._failure

    # --- tasks ---

    async def _keep_time(self) -> None:
        while True:
            self._due.clear()
            delay = self._tick_delay()
            if delay is not None and delay <= 0:
                self._tick()
                await trio.lowlevel.checkpoint()
                continue
            with trio.move_on_after(inf if delay is None else delay):
                await self._due.wait()

    async def _hold(self, session: "_Session") -> None:
        error: BaseException | None = None
        with session.scope:
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
            finally:
                self._count(session.account, session.client)
                session.client = None
        del self._sessions[session.account]
        if not self._departed.is_set():
            self._session_ended(session.account, error, session.stopping)

    async def _carry_out(self, decision: StoreDecision) -> None:
        self._feed(await self._work.carry_out(decision))

    async def _leave(self) -> None:
        await self._work.depart()
        self._departed.set()

    # --- decisions ---

    def _ask(self, decision: StoreDecision) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(self._carry_out, decision)

    def _start(self, account: str) -> None:
        if self._nursery is not None:
            session = self._sessions[account] = _Session(account)
            self._nursery.start_soon(self._hold, session, name=f"session {account}")

    def _stop(self, account: str) -> None:
        session = self._sessions.get(account)
        if session is None or session.stopping or self._nursery is None:
            return
        session.stopping = True
        if session.client is None:
            session.scope.cancel()
            return
        # The iteration ends with the session; a handler that does not iterate is cancelled a little later.
        session.scope.deadline = trio.current_time() + HANDLER_PATIENCE
        self._nursery.start_soon(session.client.aclose)

    def _client_of(self, account: str) -> Client | None:
        session = self._sessions.get(account)
        return None if session is None else session.client

    def _depart(self) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(self._leave)

    def _soon(self, what: Callable[[], None]) -> None:
        self._token.run_sync_soon(what)

    def _rearm(self) -> None:
        self._due.set()


class _Session:
    """One that runs."""

    def __init__(self, account: str) -> None:
        self.account = account
        self.client: Client | None = None
        self.scope = trio.CancelScope()
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
    error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(running.run)
            try:
                yield running
            except BaseException as caught:
                error = caught
                raise
            finally:
                running.stop()
    except BaseExceptionGroup as group:
        # The nursery is nobody's business: an error of the block comes out as it went in, cause and context included.
        if len(group.exceptions) != 1 or group.exceptions[0] is not error:
            raise
    if error is not None:
        raise error
    running.raise_failure()


async def run_fleet(
    accounts: AccountStore | str | os.PathLike[str],
    handler: Handler | None = None,
    **settings: Unpack[FleetSettings],
) -> None:
    """`fleet`, until cancelled."""
    async with fleet(accounts, handler, **settings) as running:
        await running.wait_stopped()
