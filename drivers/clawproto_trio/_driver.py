"""The asynchronous half of the trio driver: tasks around one `clawproto.engine.Engine`.

Rules: REF-48, REF-10, REF-32, CLOSE-12, HB-2, HB-8, AUTH-2::

    the block's nursery ── run ── a shielded nursery ──┬── (itself)  waits for the end, and feeds Tick meanwhile
                                                       ├── socket    one a generation: opens, then reads
                                                       ├── writer    while the network takes less than is written
                                                       ├── store     while there is something to save; one save after
                                                       │             the other
                                                       ├── messages  the same for the message store; its commits never
                                                       │             hold up a save
                                                       └── HTTP      one task a request

A session with nothing to do holds two tasks, ``run`` with the one timer and a socket. They hang in the tree of the
caller's block, so that nothing outlives it; the shield is there because a cancellation must not tear a rotation apart.
It lasts until the session is finished, or for ``shutdown_timeout`` after the stop.
"""

from math import inf

import trio

from clawproto.effects import Open
from clawproto.engine import HttpJob, Link
from clawproto.errors import DriverFailed, RotationUnsaved, SessionTakenOver
from clawproto.events import Closed, Opened, OpenFailed, Start, Stop, Tick
from clawproto.keeper import CommitFailed, Keeper
from clawproto_io.jobs import run_commit, run_http_job, run_store_job
from clawproto_io.lease import Lease
from clawproto_io.setup import Parts
from clawproto_io.sockets import describe_failure
from clawproto_io.stores.base import MessageStore
from clawproto_io.throttle import turn_of
from clawproto_trio._signal import Signal
from clawproto_trio._sockets import Connection, log as log, open_websocket

SLICE = 64  # messages taken in before others get their turn
LONGEST_SLEEP_MS = 3_600_000  # the timer looks again at least this often (TOK-17)

_protected = trio.lowlevel.enable_ki_protection  # Ctrl-C is for the application's code


