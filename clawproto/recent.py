"""A bounded memory: what was put last is known, what was put long ago is forgotten."""

from typing import Generic, TypeVar

from attrs import frozen

from clawproto.persistent import StrMap

V = TypeVar("V")


@frozen
class Recent(Generic[V]):
    """Values by key, in two generations of half the limit each.

    When the younger one is full, the older one is forgotten: no order has to be kept, key by key. So at most the limit
    is known, and at least half of it.
    """

    young: StrMap[V] = StrMap()
    old: StrMap[V] = StrMap()

    def get(self, key: str) -> V | None:
        """What is known under this key."""
        known = self.young.get(key)
        return self.old.get(key) if known is None else known

    def put(self, key: str, value: V, limit: int) -> "Recent[V]":
        """The memory with this key as the youngest; unchanged for a limit of 0."""
        if limit == 0:
            return self
        young = self.young.set(key, value)
        full = len(young) * 2 > max(limit, 2)
        return Recent(StrMap.of([(key, value)]), self.young) if full else Recent(young, self.old)

    def drop(self, key: str) -> "Recent[V]":
        """The memory without this key."""
        return self if self.get(key) is None else Recent(self.young.remove(key), self.old.remove(key))
