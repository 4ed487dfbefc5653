"""The rights of the SQLite file: those that it has, and those that its user lacks."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from clawproto.credentials import Credentials, Identity, TokenPair
from clawproto.secret import Secret
from clawproto_io import SqliteStore

pytestmark = pytest.mark.anyio

IDENTITY = Identity("usr_1", "claw1", "https://hub.example", "wss://hub.example/ws")


def record(generation: int) -> Credentials:
    tokens = TokenPair(Secret(f"access-{generation}"), Secret(f"refresh-{generation}"), generation)
    return Credentials(IDENTITY, tokens, generation)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "claw.db"


async def fill(path: Path, generation: int = 1) -> None:
    store = SqliteStore(path)
    await store.save(record(generation), replaces=None)
    await store.aclose()


def execute(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def modes(directory: Path) -> dict[str, int]:
    return {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in directory.iterdir()}


# --- rights --------------------------------------------------------------------------------------------------------

UMASK_SCRIPT = """
import os, sys, anyio
from pathlib import Path
os.umask(int(sys.argv[2], 8))
from clawproto.credentials import Credentials, Identity, TokenPair
from clawproto.secret import Secret
from clawproto_io import SqliteStore

async def main():
    store = SqliteStore(sys.argv[1])
    await store.save(Credentials(Identity("u", "d", "b", "w"), TokenPair(Secret("a"), Secret("r")), 1), None)
    for entry in sorted(Path(sys.argv[1]).parent.iterdir()):
        print(entry.name, oct(entry.stat().st_mode & 0o777))
    assert await store.load() is not None

anyio.run(main)
"""


@pytest.mark.parametrize("umask", ["000", "022", "777"])
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_no_file_is_ever_open_to_others_whatever_the_umask(path: Path, umask: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", UMASK_SCRIPT, str(path), umask],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == ["claw.db", "0o600", "claw.db-shm", "0o600", "claw.db-wal", "0o600"]


async def test_an_existing_file_that_others_could_read_is_closed_to_them(path: Path) -> None:
    await fill(path)
    path.chmod(0o644)
    store = SqliteStore(path)
    assert await store.load() == record(1)
    assert set(modes(path.parent).values()) == {0o600}
    await store.aclose()


# --- rights that are missing ---------------------------------------------------------------------------------------

# Permissions do not bind root, so the child becomes somebody else first.
READ_ONLY_SCRIPT = """
import os, sys, anyio
from clawproto.credentials import Credentials, Identity, TokenPair
from clawproto.secret import Secret
from clawproto_io import SqliteStore, StoreError
import anyio._backends._asyncio, encodings.idna, urllib.parse  # not readable for somebody else, perhaps
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)

async def main():
    store = SqliteStore(sys.argv[1])
    try:
        if sys.argv[2] == "load":
            print("loaded", (await store.load()).generation)
        else:
            await store.save(Credentials(Identity("u", "d", "b", "w"), TokenPair(Secret("a"), Secret("r")), 2), 1)
            print("saved")
    except StoreError as error:
        print(error)

anyio.run(main)
"""


@pytest.fixture
def open_directory() -> Generator[Path]:
    """A directory that another user can reach, which pytest's own are not."""
    made = Path(tempfile.mkdtemp(prefix="clawproto-test-"))
    made.chmod(0o777)
    yield made
    made.chmod(0o700)
    shutil.rmtree(made)


def run_as_somebody_else(path: Path, operation: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", READ_ONLY_SCRIPT, str(path), operation],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("operation", ["load", "save"])
async def test_a_directory_without_the_right_to_write(open_directory: Path, operation: str) -> None:
    path = open_directory / "claw.db"
    await fill(path)
    if os.getuid() == 0:
        os.chown(path, 65534, 65534)
    open_directory.chmod(0o555)
    told = run_as_somebody_else(path, operation)
    assert told.startswith(f"{path}: ") and "writable for this user" in told, told


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_file_of_another_user(open_directory: Path) -> None:
    path = open_directory / "claw.db"
    await fill(path)
    path.chmod(0o400 if os.getuid() else 0o600)
    told = run_as_somebody_else(path, "save")
    assert told.startswith(f"{path}: ") and "writable for this user" in told, told


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_no_right_to_create_the_file(open_directory: Path) -> None:
    open_directory.chmod(0o555)
    told = run_as_somebody_else(open_directory / "claw.db", "save")
    assert told.startswith(f"{open_directory}/claw.db: Permission denied; check"), told
