"""The command against a hub, alone and side by side."""

import json
import os
import pty
import re
import signal
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import COMMAND, RunningHub, clawproto, end, environment, read_until, spawned, start, until


def listen(store: Path, *arguments: str) -> "subprocess.Popen[str]":
    process = start("listen", "--store", str(store), "--json", *arguments)
    read_until(process, until("ready"))
    return process


def stop(process: "subprocess.Popen[str]", number: int = signal.SIGTERM) -> str:
    process.send_signal(number)
    output, errors = end(process)
    assert (process.returncode, errors) == (0, "")
    return output


def status_of(store: Path) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(clawproto("status", "--store", str(store), "--json").stdout)
    return shown


# --- hub -----------------------------------------------------------------------------------------------------------


def test_the_hub_says_all_that_a_client_needs(hub: RunningHub) -> None:
    wanted = {"user_id", "owner_id", "agent_id", "device_id", "conversation_id"}
    wanted |= {"access_token", "refresh_token", "pairing_code"}
    assert [set(agent) for agent in hub.agents] == [wanted] * 30
    assert hub.base_url.startswith("http://127.0.0.1:")
    assert hub.ws_url.startswith("ws://127.0.0.1:")
    assert hub.shared_conversation_id.startswith("cnv_")
    assert hub.state()["connections"] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_hub_for_people_ends_on_a_signal(number: int) -> None:
    process = start("hub", "--port", "0", "--agents", "1")
    assert process.stdout is not None
    shown = ""
    while "Running" not in shown:
        line = process.stdout.readline()
        assert line, "it ended before it ran"
        shown += line
    assert "do not expose it" in shown
    assert "pairing_code" in shown
    process.send_signal(number)
    _, errors = end(process)
    assert (process.returncode, errors) == (0, "")


def test_a_port_that_is_taken_is_a_failure(hub: RunningHub) -> None:
    port = hub.base_url.rpartition(":")[2]
    done = clawproto("hub", "--port", port, "--json")
    assert (done.returncode, json.loads(done.stdout)["error"]) == (1, "failed")


# --- pair ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", ["asyncio", "trio"])
def test_pairing(hub: RunningHub, tmp_path: Path, driver: str) -> None:
    agent, store = hub.next_agent(), tmp_path / "a.db"
    arguments = ("pair", agent["pairing_code"], "--store", str(store), "--driver", driver, "--json")
    done = spawned(*arguments, "--base-url", hub.base_url)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert (shown["paired"], shown["user_id"], shown["ws_url"]) == (True, agent["user_id"], hub.ws_url)
    assert stat.S_IMODE(os.stat(store).st_mode) == 0o600
    assert status_of(store)["state"] == "usable"

    again = clawproto(*arguments, "--base-url", hub.base_url)
    assert (again.returncode, json.loads(again.stdout)["error"]) == (2, "usage")
    spent = clawproto(*arguments, "--repair")  # the addresses are those of the stored agent
    assert (spent.returncode, json.loads(spent.stdout)["spent"]) == (4, "no")
    assert status_of(store)["identity"]["device_id"] == shown["device_id"]
    hub.check_secrecy(done.stdout + done.stderr + again.stdout + again.stderr + spent.stdout + spent.stderr)


def test_a_server_that_is_not_there_leaves_the_code_unused(tmp_path: Path) -> None:
    store = tmp_path / "a.db"
    done = clawproto("pair", "CODE", "--store", str(store), "--base-url", "http://127.0.0.1:9", "--json")
    assert (done.returncode, json.loads(done.stdout)["spent"]) == (7, "no")
    assert not store.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("driver", ["asyncio", "trio"])
