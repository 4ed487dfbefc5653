"""The asynchronous half of the asyncio driver: tasks around one `clawproto.engine.Engine`.

Rules: REF-48, REF-10, REF-32, CLOSE-12, HB-2, HB-8, AUTH-2::

    supervisor ──┬── timer           one; feeds Tick
                 ├── store           one; saves one after the other
                 ├── messages        one, if there is a message store; its commits never hold up a save
                 ├── HTTP            one task a request
                 └── socket          one a generation: opens, then reads; with a writer of its own

None of them belongs to a caller. They are guarded against the end of ``asyncio.run``, which is why there is no
TaskGroup here: its children are plain tasks, and would be cancelled in the middle of a rotation. A cancellation that
gets through all the same is taken for a wish to stop: each task reports what it was doing as failed.
"""

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import assert_never

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from clawproto.effects import Close, Open, Reconnect, SendFrame
from clawproto.engine import HttpJob, Link
from clawproto.errors import DriverFailed, RotationUnsaved, SessionTakenOver
from clawproto.events import Closed, HttpReport, Opened, OpenFailed, Start, Stop, StoreReport, Tick
from clawproto.keeper import CommitFailed, CommitReport, Keeper
from clawproto_asyncio._sockets import log as log, open_websocket
from clawproto_asyncio._tasks import GuardedTask
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
from clawproto_io.sockets import NO_CLOSE_FRAME, NORMAL_CLOSURE, closing_of, cut_reason, describe_failure
from clawproto_io.stores.base import MessageStore
from clawproto_io.throttle import turn_of

LONGEST_SLEEP_MS = 3_600_000  # the timer looks again at least this often (TOK-17)


