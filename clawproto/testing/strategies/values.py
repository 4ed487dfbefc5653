"""Values of the library's own types, by their annotations; frames, answers and tokens as the other modules make them.

An event or effect that is added to the library is drawn without a change here.
"""

import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, Literal, TypeVar, cast

from attrs import NOTHING, fields, has
from hypothesis import strategies as st

from clawproto.app_events import AppEvent
from clawproto.commands import Command
from clawproto.config import Capabilities, Config
from clawproto.credentials import Credentials, Guard, Identity, Intent, TokenPair
from clawproto.effects import Effect
from clawproto.events import Event, HttpReport, SocketReport, StoreReport
from clawproto.http import FileBody, HttpAnswer
from clawproto.instant import Instant
from clawproto.json_types import Json
from clawproto.persistent import IntMap, StrMap
from clawproto.policy import Policy
from clawproto.results import Result
from clawproto.secret import Secret
from clawproto.testing.strategies import http, tokens, wire
from clawproto.testing.strategies.tokens import EPOCH_MS

T = TypeVar("T")

_INTEGERS: Final = st.integers(0, 6) | st.integers(0, 2**40)
_STRINGS: Final = st.sampled_from(["", "cnv_1", "msg-1", "usr_1", "normal", "text"]) | st.text(max_size=8)


def json_values() -> st.SearchStrategy[Json]:
    """Any JSON value that can be written: no NaN, no infinities, strings of every kind."""
    leaves = (
        st.none()
        | st.booleans()
        | st.integers(-(2**70), 2**70)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(codec=None), max_size=6)
    )
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=5,
    )


def json_objects() -> st.SearchStrategy[dict[str, Json]]:
    """JSON objects."""
    return st.dictionaries(st.text(max_size=4), json_values(), max_size=3)


def instants() -> st.SearchStrategy[Instant]:
    """Single moments."""
    return st.builds(Instant, st.integers(EPOCH_MS - 10**9, EPOCH_MS + 10**9), st.integers(0, 10**9))


def clocks(*, longest: int = 20) -> st.SearchStrategy[list[Instant]]:
    """Moments one after the other: the monotonic clock never goes back, the wall clock jumps, stands and drifts."""
    step = st.sampled_from([0, 1, 200, 5_000, 30_000, 3_600_000, 86_400_000]) | st.integers(0, 10**8)
    jump = st.sampled_from([0, 0, 0, 0, -1, -3_600_000, 3_600_000, 86_400_000, -(10**11)])

    def moments(steps: list[tuple[int, int]]) -> list[Instant]:
        wall, mono, found = EPOCH_MS, 1_000, list[Instant]()
        for passed, jumped in steps:
            wall, mono = wall + passed + jumped, mono + passed
            found.append(Instant(wall, mono))
        return found

    return st.lists(st.tuples(step, jump), min_size=1, max_size=longest).map(moments)


def configs() -> st.SearchStrategy[Config]:
    """Settings: any seed, all generations of reliable delivery, the protocol's numbers."""
    flags = st.sampled_from(
        [
            Capabilities(),
            Capabilities(reliable_delivery_v2=False),
            Capabilities(reliable_delivery=False, reliable_delivery_v2=False),
            Capabilities(multi_device=True, delivery_receipt=True, notify_signals=True, history_sync=True),
        ]
    )
    return st.builds(Config, seed=st.binary(min_size=16, max_size=16), capabilities=flags)


def events() -> st.SearchStrategy[Event]:
    """Everything that a session can be told."""
    return cast(st.SearchStrategy[Event], values_of(Event))


def commands() -> st.SearchStrategy[Command]:
    """What an application can want, sensible and not."""
    return cast(st.SearchStrategy[Command], values_of(Command))


def reports() -> st.SearchStrategy[SocketReport | HttpReport | StoreReport]:
    """What a driver reports, about numbers that were given out and about others."""
    return values_of(SocketReport | HttpReport | StoreReport)


def effects() -> st.SearchStrategy[Effect]:
    """Everything that a session can ask for."""
    return cast(st.SearchStrategy[Effect], values_of(Effect))


def app_events() -> st.SearchStrategy[AppEvent]:
    """Everything that an application can be told."""
    return cast(st.SearchStrategy[AppEvent], values_of(AppEvent))


def results() -> st.SearchStrategy[Result]:
    """How commands can end."""
    return cast(st.SearchStrategy[Result], values_of(Result))


