"""Every event is defined in every phase: what nobody waits for changes nothing, what makes no sense is refused."""

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from attrs import fields

from clawproto.effects import (
    Effect,
)
from clawproto.errors import Misuse
from clawproto.events import (
    Closed,
    Event,
    FrameReceived,
    HttpAnswered,
    HttpFailed,
    KeepFailed,
    Kept,
    Opened,
    OpenFailed,
    Reloaded,
    Settle,
    Start,
    StoreConflicted,
    Stored,
    StoreFailed,
    Tick,
)
from clawproto.instant import Instant
from clawproto.state import State
from clawproto.testing.explore.canonical import GENERATION, Node
from clawproto.testing.explore.pool import (
    NOW,
)
from clawproto.testing.explore.vocabulary import json_answer


class Violation(Exception):
    """The session did what it must not. The message says what."""


Stepper: TypeAlias = Callable[[State, Event, Instant], tuple[State, tuple[Effect, ...]]]

STALE: Final[tuple[Event, ...]] = (
    HttpAnswered(77, json_answer(10003)),
    HttpFailed(77, True, "late"),
    Stored(77, GENERATION + 7),
    StoreConflicted(77, None),
    StoreFailed(77, "late"),
    Reloaded(77, None),
    Opened(77),
    OpenFailed(77, "late"),
    Closed(77, 4001),
    FrameReceived(77, "{"),
    Kept(77),
    KeepFailed(77, "late"),
    Settle(77),
)


def try_everything(node: Node, stepper: Stepper) -> int:
    """Reports with numbers that nobody waits for do what a Tick does, anywhere, and a second Start is refused.

    Returns:
        How many events were tried.

    Raises:
        Violation: something changed, or was raised.
    """
    state = node.state
    try:
        if not state.started:
            return _refuses(state, STALE, stepper)
        expected = stepper(state, Tick(), NOW)  # the wall clock may have made something due since the last step
        for event in STALE:
            after, effects = stepper(state, event, NOW)
            require_same(
                after,
                effects,
                *expected,
                f"totality: {type(event).__name__}, which nobody waits for, changes something",
            )
        return len(STALE) + _refuses(state, (Start(),), stepper)
    except AssertionError as error:
        raise Violation(str(error) or "an assertion of the core failed") from error


def require_same(
    state: State, effects: tuple[Effect, ...], after: State, expected: tuple[Effect, ...], problem: str
) -> None:
    """A step came to what a Tick leads to. It may look at the clock earlier than a Tick would, but not later.

    Raises:
        Violation: with this problem.
    """
    late = after.deadline is not None and (state.deadline is None or state.deadline > after.deadline)
    if late or effects != expected:
        raise Violation(problem)
    for name in _TIMELESS:
        one, other = getattr(state, name), getattr(after, name)
        if one is not other and one != other:
            raise Violation(problem)


_TIMELESS: Final = tuple(one.name for one in fields(State) if one.name not in ("deadline", "calm_until"))


def _refuses(
    state: State,
    events: Iterable[Event],
    stepper: Stepper,
) -> int:
    tried = 0
    for event in events:
        tried += 1
        try:
            stepper(state, event, NOW)
        except Misuse:
            continue
        raise Violation(f"totality: {type(event).__name__} is not refused")
    return tried
