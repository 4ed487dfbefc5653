"""One owner for a session: of several processes on one store, one holds the session, and the others wait.

    waiting -- nobody owns it, its owner's process is gone, or showed no sign of life for the whole term --> owner
       ^                                                                                                        |
       '------ somebody else has taken over (this process had been paused) -- lost <----------------------------'

No clocks are compared: whoever waits measures on its own clock how long the beat has stood still. Of those who see it
at the same time one wins, since the lease is taken by compare-and-swap; the others see a new beat and go on waiting.

Whose process is gone can be told on the same machine only, see `clawproto_io.owners`; elsewhere its term is waited for.

A paused owner that wakes up too late cannot begin a refresh or a logout any more: the store checks its fence in the
same transaction. A pair that the server handed out before is still saved if nobody else has rotated, which the
generation tells; refusing that would lose the session.
"""

import secrets
import time

import anyio

from clawproto_io.errors import StoreError
from clawproto_io.logs import logger
from clawproto_io.owners import is_gone, new_owner, short_name
from clawproto_io.stores.base import LeaseRow, LeaseStore

DEFAULT_TERM = 6.0  # seconds

_log = logger("lease")


class Lease:
    """The right to hold a session. `acquire` it, `keep` it beside the session, `release` it.

    Args:
        term: seconds after which an owner without a sign of life is replaced; it shows one three times as often.

    Attributes:
        owner: the name under which `acquire` takes it; empty before.
    """

    def __init__(self, store: LeaseStore, term: float = DEFAULT_TERM) -> None:
        if term <= 0:
            raise ValueError("the term of a lease is positive")
        self._store = store
        self._term = term
        self._fence: int | None = None
        self.owner = ""

    async def acquire(self) -> None:
        """Wait until this process owns the session. Cancelling it leaves nothing behind.

        Raises:
            StoreError: the store cannot be read or written at the beginning. Later, it is waited for.
        """
        self.owner = new_owner()  # here: the process may have forked since the lease was made
        seen: LeaseRow | None = None
        since = time.monotonic()
        while True:
            try:
                found = await self._store.read_lease()
                owner = None if found is None or found.owner is None or is_gone(found.owner) else found.owner
                if owner is not None and found != seen:
                    if seen is None:
                        _log.info("the session is owned by %s; waiting", short_name(owner))
                    seen, since = found, time.monotonic()
                elif owner is None or time.monotonic() - since >= self._term:
                    with anyio.CancelScope(shield=True):
                        self._fence = await self._store.take_lease(self.owner, found)
                    if self._fence is not None:
                        _log.info("%s owns the session", short_name(self.owner))
                        return
            except StoreError as error:
                if seen is None:
                    raise
                # Who stands by for days must outlive a restart of the database. The wait begins anew: while nobody
                # could be seen, the owner may have shown a sign of life.
                _log.warning("waiting, but the lease cannot be read or taken: %s", error)
                since = time.monotonic()
            await anyio.sleep(self._term / 6 * (0.75 + secrets.randbelow(500) / 1000))

    async def keep(self) -> None:
        """Show signs of life until somebody else has taken over; returns then. A store that cannot be written for a
        while changes nothing: nobody else can take over either."""
        assert self._fence is not None, "acquire it first"
        while True:
            await anyio.sleep(self._term / 3)
            try:
                if not await self._store.renew_lease(self._fence):
                    _log.warning("another process has taken the session over from %s", short_name(self.owner))
                    return
            except StoreError as error:
                _log.warning("no sign of life could be stored: %s", error)

    async def release(self) -> None:
        """Let the next one in at once, if this process still owns the session. Never raises but for cancellation."""
        if self._fence is None:
            return
        fence, self._fence = self._fence, None
        try:
            with anyio.move_on_after(self._term, shield=True):
                await self._store.release_lease(fence)
        except StoreError as error:
            _log.warning("the lease could not be given back; the next one waits for its term: %s", error)
