"""Accounts, leases and members in the SQLite file: who owns which session. All of it within somebody's transaction.

Whoever takes a lease becomes a member, for as long as it owns something; who has joined stays one until it leaves.
"""

import sqlite3

from clawproto_io.errors import LeaseLost
from clawproto_io.stores.base import AccountRow, LeaseRow

NUMBER = "(SELECT account FROM accounts WHERE name = ?)"  # for other statements: the number of an account

_WRITE = "INSERT INTO accounts (name) VALUES (?) ON CONFLICT (name) DO UPDATE SET writes = writes + 1"
_LEASE = (
    "SELECT leases.owner, fence, coalesce(beat, 0) FROM leases LEFT JOIN members USING (owner)"  # noqa: S608
    f" WHERE account = {NUMBER}"
)
_TAKE = (
    f"INSERT INTO leases (account, owner, fence) VALUES ({NUMBER}, ?, ?)"  # noqa: S608
    " ON CONFLICT (account) DO UPDATE SET owner = excluded.owner, fence = excluded.fence"
)
_HELD = f"account = {NUMBER} AND fence = ? AND owner IS NOT NULL"
_RENEW = f"UPDATE members SET beat = beat + 1 WHERE owner = (SELECT owner FROM leases WHERE {_HELD})"  # noqa: S608
_RELEASE = f"UPDATE leases SET owner = NULL WHERE {_HELD}"  # noqa: S608
_IS_HELD = f"SELECT 1 FROM leases WHERE {_HELD}"  # noqa: S608

_ENTER = "INSERT INTO members (owner, beat, joined) VALUES (?, 0, 0) ON CONFLICT DO NOTHING"
_SWEEP = "DELETE FROM members WHERE NOT joined AND NOT EXISTS (SELECT 1 FROM leases WHERE owner = members.owner)"
_JOIN = (
    "INSERT INTO members (owner, beat, joined) VALUES (?, 0, 1)"
    " ON CONFLICT (owner) DO UPDATE SET beat = beat + 1, joined = 1"
)
_OWNED = "SELECT name, fence FROM leases JOIN accounts USING (account) WHERE owner = ? ORDER BY name"
_ACCOUNTS = (
    "SELECT name, user_id, access_token IS NOT NULL, fence, leases.owner, coalesce(beat, 0) FROM accounts"
    " LEFT JOIN credentials USING (account) LEFT JOIN leases USING (account) LEFT JOIN members USING (owner)"
    " ORDER BY name"
)


def begin_write(connection: sqlite3.Connection, name: str) -> None:
    """See to it that the account is there, and that this transaction is synced to the disk even if it writes nothing
    but what is there already: that may be in the cache of the system only, left by a process that was killed."""
    connection.execute(_WRITE, (name,))


def read_lease(connection: sqlite3.Connection, name: str) -> LeaseRow | None:
    """The lease of an account."""
    row = connection.execute(_LEASE, (name,)).fetchone()
    return None if row is None else LeaseRow(*row)


def take_lease(connection: sqlite3.Connection, name: str, owner: str, expected: LeaseRow | None) -> int | None:
    """Make ``owner`` the owner if the lease is still ``expected``. Returns the new fence, or None."""
    found = read_lease(connection, name)
    if found != expected:
        return None
    fence = 1 if found is None else found.fence + 1
    begin_write(connection, name)
    connection.execute(_ENTER, (owner,))
    connection.execute(_TAKE, (name, owner, fence))
    connection.execute(_SWEEP)
    return fence


def renew_lease(connection: sqlite3.Connection, name: str, fence: int) -> bool:
    """A sign of life of whoever holds this lease. False if that fence does not hold any more."""
    return connection.execute(_RENEW, (name, fence)).rowcount == 1


def release_lease(connection: sqlite3.Connection, name: str, fence: int) -> None:
    """The lease is free, if this fence still holds."""
    connection.execute(_RELEASE, (name, fence))
    connection.execute(_SWEEP)


def check_lease(connection: sqlite3.Connection, name: str, fence: int | None, place: str) -> None:
    """Raise `LeaseLost` if the fence does not hold any more. None stands for a store that acts under no lease."""
    if fence is not None and connection.execute(_IS_HELD, (name, fence)).fetchone() is None:
        raise LeaseLost(place)


# --- many accounts -------------------------------------------------------------------------------------------------


def accounts(connection: sqlite3.Connection) -> tuple[AccountRow, ...]:
    """All accounts, by name."""
    return tuple(
        AccountRow(name, user_id, bool(paired), None if fence is None else LeaseRow(owner, fence, beat))
        for name, user_id, paired, fence, owner, beat in connection.execute(_ACCOUNTS)
    )


def beat(connection: sqlite3.Connection, owner: str) -> dict[str, int]:
    """A sign of life of a member, who joins with the first. Returns what it owns, with the fences."""
    connection.execute(_JOIN, (owner,))
    return dict(connection.execute(_OWNED, (owner,)).fetchall())


def members(connection: sqlite3.Connection) -> dict[str, int]:
    """Whoever has joined, with its beat."""
    return dict(connection.execute("SELECT owner, beat FROM members WHERE joined ORDER BY owner").fetchall())


def leave(connection: sqlite3.Connection, owner: str, beat: int | None) -> bool:
    """Take a member out and free what it owns, if its beat is still ``beat``. Returns whether it was there."""
    found = connection.execute("SELECT beat FROM members WHERE owner = ?", (owner,)).fetchone()
    if found is None or beat not in (None, found[0]):
        return False
    connection.execute("UPDATE leases SET owner = NULL WHERE owner = ?", (owner,))
    connection.execute("DELETE FROM members WHERE owner = ?", (owner,))
    return True
