"""What is counted, and which kill comes next."""

import random
import threading
from collections import Counter
from typing import Literal, TypeAlias

from attrs import define, field, frozen

from tests.crash.boundaries import AT_ONCE, PHASES, Phase, Target

Variant: TypeAlias = Literal["plain", "rejected", "revoked", "pairing"]
"""What happens in a life: ``pairing``: it begins with a code; ``rejected``: the hub refuses its access token at the
handshake; ``revoked``: it is logged out at the end."""
VARIANTS: tuple[Variant, ...] = ("pairing", "plain", "rejected", "revoked")
ANY_TIME = "any instant"
RANDOM_SHARE = 0.2  # of the kills


@define
class Row:
    """One row of the matrix."""

    kills: Counter[str] = field(factory=Counter[str])  # by phase
    windows: int = 0
    codes: int = 0


@define
class Tally:
    """What was counted for one driver under one hub.

    Attributes:
        windows: rotations that the hub had answered when the process died without having stored the pair.
        lost: of them, so many ended a session that said ``rotation-lost``.
        untold: of them, so many ended a session that was killed once more before it could say so.
        revoked: of them, so many lie in a cycle in which the hub revoked a session as well.
        recovered: of them, so many were made up for within the hub's grace.
        codes: pairing codes that were redeemed by a process that died before it had stored the pair.
        redelivered: times that a message was handed out again: the process had died before it was stored as handled.
        accepted: sends that were acknowledged to the application.
        sent_again: sends that a kill left in the store undecided; the next life settled them.
        given_up: sends that were undecided when the session was logged out; the store says so.
        unkept: sends that a kill came before: they were in no store, and the application had no answer.
        failures: what must not happen, each with the history of its cycle.
    """

    driver: str
    mode: str
    rows: dict[str, Row] = field(factory=dict[str, Row])
    kills: int = 0
    not_reached: int = 0
    windows: int = 0
    lost: int = 0
    untold: int = 0
    revoked: int = 0
    recovered: int = 0
    codes: int = 0
    answered: int = 0
    stored: int = 0
    received: int = 0
    redelivered: int = 0
    accepted: int = 0
    sent_again: int = 0
    given_up: int = 0
    unkept: int = 0
    arrived: int = 0
    seconds: float = 0.0
    failures: list[str] = field(factory=list[str])
    seen: Counter[str] = field(factory=Counter[str])
    lock: threading.Lock = field(factory=threading.Lock, repr=False)

    def row(self, kind: str) -> Row:
        return self.rows.setdefault(kind, Row())


@frozen
class Aim:
    """Where one life is to be killed: in which variant, at which kind, in which phase. A kind of `ANY_TIME` is a kill
    from outside."""

    variant: Variant
    kind: str
    phase: str


class Deck:
    """Which kills come next: all boundaries in turn, in a new order each time."""

    def __init__(self, seen: dict[Variant, Counter[str]], chance: random.Random) -> None:
        self._seen = seen
        self._chance = chance
        self._lock = threading.Lock()
        self._left: list[tuple[str, Phase]] = []
        self._all: list[tuple[str, Phase]] = [
            (kind, phase)
            for kind in sorted(set().union(*seen.values()))
            for phase in PHASES
            if phase != "during" or not kind.startswith(AT_ONCE)
        ]

    def draw(self) -> tuple[Aim, Target | None]:
        """An aim, and its place in a life of that variant."""
        with self._lock:
            if self._chance.random() < RANDOM_SHARE:
                return Aim(self._chance.choice(VARIANTS), ANY_TIME, ANY_TIME), None
            if not self._left:
                self._left = self._chance.sample(self._all, len(self._all))
            kind, phase = self._left.pop()
            variants: list[Variant] = [name for name, counts in self._seen.items() if counts[kind]]
            variant = self._chance.choice(variants)
            number = self._chance.randint(1, self._seen[variant][kind])
            return Aim(variant, kind, phase), Target(kind, phase, number)
