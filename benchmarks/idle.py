"""What sessions cost that have nothing to do: ``python -m benchmarks.idle asyncio|uvloop|trio URL COUNT calm|usual``.

Calm: no deadline falls into the time that is measured, so that a session which polls, or wakes up for nothing, shows.
Usual: with the default numbers, so with a ping and a look at the wall clock from time to time. The processor time is
that of the process with the sessions; the hub runs in another.
"""

import gc
import subprocess
import sys
import time
from collections.abc import Iterator

import anyio

from benchmarks.crowds import crowd, environment, hub, loops, run
from benchmarks.harness import Row, single
from clawproto.policy import HOUR_MS, Policy

SESSIONS = 10_000
SECONDS = 30.0
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
    """Share of one processor, in percent, that ten thousand idle sessions take in one process."""
    for loop in loops():
        for kind, name in (("calm", "between deadlines"), ("usual", "with pings, by default every 30 s")):
            shares: list[float] = []
            for _ in range(min(rounds, 3)):
                with hub() as running:
                    command = [sys.executable, "-m", "benchmarks.idle", loop, running.url, str(SESSIONS), kind]
                    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
                    shares.append(float(done.stdout))
            yield single("idle", f"{SESSIONS:,} sessions, {loop}, {name}", "%", shares)


def main() -> None:
    """Open them, measure, close them."""
    loop, url, count, kind = sys.argv[1:5]

    async def program() -> None:
        await _share(loop, url, int(count), CALM if kind == "calm" else Policy())

    run(loop, program)


if __name__ == "__main__":
    main()
