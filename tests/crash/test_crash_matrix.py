"""Nothing that can be kept is lost to a kill, at whatever moment it comes; what cannot be kept is told by its name."""

import os
from pathlib import Path
from typing import get_args

import pytest

from clawproto.effects import Effect
from tests.crash import matrix, report

KILLS = int(os.environ.get("KILLS", "500"))
UNSEEN = {"RememberDevice"}  # the development hub takes the device id that it is told


@pytest.mark.integration
@pytest.mark.rule("REF-46", "REF-9", "OUT-3", "R2-9")
@pytest.mark.parametrize("driver", ["asyncio", "trio"])
def test_a_sample_of_kills(tmp_path: Path, driver: str) -> None:
    tally = matrix.run(driver, "strict", 10, tmp_path, seed=1, lanes=2)
    assert report.problems(tally) == []
    assert tally.kills >= 10
    kinds = {kind.split()[0] for kind in tally.seen}
    assert kinds - {"application", "arrivals", "handled"} == {kind.__name__ for kind in get_args(Effect)} - UNSEEN, (
        "each has its boundaries"
    )


@pytest.mark.soak
@pytest.mark.rule("REF-46", "REF-9", "OUT-3", "R2-9")
@pytest.mark.parametrize("mode", ["strict", "grace"])
@pytest.mark.parametrize("driver", ["asyncio", "trio"])
def test_many_kills(tmp_path: Path, driver: str, mode: str) -> None:
    """``KILLS=100 make soak`` is a shorter try; ``python -m tests.crash`` prints the tables."""
    kills = KILLS if mode == "strict" else KILLS // 8
    tally = matrix.run(driver, mode, kills, tmp_path)
    print(report.boundaries([tally]), report.sums([tally]), sep="\n\n")
    assert report.problems(tally) == []
    assert tally.kills >= kills
