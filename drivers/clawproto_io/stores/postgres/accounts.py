"""All accounts of a PostgreSQL store, and the processes that share them.

A member shows one sign of life for all that it owns, so that the load does not grow with the number of accounts. Its
row is locked before those of accounts, by everybody, so the beat that somebody saw who takes over stays as it is.
"""

from collections.abc import Mapping

import psycopg

from clawproto_io.clock import Clock
from clawproto_io.stores.base import DEFAULT_ACCOUNT, AccountRow, LeaseRow
from clawproto_io.stores.postgres.account import PostgresAccount
from clawproto_io.stores.postgres.pool import DEFAULT_CONNECTIONS, DEFAULT_SCHEMA, DEFAULT_TIMEOUT, Pool
from clawproto_io.stores.retention import Retention
from clawproto_io.stores.sealing import Sealer

_ALL = """
    SELECT a.name, c.user_id, c.access_token IS NOT NULL, a.owner, a.fence, coalesce(m.beat, a.beat)
    FROM accounts a LEFT JOIN credentials c USING (account) LEFT JOIN members m ON m.owner = a.owner
    ORDER BY a.name COLLATE "C"
"""
_BEAT = "INSERT INTO members (owner, beat) VALUES (%s, 0) ON CONFLICT (owner) DO UPDATE SET beat = members.beat + 1"
_OWNED = "SELECT name, fence FROM accounts WHERE owner = %s"
_MEMBERS = "SELECT owner, beat FROM members"
_LOCK_MEMBER = "SELECT beat FROM members WHERE owner = %s FOR UPDATE"
_LEAVE = "DELETE FROM members WHERE owner = %s"
_GIVE_BACK = "UPDATE accounts SET owner = NULL WHERE owner = %s AND (%s::bigint IS NULL OR beat = %s)"


class PostgresStore(PostgresAccount):
    """One account of the database that ``dsn`` names, with connections of its own. For many accounts in one process,
    use `PostgresAccounts`, whose accounts share a few.

    Nothing is opened before the first operation, and whatever fails is opened again by the next one.

    Args:
        dsn: a connection string or URL of libpq; the password may as well be in ``PGPASSWORD`` or ``~/.pgpass``.
        account: its name; it need not exist.
        key: encrypts the token columns; tokens that are stored in plain text are read, and encrypted with the next
            write. A record that is encrypted cannot be read without it.
        schema: in which the tables are, or will be made.
        connections: at most so many at a time.
        timeout: bound on an operation, in seconds.
        fallback_device_id: the session device id that the pairing used, for a record that came from elsewhere without
            one; it is stored when such a record is loaded for the first time (DEV-5).
        retention: how long messages are kept.
        clock: tells the age of messages; that of the machine if none is given.

    Raises:
        ValueError: a setting that cannot be. The text holds nothing of the connection string.
    """

    def __init__(
        self,
        dsn: str,
        account: str = DEFAULT_ACCOUNT,
        *,
        key: Sealer | None = None,
        schema: str = DEFAULT_SCHEMA,
        connections: int = DEFAULT_CONNECTIONS,
        timeout: float = DEFAULT_TIMEOUT,
        fallback_device_id: str | None = None,
        retention: Retention | None = None,
        clock: Clock | None = None,
    ) -> None:
        pool = Pool(dsn, schema=schema, connections=connections, timeout=timeout)
        super().__init__(
            pool, account, key=key, fallback_device_id=fallback_device_id, retention=retention, clock=clock
        )

    async def aclose(self) -> None:
        """Close the connections. Using the store again opens them again."""
        await self._pool.aclose()


class PostgresAccounts:
    """An `AccountStore` in the database that ``dsn`` names; see `PostgresStore` for the arguments."""

    def __init__(
        self,
        dsn: str,
        *,
        key: Sealer | None = None,
        schema: str = DEFAULT_SCHEMA,
        connections: int = DEFAULT_CONNECTIONS,
        timeout: float = DEFAULT_TIMEOUT,
        retention: Retention | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._pool = Pool(dsn, schema=schema, connections=connections, timeout=timeout)
        self._key = key
        self._retention = retention
        self._clock = clock

    def __repr__(self) -> str:
        return f"PostgresAccounts({self._pool.place!r})"

    def account(self, name: str) -> PostgresAccount:
        """See `AccountStore.account`."""
        return PostgresAccount(self._pool, name, key=self._key, retention=self._retention, clock=self._clock)

    async def accounts(self) -> tuple[AccountRow, ...]:
        """See `AccountStore.accounts`."""

        def read(connection: psycopg.Connection) -> tuple[AccountRow, ...]:
            return tuple(
                AccountRow(name, user_id, paired, LeaseRow(owner, fence, beat) if fence > 0 else None)
                for name, user_id, paired, owner, fence, beat in connection.execute(_ALL)
            )

        return await self._pool.run(read, reading=True)

    async def beat(self, owner: str) -> Mapping[str, int]:
        """See `AccountStore.beat`."""

        def beat(connection: psycopg.Connection) -> dict[str, int]:
            connection.execute(_BEAT, (owner,))
            return dict(connection.execute(_OWNED, (owner,)).fetchall())

        return await self._pool.run(beat)

    async def members(self) -> Mapping[str, int]:
        """See `AccountStore.members`."""
        return await self._pool.run(lambda connection: dict(connection.execute(_MEMBERS).fetchall()), reading=True)

    async def leave(self, owner: str, beat: int | None = None) -> bool:
        """See `AccountStore.leave`."""

        def leave(connection: psycopg.Connection) -> bool:
            member = connection.execute(_LOCK_MEMBER, (owner,)).fetchone()
            if member is None:  # an owner that has not joined has beats of its leases only
                return connection.execute(_GIVE_BACK, (owner, beat, beat)).rowcount > 0
            if beat not in (None, member[0]):
                return False
            connection.execute(_LEAVE, (owner,))
            connection.execute(_GIVE_BACK, (owner, None, None))
            return True

        return await self._pool.run(leave)

    async def aclose(self) -> None:
        """Close the connections, which all accounts share. Using the store again opens them again."""
        await self._pool.aclose()
