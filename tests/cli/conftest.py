"""A development hub in a process of its own, and the command run against it."""

import base64
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, frozen
from click.testing import CliRunner

from clawproto_cli.app import main

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "clawproto_cli"]
SECONDS = 120.0  # a bound for a machine under load


def environment(**more: str) -> dict[str, str]:
    """That of a fresh shell: no colours forced, our packages importable."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("CLAWPROTO_", "FORCE_", "NO_COLOR"))}
    return {**kept, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "drivers"))), **more}


@frozen
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def clawproto(*arguments: str, stdin: str = "", **more: str) -> Done:
    """Run the command to its end, in this process since that is quicker."""
    clean: dict[str, str | None] = {"CLAWPROTO_ACCESS_TOKEN": None, "CLAWPROTO_REFRESH_TOKEN": None, **more}
    result = CliRunner().invoke(main, arguments, input=stdin, env=clean)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


def spawned(*arguments: str, stdin: str = "", **more: str) -> Done:
    """Run the command to its end in a process of its own."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def start(*arguments: str, stdout: int = subprocess.PIPE) -> "subprocess.Popen[str]":
    """Start a command that runs on."""
    return subprocess.Popen(
        [*COMMAND, *arguments], env=environment(), stdout=stdout, stderr=subprocess.PIPE, text=True, bufsize=1
    )


def end(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """What it still had to say; it is killed if it does not end."""
    try:
        return process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise


def read_until(process: "subprocess.Popen[str]", found: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """The JSON lines up to the one that fits."""
    assert process.stdout is not None
    seen: list[dict[str, Any]] = []
    for line in process.stdout:
        seen.append(json.loads(line))
        if found(seen[-1]):
            return seen
    raise AssertionError(f"it ended before, after {seen}: {process.stderr.read() if process.stderr else ''}")


def until(name: str) -> Callable[[dict[str, Any]], bool]:
    """For `read_until`: an event of this name."""
    return lambda form: form["event"] == name


@define
class RunningHub:
    """What ``clawproto hub --json`` printed, with the process."""

    process: "subprocess.Popen[str]"
    base_url: str
    ws_url: str
    control_url: str
    shared_conversation_id: str
    agents: list[dict[str, str]]
    used: int = 0

    def next_agent(self) -> dict[str, str]:
        """One that no other test uses."""
        self.used += 1
        return self.agents[self.used - 1]

    def control(self, switch: str, **arguments: object) -> Any:
        """Turn a switch and return what it answers."""
        request = urllib.request.Request(
            f"{self.control_url}/{switch}", json.dumps(arguments).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            form = json.load(answer)
        assert form["ok"], form
        return form["result"]

    def state(self) -> Any:
        """What the hub says about itself."""
        with urllib.request.urlopen(f"{self.control_url}/state", timeout=SECONDS) as answer:
            return json.load(answer)["result"]

    def login(self, agent: dict[str, str], store: Path) -> None:
        """Take over its tokens by the command."""
        done = clawproto(
            *("login", "--store", str(store), "--base-url", self.base_url, "--ws-url", self.ws_url),
            *("--user-id", agent["user_id"], "--device-id", agent["device_id"]),
            *("--conversation-id", agent["conversation_id"]),
            CLAWPROTO_ACCESS_TOKEN=agent["access_token"],
            CLAWPROTO_REFRESH_TOKEN=agent["refresh_token"],
        )
        assert done.returncode == 0, done.stderr
        self.check_secrecy(done.stdout + done.stderr)

    def check_secrecy(self, output: str) -> None:
        """No token of any agent is in it."""
        for agent in self.agents:
            assert agent["access_token"] not in output
            assert agent["refresh_token"] not in output


@pytest.fixture(scope="module")
def hub() -> Iterator[RunningHub]:
    process = start("hub", "--port", "0", "--json", "--agents", "30")
    assert process.stdout is not None
    try:
        yield RunningHub(process, **json.loads(process.stdout.readline()))
    finally:
        process.terminate()
        _, errors = end(process)
        assert (process.returncode, errors) == (0, "")


def token(expires_in: float | None = 3600, life: float = 3600) -> str:
    """A token of the usual shape; None: one that tells nothing."""
    if expires_in is None:
        return "opaque-access-token"
    expires = int(time.time() + expires_in)
    claims = json.dumps({"exp": expires, "iat": int(expires - life)}).encode()
    return f"aGVhZA.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.c2lnbmF0dXJl"
