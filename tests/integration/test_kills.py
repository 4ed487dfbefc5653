"""Killed at any moment, a session comes back with its tokens, or says exactly why it cannot.

There is one window that no client can close: the server has rotated, and its answer never arrived. The intent record
tells it apart from a refusal (REF-46). Everything else must be survived.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from clawproto.credentials import Credentials
from clawproto.hub import HubAgent, HubSettings
from clawproto_io import SqliteStore
from clawproto_io.hub_thread import HubThread
from tests.integration.test_drivers_on_the_hub import record

ROOT = Path(__file__).parents[2]
CHILD = Path(__file__).with_name("exclusive_child.py")
KILLS = int(os.environ.get("KILLS", "500"))
LIFE_MS = 1_200  # so that a good part of the time is spent rotating


@pytest.fixture
def hub() -> Iterator[HubThread]:
    with HubThread(HubSettings(access_token_life_ms=LIFE_MS)) as running:
        yield running


def stored(path: Path, credentials: Credentials | None) -> Credentials | None:
    """Write these credentials into a fresh file, or read what is there."""

    async def work() -> Credentials | None:
        store = SqliteStore(path)
        try:
            if credentials is not None:
                await store.save(credentials, None)
            return await store.load()
        finally:
            await store.aclose()

    return anyio.run(work)


def lived(driver: str, path: Path, seconds: float) -> list[str]:
    """Run a session, kill it after some time, and tell what it said."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "drivers")))}
    with subprocess.Popen(
        [sys.executable, str(CHILD), driver, str(path), "0.2"], env=environment, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        said: list[str] = []
        for line in child.stdout:
            said.append(line.strip())
            if said[-1].startswith("logged-out") or said[-1] == "ready":
                break
        time.sleep(seconds)
        child.send_signal(signal.SIGKILL)
        said += [line.strip() for line in child.stdout]
    return said


def kill_and_restart(hub: HubThread, folder: Path, driver: str, kills: int, seed: int) -> Counter[str]:
    """Outcomes of so many lives."""
    chance = random.Random(seed)
    outcomes: Counter[str] = Counter()
    agent: HubAgent | None = None
    path = folder / "none.db"
    for number in range(kills):
        if agent is None:
            agent, path = hub.create_agent(), folder / f"agent-{number}.db"
            stored(path, record(hub, agent))
        said = lived(driver, path, chance.uniform(0, 1.5))
        kept = stored(path, None)
        assert kept is not None and kept.identity.user_id == agent.user_id, "who the agent is can never be lost"
        ends = [word for word in said if word.startswith("logged-out")]
        if ends:
            outcomes[ends[0]] += 1
            assert ends == ["logged-out rotation-lost"], said
            agent = None  # a person pairs it again
        else:
            assert "ready" in said, said
            outcomes["came back"] += 1
            outcomes["rotations"] += said.count("rotated")
    return outcomes


def check(hub: HubThread, outcomes: Counter[str], kills: int) -> None:
    lost = outcomes["logged-out rotation-lost"]
    assert outcomes["came back"] + lost == kills
    print(f"{kills} kills: {dict(outcomes)}")
    counts: Any = hub.call(lambda machine: machine.state()["rotations"])
    assert sum(counts.values()) >= outcomes["rotations"]
    assert lost <= kills // 4, "the window is small"


@pytest.mark.integration
@pytest.mark.rule("REF-46", "REF-9", "OUT-3")
@pytest.mark.parametrize("driver", ["asyncio", "trio"])
def test_a_sample_of_kills(hub: HubThread, tmp_path: Path, driver: str) -> None:
    check(hub, kill_and_restart(hub, tmp_path, driver, 8, 1), 8)


@pytest.mark.soak
@pytest.mark.parametrize("driver", ["asyncio", "trio"])
def test_many_kills(hub: HubThread, tmp_path: Path, driver: str) -> None:
    """``KILLS=100 make soak`` is a shorter try."""
    check(hub, kill_and_restart(hub, tmp_path, driver, KILLS, 2), KILLS)
