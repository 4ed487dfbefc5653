"""The worlds that are explored, and how far.

    tokens    the token machine, with server, store, a sibling, crashes; sockets come and go as the tokens permit
    link      the link machine, with a hub that does anything; server and store always work
    session   both at once
"""

from typing import Final, Literal, TypeAlias

from attrs import frozen

from clawproto.testing.explore.environment import Setting

Reach: TypeAlias = Literal["bounded", "deep"]


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


_CALM: Final = {"sibling": False, "crashes": False, "server_faults": False, "store_faults": False, "loads": False}
_HUB: Final = Setting(linked=True, callers=0, pauses=True, ages=False, **_CALM)

BOUNDED: Final = (
    World("tokens, nothing fails", Setting(faults=0)),
    World("tokens, one fault", Setting(faults=1, ages=False, grace=False), limit=40_000),
    World("link", _HUB, limit=12_000),
    World("session", Setting(linked=True, faults=1), limit=12_000),
)
DEEP: Final = (
    World("tokens, nothing fails", Setting(faults=0)),
    World("tokens, one fault", Setting(faults=1)),
    World("tokens, two faults, strict server", Setting(faults=2, grace=False)),
    World("link", _HUB),
    World("tokens, any number of faults", Setting(), limit=8_000_000),
    World("session", Setting(linked=True, pauses=True), limit=1_000_000),
)
