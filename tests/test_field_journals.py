"""Sessions that really happened: the core would take every step again."""

import re
from pathlib import Path

import pytest

from clawproto.replay import replay
from clawproto.timeline import timeline
from clawproto_cli.journals import open_journal

FOLDER = Path(__file__).parent / "journals"
FILES = sorted(path for path in FOLDER.iterdir() if ".jsonl" in path.name)
LARGEST = 200_000  # bytes


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_step_is_taken_again(path: Path) -> None:
    report = replay(open_journal(path))
    assert report.difference is None, f"{report.difference}; if it is meant: python -m tests.journals tests/journals/*"
    assert report.steps > 0


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_is_small_and_holds_no_token(path: Path) -> None:
    assert path.stat().st_size <= LARGEST
    text = repr([line.source for line in open_journal(path).lines])
    assert re.search(r"[0-9a-f]{64}", text) is None
    for token in re.findall(r"eyJ[\w-]+\.[\w-]+(?:\.[\w-]+)?", text):
        assert re.fullmatch(r"eyJ[\w-]+\.redacted-[0-9a-f]{32}", token)


def test_the_demonstration_is_among_them() -> None:
    story = timeline(open_journal(FOLDER / "demo-asyncio.jsonl.gz"))
    told = {mark.text for mark in story.marks}
    assert "rotated" in told and any(text.startswith("the pair cannot be saved") for text in told)
    assert sum(span.lane == "refreshes" for span in story.spans) >= 3
    assert any(mark.text.startswith("logged out") for mark in story.marks)