def test_an_interrupted_pairing_keeps_what_the_code_brings(
    hub: RunningHub, tmp_path: Path, driver: str, number: int
) -> None:
    store, agent = tmp_path / "a.db", hub.next_agent()
    hub.control("fail_http", path="/v1/agents/connect", kind="delay", value=1_500)
    pairings = hub.state()["pairings"]
    pairing = start(
        *("pair", agent["pairing_code"], "--store", str(store), "--base-url", hub.base_url, "--driver", driver)
    )
    while hub.state()["pairings"] == pairings:  # the code is spent, and the answer is still on its way
        assert pairing.poll() is None
        time.sleep(0.05)
    pairing.send_signal(number)
    _, errors = end(pairing)
    assert (pairing.returncode, errors.split()) == (1, ["Aborted!"])
    assert status_of(store)["identity"]["user_id"] == agent["user_id"]


def test_the_first_pairing_needs_an_address(tmp_path: Path) -> None:
    done = clawproto("pair", "CODE", "--store", str(tmp_path / "a.db"), "--repair")
    assert done.returncode == 2
    assert "--base-url" in done.stderr


# --- listen and send -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ours", "theirs"), [("asyncio", "trio"), ("trio", "asyncio")])
@pytest.mark.rule("CLOSE-11")
def test_a_message_from_one_store_to_the_other(hub: RunningHub, tmp_path: Path, ours: str, theirs: str) -> None:
    sender, receiver = tmp_path / "sender.db", tmp_path / "receiver.db"
    us, them = hub.next_agent(), hub.next_agent()
    hub.login(us, sender)
    hub.login(them, receiver)
    chat = hub.control("create_conversation", members=[us["user_id"], them["user_id"]])
    listening, beside = listen(receiver, "--driver", theirs), listen(sender, "--driver", ours)
    text = "Grüße, \x1b[31m😀\nzwei Zeilen"
    done = clawproto(*("send", "--store", str(sender), "--driver", ours, "--json", chat, "-"), stdin=text)
    assert done.returncode == 0, done.stderr
    receipt = json.loads(done.stdout)
    assert set(receipt) == {"chat_id", "message_id", "accepted_at_ms", "minted_id"}
    seen = read_until(listening, until("message_received"))
    message = seen[-1]
    assert (message["text"], message["message_id"]) == (text, receipt["message_id"])
    assert (message["chat_id"], message["sender"]["id"]) == (chat, us["user_id"])
    assert (message["own"], message["kind"]) == (False, "message.send")
    rest = stop(listening, signal.SIGINT) + stop(beside)
    assert "taken_over" not in rest
    hub.check_secrecy(json.dumps(seen) + rest + done.stdout + done.stderr)


def test_what_was_not_written_comes_again(hub: RunningHub, tmp_path: Path) -> None:
    store, agent = tmp_path / "a.db", hub.next_agent()
    hub.login(agent, store)
    listening = listen(store)
    assert listening.stdout is not None
    listening.stdout.close()  # as `| head -1` does
    hub.control("post", chat_id=agent["conversation_id"], sender_id=agent["owner_id"], text="are you there?")
    _, errors = end(listening)
    assert (listening.returncode, errors) == (0, "")
    again = start("listen", "--store", str(store), "--json")
    assert read_until(again, until("message_received"))[-1]["text"] == "are you there?"
    stop(again)


def test_people_see_lines_without_colours_or_controls_off_the_terminal(hub: RunningHub, tmp_path: Path) -> None:
    store, agent = tmp_path / "a.db", hub.next_agent()
    hub.login(agent, store)
    hub.control(
        "post", chat_id=agent["conversation_id"], sender_id=agent["owner_id"], text="\x1b[2Jboo [bold]\x9b31m\r"
    )
    listening = start("listen", "--store", str(store))
    assert listening.stdout is not None
    line = ""
    while "boo" not in line:
        line = listening.stdout.readline()
    assert r"\x1b[2Jboo [bold]\x9b31m\r" in line
    assert "\x1b" not in line + stop(listening)


