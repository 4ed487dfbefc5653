"""The lines of a journal, exactly: files that were written today must be understood for years."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve, frozen

from clawproto.config import Config
from clawproto.effects import Emit
from clawproto.events import Start, Tick
from clawproto.instant import Instant
from clawproto.journal import Recorder, changes, write_line
from clawproto.journal_encoding import Encoder, JournalError, decode
from clawproto.json_types import Json
from clawproto.persistent import IntMap, StrMap
from clawproto.recent import Recent
from clawproto.redaction import Redactor
from clawproto.signals import SignalState
from clawproto.state import State
from clawproto.state_hash import StateHasher, schema
from tests.core.harness import SEED
from tests.core.test_journal import SALT, eventful

CONFIG = Config(seed=SEED)
NOW = Instant(1_790_000_000_000, 5)


def encoded(value: object) -> Json:
    return Encoder(Redactor())(value)


# --- lines ---------------------------------------------------------------------------------------------------------


def test_a_line_is_compact_ascii() -> None:
    assert write_line({"a": "ü😀\ud800", "b": [1, None]}) == '{"a":"\\u00fc\\ud83d\\ude00\\ud800","b":[1,null]}\n'
    with pytest.raises(ValueError, match="JSON"):
        write_line({"a": math.nan})


@pytest.mark.parametrize("contents", [True, False])
def test_the_header_says_what_follows(contents: bool) -> None:
    recorder = Recorder(contents=contents, salt=SALT, library="1.2.3")
    first = {
        "journal": "clawproto",
        "version": 1,
        "library": "1.2.3",
        "schema": schema(),
        "contents": contents,
        "part": 1,
        "next": 1,
        "config": encoded(CONFIG),
    }
    assert json.loads(recorder.header(CONFIG)) == first
    for _ in range(2):
        recorder.step(NOW, Tick(), (), State(CONFIG))
    whole = encoded(State(CONFIG))
    assert json.loads(recorder.header(CONFIG, part=7)) == {**first, "part": 7, "next": 3, "whole": whole}
    assert json.loads(Recorder().header(CONFIG)) == {**first, "library": "", "contents": True}


def test_a_gap_goes_on_where_the_lines_end() -> None:
    recorder = Recorder()
    state = evolve(State(CONFIG), deadline=7)
    for _ in range(2):
        recorder.step(NOW, Tick(), (), state)
    assert json.loads(recorder.gap(NOW, 12)) == {
        "gap": 12,
        "next": 3,
        "at": [NOW.wall_ms, NOW.mono_ms],
        "state": StateHasher(Redactor()).state(state),
        "whole": encoded(state),
    }


def test_a_masked_step_that_was_another_one_is_marked() -> None:
    taken = eventful().taken
    now, event, effects, state = taken[0]
    assert isinstance(event, Start) and effects
    recorder = Recorder(contents=False, salt=SALT)
    assert "unlike" not in json.loads(recorder.step(now, event, effects, state))
    line = json.loads(Recorder(contents=False, salt=SALT).step(now, event, (*effects, effects[0]), state))
    assert line["unlike"] is True and len(line["effects"]) == len(effects)
    line = json.loads(Recorder().step(now, event, (*effects, effects[0]), state))
    assert "unlike" not in line, "with contents it is what it was told"


def test_a_masked_recording_that_begins_in_the_middle_knows_nothing_to_answer() -> None:
    taken = eventful().taken[3:6]
    recorder = Recorder(contents=False, salt=SALT)
    lines = [json.loads(recorder.step(*one)) for one in taken]
    assert [(line["effects"], line["changed"]) for line in lines] == [([], {})] * 3
    assert [line.get("unlike", False) for line in lines] == [bool(effects) for _, _, effects, _ in taken]


# --- what a step has changed ---------------------------------------------------------------------------------------


def told(before: State, after: State) -> dict[str, Json]:
    redactor = Redactor()
    return changes(before, after, Encoder(redactor), StateHasher(redactor))


def device(name: str) -> State:
    state = State(CONFIG)
    return evolve(state, link=evolve(state.link, device_id=name))


def signals(**branches: Any) -> State:
    return evolve(State(CONFIG), signals=evolve(SignalState(), **branches))


def test_what_is_equal_has_not_changed() -> None:
    one, other = (signals(owed_marks=StrMap.of([("cnv_1", 5)])) for _ in range(2))
    assert one.signals.owed_marks is not other.signals.owed_marks
    assert told(one, other) == {}
    assert told(State(CONFIG), one) == {"signals.owed_marks": {"strings": [["cnv_1", 5]]}}


def test_a_long_value_is_told_by_its_digest() -> None:
    longest = "x" * 398
    assert told(State(CONFIG), device(longest)) == {"link.device_id": longest}
    digest = StateHasher(Redactor()).value(f"{longest}x")
    assert told(State(CONFIG), device(f"{longest}x")) == {"link.device_id": {"digest": digest[:16]}}


def test_a_large_map_is_told_by_its_digest_however_short_it_is() -> None:
    def marks(count: int) -> tuple[StrMap[int], Recent[int]]:
        recent = Recent[int]()
        for number in range(count):
            recent = recent.put(f"{number}", number, 100)
        return StrMap.of((f"{number}", number) for number in range(count)), recent

    owed, recent = marks(4)
    few = told(State(CONFIG), signals(owed_marks=owed, marks=recent))
    assert few == {"signals.owed_marks": encoded(owed), "signals.marks": encoded(recent)}
    owed, recent = marks(5)
    hasher = StateHasher(Redactor())
    assert told(State(CONFIG), signals(owed_marks=owed, marks=recent)) == {
        "signals.owed_marks": {"digest": hasher.value(owed)[:16]},
        "signals.marks": {"digest": hasher.value(recent)[:16]},
    }


@frozen
class Hidden:
    """A value whose field is not for everybody."""

    _hidden: int


# --- values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1.5, 1.5),
        (math.inf, {"float": "inf"}),
        ((1, "a", None), [1, "a", None]),
        ([1, 1.5, "a", None, True], {"json": [1, 1.5, "a", None, True]}),
        ({"a": [1], "b": {"c": "d"}}, {"json": {"a": [1], "b": {"c": "d"}}}),
        ({"a": 1, 2: "b"}, {"pairs": [["a", 1], [2, "b"]]}),
        ([math.nan], {"foreign": "list"}),
        ({"a": math.nan}, {"pairs": [["a", {"float": "nan"}]]}),
        (IntMap.of([(1, (2,))]), {"ints": [[1, [2]]]}),
        (b"\xff", {"base64": "/w=="}),
        (range(3), {"foreign": "range"}),
    ],
    ids=str,
)
def test_each_kind_of_value_has_its_form(value: object, written: Json) -> None:
    assert encoded(value) == written
    json.dumps(written, allow_nan=False)


def test_a_field_is_written_under_the_name_of_its_argument() -> None:
    written = encoded(Hidden(7))
    assert isinstance(written, dict) and written["hidden"] == 7 and "_hidden" not in written


WRAPS: tuple[tuple[Callable[[Any], Any], Callable[[Any], Json]], ...] = (
    (lambda inner: (inner,), lambda inner: [inner]),
    (lambda inner: IntMap.of([(7, inner)]), lambda inner: {"ints": [[7, inner]]}),
    (lambda inner: StrMap.of([("k", inner)]), lambda inner: {"strings": [["k", inner]]}),
    (lambda inner: {7: inner}, lambda inner: {"pairs": [[7, inner]]}),
    (Emit, lambda inner: {"is": "Emit", "event": inner}),
)


def nested(wrap: Callable[[Any], Any], times: int, inner: Any) -> Any:
    for _ in range(times):
        inner = wrap(inner)
    return inner


@pytest.mark.parametrize(("wrap", "form"), WRAPS, ids=["tuple", "ints", "strings", "pairs", "attrs"])
def test_values_are_written_a_hundred_and_one_deep(wrap: Callable[[Any], Any], form: Callable[[Any], Json]) -> None:
    assert encoded(nested(wrap, 101, "x")) == nested(form, 101, "x")
    foreign = {"foreign": type(wrap("x")).__name__}
    assert encoded(nested(wrap, 102, "x")) == nested(form, 101, foreign)


def test_keys_are_as_deep_as_what_they_stand_for() -> None:
    def key(times: int) -> Any:
        return nested(lambda inner: (inner,), times, "x")

    def form(times: int, inner: Json) -> Any:
        return nested(lambda inner: [inner], times, inner)

    assert encoded({key(100): 1}) == {"pairs": [[form(100, "x"), 1]]}
    assert encoded({key(101): 1}) == {"pairs": [[form(100, {"foreign": "tuple"}), 1]]}


def test_json_is_written_a_hundred_and_one_deep() -> None:
    arrays = nested(lambda inner: [inner], 101, "x")
    assert encoded(arrays) == {"json": arrays} and encoded([arrays]) == {"foreign": "list"}
    objects = nested(lambda inner: {"a": inner}, 101, "x")
    assert encoded(objects) == {"json": objects}
    assert encoded({"a": objects}) == nested(lambda inner: {"pairs": [["a", inner]]}, 101, {"foreign": "dict"})


@pytest.mark.parametrize(
    "value", [{"is": ["Tick"]}, {"is": {"a": 1}}, {"base64": "YQ==!"}, {"base64": "Y Q=="}], ids=str
)
def test_damaged_values_are_refused(value: Json) -> None:
    with pytest.raises(JournalError):
        decode(value)
    assert decode({"base64": "YQ=="}) == b"a" and decode({"is": "Tick"}) == Tick()
