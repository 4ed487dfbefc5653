"""Events, effects and states as JSON and back: every attrs class that they are made of, found by their annotations.

    attrs value          {"is": "Send", "command": 3, …}          fields that have their default are left out
    tuple                […]
    a JSON object/list   {"json": …}                              what applications and peers have written
    bytes                {"bytes": "text"} or {"base64": "…"}
    maps of the state    {"ints": [[key, value], …]}, {"strings": …}, {"pairs": …}
    a secret             {"secret": "redacted-…"}                 see `clawproto.redaction`

A value says itself what it is (``is`` is a keyword, so no field has that name). So a new event, effect or branch of the
state needs nothing here, and a field that is added with a default leaves old journals readable. What is no value of
ours at all (an application may put anything into a command) becomes ``{"foreign": "its type"}``, which is as unfit for
a frame as the original.
"""

import base64
import binascii
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Final, cast

from attrs import NOTHING, Attribute, Factory, fields, has

from clawproto.effects import Effect
from clawproto.events import Event
from clawproto.json_types import Json
from clawproto.persistent import IntMap, StrMap
from clawproto.redaction import Redactor
from clawproto.secret import Secret
from clawproto.state import State

_DEEPEST: Final = 100
_MAPS: Final = (IntMap, StrMap)
# fmt: off
_PUBLIC: Final = frozenset({
    "events", "commands", "effects", "results", "app_events", "app_signals", "app_stores", "credentials", "keeping",
    "http", "config", "policy", "instant", "state",
})
# fmt: on


class JournalError(ValueError):
    """A journal that cannot be read: damaged, no journal at all, or written by a version with other events."""


# --- writing -------------------------------------------------------------------------------------------------------


