"""Group settings: the full set, or nothing."""

import pytest

from clawproto.group_settings import GROUP_SETTINGS_PATH, GroupSettings, read_group_settings
from clawproto.json_types import Json
from clawproto.results import RestRefused, RestSucceeded
from tests.core.harness import Bench, answer, credentials

ROW: dict[str, Json] = {
    "conversation_id": "cnv_1",
    "muted": True,
    "reply_mode": "mention",
    "batch_delay_seconds": 5,
    "version": 3,
}


@pytest.mark.rule("REST-9")
def test_a_success_is_the_full_set_even_if_it_is_empty() -> None:
    assert read_group_settings({"settings": [ROW]}) == {"cnv_1": GroupSettings("cnv_1", True, "mention", 5, 3)}
    assert read_group_settings({"settings": []}) == {}


@pytest.mark.rule("REST-9")
@pytest.mark.parametrize("data", [None, [], {}, {"settings": None}, {"settings": {}}, "x"])
def test_anything_else_says_nothing(data: Json) -> None:
    assert read_group_settings(data) is None


@pytest.mark.rule("REST-9")
def test_an_error_never_looks_like_an_empty_set() -> None:
    bench = Bench(credentials())
    refused = bench.rest(path=GROUP_SETTINGS_PATH)
    bench.reply_call(answer({"code": 404, "msg": "not here", "data": {"settings": []}}, status=404))
    assert isinstance(bench.results[refused], RestRefused)
    empty = bench.rest(path=GROUP_SETTINGS_PATH)
    bench.reply_call(answer({"code": 0, "msg": "", "data": {"settings": []}}))
    assert isinstance(bench.results[empty], RestSucceeded)


def test_rows_are_read_tolerantly() -> None:
    rows: list[Json] = [
        7,
        {"muted": True},
        {"conversation_id": ""},
        {"conversation_id": "cnv_2", "muted": 1, "reply_mode": 5, "batch_delay_seconds": True, "version": "3"},
        {**ROW, "version": 2, "muted": False},
        ROW,
        {**ROW, "version": 1, "muted": False},
    ]
    found = read_group_settings({"settings": rows})
    assert found == {"cnv_2": GroupSettings("cnv_2"), "cnv_1": GroupSettings("cnv_1", True, "mention", 5, 3)}


@pytest.mark.parametrize(
    ("first", "second", "muted"),
    [(None, None, True), (None, 0, True), (0, None, True), (1, None, False), (None, 1, True)],
)
def test_no_version_is_the_lowest_and_of_equal_ones_the_later_row_stands(
    first: int | None, second: int | None, muted: bool
) -> None:
    rows: list[Json] = [
        {"conversation_id": "c", "version": first},
        {"conversation_id": "c", "version": second, "muted": True},
    ]
    found = read_group_settings({"settings": rows})
    assert found is not None and found["c"].muted is muted
