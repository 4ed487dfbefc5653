"""What the asyncio and the trio driver share: HTTP, stores, clocks.

Written on anyio; importing it loads no event loop, and nothing of PostgreSQL before one of its stores is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from clawproto_io.clock import Clock, ScaledClock, SystemClock, system_seed
from clawproto_io.errors import GenerationConflict, HttpFailure, LeaseLost, StoreError, Unstorable
from clawproto_io.http import HttpRunner
from clawproto_io.journal import Journal
from clawproto_io.pairing import adopt, new_device_id
from clawproto_io.stores import (
    AccountStore,
    CredentialStore,
    FaultyStore,
    LeaseStore,
    MemoryMessageStore,
    MemoryStore,
    MessageArchive,
    MessageStore,
    Retention,
    SqliteAccounts,
    SqliteStore,
    StoreKey,
    open_accounts,
    open_store,
)

if TYPE_CHECKING:
    from clawproto_io.stores.postgres import PostgresAccounts as PostgresAccounts, PostgresStore as PostgresStore

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


def __getattr__(name: str) -> object:
    if name in ("PostgresAccounts", "PostgresStore"):  # need an extra, so they are in no ``import *``
        return getattr(import_module("clawproto_io.stores.postgres"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
