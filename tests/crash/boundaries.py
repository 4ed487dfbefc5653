"""The places at which a driver can die: before, during and after each effect that it carries out.

Lives in the child. What the driver itself calls is wrapped, so that a boundary lies where the work is done and not
where it was asked for::

    step --> effect queued --> [before] driver carries it out [after] --> report --> step
                                 '---- [during]: some moment after the start

Effects that are carried out on the spot (Emit, Resolve, Swap, Abort) have a boundary on either side as well.
"""

import json
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Literal, TypeAlias, get_args

from attrs import frozen

from clawproto import app_events
from clawproto.app_events import AppEvent
from clawproto.effects import Abort, Effect, Emit, RequestHttp, Resolve, SendFrame, Swap
from clawproto.engine import Engine, Outgoing
from clawproto.keeper import Commit
from clawproto.keeping import Arrival, KeptSend, SendDecision
from clawproto.results import Result

Phase: TypeAlias = Literal["before", "during", "after"]
PHASES: tuple[Phase, ...] = get_args(Phase)
AT_ONCE = ("Emit", "Resolve", "Swap", "Abort", "application")
"""Kinds that take no time, so that there is no "during"."""
DURING_SECONDS = {"RequestRefresh": 0.06}  # the hub is slow then; everything else is over in milliseconds
SHORT_SECONDS = 0.004


@frozen
class Target:
    """Where to die: at the ``number``-th time that ``kind`` is carried out."""

    kind: str
    phase: Phase
    number: int


def kind_of(effect: Effect) -> str:
    """The row of the matrix that an effect belongs to."""
    name = type(effect).__name__
    match effect:
        case RequestHttp(purpose=purpose):
            return f"{name} {purpose}"
        case Emit(event=app_events.MessageReceived() | app_events.LoggedOut() | app_events.TokensRotated() as event):
            return f"{name} {type(event).__name__}"
        case _:
            return name


def commit_kind(commit: Commit) -> str:
    """The same for a commit of messages, by the most important change in it. Those of sends carry out a ``Keep``."""
    changes = {type(change) for change in commit.changes}
    for change, kind in ((KeptSend, "Keep send"), (Arrival, "arrivals"), (SendDecision, "Keep decision")):
        if change in changes:
            return kind
    return "handled"


def frame_kind(text: str) -> str:
    """The same for a frame on its way to the socket."""
    event = json.loads(text)["event"]
    return f"SendFrame {'ack' if event in ('message.sync_ack', 'message.cursor_ack') else event}"


class Boundaries:
    """Counts the boundaries that are passed, and kills the process at the one that was chosen."""

    def __init__(self, target: Target | None) -> None:
        self.counts: Counter[str] = Counter()
        self._target = target
        self.is_pairing = False

    def die(self) -> None:
        """The end, without any warning to anybody."""
        os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def around(self, kind: str) -> Generator[None]:
        """Something of this kind is carried out within the block. If it raises, it has no after."""
        if self.is_pairing and kind == "Persist":
            kind = "Persist pairing"
        self.counts[kind] += 1
        target = self._target
        mine = target is not None and (target.kind, target.number) == (kind, self.counts[kind])
        if mine and target is not None and target.phase == "before":
            self.die()
        if mine and target is not None and target.phase == "during":
            delay = DURING_SECONDS.get(kind) or random.uniform(0, SHORT_SECONDS)
            threading.Timer(delay, self.die).start()
        yield
        if mine and target is not None and target.phase == "after":
            self.die()

    # --- where they are ---

    def install(self, driver: ModuleType) -> None:
        """Wrap what the driver calls. Only for a process that ends with its session."""
        self._wrap_effects()
        self._wrap_jobs(driver)
        self._wrap_sockets(driver)

    def _wrap_effects(self) -> None:
        sort, emit = Engine._sort, Engine._emit  # pyright: ignore[reportPrivateUsage]
        resolve = Engine._resolve  # pyright: ignore[reportPrivateUsage]

        def resolved(engine: Engine, command: int, result: Result) -> None:
            with self.around(kind_of(Resolve(command, result))):
                resolve(engine, command, result)

        def sorted_in(engine: Engine, effect: Effect) -> None:
            if isinstance(effect, Swap | Abort):
                with self.around(kind_of(effect)):
                    sort(engine, effect)
            else:
                sort(engine, effect)

        def emitted(engine: Engine, event: AppEvent, delivery: int | None, size: int) -> None:
            with self.around(kind_of(Emit(event, delivery))):
                emit(engine, event, delivery, size)

        Engine._sort = sorted_in  # type: ignore[assignment]  # pyright: ignore[reportPrivateUsage]
        Engine._resolve = resolved  # type: ignore[method-assign,assignment]  # pyright: ignore[reportPrivateUsage]
        Engine._emit = emitted  # type: ignore[assignment]  # pyright: ignore[reportPrivateUsage]

    def _wrap_jobs(self, driver: ModuleType) -> None:
        for name in ("run_store_job", "run_http_job"):
            setattr(driver, name, self._job(getattr(driver, name), kind_of))
        driver.run_commit = self._job(driver.run_commit, commit_kind)  # type: ignore[attr-defined]

    def _job(self, run: Callable[..., Awaitable[Any]], kind: Callable[[Any], str]) -> Callable[..., Awaitable[Any]]:
        async def wrapped(place: object, job: Any, *others: Any) -> Any:
            with self.around(kind(job)):
                return await run(place, job, *others)

        return wrapped

    def _wrap_sockets(self, driver: ModuleType) -> None:
        opening = driver.open_websocket

        async def opened(*arguments: Any) -> Any:
            with self.around("Open"):
                return await opening(*arguments)

        driver.open_websocket = opened  # type: ignore[attr-defined]
        connection = driver.Connection
        carry_out = connection._carry_out

        def carried_out(socket: Any, item: Outgoing) -> None:
            with self.around(frame_kind(item.text) if isinstance(item, SendFrame) else kind_of(item)):
                carry_out(socket, item)

        connection._carry_out = carried_out
