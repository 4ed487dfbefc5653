"""Leases: one owner at a time, a dead one is replaced, a paused one is fenced off."""

import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

import anyio
import pytest
from attrs import evolve

from clawproto.credentials import Credentials, Identity, Intent, TokenPair
from clawproto.secret import Secret
from clawproto_io import CredentialStore, GenerationConflict, MemoryStore, SqliteStore, open_store
from clawproto_io.errors import LeaseLost, StoreError
from clawproto_io.lease import Lease
from clawproto_io.stores.base import LeaseRow, LeaseStore

pytestmark = pytest.mark.anyio
TERM = 0.3  # seconds
RECORD = Credentials(
    Identity("usr_1", "device-1", "https://h", "wss://h/ws"), TokenPair(Secret("a1"), Secret("r1"), 5), 1
)


@runtime_checkable
class LeasableStore(CredentialStore, LeaseStore, Protocol):
    pass


Opener: TypeAlias = Callable[[], Awaitable[LeasableStore]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


@pytest.fixture(params=["sqlite", "postgres"])
async def opened(request: pytest.FixtureRequest, path: Path) -> AsyncGenerator[Opener]:
    """Opens the store once more; all are closed in the end."""
    stores: list[LeasableStore] = []
    address = request.getfixturevalue("database") if request.param == "postgres" else path

    async def another() -> LeasableStore:
        store = open_store(address)
        assert isinstance(store, LeasableStore)
        stores.append(store)
        if await stores[-1].load() is None:
            await stores[-1].save(RECORD, None)
        return stores[-1]

    yield another
    for store in stores:
        await store.aclose()


def test_which_stores_have_leases(path: Path) -> None:
    assert isinstance(SqliteStore(path), LeaseStore)
    assert not isinstance(MemoryStore(), LeaseStore)
    with pytest.raises(ValueError, match="positive"):
        Lease(SqliteStore(path), 0)


async def test_a_free_lease_is_taken_at_once_also_in_a_new_file(path: Path) -> None:
    store = SqliteStore(path)
    assert await store.read_lease() is None and not path.exists()
    lease = Lease(store, TERM)
    with anyio.fail_after(5):
        await lease.acquire()
    row = await store.read_lease()
    assert row is not None and (row.owner, row.fence, row.beat) == (lease.owner, 1, 0)
    await lease.release()
    row = await store.read_lease()
    assert row is not None and (row.owner, row.fence) == (None, 1)
    await lease.release()
    await store.aclose()


async def test_the_next_one_waits_while_the_owner_lives_and_comes_in_when_it_leaves(opened: Opener) -> None:
    first, second = Lease(await opened(), TERM), Lease(await opened(), TERM)
    await first.acquire()
    entered = anyio.Event()

    async def enter() -> None:
        await second.acquire()
        entered.set()

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first.keep)
            tasks.start_soon(enter)
            await anyio.sleep(TERM * 4)
            assert not entered.is_set()
            await first.release()
            await entered.wait()
            tasks.cancel_scope.cancel()


async def test_an_owner_that_shows_no_sign_of_life_is_replaced_and_learns_of_it(opened: Opener) -> None:
    first, second = Lease(await opened(), TERM), Lease(await opened(), TERM)
    await first.acquire()
    began = anyio.current_time()
    with anyio.fail_after(20):
        await second.acquire()
        assert anyio.current_time() - began >= TERM
        await first.keep()  # returns: it has been replaced
        await first.release()  # and gives nothing back that it does not have
    store = await opened()
    row = await store.read_lease()
    assert row is not None and (row.owner, row.fence) == (second.owner, 2)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells enough about processes")
async def test_an_owner_whose_process_is_gone_is_replaced_at_once(opened: Opener) -> None:
    code = "from clawproto_io.owners import new_owner; print(new_owner())"
    done = await anyio.run_process(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    store = await opened()
    assert await store.take_lease(done.stdout.decode().strip(), None) == 1
    lease = Lease(await opened(), 3600)
    with anyio.fail_after(20):
        await lease.acquire()
    row = await store.read_lease()
    assert row is not None and (row.owner, row.fence) == (lease.owner, 2)
    with pytest.raises(LeaseLost):
        await store.record_intent(Intent("digest", 1, 5))


async def test_a_fenced_owner_can_begin_nothing_and_lose_nothing(opened: Opener) -> None:
    old, new = await opened(), await opened()
    first, second = Lease(old, TERM), Lease(new, TERM)
    await first.acquire()
    await old.record_intent(Intent("digest", 1, 5))
    await second.acquire()
    with pytest.raises(LeaseLost):
        await old.record_intent(Intent("digest", 1, 5))
    with pytest.raises(LeaseLost):
        await old.forget("digest", 1)
    fresh = evolve(RECORD, tokens=TokenPair(Secret("a2"), Secret("r2"), 6), generation=2)
    await old.save(fresh, 1)  # the server had handed it out, and nobody else has rotated
    assert await new.load() == fresh
    await new.record_intent(Intent("digest", 2, 7))
    newer = evolve(RECORD, tokens=TokenPair(Secret("a3"), Secret("r3"), 8), generation=3)
    await new.save(newer, 2)
    with pytest.raises(GenerationConflict):
        await old.save(evolve(fresh, generation=3), 2)
    assert await new.load() == newer


class Unreadable:
    """A store with leases that fails on command."""

    def __init__(self, inner: LeaseStore) -> None:
        self.inner = inner
        self.failing = False

    async def read_lease(self) -> LeaseRow | None:
        if self.failing:
            raise StoreError("somewhere", "cannot be reached")
        return await self.inner.read_lease()

    async def take_lease(self, owner: str, expected: LeaseRow | None) -> int | None:
        return await self.inner.take_lease(owner, expected)

    async def renew_lease(self, fence: int) -> bool:
        return await self.inner.renew_lease(fence)

    async def release_lease(self, fence: int) -> None:
        await self.inner.release_lease(fence)


async def test_who_waits_outlives_a_store_that_is_away(opened: Opener) -> None:
    await Lease(await opened(), TERM).acquire()
    store = Unreadable(await opened())
    store.failing = True
    lease = Lease(store, TERM)
    with pytest.raises(StoreError):
        await lease.acquire()
    store.failing = False
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lease.acquire)
            await anyio.sleep(TERM * 0.7)
            store.failing = True
            await anyio.sleep(TERM * 0.7)
            row = await store.inner.read_lease()
            assert row is not None and row.owner != lease.owner, "nothing is taken unseen"
            store.failing = False
    row = await store.read_lease()
    assert row is not None and row.owner == lease.owner


async def test_a_cancelled_wait_leaves_nothing_behind(opened: Opener) -> None:
    first, second = Lease(await opened(), TERM), Lease(await opened(), TERM)
    await first.acquire()
    with anyio.move_on_after(TERM / 2) as scope:
        await second.acquire()
    assert scope.cancelled_caught
    await first.release()
    with anyio.fail_after(5):
        await second.acquire()


async def test_of_eight_that_wait_one_comes_in_after_the_other(opened: Opener) -> None:
    inside, most, order = 0, 0, list[str]()

    async def visit(lease: Lease) -> None:
        nonlocal inside, most
        await lease.acquire()
        inside += 1
        most = max(most, inside)
        order.append(lease.owner)
        await anyio.sleep(0.01)
        inside -= 1
        await lease.release()

    leases = [Lease(await opened(), TERM) for _ in range(8)]
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for lease in leases:
                tasks.start_soon(visit, lease)
    assert most == 1 and sorted(order) == sorted(lease.owner for lease in leases)
    row = await (await opened()).read_lease()
    assert row is not None and row.fence == 8
