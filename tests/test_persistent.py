"""Immutable maps, against dict."""

import os
import subprocess
import sys
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings, strategies as st

from clawproto import persistent
from clawproto.persistent import IntMap, StrMap

K = TypeVar("K", int, str)

int_keys = st.one_of(st.integers(0, 40), st.integers(0, 2**70), st.integers(0, 14).map(lambda n: 16**n))
str_keys = st.one_of(st.text(), st.sampled_from("abc"))


def changes(keys: st.SearchStrategy[K]) -> st.SearchStrategy[list[tuple[K, int | None]]]:
    """A history: keys set to a value, or removed (None)."""
    return st.lists(st.tuples(keys, st.one_of(st.none(), st.integers(0, 3))), max_size=40)


@settings(deadline=None)
@given(changes(int_keys))
def test_int_map_does_what_dict_does(history: list[tuple[int, int | None]]) -> None:
    model: dict[int, int] = {}
    subject: IntMap[int] = IntMap()
    for key, value in history:
        before, before_items = subject, list(subject.items())
        if value is None:
            model.pop(key, None)
            subject = subject.remove(key)
        else:
            model[key] = value
            subject = subject.set(key, value)
        assert list(before.items()) == before_items
        assert subject.get(key) == model.get(key)
        assert (key in subject) is (key in model)
        assert len(subject) == len(model)
        ordered = sorted(model.items())
        assert list(subject.items()) == ordered
        assert subject.first() == (ordered[0] if ordered else None)
    assert list(subject) == sorted(model)
    assert list(subject.values()) == [model[key] for key in sorted(model)]
    rebuilt = IntMap.of(sorted(model.items(), reverse=True))
    assert subject == rebuilt
    assert hash(subject) == hash(rebuilt)


@settings(deadline=None)
@given(changes(str_keys))
def test_str_map_does_what_dict_does(history: list[tuple[str, int | None]]) -> None:
    check_str_map(history)


def colliding_hash(key: str) -> int:
    return len(key) % 2


