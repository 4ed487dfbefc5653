"""Carries out what a fleet decides about its store: one decision in, one report out. Written once, since a store is
awaited in the same way on every loop."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias, assert_never

import anyio

from clawproto_io.errors import StoreError
from clawproto_io.fleet.messages import (
    Beat,
    Beaten,
    FleetEvent,
    GiveBack,
    GivenBack,
    Survey,
    Surveyed,
    Sweep,
    Swept,
    Take,
    Taken,
    Unreachable,
)
from clawproto_io.logs import logger
from clawproto_io.owners import is_gone, short_name
from clawproto_io.stores.base import AccountStore, CredentialStore, LeaseStore

StoreDecision: TypeAlias = Beat | Survey | Take | GiveBack | Sweep

_GIVEN_AT_ONCE = 8  # leases

_log = logger("fleet")


class StoreWork:
    """The member's side of the store.

    Args:
        me: the member.
        now_ms: a monotonic clock.

    Attributes:
        problem: why the store could not be asked last time.
    """

    def __init__(self, accounts: AccountStore, me: str, now_ms: Callable[[], int]) -> None:
        self._accounts = accounts
        self._me = me
        self._now_ms = now_ms
        self._taken: dict[str, CredentialStore] = {}
        self._giving = anyio.Semaphore(_GIVEN_AT_ONCE)
        self.problem: str | None = None

    def store_of(self, account: str) -> CredentialStore:
        """The store of an account whose lease was taken, which acts under it."""
        return self._taken[account]

    async def carry_out(self, decision: StoreDecision) -> FleetEvent:
        """Do it. Never raises, but for cancellation: a store that fails is reported, and logged when it fails anew."""
        try:
            report = await self._ask(decision)
        except Exception as error:
            text = _describe(error)
            if text != self.problem:
                _log.warning("the store: %s", text)
            self.problem = text
            return failed(decision)
        self.problem = None
        return report

    async def depart(self) -> None:
        """Take this member out, and close what it has used. Never raises, but for cancellation."""
        await self._quietly(self._accounts.leave(self._me), "leaving")
        for account in tuple(self._taken):
            await self._quietly(self._taken.pop(account).aclose(), "closing an account")

    async def _quietly(self, work: Awaitable[object], what: str) -> None:
        try:
            await work
        except Exception as error:
            _log.warning("%s failed: %s", what, _describe(error))

    async def _ask(self, decision: StoreDecision) -> FleetEvent:
        began = self._now_ms()
        match decision:
            case Beat():
                return Beaten(began, await self._accounts.beat(self._me))
            case Survey():
                members = await self._accounts.members()
                rows = await self._accounts.accounts()
                owners = {row.lease.owner for row in rows if row.lease is not None and row.lease.owner is not None}
                gone = frozenset(owner for owner in owners | members.keys() if owner != self._me and is_gone(owner))
                return Surveyed(began, members, rows, gone)
            case Take():
                return await self._take(decision)
            case GiveBack(account, fence):
                async with self._giving:
                    store = self._taken.pop(account, None) or self._accounts.account(account)
                    try:
                        await _leases(store).release_lease(fence)
                    finally:
                        await store.aclose()
                return GivenBack(account)
            case Sweep(member, beat):
                if await self._accounts.leave(member, beat):
                    _log.info("%s is dead; what it owned is free", short_name(member))
                return Swept(member)
            case _:
                assert_never(decision)

    async def _take(self, decision: Take) -> Taken:
        stale = self._taken.pop(decision.account, None)  # of a lease that somebody else took over
        if stale is not None:
            await stale.aclose()
        store = self._accounts.account(decision.account)
        fence = None
        try:
            fence = await _leases(store).take_lease(self._me, decision.expected)
        finally:
            if fence is None:
                await store.aclose()
        if fence is not None:
            self._taken[decision.account] = store
        return Taken(decision.account, fence)


def failed(decision: StoreDecision) -> FleetEvent:
    """The report of a decision that could not be carried out, or was torn down half-way: the next sign of life and the
    next look tell what has become of it."""
    match decision:
        case Beat() | Survey():
            return Unreachable(decision)
        case Take(account):
            return Taken(account, None)
        case GiveBack(account):
            return GivenBack(account)
        case Sweep(member):
            return Swept(member)
        case _:
            assert_never(decision)


def _describe(error: Exception) -> str:
    """The text of a foreign exception may quote anything (AUTH-9)."""
    return str(error) if isinstance(error, StoreError) else f"failed with {type(error).__name__}"


def _leases(store: CredentialStore) -> LeaseStore:
    if not isinstance(store, LeaseStore):
        raise TypeError("the accounts of this store have no leases")
    return store
