"""The table of the benchmarks: verdicts, ratios, and what it says of what was not measured."""

import json
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import footprint, growth, harness, inbound, instructions, network, pure, report, uplinks
from benchmarks.children import server, spent
from benchmarks.harness import Row, alternate, paired, single
from benchmarks.targets import LINES
from clawproto.wire import json_backend


@pytest.mark.parametrize(
    ("subject", "limit", "at_least", "verdict"),
    [
        ([1.0, 1.0], 1.0, False, "met"),
        ([1.0, 1.1], 1.0, False, "missed"),
        ([1.0, 1.0], 1.0, True, "met"),
        ([0.9, 1.0], 1.0, True, "missed"),
        ([2.0, 2.0], 1.0, True, "met"),
    ],
)
def test_a_ratio_keeps_to_its_limit_or_not(subject: list[float], limit: float, at_least: bool, verdict: str) -> None:
    row = paired("group", "name", "against", "µs", subject, [1.0, 1.0])
    assert row.verdict is None
    assert row.held_to("inbound", limit, at_least=at_least).verdict == verdict


def test_the_ratio_is_the_median_of_the_pairs_and_not_the_ratio_of_the_medians() -> None:
    row = paired("group", "name", "against", "µs", [1.0, 20.0, 30.0], [1.0, 10.0, 100.0])
    assert row.ratio == 1.0
    assert row.low == pytest.approx(0.65) and row.high == 1.5
    assert (row.subject, row.baseline) == (20.0, 10.0)
    assert row.held_to("inbound", 1.0).verdict == "met"


def test_without_a_baseline_the_figure_itself_is_judged() -> None:
    row = single("group", "name", "kB", [1.0, 2.0, 6.0])
    assert row.ratio is None
    assert row.held_to("state", 2.0).verdict == "met"
    assert row.held_to("state", 1.9).verdict == "missed"


def test_pairs_take_turns() -> None:
    order: list[str] = []
    subjects, baselines = alternate(lambda: order.append("s"), lambda: order.append("b"), 3)
    assert "".join(order) == "sbbssb"
    assert len(subjects) == len(baselines) == 3


def _rows() -> list[Row]:
    return [
        paired("g", "frame, fast", "json.loads", "µs", [3.0], [2.0]).held_to("inbound", 1.0),
        paired("g", "frame, alone", "json.loads", "µs", [3.0], [2.0]).held_to("inbound", 2.5),
        paired("g", "asyncio", "bare", "msg/s", [9_000.0], [10_000.0]).held_to("rate", 0.8, at_least=True),
        single("g", "idle", "kB", [1.5]).held_to("state", 2.0),
        single("others", "a detail", "ms", [7.0]),
    ]


def test_the_table_has_every_row_with_a_target_its_verdict_and_what_was_not_measured() -> None:
    text = report.table(_rows())
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    inbound = f"{LINES['inbound'].what}, against json.loads"
    assert lines[2:] == [
        [inbound, "frame, fast", "3.00 µs", "2.00 µs", "1.50", "1.50 - 1.50", "≤ 1 ×", "missed"],
        ["", "frame, alone", "3.00 µs", "2.00 µs", "1.50", "1.50 - 1.50", "≤ 2.5 ×", "met"],
        [
            f"{LINES['rate'].what}, against {LINES['rate'].baseline}",
            *("asyncio", "9,000 msg/s", "10,000 msg/s", "0.90", "0.90 - 0.90", "≥ 0.8 ×", "met"),
        ],
        [LINES["state"].what, "idle", "1.50 kB", "", "", "1.50 - 1.50", "≤ 2 kB", "met"],
    ]
    assert "3 of 4 met." in text
    missing = next(line for line in text.splitlines() if line.startswith("Not measured in this run: "))
    assert LINES["reconnect"].what in missing and LINES["inbound"].what not in missing
    assert "a detail" not in text and "a detail" in report.details(_rows())


def test_nothing_measured_is_no_verdict() -> None:
    assert "met." not in report.table(_rows()[-1:])


def test_the_json_holds_what_the_table_shows(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    report.write_json(path, _rows())
    document = json.loads(path.read_text("utf-8"))
    assert document["surroundings"]["python"].startswith("CPython")
    assert [(found["name"], found["ratio"], found["verdict"]) for found in document["rows"]] == [
        (row.name, row.ratio, row.verdict) for row in _rows()
    ]
    assert document["rows"][2]["target"] == {"line": "rate", "limit": 0.8, "at_least": True}


def test_a_target_belongs_to_a_line() -> None:
    with pytest.raises(ValueError, match="no such line"):
        single("g", "idle", "kB", [1.5]).held_to("no such line", 2.0)


# --- the benchmarks themselves, at a size at which their figures mean nothing --------------------------------------


def _lines(rows: list[Row]) -> set[str]:
    return {row.target.line for row in rows if row.target is not None}


def test_frames_and_commands_of_every_kind_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "SECONDS", 0.0001)
    rows = [*inbound.inbound(1), *inbound.decode(1), *uplinks.encode(1)]
    readers = 2 if json_backend.name == "msgspec" else 1
    per_line = Counter(row.target.line for row in rows if row.target is not None)
    assert per_line == Counter(inbound=6 * readers, decode=5 * (readers - 1), encode=4)
    assert all(row.ratio is not None and row.ratio > 0 and row.rounds == 1 for row in rows)


def test_growth_is_measured_on_sessions_that_have_seen_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "MANY_SEEN", 300)
    monkeypatch.setattr(growth, "MANY_PENDING", 50)
    monkeypatch.setattr(growth, "STRETCHES", 1)
    assert _lines(list(growth.growth(1))) == {"frame growth", "send growth"}


def test_what_the_core_holds_of_a_session_is_measured() -> None:
    assert _lines(list(footprint.state(1))) == {"state"}


@pytest.mark.integration
def test_drivers_are_measured_against_bare_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "MESSAGES", 20)
    monkeypatch.setattr(network, "TRIPS", 3)
    rows = list(network.drivers(1))
    assert _lines(rows) == {"rate", "trip"}
    assert {row.name for row in rows if row.target is not None and row.target.line == "trip"} >= {"asyncio", "trio"}


@pytest.mark.integration
@pytest.mark.parametrize("what", ["step", "message", "socket asyncio", "socket trio", "ack asyncio", "ack trio"])
def test_a_fresh_interpreter_gets_to_its_first_deed(what: str) -> None:
    with server() as url:
        rest = [f"{url}/echo"] if what.startswith("ack") else []
        assert spent("-m", "benchmarks.first", *what.split(), *rest).cpu_seconds > 0


def test_the_peak_of_a_program_is_its_own() -> None:
    ballast = bytearray(64 << 20)
    peak = spent("-c", "pass").peak_bytes
    assert 1 << 20 < peak < len(ballast)


def test_a_hot_path_can_be_profiled(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions, "hot_paths", lambda: iter([("ping and pong", pure.heartbeat()[0], 1)]))
    assert instructions.profile("ping and pong") == 0
    assert "session.step" in capsys.readouterr().out
    assert instructions.profile("no such path") == 2
    assert "ping and pong" in capsys.readouterr().err
