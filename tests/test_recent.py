"""How much a bounded memory remembers."""

import pytest

from clawproto.recent import Recent


@pytest.mark.rule("SEND-19")
@pytest.mark.parametrize("limit", [1, 2, 3, 10, 64])
def test_at_most_the_limit_is_known_and_at_least_half_of_it(limit: int) -> None:
    memory: Recent[int] = Recent()
    for number in range(limit * 5):
        memory = memory.put(str(number), number, limit)
        newest_first = range(number, -1, -1)
        known = [other for other in newest_first if memory.get(str(other)) is not None]
        assert known == list(newest_first)[: len(known)], "what is forgotten is the oldest"
        assert min(number + 1, max(limit // 2, 1)) <= len(known) <= max(limit, 2)


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
