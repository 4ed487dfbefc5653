"""``clawproto simulate``: what it prints, draws and judges."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from clawproto.testing.invariants import InvariantBroken
from clawproto.testing.simulation import life
from tests.cli.conftest import clawproto, spawned

SMALL = ["simulate", "--sessions", "5", "--hours", "2.5", "--token-life", "2h"]


def reports(*arguments: str) -> list[dict[str, Any]]:
    done = clawproto(*SMALL, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_it_compares_the_library_with_itself_without_jitter() -> None:
    done = clawproto(*SMALL, "--fault", "outage@1h+5m")
    assert done.returncode == 0, done.stderr
    assert "5 sessions, 2.5 h, seed 1" in done.stdout
    assert "engine: exact: the real core and the real hub" in done.stdout
    assert "with jitter" in done.stdout and "without jitter" in done.stdout
    assert "all ready again after" in done.stdout
    assert (
        "again: clawproto simulate --sessions 5 --hours 2.5 --seed 1 --fault outage@1h+5m --token-life 2h"
        in done.stdout
    )


def test_json_is_the_same_for_the_same_seed_and_tells_how_to_get_it_again() -> None:
    first = clawproto(*SMALL, "--json", "--fault", "restart@1h+10m", "--seed", "7")
    again = clawproto(*SMALL, "--json", "--fault", "restart@1h+10m", "--seed", "7")
    assert first.stdout == again.stdout
    with_jitter, without = (json.loads(line) for line in first.stdout.splitlines())
    assert (with_jitter["jitter"], without["jitter"]) == (True, False)
    repeated = clawproto(*with_jitter["again"].split()[1:], "--json")
    assert json.loads(repeated.stdout) == with_jitter


def test_the_engines_agree_on_what_does_not_depend_on_draws() -> None:
    (exactly,), (modelled,) = (
        reports("--jitter", "off", "--fault", "outage@1h+5m", "--engine", engine) for engine in ("exact", "population")
    )
    for report, engine in ((exactly, "exact"), (modelled, "population")):
        assert report.pop("engine") == engine
        report.pop("again")
    assert exactly == modelled


def test_many_sessions_are_modelled() -> None:
    (report,) = reports("--sessions", "20000", "--jitter", "on")
    assert report["engine"] == "population"
    assert report["refreshes"]["total"] == 20_000


def test_what_the_model_does_not_know_is_no_success() -> None:
    done = clawproto(*SMALL, "--sessions", "20000", "--fault", "suspend")
    assert done.returncode == 2
    assert "does not know suspend; simulate fewer with --engine exact" in done.stderr


def test_without_numpy_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "clawproto.testing.simulation.population", None)
    done = clawproto(*SMALL, "--engine", "population")
    assert done.returncode == 1
    assert "pip install 'clawproto[plot]'" in done.stderr


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_it_draws(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"load.{ending}"
    done = clawproto(*SMALL, "--fault", "restart@1h", "--plot", str(path))
    assert done.returncode == 0, done.stderr
    assert path.stat().st_size > 2_000
    if ending == "svg":
        text = path.read_text()
        assert "Ready again after restart@1h" in text and "with jitter" in text


def test_png_without_matplotlib_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = clawproto(*SMALL, "--plot", str(tmp_path / "load.png"))
    assert done.returncode == 1
    assert ".svg needs nothing" in done.stderr


def test_a_picture_that_cannot_be_written_is_a_failure(tmp_path: Path) -> None:
    done = clawproto(*SMALL, "--plot", str(tmp_path / "missing" / "load.svg"))
    assert done.returncode == 1
    assert "cannot write" in done.stderr


def test_one_session_is_shown_step_by_step_without_a_token() -> None:
    done = clawproto(*SMALL, "--fault", "restart@1h", "--session", "3")
    assert done.returncode == 0, done.stderr
    assert "RequestRefresh" in done.stdout and "Swap" in done.stdout and "send connect" in done.stdout
    assert done.stdout.endswith("ready at the end\n")
    assert "eyJ" not in done.stdout
    told = json.loads(clawproto(*SMALL, "--fault", "restart@1h", "--session", "3", "--json").stdout)
    assert told["session"] == 3 and len(told["refreshes_ms"]) == 1 and told["trouble"] is None


def test_a_violation_fails_and_names_the_command_that_shows_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(history: object, _before: object, event: object, *_: object, **__: object) -> object:
        if type(event).__name__ == "HttpAnswered":
            raise InvariantBroken("I1: two refreshes in flight")
        return history

    monkeypatch.setattr(life, "check", check)
    done = clawproto(*SMALL, "--fault", "outage@2h20m+5m", "--jitter", "on")
    assert done.returncode == 1
    assert "session 0: InvariantBroken" in done.stderr and "I1: two refreshes in flight" in done.stderr
    assert "5 sessions went wrong, seed 1" in done.stderr
    again = next(line for line in done.stderr.splitlines() if "again:" in line).split("clawproto ")[1].split()
    assert again[-2:] == ["--session", "0"]
    shown = clawproto(*again)
    assert shown.returncode == 1
    assert "I1: two refreshes in flight" in shown.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--fault", "flood@1h"],
        ["--fault", "outage@1h"],
        ["--token-life", "long"],
        ["--token-life", "-1h"],
        ["--fault", "restart@-1h"],
        ["--plot", "load.gif"],
        ["--journal", "x.jsonl"],
        ["--session", "5"],
        ["--sessions", "0"],
    ],
)
def test_wrong_usage_is_told(arguments: list[str]) -> None:
    done = clawproto(*SMALL, *arguments)
    assert done.returncode == 2
    assert "Error" in done.stderr


def test_it_runs_in_a_terminal_without_unicode() -> None:
    done = spawned(*SMALL, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()


def test_a_session_is_recorded_for_replay_one_journal_for_each_process(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    done = clawproto(*SMALL, "--fault", "restart@1h", "--session", "3", "--journal", str(path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2] == f"recorded, the last process first: {path}, {path}.1"
    for journal in (path, path.with_name("session.jsonl.1")):
        assert journal.read_text().startswith('{"journal":"clawproto"')
        replayed = clawproto("replay", str(journal))
        assert replayed.returncode == 0 and "no difference" in replayed.stdout
    told = clawproto("timeline", str(path))
    assert told.returncode == 0 and "rotated" in told.stdout


def test_the_journal_of_a_violation_ends_with_the_step_that_it_is_about(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def check(history: object, _before: object, event: object, *_: object, **__: object) -> object:
        if type(event).__name__ == "HttpAnswered":
            raise InvariantBroken("I1: two refreshes in flight")
        return history

    monkeypatch.setattr(life, "check", check)
    path = tmp_path / "session.jsonl"
    done = clawproto(*SMALL, "--session", "0", "--journal", str(path))
    assert done.returncode == 1 and "I1: two refreshes in flight" in done.stderr
    assert json.loads(path.read_text().splitlines()[-1])["event"]["is"] == "HttpAnswered"


def test_a_journal_that_cannot_be_written_is_a_failure(tmp_path: Path) -> None:
    done = clawproto(*SMALL, "--session", "0", "--journal", str(tmp_path / "missing" / "session.jsonl"))
    assert done.returncode == 1
    assert "cannot write" in done.stderr
