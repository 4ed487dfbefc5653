"""``clawproto status``."""

from typing import Literal, TypeAlias

import click

from clawproto.credentials import Credentials
from clawproto.deferred import frozen
from clawproto.policy import Policy
from clawproto.timing import TokenTimes, token_times
from clawproto_cli.drivers import run
from clawproto_cli.explain import explained
from clawproto_cli.failures import Exit
from clawproto_cli.forms import identity_form
from clawproto_cli.options import account_option, json_option, keyring_option, store_option, verbose_option
from clawproto_cli.output import console, write_json
from clawproto_cli.stores import chosen_account, open_agent_store, store_name
from clawproto_cli.text import date_time, printable, span
from clawproto_io import SystemClock
from clawproto_io.stores import place_of

State: TypeAlias = Literal["not-paired", "logged-out", "usable", "expired"]


@frozen
class Report:
    """What can be told from the store alone.

    Attributes:
        times: earliest and latest moment of the next refresh; its jitter is drawn by the session that runs.
        next_refresh: for people: when and why.
    """

    state: State
    times: tuple[TokenTimes, TokenTimes] | None
    is_due: bool
    next_refresh: str
    last_error: str | None


@click.command("status")
@store_option
@account_option
@keyring_option
@json_option
@verbose_option
def command(store: str, as_json: bool) -> None:
    """Say who the agent is, until when its tokens are valid, and when the next refresh is due, and why.

    It only reads the store: no network, no tokens shown. The exit code is 3 if the agent must be paired first.

    \b
    Examples:
      clawproto status --store agent.db
      clawproto status --store agent.db --json | jq .expires_at_ms
    """

    async def work() -> Credentials | None:
        where = open_agent_store(store)
        try:
            return await where.load()
        finally:
            await where.aclose()

    with explained():
        credentials = run(work, "asyncio")
    now_ms = SystemClock().now().wall_ms
    report = examine(credentials, now_ms)
    if as_json:
        write_json(_form(store, credentials, report))
    else:
        _print(store, credentials, report, now_ms)
    raise SystemExit(Exit.NOT_PAIRED if report.state in ("not-paired", "logged-out") else Exit.DONE)


def examine(credentials: Credentials | None, now_ms: int) -> Report:
    """Judge a record at the moment ``now_ms`` of this machine's clock."""
    if credentials is None:
        return Report("not-paired", None, False, "none: pair an agent first", None)
    error = _last_error(credentials)
    tokens = credentials.tokens
    if tokens is None:
        return Report("logged-out", None, False, "none: pair the agent again", error)
    policy = Policy()
    earliest = token_times(tokens.access, tokens.obtained_at_ms, 0.0, policy)
    latest = token_times(tokens.access, tokens.obtained_at_ms, 1.0, policy)
    if earliest is None or latest is None:
        why = "unknown: the token does not tell when it expires; it is refreshed when the hub refuses it"
        return Report("usable", None, False, why, error)
    state: State = "expired" if now_ms >= earliest.expires_at_ms else "usable"
    is_due = now_ms >= latest.refresh_at_ms
    if tokens.refresh is None or tokens.refresh.is_blank:
        why, is_due = "impossible: there is no refresh token", False
    elif state == "expired":
        why = "now: the token has expired"
    elif is_due:
        why = f"now: {_reason(earliest)}"
    else:
        why = f"between {date_time(earliest.refresh_at_ms)} and {date_time(latest.refresh_at_ms)}: {_reason(earliest)}"
    return Report(state, (earliest, latest), is_due, why, error)


def _reason(times: TokenTimes) -> str:
    return f"{span(times.lead_ms)} before expiry, for a life of {span(times.life_ms)}, with jitter"


def _last_error(credentials: Credentials) -> str | None:
    intent = credentials.intent
    if credentials.tokens is None and credentials.refused is not None:
        return "the server refused the refresh token for good"
    if intent is not None:
        return f"a rotation begun at {date_time(intent.wall_ms)} has not been completed yet"
    return None


def _form(store: str, credentials: Credentials | None, report: Report) -> dict[str, object]:
    tokens = None if credentials is None else credentials.tokens
    times = report.times
    return {
        "store": place_of(store),
        "account": chosen_account(),
        "state": report.state,
        "identity": None if credentials is None else identity_form(credentials.identity),
        "generation": None if credentials is None else credentials.generation,
        "obtained_at_ms": None if tokens is None else tokens.obtained_at_ms,
        "expires_at_ms": None if times is None else times[0].expires_at_ms,
        "refresh_possible": tokens is not None and tokens.refresh is not None and not tokens.refresh.is_blank,
        "refresh_due": report.is_due,
        "refresh_from_ms": None if times is None else times[0].refresh_at_ms,
        "refresh_until_ms": None if times is None else times[1].refresh_at_ms,
        "next_refresh": report.next_refresh,
        "last_error": report.last_error,
    }


def _print(store: str, credentials: Credentials | None, report: Report, now_ms: int) -> None:
    rows: list[tuple[str, str]] = [("store", store_name(store)), ("state", report.state)]
    if credentials is not None:
        rows += [(key.replace("_", " "), str(value)) for key, value in identity_form(credentials.identity).items()]
    if report.times is not None:
        left = report.times[0].expires_at_ms - now_ms
        when = f"in {span(left)}" if left > 0 else f"{span(left)} ago"
        rows.append(("expires", f"{date_time(report.times[0].expires_at_ms)}, {when}"))
    rows += [("next refresh", report.next_refresh), ("last error", report.last_error or "none")]
    styles = {"usable": "green", "expired": "yellow", "not-paired": "red", "logged-out": "red"}
    out = console()
    for key, value in rows:
        if value != "None":
            out.print(f"{key:<16}", style="dim", end="")
            out.print(printable(value), style=styles[report.state] if key == "state" else None)
