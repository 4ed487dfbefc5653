"""Both drivers pass the conformance suite."""

import inspect
import re

import pytest
from driver_adapters import ADAPTERS

from clawproto.testing.conformance import CHECKS, run_check
from clawproto.testing.stage import Check, DriverAdapter


def _rules(check: Check) -> list[str]:
    """The rules that a check names in its docstring."""
    return re.findall(r"\b[A-Z][A-Z0-9]*-\d+\b", inspect.getdoc(check) or "")


@pytest.mark.parametrize(
    "check",
    [pytest.param(check, marks=pytest.mark.rule(*_rules(check)), id=check.__name__) for check in CHECKS],
)
@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
def test_conformance(adapter: DriverAdapter, check: Check) -> None:
    run_check(adapter, check)
