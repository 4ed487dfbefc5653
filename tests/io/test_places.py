"""Paths and addresses of stores."""

import sys
from pathlib import Path

import pytest

from clawproto_io import MemoryStore, SqliteAccounts, SqliteStore, StoreKey, open_accounts, open_store
from clawproto_io.stores import place_of

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("sqlite:///var/lib/claw/agents.db", "/var/lib/claw/agents.db"),
        ("SQLite:///a%20b%3F.db", "/a b?.db"),
        ("/var/a.db", "/var/a.db"),
    ],
)
def test_addresses_and_paths_of_files(address: str, path: str) -> None:
    store, accounts = open_store(address, "sales"), open_accounts(address)
    assert isinstance(store, SqliteStore) and isinstance(accounts, SqliteAccounts)
    assert store.path == accounts.path == Path(path).resolve() and store.account == "sales"
    assert repr(store) == f"SqliteStore({path!r}, 'sales')" and repr(accounts) == f"SqliteAccounts({path!r})"


def test_a_relative_path_and_the_default_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("claw.db")
    assert isinstance(store, SqliteStore)
    assert (store.path, store.account) == (tmp_path / "claw.db", "default")
    assert repr(store) == f"SqliteStore({str(tmp_path / 'claw.db')!r})"


@pytest.mark.parametrize(
    "address",
    ["sqlite://agents.db", "sqlite://host/agents.db", "sqlite:///", "sqlite:///a.db?mode=ro", "sqlite:///a.db#x"],
)
def test_addresses_that_name_no_file(address: str) -> None:
    for opening in (open_store, open_accounts):
        with pytest.raises(ValueError, match="with three slashes"):
            opening(address)


def test_kinds_of_stores_that_there_are_not() -> None:
    for opening in (open_store, open_accounts):
        with pytest.raises(ValueError, match="no store of the kind redis://; use a path, sqlite:/// or") as caught:
            opening(f"redis://me:{SECRET}@host/0")
        assert SECRET not in str(caught.value)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)  # as if it were not installed
    for name in [name for name in sys.modules if name.startswith("clawproto_io.stores.postgres")]:
        monkeypatch.delitem(sys.modules, name)
    for opening in (open_store, open_accounts):
        with pytest.raises(ModuleNotFoundError, match=r"install clawproto\[postgres\]") as caught:
            opening(f"postgresql://me:{SECRET}@host/claw")
        assert SECRET not in str(caught.value)


def test_a_store_that_is_made_already_is_passed_on() -> None:
    memory, accounts = MemoryStore(), SqliteAccounts("a.db")
    assert open_store(memory) is memory and open_accounts(accounts) is accounts
    key = StoreKey(b"k" * 32)
    with pytest.raises(ValueError, match="made already"):
        open_store(memory, "sales")
    with pytest.raises(ValueError, match="made already"):
        open_store(memory, key=key)
    with pytest.raises(ValueError, match="made already"):
        open_accounts(accounts, key=key)
    with pytest.raises(ValueError, match="printable"):
        open_store("a.db", "")


@pytest.mark.rule("AUTH-9")
@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:hunter2@host:5432/claw", "postgresql://me@host:5432/claw"),
        ("postgresql://me:hunter2@host/claw?password=hunter2", "postgresql://me@host/claw"),
        ("postgresql:///claw?user=me&password=hunter2@x", "postgresql:///claw"),
        ("postgresql://me:x/hunter2@host/claw", "postgresql://…"),
        ("postgresql://me:x?hunter2@host/claw", "postgresql://…"),
        ("postgresql://me:x#hunter2@host/claw", "postgresql://…"),
        ("postgresql://me:5?hunter2@host/claw", "postgresql://me:5"),
        ("postgresql://host/claw", "postgresql://host/claw"),
        ("agents.db", "agents.db"),
        ("sqlite:///a.db", "sqlite:///a.db"),
    ],
)
def test_how_a_place_is_shown(address: str, shown: str) -> None:
    assert place_of(address) == shown and SECRET not in shown