@pytest.mark.parametrize("driver", ["asyncio", "trio"])
@pytest.mark.rule("REF-32", "REF-48")
def test_a_signal_waits_for_the_rotation_in_flight(hub: RunningHub, tmp_path: Path, driver: str) -> None:
    store, agent = tmp_path / "a.db", hub.next_agent()
    hub.control("configure", changes={"access_token_life_ms": 2_000})
    agent |= hub.control("issue_tokens", user_id=agent["user_id"], device_id=agent["device_id"])
    hub.control("configure", changes={"access_token_life_ms": 86_400_000})
    hub.login(agent, store)
    hub.control("fail_refresh", kind="delay", value=1_500, user_id=agent["user_id"])
    listening = start("listen", "--store", str(store), "--json", "--driver", driver)
    while agent["user_id"] not in hub.state()["rotations"]:  # rotated, and the answer is still on its way
        assert listening.poll() is None
        time.sleep(0.05)
    shown = stop(listening)
    assert '"tokens_rotated"' in shown
    status = status_of(store)
    assert (status["generation"], status["state"], status["last_error"]) == (2, "usable", None)
    assert send(store, agent["conversation_id"], "still here")[0] == 0


@pytest.mark.rule("AUTH-9")
def test_the_fullest_log_holds_no_token(hub: RunningHub, tmp_path: Path) -> None:
    store, agent = tmp_path / "a.db", hub.next_agent()
    hub.login(agent, store)
    hub.control("reject_access", user_id=agent["user_id"])
    done = spawned("send", "-vv", "--store", str(store), "--timeout", "60", agent["conversation_id"], "hello")
    assert done.returncode == 0, done.stderr
    assert "TokensRotated" in done.stderr
    hub.check_secrecy(done.stdout + done.stderr)
    assert "Bearer" not in done.stderr
    assert "eyJ" not in done.stdout + done.stderr  # the beginning of every token of this hub, new ones included


def test_colours_on_a_terminal_only_and_never_with_no_color(tmp_path: Path) -> None:
    def shown_on_terminal(**more: str) -> str:
        ours, theirs = pty.openpty()
        env = environment(TERM="xterm-256color", **more)
        subprocess.run([*COMMAND, "status", "--store", str(tmp_path / "a.db")], stdout=theirs, env=env, check=False)
        os.close(theirs)
        with os.fdopen(ours, "rb") as terminal:
            return os.read(terminal.fileno(), 65536).decode()

    coloured = re.compile(r"\x1b\[(\d;)*3\d")
    assert coloured.search(shown_on_terminal())
    assert not coloured.search(shown_on_terminal(NO_COLOR="1"))
    assert "\x1b" not in spawned("status", "--store", str(tmp_path / "a.db")).stdout


# --- how sending fails ---------------------------------------------------------------------------------------------