# --- by annotation -------------------------------------------------------------------------------------------------


def values_of(annotation: Any) -> st.SearchStrategy[Any]:
    """Values of a type of this library, by its annotations; of a union any member.

    Raises:
        TypeError: an annotation that the library does not use.
    """
    return _values(annotation)


def _values(annotation: Any) -> st.SearchStrategy[Any]:
    ready = _KNOWN.get(annotation) if isinstance(annotation, type) else None
    if ready is not None:
        return ready()
    if annotation is None or annotation is type(None):
        return st.none()
    if _is_json(annotation):
        return json_values()
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is typing.Union or isinstance(annotation, types.UnionType):
        if any(_is_json(item) for item in arguments):  # Json itself is such a union
            others = [item for item in arguments if isinstance(item, type) and has(item)]
            return st.one_of([json_values(), *(_values(item) for item in others)])
        return st.one_of([_values(item) for item in arguments])
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return st.lists(_values(arguments[0]), max_size=2).map(tuple)
        return st.tuples(*map(_values, arguments))
    if origin in (Mapping, dict):
        return json_objects()
    if origin in (IntMap, StrMap):
        return _maps(origin, arguments[0])
    class_ = origin or annotation
    if isinstance(class_, type) and has(class_):
        return _objects(class_, annotation)
    raise TypeError(f"no values of {annotation!r}")


def _is_json(annotation: Any) -> bool:
    """`Json` refers to itself by name, so what is left of it depends on how far the name was followed."""
    return typing.get_origin(annotation) in (None, list, dict) and "list[Json]" in str(annotation)


def _maps(class_: Any, inner: Any) -> st.SearchStrategy[Any]:
    if class_ is IntMap:
        return st.lists(st.tuples(st.integers(0, 50), _values(inner)), max_size=3).map(IntMap.of)
    return st.lists(st.tuples(st.text(max_size=4), _values(inner)), max_size=3).map(StrMap.of)


@cache
def _objects(class_: type, annotation: Any) -> st.SearchStrategy[Any]:
    return st.deferred(lambda: _built(class_))


def _built(class_: type) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(class_)
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for attribute in fields(class_):
        if attribute.init:
            table = required if attribute.default is NOTHING else optional
            table[attribute.alias or attribute.name] = _field(class_, attribute.name, hints[attribute.name])
    return st.fixed_dictionaries(required, optional=optional).map(lambda values: class_(**values))


def _field(class_: type, name: str, annotation: Any) -> st.SearchStrategy[Any]:
    """The types say too little about some fields: what arrives is a frame, what is sent has fragments."""
    special = _FIELDS.get(f"{class_.__name__}.{name}")
    return _values(annotation) if special is None else special()


_KNOWN: Final[dict[Any, Callable[[], st.SearchStrategy[Any]]]] = {
    bool: st.booleans,
    int: lambda: _INTEGERS,
    float: lambda: st.floats(allow_nan=False, allow_infinity=False),
    str: lambda: _STRINGS,
    bytes: lambda: st.binary(max_size=8),
    Secret: lambda: tokens.access_tokens() | tokens.refresh_tokens(),
    TokenPair: tokens.token_pairs,
    Identity: tokens.identities,
    Intent: tokens.intents,
    Credentials: tokens.credentials,
    Guard: tokens.guards,
    HttpAnswer: http.http_answers,
    Instant: instants,
    Config: configs,
    Policy: lambda: st.just(Policy()),
    FileBody: lambda: st.builds(FileBody, st.integers(0, 3), st.just(b"--B"), st.just(b"--B--"), st.integers(0, 9)),
}
_FIELDS: Final[dict[str, Callable[[], st.SearchStrategy[Any]]]] = {
    "FrameReceived.data": wire.frames,
    "Send.fragments": lambda: st.lists(wire.fragments(), max_size=2).map(tuple),
    "Closed.code": lambda: st.sampled_from([1000, 1001, 1005, 1006, 1009, 1011, 4001, 4002, 4999]),
    "Pair.base_url": lambda: st.sampled_from(["https://api.example", "http://localhost:1/", "ftp://x", ""]),
    "Pair.device_id": lambda: st.sampled_from(["lab-01", "", "é", "x" * 129]),
    "Pair.identity": lambda: st.sampled_from(["refuse", "repair", "new"]),
}
