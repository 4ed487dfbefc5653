"""What a replay reports: each part of a difference, what it counts, and which lines are none."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from clawproto.instant import Instant
from clawproto.journal_encoding import JournalError
from clawproto.replay import Difference, Report, read, replay
from tests.core.test_journal import changed, eventful, journal_of

Line = dict[str, Any]


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """A journal of 36 steps. The 18th is that after which the session is no longer busy."""
    return journal_of(eventful().taken)


def edited(lines: list[str], change: Callable[[int, Line], None]) -> list[str]:
    """The journal with its lines changed."""
    values = [json.loads(line) for line in lines]
    for number, value in enumerate(values):
        change(number, value)
    return [json.dumps(value) + "\n" for value in values]


def test_a_journal_without_steps_has_no_difference(lines: list[str]) -> None:
    assert replay(read(lines[:1])) == Report(0, 0, 0, "test", states_compared=True, cut=False, difference=None)
    assert replay(read(lines[:1])).cut is False


@pytest.mark.parametrize("library", [7, None, ["1"]])
def test_a_library_that_is_no_text_is_unknown(lines: list[str], library: object) -> None:
    header = json.loads(lines[0])
    header["library"] = library
    assert replay(read([json.dumps(header)])).library == ""


def test_lost_steps_and_unlike_ones_are_counted(lines: list[str]) -> None:
    def unlike(number: int, line: Line) -> None:
        if number in (3, 4, 5):
            line["unlike"] = True
        elif number in (6, 7):
            line["unlike"] = "yes" if number == 6 else False

    whole = json.loads(lines[0])
    gaps: list[str] = []
    for lost in (3, 4):
        state = {"is": "State", "config": whole["config"]}
        gaps.append(json.dumps({"gap": lost, "next": 1, "at": [1, 2], "state": "", "whole": state}) + "\n")
    report = replay(read([lines[0], *gaps, *edited(lines, unlike)[1:]]))
    assert report == Report(len(lines) - 1, 7, 3, "test", states_compared=True, cut=False)


@pytest.mark.parametrize("without", [False, True])
def test_a_difference_says_when_it_was_and_at_which_event(lines: list[str], without: bool) -> None:
    def later(line: Line) -> None:
        del line["effects"]
        line |= {} if without else {"effects": []}

    source = json.loads(lines[4])
    found = changed(lines, 4, later)
    assert found == Difference(
        4, Instant(*source["at"]), source["event"], (), tuple(source["effects"]), fields=(), state=False
    )


@pytest.mark.parametrize(
    ("number", "change", "fields"),
    [
        # of what the step leaves alone, the journal says something else
        (5, {"link.device_id": "another"}, [("link.device_id", "lab-01", "another", "lab-01")]),
        (5, {"link.device_id": None}, [("link.device_id", "lab-01", None, "lab-01")]),
        (5, {"link.device_id": "lab-01"}, []),
        (5, {"link.socket.name": 1, "linked": 2}, [("link.socket.name", None, 1, None), ("linked", None, 2, None)]),
        # the step changes something, and the journal says nothing of it
        (18, {"calm_until": ...}, [("calm_until", 7_060_450, 7_060_450, None)]),
        (4, {"link.device_id": ...}, [("link.device_id", None, None, "lab-01")]),
        # both change it
        (18, {"calm_until": 5}, [("calm_until", 7_060_450, 5, None)]),
    ],
)
def test_a_difference_names_the_fields(
    lines: list[str], number: int, change: Line, fields: list[tuple[str, Any, Any, Any]]
) -> None:
    def other(line: Line) -> None:
        line["state"] = "0" * 32
        for path, value in change.items():
            if value is ...:
                del line["changed"][path]
            else:
                line["changed"][path] = value

    found = changed(lines, number, other)
    assert found is not None and found.state
    assert list(found.fields) == fields


def test_a_step_without_changes_differs_in_all_that_it_changes_now(lines: list[str]) -> None:
    def bare(line: Line) -> None:
        del line["changed"]
        line["state"] = "0" * 32

    found = changed(lines, 2, bare)
    assert found is not None
    ((path, was, recorded, now),) = found.fields
    assert path == "link.phase" and was == recorded == {
        "is": "link_state.Opening",
        "generation": 1,
        "deadline": 7_010_000,
    }
    assert now == {"is": "link_state.Waiting", "generation": 1, "deadline": 7_010_000}


def test_of_states_of_another_shape_no_fields_are_told(lines: list[str]) -> None:
    def old(number: int, line: Line) -> None:
        if number == 0:
            line["schema"] = "0" * 16
        elif number == 4:
            line["effects"], line["changed"] = [], {"link.device_id": "another"}

    found = replay(read(edited(lines, old))).difference
    assert found is not None and (found.number, found.fields, found.state) == (4, (), False)


@pytest.mark.parametrize(
    "damage",
    [{"at": "12"}, {"at": [1]}, {"at": [1, 2, 3]}, {"at": [1, "2"]}, {"at": [1, True]}, {"at": [1.0, 2]}, {"n": "4"}],
    ids=str,
)
def test_a_line_needs_a_number_and_an_instant(lines: list[str], damage: Line) -> None:
    line = json.dumps(json.loads(lines[3]) | damage)
    with pytest.raises(JournalError, match="line 4 is no step"):
        read([*lines[:3], line])


def test_lines_are_bounded(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    few = lines[:4]
    longest = max(map(len, few))
    monkeypatch.setattr("clawproto.replay.LONGEST_LINE", longest)
    assert len(read(few).lines) == 3
    monkeypatch.setattr("clawproto.replay.LONGEST_LINE", longest - 1)
    with pytest.raises(JournalError, match=r"line \d is too long"):
        read(few)
