"""Immutable maps for the frozen state.

A map of few entries is a dict that is copied for each change. A larger one is a tree; setting and removing share all
but one path with the old map: O(log16 n). Which of the two depends on the size alone.

Equal contents have equal shape, whatever the history, so equality and hash are structural; each node keeps its hash.
No order depends on Python's randomized string hash. Maps and nodes are never changed either, but not frozen by attrs,
to be made quickly. Wider branches would be slower to change: copying one touches the reference count of every child.

    _Branch(shift=4, prefix=0)            keys as base-16 digits, most significant first; digits that all keys
      ├─ digit 1 ─ _Branch(shift=0)       below agree on are skipped, so every branch has two children or more
      │     ├─ digit 0 ─ _Leaf(16)
      │     └─ digit 7 ─ _Leaf(23)
      └─ digit 3 ─ _Leaf(50)
"""

import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Set as AbstractSet
from functools import reduce
from operator import itemgetter
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast, overload

from attrs import define, field

V = TypeVar("V")
W = TypeVar("W")
D = TypeVar("D")

# --- the tree ------------------------------------------------------------------------------------------------------


@define(unsafe_hash=True, cache_hash=True)
class _Leaf(Generic[V]):
    key: int
    value: V


@define(unsafe_hash=True, cache_hash=True)
class _Branch(Generic[V]):
    """At least two children, told apart by the digit of their keys at ``shift``.

    Attributes:
        shift: position of that digit in bits, a multiple of 4.
        prefix: what all keys below have in common: ``key >> shift + 4``.
        bitmap: which of the 16 digits have a child.
        children: these, by digit.
    """

    shift: int
    prefix: int
    bitmap: int
    children: "tuple[_Leaf[V] | _Branch[V], ...]"


_Node: TypeAlias = _Leaf[V] | _Branch[V]


def is_node(value: object) -> bool:
    """Whether this is a part of a map, shared by all maps that have it in common."""
    return isinstance(value, _Branch | _Leaf)


def _find(node: _Node[V] | None, key: int) -> _Leaf[V] | None:
    while isinstance(node, _Branch):
        bit = 1 << (key >> node.shift & 15)
        if not node.bitmap & bit:
            return None
        node = node.children[(node.bitmap & (bit - 1)).bit_count()]
    return node if node is not None and node.key == key else None


def _join(node: _Node[V], other: _Node[V], key: int, other_key: int) -> _Branch[V]:
    """A branch over two nodes whose keys differ above both."""
    shift = ((key ^ other_key).bit_length() - 1) // 4 * 4
    digit, other_digit = key >> shift & 15, other_key >> shift & 15
    children = (node, other) if digit < other_digit else (other, node)
    return _Branch(shift, key >> shift + 4, 1 << digit | 1 << other_digit, children)


def _with(node: _Node[V] | None, leaf: _Leaf[V]) -> _Node[V]:
    key = leaf.key
    if node is None:
        return leaf
    if isinstance(node, _Leaf):
        return leaf if node.key == key else _join(node, leaf, node.key, key)
    shift = node.shift
    if key >> shift + 4 != node.prefix:
        return _join(node, leaf, node.prefix << shift + 4, key)
    bit = 1 << (key >> shift & 15)
    at = (node.bitmap & (bit - 1)).bit_count()
    below = node.children
    if node.bitmap & bit:
        children = (*below[:at], _with(below[at], leaf), *below[at + 1 :])
    else:
        children = (*below[:at], leaf, *below[at:])
    return _Branch(shift, node.prefix, node.bitmap | bit, children)


def _without(node: _Node[V], key: int) -> _Node[V] | None:
    """``node`` less ``key``, which is in it."""
    if isinstance(node, _Leaf):
        return None
    bit = 1 << (key >> node.shift & 15)
    at = (node.bitmap & (bit - 1)).bit_count()
    below = node.children
    rest = _without(below[at], key)
    if rest is not None:
        return _Branch(node.shift, node.prefix, node.bitmap, (*below[:at], rest, *below[at + 1 :]))
    if len(below) == 2:
        return below[1 - at]
    return _Branch(node.shift, node.prefix, node.bitmap ^ bit, (*below[:at], *below[at + 1 :]))


def _leaves(root: _Node[V] | None) -> Iterator[_Leaf[V]]:
    stack = [] if root is None else [root]
    while stack:
        node = stack.pop()
        if isinstance(node, _Leaf):
            yield node
        else:
            stack.extend(reversed(node.children))


def _grown(leaves: "list[_Leaf[V]]") -> _Node[V]:
    """The tree of these leaves, at least one, in ascending order."""
    keys = [leaf.key for leaf in leaves]

    def grow(begin: int, end: int) -> _Node[V]:
        if end - begin == 1:
            return leaves[begin]
        lowest = keys[begin]
        shift = ((lowest ^ keys[end - 1]).bit_length() - 1) // 4 * 4
        bitmap, children = 0, list[_Node[V]]()
        while begin < end:
            digits = keys[begin] >> shift
            bitmap |= 1 << (digits & 15)
            after = bisect_left(keys, digits + 1 << shift, begin, end)
            children.append(grow(begin, after))
            begin = after
        return _Branch(shift, lowest >> shift + 4, bitmap, tuple(children))

    return grow(0, len(leaves))


