"""The converter that turns decoded JSON into values. It coerces nothing.

A ``str`` is a string, an ``int`` is an integer of 64 bits and never a boolean (ENV-14), a ``bool`` is true or false.
Unknown fields are ignored (ENV-13), and an optional field of a wrong type counts as absent. Messages, which are
frequent, are read by hand (`clawproto.wire.payloads`), and so are fragments, which a wrong type spoils (FRAG-6).

This is the only module that loads cattrs, and it is loaded when the first reader is made (`reader`).
"""

from collections.abc import Callable
from typing import Final, TypeAlias, TypeVar, get_args

from cattrs import BaseValidationError, Converter, transform_error

from clawproto.json_types import Json
from clawproto.wire.optional import LEAST, MOST, Unusable, optional_integer, optional_string

T = TypeVar("T")
_Object: TypeAlias = dict[str, Json]


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


def _is_optional(type_: object, inner: type) -> bool:
    return set(get_args(type_)) == {inner, type(None)}


tolerant: Final = Converter(detailed_validation=True)
tolerant.register_structure_hook(str, _string)
tolerant.register_structure_hook(int, _integer)
tolerant.register_structure_hook(bool, _boolean)
tolerant.register_structure_hook_func(lambda type_: _is_optional(type_, str), optional_string)
tolerant.register_structure_hook_func(lambda type_: _is_optional(type_, int), optional_integer)


def reader(type_: type[T]) -> Callable[[_Object], T]:
    """Reads payloads of one type tolerantly; raises `Unusable` for those that lack something."""
    hook: Callable[[_Object, object], T] = tolerant.get_structure_hook(type_)

    def read(data: _Object) -> T:
        try:
            return hook(data, None)
        except BaseValidationError as error:
            problems = transform_error(error, "payload", _explain)  # "is missing @ payload.nonce"
            raise Unusable("; ".join(" ".join(reversed(one.split(" @ "))) for one in problems)) from None

    return read


def _explain(error: BaseException, type_: type | None) -> str:
    return "is missing" if isinstance(error, KeyError) else f"is {error}"
