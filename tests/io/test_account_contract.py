"""What every store of many accounts promises, checked on each of ours."""

from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

import anyio
import pytest
from attrs import evolve

from clawproto.credentials import Credentials, Identity, Intent, TokenPair
from clawproto.secret import Secret
from clawproto_io import AccountStore, GenerationConflict, open_accounts
from clawproto_io.errors import LeaseLost
from clawproto_io.lease import Lease
from clawproto_io.stores.base import AccountRow, LeaseRow, LeaseStore
from clawproto_io.stores.memory_accounts import MemoryAccounts

pytestmark = pytest.mark.anyio


def record(user_id: str, generation: int = 1) -> Credentials:
    identity = Identity(user_id, f"device-of-{user_id}", "https://h", "wss://h/ws")
    return Credentials(identity, TokenPair(Secret(f"{user_id}-a{generation}"), None), generation)


def leases(accounts: AccountStore, name: str) -> LeaseStore:
    store = accounts.account(name)
    assert isinstance(store, LeaseStore)
    return store


@runtime_checkable
class ClosableAccounts(AccountStore, Protocol):
    async def aclose(self) -> None: ...


@pytest.fixture(params=["sqlite", "postgres", "memory"])
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Callable[[], AccountStore]]:
    """Opens the same store once more, as another process would; all are closed in the end."""
    made: list[ClosableAccounts] = []
    database = request.getfixturevalue("database") if request.param == "postgres" else None
    address = database or f"sqlite://{tmp_path / 'claw.db'}"

    memory = MemoryAccounts()

    def another() -> AccountStore:
        if request.param == "memory":
            return memory
        accounts = open_accounts(address)
        assert isinstance(accounts, ClosableAccounts)
        made.append(accounts)
        return accounts

    yield another
    for store in made:
        await store.aclose()


@pytest.fixture
def accounts(opened: Callable[[], AccountStore]) -> AccountStore:
    return opened()


async def test_an_empty_store_has_nobody(accounts: AccountStore) -> None:
    assert await accounts.accounts() == ()
    assert await accounts.members() == {}
    assert await accounts.account("a").load() is None
    assert await leases(accounts, "a").read_lease() is None
    assert await accounts.accounts() == (), "reading makes no account"


async def test_accounts_do_not_see_each_other(accounts: AccountStore) -> None:
    first, second = accounts.account("first"), accounts.account("second")
    await first.save(record("usr_1"), None)
    assert await second.load() is None
    await second.save(record("usr_2", 5), None)
    await first.record_intent(Intent("digest", 1, 7))
    with pytest.raises(GenerationConflict):
        await first.save(record("usr_1", 6), 5)
    await second.forget("refused", 5)
    await first.remember_device("resolved")
    loaded = await accounts.account("first").load()
    assert loaded == evolve(
        record("usr_1"),
        intent=Intent("digest", 1, 7),
        identity=evolve(record("usr_1").identity, socket_device_id="resolved"),
    )
    assert await accounts.accounts() == (
        AccountRow("first", "usr_1", True, None),
        AccountRow("second", "usr_2", False, None),
    )


async def test_closing_an_account_closes_nothing_that_others_use(accounts: AccountStore) -> None:
    first, second = accounts.account("first"), accounts.account("second")
    await first.save(record("usr_1"), None)
    await first.aclose()
    await second.save(record("usr_2"), None)
    assert await first.load() == record("usr_1")


@pytest.mark.parametrize("name", ["", " ", " a", "a ", "a\nb", "\x00", "x" * 129])
async def test_what_cannot_be_the_name_of_an_account(accounts: AccountStore, name: str) -> None:
    with pytest.raises(ValueError, match="1 to 128 printable characters"):
        accounts.account(name)


async def test_names_are_compared_exactly(accounts: AccountStore) -> None:
    names = ["A", "a", "é", "x" * 128, "weird'; DROP TABLE accounts --", "Ä b"]
    for number, name in enumerate(names):
        await accounts.account(name).save(record(f"usr_{number}"), None)
    assert [row.name for row in await accounts.accounts()] == sorted(names)
    for number, name in enumerate(names):
        assert await accounts.account(name).load() == record(f"usr_{number}")


# --- leases and members --------------------------------------------------------------------------------------------


async def test_the_beat_of_a_lease_is_that_of_its_owner(accounts: AccountStore) -> None:
    one, two = leases(accounts, "one"), leases(accounts, "two")
    assert await accounts.beat("machine-1") == {}
    assert await accounts.members() == {"machine-1": 0}
    assert await one.take_lease("machine-1", None) == 1
    assert await two.take_lease("machine-1", None) == 1
    assert await one.read_lease() == await two.read_lease() == LeaseRow("machine-1", 1, 0)
    assert await accounts.beat("machine-1") == {"one": 1, "two": 1}
    assert await one.read_lease() == await two.read_lease() == LeaseRow("machine-1", 1, 1)
    assert await one.renew_lease(1)
    assert await two.read_lease() == LeaseRow("machine-1", 1, 2)
    assert (await accounts.accounts())[0] == AccountRow("one", None, False, LeaseRow("machine-1", 1, 2))


