"""The row of an account: locked by every write, and the place where the fence is checked."""

import psycopg

from clawproto_io.errors import LeaseLost

_LOCK = "SELECT account, owner, fence FROM accounts WHERE name = %s FOR UPDATE"
_ADD = "INSERT INTO accounts (name) VALUES (%s) ON CONFLICT (name) DO NOTHING"
_FIND = "SELECT account FROM accounts WHERE name = %s"


class Ownership:
    """Which account a store is for, and the lease under which it acts.

    Attributes:
        account: its name.
        place: the server and the account, for people.
        fence: of the lease; None if the store acts under none.
    """

    def __init__(self, account: str, place: str) -> None:
        self.account = account
        self.place = f"{place} ({account})"
        self.fence: int | None = None

    def lock(self, connection: psycopg.Connection, *, fenced: bool = False) -> int:
        """Keep all other writers of the account out until the end of the transaction. Adds the account if it is new.

        Args:
            fenced: refuse if the lease under which the store acts has ended.

        Returns:
            The number of the account.

        Raises:
            LeaseLost: it has.
        """
        row = connection.execute(_LOCK, (self.account,)).fetchone()
        while row is None:
            connection.execute(_ADD, (self.account,))
            row = connection.execute(_LOCK, (self.account,)).fetchone()
        account, owner, fence = row
        if fenced and self.fence is not None and (fence != self.fence or owner is None):
            raise LeaseLost(self.place)
        return int(account)

    def find(self, connection: psycopg.Connection) -> int | None:
        """The number of the account, for reading; None if there is none."""
        row = connection.execute(_FIND, (self.account,)).fetchone()
        return None if row is None else int(row[0])
