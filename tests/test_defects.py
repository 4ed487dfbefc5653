"""Deliberate defects of the core: each can still be put in, and those tried here are noticed."""

import ast
from pathlib import Path

import pytest

from tools.defects.__main__ import ROOT, Verdict, broken, copy_tree, examine
from tools.defects.catalogue import DEFECTS, Defect

CORE = ROOT / "clawproto"


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_every_defect_can_be_put_in(defect: Defect) -> None:
    source = (CORE / defect.path).read_text(encoding="utf-8")
    changed = broken(defect, source)
    assert changed != source
    ast.parse(changed)
    for name in defect.tests:
        assert (ROOT / "tests" / "core" / name).is_file(), name


def test_there_are_enough_of_them_and_none_twice() -> None:
    assert len(DEFECTS) >= 30
    assert len({(one.path, one.old) for one in DEFECTS}) == len({one.name for one in DEFECTS}) == len(DEFECTS)


def test_a_place_that_is_gone_or_not_the_only_one_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 times"):
        broken(DEFECTS[0], "nothing of the kind")
    with pytest.raises(ValueError, match="2 times"):
        broken(DEFECTS[0], DEFECTS[0].old * 2)


@pytest.mark.parametrize("name", ["a pair is swapped before it is saved", "the opening of another socket counts"])
def test_a_sample_is_noticed_by_explorer_and_tests_and_taken_out_again(tmp_path: Path, name: str) -> None:
    (defect,) = (one for one in DEFECTS if one.name == name)
    copy_tree(tmp_path)
    verdict = examine(defect, tmp_path)
    assert verdict.explorer is not None and "steps)" in verdict.explorer
    assert verdict.test is not None and verdict.test.startswith("test_")
    copied, own = tmp_path / "clawproto" / defect.path, CORE / defect.path
    assert copied.read_text(encoding="utf-8") == own.read_text(encoding="utf-8")


def test_the_table_says_who_noticed() -> None:
    walked, other = DEFECTS[0], DEFECTS[-1]
    assert not other.explored
    assert Verdict(walked, None, "t").row.endswith(f"| {walked.rule} | not noticed | `t` |")
    assert Verdict(other, None, None).row.endswith(f"| {other.rule} | – | not noticed |")
