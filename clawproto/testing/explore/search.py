"""Breadth-first search over everything that may happen, and whether each state leads back to a good one.

Visited states are kept as digests, and the way to each as the number of the state before it, so that a search of many
millions of transitions fits into memory; a counterexample is found again by walking its way once more.
"""

import hashlib
import marshal
import time
from array import array
from collections.abc import Callable
from typing import Final

from attrs import field

from clawproto.deferred import frozen
from clawproto.testing.explore.client import Client
from clawproto.testing.explore.environment import Environment
from clawproto.testing.explore.surroundings import Global, Next, Setting
from clawproto.testing.explore.totality import Violation

_NOBODY: Final = 0xFFFF_FFFF


@frozen
class Counterexample:
    """The shortest way to something that must not be.

    Attributes:
        problem: what is wrong at its end.
        steps: what happened, from the beginning.
    """

    problem: str
    steps: tuple[Next, ...] = field(repr=False)


@frozen
class Report:
    """What a search has found.

    Attributes:
        world: its name.
        states, transitions: of session and environment together.
        nodes, moves: canonical states of the session alone, and the calls of ``step`` that lead from one to another.
        tried: stale, misdirected and untimely events, in every one of them.
        depth: of the state that is farthest from the beginning.
        complete: every reachable state was seen; else the limit came first.
        resting: states in which the session is ready, logged out, or at its end.
        seconds: it took.
        counterexample: None if there is none.
    """

    world: str
    states: int
    transitions: int
    nodes: int
    moves: int
    tried: int
    depth: int
    complete: bool
    resting: int
    seconds: float
    counterexample: Counterexample | None = None


class _Graph:
    """States by number, the way to each, and the good course of things from each."""

    def __init__(self) -> None:
        self.numbers: dict[bytes, int] = {}
        self.parents = array("I")
        self.sources = array("I")
        self.targets = array("I")
        self.resting = bytearray()

    def number(self, state: Global, parent: int) -> tuple[int, bool]:
        """The number of ``state``, and whether it is new."""
        plain = (*state[:4], [(*one,) for one in state[4]], [(*one,) for one in state[5]], *state[6:])
        key = hashlib.blake2b(marshal.dumps(plain, 2), digest_size=12).digest()
        known = self.numbers.get(key)
        if known is not None:
            return known, False
        number = self.numbers[key] = len(self.parents)
        self.parents.append(parent)
        self.resting.append(0)
        return number, True

    def way(self, number: int) -> list[int]:
        """The numbers from the first state to this one."""
        found = [number]
        while (parent := self.parents[found[-1]]) != _NOBODY:
            found.append(parent)
        return found[::-1]

    def stuck(self, expanded: int) -> int | None:
        """The first of the expanded states from which the good course of things never comes to rest; None if all do.

        States that were not expanded count as good: nothing is known of them.
        """
        good = bytearray(self.resting)
        good[expanded:] = b"\1" * (len(good) - expanded)
        newest = array("I", [_NOBODY]) * len(good)  # by state: the last edge that leads there
        earlier = array("I", [_NOBODY]) * len(self.sources)  # by edge: the one before it
        for edge, target in enumerate(self.targets):
            earlier[edge] = newest[target]
            newest[target] = edge
        waiting = [number for number, is_good in enumerate(good) if is_good]
        while waiting:
            edge = newest[waiting.pop()]
            while edge != _NOBODY:
                source = self.sources[edge]
                if not good[source]:
                    good[source] = 1
                    waiting.append(source)
                edge = earlier[edge]
        missing = good.find(0)
        return None if missing < 0 else missing


def search(
    world: str,
    setting: Setting,
    *,
    client: Client | None = None,
    limit: int | None = None,
    progress: Callable[[int, int, int], None] | None = None,
) -> Report:
    """Explore a world.

    Args:
        client: the automaton to use, and to extend; else a new one.
        limit: stop after so many transitions.
        progress: called after each layer with its depth, and with states and transitions so far.
    """
    begin = time.perf_counter()
    environment = Environment(client or Client(setting.linked), setting)
    client, graph = environment.client, _Graph()
    first = environment.initial()
    graph.number(first, _NOBODY)
    layer: list[Global] = [first]
    expanded = transitions = depth = 0
    problem: tuple[int, str] | None = None
    while layer and problem is None and (limit is None or transitions < limit):
        following: list[Global] = []
        for state in layer:
            number = expanded
            expanded += 1
            if environment.is_at_rest(state):
                graph.resting[number] = 1
            try:
                before = transitions
                for step in environment.successors(state):
                    transitions += 1
                    target, is_new = graph.number(step.state, number)
                    if is_new:
                        following.append(step.state)
                    if step.healthy:
                        graph.sources.append(number)
                        graph.targets.append(target)
                if transitions == before and not graph.resting[number]:
                    problem = number, "deadlock: nothing can happen any more"
                    break
            except Violation as violation:
                problem = number, str(violation)
                break
            if limit is not None and transitions >= limit:
                break
        depth += 1
        if progress is not None:
            progress(depth, len(graph.parents), transitions)
        if following:
            layer = following
        elif expanded == len(graph.parents):
            layer = []
    complete = problem is None and expanded == len(graph.parents)
    if problem is None and (stuck := graph.stuck(expanded)) is not None:
        problem = stuck, "liveness: from here the session never becomes ready, however well everything else behaves"
    return Report(
        world,
        len(graph.parents),
        transitions,
        len(client.views),
        client.steps,
        client.checked,
        depth - (1 if complete else 0),
        complete,
        sum(graph.resting),
        time.perf_counter() - begin,
        None if problem is None else Counterexample(problem[1], _walk(environment, graph, problem[0])),
    )


def _walk(environment: Environment, graph: _Graph, number: int) -> tuple[Next, ...]:
    """The steps to a state, found by going there once more; and the one that failed there, as far as it got."""
    state, steps = environment.initial(), list[Next]()
    for wanted in graph.way(number)[1:]:
        for step in environment.successors(state):
            if graph.number(step.state, _NOBODY)[0] == wanted:
                steps.append(step)
                state = step.state
                break
    return tuple(steps)
