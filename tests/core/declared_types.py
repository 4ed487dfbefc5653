"""What steps produce is of the types that its classes declare: a journal, a hash or a driver goes by them.

Type checkers see the code only; here the values of every step of every bench are looked at.
"""

import types
from collections.abc import Callable, Hashable, Iterable
from functools import cache
from typing import Any, Literal, TypeAlias, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from attrs import fields, has

from clawproto.persistent import IntMap, StrMap

LARGEST_MAP = 32
"""A map with more entries than that is not looked through: each of them was looked at when there were few."""

Check: TypeAlias = Callable[[Any, Any], str | None]
"""Of a value, and the one that was in its place before, which need not be looked at again. Says what is wrong."""


def mistyped(value: Any, before: Any = None) -> str | None:
    """Where an attrs ``value`` is not what its class declares, or None. Parts that are those of ``before`` are fine."""
    return None if value is before else _of_class(cast(Hashable, type(value)))(value, before)


@cache
def _of_class(cls: Any) -> Check:
    hints = get_type_hints(cls)
    parts = [(field.name, _of(hints[field.name])) for field in fields(cls)]

    def check(value: Any, before: Any) -> str | None:
        for name, check_part in parts:
            part, part_before = getattr(value, name), getattr(before, name, None)
            if part is part_before and before is not None:
                continue
            if (problem := check_part(part, part_before)) is not None:
                return f"{cls.__name__}.{name}: {problem}"
        return None

    return check


@cache
def _of(hint: Any) -> Check:
    origin = get_origin(hint)
    if hint in (Any, object) or isinstance(hint, TypeVar | str) or origin is Callable:
        return lambda value, before: None
    if origin in (Union, types.UnionType):
        return _one_of(tuple(_of(choice) for choice in get_args(hint)))
    if origin is Literal:
        return lambda value, before: None if value in get_args(hint) else f"{value!r} is none of {get_args(hint)}"
    if origin is tuple:
        return _tuple_of(get_args(hint))
    if origin in (IntMap, StrMap):
        return _map_of(_of(get_args(hint)[0]))
    if isinstance(origin or hint, type) and not _is_protocol(origin or hint):
        return _instance_of(origin or hint)
    return lambda value, before: None


def _is_protocol(cls: type) -> bool:
    """Says nothing of its instances at run time."""
    return bool(getattr(cls, "_is_protocol", False))


def _instance_of(cls: type) -> Check:
    allowed: tuple[type, ...] = (int, float) if cls is float else (cls,)
    attributes = has(cls)

    def check(value: Any, before: Any) -> str | None:
        if not isinstance(value, allowed) or (isinstance(value, bool) and cls in (int, float)):
            return f"{value!r} is no {cls.__name__}"
        return mistyped(value, before if type(before) is type(value) else None) if attributes else None

    return check


def _one_of(checks: Iterable[Check]) -> Check:
    def check(value: Any, before: Any) -> str | None:
        problems = [check_one(value, before) for check_one in checks]
        return None if None in problems else "; ".join(problem for problem in problems if problem)

    return check


def _map_of(check_value: Check) -> Check:
    def check(value: Any, before: Any) -> str | None:
        if not isinstance(value, IntMap | StrMap):
            return f"{value!r} is no map"
        if len(value) > LARGEST_MAP:
            return None
        known: Any = before if isinstance(before, type(value)) else {}
        return next(
            (
                problem
                for key, one in value.items()
                if one is not known.get(key) and (problem := check_value(one, None)) is not None
            ),
            None,
        )

    return check


def _tuple_of(members: tuple[Any, ...]) -> Check:
    each = _of(members[0]) if len(members) == 2 and members[1] is Ellipsis else None

    def check(value: Any, before: Any) -> str | None:
        if not isinstance(value, tuple):
            return f"{value!r} is no tuple"
        if each is None and len(value) != len(members):
            return f"{value!r} has not {len(members)} members"
        known = {id(member) for member in before} if isinstance(before, tuple) else set[int]()
        for index, member in enumerate(value):
            if id(member) in known:
                continue
            if (problem := (each or _of(members[index]))(member, None)) is not None:
                return problem
        return None

    return check