async def test_a_lease_is_taken_if_owner_fence_and_beat_are_as_expected(accounts: AccountStore) -> None:
    lease = leases(accounts, "one")
    await lease.take_lease("a", None)
    for wrong in (None, LeaseRow("a", 1, 1), LeaseRow("a", 2, 0), LeaseRow("b", 1, 0), LeaseRow(None, 1, 0)):
        assert await lease.take_lease("c", wrong) is None
    assert await lease.read_lease() == LeaseRow("a", 1, 0)
    assert await lease.take_lease("c", LeaseRow("a", 1, 0)) == 2
    assert not await lease.renew_lease(1)
    await lease.release_lease(1)
    assert await lease.read_lease() == LeaseRow("c", 2, 0)
    await lease.release_lease(2)
    assert await lease.read_lease() == LeaseRow(None, 2, 0)
    assert not await lease.renew_lease(2)
    assert await lease.take_lease("d", LeaseRow(None, 2, 0)) == 3


async def test_who_owns_one_session_is_a_member_only_if_it_has_joined(accounts: AccountStore) -> None:
    lease = leases(accounts, "one")
    await lease.take_lease("alone", None)
    assert await accounts.members() == {}
    await accounts.beat("fleet")
    await lease.release_lease(1)
    await lease.take_lease("fleet", LeaseRow(None, 1, 0))
    await lease.release_lease(2)
    assert await accounts.members() == {"fleet": 0}, "who has joined stays, whatever it owns"


async def test_leaving_gives_everything_back(accounts: AccountStore) -> None:
    await accounts.beat("a")
    await accounts.beat("b")
    for name, owner in (("one", "a"), ("two", "a"), ("three", "b")):
        await leases(accounts, name).take_lease(owner, None)
    assert await accounts.leave("a")
    assert [row.lease for row in await accounts.accounts()] == [
        LeaseRow(None, 1, 0),
        LeaseRow("b", 1, 0),
        LeaseRow(None, 1, 0),
    ]
    assert await accounts.members() == {"b": 0}
    assert not await accounts.leave("a")
    assert await accounts.beat("a") == {}, "whoever comes back begins with nothing"


async def test_a_dead_member_is_swept_out_only_while_its_beat_stands_still(
    opened: Callable[[], AccountStore],
) -> None:
    paused, sweeper = opened(), opened()
    await paused.beat("paused")
    await paused.account("one").save(record("usr_1"), None)
    lease = leases(paused, "one")
    await lease.take_lease("paused", None)
    seen = (await sweeper.members())["paused"]
    await paused.beat("paused")
    assert not await sweeper.leave("paused", seen), "it lives"
    assert await sweeper.leave("paused", seen + 1)
    assert await paused.beat("paused") == {}, "it learns of it"
    assert not await lease.renew_lease(1)


@pytest.mark.rule("REF-49")
async def test_a_member_that_was_swept_out_can_begin_nothing(opened: Callable[[], AccountStore]) -> None:
    old, new = opened(), opened()
    store = old.account("one")
    await store.save(record("usr_1"), None)
    assert isinstance(store, LeaseStore)
    await store.take_lease("old", None)
    await store.record_intent(Intent("digest", 1, 5))
    await new.leave("old")
    with pytest.raises(LeaseLost):
        await store.record_intent(Intent("digest", 1, 5))
    await leases(new, "one").take_lease("new", LeaseRow(None, 1, 0))
    with pytest.raises(LeaseLost):
        await store.forget("digest", 1)
    await store.save(record("usr_1", 2), 1)  # handed out by the server before, and nobody else has rotated
    assert await new.account("one").load() == record("usr_1", 2)


async def test_of_many_that_want_one_account_one_gets_it(opened: Callable[[], AccountStore]) -> None:
    fences: list[int | None] = []
    stores = [opened() for _ in range(4)]

    async def take(number: int) -> None:
        fences.append(await leases(stores[number % 4], "one").take_lease(f"member-{number}", None))

    async with anyio.create_task_group() as tasks:
        for number in range(16):
            tasks.start_soon(take, number)
    assert sorted(fence or 0 for fence in fences) == [0] * 15 + [1]


async def test_a_session_can_be_held_alone_beside_the_members(opened: Callable[[], AccountStore]) -> None:
    accounts = opened()
    await accounts.beat("fleet")
    lease = Lease(leases(accounts, "one"), 0.2)
    await lease.acquire()
    with anyio.fail_after(20):
        rival = Lease(leases(opened(), "one"), 0.2)
        await rival.acquire()
    assert await accounts.beat("fleet") == {} and await accounts.members() == {"fleet": 1}
    await rival.release()


async def test_two_hundred_accounts_at_once(accounts: AccountStore) -> None:
    async def pair(number: int) -> None:
        store = accounts.account(f"agent-{number}")
        await store.save(record(f"usr_{number}"), None)
        assert isinstance(store, LeaseStore)
        await store.take_lease("fleet", None)
        assert await store.load() == record(f"usr_{number}")

    async with anyio.create_task_group() as tasks:
        for number in range(200):
            tasks.start_soon(pair, number)
    owned = await accounts.beat("fleet")
    assert len(owned) == len(await accounts.accounts()) == 200 and set(owned.values()) == {1}
