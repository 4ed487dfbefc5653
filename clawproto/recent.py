"""A bounded memory: what was put last is known, what was put long ago is forgotten."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final, Generic, TypeVar

from attrs import field

from clawproto.deferred import frozen

V = TypeVar("V")

_TAIL = 32  # a dict that is copied for each value stays short
_PARTS = 9  # of the memory: four in either half, and one that is being collected


@frozen
class Block(Generic[V]):
    """A dict that nobody changes any more. Hashable if its values are."""

    values: dict[str, V] = field(factory=dict[str, V], hash=False)

    def __hash__(self) -> int:
        return hash(frozenset(self.values.items()))


_EMPTY: Final[Block[Any]] = Block({})


def _without(block: Block[V], key: str) -> Block[V]:
    if key not in block.values:
        return block
    return Block({other: value for other, value in block.values.items() if other != key})


@frozen
class Recent(Generic[V]):
    """Values by key. No order is kept key by key: when the younger half of the memory is full, the older one is
    forgotten as a whole. So at most the limit is known, and at least half of it.

    Nothing here is ever changed: a value is put into a copy of ``tail``, which is short, a full tail goes into a copy
    of ``block``, a full block into one of ``younger``, which becomes ``older`` when it is full.
    """

    tail: Block[V] = _EMPTY
    block: Block[V] = _EMPTY
    younger: Block[V] = _EMPTY
    older: Block[V] = _EMPTY

    def tables(self) -> tuple[Mapping[str, V], ...]:
        """Everything that is known, in a few dicts; of a key in several the first counts."""
        parts = (self.tail, self.block, self.younger, self.older)
        return tuple([part.values for part in parts if part.values])

    def get(self, key: str) -> V | None:
        """What is known under this key."""
        value = self.tail.values.get(key)
        if value is None and (value := self.block.values.get(key)) is None:
            value = self.younger.values.get(key)
            return self.older.values.get(key) if value is None else value
        return value

    def put(self, key: str, value: V, limit: int) -> "Recent[V]":
        """The memory with this key as the youngest; unchanged for a limit of 0."""
        return self.put_all({key: value}, limit)

    def put_all(self, values: Mapping[str, V], limit: int) -> "Recent[V]":
        """The memory with these keys as the youngest, as if put one by one."""
        if limit == 0:
            return self
        part = max(limit // _PARTS, 1)
        half = (limit + 1 - part) // 2  # both halves and what is collected for the next part make up the limit
        tail, block, younger, older = self.tail.values.copy(), self.block, self.younger, self.older
        collected: dict[str, V] | None = None  # a copy of the block, made when it is to grow
        items, left = iter(values.items()), len(values)
        while left:
            room = half - len(younger.values)
            size = room if 0 < room < part else part
            enough = min(_TAIL, size - len(block.values if collected is None else collected))
            count = min(enough - len(tail), left)
            tail.update(islice(items, count))
            left -= count
            if len(tail) < enough:
                continue
            if collected is None:
                collected = block.values.copy()
            collected.update(tail)
            tail.clear()
            if len(collected) >= size:
                if room <= 0:
                    younger, older = _EMPTY, younger
                younger = Block({**younger.values, **collected})
                block, collected = _EMPTY, None
        if collected is not None:
            block = Block(collected)
        return Recent(Block(tail) if tail else _EMPTY, block, younger, older)

    def drop(self, key: str) -> "Recent[V]":
        """The memory without this key."""
        if self.get(key) is None:
            return self
        return Recent(*[_without(part, key) for part in (self.tail, self.block, self.younger, self.older)])

    def __iter__(self) -> Iterator[str]:
        return (key for table in self.tables() for key in table)

    def __len__(self) -> int:
        """How many values are kept; one that was put again may count twice."""
        return sum(map(len, self.tables()))
