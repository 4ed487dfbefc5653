"""What the asyncio and the trio driver share: HTTP, credential stores, clocks.

Written on anyio; importing it loads no event loop.
"""

from clawproto_io.clock import Clock, ScaledClock, SystemClock, system_seed
from clawproto_io.errors import GenerationConflict, HttpFailure, StoreError
from clawproto_io.http import HttpRunner
from clawproto_io.journal import Journal
from clawproto_io.pairing import adopt, new_device_id
from clawproto_io.stores import CredentialStore, FaultyStore, MemoryStore, SqliteStore, StoreKey, open_store

__all__ = [
    "Clock",
    "CredentialStore",
    "FaultyStore",
    "GenerationConflict",
    "HttpFailure",
    "HttpRunner",
    "Journal",
    "MemoryStore",
    "ScaledClock",
    "SqliteStore",
    "StoreError",
    "StoreKey",
    "SystemClock",
    "adopt",
    "new_device_id",
    "open_store",
    "system_seed",
]
