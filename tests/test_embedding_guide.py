"""docs/embedding.md agrees with the code: its tables name what exists, completely, and its examples run."""

import pkgutil
import re
from pathlib import Path
from typing import get_args

import pytest

from clawproto import Session, effects, events
from clawproto.engine import Engine

GUIDE = (Path(__file__).parents[1] / "docs" / "embedding.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    section = GUIDE.partition(f"\n{heading}\n")[2]
    table = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert table is not None, heading
    lines = table.group().splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names(text: str) -> list[str]:
    return re.findall(r"`([A-Za-z_]+)", text)


def test_the_table_of_effects_is_complete() -> None:
    listed = [names(row[0])[0] for row in rows("### Effects")]
    assert sorted(listed) == sorted(kind.__name__ for kind in get_args(effects.Effect))


def test_the_table_of_events_is_complete() -> None:
    listed = [name for row in rows("### Events") for name in names(row[1])]
    assert sorted(listed) == sorted(kind.__name__ for kind in get_args(events.Event))


@pytest.mark.parametrize("row", rows("### Effects"), ids=lambda row: names(row[0])[0])
def test_a_report_carries_the_number_of_its_effect(row: list[str]) -> None:
    effect = getattr(effects, names(row[0])[0])
    reports = [getattr(events, name) for name in names(row[2]) if name[0].isupper() and row[2] != "nothing"]
    for report in reports:
        shared = set(effect.__match_args__) & set(report.__match_args__)
        assert shared & {"generation", "request", "operation", "delivery"}, report
    assert reports or not {"request", "operation"} & set(effect.__match_args__), "a report is owed"


def test_the_table_of_the_engine_names_what_it_has() -> None:
    engine = Engine(Session.__new__(Session), now=lambda: pytest.fail("no step is made"), keeps_messages=True)
    for row in rows("## A third driver"):
        for path in re.findall(r"`([a-z_.]+)", row[0]):
            found: object = engine
            for name in path.split("."):
                found = getattr(found, name)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n", 1)[0])
def test_the_examples_run(block: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block, "embedding.md", "exec"), {})
    assert ("Emit(" in capsys.readouterr().out) == ("print(" in block)


def test_the_names_in_the_text_exist() -> None:
    paths = re.findall(r"`(clawproto[a-z_]*(?:\.\w+)*)`", GUIDE)
    assert len(paths) > 10
    for path in paths:
        pkgutil.resolve_name(path)
