"""Tokens at rest: encrypted under a key that is kept elsewhere."""

import base64
import sqlite3
import traceback
from pathlib import Path

import keyring
import pytest
from attrs import evolve
from keyring.backend import KeyringBackend

from clawproto.credentials import Credentials, Identity, TokenPair
from clawproto.secret import Secret
from clawproto_io import SqliteStore, StoreError, StoreKey
from clawproto_io.stores import sealing
from clawproto_io.stores.sealing import UnsealableError, is_sealed

pytestmark = pytest.mark.anyio
ACCESS, REFRESH = "access-token-in-plain-text", "refresh-token-in-plain-text"
RECORD = Credentials(
    Identity("usr_1", "device-1", "https://h", "wss://h/ws"), TokenPair(Secret(ACCESS), Secret(REFRESH), 5), 1
)
KEY, OTHER = StoreKey(b"k" * 32), StoreKey(b"o" * 32)


def bytes_of(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


def plain_in(path: Path) -> bool:
    content = bytes_of(path)
    return ACCESS.encode() in content or REFRESH.encode() in content


async def written(path: Path, key: StoreKey | None) -> None:
    store = SqliteStore(path, key=key)
    await store.save(RECORD, None)
    await store.aclose()


async def load(path: Path, key: StoreKey | None) -> Credentials | None:
    store = SqliteStore(path, key=key)
    try:
        return await store.load()
    finally:
        await store.aclose()


async def test_no_token_is_in_the_file_and_the_key_brings_them_back(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    await written(path, KEY)
    assert not plain_in(path) and b"usr_1" in bytes_of(path)
    assert await load(path, KEY) == RECORD
    await written(tmp_path / "plain.db", None)
    assert plain_in(tmp_path / "plain.db"), "the search finds what is there"


@pytest.mark.parametrize("key", [None, OTHER])
async def test_without_the_key_nothing_is_read_and_nothing_lost(tmp_path: Path, key: StoreKey | None) -> None:
    path = tmp_path / "a.db"
    await written(path, KEY)
    before = bytes_of(path)
    store = SqliteStore(path, key=key)
    for attempt in (store.load(), store.save(evolve(RECORD, generation=2), 1), store.forget("digest", 1)):
        with pytest.raises(StoreError, match="encrypted") as caught:
            await attempt
        text = "".join(traceback.format_exception(caught.value))
        assert "sealed:" not in text and ACCESS not in text
    await store.aclose()
    assert await load(path, KEY) == RECORD
    assert before


async def test_plain_tokens_are_read_and_encrypted_with_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    await written(path, None)
    store = SqliteStore(path, key=KEY)
    assert await store.load() == RECORD
    fresh = evolve(RECORD, tokens=TokenPair(Secret("next-access"), Secret("next-refresh"), 6), generation=2)
    await store.save(fresh, 1)
    await store.aclose()
    assert b"next-access" not in bytes_of(path) and b"next-refresh" not in bytes_of(path)
    assert await load(path, KEY) == fresh


async def test_a_sealed_value_opens_in_its_own_place_only(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    await written(path, KEY)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE credentials SET access_token = refresh_token")
    connection.close()
    with pytest.raises(StoreError, match="access_token is encrypted, and this key does not open it"):
        await load(path, KEY)


def test_sealing_is_never_the_same_twice_and_tells_of_tampering() -> None:
    one, two = KEY.seal("token", "c"), KEY.seal("token", "c")
    assert one != two and is_sealed(one) and not is_sealed("token")
    assert KEY.unseal(one, "c") == KEY.unseal(two, "c") == "token"
    raw = bytearray(base64.b64decode(one.removeprefix(sealing.PREFIX)))
    raw[-1] ^= 1
    for spoiled in (sealing.PREFIX + base64.b64encode(bytes(raw)).decode(), one[:-4], sealing.PREFIX, one + "!"):
        with pytest.raises(UnsealableError) as caught:
            KEY.unseal(spoiled, "c")
        assert caught.value.__cause__ is None and caught.value.__context__ is None
    with pytest.raises(UnsealableError):
        KEY.unseal(one, "d")
    for odd in ("", "\ud83d", "ü" * 1000):
        assert KEY.unseal(KEY.seal(odd, "c"), "c") == odd


def test_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    text = StoreKey.generate()
    assert text != StoreKey.generate() and text not in repr(StoreKey.from_text(text))
    for bad in ("", "x", "=" * 44, base64.b64encode(b"x" * 31).decode(), text + "x", "ü" * 43):
        with pytest.raises(ValueError, match="32 bytes") as caught:
            StoreKey.from_text(bad)
        assert not bad or bad not in str(caught.value)
    with pytest.raises(ValueError):
        StoreKey(b"short")
    monkeypatch.delenv(sealing.ENVIRONMENT_NAME, raising=False)
    assert StoreKey.from_environment() is None
    monkeypatch.setenv(sealing.ENVIRONMENT_NAME, f" {text}\n")
    key = StoreKey.from_environment()
    assert key is not None and key.unseal(StoreKey.from_text(text).seal("t", "c"), "c") == "t"


def test_the_keyring_keeps_a_key() -> None:
    class Shelf(KeyringBackend):
        priority = 1  # pyright: ignore[reportAssignmentType]
        kept: dict[tuple[str, str], str] = {}  # noqa: RUF012

        def get_password(self, service: str, username: str) -> str | None:
            return self.kept.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            self.kept[service, username] = password

        def delete_password(self, service: str, username: str) -> None:
            del self.kept[service, username]

    before = keyring.get_keyring()
    keyring.set_keyring(Shelf())  # type: ignore[no-untyped-call]
    try:
        with pytest.raises(ValueError, match="no key called"):
            StoreKey.from_keyring("agent", create=False)
        sealed = StoreKey.from_keyring("agent").seal("t", "c")
        assert StoreKey.from_keyring("agent", create=False).unseal(sealed, "c") == "t"
        assert list(Shelf.kept) == [("clawproto", "agent")]
        with pytest.raises(UnsealableError):
            StoreKey.from_keyring("other").unseal(sealed, "c")
    finally:
        keyring.set_keyring(before)
