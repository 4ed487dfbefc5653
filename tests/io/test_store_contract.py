"""What every credential store promises, checked on each of ours."""

from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest
from attrs import evolve

from clawproto.credentials import Credentials, Identity, Intent, TokenPair
from clawproto.secret import Secret
from clawproto_io import (
    CredentialStore,
    FaultyStore,
    GenerationConflict,
    MemoryStore,
    SqliteStore,
    adopt,
    new_device_id,
    open_store,
)

pytestmark = pytest.mark.anyio

IDENTITY = Identity(
    user_id="usr_1",
    device_id="claw1",
    base_url="https://hub.example",
    ws_url="wss://hub.example/ws",
    owner_id="usr_0",
    agent_id="agt_1",
    conversation_id="cnv_1",
)


def pair(number: int, refresh: bool = True) -> TokenPair:
    return TokenPair(Secret(f"access-{number}"), Secret(f"refresh-{number}") if refresh else None, 1_000 + number)


def record(generation: int, identity: Identity = IDENTITY) -> Credentials:
    return Credentials(identity, pair(generation), generation)


@pytest.fixture(params=["memory", "faulty", "sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[CredentialStore]:
    kinds: dict[str, Callable[[], CredentialStore]] = {
        "memory": MemoryStore,
        "faulty": lambda: FaultyStore(MemoryStore()),
        "sqlite": lambda: SqliteStore(tmp_path / "claw.db"),
        "postgres": lambda: open_store(request.getfixturevalue("database")),
    }
    made = kinds[request.param]()
    assert isinstance(made, CredentialStore)
    yield made
    await made.aclose()


async def test_an_empty_store_has_no_record(store: CredentialStore) -> None:
    assert await store.load() is None


@pytest.mark.rule("PAIR-9", "DEV-4")
async def test_a_saved_record_comes_back_whole(store: CredentialStore) -> None:
    identity = evolve(IDENTITY, device_id="Exact_Case.and:marks-", socket_device_id="resolved")
    assert await store.save(record(1, identity), replaces=None) == 1
    await store.aclose()
    loaded = await store.load()
    assert loaded is not None
    assert loaded == record(1, identity)
    assert loaded.tokens is not None
    assert loaded.tokens.access.reveal() == "access-1"


@pytest.mark.rule("PAIR-11")
async def test_a_pair_without_a_refresh_token_can_be_stored(store: CredentialStore) -> None:
    saved = Credentials(IDENTITY, pair(1, refresh=False), 1)
    await store.save(saved, replaces=None)
    assert await store.load() == saved


@pytest.mark.rule("REF-49")
async def test_a_save_replaces_the_generation_it_names(store: CredentialStore) -> None:
    await store.save(record(1), replaces=None)
    assert await store.save(record(2), replaces=1) == 2
    assert await store.load() == record(2)


@pytest.mark.rule("REF-49")
@pytest.mark.parametrize("replaces", [None, 1, 3])
async def test_a_save_over_another_generation_is_refused(store: CredentialStore, replaces: int | None) -> None:
    await store.save(record(2), replaces=None)
    with pytest.raises(GenerationConflict) as caught:
        await store.save(Credentials(IDENTITY, pair(9), 9), replaces=replaces)
    assert caught.value.stored == record(2)
    assert await store.load() == record(2)


async def test_a_save_that_expects_a_record_is_refused_by_an_empty_store(store: CredentialStore) -> None:
    with pytest.raises(GenerationConflict) as caught:
        await store.save(record(2), replaces=1)
    assert caught.value.stored is None
    assert await store.load() is None


@pytest.mark.rule("REF-10")
async def test_a_save_whose_report_was_lost_can_be_repeated(store: CredentialStore) -> None:
    await store.save(record(1), replaces=None)
    await store.save(record(2), replaces=1)
    assert await store.save(record(2), replaces=1) == 2
    with pytest.raises(GenerationConflict):  # the same generation, but another pair
        await store.save(Credentials(IDENTITY, pair(9), 2), replaces=1)


async def test_a_generation_has_to_grow(store: CredentialStore) -> None:
    await store.save(record(3), replaces=None)
    with pytest.raises(ValueError, match="generation 3 cannot replace generation 3"):
        await store.save(Credentials(IDENTITY, pair(9), 3), replaces=3)


async def test_a_record_without_a_pair_cannot_be_saved(store: CredentialStore) -> None:
    with pytest.raises(ValueError, match="only a pair"):
        await store.save(Credentials(IDENTITY, None, 1), replaces=None)


@pytest.mark.rule("REF-46")
async def test_an_intent_is_kept_until_the_next_save(store: CredentialStore) -> None:
    intent = Intent("digest", 1, 5_000)
    await store.save(record(1), replaces=None)
    assert await store.record_intent(intent) == 1
    assert await store.load() == evolve(record(1), intent=intent)
    await store.save(record(2), replaces=1)
    assert await store.load() == record(2)


@pytest.mark.rule("REF-46", "REF-49")
async def test_an_intent_for_another_generation_is_refused(store: CredentialStore) -> None:
    with pytest.raises(GenerationConflict):
        await store.record_intent(Intent("digest", 0, 5_000))
    await store.save(record(2), replaces=None)
    with pytest.raises(GenerationConflict) as caught:
        await store.record_intent(Intent("digest", 1, 5_000))
    assert caught.value.stored == record(2)
    await store.forget("digest-of-2", replaces=2)
    with pytest.raises(GenerationConflict):  # there is nothing that could be spent
        await store.record_intent(Intent("digest", 3, 5_000))


@pytest.mark.rule("OUT-2", "OUT-3", "OUT-9")
async def test_forgetting_drops_both_tokens_and_keeps_the_identity(store: CredentialStore) -> None:
    await store.save(record(1), replaces=None)
    await store.record_intent(Intent("digest", 1, 5_000))
    assert await store.forget("refused-digest", replaces=1) == 2
    forgotten = Credentials(IDENTITY, None, 2, None, "refused-digest")
    assert await store.load() == forgotten
    assert await store.forget("refused-digest", replaces=1) == 2  # repeated after a lost report
    assert await store.load() == forgotten


@pytest.mark.rule("REF-49", "REF-45")
async def test_a_newer_pair_is_not_forgotten(store: CredentialStore) -> None:
    with pytest.raises(GenerationConflict):
        await store.forget("refused", replaces=0)
    await store.save(record(2), replaces=None)
    with pytest.raises(GenerationConflict) as caught:
        await store.forget("refused", replaces=1)
    assert caught.value.stored == record(2)
    assert await store.load() == record(2)


@pytest.mark.rule("PAIR-9", "OUT-3")
async def test_pairing_again_starts_from_the_forgotten_record(store: CredentialStore) -> None:
    await store.save(record(1), replaces=None)
    await store.forget("refused", replaces=1)
    with pytest.raises(GenerationConflict) as caught:
        await store.save(record(1), replaces=None)
    assert caught.value.stored is not None and caught.value.stored.generation == 2
    other = evolve(IDENTITY, user_id="usr_2", device_id="claw2")
    await store.save(record(3, other), replaces=2)
    assert await store.load() == record(3, other)


@pytest.mark.rule("HS-23", "DEV-8")
async def test_the_resolved_device_id_is_kept_beside_the_session_device_id(store: CredentialStore) -> None:
    await store.remember_device("early")
    assert await store.load() is None
    await store.save(record(1), replaces=None)
    await store.remember_device("resolved")
    expected = evolve(IDENTITY, socket_device_id="resolved")
    assert await store.load() == record(1, expected)
    await store.save(record(2), replaces=1)  # by a writer that read the record earlier
    assert await store.load() == record(2, expected)
    await store.remember_device(IDENTITY.device_id)
    assert await store.load() == record(2)


@pytest.mark.rule("HS-23")
async def test_the_resolved_device_id_ends_with_its_device(store: CredentialStore) -> None:
    await store.save(record(1), replaces=None)
    await store.remember_device("resolved")
    other = evolve(IDENTITY, device_id="claw2")
    await store.save(record(2, other), replaces=1)
    assert await store.load() == record(2, other)


@pytest.mark.rule("DEV-4", "OUT-3")
async def test_adopting_a_pair_continues_the_record(store: CredentialStore) -> None:
    assert await adopt(store, IDENTITY, pair(1)) == record(1)
    await store.forget(pair(1).access.digest, replaces=1)
    assert await adopt(store, IDENTITY, pair(3)) == record(3)
    assert await store.load() == record(3)


@pytest.mark.rule("PAIR-10")
async def test_adopting_asks_before_it_replaces_another_user(store: CredentialStore) -> None:
    other = evolve(IDENTITY, user_id="usr_2")
    await adopt(store, IDENTITY, pair(1))
    with pytest.raises(ValueError, match="another user, usr_1"):
        await adopt(store, other, pair(2))
    assert await adopt(store, other, pair(2), replace_other=True) == record(2, other)


@pytest.mark.rule("OUT-9")
async def test_adopting_refuses_the_token_that_the_server_refused(store: CredentialStore) -> None:
    await adopt(store, IDENTITY, pair(1))
    await store.forget(pair(1).access.digest, replaces=1)
    with pytest.raises(ValueError, match="refused this very token"):
        await adopt(store, IDENTITY, pair(1))
    loaded = await store.load()
    assert loaded is not None and loaded.tokens is None


@pytest.mark.rule("DEV-3")
@pytest.mark.parametrize("device_id", ["", "  ", "x" * 129, "é" * 65, "a\nb"])
async def test_adopting_refuses_an_unusable_device_id(device_id: str) -> None:
    store = MemoryStore()
    with pytest.raises(ValueError, match="device id"):
        await adopt(store, evolve(IDENTITY, device_id=device_id), pair(1))
    assert store.credentials is None


@pytest.mark.parametrize(
    ("identity", "tokens"),
    [
        (evolve(IDENTITY, user_id=" "), pair(1)),
        (IDENTITY, TokenPair(Secret(" "), None)),
        (IDENTITY, TokenPair(Secret("a"), Secret(""))),
    ],
)
async def test_adopting_refuses_blanks(identity: Identity, tokens: TokenPair) -> None:
    store = MemoryStore()
    with pytest.raises(ValueError, match="blank"):
        await adopt(store, identity, tokens)
    assert store.credentials is None


@pytest.mark.rule("DEV-3")
async def test_new_device_ids_are_plain_and_never_repeat() -> None:
    ids = {new_device_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(device_id.isascii() and device_id.isalnum() and len(device_id) <= 128 for device_id in ids)


async def test_open_store_takes_a_path_or_a_store(tmp_path: Path) -> None:
    memory = MemoryStore()
    assert open_store(memory) is memory
    for path in (tmp_path / "claw.db", str(tmp_path / "claw.db")):
        opened = open_store(path)
        assert isinstance(opened, SqliteStore) and opened.path == tmp_path / "claw.db"
    assert list(tmp_path.iterdir()) == []
