"""Credentials from outside: another pairing, another process. At any moment, also in the middle of a flight."""

import json

import pytest

from clawproto.effects import Logout, Persist, Reload, RequestRefresh, SendFrame
from clawproto.results import RefreshFailed, RefreshSucceeded
from tests.core.harness import (
    REFUSED,
    Bench,
    credentials,
    jwt,
    last,
    of,
    pair,
    rotated,
)

OTHER = pair(jwt("b1"), "refresh-b1")


def other(generation: int = 2, **changes: str) -> "object":
    return credentials(OTHER, generation=generation, **changes)


def presented(bench: Bench) -> str:
    """The token in the last ``connect``."""
    connect = last(bench.all(SendFrame), lambda sent: sent.event == "connect")
    token: str = json.loads(connect.text)["payload"]["token"]
    return token


# --- in the middle of a flight -------------------------------------------------------------------------------------


@pytest.mark.rule("REF-49", "REF-15")
def test_loaded_while_the_intent_is_recorded_no_request_leaves() -> None:
    bench = Bench(credentials())
    bench.store.held = True
    command = bench.refresh()
    bench.load(credentials(OTHER, generation=1, base_url="https://elsewhere.example"))
    bench.release()
    assert bench.all(RequestRefresh) == [], "the old refresh token would have gone to another server"
    assert isinstance(bench.results[command], RefreshFailed)
    assert bench.access == jwt("b1")


@pytest.mark.rule("REF-49")
def test_loaded_while_the_request_is_under_way_the_newer_pair_wins() -> None:
    bench = Bench(credentials())
    command = bench.refresh()
    newer = bench.store.rotate(OTHER)
    bench.load(newer)
    effects = bench.reply(rotated(jwt("a2")))
    persist = of(effects, Persist)[0]
    assert persist.replaces == 1 and persist.credentials.generation == 2
    assert bench.store.record == newer
    assert bench.tokens == OTHER
    assert bench.results[command] == RefreshSucceeded(OTHER)


@pytest.mark.rule("REF-49")
def test_what_a_flight_brings_is_saved_under_the_identity_that_it_began_with() -> None:
    bench = Bench(credentials())
    bench.refresh()
    bench.load(credentials(OTHER, generation=2, user_id="u-2", base_url="https://elsewhere.example"))
    persist = of(bench.reply(rotated(jwt("a2"))), Persist)[0]
    assert persist.credentials.identity == credentials().identity


@pytest.mark.rule("REF-45")
def test_a_refusal_of_a_pair_that_has_been_replaced_is_transient() -> None:
    bench = Bench(credentials())
    command = bench.refresh()
    bench.load(bench.store.rotate(OTHER))
    effects = bench.reply(REFUSED)
    assert of(effects, Reload) == [] and bench.all(Logout) == []
    assert isinstance(bench.results[command], RefreshFailed)
    assert bench.tokens == OTHER
