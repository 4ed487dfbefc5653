"""The live table of a fleet: members, accounts, and sums."""

from collections import Counter

from rich.console import Group
from rich.table import Table
from rich.text import Text

from clawproto_cli.drivers import Fleet
from clawproto_cli.fleet.forms import person, sum_up
from clawproto_cli.text import printable, span
from clawproto_io.fleet.board import AccountView
from clawproto_io.fleet.shares import shard_of

_STYLES = {
    "ready": "green",
    "connecting": "yellow",
    "waiting": "yellow",
    "ending": "yellow",
    "free": "red",
    "unpaired": "bold red",
    "elsewhere": "dim",
}
_ORDER = ("unpaired", "free", "ending", "connecting", "waiting", "ready", "elsewhere")
_OTHER_LINES = 9  # of the screen: headings, sums, the line that tells of the rest


def table_of(fleet: Fleet, now_ms: int, height: int) -> Group:
    """What is to be shown on a screen of so many lines. What needs attention comes first."""
    accounts, members = fleet.accounts, fleet.members
    parts: list[Text | Table] = [Text(sum_up(fleet), "bold")]
    if fleet.store_problem:
        parts.append(Text(f"the store cannot be asked: {printable(fleet.store_problem)}", "yellow"))
    if not accounts:
        parts.append(Text("No accounts in this store yet: clawproto pair CODE --store … --account NAME", "dim"))
        return Group(*parts)
    parts.append(_members(fleet.name, members, accounts))
    room = max(3, height - _OTHER_LINES - len(members))
    shown = sorted(accounts, key=lambda view: (_ORDER.index(view.standing), view.name))[:room]
    parts.append(_accounts(fleet.name, shown, now_ms))
    if len(shown) < len(accounts):
        parts.append(Text(f"… and {len(accounts) - len(shown)} more", "dim"))
    return Group(*parts)


def _members(me: str, members: tuple[str, ...], accounts: tuple[AccountView, ...]) -> Table:
    table = Table(show_edge=False, pad_edge=False, box=None)
    for heading in ("member", "shard", "accounts"):
        table.add_column(heading, justify="right" if heading == "accounts" else "left")
    owned = Counter(view.owner for view in accounts)
    for member in members:
        shard = shard_of(member)
        style = "bold" if member == me else ""
        table.add_row(Text(printable(person(member)), style), str(shard or ""), str(owned[member]))
    return table


def _accounts(me: str, views: list[AccountView], now_ms: int) -> Table:
    table = Table(show_edge=False, pad_edge=False, box=None)
    for heading in ("account", "state", "owner"):
        table.add_column(heading)
    for heading in ("valid for", "refresh in", "reconnects", "rotations", "received", "sent"):
        table.add_column(heading, justify="right")
    table.add_column("last trouble", overflow="ellipsis", no_wrap=True)
    for view in views:
        here = view.owner == me
        owner = "" if view.owner is None else "here" if here else person(view.owner)
        table.add_row(
            Text(printable(view.name)),
            Text(view.standing, _STYLES[view.standing]),
            Text(printable(owner), "" if here else "dim"),
            _left(view.expires_at_ms, now_ms),
            _left(view.refresh_at_ms, now_ms),
            *(str(count) if here else "" for count in (view.reconnects, view.rotations, view.received, view.sent)),
            Text(printable(view.note), "dim"),
        )
    return table


def _left(at_ms: int | None, now_ms: int) -> str:
    if at_ms is None:
        return ""
    return span((at_ms - now_ms) // 1000 * 1000) if at_ms - now_ms >= 1000 else "now"
