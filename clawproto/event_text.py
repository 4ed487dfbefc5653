"""Events for the application as JSON text, and back without loss: what message stores keep.

Rules: ENV-9, ENV-14, EVT-1, FRAG-3, R2-10, R2-27.

    {"v":1,"is":"message_received","chat_id":"cnv_1","message":{"is":"message_payload","fragments":[…],…},…}

Every value says what it is, fields that have their default are left out, and what is untyped on the wire stays as it
came. A text is read by the types of the fields, so that damage is noticed. What a later version has written is not
lost: fields that are not known are passed over, a fragment of a kind that is not known becomes an `UnknownFragment`,
and an event of such a kind an `UnknownEvent` that holds all of it. The text in the store stays as it is.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeAlias, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import attrs

from clawproto.app_events import AppEvent, UnknownEvent
from clawproto.json_types import Json
from clawproto.wire.json_text import write_as_read
from clawproto.wire.values import Frame, OpaquePayload, UnknownFragment

VERSION: Final = 1
_T = TypeVar("_T")
_TAG: Final = "is"
_SCALARS: Final = (str, int, bool, NoneType)
_Read: TypeAlias = Callable[[Json], object]


class UnreadableEvent(ValueError):
    """A text that `event_to_text` did not write, or that was damaged since. Says where, and quotes nothing."""


class _WrongType(Exception):
    """A field has a value that its class does not have."""


def _memo(function: Callable[[type], _T]) -> Callable[[type], _T]:
    """Remembers what a class leads to."""
    return cache(function)


def event_to_text(event: AppEvent) -> str:
    """``event`` as JSON without line breaks and U+0000 that can be encoded as UTF-8, whatever the event holds.

    Raises:
        ValueError: it holds a number that is none (NaN).
    """
    return write_as_read({"v": VERSION, **cast("dict[str, Json]", to_plain(event))})


def event_from_text(text: str) -> AppEvent:
    """The event that `event_to_text` wrote, of this version or another.

    Raises:
        UnreadableEvent: it did not.
    """
    try:
        value: Json = json.loads(text)
    except (ValueError, RecursionError):
        raise UnreadableEvent("is not JSON") from None
    if type(value) is not dict or type(version := value.pop("v", None)) is not int:
        raise UnreadableEvent("has no version")
    tag = value.get(_TAG)
    if type(tag) is not str:
        raise UnreadableEvent("does not say what it is")
    known = _events().get(tag)
    if known is None or version > VERSION:
        payload = OpaquePayload(value)
        return UnknownEvent(Frame(tag, payload), payload)
    return cast(AppEvent, _read_object(known, value, tag))


def kind_of(event: AppEvent) -> str:
    """What the text calls such an event."""
    return _tag(type(event))


# --- writing -------------------------------------------------------------------------------------------------------


def to_plain(value: object) -> Json:
    """A value of an event, as JSON."""
    if type(value) in _SCALARS or type(value) is float:
        return cast(Json, value)
    if type(value) is tuple:
        return [to_plain(item) for item in cast(tuple[object, ...], value)]
    if type(value) is bytes:
        return {"base64": base64.b64encode(value).decode()}
    if attrs.has(type(value)):
        written: dict[str, Json] = {_TAG: _tag(type(value))}
        for name, default in _fields(type(value)):
            field = getattr(value, name)
            if field != default:
                written[name] = to_plain(field)
        return written
    if isinstance(value, Mapping):
        return dict(cast(Mapping[str, Json], value))
    return cast(Json, value)


@_memo
def _tag(type_: type) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type_.__name__).lower()


@_memo
def _fields(type_: type) -> tuple[tuple[str, object], ...]:
    """The fields of a class with their defaults; a field that has none is equal to nothing."""
    return tuple((field.name, field.default) for field in attrs.fields(cast(Any, type_)) if field.init)


# --- reading -------------------------------------------------------------------------------------------------------


@cache
def _events() -> dict[str, type]:
    return {_tag(type_): type_ for type_ in get_args(AppEvent)}


def _read_object(type_: type, value: dict[str, Json], tag: str) -> object:
    given: dict[str, object] = {}
    for name, (read, required) in _readers(type_).items():
        if name in value:
            try:
                given[name] = read(value[name])
            except _WrongType:
                raise UnreadableEvent(f"{tag}.{name} has a wrong type") from None
        elif required:
            raise UnreadableEvent(f"{tag}.{name} is missing")
    return type_(**given)


@_memo
def _readers(type_: type) -> dict[str, tuple[_Read, bool]]:
    hints = get_type_hints(type_)
    return {name: (_reader(hints[name]), default is attrs.NOTHING) for name, default in _fields(type_)}


def _reader(hint: object) -> _Read:
    """What reads a field of this type."""
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if any(get_origin(option) is dict for option in options):
        return lambda value: value  # untyped on the wire
    scalars = tuple(option for option in options if option in _SCALARS)
    words = frozenset(word for option in options if get_origin(option) is Literal for word in get_args(option))
    items = next((_reader(get_args(option)[0]) for option in options if get_origin(option) is tuple), None)
    is_mapping = any(get_origin(option) is Mapping for option in options)
    classes = {_tag(option): option for option in options if isinstance(option, type) and attrs.has(option)}

    def read(value: Json) -> object:
        if type(value) in scalars or (type(value) is str and value in words) or (type(value) is dict and is_mapping):
            return value
        if type(value) is list and items is not None:
            return tuple(map(items, value))
        if type(value) is dict:
            return read_dict(value)
        raise _WrongType

    def read_dict(value: dict[str, Json]) -> object:
        tag = value.get(_TAG)
        if type(tag) is str and tag in classes:
            return _read_object(classes[tag], value, tag)
        if type(tag) is str and UnknownFragment in options:
            return UnknownFragment(tag, value)
        if bytes in options and type(text := value.get("base64")) is str:
            try:
                return base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                raise _WrongType from None
        raise _WrongType

    return read
