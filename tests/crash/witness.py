"""What is known outside of the killed process: at the hub, at the receiver, and in the file that a kill left behind."""

import asyncio
import json
import shutil
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import anyio
from attrs import field, frozen

import clawproto_asyncio
from clawproto.app_events import MessageReceived
from clawproto.credentials import Credentials
from clawproto.hub import Hub, HubAgent
from clawproto.secret import Secret
from clawproto_io import SqliteStore
from clawproto_io.hub_thread import HubThread
from clawproto_io.stores import MemoryStore
from tests.integration.test_drivers_on_the_hub import record

_T = TypeVar("_T")


@frozen
class Fate:
    """What the hub knows of a refresh token.

    Attributes:
        state: ``live``: it can be redeemed; ``spent``: it was answered with a successor; ``revoked``.
        spent_ms: when, on the hub's wall clock.
    """

    state: str
    spent_ms: int


def fate(hub: HubThread, token: str) -> Fate:
    """The hub's record of a refresh token that it once minted."""

    def look(machine: Hub) -> Fate:
        found = machine._context.tokens._refresh[token]  # pyright: ignore[reportPrivateUsage]
        return Fate(found.state, found.spent_ms)

    return hub.call(look)


def rotations(hub: HubThread, before: str | None, after: str) -> int:
    """How many rotations led to a refresh token, since ``before`` or since the pairing that came after it."""

    def walk(machine: Hub) -> int:
        tokens = machine._context.tokens._refresh  # pyright: ignore[reportPrivateUsage]
        predecessors = {known.successor: token for token, known in tokens.items() if known.successor}
        token, count = after, 0
        while token != before and token in predecessors:
            token, count = predecessors[token], count + 1
        return count

    return hub.call(walk)


def refused_token(hub: HubThread, credentials: Credentials) -> str | None:
    """The refresh token that a record was left without by a logout."""

    def search(machine: Hub) -> str | None:
        tokens = machine._context.tokens._refresh  # pyright: ignore[reportPrivateUsage]
        named = (token for token, known in tokens.items() if Secret(known.access).digest == credentials.refused)
        return next(named, None)

    return hub.call(search)


def answered(hub: HubThread, user_id: str) -> int:
    """How many of a user's refreshes the hub has answered with a new pair."""
    return hub.call(lambda machine: machine._context.tokens.rotations[user_id])  # pyright: ignore[reportPrivateUsage]


def is_spent(hub: HubThread, code: str) -> bool:
    """Whether a pairing code has been redeemed."""
    return hub.call(lambda machine: machine._context.directory.codes[code].spent)  # pyright: ignore[reportPrivateUsage]


@frozen
class Found:
    """What a store holds.

    Attributes:
        waiting: texts that were committed and are not handled.
        kept: sends that are not decided, by message id: their texts.
        given_up: texts of sends that were decided without having been accepted.
    """

    credentials: Credentials | None = None
    waiting: tuple[str, ...] = ()
    kept: Mapping[str, str] = field(factory=dict[str, str])
    given_up: frozenset[str] = frozenset()

    @property
    def refresh(self) -> str | None:
        """The refresh token in it."""
        pair = None if self.credentials is None else self.credentials.tokens
        return None if pair is None or pair.refresh is None else pair.refresh.reveal()


def look(store: Path) -> Found:
    """What the file holds, found out in a copy: the next life is to find everything as the kill has left it."""

    async def read(path: Path) -> Found:
        opened = SqliteStore(path)
        try:
            credentials, backlog = await opened.load(), await opened.messages.backlog()
            sends = await opened.messages.sends(limit=20)
        finally:
            await opened.aclose()
        events = [filed.event for filed in backlog.arrivals]
        return Found(
            credentials,
            tuple(event.text for event in events if isinstance(event, MessageReceived)),
            {send.message_id: text_in(send.payload) for send in backlog.sends},
            frozenset(
                text_in(one.send.payload)
                for one in sends
                if one.decision is not None and one.decision.outcome != "accepted"
            ),
        )

    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("", "-wal"):
            file = store.with_name(store.name + suffix)
            if file.exists():
                shutil.copy(file, folder)
        return anyio.run(read, Path(folder) / store.name)


def text_in(payload: str) -> str:
    """The text of a message that is kept."""
    (fragment,) = json.loads(payload)["message"]["body"]["fragments"]
    return str(fragment["text"])


class Receiver:
    """A session of somebody else, who is never killed: what it was handed is what has arrived.

    Attributes:
        ids: the message ids under which a text has come, one entry for each time it was handed over.
        texts: in the order of their first arrival, by sender.
    """

    def __init__(self, hub: HubThread) -> None:
        self.agent: HubAgent = hub.create_agent(nick_name="receiver")
        self.ids: defaultdict[str, list[str]] = defaultdict(list)
        self.texts: defaultdict[str, list[str]] = defaultdict(list)
        self._store = MemoryStore(record(hub, self.agent))
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: clawproto_asyncio.Client | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="receiver", daemon=True)

    def __enter__(self) -> "Receiver":
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._loop is not None and self._client is not None
        asyncio.run_coroutine_threadsafe(self._client.aclose(), self._loop).result(30)
        self._thread.join(30)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with clawproto_asyncio.connect(self._store) as client:
            self._client = client
            await client.wait_ready()
            self._ready.set()
            async for event in client:
                if isinstance(event, MessageReceived) and event.sender is not None:
                    self.ids[event.text].append(event.message_id)
                    self.texts[event.sender.id].append(event.text)


def until(condition: Callable[[], _T], seconds: float) -> _T:
    """Wait until something is true, or the time is over; the last answer."""
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return found
