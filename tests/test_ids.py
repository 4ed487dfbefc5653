"""ULIDs and message ids."""

import re

import pytest
from hypothesis import given, strategies as st

from clawproto.ids import IdState, Minter, is_message_id, message_id, next_ulid

SEED = bytes(range(16))
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
MESSAGE_ID = re.compile(r"\Amsg-[0-7][0-9A-HJKMNP-TV-Z]{25}\Z")
clocks = st.one_of(st.integers(), st.integers(0, 2**48 - 1), st.integers(1_790_000_000_000, 1_790_000_000_003))


def number(ulid: str) -> int:
    value = 0
    for character in ulid:
        value = value * 32 + CROCKFORD.index(character)
    return value


@given(st.lists(clocks, max_size=30), st.binary(min_size=16, max_size=16))
def test_ids_grow_strictly_whatever_the_clock_does(times: list[int], seed: bytes) -> None:
    state, last = IdState(), ""
    for wall_ms in times:
        state, ulid = next_ulid(state, seed, wall_ms)
        assert len(ulid) == 26
        assert ulid > last
        assert number(ulid) < 2**128
        last = ulid


@pytest.mark.rule("SEND-6")
@given(clocks, st.binary(min_size=16, max_size=16))
def test_form_of_message_ids(wall_ms: int, seed: bytes) -> None:
    _, text = message_id(IdState(), seed, wall_ms)
    assert len(text) == 30
    assert MESSAGE_ID.match(text)
    assert is_message_id(text)


@pytest.mark.rule("SEND-6")
@given(st.lists(clocks, max_size=30), st.binary(min_size=16, max_size=16), st.integers(0, 2**80 - 1))
def test_a_minter_mints_what_the_function_mints(times: list[int], seed: bytes, tail: int) -> None:
    state = IdState(3, 1_790_000_000_001, tail)
    minter = Minter(state, seed)
    for wall_ms in times:
        state, ulid = next_ulid(state, seed, wall_ms)
        assert (minter.mint(wall_ms), minter.state) == (ulid, state)


@pytest.mark.parametrize("end", range(1020, 1026))
@pytest.mark.parametrize("wall_ms", [0, 1_790_000_000_000, 1_790_000_000_001])
def test_a_minter_carries_at_the_end_of_what_it_knows_the_beginning_of(end: int, wall_ms: int) -> None:
    state = IdState(3, 1_790_000_000_001, (1 << 60) + end)
    minter = Minter(state, SEED)
    for _ in range(4):
        state, ulid = next_ulid(state, SEED, wall_ms)
        assert (minter.mint(wall_ms), minter.state) == (ulid, state)


@pytest.mark.parametrize("wall_ms", [-5, -1, 0, 1, 2])
def test_a_minter_begins_at_the_beginning_of_time(wall_ms: int) -> None:
    state, ulid = next_ulid(IdState(), SEED, wall_ms)
    minter = Minter(IdState(), SEED)
    assert (minter.mint(wall_ms), minter.state) == (ulid, state)


def test_a_minter_ends_where_the_function_ends() -> None:
    last = IdState(5, 2**48 - 1, 2**80 - 1)
    minter = Minter(last, SEED)
    with pytest.raises(OverflowError):
        minter.mint(0)
    assert minter.state == last, "nothing has changed"


def test_time_is_in_front() -> None:
    _, ulid = next_ulid(IdState(), SEED, 1_469_918_176_385)
    assert ulid.startswith("01ARYZ6S41")  # the example of the ULID specification
    assert number(ulid) >> 80 == 1_469_918_176_385


@pytest.mark.parametrize(("wall_ms", "stamp"), [(-1, 0), (0, 0), (2**48 - 1, 2**48 - 1), (2**48, 2**48 - 1)])
def test_time_is_clamped_to_48_bits(wall_ms: int, stamp: int) -> None:
    _, ulid = next_ulid(IdState(), SEED, wall_ms)
    assert number(ulid) >> 80 == stamp


def test_a_clock_that_stands_or_steps_back_increments() -> None:
    state, first = next_ulid(IdState(), SEED, 1_000)
    state, second = next_ulid(state, SEED, 1_000)
    state, third = next_ulid(state, SEED, 5)
    assert [number(second), number(third)] == [number(first) + 1, number(first) + 2]


def test_a_later_millisecond_draws_anew() -> None:
    state, first = next_ulid(IdState(), SEED, 1_000)
    _, second = next_ulid(state, SEED, 1_001)
    assert abs(number(second) - number(first) - 2**80) > 2**40


def test_a_full_tail_carries_into_the_time() -> None:
    state, ulid = next_ulid(IdState(3, 1_000, 2**80 - 1), SEED, 1_000)
    assert number(ulid) == 1_001 << 80
    assert state == IdState(4, 1_001, 0)


def test_the_last_millisecond_is_used_to_its_end() -> None:
    _, ulid = next_ulid(IdState(3, 2**48 - 1, 2**80 - 2), SEED, 0)
    assert number(ulid) == 2**128 - 1


def test_nothing_is_left_after_the_last_ulid() -> None:
    with pytest.raises(OverflowError, match=r"^no ULID is left$"):
        next_ulid(IdState(3, 2**48 - 1, 2**80 - 1), SEED, 0)


def test_ids_are_the_same_in_every_release() -> None:
    _, ulid = next_ulid(IdState(), bytes(range(16)), 1_790_000_000_000)
    assert ulid == "01M3250V007HS7DXYQ7XWEHRSY"


def test_same_inputs_same_ids_other_seeds_other_ids() -> None:
    assert message_id(IdState(), SEED, 1_000) == message_id(IdState(), SEED, 1_000)
    assert message_id(IdState(), SEED, 1_000) != message_id(IdState(), bytes(16), 1_000)


@pytest.mark.rule("SEND-6")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "msg-",
        "01ARYZ6S41TSV4RRFFQ69G5FAV",
        "msg-01ARYZ6S41TSV4RRFFQ69G5FA",
        "msg-01ARYZ6S41TSV4RRFFQ69G5FAVV",
        "msg-01ARYZ6S41TSV4RRFFQ69G5FAV\n",
        "msg-01aryz6s41tsv4rrffq69g5fav",
        "msg-81ARYZ6S41TSV4RRFFQ69G5FAV",
        "msg-01ARYZ6S41TSV4RRFFQ69G5FAL",
        "msg-01ARYZ6S41TSV4RRFFQ69G5FAU",
        "msg-01ARYZ6S41TSV4RRFFQ69G5FA٣",
        "notify:friend.added:usr_1",
    ],
)
def test_other_texts_are_no_minted_ids(text: str) -> None:
    assert not is_message_id(text)
    assert not MESSAGE_ID.match(text)
