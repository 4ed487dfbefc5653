"""Counterexamples for people: one line for each thing that happened."""

from typing import Any

from clawproto.testing.explore.client import Client
from clawproto.testing.explore.search import Counterexample, Report
from clawproto.testing.explore.surroundings import Next


def table(reports: list[Report]) -> str:
    """What the searches have found, a line for each."""
    head = f"{'world':36}{'states':>11}{'transitions':>13}{'steps':>9}{'depth':>7}{'seconds':>9}  "
    lines = [head.rstrip()]
    for report in reports:
        end = "violation" if report.counterexample else "complete" if report.complete else "cut off"
        lines.append(
            f"{report.world:36}{report.states:>11,}{report.transitions:>13,}{report.moves:>9,}{report.depth:>7}"
            f"{report.seconds:>9.1f}  {end}"
        )
    tried = sum(report.tried for report in reports)
    violations = sum(report.counterexample is not None for report in reports)
    transitions = sum(report.transitions for report in reports)
    lines.append(f"{transitions:,} transitions, {tried:,} untimely events tried, {violations} violations")
    return "\n".join(lines)


def journal(found: Counterexample, client: Client) -> str:
    """The shortest way to a violation, a line a step: what happened, what the session asked for, where it was then."""
    lines = [found.problem]
    for index, step in enumerate(found.steps, 1):
        view = client.views[step.state.node]
        where = f"{view.phase}, {view.link}" if client.linked else view.phase
        asked = ", ".join(_effect(effect) for effect in step.effects)
        lines.append(f"{index:4}  {_label(step):44} [{where}]{'  ' + asked if asked else ''}")
    return "\n".join(lines)


def _label(step: Next) -> str:
    return " ".join(str(part) for part in step.label)


def _effect(effect: tuple[Any, ...]) -> str:
    match effect:
        case ("intent", _, pair, generation):
            return f"record the intent to spend pair {pair} of generation {generation}"
        case ("request", pair):
            return f"refresh with pair {pair}"
        case ("persist", _, pair, generation, replaces):
            return f"save pair {pair} as generation {generation} in place of {replaces}"
        case ("logout", _, pair, replaces):
            return f"forget pair {pair} of generation {replaces}"
        case ("reload", _):
            return "read the store"
        case ("swap", pair):
            return f"swap to pair {pair}"
        case _:
            return " ".join(str(part) for part in effect)
