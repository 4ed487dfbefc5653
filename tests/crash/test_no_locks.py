"""A store on a file system that has no file locks: it cannot be used, says why, and nothing is spent."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from clawproto.hub import HubAgent
from clawproto_io import SqliteStore
from clawproto_io.hub_thread import HubThread
from tests.crash.matrix import STRICT
from tests.crash.witness import answered
from tests.integration.test_drivers_on_the_hub import record

FCNTL = {"x86_64": 72, "aarch64": 25}.get(platform.machine())  # its number among the system calls

# The kernel refuses to lock any file in this process, as a network file system without a lock service does.
CHILD = """
import ctypes, errno, sys

F_GETLK, F_SETLK, F_SETLKW = 5, 6, 7
RETURN, EQUAL, LOAD, ALLOW, ERROR = 0x06, 0x15, 0x20, 0x7FFF0000, 0x00050000

class Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_ushort), ("then", ctypes.c_ubyte), ("other", ctypes.c_ubyte), ("k", ctypes.c_uint32)]

class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("first", ctypes.POINTER(Instruction))]

code = (Instruction * 8)(
    (LOAD, 0, 0, 0), (EQUAL, 0, 4, int(sys.argv[3])),           # the call
    (LOAD, 0, 0, 24),                                           # its second argument
    (EQUAL, 3, 0, F_GETLK), (EQUAL, 2, 0, F_SETLK), (EQUAL, 1, 0, F_SETLKW),
    (RETURN, 0, 0, ALLOW), (RETURN, 0, 0, ERROR | errno.ENOLCK),
)
library = ctypes.CDLL(None, use_errno=True)
assert library.prctl(38, 1, 0, 0, 0) == 0, "no new privileges"
if library.prctl(22, 2, ctypes.byref(Program(len(code), code)), 0, 0):
    sys.exit(77)

from tests.integration.driver_adapters import ADAPTERS
from clawproto_io import SqliteStore, StoreError

(adapter,) = [one for one in ADAPTERS if one.name == sys.argv[1]]

async def main():
    try:
        async with adapter.connect(SqliteStore(sys.argv[2], busy_timeout_ms=100)):
            print("connected")
    except StoreError as error:
        print(error)

adapter.run(main)
"""


def save(hub: HubThread, agent: HubAgent, path: Path) -> None:
    async def work() -> None:
        store = SqliteStore(path)
        await store.save(record(hub, agent), None)
        await store.aclose()

    anyio.run(work)


@pytest.mark.integration
@pytest.mark.rule("REF-9")
@pytest.mark.skipif(sys.platform != "linux" or FCNTL is None, reason="needs seccomp of Linux")
@pytest.mark.parametrize("driver", ["asyncio", "trio"])
def test_a_file_system_without_locks_is_named(tmp_path: Path, driver: str) -> None:
    with HubThread(STRICT) as hub:
        agent, path = hub.create_agent(), tmp_path / "agent.db"
        save(hub, agent, path)
        root = Path(__file__).parents[2]
        done = subprocess.run(
            [sys.executable, "-c", CHILD, driver, str(path), str(FCNTL)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join((str(root), str(root / "drivers")))},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode == 77:
            pytest.skip("this kernel allows no seccomp filters")
        assert done.returncode == 0, done.stderr
        assert "is on a file system without file locks, which SQLite needs; put it on a local disk" in done.stdout
        assert answered(hub, agent.user_id) == 0
