"""Pytest plugin: which rules of the protocol do the tests that passed check?

A test names the rules that it checks: ``@pytest.mark.rule("REF-10", "REF-9")``. The rules are the numbered lines of
the file named by the ini option ``rule_catalogue``. Naming one that does not exist is an error of collection. A rule
counts as checked when a test that names it ran and passed. Under xdist the workers collect and run, and their reports
carry the names to the controller, which counts.
"""

import re
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Final

import pytest
from attrs import field, frozen, mutable

_RULE_LINE: Final = re.compile(r"^- \*\*([A-Z][A-Z0-9]*)-([0-9]+)\*\*", re.MULTILINE)
_TABLE_ROW: Final = re.compile(r"^\| ([DO]-[0-9]+) \|", re.MULTILINE)
_PROPERTY: Final = "rules"
_catalogue_key: Final = pytest.StashKey["Catalogue"]()
_tally_key: Final = pytest.StashKey["Tally"]()


@frozen
class Catalogue:
    """What can be cited.

    Attributes:
        groups: numbers of the rules by group, both in the order of the document.
        ids: what can be cited: the rules, and the disputed and open points (D-1, O-1), which do not count.
    """

    groups: dict[str, list[int]]
    ids: frozenset[str]

    @classmethod
    def read(cls, path: Path) -> "Catalogue":
        """Read the catalogue at ``path``. Raises `ValueError` if it defines a rule twice, or none."""
        text = path.read_text(encoding="utf-8")
        groups: dict[str, list[int]] = {}
        for group, number in _RULE_LINE.findall(text):
            numbers = groups.setdefault(group, [])
            if int(number) in numbers:
                raise ValueError(f"{path}: {group}-{number} is defined twice")
            numbers.append(int(number))
        if not groups:
            raise ValueError(f"{path}: no rules in it")
        rulings = frozenset(_TABLE_ROW.findall(text))
        ids = {f"{group}-{number}" for group, numbers in groups.items() for number in numbers}
        return cls(groups, rulings | ids)


@mutable
class Tally:
    """The rules that passing tests named so far."""

    checked: set[str] = field(factory=set[str])

    def unchecked(self, catalogue: Catalogue, group: str) -> list[int]:
        return [number for number in catalogue.groups[group] if f"{group}-{number}" not in self.checked]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("rule_catalogue", "the file that defines the rules, relative to the root directory")
    options = parser.getgroup("rules")
    options.addoption("--rule-table", action="store_true", help="print how many rules of each group are checked")
    options.addoption(
        "--require-groups",
        default="",
        metavar="A,B",
        help="fail if a rule of one of these groups is not named by a passing test",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "rule(*ids): the rules of the protocol that this test checks")
    try:
        catalogue = Catalogue.read(config.rootpath / config.getini("rule_catalogue"))
    except (OSError, ValueError) as error:
        raise pytest.UsageError(f"rule_catalogue: {error}") from error
    unknown = [group for group in _required_groups(config) if group not in catalogue.groups]
    if unknown:
        raise pytest.UsageError(f"--require-groups: no such group of rules: {', '.join(unknown)}")
    config.stash[_catalogue_key] = catalogue
    config.stash[_tally_key] = Tally()


def _required_groups(config: pytest.Config) -> list[str]:
    groups = str(config.getoption("--require-groups") or "")
    return [group.strip() for group in groups.split(",") if group.strip()]


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn a file that names unknown rules into an error of collection."""
    report = yield
    catalogue = collector.config.stash[_catalogue_key]
    problems: list[str] = []
    for item in report.result or ():
        if not isinstance(item, pytest.Item):
            continue
        markers = list(item.iter_markers("rule"))
        if any(not marker.args for marker in markers):
            problems.append(f"{item.nodeid}: the rule marker names no rule")
        unknown = [str(rule) for marker in markers for rule in marker.args if rule not in catalogue.ids]
        if unknown:
            problems.append(f"{item.nodeid}: no such rule: {', '.join(unknown)}")
    if problems:
        report.outcome = "failed"
        report.longrepr = "\n".join(problems)
        report.result = []
    return report


def pytest_runtest_setup(item: pytest.Item) -> None:
    rules = sorted({rule for marker in item.iter_markers("rule") for rule in marker.args})
    if rules:
        item.user_properties.append((_PROPERTY, " ".join(rules)))


class _Counter:
    """Hooks of the process that sees every report: the controller under xdist, else the only one."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._catalogue = config.stash[_catalogue_key]
        self._tally = config.stash[_tally_key]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" or not report.passed or hasattr(report, "wasxfail"):
            return
        for name, value in report.user_properties:
            if name == _PROPERTY:
                self._tally.checked.update(str(value).split())

    def _missing(self) -> list[str]:
        return [
            f"{group}-{number}"
            for group in _required_groups(self._config)
            for number in self._tally.unchecked(self._catalogue, group)
        ]

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if exitstatus == pytest.ExitCode.OK and self._missing():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        config = self._config
        if config.getoption("--rule-table"):
            terminalreporter.section("rules of the protocol")
            for line in _table(self._catalogue, self._tally):
                terminalreporter.line(line)
        missing = self._missing()
        if missing:
            terminalreporter.line(f"required, but named by no passing test: {', '.join(missing)}", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        session.config.pluginmanager.register(_Counter(session.config), "rule-counter")


def _table(catalogue: Catalogue, tally: Tally) -> Iterable[str]:
    yield f"{'group':<8}{'rules':>6}{'checked':>9}  not checked"
    rules = checked = 0
    for group, numbers in catalogue.groups.items():
        unchecked = tally.unchecked(catalogue, group)
        rules += len(numbers)
        checked += len(numbers) - len(unchecked)
        yield f"{group:<8}{len(numbers):>6}{len(numbers) - len(unchecked):>9}  {_ranges(unchecked)}".rstrip()
    yield f"{'total':<8}{rules:>6}{checked:>9}"


def _ranges(numbers: list[int]) -> str:
    """``1-3 7`` for 1, 2, 3 and 7."""
    parts: list[str] = []
    start = previous = None
    for number in [*numbers, None]:
        if start is not None and previous is not None and (number is None or number != previous + 1):
            parts.append(str(start) if start == previous else f"{start}-{previous}")
            start = None
        if start is None:
            start = number
        previous = number
    return " ".join(parts)
