"""Where credentials and messages are kept."""

from typing import TYPE_CHECKING

from clawproto.lazy_names import lazy_names

if TYPE_CHECKING:
    from clawproto_io.stores.base import AccountStore, CredentialStore, LeaseStore, MessageArchive, MessageStore
    from clawproto_io.stores.memory import FaultyStore, MemoryStore
    from clawproto_io.stores.memory_accounts import MemoryAccounts
    from clawproto_io.stores.memory_messages import MemoryMessageStore
    from clawproto_io.stores.places import open_accounts, open_store, place_of
    from clawproto_io.stores.retention import Retention
    from clawproto_io.stores.sealing import StoreKey
    from clawproto_io.stores.sqlite import SqliteStore
    from clawproto_io.stores.sqlite_accounts import SqliteAccounts
else:
    __getattr__, __dir__ = lazy_names(
        globals(),
        {
            "clawproto_io.stores.base": "AccountStore CredentialStore LeaseStore MessageArchive MessageStore",
            "clawproto_io.stores.memory": "FaultyStore MemoryStore",
            "clawproto_io.stores.memory_accounts": "MemoryAccounts",
            "clawproto_io.stores.memory_messages": "MemoryMessageStore",
            "clawproto_io.stores.places": "open_accounts open_store place_of",
            "clawproto_io.stores.retention": "Retention",
            "clawproto_io.stores.sealing": "StoreKey",
            "clawproto_io.stores.sqlite": "SqliteStore",
            "clawproto_io.stores.sqlite_accounts": "SqliteAccounts",
        },
    )

__all__ = [
    "AccountStore",
    "CredentialStore",
    "FaultyStore",
    "LeaseStore",
    "MemoryAccounts",
    "MemoryMessageStore",
    "MemoryStore",
    "MessageArchive",
    "MessageStore",
    "Retention",
    "SqliteAccounts",
    "SqliteStore",
    "StoreKey",
    "open_accounts",
    "open_store",
    "place_of",
]
