"""The explorer finds nothing wrong with the core, and everything that is wrong with one that is broken."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import fields, has

from clawproto.effects import Effect, RequestRefresh
from clawproto.events import Event, HttpAnswered
from clawproto.evolving import evolve
from clawproto.instant import Instant
from clawproto.secret import Secret
from clawproto.session import step
from clawproto.state import State
from clawproto.testing.explore import BOUNDED, Client, Setting, World, journal, search, table
from clawproto.testing.explore.__main__ import main
from clawproto.testing.explore.canonical import Node, canonical
from clawproto.testing.explore.diagrams import document, draw
from clawproto.testing.explore.environment import Environment
from clawproto.testing.explore.messages import walk
from clawproto.testing.explore.pool import NEW, NOW, PAIRS, TIMES, Age, by_access
from clawproto.testing.explore.vocabulary import event_of
from clawproto.testing.invariants import check
from clawproto.timing import TokenTimes

PAGE = Path(__file__).parents[1] / "docs" / "states.md"


@pytest.mark.rule(
    "REF-8", "REF-9", "REF-10", "REF-12", "REF-16", "REF-29", "REF-30", "REF-44", "REF-45", "REF-46", "REF-49"
)
@pytest.mark.rule(
    "CLOSE-2", "CLOSE-12", "HS-4", "HS-15", "HS-16", "HS-17", "OUT-2", "OUT-8", "OUT-9", "TOK-12", "TOK-14"
)
@pytest.mark.parametrize("world", BOUNDED, ids=lambda world: world.name)
def test_nothing_is_wrong_anywhere_near(world: World) -> None:
    client = Client(world.setting.linked)
    report = search(world.name, world.setting, client=client, limit=world.limit)
    assert report.counterexample is None, journal(report.counterexample, client)
    assert report.transitions >= min(world.limit or 4_000, 4_000), "a world that is as large as it was"


def test_a_world_without_faults_is_seen_whole_and_always_comes_to_rest() -> None:
    report = search("calm", Setting(faults=0))
    assert report.complete and report.counterexample is None
    assert 0 < report.resting < report.states


def test_the_diagrams_are_drawn_from_what_the_explorer_sees() -> None:
    assert PAGE.read_text(encoding="utf-8") == document(), (
        "run python -m clawproto.testing.explore.diagrams docs/states.md"
    )


@pytest.mark.rule("SEND-13", "SEND-14", "SEND-15", "SEND-16", "SEND-17", "SEND-20", "CLOSE-13")
@pytest.mark.parametrize("keep", [False, True])
def test_one_message_on_its_way_out(keep: bool) -> None:
    seen = walk("outbox", keep=keep, limit=1_500)
    assert seen.report.counterexample is None, seen.report.counterexample
    assert seen.report.complete or keep
    reached = {after for _, _, after in seen.edges}
    assert reached >= {"sent", "unanswered", "undecided", "accepted", "rejected", "dropped", "queued", "ended"}
    finals = {"accepted", "rejected", "dropped", "gated", "ended"}
    assert not [edge for edge in seen.edges if edge[0] in finals and edge[2] != edge[0]], "decided is decided"
    assert ("undecided", "connected again", "sent") not in seen.edges, "only what somebody waits for is sent again"


@pytest.mark.rule("R2-9", "R2-13", "R2-28", "SEND-19")
def test_one_message_on_its_way_in() -> None:
    seen = walk("inbox", limit=1_500)
    assert seen.report.counterexample is None, seen.report.counterexample
    acknowledged = {before for before, _, after in seen.edges if after == "acknowledged" and before != after}
    assert acknowledged == {"settled"}, "nothing is acknowledged before it is settled"


def test_a_diagram_leaves_out_what_changes_nothing_and_joins_what_leads_to_the_same() -> None:
    drawn = draw(
        [("Down", "time", "Opening"), ("Down", "late", "Opening"), ("Down", "stop", "Down"), ("", "start", "Down")]
    )
    assert "    Down --> Opening : time\n" in drawn
    assert "    [*] --> Down : start\n" in drawn
    assert "stop" not in drawn


# --- a core that is broken -----------------------------------------------------------------------------------------


def sends_twice(state: State, event: Event, now: Instant) -> tuple[State, tuple[Effect, ...]]:
    """Asks the server twice for each refresh."""
    after, effects = step(state, event, now)
    again = [evolve(effect, request=effect.request + 50) for effect in effects if isinstance(effect, RequestRefresh)]
    return after, (*effects, *again)


def forgets_the_answer(state: State, event: Event, now: Instant) -> tuple[State, tuple[Effect, ...]]:
    """Takes no notice of what the server says."""
    return (state, ()) if isinstance(event, HttpAnswered) and event.request == 1 else step(state, event, now)


def sleeps_in(state: State, event: Event, now: Instant) -> tuple[State, tuple[Effect, ...]]:
    """Believes that there is never anything to wait for."""
    after, effects = step(state, event, now)
    return evolve(after, deadline=None), effects


@pytest.mark.parametrize(
    ("broken", "problem"),
    [(sends_twice, "I1: two refreshes"), (forgets_the_answer, "the only pair"), (sleeps_in, "I11")],
)
def test_a_broken_core_is_found_by_the_shortest_way(broken: object, problem: str) -> None:
    setting = Setting(faults=0)
    client = Client(linked=False, stepper=broken)  # type: ignore[arg-type]
    report = search("broken", setting, client=client)
    assert report.counterexample is not None and problem in report.counterexample.problem
    text = journal(report.counterexample, client)
    assert len(text.splitlines()) == len(report.counterexample.steps) + 1 <= 8
    assert "eyJ" not in text and "refresh-" not in text, "no token in it"
    assert table([report]).endswith("1 violations")


def test_the_command_says_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--world", "tokens, nothing"]) == 0
    said = capsys.readouterr().out
    assert "complete" in said and "0 violations" in said
    with pytest.raises(SystemExit):
        main(["--world", "no such world"])


# --- canonical states ----------------------------------------------------------------------------------------------


def nodes(seed: int) -> Iterator[tuple[Client, int]]:
    """The session's states along a random walk."""
    chance = random.Random(seed)
    client = Client(linked=seed % 2 == 1, total=False)
    environment = Environment(client, Setting(linked=client.linked, pauses=client.linked))
    state = environment.initial()
    for _ in range(120):
        state = chance.choice(list(environment.successors(state))).state
        yield client, state.node


