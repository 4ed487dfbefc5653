"""Commits of the message store on this machine's disk: ``python -m benchmarks.stores [DIRECTORY]``.

Each commit is synced. Printed are commits and messages per second for commits of 1, 16 and 256 messages of 500
characters, in a file with few and with many messages, and what a start with a backlog costs.
"""

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import anyio

from clawproto.app_events import MessageReceived
from clawproto.keeping import Arrival, Change, Handled
from clawproto.wire.values import MessagePayload, Peer, TextFragment
from clawproto_io import SqliteStore
from clawproto_io.stores.base import MessageStore

BATCHES = (1, 16, 256)
ROUNDS = 60
FILLED = 100_000
HEAD = """\
| messages | commits/s | messages/s | ms/commit | µs processor/message |
|---------:|----------:|-----------:|----------:|---------------------:|"""


def messages(start: int, count: int) -> list[Change]:
    """New messages of 500 characters."""
    sender = Peer("usr_01HZX3KQ", "direct", "Ann")
    return [
        Arrival(
            MessageReceived(
                event="message.send",
                chat_id=f"cnv_{number % 20}",
                chat_type="direct",
                sender=sender,
                message=MessagePayload(f"msg-{number:026}", "normal", (TextFragment("x" * 500),), ()),
                own=False,
                system=False,
                update=False,
                conversational=True,
                emitted_at_ms=1_700_000_000_000 + number,
            )
        )
        for number in range(start, start + count)
    ]


async def commits(store: MessageStore, start: int, batch: int) -> tuple[float, float, int]:
    """The medians of seconds a commit, by the clock and of processor time. Each has a batch of new messages and the
    handling of the batch before."""
    seconds: list[float] = []
    busy: list[float] = []
    handled: list[Change] = []
    for _ in range(ROUNDS):
        changes = [*handled, *messages(start, batch)]
        began, worked = time.perf_counter(), time.process_time()
        filed = await store.commit(changes)
        seconds.append(time.perf_counter() - began)
        busy.append(time.process_time() - worked)
        handled = [Handled(one.row) for one in filed]
        start += batch
    await store.commit(handled)
    return median(seconds), median(busy), start


async def table(store: SqliteStore, start: int) -> int:
    for batch in BATCHES:
        each, busy, start = await commits(store.messages, start, batch)
        cost = busy / batch * 1e6
        print(f"| {batch:>8} | {1 / each:>9,.0f} | {batch / each:>10,.0f} | {each * 1e3:>9.2f} | {cost:>20,.0f} |")
    return start


async def main(directory: Path) -> None:
    store = SqliteStore(directory / "benchmark.db")
    print(f"\n{HEAD}")
    start = await table(store, 0)
    while start < FILLED:
        await store.messages.commit(messages(start, 1_000))
        start += 1_000
    size = sum(path.stat().st_size for path in directory.iterdir())
    print(f"\nThe same in a file of {start:,} messages, {size / 2**20:,.0f} MiB, most of them waiting:\n")
    print(HEAD)
    await table(store, start)
    began = time.perf_counter()
    backlog = await store.messages.backlog()
    print(f"\nA start with a backlog of {len(backlog.arrivals):,}: {time.perf_counter() - began:.2f} s")
    began = time.perf_counter()
    for chat in range(20):
        await store.messages.messages(f"cnv_{chat}", limit=50)
    print(f"A page of 50 messages of a chat: {(time.perf_counter() - began) / 20 * 1e3:.2f} ms")
    await store.aclose()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as made:
        anyio.run(main, Path(made))
