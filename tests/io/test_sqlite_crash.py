"""The SQLite file under kills, full disks and rival processes: real processes, real signals."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from clawproto.credentials import Credentials, Identity, TokenPair
from clawproto.secret import Secret
from clawproto_io import SqliteStore, StoreError

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

IDENTITY = Identity("usr_1", "claw1", "https://hub.example", "wss://hub.example/ws")

CHILD = """
import os, resource, signal, sys, anyio
from clawproto.credentials import Credentials, Identity, Intent, TokenPair
from clawproto.secret import Secret
from clawproto_io import GenerationConflict, SqliteStore, StoreError

IDENTITY = Identity("usr_1", "claw1", "https://hub.example", "wss://hub.example/ws")
path, mode, name = sys.argv[1:4]

def record(generation, owner=name):
    tokens = TokenPair(Secret(f"access-{owner}-{generation}"), Secret(f"refresh-{owner}-{generation}"), generation)
    return Credentials(IDENTITY, tokens, generation)

async def rotate_for_ever(store):
    generation = await store.save(record(1), None)
    while True:
        print(generation, flush=True)
        await store.record_intent(Intent("digest", generation, 0))
        generation = await store.save(record(generation + 1), generation)

async def race(store):
    sys.stdin.readline()
    for _ in range(int(sys.argv[4])):
        while True:
            stored = await store.load()
            generation = 0 if stored is None else stored.generation
            try:
                await store.save(record(generation + 1), generation or None)
                break
            except GenerationConflict as conflict:
                assert conflict.stored is not None and conflict.stored.generation > generation
        print(generation + 1, flush=True)

async def fill_up(store):
    await store.save(record(1), None)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    generation = 1
    try:
        while generation < 500:
            big = record(generation + 1, "x" * 5_000)
            generation = await store.save(big, generation)
    except StoreError as error:
        print(error)
    print((await store.load()).generation == generation)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(await store.save(record(generation + 1), generation) == generation + 1)

modes = {"rotate": rotate_for_ever, "race": race, "fill": fill_up}
anyio.run(modes[mode], SqliteStore(path))
"""

HOLDER = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""


def start(path: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(children: Sequence["subprocess.Popen[str]"]) -> list[str]:
    outputs = [child.communicate(timeout=60)[0] for child in children]
    assert [child.returncode for child in children] == [0] * len(children)
    return outputs


@pytest.mark.rule("REF-9")
@pytest.mark.parametrize("reports", [1, 2, 9, 30])
async def test_what_was_reported_as_saved_survives_a_kill(tmp_path: Path, reports: int) -> None:
    path = tmp_path / "claw.db"
    child = start(path, "rotate", "child")
    assert child.stdout is not None
    seen = [int(child.stdout.readline()) for _ in range(reports)]
    child.send_signal(signal.SIGKILL)
    seen += [int(line) for line in child.stdout.read().split()]  # reported before the kill arrived
    child.communicate()
    store = SqliteStore(path)
    loaded = await store.load()
    assert loaded is not None and loaded.tokens is not None and loaded.tokens.refresh is not None
    assert loaded.generation in (seen[-1], seen[-1] + 1)  # the next one may have been committed but not reported
    assert loaded.tokens.access.reveal() == f"access-child-{loaded.generation}"
    assert loaded.tokens.refresh.reveal() == f"refresh-child-{loaded.generation}"
    await store.aclose()


@pytest.mark.rule("REF-49")
async def test_two_processes_never_overwrite_each_other(tmp_path: Path) -> None:
    path = tmp_path / "claw.db"
    rounds = 25
    children = [start(path, "race", name, str(rounds)) for name in ("one", "two")]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    won = [int(line) for output in finish(children) for line in output.split()]
    assert sorted(won) == list(range(1, 2 * rounds + 1))  # every generation was reached once, by one of them


async def test_a_stopped_rival_delays_a_save_but_does_not_block_it_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "claw.db"
    first = SqliteStore(path)
    await first.save(Credentials(IDENTITY, TokenPair(Secret("a"), None), 1), None)
    await first.aclose()
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"locked\n"
    store = SqliteStore(path, busy_timeout_ms=50)
    second = Credentials(IDENTITY, TokenPair(Secret("b"), None), 2)
    with pytest.raises(StoreError, match="locked by another process; stop the process"):
        await store.save(second, replaces=1)
    holder.kill()
    holder.communicate()
    assert await store.save(second, replaces=1) == 2
    await store.aclose()


@pytest.mark.rule("REF-10")
async def test_a_limit_on_the_file_size_fails_the_save_and_keeps_the_last_pair(tmp_path: Path) -> None:
    path = tmp_path / "claw.db"
    (output,) = finish([start(path, "fill", "child")])
    error, kept, saved_later = output.splitlines()
    assert re.match(rf"{re.escape(str(path))}: (could not be read or written|has no room to grow).*disk", error)
    assert (kept, saved_later) == ("True", "True")


@pytest.mark.rule("REF-10")
async def test_a_full_database_says_so(tmp_path: Path) -> None:
    path = tmp_path / "claw.db"
    store = SqliteStore(path)
    await store.save(Credentials(IDENTITY, TokenPair(Secret("a"), None), 1), None)
    connection = store._access._connection  # pyright: ignore[reportPrivateUsage]
    assert isinstance(connection, sqlite3.Connection)
    connection.execute("PRAGMA max_page_count = 3")
    with pytest.raises(StoreError, match=r"claw.db: has no room to grow; .* free some space \(SQLITE_FULL\)"):
        await store.save(Credentials(IDENTITY, TokenPair(Secret("b" * 50_000), None), 2), replaces=1)
    loaded = await store.load()
    assert loaded is not None and loaded.generation == 1
    await store.aclose()
