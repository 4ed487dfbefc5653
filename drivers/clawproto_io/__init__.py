"""What the asyncio and the trio driver share: HTTP, stores, clocks.

Written on anyio. Importing it loads none of it, and no event loop: each name is loaded when it is first asked for.
"""

from typing import TYPE_CHECKING

from clawproto.lazy_names import lazy_names

if TYPE_CHECKING:
    from clawproto_io.clock import Clock, ScaledClock, SystemClock, system_seed
    from clawproto_io.errors import GenerationConflict, HttpFailure, LeaseLost, StoreError, Unstorable
    from clawproto_io.http import HttpRunner
    from clawproto_io.journal import Journal
    from clawproto_io.pairing import adopt, new_device_id
    from clawproto_io.stores.base import AccountStore, CredentialStore, LeaseStore, MessageArchive, MessageStore
    from clawproto_io.stores.memory import FaultyStore, MemoryStore
    from clawproto_io.stores.memory_messages import MemoryMessageStore
    from clawproto_io.stores.places import open_accounts, open_store
    from clawproto_io.stores.postgres import PostgresAccounts as PostgresAccounts, PostgresStore as PostgresStore
    from clawproto_io.stores.retention import Retention
    from clawproto_io.stores.sealing import StoreKey
    from clawproto_io.stores.sqlite import SqliteStore
    from clawproto_io.stores.sqlite_accounts import SqliteAccounts
else:
    __getattr__, __dir__ = lazy_names(
        globals(),
        {
            "clawproto_io.clock": "Clock ScaledClock SystemClock system_seed",
            "clawproto_io.errors": "GenerationConflict HttpFailure LeaseLost StoreError Unstorable",
            "clawproto_io.http": "HttpRunner",
            "clawproto_io.journal": "Journal",
            "clawproto_io.pairing": "adopt new_device_id",
            "clawproto_io.stores.base": "AccountStore CredentialStore LeaseStore MessageArchive MessageStore",
            "clawproto_io.stores.memory": "FaultyStore MemoryStore",
            "clawproto_io.stores.memory_messages": "MemoryMessageStore",
            "clawproto_io.stores.places": "open_accounts open_store",
            "clawproto_io.stores.postgres": "PostgresAccounts PostgresStore",  # need an extra: not in __all__
            "clawproto_io.stores.retention": "Retention",
            "clawproto_io.stores.sealing": "StoreKey",
            "clawproto_io.stores.sqlite": "SqliteStore",
            "clawproto_io.stores.sqlite_accounts": "SqliteAccounts",
        },
    )

__all__ = [
    "AccountStore",
    "Clock",
    "CredentialStore",
    "FaultyStore",
    "GenerationConflict",
    "HttpFailure",
    "HttpRunner",
    "Journal",
    "LeaseLost",
    "LeaseStore",
    "MemoryMessageStore",
    "MemoryStore",
    "MessageArchive",
    "MessageStore",
    "Retention",
    "ScaledClock",
    "SqliteAccounts",
    "SqliteStore",
    "StoreError",
    "StoreKey",
    "SystemClock",
    "Unstorable",
    "adopt",
    "new_device_id",
    "open_accounts",
    "open_store",
    "system_seed",
]
