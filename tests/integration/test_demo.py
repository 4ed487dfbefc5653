"""The whole demonstration: two drivers, a hub, and everything that can go wrong, over real sockets and files."""

import json
from pathlib import Path

import pytest

from clawproto.replay import replay
from clawproto_cli.journals import open_journal
from tests.cli.conftest import spawned


@pytest.mark.rule("REF-10", "REF-22", "OUT-2", "OUT-3")
def test_nothing_is_lost_and_both_are_logged_out(tmp_path: Path) -> None:
    done = spawned("demo", "--json", "--journal", str(tmp_path))
    result = json.loads(done.stdout)
    assert (done.returncode, result["ok"], result["problems"]) == (0, True, []), done.stderr
    assert [(agent["name"], agent["driver"]) for agent in result["agents"]] == [("Ada", "asyncio"), ("Tom", "trio")]
    for agent in result["agents"]:
        assert agent["sent"] == agent["acknowledged"] == agent["received_by_other"] > 50
        assert (agent["lost"], agent["duplicated"], agent["ended"]) == (0, 0, "logged out")
        assert agent["rotations"] >= 3
        assert agent["reactive_refreshes"] >= 1
        assert agent["reconnects"] >= 3
    story = done.stderr
    assert "shortened" in story.splitlines()[0]
    assert "\x1b" not in story
    assert "Traceback" not in story
    journals = sorted(tmp_path.iterdir())
    assert [path.name for path in journals] == ["ada-1.jsonl", "tom-1.jsonl", "tom-2.jsonl"]
    for path in journals:
        report = replay(open_journal(path))
        assert (report.difference, report.lost, report.cut) == (None, 0, False)
        assert report.steps > 100
