"""No hot path may execute over a tenth more instructions than its committed baseline; a busy machine changes nothing.

``python -m benchmarks --count --update`` makes a new baseline; the commit that needs one says why.
"""

import pytest

from benchmarks import instructions


def test_hot_paths_have_not_grown() -> None:
    baseline = instructions.baselines().get(instructions.surrounding())
    if baseline is None:
        pytest.skip(f"no baseline for Python {instructions.surrounding()}")
    assert instructions.grown(instructions.measure(), baseline) == []


def test_growth_is_noticed() -> None:
    assert instructions.grown({"a": 110.0}, {"a": 100.0}) == []
    assert instructions.grown({"a": 111.0}, {"a": 100.0}) == ["a: 111.0 instructions, +11% on 100.0"]
    assert instructions.grown({"b": 1.0}, {"a": 100.0}) == ["b: there is no baseline", "a: is not measured any more"]


def test_the_same_program_counts_alike_and_a_longer_one_more() -> None:
    def work(times: int) -> None:
        for _ in range(times):
            pass

    short = instructions.count(lambda: work(10))
    assert short == instructions.count(lambda: work(10))
    assert instructions.count(lambda: work(1_000)) > short + 990
