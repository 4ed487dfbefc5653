"""A hub that crashes under thousands of sessions: ``python -m benchmarks.reconnect asyncio|uvloop|trio URL COUNT``.

The hub is killed and comes back on the same port. What counts is the time from the crash until the last session is
ready again, against the span of the backoff's own schedule: when the last session makes its first attempt after the hub
is back, if attempts take no time. The rest is opening sockets, handshakes, and what a crowd makes of both.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import anyio

from benchmarks.children import environment
from benchmarks.crowds import HubProcess, crowd, loops, run
from benchmarks.harness import Row, paired, single
from benchmarks.sessions import moment, ready
from clawproto.app_events import AppEvent, Ready
from clawproto.config import Config
from clawproto.effects import Open
from clawproto.events import Closed, OpenFailed, Tick
from clawproto.session import step

SESSIONS = 2_000
OUTAGE = 2.0  # seconds, at least: a restart, over before the first attempt (CLOSE-5)
SPANS = 1.5
STABLE_MS = 6_000  # for so long they have been ready before the crash


def span(outage: float, count: int) -> float:
    """Seconds from the crash to the first attempt of the last session that finds the hub back. The core says when."""
    return max(_first_attempt(outage, Config(seed=number.to_bytes(16, "big"))) for number in range(count))


def _first_attempt(outage: float, config: Config) -> float:
    state, generation = ready(config=config)
    crash = moment(STABLE_MS)
    state, _ = step(state, Closed(generation, 1006, ""), crash)
    while True:
        assert state.deadline is not None
        now = moment(STABLE_MS + max(0, state.deadline - crash.mono_ms))
        state, effects = step(state, Tick(), now)
        for effect in effects:
            if isinstance(effect, Open):
                seconds = (now.mono_ms - crash.mono_ms) / 1000
                if seconds >= outage:
                    return seconds
                state, _ = step(state, OpenFailed(effect.generation, "refused"), now)


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
        await anyio.sleep(STABLE_MS / 1000)
        spent = time.process_time()
        print("ready", flush=True)
        await again.wait()
        print(time.monotonic(), time.process_time() - spent, flush=True)


class Restart(NamedTuple):
    """What came of one crash.

    Attributes:
        seconds: from the crash until the last session is ready again.
        outage: seconds that the hub was away.
        processor: seconds of processor time that the sessions took.
    """

    seconds: float
    outage: float
    processor: float


def restart(loop: str, count: int) -> Restart:
    """Crash a hub once."""
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
        last, spent = map(float, child.stdout.readline().split())
        child.wait(120)
        hub.kill()
    return Restart(last - crash, outage, spent)


def reconnects(rounds: int) -> Iterator[Row]:
    """Seconds until two thousand sessions are ready again, against the backoff's own schedule."""
    for loop in loops():
        crashes = [restart(loop, SESSIONS) for _ in range(min(rounds, 5))]
        taken = [crash.seconds for crash in crashes]
        planned = [span(crash.outage, SESSIONS) for crash in crashes]
        row = paired("reconnect", f"all ready again, {loop}", "the backoff's own schedule", "s", taken, planned)
        yield row.held_to("reconnect", SPANS)
        spent = [crash.processor / SESSIONS * 1000 for crash in crashes]
        yield single("reconnect", f"processor time for one of them, {loop}", "ms", spent)


def main() -> None:
    """The process with the sessions."""
    loop, url, count = sys.argv[1:4]

    async def program() -> None:
        await _wait(loop, url, int(count))

    run(loop, program)


if __name__ == "__main__":
    main()
