"""Who should own how much: names of members, shards, and fair shares. Pure functions.

fleet=1/1:HOST:PID:TOKEN…      a member that takes any account
fleet=2/3:HOST:PID:TOKEN…      a member that takes the second third
anything else                  not a fleet: a process that holds one session (`clawproto_io.lease`)
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from math import ceil, floor

from attrs import field
from attrs.validators import ge

from clawproto.deferred import frozen

_NAME = re.compile(r"fleet=(?P<index>[1-9][0-9]{0,5})/(?P<count>[1-9][0-9]{0,5}):.*", re.DOTALL)


@frozen
class Shard:
    """Part ``index``, counted from 1, of the accounts of a store, cut into ``count`` parts by their names.

    Raises:
        ValueError: there is no such part.
    """

    index: int = field(default=1, validator=ge(1))
    count: int = field(default=1, validator=ge(1))

    def __attrs_post_init__(self) -> None:
        if self.index > self.count:
            raise ValueError(f"there is no part {self.index} of {self.count}")

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """``2/3`` as a shard.

        Raises:
            ValueError: it is none.
        """
        index, slash, count = text.partition("/")
        if not (slash and index.isascii() and index.isdigit() and count.isascii() and count.isdigit()):
            raise ValueError(f"a shard looks like 1/2, not {text!r}")
        return cls(int(index), int(count))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def __contains__(self, account: str) -> bool:
        return self.count == 1 or _part(account, self.count) == self.index


@lru_cache(maxsize=65_536)
def _part(account: str, count: int) -> int:
    return _digest("shard", account) % count + 1


def member_name(process: str, shard: Shard) -> str:
    """The name of a fleet's member in the store: it tells the other members what it can take."""
    return f"fleet={shard}:{process}"


def shard_of(member: str) -> Shard | None:
    """What a member can take; None if it is no fleet."""
    found = _NAME.fullmatch(member)
    if found is None or int(found["index"]) > int(found["count"]):
        return None
    return Shard(int(found["index"]), int(found["count"]))


def rank(member: str, name: str) -> int:
    """How much ``member`` is the right one for ``name``. Every member has another order, so that they do not all reach
    for the same account first."""
    return _digest(member, name)


def _digest(one: str, other: str) -> int:
    text = f"{one}\0{other}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


@frozen
class Share:
    """How many accounts a member should own: between both."""

    low: int
    high: int


def fair_share(shard: Shard, accounts: Iterable[str], members: Mapping[str, Shard]) -> Share:
    """The share of a member with this ``shard``: each account counts for all who may take it in equal parts.

    Args:
        accounts: those that can be owned.
        members: those that live, the one in question included.
    """
    groups: dict[int, int] = {}  # accounts by the number of those who may take them
    plain = len(set(members.values())) == 1
    for account in accounts:
        if account in shard:
            takers = len(members) if plain else sum(account in other for other in members.values())
            groups[takers] = groups.get(takers, 0) + 1
    if len(groups) == 1:
        ((takers, count),) = groups.items()
        return Share(count // takers, -(-count // takers))
    parts = sum(count / takers for takers, count in groups.items())
    return Share(floor(parts + 1e-9), ceil(parts - 1e-9))
