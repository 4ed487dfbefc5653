"""Where a store is: a path, or an address.

agent.db                          an SQLite file
sqlite:///var/lib/claw/agents.db  an SQLite file, by its absolute path
postgresql://user@host/database   PostgreSQL; needs the extra clawproto[postgres]
"""

import os
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

from clawproto_io.stores.base import DEFAULT_ACCOUNT, AccountStore, CredentialStore
from clawproto_io.stores.sealing import Sealer
from clawproto_io.stores.sqlite import SqliteStore
from clawproto_io.stores.sqlite_accounts import SqliteAccounts

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_POSTGRES = ("postgresql", "postgres")


def open_store(
    store: CredentialStore | str | os.PathLike[str], account: str | None = None, *, key: Sealer | None = None
) -> CredentialStore:
    """``store`` itself, or the store that a path or an address names. Nothing is opened or created yet.

    Args:
        account: which account of it; ``default`` if none is named.
        key: encrypts the token columns, see `StoreKey`.

    Raises:
        ValueError: an address that cannot be understood, no name for an account, or ``account`` and ``key`` beside a
            store that has been made already.
        ModuleNotFoundError: the extra that the address needs is not installed.
    """
    if not isinstance(store, str | os.PathLike):
        if account is not None or key is not None:
            raise ValueError("account and key belong to a path or an address; this store is made already")
        return store
    name = DEFAULT_ACCOUNT if account is None else account
    found = sqlite_file(store)
    if found is not None:
        return SqliteStore(found, name, key=key)
    made: CredentialStore = _postgres().PostgresStore(store, name, key=key)
    return made


def open_accounts(store: AccountStore | str | os.PathLike[str], *, key: Sealer | None = None) -> AccountStore:
    """``store`` itself, or the accounts in the store that a path or an address names. Nothing is opened or created yet.

    Raises:
        ValueError, ModuleNotFoundError: as `open_store`.
    """
    if not isinstance(store, str | os.PathLike):
        if key is not None:
            raise ValueError("key belongs to a path or an address; this store is made already")
        return store
    found = sqlite_file(store)
    if found is not None:
        return SqliteAccounts(found, key=key)
    made: AccountStore = _postgres().PostgresAccounts(store, key=key)
    return made


def place_of(store: str | os.PathLike[str]) -> str:
    """How a path or an address may be shown: never with a password, wherever it was put."""
    text = os.fspath(store)
    scheme = scheme_of(text)
    if scheme is None:
        return text
    try:
        parts = urlsplit(text)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return f"{scheme}://…"
    if "@" in parts.path:  # a password that was not encoded
        return f"{scheme}://…"
    user = "" if parts.username is None else f"{parts.username}@"
    return f"{scheme}://{user}{parts.hostname or ''}{port}{parts.path}"


def scheme_of(store: str | os.PathLike[str]) -> str | None:
    """The scheme of an address, in small letters; None for a path."""
    found = _SCHEME.match(store) if isinstance(store, str) else None
    return None if found is None else found[1].lower()


def sqlite_file(store: str | os.PathLike[str]) -> Path | None:
    """The SQLite file; None for an address of PostgreSQL."""
    scheme = scheme_of(store)
    if scheme is None:
        return Path(store)
    if scheme in _POSTGRES:
        return None
    if scheme != "sqlite":
        raise ValueError(f"there is no store of the kind {scheme}://; use a path, sqlite:/// or postgresql://")
    parts = urlsplit(os.fspath(store))
    path = unquote(parts.path)
    if parts.netloc or parts.query or parts.fragment or not path.strip("/"):
        raise ValueError("an SQLite file is named like sqlite:///var/lib/agents.db, with three slashes; encode ? and #")
    return Path(path)


def _postgres() -> ModuleType:
    missing = ""
    try:
        return import_module("clawproto_io.stores.postgres")
    except ModuleNotFoundError as error:
        missing = error.name or ""
    if missing.partition(".")[0] not in ("clawproto_io", "psycopg"):
        raise ModuleNotFoundError(f"no module named {missing!r}", name=missing)
    raise ModuleNotFoundError("install clawproto[postgres] for stores in PostgreSQL", name=missing)
