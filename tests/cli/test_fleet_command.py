"""``clawproto fleet`` as users and programs see it."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import RunningHub, clawproto, end, read_until, start, until

pytestmark = pytest.mark.integration


def login(hub: RunningHub, store: Path, account: str) -> dict[str, str]:
    agent = hub.next_agent()
    done = clawproto(
        *("login", "--store", str(store), "--account", account, "--base-url", hub.base_url, "--ws-url", hub.ws_url),
        *("--user-id", agent["user_id"], "--device-id", agent["device_id"]),
        CLAWPROTO_ACCESS_TOKEN=agent["access_token"],
        CLAWPROTO_REFRESH_TOKEN=agent["refresh_token"],
    )
    assert done.returncode == 0, done.stderr
    return agent


def stop(process: "subprocess.Popen[str]", number: int = signal.SIGTERM) -> list[dict[str, Any]]:
    process.send_signal(number)
    output, errors = end(process)
    assert (process.returncode, errors) == (0, "")
    return [json.loads(line) for line in output.splitlines()]


def ready(number: int) -> Any:
    return lambda form: form["event"] == "totals" and form["ready"] == number


@pytest.mark.parametrize(("driver", "number"), [("asyncio", signal.SIGINT), ("trio", signal.SIGTERM)])
def test_it_holds_all_accounts_and_answers(hub: RunningHub, tmp_path: Path, driver: str, number: int) -> None:
    store = tmp_path / "agents.db"
    agents = [login(hub, store, f"robo-{index}") for index in range(2)]
    process = start("fleet", "--store", str(store), "--json", "--echo", "--driver", driver)
    seen = read_until(process, ready(2))
    assert seen[0]["event"] == "started" and seen[0]["shard"] == "1/1" and seen[0]["member"].startswith("fleet=1/1:")
    hub.control("post", chat_id=agents[0]["conversation_id"], sender_id=agents[0]["owner_id"], text="hello")
    seen += read_until(process, lambda form: form["event"] == "totals" and form["sent"] == 1)
    agents.append(login(hub, store, "late"))
    seen += read_until(process, until("ready"))
    assert seen[-1]["account"] == "late", "it was taken up by itself"
    seen += stop(process, number)
    assert {form["event"] for form in seen} >= {"started", "member_joined", "owned", "ready", "let_go", "totals"}
    assert (seen[-1]["event"], seen[-1]["owned"], seen[-1]["accounts"]) == ("totals", 0, 3)
    hub.check_secrecy(json.dumps(seen))


def test_lines_for_people(hub: RunningHub, tmp_path: Path) -> None:
    store = tmp_path / "agents.db"
    agent = login(hub, store, "robo")
    process = start("fleet", "--store", str(store))
    assert process.stdout is not None
    shown = ""
    while "1 of 1 accounts here, 1 connected" not in shown:
        shown += process.stdout.readline()
    hub.control("revoke", user_id=agent["user_id"])
    hub.control("kick", user_id=agent["user_id"])
    while "1 to be paired" not in shown:
        shown += process.stdout.readline()
    assert "robo logged out, pair it again: " in shown
    assert "\x1b" not in shown
    process.send_signal(signal.SIGTERM)
    _, errors = end(process)
    assert (process.returncode, errors) == (0, "")


def test_a_handler_of_the_users_own(hub: RunningHub, tmp_path: Path) -> None:
    store = tmp_path / "agents.db"
    agent = login(hub, store, "robo")
    (tmp_path / "robots.py").write_text(
        "from clawproto.app_events import MessageReceived\n"
        "async def answer(client, account):\n"
        "    async for event in client:\n"
        "        if isinstance(event, MessageReceived):\n"
        "            await client.send(event.chat_id, f'{account} heard {event.text}')\n"
    )
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(root), str(root / "drivers")))}
    arguments = ("fleet", "--store", str(store), "--json", "--handler", "robots:answer")
    from tests.cli.conftest import COMMAND

    process = subprocess.Popen(
        [*COMMAND, *arguments], env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    read_until(process, ready(1))
    hub.control("post", chat_id=agent["conversation_id"], sender_id=agent["owner_id"], text="hello")
    read_until(process, lambda form: form["event"] == "totals" and form["sent"] == 1)
    stop(process)
    state = hub.state()
    assert state["inboxes"][agent["owner_id"]] >= 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--handler", "nonsense"), "module:function"),
        (("--handler", "no_such_module:answer"), "no_such_module"),
        (("--handler", "json:no_such_function"), "no_such_function"),
        (("--handler", "json:__name__"), "cannot be called"),
        (("--handler", "json:dumps", "--echo"), "exclude each other"),
        (("--shard", "3/2"), "there is no part 3 of 2"),
        (("--shard", "one"), "looks like 1/2"),
        (("--term", "0.1"), "0.1"),
        (("--rate", "0"), "0"),
    ],
)
def test_wrong_usage_is_told_before_anything_begins(tmp_path: Path, arguments: tuple[str, ...], text: str) -> None:
    done = clawproto("fleet", "--store", str(tmp_path / "agents.db"), *arguments)
    assert done.returncode == 2
    assert text in done.stderr
    assert not (tmp_path / "agents.db").exists()


def test_a_store_that_cannot_be_read_is_exit_code_6(tmp_path: Path) -> None:
    (tmp_path / "agents.db").write_text("this is no database, and longer than a header of sixteen bytes")
    done = clawproto("fleet", "--store", str(tmp_path / "agents.db"), "--json")
    assert (done.returncode, json.loads(done.stdout)["error"]) == (6, "store")
    done = clawproto("fleet", "--store", str(tmp_path / "missing" / "agents.db"))
    assert done.returncode == 6


def test_a_reader_that_goes_ends_it_in_good_order(hub: RunningHub, tmp_path: Path) -> None:
    store = tmp_path / "agents.db"
    login(hub, store, "robo")
    process = start("fleet", "--store", str(store), "--json")
    read_until(process, ready(1))
    assert process.stdout is not None
    process.stdout.close()  # as `| head` does
    _, errors = end(process)
    assert (process.returncode, errors) == (0, "")
