"""Many accounts in memory, shared by the members of one process. For tests and demonstrations."""

from collections.abc import Mapping, Sequence

from anyio.lowlevel import checkpoint
from attrs import define

from clawproto.credentials import Credentials, Intent
from clawproto.keeping import Backlog, Change, Filed
from clawproto_io.errors import LeaseLost, StoreError
from clawproto_io.stores.base import AccountRow, CredentialStore, LeaseRow, MessageStore, check_account
from clawproto_io.stores.memory import MemoryStore
from clawproto_io.stores.memory_messages import MemoryMessageStore


@define
class _Lease:
    owner: str | None
    fence: int


class MemoryAccounts:
    """An `AccountStore` in memory. Each method passes a checkpoint before it changes anything.

    Attributes:
        records: the accounts, free to be read and replaced by a test.
        kept: their messages.
        unreachable: while True every method of it and of its accounts fails, and changes nothing.
    """

    def __init__(self, credentials: Mapping[str, Credentials] | None = None) -> None:
        self.records = {name: MemoryStore(record) for name, record in (credentials or {}).items()}
        self.kept: dict[str, MemoryMessageStore] = {}
        self.unreachable = False
        self._leases: dict[str, _Lease] = {}
        self._beats: dict[str, int] = {}
        self._joined: set[str] = set()

    def account(self, name: str) -> "MemoryAccount":
        """See `AccountStore.account`.

        Raises:
            ValueError: ``name`` is no name for an account.
        """
        check_account(name)
        return MemoryAccount(self, name)

    async def accounts(self) -> tuple[AccountRow, ...]:
        """See `AccountStore.accounts`."""
        await self.reach()
        return tuple(self._row(name) for name in sorted(self.records))

    async def beat(self, owner: str) -> Mapping[str, int]:
        """See `AccountStore.beat`."""
        await self.reach()
        if owner in self._beats:
            self.stir(owner)
        self._beats.setdefault(owner, 0)
        self._joined.add(owner)
        return {name: lease.fence for name, lease in sorted(self._leases.items()) if lease.owner == owner}

    async def members(self) -> Mapping[str, int]:
        """See `AccountStore.members`."""
        await self.reach()
        return {owner: self._beats[owner] for owner in sorted(self._joined)}

    async def leave(self, owner: str, beat: int | None = None) -> bool:
        """See `AccountStore.leave`."""
        await self.reach()
        if owner not in self._beats or beat not in (None, self._beats[owner]):
            return False
        del self._beats[owner]
        self._joined.discard(owner)
        for lease in self._leases.values():
            if lease.owner == owner:
                lease.owner = None
        return True

    async def aclose(self) -> None:
        """Nothing to let go of; the accounts stay."""
        await checkpoint()

    # --- for its accounts ---

    async def reach(self) -> None:
        """A checkpoint.

        Raises:
            StoreError: it is `unreachable`.
        """
        await checkpoint()
        if self.unreachable:
            raise StoreError("memory", "cannot be reached (a scripted fault)")

    def stir(self, owner: str) -> None:
        """A sign of life."""
        self._beats[owner] += 1

    def lease_of(self, name: str) -> LeaseRow | None:
        """Who owns an account."""
        lease = self._leases.get(name)
        if lease is None:
            return None
        return LeaseRow(lease.owner, lease.fence, 0 if lease.owner is None else self._beats[lease.owner])

    def give_lease(self, name: str, owner: str) -> int:
        """Make ``owner`` the owner; return the fence."""
        self.records.setdefault(name, MemoryStore())
        lease = self._leases.setdefault(name, _Lease(None, 0))
        lease.owner, lease.fence = owner, lease.fence + 1
        self._beats.setdefault(owner, 0)
        return lease.fence

    def held(self, name: str, fence: int) -> str | None:
        """The owner, if it still is the one with this ``fence``."""
        lease = self._leases.get(name)
        return lease.owner if lease is not None and lease.fence == fence else None

    def end_lease(self, name: str) -> None:
        """Nobody owns it."""
        self._leases[name].owner = None

    def _row(self, name: str) -> AccountRow:
        record = self.records[name].credentials
        return AccountRow(
            name=name,
            user_id=None if record is None else record.identity.user_id,
            paired=record is not None and record.tokens is not None,
            lease=self.lease_of(name),
        )


