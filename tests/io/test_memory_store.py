"""The scripted failures of the stores for tests."""

import anyio
import pytest

from clawproto.credentials import Credentials, Identity, Intent, TokenPair
from clawproto.secret import Secret
from clawproto_io import FaultyStore, MemoryStore, StoreError

pytestmark = pytest.mark.anyio

IDENTITY = Identity("usr_1", "claw1", "https://hub.example", "wss://hub.example/ws")
FIRST = Credentials(IDENTITY, TokenPair(Secret("a1"), Secret("r1")), 1)
SECOND = Credentials(IDENTITY, TokenPair(Secret("a2"), Secret("r2")), 2)


async def test_scripted_failures_change_nothing_and_run_out() -> None:
    store = MemoryStore(FIRST)
    store.fail_next_saves(3)
    with pytest.raises(StoreError, match="disk is full"):
        await store.save(SECOND, replaces=1)
    with pytest.raises(StoreError):
        await store.record_intent(Intent("digest", 1, 0))
    with pytest.raises(StoreError):
        await store.forget("digest", replaces=1)
    assert store.credentials == FIRST and store.saves == 0
    assert await store.save(SECOND, replaces=1) == 2
    assert store.credentials == SECOND and store.saves == 1


async def test_the_scripted_error_can_be_chosen() -> None:
    store = MemoryStore(FIRST)
    error = StoreError("elsewhere", "gone")
    store.fail_next_saves(1, error)
    with pytest.raises(StoreError) as caught:
        await store.remember_device("resolved")
    assert caught.value is error and caught.value.place == "elsewhere"


async def test_a_cancelled_save_writes_nothing() -> None:
    store = MemoryStore(FIRST)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await store.save(SECOND, replaces=1)
    assert scope.cancelled_caught and store.credentials == FIRST


async def test_a_full_disk_fails_every_write_until_there_is_room() -> None:
    inner = MemoryStore(FIRST)
    store = FaultyStore(inner)
    store.full = True
    for _ in range(3):
        with pytest.raises(StoreError, match="disk is full"):
            await store.save(SECOND, replaces=1)
    with pytest.raises(StoreError):
        await store.remember_device("resolved")
    assert await store.load() == FIRST
    store.full = False
    assert await store.save(SECOND, replaces=1) == 2


async def test_an_unreadable_store() -> None:
    store = FaultyStore(MemoryStore(FIRST))
    store.unreadable = True
    with pytest.raises(StoreError, match="cannot be read"):
        await store.load()


@pytest.mark.rule("REF-10")
async def test_a_lost_report_leaves_the_record_written_and_the_repetition_succeeds() -> None:
    store = FaultyStore(MemoryStore(FIRST))
    store.lost_reports = 1
    with pytest.raises(StoreError, match="after the write"):
        await store.save(SECOND, replaces=1)
    assert await store.load() == SECOND
    assert await store.save(SECOND, replaces=1) == 2
