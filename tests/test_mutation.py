"""The tool that lets mutants of the core be judged: they are made, switched on one at a time, and told apart."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clawproto.secret import Secret
from tools.defects.__main__ import ROOT
from tools.mutation import alone, switch
from tools.mutation.__main__ import CORE, TESTS, Score, main, measure, page, score
from tools.mutation.judging import VERDICTS, Verdict, read_verdicts, write_verdict
from tools.mutation.making import difference, first_change, noting, place_of
from tools.mutation.reasons import EXPLAINED, UNEXPLAINED, Reasons, change_in, section


def test_the_core_is_every_module_but_the_equipment_for_tests() -> None:
    assert {"tokens", "link", "wire/codec"} <= set(CORE)
    assert not any(module.startswith(("hub", "testing")) for module in CORE)
    assert all((ROOT / "clawproto" / f"{module}.py").is_file() for module in CORE)
    assert all((ROOT / tests).exists() for tests in TESTS)


def test_a_function_runs_into_itself_until_a_mutant_is_switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    slots: list[switch.Slot] = []
    monkeypatch.setattr(switch, "slots", slots)
    monkeypatch.setitem(globals(), switch.NOTE, switch.note)
    monkeypatch.delenv(switch.VARIABLE, raising=False)

    def double(x: int) -> int:
        globals()[switch.NOTE]("double")
        return x + x

    class Box:
        @classmethod
        def x_half__mutmut_1(cls, x: int) -> int:
            return x // 3

    mutants: dict[str, Any] = {}
    wrapped = switch.wrap_in_trampoline(mutants)(double)
    mutants |= {
        "_mutmut_orig": lambda x: x + x,
        "x_double__mutmut_1": lambda x: x - x,
        "x_half__mutmut_1": Box.x_half__mutmut_1,
    }
    assert wrapped(2) == 4
    for unknown in f"{__name__}.x_double__mutmut_2", "elsewhere.x_double__mutmut_1":
        with pytest.raises(LookupError):
            switch.switch_on(unknown)
    places: set[str] = set()
    switch.take_notes(places)
    assert wrapped(2) == 4 and places == {"double"}
    places.clear()
    switch.take_no_notes()
    assert wrapped(2) == 4 and not places
    monkeypatch.setenv(switch.VARIABLE, "")  # put back when the test is over
    switch.switch_on(f"{__name__}.x_double__mutmut_1")
    assert wrapped(2) == 0
    switch.switch_on(f"{__name__}.x_half__mutmut_1")
    assert wrapped(Box, 9) == 3  # as mutmut hands the class of a class method in


def test_a_program_that_a_test_starts_runs_into_the_same_mutant() -> None:
    program = """
from tools.mutation.switch import wrap_in_trampoline
mutants = {}
@wrap_in_trampoline(mutants)
def double(x): return x + x
mutants |= {"_mutmut_orig": double, "x_double__mutmut_1": lambda x: x - x}
print(double(2))
"""
    for mutant, said in ("__main__.x_double__mutmut_1", "0"), ("__main__.x_double__mutmut_2", "4"):
        environment = {"PYTHONPATH": str(ROOT), switch.VARIABLE: mutant}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == [said]


ORIGINAL = """
    @staticmethod
    def xǁBoxǁput__mutmut_orig(
        x: int,
    ) -> int:
        if x:
            y = x + 1
            return y
        return 0
""".splitlines()[1:]


def changed(before: str, after: str) -> list[str]:
    return [line.replace("_orig", "_7").replace(before, after) for line in ORIGINAL]


def test_a_difference_shows_the_lines_that_change_and_no_name_of_a_mutant() -> None:
    assert difference(ORIGINAL, changed("x + 1", "x - 1")) == "-        y = x + 1\n+        y = x - 1"
    assert first_change(ORIGINAL, changed("x + 1", "x - 1")) == 4
    assert first_change(ORIGINAL, changed("if x", "if not x")) == 3
    assert first_change(ORIGINAL, changed("return 0", "return 1")) == 6


def test_an_original_notes_its_statements() -> None:
    code = """
@_mutmut_mutated(mutants_x_sign__mutmut)
def sign(x):
    if x > 0:
        return 1
    try:
        y = [0][x]
    except IndexError:
        return -1
    match y:
        case 0:
            return 0

def other(x):
    return x

@_mutmut_mutated(mutants_x_count__mutmut)
def count():
    global counted
    counted = 1
