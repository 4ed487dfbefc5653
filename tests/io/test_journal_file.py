"""The journal on disk: whatever the disk does, the session goes on, and what is in the file replays."""

import errno
import json
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clawproto.replay import Report, read, replay
from clawproto_io import Journal
from tests.core.test_journal import Steps, eventful


@pytest.fixture(scope="module")
def taken() -> Steps:
    return eventful().taken


def replayed(path: Path) -> Report:
    with path.open(encoding="ascii") as lines:
        return replay(read(lines))


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("it does not come about")


def drained(journal: Journal) -> Callable[[], bool]:
    return lambda: journal._pending == 0


@pytest.mark.rule("AUTH-9")
def test_one_line_a_step_for_the_owner_only(tmp_path: Path, taken: Steps) -> None:
    path = tmp_path / "agent.jsonl"
    with Journal(path) as journal:
        for step in taken:
            journal(*step)
    assert journal.dropped == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    report = replayed(path)
    assert report.difference is None and report.steps == len(taken) and report.library
    assert sorted(file.name for file in tmp_path.iterdir()) == ["agent.jsonl"]


def test_nothing_is_made_before_the_first_step(tmp_path: Path) -> None:
    with Journal(tmp_path / "agent.jsonl"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_large_journal_goes_on_in_another_file_that_replays_by_itself(tmp_path: Path, taken: Steps) -> None:
    path = tmp_path / "agent.jsonl"
    with Journal(path, max_bytes=6_000, keep=3) as journal:
        for step in taken:
            journal(*step)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["agent.jsonl", "agent.jsonl.1", "agent.jsonl.2"]
    parts = []
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert replayed(file).difference is None
        parts.append(json.loads(file.read_text().splitlines()[0])["part"])
    assert parts == sorted(parts, reverse=True) and parts[0] >= 3
    assert journal.dropped == 0


def test_an_earlier_journal_is_kept(tmp_path: Path, taken: Steps) -> None:
    path = tmp_path / "agent.jsonl"
    path.write_text("mine")
    with Journal(path) as journal:
        journal(*taken[0])
    assert (tmp_path / "agent.jsonl.1").read_text() == "mine"
    with Journal(path, keep=1) as journal:
        journal(*taken[0])
    assert replayed(path).steps == 1 and (tmp_path / "agent.jsonl.1").read_text() == "mine"


def test_a_link_is_moved_away_and_not_followed(tmp_path: Path, taken: Steps) -> None:
    target, path = tmp_path / "target", tmp_path / "agent.jsonl"
    target.write_text("precious")
    path.symlink_to(target)
    with Journal(path) as journal:
        journal(*taken[0])
    assert target.read_text() == "precious" and not path.is_symlink() and replayed(path).steps == 1


class Disk:
    """`os.write` on a disk that is full whenever it is told so, and then writes half."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.error = errno.ENOSPC
        self.refused = 0
        self._write = os.write
        monkeypatch.setattr("clawproto_io.journal.os.write", self.write)

    def write(self, descriptor: int, data: memoryview) -> int:
        if not self.full:
            return self._write(descriptor, data)
        if len(data) > 100:
            return self._write(descriptor, data[:50])
        self.refused += 1
        raise OSError(self.error, os.strerror(self.error))


def test_a_full_disk_costs_lines_and_nothing_else(
    tmp_path: Path, taken: Steps, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    disk, path = Disk(monkeypatch), tmp_path / "agent.jsonl"
    with Journal(path) as journal:
        for number, step in enumerate(taken):
            if number in (8, 14):
                wait_until(drained(journal))
                disk.full = number == 8
            journal(*step)
        wait_until(drained(journal))
        assert disk.refused >= 1 and journal.dropped >= 6
    report = replayed(path)
    assert report.difference is None and not report.cut
    assert report.lost == journal.dropped and report.lost + report.steps == len(taken)
    texts = [record.getMessage() for record in caplog.records]
    assert sum("cannot be written" in text for text in texts) == 1
    assert any("steps are missing" in text for text in texts)


def test_a_disk_that_is_full_from_the_beginning(tmp_path: Path, taken: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, path = Disk(monkeypatch), tmp_path / "agent.jsonl"
    disk.full = True
    with Journal(path) as journal:
        for step in taken[:10]:
            journal(*step)
        wait_until(drained(journal))
        disk.full = False
        for step in taken[10:]:
            journal(*step)
    report = replayed(path)
    assert report.difference is None
    assert report.lost == journal.dropped >= 10 and report.lost + report.steps == len(taken)


def test_a_journal_that_can_never_be_written_raises_nothing(tmp_path: Path, taken: Steps) -> None:
    with Journal(tmp_path / "missing" / "agent.jsonl") as journal:
        for step in taken:
            journal(*step)
    assert journal.dropped == len(taken)


def test_a_slow_disk_does_not_hold_up_the_session(
    tmp_path: Path, taken: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, write = threading.Event(), os.write

    def slow(descriptor: int, data: memoryview) -> int:
        gate.wait(20)
        return write(descriptor, data)

    monkeypatch.setattr("clawproto_io.journal.os.write", slow)
    monkeypatch.setattr("clawproto_io.journal._PENDING", 5_000)
    path = tmp_path / "agent.jsonl"
    with Journal(path) as journal:
        for step in taken:  # returns although nothing can be written
            journal(*step)
        assert journal.dropped > 0
        gate.set()
    assert replayed(path).difference is None


def test_in_the_middle_of_a_session_it_begins_with_the_state(tmp_path: Path, taken: Steps) -> None:
    path = tmp_path / "agent.jsonl"
    with Journal(path) as journal:
        for step in taken[12:]:
            journal(*step)
    report = replayed(path)
    assert report.difference is None and report.steps == len(taken) - 13


def test_closed_it_records_nothing_more(tmp_path: Path, taken: Steps) -> None:
    path = tmp_path / "agent.jsonl"
    journal = Journal(path)
    journal(*taken[0])
    journal.close()
    journal.close()
    journal(*taken[1])
    assert replayed(path).steps == 1


@pytest.mark.parametrize("settings", [{"max_bytes": 0}, {"keep": 0}])
def test_impossible_settings(tmp_path: Path, settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Journal(tmp_path / "x", **settings)  # type: ignore[arg-type]
