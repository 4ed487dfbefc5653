"""Messages in the SQLite file under kills and rival processes: real processes, real signals."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from clawproto.app_events import MessageReceived
from clawproto_io import SqliteStore
from clawproto_io.stores.retention import Retention

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

CHILD = """
import sys
import anyio
from clawproto.keeping import Handled
from clawproto_io import SqliteStore
from clawproto_io.stores.retention import Retention
from tests.io.message_samples import arrivals, message, send

async def main(path, name, batch, rounds):
    store = SqliteStore(path, retention=Retention(undecided_days=None))
    await store.messages.backlog()
    for at in range(rounds):
        ids = [f"{name}-{at}-{n}" for n in range(batch)]
        filed = await store.messages.commit([
            *arrivals(*(message(one, "x" * 300) for one in ids)),
            *(send(at * batch + n + 1, trace_id=one) for n, one in enumerate(ids)),
        ])
        assert len({one.row for one in filed}) == batch
        print(at, flush=True)
    await store.aclose()

print("ready", flush=True)
sys.stdin.readline()
anyio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
"""


def start(path: Path, name: str, batch: int, rounds: int) -> "subprocess.Popen[str]":
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), name, str(batch), str(rounds)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    return child


def go(child: "subprocess.Popen[str]") -> None:
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()


async def batches(path: Path, batch: int) -> dict[str, set[int]]:
    """Which rounds of which process are there, each of them whole."""
    store = SqliteStore(path, retention=Retention(undecided_days=None))
    backlog = await store.messages.backlog()
    await store.aclose()
    found: dict[tuple[str, int], int] = {}
    for filed in backlog.arrivals:
        assert isinstance(filed.event, MessageReceived)
        name, at, _ = filed.event.message_id.split("-")
        found[name, int(at)] = found.get((name, int(at)), 0) + 1
    kept = [kept.trace_id.rpartition("-")[0] for kept in backlog.sends]
    assert sorted(kept) == sorted(f"{name}-{at}" for name, at in found for _ in range(batch))
    assert set(found.values()) <= {batch}, "a part of a commit"
    names = {name for name, _ in found}
    return {name: {at for other, at in found if other == name} for name in names}


@pytest.mark.rule("R2-10", "SEND-5")
@pytest.mark.parametrize("seed", range(4))
async def test_what_was_committed_survives_a_kill_and_nothing_is_there_by_halves(tmp_path: Path, seed: int) -> None:
    path, batch = tmp_path / "claw.db", (1, 16, 64, 256)[seed]
    child = start(path, "a", batch, 10_000)
    go(child)
    assert child.stdout is not None
    seen = [int(child.stdout.readline())]
    await anyio.sleep(random.Random(seed).uniform(0, 0.4))  # anywhere in the middle of a commit
    child.send_signal(signal.SIGKILL)
    seen += [int(line) for line in child.stdout.read().split()]
    child.communicate()
    there = (await batches(path, batch))["a"]
    assert there in (set(seen), {*seen, seen[-1] + 1}), "the last one may have been committed and not reported"


async def test_two_processes_on_one_account_lose_nothing(tmp_path: Path) -> None:
    path, rounds = tmp_path / "claw.db", 20
    children = [start(path, name, 8, rounds) for name in ("a", "b")]
    for child in children:
        go(child)
    for child in children:
        child.communicate(timeout=120)
        assert child.returncode == 0
    assert await batches(path, 8) == {"a": set(range(rounds)), "b": set(range(rounds))}
