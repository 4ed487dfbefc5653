"""A bounded memory: what was put last is known, what was put long ago is forgotten."""

from collections.abc import Iterator
from typing import Generic, TypeVar

from attrs import field

from clawproto.deferred import frozen

V = TypeVar("V")

_BLOCKS = 8  # a limit is so many blocks
_TAIL = 32  # a dict that is copied for each value stays short


@frozen
class Block(Generic[V]):
    """A dict that nobody changes any more. Hashable if its values are."""

    values: dict[str, V] = field(factory=dict[str, V], hash=False)

    def __hash__(self) -> int:
        return hash(frozenset(self.values.items()))


def _without(block: Block[V], key: str) -> Block[V]:
    if key not in block.values:
        return block
    return Block({other: value for other, value in block.values.items() if other != key})


@frozen
class Recent(Generic[V]):
    """Values by key. No order is kept key by key: when there is one block too many, the oldest is forgotten as a whole.
    So at most the limit is known, and at least half of it.

    Nothing here is ever changed: a value is put into a copy of ``tail``, which is short, a full tail goes into a copy
    of ``block``, and a full block into ``blocks``.
    """

    tail: Block[V] = Block()
    block: Block[V] = Block()
    blocks: tuple[Block[V], ...] = ()

    def get(self, key: str) -> V | None:
        """What is known under this key."""
        value = self.tail.values.get(key)
        if value is None and (value := self.block.values.get(key)) is None:
            for block in self.blocks:
                if (value := block.values.get(key)) is not None:
                    return value
        return value

    def put(self, key: str, value: V, limit: int) -> "Recent[V]":
        """The memory with this key as the youngest; unchanged for a limit of 0."""
        if limit == 0:
            return self
        size = max(limit // _BLOCKS, 1)
        tail, block = {**self.tail.values, key: value}, self.block.values
        if len(tail) < min(_TAIL, size - len(block)):
            return Recent(Block(tail), self.block, self.blocks)
        block = {**block, **tail}
        if len(block) < size:
            return Recent(Block(), Block(block), self.blocks)
        kept = limit // size - (size > 1)  # what is collected for the next block must find room as well
        return Recent(Block(), Block(), (Block(block), *self.blocks)[:kept])

    def drop(self, key: str) -> "Recent[V]":
        """The memory without this key."""
        if self.get(key) is None:
            return self
        blocks = tuple(rest for block in self.blocks if (rest := _without(block, key)).values)
        return Recent(_without(self.tail, key), _without(self.block, key), blocks)

    def __iter__(self) -> Iterator[str]:
        return (key for block in (self.tail, self.block, *self.blocks) for key in block.values)

    def __len__(self) -> int:
        """How many values are kept; one that was put again may count twice."""
        return sum(len(block.values) for block in (self.tail, self.block, *self.blocks))
