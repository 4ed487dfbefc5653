"""Clocks, seeds, and what importing the package loads."""

import os
import subprocess
import sys
import time

import pytest

from clawproto.instant import Instant
from clawproto_io import Clock, ScaledClock, SystemClock, system_seed


class FakeClock:
    def __init__(self) -> None:
        self.instant = Instant(1_000_000, 500)

    def now(self) -> Instant:
        return self.instant

    def seconds(self, delay_ms: int) -> float:
        return delay_ms / 1000


@pytest.mark.rule("TOK-21")
def test_the_system_clock_reads_both_clocks_in_milliseconds() -> None:
    before = (time.time() * 1000 - 1, time.monotonic() * 1000 - 1)
    now = SystemClock().now()
    after = (time.time() * 1000 + 1, time.monotonic() * 1000 + 1)
    assert before[0] <= now.wall_ms <= after[0] and before[1] <= now.mono_ms <= after[1]
    assert type(now.wall_ms) is int and type(now.mono_ms) is int


def test_delays_in_seconds_are_never_negative() -> None:
    clock: Clock = SystemClock()
    assert clock.seconds(1_500) == 1.5
    assert clock.seconds(-1) == 0


def test_a_scaled_clock_starts_now_and_runs_faster() -> None:
    base = FakeClock()
    clock: Clock = ScaledClock(60, base)
    assert clock.now() == Instant(1_000_000, 500)
    base.instant = Instant(1_002_000, 1_500)
    assert clock.now() == Instant(1_120_000, 60_500)
    assert clock.seconds(60_000) == 1.0


@pytest.mark.parametrize("factor", [0, -1])
def test_a_scaled_clock_needs_a_positive_factor(factor: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        ScaledClock(factor)


def test_seeds_are_16_bytes_and_differ() -> None:
    seeds = {system_seed() for _ in range(50)}
    assert len(seeds) == 50 and {len(seed) for seed in seeds} == {16}


def test_importing_the_package_loads_no_event_loop() -> None:
    loops = "{'asyncio', 'trio', 'aiohttp', 'websockets'}"
    script = f"import sys\nfrom clawproto_io import *\nprint(*sorted({loops} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == ""


def test_logging_is_silent_until_it_is_configured() -> None:
    script = "from clawproto_io.logs import logger\nlogger('store').warning('to nobody')"
    result = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stderr == ""