# --- the maps ------------------------------------------------------------------------------------------------------

_FEW = 16  # up to so many entries, copying a dict is quicker than copying a path
_PART = 4  # with one entry in so many to be changed, a new tree is quicker than as many paths


@define(repr=False, eq=False)
class IntMap(Generic[V]):
    """An immutable map from integers of at least 0, in ascending order of its keys. Hashable if its values are."""

    _few: dict[int, V] | None = field(factory=dict[int, V])  # in ascending order; None: the entries are in the tree
    _root: _Node[V] | None = None
    _length: int = 0

    @staticmethod
    def of(items: Iterable[tuple[int, W]]) -> "IntMap[W]":
        """The map of these pairs; of equal keys the last one counts. Raises ValueError for a negative key."""
        found = dict(items)
        if (keys := sorted(found)) and keys[0] < 0:
            raise ValueError(f"keys are at least 0, not {keys[0]}")
        if len(keys) <= _FEW:
            return IntMap({key: found[key] for key in keys}, None, len(keys))
        return IntMap(None, _grown([_Leaf(key, found[key]) for key in keys]), len(keys))

    @overload
    def get(self, key: int) -> V | None: ...
    @overload
    def get(self, key: int, default: V | D) -> V | D: ...
    def get(self, key: int, default: object = None) -> object:
        """The value of ``key``, or ``default``."""
        if self._few is not None:
            return self._few.get(key, default)
        leaf = _find(self._root, key)
        return default if leaf is None else leaf.value

    def set(self, key: int, value: V) -> "IntMap[V]":
        """This map with ``key`` set to ``value``. Raises ValueError for a negative key."""
        few = self._few
        if few is None:
            old = _find(self._root, key)
            if old is not None and old.value is value:
                return self
            return IntMap(None, _with(self._root, _Leaf(key, value)), self._length + (old is None))
        if key < 0:
            raise ValueError(f"keys are at least 0, not {key}")
        if key in few:
            return self if few[key] is value else IntMap({**few, key: value}, None, self._length)
        length = self._length + 1
        if length > _FEW:
            return IntMap.of([*few.items(), (key, value)])
        few = {**few, key: value}
        if length > 1 and key < max(few):
            few = dict(sorted(few.items()))
        return IntMap(few, None, length)

    def remove(self, key: int) -> "IntMap[V]":
        """This map without ``key``; the same map if it has none."""
        few = self._few
        if few is not None:
            if key not in few:
                return self
            few = few.copy()
            del few[key]
            return IntMap(few, None, self._length - 1)
        if self._root is None or _find(self._root, key) is None:
            return self
        root, length = _without(self._root, key), self._length - 1
        few = None if length > _FEW else {leaf.key: leaf.value for leaf in _leaves(root)}
        return IntMap(few, root if few is None else None, length)

    def changed(self, gone: AbstractSet[int], fresh: Mapping[int, V]) -> "IntMap[V]":
        """This map without the keys ``gone`` and with what is in ``fresh``, as one by one; many at once are quicker."""
        if (len(gone) + len(fresh)) * _PART < self._length:
            rest = reduce(IntMap[V].remove, gone, self)
            return reduce(lambda found, pair: found.set(*pair), fresh.items(), rest)
        if not gone and not fresh:
            return self
        kept = {key: value for key, value in self.items() if key not in gone}
        return IntMap.of({**kept, **fresh}.items())

    def first(self) -> tuple[int, V] | None:
        """The smallest key and its value; None if the map is empty."""
        if self._few is not None:
            for pair in self._few.items():
                return pair
            return None
        node = self._root
        while isinstance(node, _Branch):
            node = node.children[0]
        return None if node is None else (node.key, node.value)

    def __contains__(self, key: int) -> bool:
        return key in self._few if self._few is not None else _find(self._root, key) is not None

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[int]:
        return (key for key, _ in self.items())

    def items(self) -> Iterator[tuple[int, V]]:
        """Keys with their values, in ascending order."""
        if self._few is not None:
            return iter(self._few.items())
        return ((leaf.key, leaf.value) for leaf in _leaves(self._root))

    def values(self) -> Iterator[V]:
        """The values, in ascending order of their keys."""
        return (value for _, value in self.items())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IntMap):
            return NotImplemented
        them = cast("IntMap[object]", other)
        return self is other or (self._few == them._few and self._root == them._root)

    def __hash__(self) -> int:
        return hash(self._root if self._few is None else tuple(self._few.items()))

    def __repr__(self) -> str:
        return f"IntMap({dict(self.items())!r})"


