"""Same seed, same events: same effects and states, in any process."""

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from attrs import evolve

from clawproto import link
from clawproto.events import Closed, Send, Tick
from clawproto.link_state import LinkState
from clawproto.policy import DAY_MS, HOUR_MS
from clawproto.session import step
from tests.core.harness import INTERNAL, QUIET, REFUSED, Bench, credentials, jwt, rotated

ROOT = Path(__file__).parents[2]


def life(seed: int) -> Bench:
    """Some days of a session, drawn from ``seed``."""
    dice = Random(seed)
    bench = Bench(credentials(), policy=QUIET, liveness=False, keep_sends=seed % 2 == 1)
    for number in range(120):
        bench.pass_time(dice.choice([0, 10, 3_000, 40_000, HOUR_MS, DAY_MS]), wall_ms=dice.choice([None, 0, DAY_MS]))
        bench.tick()
        match dice.randrange(7):
            case 0:
                bench.refresh()
            case 1:
                bench.step(Closed(bench.generation, dice.choice([1006, 4001])))
            case 2:
                bench.messages.failing = dice.choice([0, 0, 2])
                bench.step(Send(bench.command(), "cnv_1", ({"kind": "text", "text": f"{number}"},)))
            case 3 if bench.refreshes:
                bench.fail(sent=dice.random() < 0.5)
            case 4 if bench.refreshes:
                bench.reply(INTERNAL)
            case 5 if bench.refreshes:
                bench.store.failing = dice.choice([0, 0, 3])
                bench.reply(rotated(jwt(f"a{number}", issued_ms=bench.now.wall_ms), f"refresh-a{number}"))
            case _:
                bench.rest()
    if bench.refreshes:
        bench.reply(REFUSED)
    return bench


def fingerprint(bench: Bench) -> str:
    """Everything that the session did and knows, in words. Tokens appear by their digests only."""
    import hashlib

    text = "\n".join([repr(bench.effects), repr(bench.state), str(bench.state.deadline), repr(bench.results)])
    return hashlib.sha256(text.encode()).hexdigest()


PROGRAM = """
from tests.core.test_determinism import fingerprint, life
print(*(fingerprint(life(seed)) for seed in range(4)))
"""


@pytest.mark.rule("TOK-10", "REF-20")
def test_another_process_with_another_hash_seed_does_the_same() -> None:
    expected = [fingerprint(life(seed)) for seed in range(4)]
    for hash_seed in ("1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == expected


def test_states_are_equal_values() -> None:
    for seed in range(4):
        one, other = life(seed), life(seed)
        assert one.state == other.state and hash(one.state) == hash(other.state)
        assert one.effects == other.effects
        assert one.state != life(seed + 10).state


def test_an_old_state_can_be_stepped_again() -> None:
    bench = life(3)
    before, now = bench.state, bench.now
    first = step(before, Tick(), now)
    bench.run_for(DAY_MS)
    assert step(before, Tick(), now) == first


def test_machines_that_do_not_come_to_rest_end_the_step_and_not_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(credentials())
    state = bench.state

    def restless(before: LinkState, *_: object) -> LinkState:
        return evolve(before, attempts=before.attempts + 1)

    with monkeypatch.context() as patched:
        patched.setattr(link, "advance", restless)
        with pytest.raises(AssertionError, match="do not come to rest"):
            step(state, Tick(), bench.now)
    assert step(state, Tick(), bench.now)[0] == state
