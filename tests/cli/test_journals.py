"""``clawproto replay`` and ``clawproto timeline``, and the journals that ``listen`` writes."""

import gzip
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import clawproto
from tests.core.test_journal import eventful, journal_of


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return journal_of(eventful().taken)


@pytest.fixture
def file(tmp_path: Path, lines: list[str]) -> Path:
    path = tmp_path / "agent.jsonl"
    path.write_text("".join(lines), encoding="ascii")
    return path


def altered(lines: list[str], number: int, **changes: Any) -> str:
    return "".join([*lines[:number], json.dumps({**json.loads(lines[number]), **changes}) + "\n", *lines[number + 1 :]])


def test_a_journal_without_a_difference(file: Path, lines: list[str]) -> None:
    done = clawproto("replay", str(file))
    assert done.returncode == 0 and f"{len(lines) - 1} steps, no difference" in done.stdout
    form = json.loads(clawproto("replay", "--json", str(file)).stdout)
    assert (form["steps"], form["difference"], form["states_compared"]) == (len(lines) - 1, None, True)


def test_a_difference_is_shown_and_is_the_exit_code(file: Path, lines: list[str]) -> None:
    changed = {**json.loads(lines[4])["changed"], "link.device_id": "another"}
    file.write_text(altered(lines, 4, effects=[{"is": "Abort", "generation": 9}], changed=changed, state="0" * 32))
    done = clawproto("replay", str(file))
    assert done.returncode == 1
    for words in ("differs at step 4", "FrameReceived", '- journal {"is": "Abort"', '+ now     {"is": "Emit"'):
        assert words in done.stdout
    assert '- journal "another"' in done.stdout and '+ now     "lab-01"' in done.stdout
    assert "sig-a1" not in done.stdout
    form = json.loads(clawproto("replay", "--json", str(file)).stdout)
    assert form["difference"]["number"] == 4


def test_several_files_and_compressed_ones(file: Path, lines: list[str]) -> None:
    packed = file.with_name("agent.jsonl.gz")
    packed.write_bytes(gzip.compress(altered(lines, 3, effects=[]).encode()))
    done = clawproto("replay", str(file), str(packed))
    assert done.returncode == 1
    assert "no difference" in done.stdout and "agent.jsonl.gz: differs at step 3" in done.stdout


@pytest.mark.parametrize("command", ["replay", "timeline"])
@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "the file is empty"), (b"\xff\xfe nothing", "no journal"), (b'{"journal":"clawproto"}\n', "version None")],
)
def test_what_is_no_journal(tmp_path: Path, command: str, content: bytes, says: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    done = clawproto(command, str(path))
    assert done.returncode == 1 and says in done.stderr
    assert clawproto(command, str(tmp_path / "missing")).returncode == 1
    broken = tmp_path / "x.gz"
    broken.write_bytes(content)
    assert clawproto(command, str(broken)).returncode == 1


def test_the_timeline_of_a_journal(file: Path) -> None:
    done = clawproto("timeline", str(file))
    assert done.returncode == 0 and "\x1b" not in done.stdout
    assert "ready, delivery v1" in done.stdout and "new pair in force, expires in" in done.stdout
    forms = [json.loads(line) for line in clawproto("timeline", "--json", str(file)).stdout.splitlines()]
    assert {"connection", "tokens", "refreshes", "sends"} <= {form["lane"] for form in forms}
    assert [form["step"] for form in forms] == sorted(form["step"] for form in forms)


def test_a_picture_of_it(file: Path, tmp_path: Path) -> None:
    picture = tmp_path / "agent.svg"
    assert clawproto("timeline", str(file), "--svg", str(picture)).returncode == 0
    root = ET.parse(picture).getroot()
    space = "{http://www.w3.org/2000/svg}"
    width = float(root.attrib["width"])
    bars = [bar for bar in root.iter(f"{space}rect") if bar.find(f"{space}title") is not None]
    assert len(bars) > 8
    for bar in bars:
        assert float(bar.attrib["x"]) >= 0 and float(bar.attrib["x"]) + float(bar.attrib["width"]) <= width
    labels = [label.text for label in root.iter(f"{space}text")]
    assert {"connection", "tokens", "refreshes", "sends", "failures"} <= set(labels)
    assert clawproto("timeline", str(file), "--svg", str(tmp_path / "missing" / "x.svg")).returncode == 1


def test_what_peers_wrote_cannot_steer_a_terminal_or_break_the_picture(file: Path, lines: list[str]) -> None:
    event = {"is": "OpenFailed", "generation": 1, "detail": "\x1b[31m<script>&\n"}
    file.write_text(altered(lines, 2, event=event))
    assert "\x1b" not in clawproto("timeline", str(file)).stdout
    picture = file.with_suffix(".svg")
    clawproto("timeline", str(file), "--svg", str(picture))
    ET.parse(picture)
    assert "<script>" not in picture.read_text()


def test_masking_is_about_a_journal() -> None:
    assert clawproto("listen", "--store", "x.db", "--mask").returncode == 2
