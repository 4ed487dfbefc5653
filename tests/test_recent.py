"""How much a bounded memory remembers."""

import pytest
from hypothesis import given, strategies as st

from clawproto.recent import Recent


@pytest.mark.rule("SEND-19")
@pytest.mark.parametrize("limit", [1, 2, 3, 10, 17, 53, 64, 300])
def test_at_most_the_limit_is_known_and_at_least_half_of_it(limit: int) -> None:
    memory: Recent[int] = Recent()
    for number in range(limit * 5):
        memory = memory.put(str(number), number, limit)
        newest_first = range(number, -1, -1)
        known = [other for other in newest_first if memory.get(str(other)) is not None]
        assert known == list(newest_first)[: len(known)], "what is forgotten is the oldest"
        assert min(number + 1, max(limit // 2, 1)) <= len(known) <= max(limit, 2)


@pytest.mark.rule("SEND-19")
@given(st.integers(1, 80), st.lists(st.lists(st.integers(0, 150), max_size=40), max_size=8))
def test_many_at_once_are_remembered_as_one_by_one(limit: int, lots: list[list[int]]) -> None:
    memory = single = Recent[int]()
    for lot in lots:
        values = {str(number): number for number in lot}
        before = hash(memory)
        after = memory.put_all(values, limit)
        assert hash(memory) == before, "the old memory is a value"
        for key, value in values.items():
            single = single.put(key, value, limit)
        memory = after
        assert memory == single
        known = {key: value for table in reversed(memory.tables()) for key, value in table.items()}
        assert known == {key: memory.get(key) for key in memory}


@pytest.mark.rule("SEND-19")
@pytest.mark.parametrize(
    ("limit", "least", "most"),
    [(2, 2, 2), (4, 3, 4), (10, 6, 10), (18, 10, 17), (53, 29, 52), (64, 36, 64), (300, 167, 300)],
)
def test_what_a_limit_allows_is_used(limit: int, least: int, most: int) -> None:
    memory: Recent[int] = Recent()
    for number in range(limit * 3):
        memory = memory.put(str(number), number, limit)
    lengths: set[int] = set()
    for number in range(limit * 3, limit * 6):
        memory = memory.put(str(number), number, limit)
        lengths.add(len(memory))
    assert (min(lengths), max(lengths)) == (least, most)


@pytest.mark.rule("SEND-19")
@pytest.mark.parametrize("limit", [1, 2, 9, 18, 53, 64, 300])
@pytest.mark.parametrize("lot", [1, 2, 31, 32, 33, 64, 100, 700])
def test_lots_of_any_size_are_remembered_as_one_by_one(limit: int, lot: int) -> None:
    memory = single = Recent[int]()
    for begin in range(0, max(4 * lot, 3 * limit), lot):
        memory = memory.put_all({str(number): number for number in range(begin, begin + lot)}, limit)
        for number in range(begin, begin + lot):
            single = single.put(str(number), number, limit)
        assert memory == single and hash(memory) == hash(single)


def test_other_memories_have_another_hash() -> None:
    """Else every lookup of a state would go through all of them."""
    assert len({hash(Recent[int]().put("m", value, 4)) for value in range(10)}) == 10


@pytest.mark.rule("SEND-19")
def test_the_latest_word_on_a_message_counts() -> None:
    first, second = 1, 2
    memory = Recent[int]().put("m", first, 4).put("n", first, 4).put("o", first, 4).put("m", second, 4)
    assert memory.get("m") == second
    assert memory.get("o") == first
    assert memory.get("never") is None


def test_a_limit_of_zero_remembers_nothing() -> None:
    assert Recent[int]().put("m", 1, 0) == Recent()


def test_what_is_dropped_is_forgotten_in_either_generation() -> None:
    memory = Recent[int]().put("m", 1, 2).put("n", 2, 2)
    assert (memory.get("m"), memory.get("n")) == (1, 2)
    assert memory.drop("m").get("m") is None
    assert memory.drop("m").drop("n") == Recent()
    assert memory.drop("never") is memory
