"""What sessions cost that have nothing to do: ``python -m benchmarks.idle asyncio|uvloop|trio URL COUNT calm|usual``.

Calm: no deadline falls into the time that is measured, so that a session which polls, or wakes up for nothing, shows.
Usual: with the default numbers, so with a ping and a look at the wall clock from time to time. The processor time is
that of the process with the sessions; the hub runs in another.
"""

import gc
import sys
import time
from collections.abc import Iterator

import anyio

from benchmarks.children import figure
from benchmarks.crowds import crowd, hub, loops, run
from benchmarks.harness import Row, single
from clawproto.policy import HOUR_MS, Policy

SESSIONS = 10_000
SECONDS = 30.0
UNMEASURABLE = 0.1  # percent: 30 ms in 30 s
CALM = Policy(ping_after_ms=HOUR_MS, wall_check_ms=HOUR_MS, ack_repeat_ms=HOUR_MS)
SETTLING = 8.0  # until connections count as stable, and replays as over


async def _share(loop: str, url: str, count: int, policy: Policy) -> None:
    async with crowd(loop, url, count, policy):
        await anyio.sleep(SETTLING if policy is CALM else SETTLING + policy.ping_after_ms / 1000)
        gc.collect()
        began, before = time.monotonic(), time.process_time()
        await anyio.sleep(SECONDS)
        print((time.process_time() - before) / (time.monotonic() - began) * 100, flush=True)


def idle(rounds: int) -> Iterator[Row]:
    """Share of one processor, in percent, that ten thousand idle sessions take in one process between deadlines."""
    for loop in loops():
        row = single("idle", f"{loop}, between deadlines", "%", _shares(loop, "calm", rounds))
        yield row.held_to("idle", UNMEASURABLE)


def pings(rounds: int) -> Iterator[Row]:
    """The same with the default numbers."""
    for loop in loops():
        name = f"{SESSIONS:,} sessions, {loop}, with pings, by default every 30 s"
        yield single("idle", name, "%", _shares(loop, "usual", rounds))


def _shares(loop: str, kind: str, rounds: int) -> list[float]:
    shares: list[float] = []
    for _ in range(max(1, rounds // 5)):
        with hub() as running:
            shares.append(figure("-m", "benchmarks.idle", loop, running.url, str(SESSIONS), kind))
    return shares


def main() -> None:
    """Open them, measure, close them."""
    loop, url, count, kind = sys.argv[1:5]

    async def program() -> None:
        await _share(loop, url, int(count), CALM if kind == "calm" else Policy())

    run(loop, program)


if __name__ == "__main__":
    main()
