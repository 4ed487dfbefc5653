"""What sessions do that have nothing to do: nothing. In virtual time, on connections in memory."""

import asyncio
import json
import selectors
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from math import ceil, inf
from typing import Any, Protocol

import httpx2
import pytest
import trio
import trio.testing

import clawproto_asyncio
import clawproto_trio
from clawproto.credentials import Credentials, Identity, TokenPair
from clawproto.effects import Close, Effect, Reconnect, SendFrame
from clawproto.engine import Outgoing, Queue
from clawproto.events import Event, Tick
from clawproto.instant import Instant
from clawproto.policy import HOUR_MS, Policy
from clawproto.secret import Secret
from clawproto_io.stores import MemoryStore

SESSIONS = 50
WALL = 1_790_000_000_000
SETTLING = 20.0  # seconds until nothing of the handshake is left
WHILE = 600.0
CREDENTIALS = Credentials(
    Identity("usr_1", "dev-1", "http://hub", "ws://hub/ws"), TokenPair(Secret("access"), Secret("refresh"), WALL), 1
)
CALM = Policy(ping_after_ms=HOUR_MS, wall_check_ms=HOUR_MS, ack_repeat_ms=HOUR_MS)


def envelope(event: str, payload: dict[str, Any], **fields: Any) -> bytes:
    return json.dumps({"version": "2", "event": event, "trace_id": "t", **fields, "payload": payload}).encode()


CHALLENGE = envelope("connect.challenge", {"nonce": "n"})


def answers(text: str) -> list[bytes]:
    """What a hub says to an uplink."""
    uplink = json.loads(text)
    match uplink["event"]:
        case "connect":
            granted = {"device_id": "dev-1", "ack_mode": "dseq", "ack_epoch": "e"}
            return [envelope("hello-ok", granted), envelope("replay.done", {}, dseq=1)]
        case "ping":
            return [envelope("pong", {}, trace_id=uplink["trace_id"])]
        case _:
            return []


class Count:
    """Observes all sessions of a test."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()

    def __call__(self, now: Instant, event: Event, effects: tuple[Effect, ...], state: object) -> None:
        self.events[type(event).__name__] += 1


class VirtualClock:
    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time

    def now(self) -> Instant:
        passed = round(self._time() * 1000)
        return Instant(WALL + passed, passed)

    def seconds(self, delay_ms: int) -> float:
        return max(0, delay_ms) / 1000


def settings(time: Callable[[], float], count: Count, policy: Policy, http: httpx2.AsyncClient) -> dict[str, Any]:
    return {"policy": policy, "observer": count, "clock": VirtualClock(time), "http": http, "proxy": None}


# --- asyncio -------------------------------------------------------------------------------------------------------


class Receiver(Protocol):
    def received(self, messages: list[bytes]) -> int: ...
    def closed(self, code: int, reason: str) -> None: ...


class CallbackConnection:
    """In place of `clawproto_asyncio._sockets.Connection`."""

    holds = False

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._receiver: Receiver | None = None

    def attach(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._loop.call_soon(receiver.received, [CHALLENGE])

    def write(self, outgoing: Queue[Outgoing]) -> None:
        assert self._receiver is not None
        while outgoing:
            match outgoing.popleft():
                case SendFrame(text=text):
                    if said := answers(text):
                        self._loop.call_soon(self._receiver.received, said)
                case Close() | Reconnect():
                    self._loop.call_soon(self._receiver.closed, 1000, "")


class JumpingSelector(selectors.DefaultSelector):
    """Sleeps in no time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.sleeps = 0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0 if timeout is not None else None)
        if timeout and not ready:
            self.now += ceil(timeout * 1000) / 1000
            self.sleeps += 1
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, selector: JumpingSelector) -> None:
        super().__init__(selector)
        self._jumping = selector

    def time(self) -> float:
        return self._jumping.now

    @property
    def timers(self) -> int:
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        return sum(not timer.cancelled() for timer in scheduled)


@pytest.fixture(autouse=True)
def in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    async def open_callbacks(*_: object) -> CallbackConnection:
        return CallbackConnection()

    async def open_tasks(*_: object) -> TaskConnection:
        return TaskConnection()

    monkeypatch.setattr("clawproto_asyncio._driver.open_websocket", open_callbacks)
    monkeypatch.setattr("clawproto_trio._driver.open_websocket", open_tasks)


