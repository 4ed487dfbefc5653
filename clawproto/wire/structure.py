"""The converter that turns decoded JSON into values. It coerces nothing.

A ``str`` is a string, an ``int`` is an integer of 64 bits and never a boolean (ENV-14), a ``bool`` is true or false.
Unknown fields are ignored (ENV-13), and an optional field of a wrong type counts as absent. Messages, which are
frequent, are read by hand (`clawproto.wire.payloads`), and so are fragments, which a wrong type spoils (FRAG-6).
"""

from typing import get_args

from cattrs import Converter

LEAST, MOST = -(2**63), 2**63 - 1  # of an integer (ENV-14)


def _string(value: object, _type: object) -> str:
    if type(value) is str:
        return value
    raise TypeError("not a string")


def _integer(value: object, _type: object) -> int:
    if type(value) is int and LEAST <= value <= MOST:
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
    return value if type(value) is int and LEAST <= value <= MOST else None


def _is_optional(type_: object, inner: type) -> bool:
    return set(get_args(type_)) == {inner, type(None)}


tolerant = Converter(detailed_validation=True)
tolerant.register_structure_hook(str, _string)
tolerant.register_structure_hook(int, _integer)
tolerant.register_structure_hook(bool, _boolean)
tolerant.register_structure_hook_func(lambda type_: _is_optional(type_, str), optional_string)
tolerant.register_structure_hook_func(lambda type_: _is_optional(type_, int), optional_integer)
