"""Several processes on one store: exactly one holds the session, whatever happens to it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from clawproto.hub import HubAgent, HubSettings
from clawproto_cli.demo.suspension import suspend
from clawproto_io import SqliteStore
from clawproto_io.hub_thread import HubThread
from tests.integration.exclusive_child import POLICY
from tests.integration.test_drivers_on_the_hub import record

ROOT = Path(__file__).parents[2]
CHILD = Path(__file__).with_name("exclusive_child.py")
TERM = 1.0  # seconds
PATIENCE = 60.0


class Process:
    """One child and what it has said so far."""

    def __init__(self, driver: str, store: Path | str, term: float = TERM) -> None:
        path = os.pathsep.join((str(ROOT), str(ROOT / "drivers")))
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD), driver, str(store), str(term)],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.strip())

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def write(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def got(self) -> list[str]:
        return [line.removeprefix("got ") for line in self.said if line.startswith("got ")]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(10)
        assert self.process.stdout is not None and self.process.stdin is not None
        self.process.stdout.close()
        self.process.stdin.close()


@pytest.fixture
def hub() -> Iterator[HubThread]:
    with HubThread(HubSettings(access_token_life_ms=4_000)) as running:
        yield running


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    made: list[Process] = []
    yield made
    for process in made:
        process.close()


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def stored(hub: HubThread, agent: HubAgent, path: Path) -> None:
    async def save() -> None:
        store = SqliteStore(path)
        await store.save(record(hub, agent), None)
        await store.aclose()

    anyio.run(save)


def owners(processes: list[Process]) -> list[Process]:
    return [one for one in processes if "owner" in one.said and one.process.poll() is None]


def rotations(hub: HubThread, agent: HubAgent) -> int:
    counts: Any = hub.call(lambda machine: machine.state()["rotations"])
    return int(counts.get(agent.user_id, 0))


@pytest.mark.integration
@pytest.mark.parametrize("driver", ["asyncio", "trio"])
def test_two_processes_and_an_owner_that_is_killed(
    hub: HubThread, tmp_path: Path, processes: list[Process], driver: str
) -> None:
    agent, path = hub.create_agent(), tmp_path / "agent.db"
    stored(hub, agent, path)
    processes.append(Process(driver, path))
    until(lambda: "ready" in processes[0].said, "the first never became ready")
    processes.append(Process("trio" if driver == "asyncio" else "asyncio", path))
    until(lambda: "waiting" in processes[1].said, "the second never began to wait")
    until(lambda: processes[0].said.count("rotated") >= 2, "the owner never rotated")
    assert "owner" not in processes[1].said
    processes[0].send(signal.SIGKILL)
    killed = time.monotonic()
    until(lambda: "ready" in processes[1].said, "nobody took over")
    assert time.monotonic() - killed < 10 * TERM
    until(lambda: "rotated" in processes[1].said, "the session does not go on")
    assert hub.call(lambda machine: machine.state()["takeovers"]) == 0, "never two sockets at once"


@pytest.mark.integration
@pytest.mark.parametrize("driver", ["asyncio", "trio"])
def test_an_owner_that_was_paused_finds_itself_replaced(
    hub: HubThread, tmp_path: Path, processes: list[Process], driver: str
) -> None:
    agent, path = hub.create_agent(), tmp_path / "agent.db"
    stored(hub, agent, path)
    processes.append(Process(driver, path))
    until(lambda: "ready" in processes[0].said, "the first never became ready")
    processes.append(Process(driver, path))
    until(lambda: "waiting" in processes[1].said, "the second never began to wait")
    suspend(processes[0].process, path)
    until(lambda: processes[1].said.count("rotated") >= 1, "nobody took over")
    before = processes[0].said.count("rotated")
    processes[0].send(signal.SIGCONT)
    until(lambda: processes[0].process.poll() is not None, "the old owner goes on")
    assert processes[0].said[-1] == "taken-over" and processes[0].process.returncode == 0
    assert processes[0].said.count("rotated") == before, "it has refreshed no more"
    done = processes[1].said.count("rotated")
    until(lambda: processes[1].said.count("rotated") > done, "the session does not go on")
    assert "adopted" not in processes[1].said[processes[1].said.index("ready") + 1 :]


@pytest.mark.integration
def test_eight_processes_one_after_the_other(hub: HubThread, tmp_path: Path, processes: list[Process]) -> None:
    agent, path = hub.create_agent(), tmp_path / "agent.db"
    stored(hub, agent, path)
    processes.extend(Process(("asyncio", "trio")[number % 2], path) for number in range(8))
    for survivors in range(8, 0, -1):
        until(lambda: any("ready" in one.said for one in owners(processes)), "nobody holds the session")
        time.sleep(TERM)  # whoever wanted to storm in would do it now
        (owner,) = owners(processes)
        assert sum(one.process.poll() is None for one in processes) == survivors
        owner.send(signal.SIGKILL)
        owner.process.wait()
    assert all("ready" in one.said for one in processes)
    assert rotations(hub, agent) >= 1
    assert hub.call(lambda machine: machine.state()["takeovers"]) == 0


@pytest.mark.integration
@pytest.mark.parametrize("driver", ["asyncio", "trio"])
def test_who_leaves_in_good_order_lets_the_next_one_in_at_once(
    hub: HubThread, tmp_path: Path, processes: list[Process], driver: str
) -> None:
    agent, path = hub.create_agent(), tmp_path / "agent.db"
    stored(hub, agent, path)
    processes.append(Process(driver, path))
    until(lambda: "ready" in processes[0].said, "the first never became ready")
    processes.append(Process(driver, path))
    until(lambda: "waiting" in processes[1].said, "the second never began to wait")
    time.sleep(TERM / 2)
    processes[0].send(signal.SIGINT)
    left = time.monotonic()
    until(lambda: "owner" in processes[1].said, "nobody took over")
    assert processes[0].process.wait(PATIENCE) in (1, 130, -2)
    assert time.monotonic() - left < TERM + 5


# --- messages, and refreshes that are counted at the hub ------------------------------------------------------------


def post(hub: HubThread, agent: HubAgent, *texts: str) -> None:
    for text in texts:
        hub.call(lambda machine, text=text: machine.post(agent.conversation_id, agent.owner_id, text))  # type: ignore[misc]


def kept(path: Path, agent: HubAgent) -> list[str]:
    """The messages that the store holds, in the order of their filing."""

    async def read() -> list[str]:
        store = SqliteStore(path)
        try:
            found = await store.messages.messages(agent.conversation_id, limit=500)
            return [one.event.text for one in sorted(found, key=lambda one: one.row)]
        finally:
            await store.aclose()

    return anyio.run(read)


@pytest.mark.integration
@pytest.mark.rule("R2-10", "REF-49")
@pytest.mark.parametrize("driver", ["asyncio", "trio"])
def test_an_owner_that_was_paused_writes_no_message_and_refreshes_no_more(
    hub: HubThread, tmp_path: Path, processes: list[Process], driver: str
) -> None:
    agent, path = hub.create_agent(), tmp_path / "agent.db"
    stored(hub, agent, path)
    processes.append(Process(driver, path))
    until(lambda: "ready" in processes[0].said, "the first never became ready")
    post(hub, agent, "before")
    until(lambda: processes[0].got() == ["before"], "a message never came")
    processes.append(Process(driver, path))
    until(lambda: "waiting" in processes[1].said, "the second never began to wait")
    suspend(processes[0].process, path)
    post(hub, agent, "in its buffer 1", "in its buffer 2")  # it will find them in its socket when it wakes up
    until(lambda: "ready" in processes[1].said, "nobody took over")
    post(hub, agent, "after")
    until(lambda: len(processes[1].got()) == 3, "what the paused one had not acknowledged never came")
    until(lambda: "rotated" in processes[1].said, "the session does not go on")
    refreshed = processes[0].said.count("rotated")
    processes[0].send(signal.SIGCONT)
    until(lambda: processes[0].process.poll() is not None, "the old owner goes on")
    assert processes[0].said[-1] == "taken-over"
    assert processes[0].got() == ["before"], "it stored nothing, so it handed nothing out"
    assert processes[0].said.count("rotated") == refreshed
    assert kept(path, agent) == ["before", "in its buffer 1", "in its buffer 2", "after"]
    assert processes[1].got() == ["in its buffer 1", "in its buffer 2", "after"]


@pytest.mark.integration
@pytest.mark.rule("R2-10", "REF-49")
def test_eight_owners_one_after_the_other_lose_and_double_no_message(
    hub: HubThread, tmp_path: Path, processes: list[Process]
) -> None:
    agent, path = hub.create_agent(), tmp_path / "agent.db"
    stored(hub, agent, path)
    # A term that a busy machine keeps: an owner that misses it is replaced without having been asked to.
    processes.extend(Process(("asyncio", "trio")[number % 2], path, 4 * TERM) for number in range(8))
    said: list[str] = []
    paused: list[Process] = []

    def holders() -> list[Process]:
        return [one for one in owners(processes) if "ready" in one.said and one not in paused]

    for number in range(8):
        until(holders, "nobody holds the session")
        (owner,) = holders()
        said.append(f"{number} handled")
        post(hub, agent, said[-1])
        until(lambda: said[-1] in owner.got(), "a message never came")  # noqa: B023
        if number % 2 == 0:  # not before a pause: whoever is paused within a commit holds the lock of the file
            said.append(f"{number} perhaps")
            post(hub, agent, said[-1])
        if number % 2 and number < 7:
            suspend(owner.process, path)
        else:
            owner.send(signal.SIGKILL if number < 7 else signal.SIGTERM)
        paused.append(owner)
    heard = [text for one in processes for text in one.got()]
    assert set(heard) == set(said), "whatever the owner before had not handled is handed out by the next one"
    assert kept(path, agent) == said, "each is stored once, in order"
    for one in processes:
        one.send(signal.SIGCONT)
    until(lambda: all(one.process.poll() is not None for one in processes), "a paused owner goes on")
    assert [text for one in processes for text in one.got()] == heard, "those that wake up hand nothing out"
    told = sum(one.said.count("rotated") for one in processes)
    assert rotations(hub, agent) in (told, told + 1), "no refresh is repeated"


@pytest.mark.integration
@pytest.mark.rule("REF-49", "REF-45")
@pytest.mark.parametrize("number", [2, 8])
def test_a_refresh_by_one_is_adopted_by_the_others_and_not_repeated(
    tmp_path: Path, processes: list[Process], number: int
) -> None:
    with HubThread() as hub:
        agent, path = hub.create_agent(), tmp_path / "agent.db"
        stored(hub, agent, path)
        processes.extend(Process(("asyncio", "trio")[index % 2], path, 0) for index in range(number))
        until(lambda: all(one.said == ["ready"] for one in processes), "not all became ready")
        for round_number, first in enumerate(processes[:2], 1):
            for one in (first, *(other for other in processes if other is not first)):
                time.sleep(POLICY.refresh_floor_ms / 1000)
                one.write("refresh")
                until(lambda: len(one.said) == round_number + 1, "no refresh")  # noqa: B023
            assert rotations(hub, agent) == round_number, "one request, whoever asks first"
        assert [one.said for one in processes] == [["ready", "another", "another"]] * number
