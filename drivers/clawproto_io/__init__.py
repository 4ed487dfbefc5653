"""What the asyncio and the trio driver share: HTTP, credential stores, clocks.

Written on anyio; importing it loads no event loop.
"""

from clawproto_io.clock import Clock, ScaledClock, SystemClock, system_seed
from clawproto_io.errors import GenerationConflict, HttpFailure, StoreError
from clawproto_io.http import HttpRunner
from clawproto_io.journal import Journal
from clawproto_io.pairing import adopt, new_device_id
from clawproto_io.stores import (
    AccountStore,
    CredentialStore,
    FaultyStore,
    MemoryStore,
    SqliteAccounts,
    SqliteStore,
    StoreKey,
    open_accounts,
    open_store,
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
    "MemoryStore",
    "ScaledClock",
    "SqliteAccounts",
    "SqliteStore",
    "StoreError",
    "StoreKey",
    "SystemClock",
    "adopt",
    "new_device_id",
    "open_accounts",
    "open_store",
    "system_seed",
]