def moved(value: Any, by: int) -> Any:
    """A value of the state with every monotonic instant in it moved."""
    if isinstance(value, Instant):
        return Instant(value.wall_ms, value.mono_ms + by)
    if isinstance(value, int):
        return value + by if NOW.mono_ms // 2 < value < NOW.mono_ms * 2 else value
    if isinstance(value, tuple):
        return tuple(moved(one, by) for one in value)
    if has(type(value)) and fields(type(value)) and not isinstance(value, Secret | TokenTimes):
        return evolve(value, **{one.name: moved(getattr(value, one.name), by) for one in fields(type(value))})
    return value


def shifted(node: Node, chance: random.Random) -> tuple[Node, Instant]:
    """The same session at another time: every instant in it moved alike."""
    by, state = chance.randrange(1, 10**9), node.state
    state = evolve(
        state,
        tokens=moved(state.tokens, by),
        link=moved(state.link, by),
        inbox=moved(state.inbox, by),
        deadline=moved(state.deadline, by),
        calm_until=moved(state.calm_until, by),
    )
    return Node(state, moved(node.history, by)), Instant(NOW.wall_ms, NOW.mono_ms + by)


@pytest.mark.parametrize("seed", range(6))
def test_a_canonical_state_is_its_own_canonical_form_at_any_time(seed: int) -> None:
    chance = random.Random(seed)
    for client, number in nodes(seed):
        node = client.node(number)
        assert canonical(node.state, node.history, NOW)[0] == node
        other, now = shifted(node, chance)
        assert canonical(other.state, other.history, now)[0] == node


@pytest.mark.parametrize("seed", range(2))
def test_the_same_steps_are_taken_at_any_time(seed: int) -> None:
    chance, tried = random.Random(seed), 0
    (client, _), *_ = reversed(list(nodes(seed)))
    for (number, move, ages), outcome in client.outcomes.items():
        if move[0] in ("time", "late", "age", "socket", "start", "restart"):
            continue  # made of more than one event, or of the clock itself
        node = client.node(number)
        other, now = shifted(node, chance)
        event = event_of(node.state, move, client.views[number].ages + ages)
        after, effects = step(other.state, event, now)
        history = check(other.history, other.state, event, now, effects, after, liveness=False)
        assert canonical(after, history, now)[0] == client.node(outcome.node)
        tried += 1
    assert tried > 20


def test_each_age_is_what_it_is_called() -> None:
    for (number, age), pair in PAIRS.items():
        assert by_access(pair.access.digest) == (number, age)
    due: tuple[Age, ...] = ("due", "due-1", "due-2", "due-3", "due-4", "due-5")
    issued = [TIMES[age][0] for age in (*due, "fresh", *NEW)]
    assert issued == sorted(set(issued))
