"""What the command says about itself, and how it behaves when it is used wrongly."""

import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from clawproto_cli.app import main
from tests.cli.conftest import environment, spawned

COMMANDS = ["demo", "hub", "pair", "login", "listen", "send", "fleet", "simulate", "status", "replay", "timeline"]


def test_the_group_lists_every_command_and_exit_code() -> None:
    shown = CliRunner().invoke(main, ["--help"])
    assert shown.exit_code == 0
    assert [
        line.split()[0] for line in shown.output.split("Commands:")[1].splitlines()[1 : len(COMMANDS) + 1]
    ] == COMMANDS
    for code in range(8):
        assert f"{code}  " in shown.output.split("Exit codes")[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_teaches_by_example(name: str) -> None:
    shown = CliRunner().invoke(main, [name, "--help"])
    assert shown.exit_code == 0
    assert f"  clawproto {name}" in shown.output.split("Examples:")[1].split("Options:")[0]
    assert "--json" in shown.output


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_matches_the_modules(name: str) -> None:
    found = main.get_command(click.Context(main), name)
    assert found is not None
    assert found.name == name


def test_an_unknown_command_is_wrong_usage() -> None:
    assert CliRunner().invoke(main, ["dance"]).exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["send", "--store", "x.db", "cnv_1"],
        ["send", "--store", "x.db", "--timeout", "0", "cnv_1", "text"],
        ["send", "--store", "x.db", "cnv_1", "👍", "--react", "msg-1", "--stream"],
        ["send", "--store", "x.db", "cnv_1", "--react", "msg-1"],
        ["send", "--store", "x.db", "cnv_1", "text", "--stream", "--file", __file__],
        ["send", "--store", "x.db", "cnv_1", "text", "--file", "/no/such/file"],
        ["listen", "--store", "x.db", "--feature", "everything"],
        ["pair", "CODE", "--store", "x.db", "--base-url", "chat.example.com"],
        ["pair", "CODE", "--store", "x.db", "--base-url", "ftp://chat.example.com"],
        ["pair", "CODE", "--store", "x.db", "--base-url", "https://user:pass@chat.example.com"],
        ["pair", "CODE", "--store", "x.db", "--base-url", "https://chat.example.com?x=1"],
        ["pair", "CODE", "--store", "x.db", "--base-url", "https://chat.example.com:port"],
        ["pair", "CODE", "--store", "x.db", "--base-url", "https://h", "--ws-url", "https://h/ws"],
        ["listen", "--store", "x.db", "--driver", "curio"],
        ["hub", "--agents", "0"],
        ["hub", "--port", "70000"],
        ["hub", "--token-life", "-1"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, result.stdout) == (2, "")


def test_importing_the_command_loads_no_loop_and_no_driver() -> None:
    code = "import sys, json, clawproto_cli; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"asyncio", "trio", "anyio", "websockets", "httpx2", "aiohttp", "sqlite3", "rich"}
    assert not loaded & {"clawproto_asyncio", "clawproto_trio", "clawproto_io"}


def test_the_version_is_told() -> None:
    done = spawned("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("clawproto")
