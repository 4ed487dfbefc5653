"""The closing table of the demonstration must notice whatever went wrong."""

from typing import Any

import pytest
from attrs import evolve

from clawproto_cli.demo.verdict import Outcome

GOOD = Outcome(
    name="Ada",
    driver="asyncio",
    sent=5,
    acknowledged=5,
    acknowledged_at_hub=5,
    received_by_other=5,
    lost=0,
    duplicated=0,
    repeated=1,
    rotations=3,
    rotations_at_hub=3,
    reactive_refreshes=1,
    reconnects=4,
    held_pairs=1,
    ended="logged out",
    tokens_gone=True,
    identity_kept=True,
)


def test_a_good_outcome_has_no_problem() -> None:
    assert GOOD.problems() == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("acknowledged_at_hub", 6),
        ("received_by_other", 4),
        ("lost", 1),
        ("duplicated", 1),
        ("rotations_at_hub", 4),
        ("reactive_refreshes", 0),
        ("held_pairs", 0),
        ("ended", "stopped"),
        ("tokens_gone", False),
        ("identity_kept", False),
    ],
)
def test_each_fault_is_one_problem(field: str, value: Any) -> None:
    assert len(evolve(GOOD, **{field: value}).problems()) == 1


def test_a_message_without_a_receipt_is_a_problem() -> None:
    assert evolve(GOOD, sent=6).problems()


def test_too_few_rotations_are_a_problem() -> None:
    assert len(evolve(GOOD, rotations=2, rotations_at_hub=2).problems()) == 1
