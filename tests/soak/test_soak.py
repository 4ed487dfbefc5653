"""``clawproto listen`` stays up: ten minutes, tokens that live for 75 seconds, and a network that is cut every 20.

`make soak` runs it, one driver after the other. ``SOAK_SECONDS=90 make soak`` is a shorter try.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from clawproto.hub import HubAgent, HubSettings
from clawproto_io.hub_thread import HubThread

ROOT = Path(__file__).parents[2]
SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
TOKEN_LIFE_SECONDS = 75
CUT_EVERY_SECONDS = 20.0
REFUSING_SECONDS = 2.0  # every other cut, the port stays closed for so long
TALK_EVERY_SECONDS = 0.5
LATE_SECONDS = 30.0  # the last message may take so long


class Listener:
    """``clawproto listen --json``, and what it has printed."""

    def __init__(self, driver: str, store: Path, output: Path) -> None:
        self._output = output
        self._errors = output.with_suffix(".err")
        with output.open("wb") as lines, self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                command("listen", "--store", str(store), "--driver", driver, "--json"),
                env=environment(),
                stdout=lines,
                stderr=errors,
            )

    def events(self, name: str) -> list[dict[str, Any]]:
        """The events of this name so far."""
        whole = self._output.read_text().rpartition("\n")[0]
        events: list[dict[str, Any]] = [json.loads(line) for line in whole.splitlines()]
        return [event for event in events if event["event"] == name]

    def is_ready_since(self, wall_ms: float) -> bool:
        return any(event["at_ms"] > wall_ms for event in self.events("ready"))

    @property
    def text(self) -> str:
        return self._output.read_text() + self._errors.read_text()


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "clawproto_cli", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "drivers")))}


@contextmanager
def listening(driver: str, hub: HubThread, agent: HubAgent, directory: Path) -> Iterator[Listener]:
    store = directory / "agent.db"
    pairing = ("pair", agent.pairing_code, "--base-url", hub.base_url, "--store", str(store))
    subprocess.run(command(*pairing), env=environment(), check=True, capture_output=True)
    listener = Listener(driver, store, directory / "events.jsonl")
    try:
        yield listener
    finally:
        listener.process.kill()
        listener.process.wait()


def until(condition: Callable[[], object], seconds: float, problem: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, problem
        time.sleep(0.1)


@pytest.mark.soak
@pytest.mark.rule("CLOSE-6", "CLOSE-7", "TOK-19")
@pytest.mark.parametrize("driver", ["asyncio", "trio"])
def test_listen_stays_up(driver: str, tmp_path: Path) -> None:
    settings = HubSettings(access_token_life_ms=TOKEN_LIFE_SECONDS * 1000)
    with HubThread(settings) as hub:
        agent = hub.create_agent()
        with listening(driver, hub, agent, tmp_path) as listener:
            until(lambda: listener.events("ready"), LATE_SECONDS, "it never was ready")
            said, cuts = bother(hub, agent, listener)

            def heard() -> list[str]:
                return [event["message_id"] for event in listener.events("message_received")]

            until(lambda: set(said) <= set(heard()), LATE_SECONDS, "a message never arrived")
            assert heard() == said, "each once, in order"
            listener.process.send_signal(signal.SIGINT)
            assert listener.process.wait(LATE_SECONDS) == 0, listener.text
            rotations = len(listener.events("tokens_rotated"))
            assert listener.events("logged_out") == listener.events("credentials_needed") == []
            # a token is changed about half-way through its life, and never twice within the floor of 30 s
            assert max(1, SECONDS // TOKEN_LIFE_SECONDS) <= rotations <= SECONDS / 30 + 1
            assert len(listener.events("ready")) > cuts
            print(f"{driver}: {len(said)} messages, {cuts} cuts, {rotations} rotations")


def bother(hub: HubThread, agent: HubAgent, listener: Listener) -> tuple[list[str], int]:
    """Talk and cut for `SECONDS`; returns the ids of what was said, and the number of cuts."""
    said: list[str] = []
    cuts, begin = 0, time.monotonic()
    next_cut, cut_at_ms, refused_until = begin + CUT_EVERY_SECONDS / 2, 0.0, None
    while (now := time.monotonic()) < begin + SECONDS:
        assert listener.process.poll() is None, f"it ended by itself:\n{listener.text}"
        said.append(hub.call(lambda machine: machine.post(agent.conversation_id, agent.owner_id, f"no. {len(said)}")))
        if refused_until is not None and now >= refused_until:
            hub.refuse_connections(False)
            refused_until = None
        if now >= next_cut:
            assert listener.is_ready_since(cut_at_ms), f"cut no. {cuts} was not got over:\n{listener.text[-5000:]}"
            next_cut, cut_at_ms, cuts = now + CUT_EVERY_SECONDS, time.time() * 1000, cuts + 1
            if cuts % 2 == 0:
                hub.refuse_connections(True)
                refused_until = now + REFUSING_SECONDS
            hub.cut_all()
        time.sleep(TALK_EVERY_SECONDS)
    hub.refuse_connections(False)
    until(
        lambda: listener.is_ready_since(cut_at_ms),
        CUT_EVERY_SECONDS + REFUSING_SECONDS,
        "the last cut was not got over",
    )
    return said, cuts
