"""What happens in a fleet, as JSON and as lines for people. The JSON forms are described in docs/fleet.md."""

from attrs import asdict

from clawproto.json_types import Json
from clawproto_cli.drivers import Fleet
from clawproto_cli.text import clock_time, printable
from clawproto_io.fleet.board import FleetNews
from clawproto_io.owners import short_name

_STYLES = {"failed": "red", "logged-out": "bold red", "disconnected": "yellow", "member-gone": "yellow"}
_WORDS = {
    "owned": "is ours",
    "let-go": "is not ours any more",
    "ready": "connected",
    "disconnected": "",  # the detail says it
    "rotated": "tokens rotated and saved",
    "logged-out": "logged out, pair it again:",
    "failed": "its session failed, it begins again later:",
    "member-joined": "has joined",
    "member-gone": "has left, or is dead",
}


def news_form(news: FleetNews, at_ms: int) -> dict[str, Json]:
    """One JSON object."""
    form: dict[str, Json] = {"event": news.what.replace("-", "_"), "at_ms": at_ms}
    if news.account is not None:
        form["account"] = news.account
    if news.member is not None:
        form["member"] = news.member
    if news.detail:
        form["detail"] = news.detail
    return form


def news_line(news: FleetNews, at_ms: int) -> tuple[str, str]:
    """One line, and its style."""
    subject = news.account if news.account is not None else f"member {person(news.member or '')}"
    words = " ".join(part for part in (subject, _WORDS[news.what], news.detail) if part)
    return f"{clock_time(at_ms)}  {printable(words)}", _STYLES.get(news.what, "")


def totals_form(fleet: Fleet, at_ms: int) -> dict[str, Json]:
    """Sums over the accounts of this member, and how many accounts and members there are."""
    form: dict[str, Json] = {"event": "totals", "at_ms": at_ms, "accounts": len(fleet.accounts)}
    form |= asdict(fleet.totals)
    return form | {"members": len(fleet.members), "store_problem": fleet.store_problem}


def totals_line(fleet: Fleet, at_ms: int) -> tuple[str, str]:
    """One line, and its style."""
    problem = f"; the store cannot be asked: {fleet.store_problem}" if fleet.store_problem else ""
    return f"{clock_time(at_ms)}  {printable(sum_up(fleet) + problem)}", "yellow" if problem else "dim"


def sum_up(fleet: Fleet) -> str:
    """The sums in words."""
    totals, accounts = fleet.totals, fleet.accounts
    unpaired = sum(view.standing == "unpaired" for view in accounts)
    nobodys = sum(view.standing == "free" for view in accounts)
    parts = [
        f"{totals.owned} of {len(accounts)} accounts here",
        f"{totals.ready} connected",
        f"{len(fleet.members)} members",
        f"{totals.rotations} rotations",
        f"{totals.received} received",
        f"{totals.sent} sent",
    ]
    if nobodys:
        parts.append(f"{nobodys} without an owner")
    if unpaired:
        parts.append(f"{unpaired} to be paired")
    return ", ".join(parts)


def person(member: str) -> str:
    """A member's name for people: machine and process."""
    name = short_name(member)
    return name.partition(":")[2] if name.startswith("fleet=") else name
