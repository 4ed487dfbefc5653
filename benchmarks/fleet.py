"""``python -m benchmarks.fleet asyncio|trio ACCOUNTS``: what a member of a fleet costs.

The hub is a process of its own, the accounts are in an SQLite file, the fleet runs here. Prints the time until all are
connected at the default rate, the resident memory per account, and the share of one processor, first while nothing
happens (heartbeats, signs of life and looks at the store only), then with ten messages a second.
"""

import asyncio
import gc
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import trio

import clawproto_asyncio
import clawproto_trio
from clawproto.credentials import Credentials, Identity, TokenPair
from clawproto.secret import Secret
from clawproto_cli.fleet.handlers import echo
from clawproto_io import SqliteAccounts

SECONDS = 20.0
MESSAGES_PER_SECOND = 10


async def _store(path: Path, hub: dict[str, Any]) -> None:
    accounts = SqliteAccounts(path)
    for number, agent in enumerate(hub["agents"]):
        identity = Identity(agent["user_id"], agent["device_id"], hub["base_url"], hub["ws_url"])
        tokens = TokenPair(Secret(agent["access_token"]), Secret(agent["refresh_token"]), time.time_ns() // 1_000_000)
        await accounts.account(f"agent-{number}").save(Credentials(identity, tokens, 1), None)
    await accounts.aclose()


def _post(hub: dict[str, Any], number: int) -> None:
    agent = hub["agents"][number % len(hub["agents"])]
    form = {"chat_id": agent["conversation_id"], "sender_id": agent["owner_id"], "text": f"question {number}"}
    request = urllib.request.Request(
        f"{hub['control_url']}/post", json.dumps(form).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10):
        pass


async def _share(seconds: float) -> float:
    """Of one processor, in percent, while so many seconds pass."""
    before, began = time.process_time(), time.monotonic()
    await anyio.sleep(seconds)
    return (time.process_time() - before) / (time.monotonic() - began) * 100


async def _measure(driver: Any, path: Path, hub: dict[str, Any]) -> None:
    psutil: Any = import_module("psutil")  # it brings no types
    process, count = psutil.Process(), len(hub["agents"])
    await _store(path, hub)
    gc.collect()
    before, began = process.memory_info().rss, time.monotonic()
    async with driver.fleet(path, echo) as fleet:
        while fleet.totals.ready < count:  # noqa: ASYNC110  # another measure would need its own event
            await anyio.sleep(0.05)
        print(f"connected after        {time.monotonic() - began:8.1f} s")
        await anyio.sleep(2)
        gc.collect()
        print(f"memory per account     {(process.memory_info().rss - before) / count / 1024:8.0f} KiB")
        print(f"memory of the process  {process.memory_info().rss / 1024 / 1024:8.0f} MiB")
        print(f"processor, idle        {await _share(SECONDS):8.1f} %")
        async with anyio.create_task_group() as tasks:

            async def post() -> None:
                for number in range(round(SECONDS * MESSAGES_PER_SECOND) * 2):
                    await anyio.to_thread.run_sync(_post, hub, number)
                    await anyio.sleep(1 / MESSAGES_PER_SECOND)

            tasks.start_soon(post)
            print(f"processor, messages    {await _share(SECONDS):8.1f} %  with {fleet.totals.sent} answered")
            tasks.cancel_scope.cancel()


def main() -> None:
    """Start a hub, measure, end it."""
    loop, count = sys.argv[1], int(sys.argv[2])
    arguments = ["hub", "--port", "0", "--json", "--agents", str(count)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen([sys.executable, "-m", "clawproto_cli", *arguments], stdout=subprocess.PIPE) as process,
    ):
        assert process.stdout is not None
        hub = json.loads(process.stdout.readline())
        path = Path(folder) / "agents.db"
        if loop == "asyncio":
            asyncio.run(_measure(clawproto_asyncio, path, hub))
        else:
            trio.run(_measure, clawproto_trio, path, hub)
        process.terminate()


if __name__ == "__main__":
    main()
