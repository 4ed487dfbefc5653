"""Writing JSON: compact, exact, and encodable as UTF-8 whatever the strings hold."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from operator import methodcaller
from typing import Final, cast

from clawproto.json_types import Json
from clawproto.wire.json_backend import MAX_DEPTH

_DEEPEST: Final = MAX_DEPTH - 4  # frame, payload, message and body are around it

_values: Final = methodcaller("values")
_OBJECTS: Final = frozenset({dict})
_KEYS: Final = frozenset({str})
_FLAT: Final = frozenset({str, int, bool, type(None)})
_NOTHING: Final = "\\u0000"  # how U+0000 is written
_quote: Final = json.encoder.encode_basestring  # how the encoder below writes a string
_readable: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))
_ascii: Final = json.JSONEncoder(ensure_ascii=True, allow_nan=False, check_circular=False, separators=(",", ":"))


def write_exactly(value: Json) -> str:
    """Compact JSON of an already plain value. Raises ValueError for a non-finite float or an oversized integer."""
    text = _readable.encode(value)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair: it can only travel escaped
        return _ascii.encode(value)
    return text


def write_as_read(value: Json, encode: Callable[[Json], str] = write_exactly) -> str:
    """As ``encode``, but JSON has no infinity: what was read from a number too large for a float is written as such a
    number again. Raises ValueError for NaN and an oversized integer."""
    try:
        return encode(value)
    except ValueError:
        return _with_infinities(value, encode)


def _with_infinities(value: Json, encode: Callable[[Json], str]) -> str:
    match value:
        case float() if math.isinf(value):
            return "1e999" if value == math.inf else "-1e999"
        case dict():
            pairs = (f"{encode(key)}:{_with_infinities(item, encode)}" for key, item in value.items())
            return "{" + ",".join(pairs) + "}"
        case list():
            return "[" + ",".join(_with_infinities(item, encode) for item in value) + "]"
        case _:
            return encode(value)


def write_ascii(value: Json) -> str:
    """As `write_as_read`, in ASCII alone."""
    return write_as_read(value, _ascii.encode)


def plain(value: object, depth: int = 0) -> Json:
    """A copy of ``value`` that is nothing but JSON, without U+0000 (ENV-9).

    Mappings become dicts, lists and tuples become lists. Nothing is converted beyond that: ``json`` alone would turn
    the key 5 into "5" and an enumeration into its value.

    Raises:
        ValueError: anything that is no JSON value, and nesting that is circular or deeper than a reader would stand.
    """
    if type(value) is str:
        return value.replace("\0", "")
    if value is None or type(value) is bool or type(value) is int or type(value) is float:
        return value
    if depth >= _DEEPEST:
        raise ValueError("nested too deeply, or circular")
    if isinstance(value, Mapping):
        result: dict[str, Json] = {}
        for key, item in cast(Mapping[object, object], value).items():
            if type(key) is not str:
                raise ValueError(f"a key is of type {type(key).__name__}, not a string")
            result[key.replace("\0", "")] = plain(item, depth + 1)
        return result
    if isinstance(value, list | tuple):
        return [plain(item, depth + 1) for item in cast(Sequence[object], value)]
    raise ValueError(f"{type(value).__name__} is not a JSON value")


def write(value: object) -> str:
    """Compact JSON of ``value``, without U+0000 (ENV-9).

    Raises:
        ValueError: as `plain`, and for NaN and infinities.
    """
    return write_exactly(plain(value))


def write_text(text: str) -> str:
    """As `write`, of a string."""
    if "\0" in text:
        text = text.replace("\0", "")
    return _quote(text) if text.isascii() else write_exactly(text)


def write_flat(items: object) -> str | None:
    """As `write`, of a tuple of dicts of strings, integers, booleans and null with nothing unusual in them; None says
    nothing about the value, not even that it can be written."""
    if type(items) is not tuple:
        return None
    objects = cast("tuple[dict[object, object], ...]", items)
    if not (
        _OBJECTS.issuperset(map(type, objects))
        and _KEYS.issuperset(map(type, chain.from_iterable(objects)))
        and _FLAT.issuperset(map(type, chain.from_iterable(map(_values, objects))))
    ):
        return None
    text = _write_all(objects)
    return None if text is None or ("\\" in text and _NOTHING in text) else text


def _stdlib_write_all(objects: Sequence[object]) -> str | None:
    try:
        text = _readable.encode(objects)
        if not text.isascii():
            text.encode()
    except ValueError:  # an oversized integer, or half of a surrogate pair
        return None
    return text


_write_all: Callable[[Sequence[object]], str | None] = _stdlib_write_all


def load() -> None:
    """Write with msgspec from now on, if it is installed: faster, and the same, byte for byte, for what it is given."""
    global _write_all  # noqa: PLW0603
    try:
        import msgspec  # noqa: PLC0415
    except ImportError:
        return
    encode = msgspec.json.Encoder().encode

    def write_all(objects: Sequence[object]) -> str | None:
        try:
            return encode(objects).decode()
        except (ValueError, OverflowError):  # half of a surrogate pair; an integer of more than 64 bits
            return None

    _write_all = write_all
