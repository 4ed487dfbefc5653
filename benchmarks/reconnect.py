"""A hub that crashes under thousands of sessions: ``python -m benchmarks.reconnect asyncio|uvloop|trio URL COUNT``.

The hub is killed and comes back on the same port. What counts is the time from the crash until the last session is
ready again, against the span of the backoff's own schedule: when the last session makes its first attempt after the hub
is back, if attempts take no time. The rest is opening sockets, handshakes, and what a crowd makes of both.
"""

import random
import subprocess
import sys
import time
from collections.abc import Iterator

import anyio

from benchmarks.crowds import HubProcess, crowd, environment, loops, run
from benchmarks.harness import Row, paired
from clawproto.app_events import AppEvent, Ready
from clawproto.policy import Policy
from clawproto.timing import reconnect_delay_ms

SESSIONS = 2_000
OUTAGE = 5.0  # seconds, at least


def span(outage: float, count: int, draws: random.Random) -> float:
    """Seconds from the crash to the first attempt of the last session that finds the hub back."""
    policy, last = Policy(), 0.0
    for _ in range(count):
        moment, attempt = 0.0, 0
        while moment < outage:
            attempt += 1
            moment += reconnect_delay_ms(attempt, draws.random(), policy) / 1000
        last = max(last, moment)
    return last


async def _wait(loop: str, url: str, count: int) -> None:
    """Say when all are ready, and when they are all ready again."""
    ready = 0
    again = anyio.Event()

    def notice(event: AppEvent) -> None:
        nonlocal ready
        if isinstance(event, Ready):
            ready += 1
            if ready == 2 * count:
                again.set()

    async with crowd(loop, url, count, on_notice=notice):
        await anyio.sleep(6)  # so that the connections count as stable
        print("ready", flush=True)
        await again.wait()
        print(time.monotonic(), flush=True)


def restart(loop: str, count: int) -> tuple[float, float]:
    """Crash a hub once.

    Returns:
        Seconds from the crash until the last session is ready again, and those that the hub was away.
    """
    hub = HubProcess()
    command = [sys.executable, "-m", "benchmarks.reconnect", loop, hub.url, str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        crash = time.monotonic()
        hub.kill()
        time.sleep(OUTAGE)
        hub = HubProcess(hub.port)
        outage = time.monotonic() - crash
        last = float(child.stdout.readline()) - crash
        child.wait(120)
        hub.kill()
    return last, outage


def reconnects(rounds: int) -> Iterator[Row]:
    """Seconds until two thousand sessions are ready again, against the backoff's own schedule."""
    draws = random.Random(1)
    for loop in loops():
        taken: list[float] = []
        planned: list[float] = []
        for _ in range(min(rounds, 5)):
            seconds, outage = restart(loop, SESSIONS)
            taken.append(seconds)
            planned.append(span(outage, SESSIONS, draws))
        name = f"{SESSIONS:,} sessions ready again, {loop}"
        yield paired("reconnect", name, "the span of the backoff's own schedule", "s", taken, planned)


def main() -> None:
    """The process with the sessions."""
    loop, url, count = sys.argv[1:4]

    async def program() -> None:
        await _wait(loop, url, int(count))

    run(loop, program)


if __name__ == "__main__":
    main()
