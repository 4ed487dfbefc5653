"""Copies and instances that are made faster are what the class itself would have made."""

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from attrs import field, frozen

from clawproto.app_events import MessageReceived
from clawproto.evolving import constructor, evolve
from clawproto.inbox_state import InboxState, Known, Stream
from clawproto.recent import Block, Recent
from clawproto.wire.values import Frame, MediaFragment, MessagePayload, Peer, TextFragment


@frozen
class Odd:
    """A field that is no parameter, one with another name outside, one that must be named, one from a factory."""

    _first: int
    items: list[int] = field(factory=list)
    hidden: int | None = field(default=None, init=False)
    named: int = field(default=3, kw_only=True)


PAYLOAD = MessagePayload("msg-1", "normal", (TextFragment("hi"),), ())


@pytest.mark.parametrize(
    ("cls", "given", "named"),
    [
        (Peer, ("usr_1",), {}),
        (Peer, ("usr_1", "direct"), {"nick_name": "Ada"}),
        (MediaFragment, ("image", "/media/1"), {"duration": 5}),
        (MessagePayload, ("msg-1", "", (), ()), {}),
        (Frame, ("pong", None), {"dseq": 3}),
        (MessageReceived, ("message.send", "cnv_1", None, None, PAYLOAD, False, False, True, False, 5), {}),
        (Known, (1, True, None), {}),
        (Block, ({"a": 1},), {}),
        (Recent, (), {}),
        (Odd, (1, [2]), {"named": 4}),
        (Odd, (1,), {"items": [2]}),
    ],
)
def test_a_constructor_makes_what_the_class_makes(
    cls: Callable[..., object], given: tuple[Any, ...], named: dict[str, Any]
) -> None:
    made, expected = constructor(cls)(*given, **named), cls(*given, **named)
    assert type(made) is type(expected) is cls
    assert made == expected
    assert repr(made) == repr(expected)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(made, attrs.fields(cls)[0].name, 1)  # type: ignore[arg-type]


def test_it_takes_what_the_class_takes() -> None:
    make = constructor(Odd)
    wrong: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((), {}),
        ((1, [], 3), {}),
        ((1, []), {"hidden": 1}),
        ((), {"_first": 1, "items": []}),
    ]
    for given, named in wrong:
        with pytest.raises(TypeError):
            make(*given, **named)


def test_checks_are_not_passed_over() -> None:
    @frozen
    class Checked:
        size: int = field(validator=attrs.validators.ge(1))

    @frozen
    class Converted:
        size: int = field(converter=int)

    @frozen
    class Finished:
        size: int

        def __attrs_post_init__(self) -> None:
            raise AssertionError

    for cls in (Checked, Converted, Finished):
        with pytest.raises(TypeError):
            constructor(cls)


def test_a_copy_differs_in_what_was_asked_for_alone() -> None:
    stream = Stream(4, "v2", "epoch", last=7)
    inbox = InboxState(stream, deliveries=9)
    copy = evolve(inbox, stream=evolve(stream, mark=2), ack_due=5)
    assert copy == attrs.evolve(inbox, stream=attrs.evolve(stream, mark=2), ack_due=5)
    assert (inbox.ack_due, stream.mark) == (None, 0)
    assert type(copy) is InboxState and hash(copy) == hash(attrs.evolve(inbox, stream=copy.stream, ack_due=5))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        copy.deliveries = 1  # type: ignore[misc]
    with pytest.raises(TypeError, match="no field 'marks'"):
        evolve(stream, marks=1)  # type: ignore[call-arg]
