"""Reports with a number that nobody waits for: of a flight that is over, or from a driver that counts wrongly."""

import pytest

from clawproto.events import HttpAnswered, HttpFailed, Reloaded, StoreConflicted, Stored, StoreFailed
from tests.core.harness import REFUSED, Bench, credentials, jwt, rotated


def in_phase(phase: str) -> Bench:
    """A session whose flight has come as far as this."""
    bench = Bench(credentials())
    bench.store.held = True
    bench.refresh()
    if phase == "Recording":
        return bench
    bench.step(bench.store.answer(bench.waiting.pop()))
    if phase != "Requesting":
        bench.reply(REFUSED if phase in ("Rereading", "LoggingOut") else rotated(jwt("a2")))
    if phase == "LoggingOut":
        bench.step(bench.store.answer(bench.waiting.pop()))
    return bench


@pytest.mark.rule("REF-48", "REF-49", "REF-10")
@pytest.mark.parametrize("phase", ["Recording", "Requesting", "Saving", "Rereading", "LoggingOut"])
def test_a_report_with_a_number_that_nobody_waits_for_changes_nothing(phase: str) -> None:
    bench = in_phase(phase)
    before = bench.state
    assert type(before.tokens.phase).__name__ == phase
    for report in (
        HttpAnswered(99, rotated(jwt("a9"), "refresh-9")),
        HttpAnswered(99, REFUSED),
        HttpFailed(99, True, "late"),
        Stored(99, 7),
        StoreConflicted(99, None),
        StoreFailed(99, "late"),
        Reloaded(99, None),
    ):
        assert bench.step(report) == ()
        assert bench.state == before
