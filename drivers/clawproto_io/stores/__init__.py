"""Where credentials are kept."""

import os

from clawproto_io.stores.base import CredentialStore
from clawproto_io.stores.memory import FaultyStore, MemoryStore
from clawproto_io.stores.memory_messages import MemoryMessageStore
from clawproto_io.stores.sealing import StoreKey
from clawproto_io.stores.sqlite import SqliteStore

__all__ = [
    "CredentialStore",
    "FaultyStore",
    "MemoryMessageStore",
    "MemoryStore",
    "SqliteStore",
    "StoreKey",
    "open_store",
]


def open_store(store: CredentialStore | str | os.PathLike[str]) -> CredentialStore:
    """``store`` itself, or an `SqliteStore` if it is a path. Nothing is opened or created yet."""
    return SqliteStore(store) if isinstance(store, str | os.PathLike) else store