class Encoder:
    """Writes values as plain JSON, without their secrets. Never raises for anything a session handles."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def __call__(self, value: object) -> Json:
        """``value`` as JSON."""
        return self._encode(value, 0)

    def _encode(self, value: object, depth: int) -> Json:
        if value is None or type(value) is bool or type(value) is int:
            return value
        if type(value) is str:
            return self._redactor.text(value)
        if type(value) is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if depth > _DEEPEST:
            return _foreign(value)
        if type(value) is tuple:
            return [self._encode(item, depth + 1) for item in cast("tuple[object, ...]", value)]
        if isinstance(value, bytes):
            return _bytes(value, self._redactor)
        if isinstance(value, IntMap):
            return {"ints": [[key, self._encode(item, depth + 1)] for key, item in cast(IntMap[object], value).items()]}
        if isinstance(value, StrMap):
            pairs = cast(StrMap[object], value).items()
            return {"strings": [[self._redactor.text(key), self._encode(item, depth + 1)] for key, item in pairs]}
        if has(type(value)):
            return self._attrs(self._redactor.value(value), depth)
        try:
            return {"json": self._json(value, depth)}
        except TypeError:
            pass
        if type(value) is dict:
            entries = cast("dict[object, object]", value).items()
            return {"pairs": [[self._encode(key, depth + 1), self._encode(item, depth + 1)] for key, item in entries]}
        return _foreign(value)

    def _attrs(self, value: object, depth: int) -> Json:
        if isinstance(value, Secret):
            return {"secret": value.reveal()}
        result: dict[str, Json] = {"is": type_name(type(value))}
        for attribute in told_fields(type(value)):
            item = getattr(value, attribute.name)
            if not is_default(attribute, item):
                result[_alias(attribute)] = self._encode(item, depth + 1)
        return result

    def _json(self, value: object, depth: int) -> Json:
        """JSON as it is; raises TypeError for what is none."""
        if value is None or type(value) is bool or type(value) is int:
            return value
        if type(value) is str:
            return self._redactor.text(value)
        if type(value) is float and math.isfinite(value):
            return value
        if depth <= _DEEPEST and isinstance(value, list | tuple):
            return [self._json(item, depth + 1) for item in cast("list[object]", value)]
        if depth <= _DEEPEST and isinstance(value, Mapping):
            pairs = cast(Mapping[object, object], value).items()
            if all(type(key) is str for key, _ in pairs):
                return {self._redactor.text(cast(str, key)): self._json(item, depth + 1) for key, item in pairs}
        raise TypeError


def _bytes(value: bytes, redactor: Redactor) -> Json:
    try:
        return {"bytes": redactor.text(value.decode())}
    except UnicodeDecodeError:
        text = redactor.text(value.decode("utf-8", "surrogateescape"))
        return {"base64": base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()}


def _foreign(value: object) -> Json:
    return {"foreign": type(value).__name__}


def class_of(value: object) -> type[Any]:
    """The class of a value of any type."""
    return type(value)


_told: Final[dict[type[Any], tuple["Attribute[Any]", ...]]] = {}


def told_fields(class_: type[Any]) -> tuple["Attribute[Any]", ...]:
    """The fields that make a value what it is."""
    found = _told.get(class_)
    if found is None:
        found = _told[class_] = tuple(attribute for attribute in fields(class_) if attribute.eq)
    return found


def is_default(attribute: "Attribute[Any]", value: object) -> bool:
    """Whether a field has the value that its class gives it, of the same type: True is no 1."""
    default: object = attribute.default
    if default is NOTHING or isinstance(default, Factory):  # type: ignore[arg-type]
        return False
    return value is default or (type(value) is type(default) and value == default)


def _alias(attribute: "Attribute[Any]") -> str:
    return attribute.alias or attribute.name


# --- reading -------------------------------------------------------------------------------------------------------


def decode(value: Json) -> object:
    """The value that was encoded. Raises JournalError for anything else."""
    if isinstance(value, list):
        return tuple(decode(item) for item in value)
    if not isinstance(value, dict):
        return value
    if "is" in value:
        return _decode_attrs(value)
    if len(value) != 1:
        raise JournalError("no value of a journal")
    ((tag, content),) = value.items()
    reader = _READERS.get(tag)
    if reader is None:
        raise JournalError(f"unknown mark {tag!r}")
    try:
        return reader(content)
    except (TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise JournalError(f"{tag}: {error}") from None


def _decode_attrs(value: dict[str, Json]) -> object:
    name = value["is"]
    class_ = classes().get(name) if isinstance(name, str) else None
    if class_ is None:
        raise JournalError(f"unknown type {name!r}; the journal is of another version of the library")
    arguments = {key: decode(item) for key, item in value.items() if key != "is"}
    try:
        return class_(**arguments)
    except (TypeError, ValueError) as error:
        raise JournalError(f"{name}: {error}") from None


def _ints(content: Any) -> object:
    return IntMap.of([(key, decode(item)) for key, item in content])


def _strings(content: Any) -> object:
    return StrMap.of([(key, decode(item)) for key, item in content])


def _pairs(content: Any) -> object:
    return {decode(key): decode(item) for key, item in content}


def _bytes_of(content: Any) -> object:
    return content.encode()


def _base64(content: Any) -> object:
    return base64.b64decode(content, validate=True)


def _as_it_is(content: Any) -> object:
    return content


def _no_value(content: Any) -> object:
    return type(content, (), {})()


_READERS: Final[dict[str, Callable[[Any], object]]] = {
    "secret": Secret,
    "pairs": _pairs,
    "json": _as_it_is,
    "bytes": _bytes_of,
    "base64": _base64,
    "float": float,
    "ints": _ints,
    "strings": _strings,
    "foreign": _no_value,
}


# --- the classes ---------------------------------------------------------------------------------------------------


def type_name(class_: type[Any]) -> str:
    """The name of a class in journals. What is known to the machines alone, and decoded downlinks, have namesakes."""
    module = class_.__module__.removeprefix("clawproto.")
    if module in _PUBLIC:
        return class_.__name__
    return f"{'wire' if module.startswith('wire.') else module}.{class_.__name__}"


@cache
def classes() -> dict[str, type]:
    """Every attrs class that events, effects and states are made of, by name. Two of one name are a defect."""
    found: dict[str, type] = {}
    waiting: list[object] = [Event, Effect, State]
    while waiting:
        for class_ in _named_in(waiting.pop()):
            if found.setdefault(type_name(class_), class_) is not class_:
                raise JournalError(f"two types are called {type_name(class_)}")
    return found


def _named_in(annotation: object) -> Iterator[type]:
    """The attrs classes in an annotation, and in those of their fields."""
    seen: set[object] = set()
    waiting = [annotation]
    while waiting:
        current = waiting.pop()
        origin: object = typing.get_origin(current)
        if origin is not None or isinstance(current, types.UnionType):
            waiting += typing.get_args(current)
            current = origin
        if not isinstance(current, type) or current in seen or not has(current) or current in (*_MAPS, Secret):
            continue
        seen.add(current)
        yield current
        waiting += [typing.get_type_hints(current)[attribute.name] for attribute in fields(current)]
