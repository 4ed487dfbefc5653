"""What other ways of representing the state would cost: one field of eight changed, one message of many remembered."""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import attrs

from benchmarks.harness import Row, Work, compare
from clawproto.evolving import evolve
from clawproto.persistent import StrMap

REPEAT = 500
MESSAGES = 2_000


@attrs.frozen
class _Frozen:
    a: int
    b: int
    c: int
    d: int
    e: int
    f: int
    g: int
    h: int


@attrs.define
class _Mutable:
    a: int
    b: int
    c: int
    d: int
    e: int
    f: int
    g: int
    h: int


class _Tuple(NamedTuple):
    a: int
    b: int
    c: int
    d: int
    e: int
    f: int
    g: int
    h: int


@dataclasses.dataclass(frozen=True, slots=True)
class _Data:
    a: int
    b: int
    c: int
    d: int
    e: int
    f: int
    g: int
    h: int


_NUMBERS = (1, 2, 3, 4, 5, 6, 7, 8)


def _assigning() -> Work:
    value = _Mutable(*_NUMBERS)

    def work() -> None:
        for number in range(REPEAT):
            value.a = number

    return work


def _changing() -> Iterator[tuple[str, Work]]:
    frozen, data, named, mutable = _Frozen(*_NUMBERS), _Data(*_NUMBERS), _Tuple(*_NUMBERS), _Mutable(*_NUMBERS)

    def own() -> None:
        for number in range(REPEAT):
            evolve(frozen, a=number)

    def by_attrs() -> None:
        for number in range(REPEAT):
            attrs.evolve(frozen, a=number)

    def by_dataclasses() -> None:
        for number in range(REPEAT):
            dataclasses.replace(data, a=number)

    def by_tuple() -> None:
        for number in range(REPEAT):
            named._replace(a=number)

    def by_constructor() -> None:
        for number in range(REPEAT):
            _Frozen(number, frozen.b, frozen.c, frozen.d, frozen.e, frozen.f, frozen.g, frozen.h)

    def by_snapshot() -> None:
        for number in range(REPEAT):
            copied = _Mutable(mutable.a, mutable.b, mutable.c, mutable.d, mutable.e, mutable.f, mutable.g, mutable.h)
            copied.a = number

    yield "attrs frozen, generated evolve (in use)", own
    yield "attrs frozen, attrs.evolve", by_attrs
    yield "attrs frozen, its constructor", by_constructor
    yield "frozen dataclass, dataclasses.replace", by_dataclasses
    yield "NamedTuple, _replace", by_tuple
    yield "mutable attrs, copied and assigned", by_snapshot


def _remembering() -> Iterator[tuple[str, Work]]:
    names = [f"msg-{number:026}" for number in range(MESSAGES)]
    others = [f"new-{number:026}" for number in range(REPEAT // 10)]
    full: StrMap[int] = StrMap.of((name, 1) for name in names)
    plain = dict.fromkeys(names, 1)

    def persistent() -> None:
        current = full
        for name in others:
            current = current.set(name, 1)

    def copied() -> None:
        current = plain
        for name in others:
            current = {**current, name: 1}

    yield f"StrMap.set among {MESSAGES:,} (in use)", persistent
    yield f"copy of a dict of {MESSAGES:,}", copied


def alternatives(rounds: int) -> Iterator[Row]:
    """Microseconds per change."""
    baseline = _assigning()
    for name, work in _changing():
        yield compare(
            "representation", name, work, "assigning to a mutable field", baseline, operations=REPEAT, rounds=rounds
        )
    for name, work in _remembering():
        yield compare(
            "representation",
            name,
            work,
            "assigning to a mutable field",
            baseline,
            operations=REPEAT // 10,
            baseline_operations=REPEAT,
            rounds=rounds,
        )
