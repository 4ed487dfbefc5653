"""The plugin that counts the rules, run on small suites of its own."""

from pathlib import Path

import pytest

from tests import _rules

CATALOGUE = """
# Rules
- **A-1** [both] MUST — one.
- **A-2** [both] MUST — two.
- **A-3** [both] MUST — three.
- **B-1** [client] MUST — **A-9** is only mentioned here.

| D-7 | a disputed point |
"""

ROOT = Path(_rules.__file__).parents[1]


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with the catalogue above and the plugin."""
    pytester.makefile(".md", rules=CATALOGUE)
    pytester.makeini(f"[pytest]\nrule_catalogue = rules.md\npythonpath = {ROOT}\naddopts = --strict-markers\n")
    pytester.makeconftest('pytest_plugins = ["tests._rules"]')
    return pytester


def run(suite: pytest.Pytester, *args: str) -> pytest.RunResult:
    return suite.runpytest_inprocess("-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:anyio", *args)


MIXED = """
    import pytest

    @pytest.mark.rule("A-1", "D-7")
    def test_passes(): pass

    @pytest.mark.rule("A-2")
    @pytest.mark.skip
    def test_skipped(): raise AssertionError

    @pytest.mark.rule("A-3")
    @pytest.mark.xfail
    def test_expected_to_fail(): raise AssertionError

    @pytest.mark.rule("B-1")
    @pytest.mark.xfail(strict=False)
    def test_passes_unexpectedly(): pass
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_only_tests_that_passed_count(suite: pytest.Pytester, workers: str) -> None:
    suite.makepyfile(MIXED)
    result = run(suite, "--rule-table", "--require-groups=A", "-n", workers)
    result.assert_outcomes(passed=1, skipped=1, xfailed=1, xpassed=1)
    result.stdout.fnmatch_lines(
        [
            "group    rules  checked  not checked",
            "A            3        1  2-3",
            "B            1        0  1",
            "total        4        1",
            "required, but named by no passing test: A-2, A-3",
        ]
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_failed_test_does_not_count(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
        import pytest

        @pytest.mark.rule("A-1")
        def test_fails(): raise AssertionError
    """)
    result = run(suite, "--rule-table")
    result.stdout.fnmatch_lines(["A            3        0  1-3"])


def test_markers_of_classes_modules_and_parameters_count(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
        import pytest

        pytestmark = pytest.mark.rule("A-1")

        @pytest.mark.rule("A-3")
        class TestGroup:
            @pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.rule("B-1"))])
            def test_passes(self, x): pass
    """)
    result = run(suite, "--rule-table")
    result.stdout.fnmatch_lines(["A            3        2  2", "B            1        1", "total        4        3"])


def test_no_table_unless_it_is_asked_for(suite: pytest.Pytester) -> None:
    suite.makepyfile(MIXED)
    result = run(suite)
    result.stdout.no_fnmatch_line("*not checked*")


UNKNOWN = """
    import pytest

    class TestGroup:
        @pytest.mark.parametrize("x", [1])
        @pytest.mark.rule("A-1", {rules})
        def test_passes(self, x): pass
"""


@pytest.mark.parametrize("rule", ["A-4", "A-01", "C-1", "a-1", "A", "A-1 A-2", "A-9", "D-8"])
def test_an_unknown_rule_fails_the_collection(suite: pytest.Pytester, rule: str) -> None:
    suite.makepyfile(UNKNOWN.format(rules=repr(rule)))
    result = run(suite)
    result.stdout.fnmatch_lines([f"*TestGroup::test_passes?1?: no such rule: {rule}"])
    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.INTERRUPTED


def test_an_unknown_rule_fails_the_run_under_xdist(suite: pytest.Pytester) -> None:
    suite.makepyfile(UNKNOWN.format(rules="'A-4', 'C-1'"))
    result = run(suite, "-n", "2")
    result.stdout.fnmatch_lines(["*TestGroup::test_passes?1?: no such rule: A-4, C-1"])
    result.assert_outcomes(errors=1)
    assert result.ret != pytest.ExitCode.OK


def test_a_marker_without_rules_fails_the_collection(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
        import pytest

        @pytest.mark.rule()
        def test_passes(): pass
    """)
    result = run(suite)
    result.stdout.fnmatch_lines(["*test_passes: the rule marker names no rule"])
    assert result.ret != 0


@pytest.mark.parametrize(
    ("groups", "code"), [("", 0), ("B", 0), ("A", 1), ("B,A", 1)], ids=["none", "whole", "partly", "both"]
)
def test_required_groups_fail_a_run_that_leaves_rules_out(suite: pytest.Pytester, groups: str, code: int) -> None:
    suite.makepyfile("""
        import pytest

        @pytest.mark.rule("A-1", "A-2")
        def test_a(): pass

        @pytest.mark.rule("B-1")
        def test_b(): pass
    """)
    result = run(suite, f"--require-groups={groups}")
    assert result.ret == code
    complaint = "required, but named by no passing test: A-3"
    if code:
        result.stdout.fnmatch_lines([complaint])
    else:
        result.stdout.no_fnmatch_line(complaint)


def test_required_groups_must_exist(suite: pytest.Pytester) -> None:
    result = run(suite, "--require-groups=A,Z")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*no such group of rules: Z"])


@pytest.mark.parametrize(
    ("text", "problem"),
    [("- **A-1** [both]\n- **A-1** [both]\n", "A-1 is defined twice"), ("nothing", "no rules in it")],
)
def test_a_broken_catalogue_is_refused(suite: pytest.Pytester, text: str, problem: str) -> None:
    suite.makefile(".md", rules=text)
    result = run(suite)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{problem}*"])


def test_a_missing_catalogue_is_refused(suite: pytest.Pytester) -> None:
    (suite.path / "rules.md").unlink()
    assert run(suite).ret == pytest.ExitCode.USAGE_ERROR


def test_the_catalogue_of_this_project_is_whole() -> None:
    text = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    catalogue = _rules.Catalogue.read(ROOT / "docs" / "protocol.md")
    assert sum(len(numbers) for numbers in catalogue.groups.values()) == 463
    for group, numbers in catalogue.groups.items():
        assert numbers == sorted(numbers), f"{group} is out of order"
        assert f"## {group} — " in text
    assert {"REF-1", "R2-35", "D-10", "O-1"} <= catalogue.ids
