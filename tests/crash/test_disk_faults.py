"""The disk fails under a running session: it goes on, says so, and recovers without a restart (REF-10)."""

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from clawproto.hub import HubAgent
from clawproto_io import SqliteStore
from clawproto_io.hub_thread import HubThread
from tests.crash.faults import FAULTS, Fault
from tests.crash.forge import Forge
from tests.crash.life import Plan
from tests.crash.matrix import STRICT
from tests.crash.witness import answered, fate, look, until
from tests.integration.test_drivers_on_the_hub import record

PATIENCE = 120.0  # seconds; the machine may be busy
SLOW_MS = 2_500  # the answer to a refresh, while the disk breaks
A_WHILE = 0.8  # seconds, in which more than one rotation falls due


class Session:
    """A session in a process of its own, and what it has said so far."""

    def __init__(self, forge: Forge, plan: Plan) -> None:
        self.events: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=lambda: self.events.extend(forge.live(plan)), daemon=True)
        self._thread.start()
        self.wait("ready")
        self.pid: int = self.events[0]["pid"]

    def count(self, name: str) -> int:
        return sum(event["event"] == name for event in self.events)

    def wait(self, name: str, more_than: int = 0) -> None:
        assert until(lambda: self.count(name) > more_than, PATIENCE), f"no {name}: {self.events[-3:]}"

    def texts(self) -> list[str]:
        return [event["text"] for event in self.events if event["event"] == "handled"]

    def told(self, name: str, field: str) -> list[str]:
        return [event[field] for event in self.events if event["event"] == name]

    def end(self) -> int:
        """How it ended."""
        self._thread.join(PATIENCE)
        return int(self.events[-1]["status"])


@pytest.fixture
def hub() -> Iterator[HubThread]:
    with HubThread(STRICT) as running:
        yield running


def prepare(hub: HubThread, agent: HubAgent, path: Path) -> None:
    async def save() -> None:
        store = SqliteStore(path)
        await store.save(record(hub, agent), None)
        await store.aclose()

    anyio.run(save)


def post(hub: HubThread, agent: HubAgent, text: str) -> None:
    hub.call(lambda machine: machine.post(agent.conversation_id, agent.owner_id, text))


def is_ready(hub: HubThread, user_id: str) -> bool:
    return hub.call(lambda machine: any(one.ready for one in machine._context.of_user(user_id)))


def refuse(session: Session, fault: Fault, store: Path) -> None:
    """Let the disk fail before a request. If one was under way, a pair is held instead, and it has to begin anew."""
    refused = session.count("store-unwritable")
    for _ in range(10):
        held, recovered, rotated = (session.count(name) for name in ("alarm", "recovered", "rotated"))
        fault.begin(session.pid, store)
        assert until(lambda: session.count("store-unwritable") > refused or session.count("alarm") > held, PATIENCE)  # noqa: B023 (asked at once)
        if session.count("store-unwritable") > refused:
            return
        fault.end()
        session.wait("recovered", recovered)
        session.wait("rotated", rotated)
    raise AssertionError("a request was under way whenever the disk failed")


@pytest.mark.integration
@pytest.mark.rule("REF-9", "REF-10", "REF-46", "R2-10")
@pytest.mark.parametrize("driver", ["asyncio", "trio"])
@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.__name__)
def test_a_disk_that_fails(hub: HubThread, tmp_path: Path, driver: str, kind: type[Fault]) -> None:
    if not kind.is_possible():
        pytest.skip("needs root on Linux")
    agent = hub.create_agent()
    user = agent.user_id
    with kind(tmp_path) as fault, Forge(tmp_path / "errors.log") as forge:
        store = fault.folder / "agent.db"
        prepare(hub, agent, store)
        plan = Plan(
            driver=driver,
            store=str(store),
            base_url=hub.base_url,
            chat_id=agent.conversation_id,
            settles=True,
            awaited=("the end",),
            patience=3 * PATIENCE,
            busy_ms=fault.busy_ms,
        )
        session = Session(forge, plan)
        session.wait("rotated")

        # The server has rotated, and then the disk fails: the pair is held, and no further request goes out (REF-10).
        hub.call(lambda machine: machine.fail_refresh("delay", SLOW_MS, user_id=user, times=None))
        session.wait("rotated", session.count("rotated"))  # one that had been asked for before
        before = answered(hub, user)
        assert until(lambda: answered(hub, user) > before, PATIENCE)
        hub.call(lambda machine: machine.clear())
        rotated = session.count("rotated")
        fault.begin(session.pid, store)
        post(hub, agent, "early")
        session.wait("alarm")
        assert any(re.search(fault.says, text) for text in session.told("alarm", "detail"))
        time.sleep(A_WHILE)
        assert answered(hub, user) == before + 1, "nothing is asked for while a pair is held"
        assert session.count("rotated") == rotated, "nothing is in force that is not saved"
        assert is_ready(hub, user), "the session goes on meanwhile"
        fault.end()
        session.wait("recovered")
        session.wait("rotated", rotated)

        # The disk fails before the request: the token is not spent (REF-46).
        session.wait("rotated", rotated + 1)
        refuse(session, fault, store)
        post(hub, agent, "later")
        spent = answered(hub, user)
        time.sleep(A_WHILE)
        assert answered(hub, user) == spent
        assert any(re.search(fault.says, text) for text in session.told("store-unwritable", "text"))
        rotated = session.count("rotated")
        fault.end()
        session.wait("rotated", rotated)

        # The disk fails while messages come: nothing is acknowledged before it is stored, and nothing is lost (R2-10).
        alarms = session.count("messages-alarm")
        fault.begin(session.pid, store)
        for number in range(3):
            post(hub, agent, f"during {number}")
        session.wait("messages-alarm", alarms)
        assert any(re.search(fault.says, text) for text in session.told("messages-alarm", "detail")[alarms:])
        assert session.texts() == ["early", "later"], "what is not stored is not handed out"
        assert is_ready(hub, user), "the session goes on meanwhile"
        fault.end()
        session.wait("messages-recovered")
        assert until(lambda: len(session.texts()) == 5, PATIENCE)

        post(hub, agent, "the end")
        assert session.end() == 0, (session.events[-3:], forge.errors.read_text())
        assert session.count("born") == 1 and session.count("logged-out") == 0
        assert session.texts() == ["early", "later", "during 0", "during 1", "during 2", "the end"]
        found = look(store)
        assert found.refresh is not None and fate(hub, found.refresh).state == "live", "the server wants what is stored"
        assert found.waiting == () and found.kept == {}
