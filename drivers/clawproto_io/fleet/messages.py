"""What passes between the ownership machine of a member and the driver that carries its decisions out."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from attrs import field

from clawproto.deferred import frozen
from clawproto_io.stores.base import AccountRow, LeaseRow

Ending: TypeAlias = Literal["stopped", "failed", "logged-out", "lost"]
"""How a session ended: it was asked to; by itself, and may be tried again; the account must be paired again; somebody
else owns the account."""


# --- decisions -----------------------------------------------------------------------------------------------------


@frozen
class Beat:
    """Show a sign of life, and report `Beaten` or `Unreachable`."""


@frozen
class Survey:
    """Look at the members and the accounts, and report `Surveyed` or `Unreachable`."""


@frozen
class Take:
    """Take the lease of an account if it still is ``expected``, and report `Taken`."""

    account: str
    expected: LeaseRow | None


@frozen
class GiveBack:
    """Give a lease back, and report `GivenBack`."""

    account: str
    fence: int


@frozen
class Sweep:
    """Take a dead member out if its beat still is this one, and report `Swept`."""

    member: str
    beat: int


@frozen
class StartSession:
    """Hold the session of an account, and report `SessionEnded` when it has ended."""

    account: str


@frozen
class StopSession:
    """Bring the session of an account to its end; `SessionEnded` is reported as ever."""

    account: str


@frozen
class Depart:
    """Everything has ended: take this member out of the store. The last decision."""


Decision: TypeAlias = Beat | Survey | Take | GiveBack | Sweep | StartSession | StopSession | Depart


# --- events --------------------------------------------------------------------------------------------------------


@frozen
class Tick:
    """The deadline has come."""


@frozen
class Beaten:
    """The sign of life is stored.

    Attributes:
        began_ms: when the store was asked.
        owned: what this member owns, with the fences.
    """

    began_ms: int
    owned: Mapping[str, int] = field(hash=False)


@frozen
class Surveyed:
    """What the store holds.

    Attributes:
        began_ms: when the store was asked.
        members: with their beats.
        accounts: all of them.
        gone: members and other owners whose process certainly does not run any more.
    """

    began_ms: int
    members: Mapping[str, int] = field(hash=False)
    accounts: tuple[AccountRow, ...]
    gone: frozenset[str] = frozenset()


@frozen
class Unreachable:
    """The store could not be asked."""

    asked: Beat | Survey


@frozen
class Taken:
    """An attempt to take a lease has ended.

    Attributes:
        fence: None: somebody was faster, or the store failed.
    """

    account: str
    fence: int | None


@frozen
class GivenBack:
    """An attempt to give a lease back has ended. If it failed, the next sign of life tells."""

    account: str


@frozen
class Swept:
    """An attempt to take a dead member out has ended."""

    member: str


@frozen
class SessionEnded:
    """A session has ended."""

    account: str
    ending: Ending


@frozen
class Evicted:
    """The hub has given the connection of a session to somebody else."""

    account: str


@frozen
class Leave:
    """End all sessions in good order, give everything back, and depart."""


FleetEvent: TypeAlias = (
    Tick | Beaten | Surveyed | Unreachable | Taken | GivenBack | Swept | SessionEnded | Evicted | Leave
)