def send(store: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = clawproto("send", "--store", str(store), "--json", *arguments)
    form: dict[str, Any] = json.loads(done.stdout)
    assert done.stderr == ""
    return done.returncode, form


def test_a_refused_message_is_exit_code_4(hub: RunningHub, tmp_path: Path) -> None:
    store, agent = tmp_path / "a.db", hub.next_agent()
    hub.login(agent, store)
    hub.control("reject_messages", code="content_blocked", user_id=agent["user_id"])
    code, form = send(store, agent["conversation_id"], "no")
    assert (code, form["error"], form["code"]) == (4, "refused", "content_blocked")
    code, form = send(store, "not-a-conversation", "no")
    assert (code, form["error"], form["code"]) == (4, "refused", "invalid_chat_id")


@pytest.mark.rule("SEND-14")
def test_a_lost_receipt_is_exit_code_5_and_can_be_repeated(hub: RunningHub, tmp_path: Path) -> None:
    store, agent = tmp_path / "a.db", hub.next_agent()
    hub.login(agent, store)
    hub.control("lose_acks", user_id=agent["user_id"])
    code, form = send(store, agent["conversation_id"], "perhaps", "--timeout", "1.5")
    assert (code, form["error"]) == (5, "undecided")
    code, receipt = send(store, agent["conversation_id"], "perhaps", "--message-id", form["message_id"])
    assert (code, receipt["message_id"]) == (0, form["message_id"])


def test_a_hub_that_is_not_there_is_exit_code_7(hub: RunningHub, tmp_path: Path) -> None:
    store, agent = tmp_path / "a.db", hub.next_agent()
    gone = RunningHub(hub.process, "http://127.0.0.1:9", "ws://127.0.0.1:9/ws", "", "", hub.agents)
    gone.login(agent, store)
    code, form = send(store, agent["conversation_id"], "hello?", "--timeout", "0.5")
    assert (code, form["error"]) == (7, "unreached")


def test_an_empty_store_is_exit_code_3(tmp_path: Path) -> None:
    assert send(tmp_path / "a.db", "cnv_1", "hello?")[0] == 3
    done = clawproto("listen", "--store", str(tmp_path / "a.db"), "--json")
    assert (done.returncode, json.loads(done.stdout)["event"]) == (3, "credentials_needed")
    assert not (tmp_path / "a.db").exists()


# --- the end of a session ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", ["asyncio", "trio"])
@pytest.mark.rule("OUT-3", "OUT-4")
def test_a_revoked_agent_is_logged_out_and_paired_again(hub: RunningHub, tmp_path: Path, driver: str) -> None:
    store, agent = tmp_path / "a.db", hub.next_agent()
    hub.login(agent, store)
    hub.control("revoke", user_id=agent["user_id"])
    done = clawproto("listen", "--store", str(store), "--driver", driver, "--json")
    assert done.returncode == 3, done.stderr
    forms = [json.loads(line) for line in done.stdout.splitlines()]
    (told,) = [form for form in forms if form["event"] == "logged_out"]
    assert (told["cause"], told["code"], told["cleared"]) == ("refused", 10003, True)
    assert told["identity"]["user_id"] == agent["user_id"]
    hub.check_secrecy(done.stdout + done.stderr)

    assert clawproto("status", "--store", str(store)).returncode == 3
    assert send(store, agent["conversation_id"], "hello?")[0] == 3
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert agent["refresh_token"].encode() not in kept

    code = ("pair", agent["pairing_code"], "--repair", "--store", str(store), "--driver", driver)
    assert clawproto(*code).returncode == 0
    assert status_of(store)["identity"]["device_id"] == agent["device_id"]
    assert send(store, agent["conversation_id"], "back again")[0] == 0


@pytest.mark.rule("OUT-8")
def test_a_waiting_listener_takes_a_new_pairing_up(hub: RunningHub, tmp_path: Path) -> None:
    store, agent = tmp_path / "a.db", hub.next_agent()
    waiting = start("listen", "--store", str(store), "--json", "--wait")
    read_until(waiting, until("credentials_needed"))
    arguments = ("pair", agent["pairing_code"], "--store", str(store), "--base-url", hub.base_url)
    assert clawproto(*arguments).returncode == 0
    read_until(waiting, until("ready"))
    stop(waiting)


def test_of_two_listeners_one_listens_and_the_other_takes_over(hub: RunningHub, tmp_path: Path) -> None:
    store = tmp_path / "a.db"
    hub.login(hub.next_agent(), store)
    first = listen(store)
    second = start("listen", "--store", str(store), "--json")
    third = start("listen", "--store", str(store), "--json", "--driver", "trio")
    assert third.stderr is not None and second.stderr is not None
    for waiting in (second, third):
        assert waiting.stderr is not None
        assert waiting.stderr.readline() == "Another process holds this session; waiting for its end.\n"
    third.send_signal(signal.SIGTERM)
    output, errors = end(third)
    assert (third.returncode, output, errors) == (0, "", ""), "who waits can be sent away"
    stop(first)
    read_until(second, until("ready"))
    stop(second)
