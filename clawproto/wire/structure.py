"""The converters that turn decoded JSON into values. Neither of them coerces anything.

A ``str`` is a string, an ``int`` is an integer of 64 bits and never a boolean (ENV-14), a ``bool`` is true or false.
Unknown fields are ignored (ENV-13). They differ in what a wrong type does to an optional field: `tolerant` takes the
field as absent, `strict` refuses the whole object, which is how fragments are read (FRAG-6).

This is the only module that loads cattrs, and it is loaded when the first reader is made (`reader`, `fragment_reader`).
"""

from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar, cast, get_args

from cattrs import BaseValidationError, Converter, transform_error
from cattrs.gen import make_dict_structure_fn, override

from clawproto.json_types import Json
from clawproto.wire.optional import Unusable, optional_integer, optional_string

T = TypeVar("T")
_Object: TypeAlias = dict[str, Json]


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


tolerant: Final = _converter(detailed=True, string=optional_string, integer=optional_integer)
strict: Final = _converter(detailed=False, string=_strictly_optional(_string), integer=_strictly_optional(_integer))


def reader(type_: type[T]) -> Callable[[_Object], T]:
    """Reads payloads of one type tolerantly; raises `Unusable` for those that lack something."""
    hook = cast(Callable[[_Object, object], T], tolerant.get_structure_hook(type_))

    def read(data: _Object) -> T:
        try:
            return hook(data, None)
        except BaseValidationError as error:
            parts = [part.split(" @ ", 1) for part in transform_error(error, "payload", _explain)]
            raise Unusable("; ".join(f"{path} {text}" for text, path in parts)) from None

    return read


def _explain(error: BaseException, type_: type | None) -> str:
    return "is missing" if isinstance(error, KeyError) else f"is {error}"


def fragment_reader(type_: type[T], *absent: str) -> Callable[[_Object, object], T]:
    """Reads fragments of one type strictly; ``absent`` fields are not looked at (FRAG-2, ENV-13).

    What it returns raises TypeError for a wrong type, and KeyError for a required field that is not there.
    """
    omitted: dict[str, Any] = {name: override(omit=True) for name in absent}
    hook = make_dict_structure_fn(type_, strict, **omitted) if absent else strict.get_structure_hook(type_)
    return cast(Callable[[_Object, object], T], hook)
