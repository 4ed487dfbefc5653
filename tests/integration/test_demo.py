"""The whole demonstration: two drivers, a hub, and everything that can go wrong, over real sockets and files."""

import json

import pytest

from tests.cli.conftest import spawned


@pytest.mark.rule("REF-10", "REF-22", "OUT-2", "OUT-3")
def test_nothing_is_lost_and_both_are_logged_out() -> None:
    done = spawned("demo", "--json")
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
