"""Where credentials and messages are kept."""

from clawproto_io.stores.base import AccountStore, CredentialStore, LeaseStore, MessageArchive, MessageStore
from clawproto_io.stores.memory import FaultyStore, MemoryStore
from clawproto_io.stores.memory_accounts import MemoryAccounts
from clawproto_io.stores.memory_messages import MemoryMessageStore
from clawproto_io.stores.places import open_accounts, open_store, place_of
from clawproto_io.stores.retention import Retention
from clawproto_io.stores.sealing import StoreKey
from clawproto_io.stores.sqlite import SqliteStore
from clawproto_io.stores.sqlite_accounts import SqliteAccounts

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