_Bucket: TypeAlias = tuple[tuple[str, V], ...]


_key = itemgetter(0)


def _hash(key: str) -> int:
    return zlib.crc32(key.encode("utf-8", "surrogatepass"))


@define(repr=False, eq=False)
class StrMap(Generic[V]):
    """An immutable map from strings, in an order that is the same in every process. Hashable if its values are."""

    _few: dict[str, V] | None = field(factory=dict[str, V])  # as inserted; None: the entries are in the tree
    _buckets: IntMap[_Bucket[V]] = IntMap()
    _length: int = 0

    @staticmethod
    def of(items: Iterable[tuple[str, W]]) -> "StrMap[W]":
        """The map of these pairs; of equal keys the last one counts."""
        few = dict(items)
        if len(few) <= _FEW:
            return StrMap(few, _NO_BUCKETS, len(few))
        buckets: dict[int, _Bucket[W]] = {}
        for pair in few.items():
            slot = _hash(pair[0])
            bucket = buckets.get(slot)
            buckets[slot] = (pair,) if bucket is None else tuple(sorted((*bucket, pair), key=_key))
        return StrMap(None, IntMap.of(buckets.items()), len(few))

    @overload
    def get(self, key: str) -> V | None: ...
    @overload
    def get(self, key: str, default: V | D) -> V | D: ...
    def get(self, key: str, default: object = None) -> object:
        """The value of ``key``, or ``default``."""
        if self._few is not None:
            return self._few.get(key, default)
        for other, value in self._buckets.get(_hash(key), ()):
            if other == key:
                return value
        return default

    def set(self, key: str, value: V) -> "StrMap[V]":
        """This map with ``key`` set to ``value``."""
        few = self._few
        if few is not None:
            if few.get(key, _ABSENT) is value:
                return self
            few = {**few, key: value}
            return StrMap(few, _NO_BUCKETS, len(few)) if len(few) <= _FEW else StrMap.of(few.items())
        slot = _hash(key)
        bucket = self._buckets.get(slot)
        if bucket is None:
            return StrMap(None, self._buckets.set(slot, ((key, value),)), self._length + 1)
        others = [pair for pair in bucket if pair[0] != key]
        added = len(others) == len(bucket)
        if not added and self.get(key) is value:
            return self
        others.append((key, value))
        others.sort(key=_key)
        return StrMap(None, self._buckets.set(slot, tuple(others)), self._length + added)

    def remove(self, key: str) -> "StrMap[V]":
        """This map without ``key``; the same map if it has none."""
        few = self._few
        if few is not None:
            if key not in few:
                return self
            few = few.copy()
            del few[key]
            return StrMap(few, _NO_BUCKETS, self._length - 1)
        slot = _hash(key)
        before = self._buckets.get(slot, ())
        bucket = tuple([pair for pair in before if pair[0] != key])
        if len(bucket) == len(before):
            return self
        buckets, length = self._buckets.set(slot, bucket) if bucket else self._buckets.remove(slot), self._length - 1
        if length > _FEW:
            return StrMap(None, buckets, length)
        return StrMap({key: value for bucket in buckets.values() for key, value in bucket}, _NO_BUCKETS, length)

    def changed(self, gone: AbstractSet[str], fresh: Mapping[str, V]) -> "StrMap[V]":
        """This map without the keys ``gone`` and with what is in ``fresh``, as one by one; many at once are quicker."""
        if (len(gone) + len(fresh)) * _PART < self._length:
            rest = reduce(StrMap[V].remove, gone, self)
            return reduce(lambda found, pair: found.set(*pair), fresh.items(), rest)
        if not gone and not fresh:
            return self
        kept = {key: value for key, value in self.items() if key not in gone}
        return StrMap.of({**kept, **fresh}.items())

    def __contains__(self, key: str) -> bool:
        return self.get(key, _ABSENT) is not _ABSENT

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[str]:
        return (key for key, _ in self.items())

    def items(self) -> Iterator[tuple[str, V]]:
        """Keys with their values."""
        if self._few is not None:
            return iter(sorted(self._few.items(), key=_place))
        return (pair for bucket in self._buckets.values() for pair in bucket)

    def values(self) -> Iterator[V]:
        """The values."""
        return (value for _, value in self.items())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StrMap):
            return NotImplemented
        them = cast("StrMap[object]", other)
        return self is other or (self._few == them._few and self._buckets == them._buckets)

    def __hash__(self) -> int:
        return hash(self._buckets if self._few is None else frozenset(self._few.items()))

    def __repr__(self) -> str:
        return f"StrMap({dict(self.items())!r})"


_ABSENT: Final = object()
_NO_BUCKETS: Final[IntMap[Any]] = IntMap()


def _place(pair: tuple[str, object]) -> tuple[int, str]:
    """The order of the tree, so that it does not change with the size."""
    return _hash(pair[0]), pair[0]
