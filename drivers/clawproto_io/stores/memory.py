"""A store without a disk, and a store whose disk fails on command. For tests and demonstrations."""

from anyio.lowlevel import checkpoint

from clawproto.credentials import Credentials, Intent
from clawproto_io.errors import StoreError
from clawproto_io.stores import record
from clawproto_io.stores.base import CredentialStore


class MemoryStore:
    """Keeps the record in memory. Each method passes a checkpoint before it changes anything.

    Attributes:
        credentials: the record, free to be read and replaced by a test.
        saves: how many writes of any kind succeeded.
    """

    def __init__(self, credentials: Credentials | None = None) -> None:
        self.credentials = credentials
        self.saves = 0
        self._failures: list[Exception] = []

    def fail_next_saves(self, count: int, error: Exception | None = None) -> None:
        """Let the next ``count`` writes of any kind raise ``error`` (default: a full disk) and change nothing."""
        self._failures = [error or StoreError("memory", "the disk is full")] * count

    async def load(self) -> Credentials | None:
        """See `CredentialStore.load`."""
        await checkpoint()
        return self.credentials

    async def save(self, credentials: Credentials, replaces: int | None) -> int:
        """See `CredentialStore.save`."""
        await self._before_write()
        return self._put(record.saved(self.credentials, credentials, replaces))

    async def record_intent(self, intent: Intent) -> int:
        """See `CredentialStore.record_intent`."""
        await self._before_write()
        return self._put(record.intended(self.credentials, intent))

    async def forget(self, refused: str, replaces: int) -> int:
        """See `CredentialStore.forget`."""
        await self._before_write()
        return self._put(record.forgotten(self.credentials, refused, replaces))

    async def remember_device(self, device_id: str) -> None:
        """See `CredentialStore.remember_device`."""
        await self._before_write()
        if self.credentials is not None:
            self._put(record.with_device(self.credentials, device_id))

    async def aclose(self) -> None:
        """Nothing to let go of; the record stays."""
        await checkpoint()

    async def _before_write(self) -> None:
        await checkpoint()
        if self._failures:
            raise self._failures.pop()

    def _put(self, credentials: Credentials) -> int:
        self.credentials = credentials
        self.saves += 1
        return credentials.generation


class FaultyStore:
    """Passes everything on to another store, unless it is told to fail.

    Attributes:
        full: while True every write fails as on a full disk, and nothing is written.
        unreadable: while True every load fails.
        lost_reports: so many of the next writes are carried out and fail afterwards, as if the machine had answered
            with an error after the data was on the disk.
    """

    def __init__(self, inner: CredentialStore) -> None:
        self.inner = inner
        self.full = False
        self.unreadable = False
        self.lost_reports = 0

    async def load(self) -> Credentials | None:
        """See `CredentialStore.load`."""
        if self.unreadable:
            raise StoreError("faulty store", "cannot be read (a scripted fault)")
        return await self.inner.load()

    async def save(self, credentials: Credentials, replaces: int | None) -> int:
        """See `CredentialStore.save`."""
        await self._before_write()
        return self._report(await self.inner.save(credentials, replaces))

    async def record_intent(self, intent: Intent) -> int:
        """See `CredentialStore.record_intent`."""
        await self._before_write()
        return self._report(await self.inner.record_intent(intent))

    async def forget(self, refused: str, replaces: int) -> int:
        """See `CredentialStore.forget`."""
        await self._before_write()
        return self._report(await self.inner.forget(refused, replaces))

    async def remember_device(self, device_id: str) -> None:
        """See `CredentialStore.remember_device`."""
        await self._before_write()
        await self.inner.remember_device(device_id)

    async def aclose(self) -> None:
        """Close the inner store."""
        await self.inner.aclose()

    async def _before_write(self) -> None:
        await checkpoint()
        if self.full:
            raise StoreError("faulty store", "the disk is full (a scripted fault)")

    def _report(self, generation: int) -> int:
        if self.lost_reports > 0:
            self.lost_reports -= 1
            raise StoreError("faulty store", "input/output error after the write (a scripted fault)")
        return generation
