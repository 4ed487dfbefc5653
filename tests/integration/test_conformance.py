"""Both drivers pass the conformance suite, and the asyncio one on uvloop as well where that is installed."""

import inspect
import re

import pytest

from clawproto.testing.conformance import CHECKS, run_check
from clawproto.testing.stage import Check, DriverAdapter
from tests.integration.driver_adapters import WITH_UVLOOP


def _rules(check: Check) -> list[str]:
    """The rules that a check names, in brackets, in its docstring."""
    brackets = re.findall(r"\(([A-Z0-9,\s-]+)\)", inspect.getdoc(check) or "")
    return [rule for names in brackets for rule in re.split(r",\s*", names)]


def _marks(check: Check) -> list[pytest.MarkDecorator]:
    rules = _rules(check)
    return [pytest.mark.rule(*rules)] if rules else []


@pytest.mark.parametrize(
    "check",
    [pytest.param(check, marks=_marks(check), id=check.__name__) for check in CHECKS],
)
@pytest.mark.parametrize("adapter", WITH_UVLOOP, ids=lambda adapter: adapter.name)
def test_conformance(adapter: DriverAdapter, check: Check) -> None:
    run_check(adapter, check)