"""
    text, places = noting(code, "m")
    spans = places["m.x_sign"]
    assert spans == {
        "m.x_sign": (0, 9),
        "m.x_sign:1": (1, 2),
        "m.x_sign:2": (2, 2),
        "m.x_sign:3": (3, 6),
        "m.x_sign:4": (4, 4),
        "m.x_sign:6": (6, 6),
        "m.x_sign:7": (7, 9),
        "m.x_sign:9": (9, 9),
    }
    assert [place_of(spans, line) for line in (0, 1, 2, 5, 8)] == [
        "m.x_sign",
        "m.x_sign:1",
        "m.x_sign:2",
        "m.x_sign:3",
        "m.x_sign:7",
    ]
    noted: list[str] = []
    module: dict[str, Any] = {
        switch.NOTE: noted.append,
        "_mutmut_mutated": lambda mutants: lambda function: function,
        "mutants_x_sign__mutmut": {},
        "mutants_x_count__mutmut": {},
    }
    exec(text, module)
    assert module["other"](4) == 4 and noted == []
    module["count"]()
    assert module["counted"] == 1 and noted == ["m.x_count", "m.x_count:1", "m.x_count:2"]
    noted.clear()
    assert module["sign"](4) == 1 and noted == ["m.x_sign", "m.x_sign:1", "m.x_sign:2"]
    noted.clear()
    assert module["sign"](0) == 0
    assert noted == [f"m.x_sign{line}" for line in ("", ":1", ":3", ":4", ":7", ":9")]
    noted.clear()
    assert module["sign"](-2) == -1 and noted[-1] == "m.x_sign:6"


def test_the_score_is_the_share_of_all_mutants() -> None:
    score = Score("jwt", 4, ("jwt: a", "jwt: b"))
    assert score.noticed == 2 and score.percent == 50.0
    assert " ".join(str(score).split()) == "jwt 4 mutants, 2 noticed, 50.0 %"
    assert score.row(Reasons({"jwt: a": "why"}, ())) == "| `jwt` | 4 | 2 | 50.0 % | 2 | 1 |"


def test_a_change_is_named_by_what_it_puts_in_or_else_by_what_it_takes_out() -> None:
    assert change_in("jwt", "-    y = x + 1\n+    y = x - 1") == "jwt: y = x - 1"
    assert change_in("jwt", "-    case 1:\n-        return 2") == "jwt: case 1: / return 2"


def test_survivors_stand_under_their_reasons() -> None:
    reasons = Reasons.read("= One.\njwt: a\n\n= Two.\njwt: b\nids: c\n~ \\w+: assert .*\n")
    changes = ["jwt: new", "ids: c", "jwt: a", "ids: assert x", "ids: unassert"]
    assert reasons.sort(changes) == {
        "Two.": ["ids: c", "ids: assert x"],
        "One.": ["jwt: a"],
        UNEXPLAINED: ["jwt: new", "ids: unassert"],
    }
    assert "### Two.\n\n- `ids`: `` c ``\n" in section(["ids: c"], reasons)
    for wrong in "jwt: a\n", "= One.\njwt: a\njwt: a\n":
        with pytest.raises(ValueError):
            Reasons.read(wrong)


def test_every_explanation_is_about_a_module_of_the_core() -> None:
    for change in Reasons.read(EXPLAINED.read_text(encoding="utf-8")).of:
        assert change.partition(": ")[0] in CORE


def test_a_secret_is_blank_or_not() -> None:
    """Judges mutants in the test below."""
    assert Secret(" ").is_blank and not Secret("x").is_blank
    assert str(Secret("x")) == repr(Secret("x")) != "x"


def test_mutants_of_a_module_are_judged_and_what_survived_is_judged_again(tmp_path: Path) -> None:
    judge = "tests/test_mutation.py::test_a_secret_is_blank_or_not"
    measure(["secret"], [judge], tmp_path, jobs=2, seconds=5, again=False)
    first = score("secret", tmp_path)
    assert first is not None and 0 < first.noticed < first.total
    kept = json.loads((tmp_path / "secret.json").read_text(encoding="utf-8"))
    assert {test for _, word, test, _ in kept["verdicts"] if word in ("failed", "stopped")} == {judge}
    # What was noticed stays so, even if the tests of now could not notice it.
    measure(["secret"], ["tests/test_ids.py"], tmp_path, jobs=1, seconds=5, again=True)
    assert score("secret", tmp_path) == first
    written = page([first], first, Reasons({}, ()))
    assert "| `secret` |" in written and "Not measured: `app_events`" in written


def test_what_runs_too_early_is_judged_in_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tests = tmp_path / "test_early.py"
    tests.write_text(
        f"""
import os
mutant = os.environ["{switch.VARIABLE}"]
if mutant == "m.x_f__mutmut_2":
    raise RuntimeError("while it is imported")
def test_it():
    assert mutant != "m.x_f__mutmut_1"
""",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    lines = [Verdict(f"m.x_f__mutmut_{number}", word, None) for number, word in enumerate(["failed"] + 3 * ["not run"])]
    with VERDICTS.open("w", encoding="utf-8") as file:
        for line in lines:
            write_verdict(line, file)
    assert alone.main(["2", str(tests)]) == 0
    words = [(one.word, one.test) for one in read_verdicts(VERDICTS)]
    assert words == [
        ("failed", None),
        ("failed", "test_early.py::test_it"),
        ("failed", "test_early.py"),
        ("survived", None),
    ]


def test_nothing_is_known_of_a_module_that_has_changed_since(tmp_path: Path) -> None:
    assert score("secret", tmp_path) is None
    (tmp_path / "secret.json").write_text(json.dumps({"source": "another", "verdicts": []}), encoding="utf-8")
    assert score("secret", tmp_path) is None


@pytest.mark.parametrize("arguments", [[], ["testing/strategies"], ["ids", "--again"]])
def test_what_cannot_be_measured_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2 and "error" in capsys.readouterr().err
