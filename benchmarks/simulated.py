"""The simulation of a million sessions for a day, in a process of its own, with all that its start takes."""

from collections.abc import Iterator

from benchmarks.children import spent
from benchmarks.harness import Row, single

SECONDS, GIGABYTES = 120.0, 2.5
SIMULATE = ("-m", "clawproto_cli", "simulate", "--hours", "24", "--json")
MILLION = (*SIMULATE, "--sessions", "1000000")

COURSES = [
    ("a quiet day", ()),
    ("hubs restart at 22 h", ("--fault", "restart@22h")),
    ("outage of an hour", ("--fault", "outage@6h+1h")),
]
EXACT = 200  # sessions of the exact engine, which runs the core itself


def simulation(rounds: int) -> Iterator[Row]:
    """Processor time and peak memory; each run is two, with jitter and without."""
    rounds = min(rounds, 3)
    for name, faults in COURSES:
        runs = [spent(*MILLION, *faults) for _ in range(rounds)]
        row = single("simulation", f"{name}, processor", "s", [run.cpu_seconds for run in runs])
        yield row.held_to("simulation", SECONDS)
        row = single("simulation", f"{name}, memory", "GB", [run.peak_bytes / 1e9 for run in runs])
        yield row.held_to("simulation", GIGABYTES)
    seconds = spent(*SIMULATE, "--sessions", str(EXACT), "--engine", "exact").cpu_seconds
    yield single("simulation", f"exact engine, {EXACT} sessions × 24 h, quiet, processor", "s", [seconds])
