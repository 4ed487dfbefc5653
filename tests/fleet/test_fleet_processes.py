"""Fleets as processes: killed, suspended, joined, many at once; on an SQLite file, against a hub."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from clawproto.hub import HubSettings
from clawproto_cli.demo.fleet_setting import Numbers
from clawproto_cli.demo.fleets import FleetPlay
from clawproto_cli.demo.story import Story
from clawproto_cli.demo.suspension import suspend
from clawproto_io.hub_thread import HubThread
from clawproto_io.stores import SqliteAccounts
from clawproto_io.stores.base import AccountRow
from tests.integration.test_drivers_on_the_hub import record

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
PATH = os.pathsep.join((str(ROOT), str(ROOT / "drivers")))
PATIENCE = 90.0


def test_the_demonstration_in_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two members, a death, a newcomer, a suspension, an outage: its verdict is what `clawproto demo --fleet` shows."""
    monkeypatch.setenv("PYTHONPATH", PATH)
    numbers = Numbers(accounts=12, term=15.0, token_life=10.0, refresh_floor=1.0)
    settings = HubSettings(access_token_life_ms=10_000, refresh_mode="grace", uplink_log=100_000)
    with HubThread(settings) as hub:
        playing = FleetPlay(numbers, f"sqlite://{tmp_path}/agents.db", hub, Story(aside=True))
        playing.play()
    assert len(playing.findings) >= 14
    assert [finding for finding in playing.findings if not finding.good] == []


class Members:
    """Processes that share a store, and what the store says about them."""

    def __init__(self, path: Path, term: float) -> None:
        self._path = path
        self._term = term
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, driver: str) -> "subprocess.Popen[bytes]":
        arguments = ["fleet", "--json", "--store", str(self._path), "--driver", driver, "--term", str(self._term)]
        process = subprocess.Popen(
            [sys.executable, "-m", "clawproto_cli", *arguments],
            env={**os.environ, "PYTHONPATH": PATH},
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        threading.Thread(target=process.stdout.read, daemon=True).start()
        self.processes.append(process)
        return process

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    @property
    def rows(self) -> tuple[AccountRow, ...]:
        async def look() -> tuple[AccountRow, ...]:
            store = SqliteAccounts(self._path)
            try:
                return await store.accounts()
            finally:
                await store.aclose()

        return anyio.run(look)

    def loads(self) -> Counter[int]:
        """Accounts by the id of the process that owns them; 0 stands for nobody."""
        owners = [None if row.lease is None else row.lease.owner for row in self.rows]
        return Counter(0 if owner is None else int(owner.split(":")[2]) for owner in owners)

    def is_shared(self, processes: "list[subprocess.Popen[bytes]]") -> bool:
        loads = self.loads()
        counts = [loads[process.pid] for process in processes]
        return sum(counts) == sum(loads.values()) and max(counts) - min(counts) <= 1


@pytest.fixture
def hub() -> Iterator[HubThread]:
    with HubThread() as running:
        yield running


def stored(hub: HubThread, path: Path, number: int) -> None:
    async def save() -> None:
        store = SqliteAccounts(path)
        for index in range(number):
            await store.account(f"agent-{index}").save(record(hub, hub.create_agent()), None)
        await store.aclose()

    anyio.run(save)


def until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> float:
    began = time.monotonic()
    while True:
        at = time.monotonic() - began
        if condition():
            return at
        assert at < seconds, what
        time.sleep(0.05)


def connected(hub: HubThread) -> int:
    state: Any = hub.call(lambda machine: machine.state())
    return int(state["ready"])


@pytest.mark.rule("CLOSE-11", "REF-49")
def test_eight_members_of_which_three_are_killed_at_once(hub: HubThread, tmp_path: Path) -> None:
    path, term = tmp_path / "agents.db", 30.0  # no matter: on one machine deaths are seen at once
    stored(hub, path, 24)
    members = Members(path, term)
    try:
        for number in range(8):
            members.start(("asyncio", "trio")[number % 2])
        until(lambda: members.is_shared(members.processes), "never shared by all")
        until(lambda: connected(hub) == 24, "never all connected")
        assert set(members.loads().values()) == {3}
        for process in members.processes[:3]:
            process.send_signal(signal.SIGKILL)
        until(lambda: not members.loads()[0] and members.is_shared(members.processes[3:]), "not taken over", term)
        until(lambda: connected(hub) == 24, "never all connected again")
        assert hub.call(lambda machine: machine.state()["takeovers"]) == 0, "never two sockets at once"
        for process in members.processes[3:]:
            process.send_signal(signal.SIGTERM)
        for process in members.processes[3:]:
            assert process.wait(PATIENCE) == 0
        assert members.loads() == {0: 24}
    finally:
        members.close()


@pytest.mark.rule("REF-46")
def test_a_suspended_member_wakes_up_owning_nothing(hub: HubThread, tmp_path: Path) -> None:
    path, term = tmp_path / "agents.db", 12.0
    stored(hub, path, 6)
    members = Members(path, term)
    try:
        sleeper, other = members.start("trio"), members.start("asyncio")
        until(lambda: members.is_shared([sleeper, other]) and connected(hub) == 6, "never shared")
        fences = {row.name: row.lease.fence for row in members.rows if row.lease is not None}
        suspend(sleeper, path)
        until(lambda: members.loads() == {other.pid: 6}, "not taken over", term)
        until(lambda: connected(hub) >= 6, "never all connected again")
        sleeper.send_signal(signal.SIGCONT)
        until(lambda: members.is_shared([sleeper, other]), "never shared again")
        until(lambda: connected(hub) == 6, "too many connections, or too few")
        taken = [row for row in members.rows if row.lease is not None and row.lease.fence > fences[row.name]]
        assert len(taken) >= 3, "what it gets back are new leases"
        assert sleeper.poll() is None, "it goes on as a member"
    finally:
        members.close()
