"""Reading JSON: the standard library's reader, or msgspec's where it is installed, with one result for every input.

msgspec only ever answers what the standard library would have answered; whatever it refuses, the standard library
judges. Beyond RFC 8259 both readers agree on these points, so that nothing a peer sends raises further down:

- ``NaN`` and ``Infinity`` are not JSON (TOK-2); a number too large for a float, an integer of more than 4300 digits
  included, is read as an infinite float, so it is no integer anywhere (ENV-14).
- Half of a surrogate pair becomes U+FFFD, so every string can be stored and sent again.
- Deeper nesting than `MAX_DEPTH` is refused, whatever the interpreter's stack would stand.
- Of duplicate keys the last one counts. A byte order mark is not JSON. Bytes are UTF-8.
"""

import json
import math
from collections.abc import Callable
from typing import Final, Literal, NoReturn, TypeAlias, cast

from clawproto.json_types import Json

MAX_DEPTH: Final = 64
_SHORT: Final = 2_000  # characters; in longer texts the few brackets are found more quickly than all are counted
_MAX_DIGITS: Final = 4300  # what int() and msgspec accept at most, by default

JsonProblem: TypeAlias = Literal["not-utf8", "not-json", "too-deep"]
Loads: TypeAlias = Callable[[str | bytes], Json]


class NotJson(ValueError):
    """The input is not JSON that this library reads.

    Attributes:
        problem: why.
    """

    def __init__(self, problem: JsonProblem) -> None:
        super().__init__(problem)
        self.problem: JsonProblem = problem


def _integer(text: str) -> int | float:
    if len(text.lstrip("-")) <= _MAX_DIGITS:
        try:
            return int(text)
        except ValueError:  # the interpreter was told to take fewer digits
            pass
    return -math.inf if text.startswith("-") else math.inf


def _constant(name: str) -> NoReturn:
    raise NotJson("not-json")


_decoder: Final = json.JSONDecoder(parse_int=_integer, parse_constant=_constant)
_scan: Final[Callable[[str, int], tuple[Json, int]]] = vars(json.JSONDecoder(parse_constant=_constant))["scan_once"]
_DIGITS: Final = frozenset("0123456789")


def _whole(text: str) -> str:
    """``text`` with pairs of surrogates joined and single ones replaced."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _whole_strings(value: Json) -> Json:
    if isinstance(value, str):
        return _whole(value)
    if isinstance(value, list):
        return [_whole_strings(item) for item in value]
    if isinstance(value, dict):
        return {_whole(key): _whole_strings(item) for key, item in value.items()}
    return value


def is_shallow(data: str | bytes) -> bool:
    """Whether there are too few brackets for deep nesting; False says nothing."""
    if len(data) <= _SHORT:
        if isinstance(data, str):
            return data.count("[") + data.count("{") <= MAX_DEPTH
        return data.count(b"[") + data.count(b"{") <= MAX_DEPTH
    find, brackets = data.find, 0
    for bracket in (91, 123) if isinstance(data, bytes) else ("[", "{"):
        at = find(bracket)  # type: ignore[arg-type]
        while at >= 0:
            brackets += 1
            if brackets > MAX_DEPTH:
                return False
            at = find(bracket, at + 1)  # type: ignore[arg-type]
    return True


def _check_depth(value: Json) -> None:
    """Raise if ``value`` nests deeper than `MAX_DEPTH`. Level by level, without recursion."""
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[Json] = []
        for item in level:
            if isinstance(item, list):
                below.extend(item)
            elif isinstance(item, dict):
                below.extend(item.values())
        if not below:
            return
        level = below
    if any(isinstance(item, list | dict) for item in level):
        raise NotJson("too-deep")


def _text(data: str | bytes) -> str:
    if isinstance(data, bytes):
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise NotJson("not-utf8") from None
    return _whole(data)


def _decode(text: str) -> Json:
    """What the decoder makes of any text."""
    try:
        return cast(Json, _decoder.decode(text))
    except RecursionError:
        raise NotJson("too-deep") from None
    except NotJson:
        raise
    except ValueError:
        raise NotJson("not-json") from None


def stdlib_loads(data: str | bytes) -> Json:
    """`loads` with the standard library alone."""
    text = data if isinstance(data, str) and data.isascii() else _text(data)
    value: Json = None
    end = -1
    try:
        # Of more than _MAX_DIGITS digits in a row one stands at a multiple of that.
        if len(text) < _MAX_DIGITS or _DIGITS.isdisjoint(text[_MAX_DIGITS - 1 :: _MAX_DIGITS]):
            value, end = _scan(text, 0)
    except (ValueError, StopIteration, RecursionError):
        pass  # damaged; or there is space before it; or the interpreter takes fewer digits
    if end != len(text):
        value = _decode(text)
    if (text.count("[") + text.count("{") > MAX_DEPTH) if len(text) <= _SHORT else not is_shallow(text):
        _check_depth(value)
    if "\\" in text and ("\\ud" in text or "\\uD" in text):  # one character is found much faster than three
        return _whole_strings(value)
    return value


# Found out when one of them is first asked for, since loading msgspec takes as long as loading this library.
loads: Loads
msgspec_loads: Loads  # not there without msgspec
name: Literal["stdlib", "msgspec"]


def load() -> None:
    """Find out which reader is installed, and load it."""
    there = globals()
    try:
        import msgspec  # noqa: PLC0415
    except ImportError:
        there.setdefault("loads", stdlib_loads)
        there["name"] = "stdlib"
        return
    fast_decode: Final = msgspec.json.Decoder[object]().decode

    def msgspec_loads(data: str | bytes) -> Json:
        """`loads` with msgspec, and with the standard library for what msgspec refuses."""
        try:
            value = cast(Json, fast_decode(data))
        except (ValueError, RecursionError):  # UnicodeError and msgspec's errors are ValueErrors
            return stdlib_loads(data)
        if not is_shallow(data):
            _check_depth(value)
        return value

    there["msgspec_loads"] = msgspec_loads
    there.setdefault("loads", msgspec_loads)
    there["name"] = "msgspec"


def __getattr__(wanted: str) -> object:
    if wanted in ("loads", "msgspec_loads", "name"):
        load()
        if wanted in globals():
            return globals()[wanted]
    raise AttributeError(f"module {__name__!r} has no attribute {wanted!r}")
