"""Every example runs as a program of its own against a hub: pairs or loads, receives, lives through a rotation and a
cut connection, and ends in good order on Ctrl-C, without a token in its output."""

import ast
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from clawproto import Credentials, Identity, Secret, TokenPair
from clawproto.app_events import MessageReceived
from clawproto.hub import HubAgent
from clawproto_asyncio import Client, connect
from clawproto_io import MemoryStore, SqliteStore, adopt
from clawproto_io.hub_thread import HubThread

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
LIMIT_SECONDS = 40.0
SHORT_LIFE_MS, LONG_LIFE_MS = 4_000, 86_400_000


@pytest.fixture
def hub() -> Iterator[HubThread]:
    with HubThread() as running:
        yield running


class Program:
    """A running example."""

    def __init__(self, name: str, arguments: list[str], output: Path) -> None:
        self._output = output
        path = os.pathsep.join([str(ROOT), str(ROOT / "drivers")])
        with output.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, str(EXAMPLES / name), *arguments],
                env={**os.environ, "PYTHONPATH": path},
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    def until(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + LIMIT_SECONDS
        while not condition():
            assert self._process.poll() is None, f"it ended by itself:\n{self.output}"
            assert time.monotonic() < end, f"nothing came of it:\n{self.output}"
            time.sleep(0.02)

    def interrupt(self) -> int:
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(LIMIT_SECONDS)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def listening(hub: HubThread, user_id: str) -> Iterator[list[str]]:
    """What this user is told, as it arrives."""
    issued = hub.call(lambda machine: machine.issue_tokens(user_id, "phone"))
    pair = TokenPair(Secret(issued["access_token"]), Secret(issued["refresh_token"]))
    store = MemoryStore(Credentials(Identity(user_id, "phone", hub.base_url, hub.ws_url), pair))
    texts: list[str] = []

    async def listen(client: Client) -> None:
        async for event in client:
            if isinstance(event, MessageReceived):
                texts.append(event.text)  # noqa: PERF401 (seen while it grows)

    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(connect(store)) as client,
    ):
        done = portal.start_task_soon(listen, client)
        yield texts
        portal.call(client.aclose)
        done.result(LIMIT_SECONDS)


def tokens_in(path: Path) -> list[str]:
    async def load() -> list[str]:
        store = SqliteStore(path)
        found = await store.load()
        await store.aclose()
        assert found is not None and found.tokens is not None and found.tokens.refresh is not None
        return [found.tokens.access.reveal(), found.tokens.refresh.reveal()]

    return anyio.run(load)


def make_record(hub: HubThread, agent: HubAgent, path: Path) -> None:
    issued = hub.call(lambda machine: machine.issue_tokens(agent.user_id, "shelf"))
    identity = Identity(agent.user_id, "shelf", hub.base_url, hub.ws_url)

    async def save() -> None:
        store = SqliteStore(path)
        await adopt(store, identity, TokenPair(Secret(issued["access_token"]), Secret(issued["refresh_token"])))
        await store.aclose()

    anyio.run(save)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "pairs", "echoes"),
    [
        ("echo_asyncio.py", True, True),
        ("echo_trio.py", True, True),
        ("blocking.py", False, False),
        ("twisted_loop.py", False, True),
    ],
)
def test_example(hub: HubThread, tmp_path: Path, name: str, pairs: bool, echoes: bool) -> None:
    agent, path = hub.create_agent(), tmp_path / "agent.db"

    def token_life(milliseconds: int) -> None:
        hub.call(lambda machine: machine.configure({"access_token_life_ms": milliseconds}))

    def rotations() -> int:
        counts: Any = hub.call(lambda machine: machine.state()["rotations"])
        return int(counts.get(agent.user_id, 0))

    def converse(text: str) -> None:
        hub.call(lambda machine: machine.post(agent.conversation_id, agent.owner_id, text))
        program.until(lambda: f"echo: {text}" in texts if echoes else f"'{text}'" in program.output)

    with listening(hub, agent.owner_id) as texts:
        token_life(SHORT_LIFE_MS)  # of the agent's first pair
        if not pairs:
            make_record(hub, agent, path)
        program = Program(
            name, [str(path), agent.pairing_code, hub.base_url] if pairs else [str(path)], tmp_path / "output"
        )
        try:
            converse("first")
            secrets = tokens_in(path)
            token_life(LONG_LIFE_MS)
            program.until(rotations)
            converse("rotated")
            assert hub.cut_all() >= 1
            converse("cut")
            assert program.interrupt() == 0, program.output
        finally:
            program.kill()
    secrets += tokens_in(path)
    assert secrets[1] != secrets[3], "the store has the second pair"
    assert "Traceback" not in program.output
    assert [secret for secret in secrets if secret in program.output] == []
    if echoes:
        assert texts == ["echo: first", "echo: rotated", "echo: cut"]


# --- the text of the examples --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["stream_asyncio.py", "stream_trio.py"])
def test_the_streaming_agent(hub: HubThread, tmp_path: Path, name: str) -> None:
    agent = hub.create_agent()
    with listening(hub, agent.owner_id) as texts:
        program = Program(name, [str(tmp_path / "agent.db"), agent.pairing_code, hub.base_url], tmp_path / "output")
        hub.call(lambda machine: machine.post(agent.conversation_id, agent.owner_id, "one two three"))
        program.until(lambda: "You said: one two three " in texts)
        seen: Any = hub.call(lambda machine: machine.uplinks(agent.user_id))
        events = [record["event"] for record in seen]
        assert events.count("message.created") == events.count("message.done") == 1
        assert events.count("message.add") >= 3
        assert {"message.read", "message.reaction", "typing.update"} <= set(events)
        assert program.interrupt() in (0, 130, -2)


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("echo_asyncio.py", 30),
        ("echo_trio.py", 30),
        ("stream_asyncio.py", 36),
        ("stream_trio.py", 37),
        ("blocking.py", 80),
        ("twisted_loop.py", 185),
    ],
)
def test_examples_fit_on_a_page(name: str, limit: int) -> None:
    assert len((EXAMPLES / name).read_text().splitlines()) <= limit


def substance(source: str) -> list[str]:
    """The program without its docstring, and with the main guard opened."""
    found: list[ast.stmt] = []
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.If):
            found += statement.body
        elif not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
            found.append(statement)
    return [ast.unparse(statement) for statement in found]


def test_the_readme_shows_the_asyncio_example() -> None:
    section = (ROOT / "README.md").read_text().partition("## An agent in 30 lines")[2]
    block = section.partition("```python\n")[2].partition("```")[0]
    compile(block, "README.md", "exec")
    assert substance(block) == substance((EXAMPLES / "echo_asyncio.py").read_text())


@pytest.mark.parametrize("name", ["echo", "stream"])
def test_the_trio_example_differs_in_the_names_of_the_loop_only(name: str) -> None:
    source = (EXAMPLES / f"{name}_asyncio.py").read_text()
    expected = source.replace("asyncio.run(main(*sys.argv[1:]))", "trio.run(main, *sys.argv[1:])")
    expected = expected.replace("asyncio", "trio")
    assert sorted(substance(expected)) == sorted(substance((EXAMPLES / f"{name}_trio.py").read_text()))
