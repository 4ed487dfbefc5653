"""Streams, replies, files and reactions from the command line, seen by a listener."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import COMMAND, RunningHub, clawproto, end, environment, read_until, spawned, start, until


@pytest.fixture
def pair_of_agents(hub: RunningHub, tmp_path: Path) -> tuple[Path, Path, str]:
    """Stores of a sender and of a listener, and the chat that both are in."""
    sender, listener = tmp_path / "sender.db", tmp_path / "listener.db"
    for store in (sender, listener):
        hub.login(hub.next_agent(), store)
    return sender, listener, hub.shared_conversation_id


def sent(done: Any) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr + done.stdout
    form: dict[str, Any] = json.loads(done.stdout)
    return form


@pytest.mark.parametrize("driver", ["asyncio", "trio"])
def test_all_ways(hub: RunningHub, pair_of_agents: tuple[Path, Path, str], tmp_path: Path, driver: str) -> None:
    sender, listener, chat = pair_of_agents
    options = ("--store", str(sender), "--driver", driver, "--json")
    arguments = ("--feature", "receipts", "--stream", "--driver", driver)
    process = start("listen", "--store", str(listener), "--json", *arguments)
    read_until(process, until("ready"))

    first = sent(spawned("send", chat, "hello", *options))
    received = read_until(process, lambda form: form.get("message_id") == first["message_id"])[-1]
    assert received["text"] == "hello"

    reply = sent(spawned("send", chat, "yes", "--reply-to", first["message_id"], *options))
    received = read_until(process, lambda form: form.get("message_id") == reply["message_id"])[-1]
    assert received["kind"] == "message.reply" and received["reply"]["message_id"] == first["message_id"]

    picture = tmp_path / "cat.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 100)
    with_file = sent(spawned("send", chat, "look", "--file", str(picture), *options))
    received = read_until(process, lambda form: form.get("message_id") == with_file["message_id"])[-1]
    assert [part["kind"] for part in received["fragments"]] == ["text", "image"]
    assert received["fragments"][1]["name"] == "cat.png" and received["fragments"][1]["size"] == 108
    bare = sent(spawned("send", chat, "--file", str(picture), *options))
    read_until(process, lambda form: form.get("message_id") == bare["message_id"])

    reaction = sent(spawned("send", chat, "👍", "--react", first["message_id"], *options))
    assert reaction["message_id"].startswith(f"rxn:{first['message_id']}:")
    received = read_until(process, until("reaction_changed"))[-1]
    assert (received["target_message_id"], received["emoji"]) == (first["message_id"], "👍")
    sent(spawned("send", chat, "", "--react", first["message_id"], *options))
    assert read_until(process, until("reaction_changed"))[-1]["emoji"] is None

    with subprocess.Popen(
        [*COMMAND, "send", chat, "-", "--stream", *options],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as writer:
        assert writer.stdin is not None and writer.stdout is not None
        read_until(process, until("stream_started"))
        for piece in ("Grüße ", "Stück ", "für Stück"):
            writer.stdin.write(piece)
            writer.stdin.flush()
            grown = read_until(process, until("stream_grew"))[-1]
            assert grown["delta"] == piece
        writer.stdin.close()
        receipt = json.loads(writer.stdout.read())
        assert writer.wait(60) == 0
    finished = read_until(process, until("stream_finished"))[-1]
    assert finished["text"] == "Grüße Stück für Stück"
    received = read_until(process, until("message_received"))[-1]
    assert received["streamed"] and received["message_id"] == receipt["message_id"] == finished["message_id"]

    process.terminate()
    output, errors = end(process)
    assert (process.returncode, errors) == (0, "")
    hub.check_secrecy(output)


def test_without_stream_the_pieces_are_not_printed(hub: RunningHub, pair_of_agents: tuple[Path, Path, str]) -> None:
    sender, listener, chat = pair_of_agents
    process = start("listen", "--store", str(listener), "--json")
    read_until(process, until("ready"))
    done = spawned("send", chat, "-", "--stream", "--store", str(sender), "--json", stdin="one two")
    assert done.returncode == 0
    seen = read_until(process, until("message_received"))
    assert not {"stream_started", "stream_grew"} & {form["event"] for form in seen}
    process.terminate()
    end(process)


def test_a_chat_that_refuses_refuses_every_way(hub: RunningHub, pair_of_agents: tuple[Path, Path, str]) -> None:
    sender, _, _ = pair_of_agents
    nowhere = "cnv_" + "0" * 26
    for arguments in (("x",), ("👍", "--react", "msg-1"), ("x", "--stream")):
        done = clawproto("send", nowhere, *arguments, "--store", str(sender), "--json")
        form = json.loads(done.stdout)
        assert (done.returncode, form["error"]) == (4, "refused")
        assert form["code"] in ("chat_not_found", "not_member")
