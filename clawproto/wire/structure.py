"""The converters that turn decoded JSON into values. Neither of them coerces anything.

A ``str`` is a string, an ``int`` is an integer of 64 bits and never a boolean (ENV-14), a ``bool`` is true or false.
Unknown fields are ignored (ENV-13). They differ in what a wrong type does to an optional field: `tolerant` takes the
field as absent, `strict` refuses the whole object, which is how fragments are read (FRAG-6).
"""

from collections.abc import Callable
from typing import TypeVar, get_args

from cattrs import Converter

T = TypeVar("T")


def _string(value: object, _type: object) -> str:
    if type(value) is str:
        return value
    raise TypeError("not a string")


def _integer(value: object, _type: object) -> int:
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    raise TypeError("not an integer")


def _boolean(value: object, _type: object) -> bool:
    if type(value) is bool:
        return value
    raise TypeError("not a boolean")


def optional_string(value: object, _type: object = None) -> str | None:
    """A decoded JSON value if it is a string."""
    return value if type(value) is str else None


def optional_integer(value: object, _type: object = None) -> int | None:
    """A decoded JSON value if it is an integer of 64 bits. ``true`` and ``1.0`` are none (ENV-14, R2-31)."""
    return value if type(value) is int and -(2**63) <= value < 2**63 else None


def _strictly_optional(hook: Callable[[object, object], T]) -> Callable[[object, object], T | None]:
    def structure(value: object, type_: object) -> T | None:
        return None if value is None else hook(value, type_)

    return structure


def _converter(
    *, detailed: bool, string: Callable[[object, object], str | None], integer: Callable[[object, object], int | None]
) -> Converter:
    converter = Converter(detailed_validation=detailed)
    converter.register_structure_hook(str, _string)
    converter.register_structure_hook(int, _integer)
    converter.register_structure_hook(bool, _boolean)
    converter.register_structure_hook_func(lambda type_: _is_optional(type_, str), string)
    converter.register_structure_hook_func(lambda type_: _is_optional(type_, int), integer)
    return converter


def _is_optional(type_: object, inner: type) -> bool:
    return set(get_args(type_)) == {inner, type(None)}


tolerant = _converter(detailed=True, string=optional_string, integer=optional_integer)
strict = _converter(detailed=False, string=_strictly_optional(_string), integer=_strictly_optional(_integer))
