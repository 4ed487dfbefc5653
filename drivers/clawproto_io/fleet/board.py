"""What is known of a fleet's accounts and sessions, for tables and programs. Nothing of it is secret."""

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

from attrs import define

from clawproto import app_events
from clawproto.app_events import AppEvent
from clawproto.deferred import frozen
from clawproto.state import State
from clawproto_io.client_base import ClientBase
from clawproto_io.fleet.messages import Surveyed
from clawproto_io.fleet.ownership import Ownership
from clawproto_io.stores.base import AccountRow

Standing: TypeAlias = Literal["unpaired", "free", "elsewhere", "waiting", "connecting", "ready", "ending"]
"""No usable tokens: pair it; nobody owns it; another member does; its session begins when its turn or its backoff
comes; not connected; messages flow; its session is being ended."""

What: TypeAlias = Literal[
    "owned", "let-go", "ready", "disconnected", "rotated", "logged-out", "failed", "member-joined", "member-gone"
]


@frozen
class FleetNews:
    """Something that happened.

    Attributes:
        account: None for news about a member.
        member: its name.
        detail: for people.
    """

    what: What
    account: str | None = None
    member: str | None = None
    detail: str = ""


@frozen
class AccountView:
    """One account, as this member sees it. What only its owner knows is unknown (None or 0) for those of others.

    Attributes:
        owner: the member, or another process; None: nobody.
        expires_at_ms: of the access token, by the local clock.
        refresh_at_ms: when the next rotation is due, by the local clock.
        connects: how often the session became ready while it was ours.
        rotations: new pairs, as long as it was ours.
        received: messages that came, repeats included.
        sent: messages that the hub has accepted.
        failures: of its session, in a row.
        note: the last thing that went wrong.
    """

    name: str
    user_id: str | None
    standing: Standing
    owner: str | None
    expires_at_ms: int | None = None
    refresh_at_ms: int | None = None
    connects: int = 0
    rotations: int = 0
    received: int = 0
    sent: int = 0
    failures: int = 0
    note: str = ""

    @property
    def reconnects(self) -> int:
        """Connections after the first."""
        return max(0, self.connects - 1)


@frozen
class Totals:
    """Sums over the accounts of this member, those that it has given back included."""

    owned: int
    ready: int
    connects: int
    rotations: int
    received: int
    sent: int


@define(eq=False)
class Tally:
    """What the sessions of an account have lived through here.

    Attributes:
        needs_pairing: it cannot go on without being paired again.
    """

    ready: bool = False
    needs_pairing: bool = False
    connects: int = 0
    rotations: int = 0
    received: int = 0
    sent: int = 0
    note: str = ""

    def begin(self) -> None:
        """Another session begins."""
        self.ready = self.needs_pairing = False

    def add(self, client: ClientBase) -> None:
        """The session of ``client`` has ended."""
        received, sent = client.counts
        self.received += received
        self.sent += sent

    def counts(self, client: ClientBase | None) -> tuple[int, int]:
        """Messages received and sent, with those of the session that runs."""
        received, sent = (0, 0) if client is None else client.counts
        return self.received + received, self.sent + sent

    def note_event(self, event: AppEvent) -> None:
        """Something has happened to the session that runs."""
        match event:
            case app_events.Ready():
                self.ready = True
                self.connects += 1
            case app_events.Disconnected():
                self.ready = False
                if not event.planned:
                    self.note = f"disconnected {'' if event.code is None else event.code} {event.reason}".strip()
            case app_events.TokensRotated(adopted=False):
                self.rotations += 1
            case app_events.LoggedOut() | app_events.CredentialsNeeded():
                self.needs_pairing = True
                self.note = event.text
            case app_events.RefreshDelayed():
                self.note = f"refresh failed: {event.text}"
            case app_events.MessagesUnsaved():
                self.note = f"messages cannot be saved: {event.detail}"
            case app_events.SaveAlarm():
                self.note = f"the new tokens cannot be saved: {event.detail}"
            case _:
                pass


class Board:
    """Everything that can be told."""

    def __init__(self, me: str) -> None:
        self._me = me
        self._rows: tuple[AccountRow, ...] = ()
        self.members: Mapping[str, int] = {}
        self.tallies: dict[str, Tally] = {}

    def tally(self, account: str) -> Tally:
        """That of an account, for as long as the fleet runs."""
        return self.tallies.setdefault(account, Tally())

    def look(self, event: Surveyed) -> list[FleetNews]:
        """Take in what the store holds; return what is new about members."""
        before, self.members = self.members, event.members
        self._rows = event.accounts
        news = [FleetNews("member-joined", member=one) for one in event.members if one not in before]
        return news + [FleetNews("member-gone", member=one) for one in before if one not in event.members]

    def views(self, machine: Ownership, client_of: Callable[[str], ClientBase | None]) -> tuple[AccountView, ...]:
        """All accounts of the store, by name.

        Args:
            client_of: that of a session that runs here.
        """
        phases, owned = machine.phases, machine.owned
        views: list[AccountView] = []
        for row in self._rows:
            tally = self.tallies.get(row.name, Tally())
            owner = None if row.lease is None else row.lease.owner
            standing: Standing = "unpaired" if not row.paired else "free" if owner is None else "elsewhere"
            if row.name in owned:
                owner = self._me
                match phases[row.name]:
                    case "waiting":
                        standing = "waiting"
                    case "running":
                        standing = "ready" if tally.ready else "connecting"
                    case _:
                        standing = "ending"
            elif owner == self._me:
                owner, standing = None, "free" if row.paired else "unpaired"
            client = client_of(row.name)
            received, sent = tally.counts(client)
            state = client.state if client is not None and standing in ("ready", "connecting") else None
            tokens = state.tokens if isinstance(state, State) else None
            times, offset = (None, 0) if tokens is None else (tokens.times, tokens.offset)
            views.append(
                AccountView(
                    name=row.name,
                    user_id=row.user_id,
                    standing=standing,
                    owner=owner,
                    expires_at_ms=None if times is None else times.local(times.expires_at_ms, offset),
                    refresh_at_ms=None if tokens is None else tokens.proactive_at,
                    connects=tally.connects,
                    rotations=tally.rotations,
                    received=received,
                    sent=sent,
                    failures=machine.failures(row.name),
                    note=tally.note,
                )
            )
        return tuple(views)

    def totals(self, machine: Ownership, client_of: Callable[[str], ClientBase | None]) -> Totals:
        """Sums."""
        tallies = self.tallies.values()
        counts = [tally.counts(client_of(account)) for account, tally in self.tallies.items()]
        return Totals(
            owned=len(machine.owned),
            ready=sum(tally.ready for tally in tallies),
            connects=sum(tally.connects for tally in tallies),
            rotations=sum(tally.rotations for tally in tallies),
            received=sum(received for received, _ in counts),
            sent=sum(sent for _, sent in counts),
        )
