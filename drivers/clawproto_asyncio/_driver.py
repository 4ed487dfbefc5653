"""The asynchronous half of the asyncio driver: tasks and callbacks around one `clawproto.engine.Engine`.

Rules: REF-48, REF-10, REF-32, CLOSE-12, HB-2, HB-8, AUTH-2::

    supervisor, a task ──┬── timer      a callback of the loop, one; feeds Tick
                         ├── store      a task while there is something to save; one save after the other
                         ├── messages   the same for the message store; its commits never hold up a save
                         ├── HTTP       one task a request
                         └── socket     one a generation: a task while it is being opened, callbacks from then on

A session with nothing to do holds one task, one timer and its socket. None of the tasks belongs to a caller. They are
guarded against the end of ``asyncio.run``, which is why there is no `asyncio.TaskGroup` here: its children are plain
tasks, and would be cancelled in the middle of a rotation. A cancellation that gets through all the same is taken for a
wish to stop: each task reports what it was doing as failed.
"""

import asyncio
from collections.abc import Sequence

from clawproto.effects import Open
from clawproto.engine import HttpJob, Link
from clawproto.errors import DriverFailed, RotationUnsaved, SessionTakenOver
from clawproto.events import Closed, Event, HttpReport, Opened, OpenFailed, Start, Stop, StoreReport, Tick
from clawproto.keeper import CommitFailed, CommitReport, Keeper
from clawproto_asyncio._signal import Signal
from clawproto_asyncio._sockets import Connection, log as log, open_websocket
from clawproto_asyncio._tasks import GuardedTask, TaskGroup, callback_context
from clawproto_io.jobs import (
    interrupted_commit,
    interrupted_request,
    interrupted_save,
    run_commit,
    run_http_job,
    run_store_job,
)
from clawproto_io.lease import Lease
from clawproto_io.setup import Parts
from clawproto_io.sockets import describe_failure
from clawproto_io.stores.base import MessageStore
from clawproto_io.throttle import turn_of

LONGEST_SLEEP_MS = 3_600_000  # the timer looks again at least this often (TOK-17)