class MemoryAccount:
    """One account of `MemoryAccounts`: a `CredentialStore` and a `LeaseStore` that keeps messages. Each may act under a
    lease of its own."""

    def __init__(self, accounts: MemoryAccounts, name: str) -> None:
        self.name = name
        self._accounts = accounts
        self._fence: int | None = None

    @property
    def messages(self) -> MessageStore:
        """See `HasMessages`."""
        return _Messages(self, self._accounts)

    async def load(self) -> Credentials | None:
        """See `CredentialStore.load`."""
        await self._accounts.reach()
        record = self._accounts.records.get(self.name)
        return None if record is None else await record.load()

    async def save(self, credentials: Credentials, replaces: int | None) -> int:
        """See `CredentialStore.save`. Not fenced: what the server has handed out is saved by whoever holds it."""
        await self._accounts.reach()
        return await self._record.save(credentials, replaces)

    async def record_intent(self, intent: Intent) -> int:
        """See `CredentialStore.record_intent`."""
        await self._accounts.reach()
        self.check_fence()
        return await self._record.record_intent(intent)

    async def forget(self, refused: str, replaces: int) -> int:
        """See `CredentialStore.forget`."""
        await self._accounts.reach()
        self.check_fence()
        return await self._record.forget(refused, replaces)

    async def remember_device(self, device_id: str) -> None:
        """See `CredentialStore.remember_device`."""
        await self._accounts.reach()
        await self._record.remember_device(device_id)

    async def read_lease(self) -> LeaseRow | None:
        """See `LeaseStore.read_lease`."""
        await self._accounts.reach()
        return self._accounts.lease_of(self.name)

    async def take_lease(self, owner: str, expected: LeaseRow | None) -> int | None:
        """See `LeaseStore.take_lease`."""
        await self._accounts.reach()
        if self._accounts.lease_of(self.name) != expected:
            return None
        self._fence = self._accounts.give_lease(self.name, owner)
        return self._fence

    async def renew_lease(self, fence: int) -> bool:
        """See `LeaseStore.renew_lease`."""
        await self._accounts.reach()
        owner = self._accounts.held(self.name, fence)
        if owner is not None:
            self._accounts.stir(owner)
        return owner is not None

    async def release_lease(self, fence: int) -> None:
        """See `LeaseStore.release_lease`."""
        await self._accounts.reach()
        if self._accounts.held(self.name, fence) is not None:
            self._accounts.end_lease(self.name)
        self._fence = None

    async def aclose(self) -> None:
        """Nothing to let go of."""
        await checkpoint()

    @property
    def _record(self) -> CredentialStore:
        return self._accounts.records.setdefault(self.name, MemoryStore())

    def check_fence(self) -> None:
        """Raise `LeaseLost` if somebody else has taken over."""
        if self._fence is not None and self._accounts.held(self.name, self._fence) is None:
            raise LeaseLost("memory")


class _Messages:
    """The messages of an account, under the lease of its store."""

    def __init__(self, account: MemoryAccount, accounts: MemoryAccounts) -> None:
        self._account = account
        self._accounts = accounts
        self._kept = accounts.kept.setdefault(account.name, MemoryMessageStore())

    async def backlog(self) -> Backlog:
        """See `MessageStore.backlog`."""
        await self._accounts.reach()
        return await self._kept.backlog()

    async def commit(self, changes: Sequence[Change]) -> tuple[Filed, ...]:
        """See `MessageStore.commit`."""
        await self._accounts.reach()
        self._account.check_fence()
        return await self._kept.commit(changes)

    async def aclose(self) -> None:
        """Nothing to let go of."""
        await checkpoint()