class Driver:
    """Runs one session. Everything public is called from the loop's thread."""

    def __init__(self, parts: Parts, *, opens_sockets: bool = True) -> None:
        self.engine = parts.engine
        self.engine.on_step = self._after_step
        self.failure: BaseException | None = None
        self.taken_over = False
        self.arrived = asyncio.Event()  # something for whoever iterates
        self.changed = asyncio.Event()  # something for whoever waits to be ready
        self._parts = parts
        self._opens_sockets = opens_sockets
        self._loop = asyncio.get_running_loop()
        self._tasks: set[GuardedTask] = set()
        self._sockets: dict[int, _Socket] = {}
        self._store_work = asyncio.Event()
        self._message_work = asyncio.Event()
        self._rearm = asyncio.Event()
        self._armed_ms: int | None = None
        self._stopping = asyncio.Event()
        self._finished = asyncio.Event()
        self._supervisor: GuardedTask | None = None
        self._unsaved = False
        self._cut = False

    # --- life ---

    def start(self, start: Start) -> None:
        """Begin. Once."""
        _ = self._spawn(self._keep_time(), "timer")
        _ = self._spawn(self._run_store(), "store")
        if self._parts.messages is not None and self.engine.keeper is not None:
            _ = self._spawn(self._run_messages(self._parts.messages, self.engine.keeper), "messages")
        if self._parts.lease is not None:
            _ = self._spawn(self._keep_lease(self._parts.lease), "lease")
        self._supervisor = self._guard(self._supervise(), "supervisor")
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
        if self.failure is None and not self._is_done():
            log.warning("the session did not end within %.1f s and was cut off", self._parts.shutdown_timeout)
        if self.engine.holds_rotation:
            self._unsaved = True
            log.critical("the session ended before its new tokens were saved; the stored ones may be spent")
        self.engine.shut()
        self._wake()
        while self._tasks:
            for task in self._tasks:
                task.end()
            await asyncio.wait(self._tasks)
        try:
            await self._parts.aclose()
        except Exception:
            log.exception("closing the store or the HTTP client failed")

    async def _outlast(self, event: asyncio.Event) -> None:
        while not event.is_set():
            try:
                await event.wait()
            except asyncio.CancelledError:
                self.stop()

    def _guard(self, work: Coroutine[None, None, None], name: str) -> GuardedTask:
        return GuardedTask(work, loop=self._loop, name=f"clawproto {name}", on_refused=self.stop)

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> GuardedTask:
        task = self._guard(work, name)
        self._tasks.add(task)
        task.add_done_callback(lambda _: self._ended(task))
        return task

    def _ended(self, task: GuardedTask) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            if not task.is_ended:
                self.stop()
            return
        error = task.exception()
        if error is not None and self.failure is None:
            log.critical("%s failed", task.get_name(), exc_info=error)
            self.failure = error
            self.engine.shut()
            self._stopping.set()
            self._finished.set()
            self._wake()

    # --- after every step ---

    def _after_step(self) -> None:
        engine = self.engine
        while engine.openings:
            opening = engine.openings.popleft()
            link = engine.links.get(opening.generation)
            if link is not None and self._opens_sockets:
                socket = self._sockets[opening.generation] = _Socket(link)
                socket.task = self._spawn(self._run_socket(opening, socket), f"socket {opening.generation}")
                socket.task.add_done_callback(partial(self._socket_gone, opening.generation))
        while engine.aborts:
            dropped = self._sockets.get(engine.aborts.popleft())
            if dropped is not None and dropped.task is not None:
                dropped.task.end()
        while engine.http_jobs:
            job = engine.http_jobs.popleft()
            _ = self._spawn(self._run_http(job), f"request {job.request}")
        if engine.store_jobs:
            self._store_work.set()
        if engine.keeper is not None and engine.keeper.commits:
            self._message_work.set()
        for socket in self._sockets.values():
            if socket.link.outgoing:
                socket.work.set()
            if engine.may_read(socket.link.generation):
                socket.readable.set()
            else:
                socket.readable.clear()
        deadline = engine.next_deadline()
        if deadline is not None and (self._armed_ms is None or deadline < self._armed_ms):
            self._rearm.set()
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
        if self._is_done():
            self._finished.set()

    def _is_done(self) -> bool:
        return self.engine.is_finished and not self._sockets

    # --- tasks ---

    async def _keep_time(self) -> None:
        clock = self._parts.clock
        while True:
            deadline = self.engine.next_deadline()
            now = clock.now().mono_ms
            if deadline is not None and deadline <= now:
                self.engine.handle(Tick())
                await asyncio.sleep(0)
                continue
            self._armed_ms = deadline
            self._rearm.clear()
            delay = None if deadline is None else clock.seconds(min(deadline - now, LONGEST_SLEEP_MS))
            try:
                async with asyncio.timeout(delay):
                    await self._rearm.wait()
            except TimeoutError:
                pass
            except asyncio.CancelledError:
                if self._cut:
                    raise
                self.stop()

    async def _run_store(self) -> None:
        jobs = self.engine.store_jobs
        while True:
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
                    self._after_step()
            self._store_work.clear()
            try:
                await self._store_work.wait()
            except asyncio.CancelledError:
                if self._cut:
                    raise
                self.stop()

    async def _run_messages(self, store: MessageStore, keeper: Keeper) -> None:
        while True:
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
            self._message_work.clear()
            try:
                await self._message_work.wait()
            except asyncio.CancelledError:
                if self._cut:
                    raise
                self.stop()

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

    async def _run_socket(self, opening: Open, socket: "_Socket") -> None:
        generation = opening.generation
        try:
            async with turn_of(self._parts.socket_gate, self._parts.clock.seconds(opening.timeout_ms // 2)):
                websocket = await open_websocket(opening, self._parts.sockets, self._parts.clock)
        except Exception as error:
            self.engine.handle(OpenFailed(generation, describe_failure(error)))
            return
        except asyncio.CancelledError:
            if not socket.is_ended:
                self.engine.handle(OpenFailed(generation, "interrupted"))
            raise
        self.engine.handle(Opened(generation))
        writer = self._spawn(self._write(socket, websocket), f"writer {generation}")
        try:
            code, reason = await self._read(socket, websocket)
        except asyncio.CancelledError:
            if not socket.is_ended:
                self.engine.handle(Closed(generation, NO_CLOSE_FRAME))
            raise
        finally:
            writer.end()
            websocket.transport.abort()
        self.engine.handle(Closed(generation, code, reason))

    def _socket_gone(self, generation: int, _task: object) -> None:
        """Not at the end of its task: one that is dropped before it has begun never gets there."""
        del self._sockets[generation]
        self._check_finished()

    async def _read(self, socket: "_Socket", websocket: ClientConnection) -> tuple[int, str]:
        generation = socket.link.generation
        try:
            while True:
                if not socket.readable.is_set():
                    await socket.readable.wait()
                # As bytes, since the library would close the socket over a text that is no UTF-8 (ENV-12).
                self.engine.receive(generation, await websocket.recv(decode=False))
        except ConnectionClosed as error:
            return closing_of(error)

    async def _write(self, socket: "_Socket", websocket: ClientConnection) -> None:
        outgoing = socket.link.outgoing
        try:
            while True:
                while outgoing:
                    item = outgoing.popleft()
                    match item:
                        case SendFrame(text=text):
                            await websocket.send(text)
                        case Close(code=code, reason=reason):
                            await websocket.close(code, cut_reason(reason))
                        case Reconnect(reason=reason):
                            await websocket.close(NORMAL_CLOSURE, cut_reason(reason))
                        case _:
                            assert_never(item)
                socket.work.clear()
                await socket.work.wait()
        except ConnectionClosed:
            pass  # the reader reports it


class _Socket:
    """One generation, with what wakes its two tasks."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.task: GuardedTask | None = None
        self.work = asyncio.Event()
        self.readable = asyncio.Event()

    @property
    def is_ended(self) -> bool:
        """The driver itself has dropped it."""
        return self.task is not None and self.task.is_ended
