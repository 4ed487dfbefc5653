"""The strategies for users: everything of the protocol is drawn, and what is called valid is valid."""

import itertools
import json
import re
import typing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from clawproto.app_events import AppEvent
from clawproto.config import Config
from clawproto.credentials import Credentials, TokenPair
from clawproto.effects import Effect
from clawproto.errors import Misuse
from clawproto.events import Event, Start
from clawproto.http import HttpAnswer
from clawproto.instant import Instant
from clawproto.jwt import read_claims
from clawproto.rest_format import Refused, Rotated, Unusable, classify_refresh
from clawproto.results import Result
from clawproto.secret import Secret
from clawproto.session import step
from clawproto.state import State
from clawproto.testing import strategies as claw
from clawproto.wire.codec import decode
from clawproto.wire.values import BadFrame, Frame, MalformedPayload, OpaquePayload
from tests.hub.harness import World

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example, HealthCheck.filter_too_much]


CATALOGUE = Path(__file__).parents[1] / "docs" / "protocol.md"
UNIONS = {"events": Event, "effects": Effect, "app_events": AppEvent, "results": Result}
MEMBERS = [(name, member) for name, union in UNIONS.items() for member in typing.get_args(union)]
ENOUGH = settings(max_examples=30, suppress_health_check=SLOW)


@pytest.mark.parametrize(("union", "member"), MEMBERS, ids=lambda value: getattr(value, "__name__", value))
def test_every_member_of_every_union_is_drawn(union: str, member: type) -> None:
    drawn = 0

    @settings(max_examples=5, suppress_health_check=SLOW, database=None)
    @given(claw.values_of(member))
    def draw(value: object) -> None:
        nonlocal drawn
        assert type(value) is member
        drawn += 1

    draw()
    assert drawn >= 1


@pytest.mark.parametrize("union", UNIONS)
def test_the_strategy_of_a_union_draws_all_of_it(union: str) -> None:
    seen: set[type] = set()
    strategy: st.SearchStrategy[object] = getattr(claw, union)()

    @settings(max_examples=150, suppress_health_check=SLOW, database=None, derandomize=True)
    @given(st.lists(strategy, min_size=12, max_size=12))
    def draw(values: list[object]) -> None:
        seen.update(type(value) for value in values)

    draw()
    assert seen == set(typing.get_args(UNIONS[union]))


def _catalogue(direction: str) -> set[str]:
    """The events of one direction in the table of EVT; ``.add`` stands for the family of the first in its row."""
    found: set[str] = set()
    table = CATALOGUE.read_text(encoding="utf-8").split("## EVT")[1].split("## AUTH")[0]
    for names, directions in re.findall(r"^\| (`.*?) \| ([UD /]+?) \|", table, re.MULTILINE):
        if direction in directions:
            listed = re.findall(r"`([^`]+)`", names)
            family = listed[0].rpartition(".")[0]
            found |= {f"{family}{name}" if name.startswith(".") else name for name in listed}
    return found - {"ping", "pong"} | ({"ping"} if direction == "U" else {"pong"})


@pytest.mark.rule("EVT-1")
def test_the_catalogue_is_drawn_in_both_directions() -> None:
    assert len(_catalogue("D")) >= 25 and len(_catalogue("U")) >= 18
    assert set(claw.DOWNLINKS) - {"x.from-a-later-hub"} == _catalogue("D")
    assert set(claw.UPLINKS) == _catalogue("U")


@pytest.mark.parametrize("event", claw.DOWNLINKS)
def test_valid_downlinks_are_read(event: str) -> None:
    @ENOUGH
    @given(claw.downlinks(event))
    def read(frame: dict[str, object]) -> None:
        decoded = decode(json.dumps(frame), 1_000_000)
        assert isinstance(decoded, Frame) and decoded.event == event
        assert not isinstance(decoded.payload, MalformedPayload)
        assert isinstance(decoded.payload, OpaquePayload) is (event == "x.from-a-later-hub")

    read()


@pytest.mark.rule("ENV-12")
@ENOUGH
@given(claw.frames() | claw.hostile_frames() | claw.damaged_frames())
def test_other_frames_are_read_or_refused(data: str | bytes) -> None:
    assert isinstance(decode(data, 1_000_000), Frame | BadFrame)


@given(claw.bad_frames())
def test_bad_frames_are_no_frames(data: str | bytes) -> None:
    assert isinstance(decode(data, 1_000_000), BadFrame)


def test_there_are_damaged_frames_of_every_kind() -> None:
    kinds: set[type] = set()

    @settings(max_examples=300, database=None, derandomize=True, suppress_health_check=SLOW)
    @given(claw.damaged_frames())
    def draw(text: str) -> None:
        found = decode(text, 1_000_000)
        kinds.add(type(found.payload) if isinstance(found, Frame) else BadFrame)

    draw()
    assert {BadFrame, MalformedPayload} < kinds


@ENOUGH
@given(st.lists(claw.uplinks(), max_size=6))
def test_a_hub_takes_the_uplinks(uplinks: list[dict[str, object]]) -> None:
    world = World()
    client = world.connect(world.agent().access_token)
    for uplink in uplinks:
        if client.ended is None:
            client.send(json.dumps(uplink))
    fates = [record.fate for record in world.hub.uplink_records]
    assert "SILENT-3" not in fates  # none of them is broken


def test_answers_lead_to_every_verdict() -> None:
    verdicts: set[type] = set()

    @settings(max_examples=300, database=None, derandomize=True, suppress_health_check=SLOW)
    @given(claw.refresh_answers())
    def draw(answer: HttpAnswer) -> None:
        verdicts.add(type(classify_refresh(answer)))

    draw()
    assert verdicts == {Rotated, Refused, Unusable}


def test_tokens_with_and_without_times() -> None:
    kinds: set[tuple[bool, bool]] = set()

    @settings(max_examples=300, database=None, derandomize=True)
    @given(claw.access_tokens())
    def draw(token: Secret) -> None:
        claims = read_claims(token.reveal())
        kinds.add((claims.exp is None, claims.iat is None))

    draw()
    assert kinds == set(itertools.product((True, False), repeat=2))


@given(claw.clocks())
def test_clocks_never_run_backwards_on_the_monotonic_side(moments: list[Instant]) -> None:
    assert all(before.mono_ms <= after.mono_ms for before, after in itertools.pairwise(moments))


@settings(max_examples=60, suppress_health_check=SLOW)
@given(claw.configs(), st.none() | claw.credentials(), st.lists(claw.events(), max_size=12), st.data())
def test_a_session_survives_anything(
    config: Config, stored: Credentials | None, events: list[Event], data: st.DataObject
) -> None:
    moments = data.draw(claw.clocks(longest=12))
    state, _ = step(State(config), Start(stored), moments[0])
    for event, now in zip(events, moments, strict=False):
        try:
            state, effects = step(state, event, now)
        except Misuse:
            assert isinstance(event, Start)
            continue
        assert all(isinstance(effect, typing.get_args(Effect)) for effect in effects)
    hash(state)


@given(claw.token_pairs())
def test_pairs_do_not_print_themselves(pair: TokenPair) -> None:
    shown = repr(pair)
    for token in (pair.access, pair.refresh):
        assert token is None or len(token.reveal()) < 8 or token.reveal() not in shown