class Driver:
    """Runs one session. Everything public is called from the trio thread."""

    __slots__ = (
        "_armed_ms",
        "_filing",
        "_finished",
        "_gone",
        "_nursery",
        "_opens_sockets",
        "_parts",
        "_sockets",
        "_stopping",
        "_storing",
        "_turn",
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
        self._nursery: trio.Nursery | None = None
        self._sockets: dict[int, _Socket] = {}
        self._storing = False
        self._filing = False
        self._turn = Signal()  # an earlier deadline, a stop, the end: something for `_supervise`
        self._armed_ms: int | None = None
        self._stopping = False
        self._finished = False
        self._gone = Signal()
        self._unsaved = False

    # --- life ---

    def start(self, start: Start) -> None:
        """Begin. Once. What is to be done waits until `run` has begun."""
        self.engine.handle(start)

    def stop(self) -> None:
        """Ask for an orderly end; returns at once. Harmless when repeated."""
        if not self._stopping:
            self._stopping = True
            self._turn.set()
            if not self.engine.stopped:
                self.engine.handle(Stop())

    async def finished(self) -> None:
        """Wait until nothing is left running. Cancelling it ends the waiting only."""
        await self._gone.wait()

    def raise_failure(self) -> None:
        """Raises DriverFailed or RotationUnsaved if there is a reason to."""
        if self.failure is not None:
            raise DriverFailed from self.failure
        if self._unsaved:
            raise RotationUnsaved("the session ended before its new tokens were saved")
        if self.taken_over:
            raise SessionTakenOver

    @_protected
    async def run(self) -> None:
        """Do everything, until stopped and finished. Never raises: a failure is kept for `raise_failure`."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.cancel_scope.shield = True
                self._nursery = nursery
                if self._parts.lease is not None:
                    nursery.start_soon(self._keep_lease, self._parts.lease)
                self._after_step()
                await self._supervise()
                nursery.cancel_scope.cancel()
        except Exception as error:
            self.failure = error
            log.critical("the driver failed", exc_info=error)
        finally:
            self.engine.shut()
            self._wake()
        with trio.CancelScope(shield=True):
            try:
                await self._parts.aclose()
            except Exception:
                log.exception("closing the store or the HTTP client failed")
        self._gone.set()

    async def _keep_lease(self, lease: Lease) -> None:
        await lease.keep()
        self.taken_over = True
        self.stop()

    async def _supervise(self) -> None:
        bound = inf
        while not self._finished:
            if self._stopping and bound == inf:
                bound = trio.current_time() + self._parts.shutdown_timeout
            if trio.current_time() >= bound:
                log.warning("the session did not end within %.1f s and was cut off", self._parts.shutdown_timeout)
                break
            self._turn.clear()
            delay = self._arm()
            if delay <= 0:
                self.engine.handle(Tick())
                await trio.lowlevel.checkpoint()
            elif not self._finished:
                with trio.move_on_at(min(bound, trio.current_time() + delay)):
                    await self._turn.wait()
        if self.engine.holds_rotation:
            self._unsaved = True
            log.critical("the session ended before its new tokens were saved; the stored ones may be spent")
        self.engine.shut()

    def _arm(self) -> float:
        """Seconds until something is due. A later deadline than this one is noticed when they have passed."""
        clock = self._parts.clock
        self._armed_ms = deadline = self.engine.next_deadline()
        if deadline is None:
            return inf
        left = deadline - clock.now().mono_ms
        return clock.seconds(min(left, LONGEST_SLEEP_MS)) if left > 0 else 0

    # --- after every step ---

    def _after_step(self) -> None:
        engine, nursery = self.engine, self._nursery
        if nursery is None:
            return
        if engine.has_work or engine.stopped:
            engine.has_work = False
            self._carry_out(nursery)
        if engine.keeper is not None and engine.keeper.commits and not self._filing:
            assert self._parts.messages is not None
            self._filing = True
            nursery.start_soon(self._run_messages, self._parts.messages, engine.keeper)
        deadline = engine.next_deadline()
        if deadline is not None and (self._armed_ms is None or deadline < self._armed_ms):
            self._armed_ms = deadline
            self._turn.set()
        if len(engine.mailbox):
            self.arrived.set()

    def _carry_out(self, nursery: trio.Nursery) -> None:
        engine = self.engine
        while engine.openings:
            opening = engine.openings.popleft()
            link = engine.links.get(opening.generation)
            if link is not None and self._opens_sockets:
                socket = self._sockets[opening.generation] = _Socket(link)
                nursery.start_soon(self._run_socket, opening, socket, nursery)
        while engine.aborts:
            dropped = self._sockets.get(engine.aborts.popleft())
            if dropped is not None:
                dropped.drop()
        while engine.http_jobs:
            nursery.start_soon(self._run_http, engine.http_jobs.popleft())
        if engine.store_jobs and not self._storing:
            self._storing = True
            nursery.start_soon(self._run_store)
        for socket in self._sockets.values():
            if socket.link.outgoing:
                self._write(socket)
            socket.takes = engine.may_read(socket.link.generation)
            if socket.takes:
                socket.readable.set()
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
        if not self._finished and self.engine.is_finished and not self._sockets:
            self._finished = True
            self._turn.set()

    # --- tasks ---

    @_protected
    async def _run_store(self) -> None:
        jobs = self.engine.store_jobs
        while jobs:
            # It stays in the queue while it is under way, so that the end waits for it.
            report = await run_store_job(self._parts.store, jobs[0], log)
            jobs.popleft()
            if report is not None:
                self.engine.handle(report)
            else:
                self._check_finished()
        self._storing = False

    @_protected
    async def _run_messages(self, store: MessageStore, keeper: Keeper) -> None:
        while keeper.commits:
            report = await run_commit(store, keeper.commits[0])
            if isinstance(report, CommitFailed) and report.lost:
                self.taken_over = True
                self.stop()
            self.engine.commit_report(report)
        self._filing = False

    @_protected
    async def _run_http(self, job: HttpJob) -> None:
        self.engine.handle(await run_http_job(self._parts.runner, job, self._parts.refresh_gate))

    @_protected
    async def _run_socket(self, opening: Open, socket: "_Socket", nursery: trio.Nursery) -> None:
        generation, connection = opening.generation, await self._open(opening, socket, nursery)
        if connection is not None:
            try:
                self.engine.handle(Opened(generation))
                while (messages := await connection.receive()) is not None:
                    self._write(socket)
                    while messages:
                        taken = self.engine.receive_all(generation, messages[:SLICE])
                        messages = messages[taken:]
                        if not socket.takes:
                            await self._readable(socket)
                        elif messages:
                            await trio.lowlevel.checkpoint()
            finally:
                connection.close()
        del self._sockets[generation]
        if connection is not None:
            self.engine.handle(Closed(generation, *connection.closing))
        self._check_finished()

    async def _open(self, opening: Open, socket: "_Socket", nursery: trio.Nursery) -> Connection | None:
        assert socket.opening is not None
        with socket.opening:
            try:
                async with turn_of(self._parts.socket_gate, self._parts.clock.seconds(opening.timeout_ms // 2)):
                    socket.connection = await open_websocket(opening, self._parts.sockets, self._parts.clock, nursery)
            except Exception as error:
                self.engine.handle(OpenFailed(opening.generation, describe_failure(error)))
        if socket.connection is not None and socket.opening.cancel_called:
            socket.drop()  # when it was just open
        socket.opening = None
        return socket.connection

    async def _readable(self, socket: "_Socket") -> None:
        while not socket.takes and not socket.is_dropped:
            socket.readable.clear()
            await socket.readable.wait()

    def _write(self, socket: "_Socket") -> None:
        connection, nursery = socket.connection, self._nursery
        if connection is None or nursery is None:
            return
        if connection.write(socket.link.outgoing) and not socket.writing:
            socket.writing = True
            nursery.start_soon(self._drain, socket, connection)
        if connection.is_closing and not socket.is_ending:
            socket.is_ending = True
            nursery.start_soon(self._limit_closing, connection)

    async def _limit_closing(self, connection: Connection) -> None:
        """The peer has its time to end the connection; then it is dropped (CLOSE-12)."""
        await trio.sleep(self._parts.sockets.close_timeout)
        connection.close()

    @_protected
    async def _drain(self, socket: "_Socket", connection: Connection) -> None:
        while connection.write(socket.link.outgoing):
            await connection.drain()
        socket.writing = False


class _Socket:
    """One generation: being opened, or open."""

    __slots__ = ("connection", "is_dropped", "is_ending", "link", "opening", "readable", "takes", "writing")

    def __init__(self, link: Link) -> None:
        self.link = link
        self.opening: trio.CancelScope | None = trio.CancelScope()
        self.connection: Connection | None = None
        self.readable = Signal()
        self.takes = True
        self.writing = False
        self.is_ending = False
        self.is_dropped = False

    def drop(self) -> None:
        """Break it off."""
        self.is_dropped = True
        if self.connection is not None:
            self.connection.close()
            self.readable.set()
        elif self.opening is not None:
            self.opening.cancel()