def run_asyncio(policy: Policy, count: Count) -> tuple[int, int]:
    """How often the loop slept, and how many timers there were besides the test's, while all were idle."""
    selector = JumpingSelector()
    loop = VirtualLoop(selector)

    async def main() -> tuple[int, int]:
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(httpx2.AsyncClient())
            for _ in range(SESSIONS):
                store = MemoryStore(CREDENTIALS)
                made = clawproto_asyncio.connect(store, **settings(loop.time, count, policy, http))
                await (await stack.enter_async_context(made)).wait_ready()
            await asyncio.sleep(SETTLING)
            count.events.clear()
            before, timers = selector.sleeps, loop.timers
            await asyncio.sleep(WHILE)
            slept, seen = selector.sleeps - before, Counter(count.events)
        count.events = seen
        return slept, timers

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main())


def test_asyncio_sleeps_through_between_deadlines_with_one_timer_a_session() -> None:
    count = Count()
    slept, timers = run_asyncio(CALM, count)
    assert slept == 1  # the test's own
    assert not count.events
    assert timers == SESSIONS


@pytest.mark.rule("HB-6", "TOK-21")
def test_asyncio_wakes_for_deadlines_and_hardly_more_often() -> None:
    count = Count()
    slept, timers = run_asyncio(Policy(), count)
    assert timers == SESSIONS
    assert count.events["FrameReceived"] >= SESSIONS * WHILE / 30 * 0.9  # the pongs
    assert count.events[Tick.__name__] <= SESSIONS * (WHILE / 30 * 1.5 + WHILE / 60 + 2)
    # A timer that has become too early, since a pong came, is looked at once.
    assert slept <= 2 * count.events[Tick.__name__] + 1


# --- trio ----------------------------------------------------------------------------------------------------------


class TaskConnection:
    """In place of `clawproto_trio._sockets.Connection`."""

    is_closing = False
    closing = (1000, "")

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[list[bytes] | None](inf)
        self._send.send_nowait([CHALLENGE])

    async def receive(self) -> list[bytes] | None:
        return await self._receive.receive()

    def write(self, outgoing: Queue[Outgoing]) -> bool:
        while outgoing:
            match outgoing.popleft():
                case SendFrame(text=text):
                    if said := answers(text):
                        self._send.send_nowait(said)
                case Close() | Reconnect():
                    self._send.send_nowait(None)
        return False

    def close(self) -> None:
        self._send.send_nowait(None)


class Steps(trio.abc.Instrument):
    """How often any task runs."""

    def __init__(self) -> None:
        self.taken = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.taken += 1


def run_trio(policy: Policy, count: Count) -> int:
    """How often any task ran while all were idle, the test's own twice."""
    steps = Steps()

    async def main() -> int:
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(httpx2.AsyncClient())
            for _ in range(SESSIONS):
                store = MemoryStore(CREDENTIALS)
                made = clawproto_trio.connect(store, **settings(trio.current_time, count, policy, http))
                await (await stack.enter_async_context(made)).wait_ready()
            await trio.sleep(SETTLING)
            count.events.clear()
            before = steps.taken
            await trio.sleep(WHILE)
            taken, seen = steps.taken - before, Counter(count.events)
        count.events = seen
        return taken

    clock = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(main, clock=clock, instruments=[steps])


def test_trio_runs_no_task_between_deadlines() -> None:
    count = Count()
    assert run_trio(CALM, count) == 1  # the test's own
    assert not count.events


@pytest.mark.rule("HB-6", "TOK-21")
def test_trio_wakes_for_deadlines_and_hardly_more_often() -> None:
    count = Count()
    taken = run_trio(Policy(), count)
    assert count.events["FrameReceived"] >= SESSIONS * WHILE / 30 * 0.9
    assert count.events[Tick.__name__] <= SESSIONS * (WHILE / 30 * 1.5 + WHILE / 60 + 2)
    # The timer's task, twice a tick, and a third time where the deadline has moved; and the reader's.
    assert taken <= 3 * count.events[Tick.__name__] + 2 * count.events["FrameReceived"] + SESSIONS
