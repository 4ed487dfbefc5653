"""What the tables about frames share: both JSON readers, decoded frames, wrong values, and what a call costs."""

import json
from collections.abc import Callable
from typing import Final, cast

import pytest

from benchmarks.instructions import count
from clawproto.json_types import Json
from clawproto.wire import json_backend
from clawproto.wire.codec import decode
from clawproto.wire.values import Frame, Payload

Object = dict[str, Json]
LEAST, MOST = -(2**63), 2**63 - 1  # of an integer (ENV-14)

WRONG: Final[dict[type, list[Json]]] = {
    str: [None, 5, True, 1.5, [], ["x"], {}],
    int: [None, LEAST - 1, MOST + 1, True, False, 1.0, "5", [], {}],
    bool: [None, 0, 1, "true", [], {}],
    list: [None, 5, True, "x", {}],
    dict: [None, 5, True, "x", []],
}


@pytest.fixture(params=["stdlib", "msgspec"], autouse=True)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """All tests of a module that imports this run with either JSON reader."""
    name = cast(str, request.param)
    monkeypatch.setattr(json_backend, "loads", getattr(json_backend, f"{name}_loads"))
    return name


def frame_of(event: str, payload: Json, **envelope: Json) -> Frame:
    """What is read of an envelope with these fields."""
    frame = decode(json.dumps({"version": "2", "event": event, "payload": payload, **envelope}), 1_000_000)
    assert isinstance(frame, Frame)
    return frame


def payload_of(event: str, payload: Json) -> Payload:
    """What is read of a payload."""
    return frame_of(event, payload).payload


def cost_of(work: Callable[[], object]) -> int:
    """The instructions of the interpreter that a call executes."""

    def run() -> None:
        work()

    return count(run)
