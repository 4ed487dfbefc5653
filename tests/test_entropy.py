"""Reproducible randomness."""

import os
import subprocess
import sys

import pytest
from hypothesis import example, given, strategies as st

from clawproto import entropy

SEED = bytes(range(16))
seeds = st.binary(min_size=16, max_size=16)
counters = st.integers(0, 2**64)


@given(seeds, st.text(), counters)
def test_unit_is_at_least_zero_and_below_one(seed: bytes, label: str, counter: int) -> None:
    assert 0 <= entropy.unit(seed, label, counter) < 1


@given(seeds, st.text(), counters, st.integers(1, 512))
def test_bits_fit_their_width(seed: bytes, label: str, counter: int, n: int) -> None:
    assert 0 <= entropy.bits(seed, label, counter, n) < 2**n


@example(SEED, "half of a pair: \ud800", 7, 80)
@given(seeds, st.text(), counters, st.integers(1, 512))
def test_a_drawer_draws_the_same(seed: bytes, label: str, counter: int, n: int) -> None:
    draw = entropy.drawer(seed, label, n)
    assert [draw(counter), draw(0)] == [entropy.bits(seed, label, at, n) for at in (counter, 0)]


def test_every_bit_is_drawn_evenly() -> None:
    draws = [entropy.bits(SEED, "even", counter, 12) for counter in range(2_000)]
    for position in range(12):
        assert 900 < sum(draw >> position & 1 for draw in draws) < 1_100


def test_unit_covers_its_range_evenly() -> None:
    draws = [entropy.unit(SEED, "even", counter) for counter in range(2_000)]
    for tenth in range(10):
        assert 150 < sum(tenth / 10 <= draw < (tenth + 1) / 10 for draw in draws) < 250


def test_one_to_512_bits_can_be_drawn() -> None:
    assert {entropy.bits(SEED, "x", counter, 1) for counter in range(20)} == {0, 1}
    assert entropy.bits(SEED, "x", 1, 512) >= 2**256
    for n in (0, 513, -1):
        with pytest.raises(ValueError, match="512"):
            entropy.bits(SEED, "x", 1, n)


def test_seed_label_and_counter_all_matter() -> None:
    draws = {
        entropy.bits(seed, label, counter, 80)
        for seed in (SEED, bytes(16))
        for label in ("", "a", "b", "a1", "1", "\ud800")
        for counter in (0, 1, 11, 111)
    }
    assert len(draws) == 2 * 6 * 4


def test_same_in_every_process() -> None:
    # Written down once: a change here changes every recorded session.
    assert entropy.bits(SEED, "ulid", 7, 80) == 0xB1CF17CB95AFC782D998
    program = f"from clawproto import entropy; print(repr(entropy.unit({SEED!r}, 'jitter', 3)))"
    answer = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONHASHSEED": "4", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == repr(entropy.unit(SEED, "jitter", 3))


@pytest.mark.parametrize("n", [0, -1, 513])
def test_width_out_of_range(n: int) -> None:
    with pytest.raises(ValueError, match="1 to 512"):
        entropy.bits(SEED, "x", 0, n)
    with pytest.raises(ValueError, match="1 to 512"):
        entropy.drawer(SEED, "x", n)


def test_seed_too_long() -> None:
    with pytest.raises(ValueError, match=r"key|maximum"):
        entropy.unit(bytes(65), "x", 0)