@settings(deadline=None)
@given(changes(str_keys))
def test_str_map_with_colliding_hashes(history: list[tuple[str, int | None]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(persistent, "_hash", colliding_hash)
        check_str_map(history)


def check_str_map(history: list[tuple[str, int | None]]) -> None:
    model: dict[str, int] = {}
    subject: StrMap[int] = StrMap()
    for key, value in history:
        before, before_items = subject, list(subject.items())
        if value is None:
            model.pop(key, None)
            subject = subject.remove(key)
        else:
            model[key] = value
            subject = subject.set(key, value)
        assert list(before.items()) == before_items
        assert subject.get(key) == model.get(key)
        assert (key in subject) is (key in model)
        assert len(subject) == len(model)
        assert dict(subject.items()) == model
    assert list(subject) == [key for key, _ in subject.items()]
    assert list(subject.values()) == [value for _, value in subject.items()]
    rebuilt = StrMap.of(sorted(model.items(), reverse=True))
    assert subject == rebuilt
    assert hash(subject) == hash(rebuilt)
    assert list(subject) == list(rebuilt)


@settings(deadline=None)
@given(st.dictionaries(int_keys, st.integers(0, 2)), st.dictionaries(int_keys, st.integers(0, 2)))
def test_int_maps_are_equal_iff_their_contents_are(one: dict[int, int], other: dict[int, int]) -> None:
    assert (IntMap.of(one.items()) == IntMap.of(other.items())) is (one == other)


@settings(deadline=None)
@given(st.dictionaries(str_keys, st.integers(0, 2)), st.dictionaries(str_keys, st.integers(0, 2)))
def test_str_maps_are_equal_iff_their_contents_are(one: dict[str, int], other: dict[str, int]) -> None:
    assert (StrMap.of(one.items()) == StrMap.of(other.items())) is (one == other)


def check_many_changes(start: Any, gone: Iterable[Any], fresh: Mapping[Any, int]) -> None:
    """All of them at once, against one after the other; and none at all."""
    expected = start
    for key in gone:
        expected = expected.remove(key)
    for key, value in fresh.items():
        expected = expected.set(key, value)
    after = start.changed(gone, fresh)
    assert after == expected and hash(after) == hash(expected)
    assert list(after.items()) == list(expected.items()) and len(after) == len(expected)
    assert start.changed(set(), {}) is start


@settings(deadline=None)
@given(st.dictionaries(int_keys, st.integers(0, 2), max_size=60), st.sets(int_keys), st.data())
def test_many_changes_of_an_int_map_are_as_one_by_one(
    before: dict[int, int], gone: set[int], data: st.DataObject
) -> None:
    fresh = data.draw(st.dictionaries(int_keys, st.integers(0, 2)))
    gone |= set(data.draw(st.sets(st.sampled_from(sorted(before))))) if before else set()
    start = IntMap.of(before.items())
    check_many_changes(start, gone, fresh)
    assert list(start.items()) == sorted(before.items()), "the old map is a value"


@settings(deadline=None)
@given(st.dictionaries(str_keys, st.integers(0, 2), max_size=60), st.sets(str_keys), st.data(), st.booleans())
def test_many_changes_of_a_str_map_are_as_one_by_one(
    before: dict[str, int], gone: set[str], data: st.DataObject, colliding: bool
) -> None:
    fresh = data.draw(st.dictionaries(str_keys, st.integers(0, 2)))
    gone |= set(data.draw(st.sets(st.sampled_from(sorted(before))))) if before else set()
    with pytest.MonkeyPatch.context() as patch:
        if colliding:
            patch.setattr(persistent, "_hash", colliding_hash)
        start = StrMap.of(before.items())
        check_many_changes(start, gone, fresh)
        assert dict(start.items()) == before, "the old map is a value"


@pytest.mark.parametrize("size", [17, 300, 5_000])
def test_a_map_made_at_once_has_the_shape_of_one_made_by_and_by(size: int) -> None:
    keys = [n * n for n in range(size)]
    by_and_by: IntMap[int] = IntMap()
    for key in reversed(keys):
        by_and_by = by_and_by.set(key, key)
    assert IntMap.of((key, key) for key in keys) == by_and_by
    gone, fresh = set(keys[: size // 2]), {key * 7 + 3: 1 for key in keys[:10]}
    expected = by_and_by
    for key in gone:
        expected = expected.remove(key)
    for key, value in fresh.items():
        expected = expected.set(key, value)
    assert by_and_by.changed(gone, fresh) == expected
    few = set(keys[:2])
    assert by_and_by.changed(few, fresh) == expected.changed(set(), {key: key for key in gone - few - fresh.keys()})


def test_negative_keys() -> None:
    subject: IntMap[str] = IntMap.of([(31, "a"), (0, "b"), (2**64, "c")])
    with pytest.raises(ValueError, match="at least 0"):
        subject.set(-1, "x")
    with pytest.raises(ValueError, match="at least 0"):
        subject.changed(set(), {-1: "x"})
    assert subject.get(-1) is None
    assert -1 not in subject
    assert subject.remove(-1) is subject


@pytest.mark.parametrize("subject", [IntMap.of([(1, None)]), IntMap[None]()])
def test_default_is_for_absent_keys_only(subject: IntMap[None]) -> None:
    assert subject.get(1, "default") == (None if len(subject) else "default")


def test_str_map_default_is_for_absent_keys_only() -> None:
    subject = StrMap.of([("a", None)])
    assert subject.get("a", 5) is None
    assert subject.get("b", 5) == 5
    assert subject.get("b") is None


def test_nothing_changes_nothing() -> None:
    value = object()
    ints, strings = IntMap.of([(5, value)]), StrMap.of([("a", value)])
    assert ints.set(5, value) is ints
    assert ints.remove(6) is ints
    assert strings.set("a", value) is strings
    assert strings.remove("b") is strings
    assert IntMap[int]().remove(1) == IntMap()
    assert IntMap[int]().first() is None


def test_a_value_that_is_equal_but_another_replaces() -> None:
    ints: IntMap[int] = IntMap.of([(1, 1)])
    strings: StrMap[int] = StrMap.of([("a", 1)])
    assert [type(value) for value in ints.set(1, True).values()] == [bool]
    assert [type(value) for value in strings.set("a", True).values()] == [bool]


def test_hash_needs_hashable_values_only_when_asked_for() -> None:
    subject = IntMap.of([(1, [2]), (3, [4])])
    assert subject.get(1) == [2]
    with pytest.raises(TypeError):
        hash(subject)


def test_repr() -> None:
    assert repr(IntMap.of([(40, "b"), (1, "a")])) == "IntMap({1: 'a', 40: 'b'})"
    assert repr(StrMap.of([("a", 1)])) == "StrMap({'a': 1})"


def test_lone_surrogates_are_keys_too() -> None:
    assert StrMap.of([("\ud800", 1)]).get("\ud800") == 1


def test_order_is_the_same_in_every_process() -> None:
    program = "from clawproto.persistent import StrMap; print(list(StrMap.of((f'cnv_{n}', n) for n in range(50))))"
    orders = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert orders == {f"{list(StrMap.of((f'cnv_{n}', n) for n in range(50)))}\n"}


def node_identities(subject: IntMap[int]) -> set[int]:
    seen: set[int] = set()
    stack: list[object] = [getattr(subject, "_root")]  # noqa: B009
    while stack:
        node = stack.pop()
        seen.add(id(node))
        stack.extend(getattr(node, "children", ()))
    return seen


@pytest.mark.parametrize(("factor", "power", "offset"), [(1, 1, 0), (16**4, 1, 0), (1, 2, 2**40)])
def test_a_change_copies_one_path(factor: int, power: int, offset: int) -> None:
    keys = [factor * int(n**power) + offset for n in range(5_000)]
    before: IntMap[int] = IntMap.of((key, 0) for key in keys)
    after = before.set(keys[2_500], -1)
    assert 1 < len(node_identities(after) - node_identities(before)) <= 6


# --- around the bound between dict and tree ------------------------------------------------------------------------

INTS = [(n * n * 37) % 4_099 for n in range(40)]  # in no order
STRINGS = ["plumless", "buckeroo", "\ud800", *(f"cnv_{n}" for n in range(37))]  # the first two have the same CRC-32
KINDS = pytest.mark.parametrize(("kind", "keys"), [(IntMap, INTS), (StrMap, STRINGS)])
SIZES = pytest.mark.parametrize("size", [0, 1, 2, 3, 15, 16, 17, 18, 39])


def test_the_two_strings_do_collide() -> None:
    assert zlib.crc32(b"plumless") == zlib.crc32(b"buckeroo")
    assert len(set(INTS)) == len(set(STRINGS)) == 40


@KINDS
@SIZES
def test_contents_alone_decide_what_a_map_is_equal_to(kind: Any, keys: list[Any], size: int) -> None:
    contents = {key: f"<{key!r}>" for key in keys[:size]}
    made = kind.of(contents.items())
    one_by_one = backwards = kind()
    for key, value in contents.items():
        one_by_one = one_by_one.set(key, value)
    for key, value in reversed(contents.items()):
        backwards = backwards.set(key, value)
    shrunk = kind.of((key, f"<{key!r}>") for key in keys)
    for key in keys[size:]:
        shrunk = shrunk.remove(key)
    grown_and_shrunk = made.set(keys[size], "another").remove(keys[size])
    for other in (one_by_one, backwards, shrunk, grown_and_shrunk):
        assert other == made and hash(other) == hash(made)
        assert len(other) == size and dict(other.items()) == contents
        assert list(other) == list(made)
    assert len(made) == size and dict(made.items()) == contents


@KINDS
@SIZES
def test_each_key_is_found_replaced_and_removed(kind: Any, keys: list[Any], size: int) -> None:
    contents = {key: f"<{key!r}>" for key in keys[:size]}
    subject = kind.of(contents.items())
    for key, value in contents.items():
        assert key in subject and subject.get(key) is subject.get(key, "default") is value
        assert subject.set(key, value) is subject
        replaced = subject.set(key, "another")
        assert len(replaced) == size and dict(replaced.items()) == {**contents, key: "another"}
        less = subject.remove(key)
        assert len(less) == size - 1 and dict(less.items()) == {k: v for k, v in contents.items() if k != key}
        assert key not in less and less.get(key) is None and less.remove(key) is less
    for key in keys[size:]:
        assert key not in subject and subject.get(key, "default") == "default"
        assert subject.remove(key) is subject
        more = subject.set(key, None)
        assert len(more) == size + 1 and key in more and more.get(key, "default") is None


@KINDS
def test_the_order_does_not_change_with_the_size(kind: Any, keys: list[Any]) -> None:
    order = list(kind.of((key, None) for key in keys))
    for size in range(len(keys)):
        assert list(kind.of((key, -at) for at, key in enumerate(keys[:size]))) == [
            key for key in order if key in keys[:size]
        ]


@KINDS
@pytest.mark.parametrize("size", [3, 39])
def test_other_contents_have_another_hash(kind: Any, keys: list[Any], size: int) -> None:
    """Else every lookup of a state would go through all of them."""
    hashes = {hash(kind.of((key, value) for key in keys[:size])) for value in range(10)}
    assert len(hashes) == 10


def test_keys_with_the_same_hash_are_in_order_of_the_keys() -> None:
    for pairs in ([("plumless", 1), ("buckeroo", 2)], [("buckeroo", 2), ("plumless", 1)]):
        few = StrMap.of(pairs)
        many = StrMap.of([*pairs, *((f"cnv_{n}", n) for n in range(20))])
        assert list(few) == [key for key in many if key in few] == ["buckeroo", "plumless"]
