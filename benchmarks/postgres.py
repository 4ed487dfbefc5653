"""What a PostgreSQL store costs: ``python -m benchmarks.postgres [ADDRESS]``; without one, on a server of its own.

Each commit is synced. Printed are the medians of single operations, commits of 1, 16 and 256 messages as in
`benchmarks.stores`, and how many commits per second 200 accounts share over 4 connections.
"""

import sys
import time
from collections.abc import Awaitable, Callable
from statistics import median

import anyio

from benchmarks.stores import BATCHES, HEAD, commits, messages
from clawproto.credentials import Credentials, Identity, TokenPair
from clawproto.secret import Secret
from clawproto_io.stores.postgres import PostgresAccounts, PostgresStore
from tests.postgres_server import PostgresServer

ROUNDS = 100
ACCOUNTS = 200


def record(generation: int) -> Credentials:
    identity = Identity("usr_1", "device", "https://hub.example", "wss://hub.example/ws")
    return Credentials(identity, TokenPair(Secret("a" * 400), Secret(f"r{generation}" * 40)), generation)


async def each(name: str, operation: Callable[[int], Awaitable[object]]) -> None:
    """Print the median of some rounds."""
    seconds: list[float] = []
    for number in range(ROUNDS):
        began = time.perf_counter()
        await operation(number)
        seconds.append(time.perf_counter() - began)
    print(f"{name}: {median(seconds) * 1e3:.2f} ms")


async def main(address: str) -> None:
    store = PostgresStore(address, f"benchmark-{time.time_ns()}")
    await store.save(record(1), None)
    await each("load", lambda _: store.load())
    await each("save", lambda number: store.save(record(number + 2), number + 1))
    print(f"\n{HEAD}")
    start = 0
    for batch in BATCHES:
        seconds, busy, start = await commits(store.messages, start, batch)
        rates = f"{1 / seconds:>9,.0f} | {batch / seconds:>10,.0f}"
        print(f"| {batch:>8} | {rates} | {seconds * 1e3:>9.2f} | {busy / batch * 1e6:>20,.0f} |")
    await store.aclose()
    accounts = PostgresAccounts(address)

    async def work(name: str) -> None:
        part = accounts.account(name).messages
        for number in range(5):
            await part.commit(messages(number, 1))

    began = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for number in range(ACCOUNTS):
            tasks.start_soon(work, f"benchmark-{time.time_ns()}-{number}")
    print(f"\n{ACCOUNTS} accounts over 4 connections: {ACCOUNTS * 5 / (time.perf_counter() - began):,.0f} commits/s")
    await accounts.aclose()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        anyio.run(main, sys.argv[1])
    else:
        server = PostgresServer()
        try:
            anyio.run(main, server.create_database())
        finally:
            server.close()