class Driver:
    """Runs one session. Everything public is called from the loop's thread."""

    __slots__ = (
        "_armed_ms",
        "_context",
        "_cut",
        "_filing",
        "_finished",
        "_loop",
        "_opens_sockets",
        "_parted",
        "_parts",
        "_sockets",
        "_stopping",
        "_storing",
        "_supervisor",
        "_tasks",
        "_timer",
        "_unsaved",
        "arrived",
        "changed",
        "engine",
        "failure",
        "taken_over",
    )

    def __init__(self, parts: Parts, *, opens_sockets: bool = True) -> None:
        self.engine = parts.engine
        self.engine.on_step = self._after_step
        self.failure: BaseException | None = None
        self.taken_over = False
        self.arrived = Signal()  # something for whoever iterates
        self.changed = Signal()  # something for whoever waits to be ready
        self._parts = parts
        self._opens_sockets = opens_sockets
        self._loop = asyncio.get_running_loop()
        self._tasks = TaskGroup("clawproto", self.stop, self._fail)
        self._sockets: dict[int, _Socket] = {}
        self._storing = False
        self._filing = False
        self._context = callback_context()
        self._timer: asyncio.TimerHandle | None = None
        self._armed_ms: int | None = None
        self._stopping = Signal()
        self._finished = Signal()
        self._parted = Signal()  # a socket is gone
        self._supervisor: GuardedTask | None = None
        self._unsaved = False
        self._cut = False

    # --- life ---

    def start(self, start: Start) -> None:
        """Begin. Once."""
        if self._parts.lease is not None:
            _ = self._tasks.spawn(self._keep_lease(self._parts.lease), "lease")
        self._supervisor = self._tasks.guard(self._supervise(), "supervisor")
        self.engine.handle(start)

    def stop(self) -> None:
        """Ask for an orderly end; returns at once. Harmless when repeated."""
        if not self._stopping.is_set():
            self._stopping.set()
            if not self.engine.stopped:
                self.engine.handle(Stop())

    async def finished(self) -> None:
        """Wait until nothing is left running. Cancelling it ends the waiting only."""
        if self._supervisor is not None:
            await asyncio.wait({self._supervisor})

    async def finish(self) -> None:
        """Stop and wait for the end, also if cancelled meanwhile: ``shutdown_timeout`` bounds it already."""
        self.stop()
        cancelled: asyncio.CancelledError | None = None
        while self._supervisor is not None and not self._supervisor.done():
            try:
                await self.finished()
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    def raise_failure(self) -> None:
        """Raises DriverFailed or RotationUnsaved if there is a reason to."""
        if self.failure is not None:
            raise DriverFailed from self.failure
        if self._unsaved:
            raise RotationUnsaved("the session ended before its new tokens were saved")
        if self.taken_over:
            raise SessionTakenOver

    async def _keep_lease(self, lease: Lease) -> None:
        await lease.keep()
        self.taken_over = True
        self.stop()

    async def _supervise(self) -> None:
        await self._outlast(self._stopping)
        bound = self._loop.call_later(self._parts.shutdown_timeout, self._finished.set)
        await self._outlast(self._finished)
        bound.cancel()
        self._cut = True
        if self.failure is None and not (self.engine.is_finished and not self._sockets):
            log.warning("the session did not end within %.1f s and was cut off", self._parts.shutdown_timeout)
        if self.engine.holds_rotation:
            self._unsaved = True
            log.critical("the session ended before its new tokens were saved; the stored ones may be spent")
        self.engine.shut()
        if self._timer is not None:
            self._timer.cancel()
        self._wake()
        for socket in self._sockets.values():
            socket.drop()
        await self._tasks.end()
        while self._sockets:
            self._parted.clear()
            await self._parted.wait()
        try:
            await self._parts.aclose()
        except Exception:
            log.exception("closing the store or the HTTP client failed")

    async def _outlast(self, signal: Signal) -> None:
        while not signal.is_set():
            try:
                await signal.wait()
            except asyncio.CancelledError:
                self.stop()

    def _fail(self, name: str, error: BaseException) -> None:
        """Something has raised that must not: no more steps."""
        if self.failure is None:
            log.critical("%s failed", name, exc_info=error)
            self.failure = error
            self.engine.shut()
            self._stopping.set()
            self._finished.set()
            self._wake()

    # --- after every step ---

    def _after_step(self) -> None:
        engine = self.engine
        if engine.has_work or engine.stopped:
            engine.has_work = False
            self._carry_out()
        if engine.keeper is not None and engine.keeper.commits and not self._filing and not self._cut:
            assert self._parts.messages is not None
            self._filing = True
            _ = self._tasks.spawn(self._run_messages(self._parts.messages, engine.keeper), "messages")
        deadline = engine.next_deadline()
        if deadline is not None and (self._armed_ms is None or deadline < self._armed_ms):
            self._arm(deadline)
        if len(engine.mailbox):
            self.arrived.set()

    def _carry_out(self) -> None:
        engine, spawn = self.engine, self._tasks.spawn
        while engine.openings:
            opening = engine.openings.popleft()
            link = engine.links.get(opening.generation)
            if link is not None and self._opens_sockets and not self._cut:
                socket = self._sockets[opening.generation] = _Socket(self, link)
                socket.opening = spawn(self._open(opening, socket), f"socket {opening.generation}", callback_context())
                socket.opening.add_done_callback(socket.opened)
        while engine.aborts:
            dropped = self._sockets.get(engine.aborts.popleft())
            if dropped is not None:
                dropped.drop()
        while engine.http_jobs:
            job = engine.http_jobs.popleft()
            if not self._cut:
                _ = spawn(self._run_http(job), f"request {job.request}")
        if engine.store_jobs and not self._storing and not self._cut:
            self._storing = True
            _ = spawn(self._run_store(), "store")
        for socket in self._sockets.values():
            socket.look()
        self._wake()
        self._check_finished()

    def _wake(self) -> None:
        engine = self.engine
        if len(engine.mailbox) or engine.is_shut or engine.logout_was_told:
            self.arrived.set()
        if not self.changed.is_set() and (
            engine.session.is_ready or engine.stopped or engine.logged_out or engine.credentials_needed
        ):
            self.changed.set()

    def _check_finished(self) -> None:
        if self.engine.is_finished and not self._sockets:
            self._finished.set()

    # --- callbacks of the loop ---

    def _feed(self, event: Event, name: str) -> None:
        try:
            self.engine.handle(event)
        except Exception as error:
            self._fail(name, error)

    def _arm(self, deadline: int) -> None:
        """The timer is moved only to an earlier instant; a later deadline is noticed when it fires."""
        if self._cut:
            return
        if self._timer is not None:
            self._timer.cancel()
        clock = self._parts.clock
        delay = min(deadline - clock.now().mono_ms, LONGEST_SLEEP_MS)
        self._armed_ms = deadline
        self._timer = self._loop.call_later(clock.seconds(delay), self._fire, context=self._context)

    def _fire(self) -> None:
        self._timer = self._armed_ms = None
        deadline = self.engine.next_deadline()
        if deadline is not None and deadline <= self._parts.clock.now().mono_ms:
            self._feed(Tick(), "timer")  # which arms it again
        elif deadline is not None:
            self._arm(deadline)

    def socket_received(self, generation: int, messages: Sequence[bytes]) -> int:
        """For `_Socket`."""
        try:
            return self.engine.receive_all(generation, messages)
        except Exception as error:
            self._fail(f"socket {generation}", error)
            return len(messages)

    def socket_gone(self, generation: int, closing: tuple[int, str] | None) -> None:
        """For `_Socket`: it was closed, or dropped, or has never been opened."""
        del self._sockets[generation]
        if closing is not None and not self._cut:
            self._feed(Closed(generation, *closing), f"socket {generation}")
        self._parted.set()
        self._check_finished()

    # --- tasks ---

    async def _run_store(self) -> None:
        jobs = self.engine.store_jobs
        while jobs:
            # It stays in the queue while it is under way, so that the end waits for it.
            job = jobs[0]
            report: StoreReport | None
            try:
                report = await run_store_job(self._parts.store, job, log)
            except asyncio.CancelledError:
                if self._cut:
                    raise
                self.stop()
                report = interrupted_save(job)
            jobs.popleft()
            if report is not None:
                self.engine.handle(report)
            else:
                self._check_finished()
        self._storing = False

    async def _run_messages(self, store: MessageStore, keeper: Keeper) -> None:
        while keeper.commits:
            commit = keeper.commits[0]
            report: CommitReport
            try:
                report = await run_commit(store, commit)
            except asyncio.CancelledError:
                if self._cut:
                    raise
                self.stop()
                report = interrupted_commit(commit)
            if isinstance(report, CommitFailed) and report.lost:
                self.taken_over = True
                self.stop()
            self.engine.commit_report(report)
        self._filing = False

    async def _run_http(self, job: HttpJob) -> None:
        report: HttpReport
        try:
            report = await run_http_job(self._parts.runner, job, self._parts.refresh_gate)
        except asyncio.CancelledError:
            if self._cut:
                raise
            self.stop()
            report = interrupted_request(job)
        self.engine.handle(report)

    async def _open(self, opening: Open, socket: "_Socket") -> None:
        generation = opening.generation
        try:
            async with turn_of(self._parts.socket_gate, self._parts.clock.seconds(opening.timeout_ms // 2)):
                connection = await open_websocket(opening, self._parts.sockets, self._parts.clock)
        except Exception as error:
            self.engine.handle(OpenFailed(generation, describe_failure(error)))
            return
        except asyncio.CancelledError:
            if not socket.is_dropped:
                self.engine.handle(OpenFailed(generation, "interrupted"))
            raise
        socket.connection = connection
        connection.attach(socket)
        self.engine.handle(Opened(generation))


class _Socket:
    """One generation: being opened, or open."""

    __slots__ = ("connection", "driver", "is_dropped", "link", "opening")

    def __init__(self, driver: Driver, link: Link) -> None:
        self.driver = driver
        self.link = link
        self.opening: GuardedTask | None = None
        self.connection: Connection | None = None
        self.is_dropped = False

    def look(self) -> None:
        """There may be something to write, and the inbox may have become full, or have room again."""
        connection = self.connection
        if connection is not None:
            if self.link.outgoing:
                connection.write(self.link.outgoing)
            if connection.holds and self.driver.engine.may_read(self.link.generation):
                connection.resume()

    def drop(self) -> None:
        """Break it off. Nothing of it is reported any more."""
        if not self.is_dropped:
            self.is_dropped = True
            if self.connection is not None:
                self.connection.drop()
            elif self.opening is not None:
                self.opening.end()

    def opened(self, _task: object) -> None:
        """The opening task is over. Not at its own end: one that is dropped before it has begun never gets there."""
        self.opening = None
        if self.connection is None:
            self.driver.socket_gone(self.link.generation, None)

    # --- as the receiver ---

    def received(self, messages: Sequence[bytes]) -> int:
        """See `Receiver`."""
        return self.driver.socket_received(self.link.generation, messages)

    def writable(self) -> None:
        """See `Receiver`."""
        if self.connection is not None and self.link.outgoing:
            self.connection.write(self.link.outgoing)

    def closed(self, code: int, reason: str) -> None:
        """See `Receiver`."""
        self.driver.socket_gone(self.link.generation, None if self.is_dropped else (code, reason))
