"""The worlds that are explored, and how far.

tokens    the token machine, with server, store, a sibling, crashes; sockets come and go as the tokens permit
link      the link machine, with a hub that does anything; server and store always work
session   both at once
"""

from typing import Final

from attrs import evolve

from clawproto.deferred import frozen
from clawproto.testing.explore.surroundings import Setting


@frozen
class World:
    """One exploration.

    Attributes:
        name: for reports.
        setting: what may happen.
        limit: of transitions; None for all there are.
    """

    name: str
    setting: Setting
    limit: int | None = None


_CALM: Final = Setting(
    linked=True, sibling=False, crashes=False, server_faults=False, store_faults=False, loads=False, callers=0
)
_HUB: Final = evolve(_CALM, pauses=True)
_REVOKED: Final = Setting(begin="revoked", faults=1)
_ABSENT: Final = Setting(begin="absent", faults=1)

BOUNDED: Final = (
    World("tokens, nothing fails", Setting(faults=0)),
    World("tokens, one fault", Setting(faults=1, ages=False, grace=False), limit=40_000),
    World("tokens, revoked", _REVOKED, limit=20_000),
    World("tokens, not paired", _ABSENT, limit=10_000),
    World("link", _HUB, limit=12_000),
    World("session", Setting(linked=True, faults=1), limit=12_000),
)
DEEP: Final = (
    World("tokens, nothing fails", Setting(faults=0)),
    World("tokens, one fault", Setting(faults=1)),
    World("tokens, revoked, one fault", _REVOKED),
    World("tokens, not paired, one fault", _ABSENT),
    World("tokens, two faults", Setting(faults=2)),
    World("link", _HUB, limit=1_000_000),
    World("session", Setting(linked=True, pauses=True), limit=1_000_000),
    World("tokens, any number of faults", Setting(), limit=8_000_000),
)
DRAWN: Final = {
    "tokens": (
        World("tokens", Setting(faults=1, grace=False, ages=False), limit=30_000),
        World("tokens", _REVOKED, limit=20_000),
        World("tokens", _ABSENT, limit=10_000),
    ),
    "link": (
        World("link", _HUB, limit=10_000),
        World("link", evolve(_CALM, faults=0), limit=10_000),
    ),
}
