"""One socket as the hub sees it.

CHALLENGED --connect accepted--> INSTALLING --(at once, or after the takeover delay)--> REPLAYING --replay.done--> LIVE
"""

from collections import deque
from enum import Enum
from typing import Literal

from attrs import define, field

DseqFault = Literal["gap", "repeat", "back", "text"]


class Phase(Enum):
    CHALLENGED = "challenged"
    INSTALLING = "installing"
    REPLAYING = "replaying"
    LIVE = "live"


class Generation(Enum):
    """How the cursor moves (RPL-8)."""

    LEGACY = "legacy"
    V1 = "v1"
    V2 = "v2"


@define
class Unwritten:
    """A frame handed to the transport; ``row`` is the seq and message id it delivers, if any."""

    number: int
    size: int
    row: tuple[int, str] | None


@define
class Unacked:
    """A stamped frame: acknowledging it moves the cursor to ``covers``."""

    dseq: int
    covers: int
    message_id: str | None


@define(eq=False)
class Connection:
    """State of one socket.

    Attributes:
        position: highest inbox seq looked at.
        covered: highest inbox seq that a stamped frame covers (R2-20).
        quiet_since: when the v2 window last became non-empty or was acked, monotonic.
    """

    conn: int
    nonce: str = field(repr=False)
    opened_ms: int
    phase: Phase = Phase.CHALLENGED
    user_id: str = ""
    device_id: str = ""
    connect_trace: str = ""
    capabilities: frozenset[str] = frozenset()
    generation: Generation = Generation.LEGACY
    epoch: str = ""
    dseq: int = 0
    acked: int = 0
    window: deque[Unacked] = field(factory=deque[Unacked], repr=False)
    quiet_since: int = 0
    position: int = 0
    covered: int = 0
    sent: int = 0
    unwritten: deque[Unwritten] = field(factory=deque[Unwritten], repr=False)
    unwritten_bytes: int = 0
    buffer_full: bool = False
    dseq_fault: DseqFault | None = None
    pong_ms: int = 0
    watching: set[str] = field(factory=set[str])

    @property
    def ready(self) -> bool:
        return self.phase in (Phase.REPLAYING, Phase.LIVE)

    @property
    def stamps_seq(self) -> bool:
        """R1-4, CAP-5."""
        return "reliable_delivery" in self.capabilities

    def can(self, capability: str) -> bool:
        return capability in self.capabilities
