"""The asynchronous half of the trio driver: tasks around one `clawproto.engine.Engine`.

Rules: REF-48, REF-10, REF-32, CLOSE-12, HB-2, HB-8, AUTH-2::

    the block's nursery ── run ── a shielded nursery ──┬── timer     one; feeds Tick
                                                       ├── store     one; saves one after the other
                                                       ├── messages  one, if there is a message store; its commits
                                                       │             never hold up a save
                                                       ├── HTTP      one task a request
                                                       └── socket    one a generation: opens, then reads; its writer
                                                                     and the library's task live in nurseries of its own

The tasks hang in the tree of the caller's block, so that nothing outlives it; the shield is there because a
cancellation must not tear a rotation apart. It lasts until the session is finished, or for ``shutdown_timeout`` after
the stop.
"""

from contextlib import AsyncExitStack
from math import inf
from typing import assert_never

import trio
from websockets.exceptions import ConnectionClosed
from websockets.trio.client import ClientConnection, connect as websocket_connect

from clawproto.effects import Close, Open, Reconnect, SendFrame
from clawproto.engine import HttpJob, Link
from clawproto.errors import DriverFailed, RotationUnsaved, SessionTakenOver
from clawproto.events import Closed, Opened, OpenFailed, Start, Stop, Tick
from clawproto.keeper import CommitFailed, Keeper
from clawproto_io.clock import Clock
from clawproto_io.jobs import run_commit, run_http_job, run_store_job
from clawproto_io.lease import Lease
from clawproto_io.logs import logger
from clawproto_io.setup import Parts, SocketOptions
from clawproto_io.sockets import NO_CLOSE_FRAME, NORMAL_CLOSURE, WireLogger, closing_of, cut_reason, describe_failure
from clawproto_io.stores.base import MessageStore
from clawproto_io.throttle import turn_of
from clawproto_trio._signal import Signal

LONGEST_SLEEP_MS = 3_600_000  # the timer looks again at least this often (TOK-17)

log = logger("trio")
_protected = trio.lowlevel.enable_ki_protection  # Ctrl-C is for the application's code


class Driver:
    """Runs one session. Everything public is called from the trio thread."""

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
        self._store_work = Signal()
        self._message_work = Signal()
        self._rearm = Signal()
        self._armed_ms: int | None = None
        self._stopping = trio.Event()
        self._finished = trio.Event()
        self._gone = trio.Event()
        self._unsaved = False

    # --- life ---

    def start(self, start: Start) -> None:
        """Begin. Once. What is to be done waits until `run` has begun."""
        self.engine.handle(start)

    def stop(self) -> None:
        """Ask for an orderly end; returns at once. Harmless when repeated."""
        if not self._stopping.is_set():
            self._stopping.set()
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
        with trio.CancelScope(shield=True):
            try:
                await self._supervise()
            except Exception as error:
                self.failure = error
                log.critical("the driver failed", exc_info=error)
            finally:
                self.engine.shut()
                self._wake()
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
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._keep_time)
            nursery.start_soon(self._run_store)
            if self._parts.messages is not None and self.engine.keeper is not None:
                nursery.start_soon(self._run_messages, self._parts.messages, self.engine.keeper)
            if self._parts.lease is not None:
                nursery.start_soon(self._keep_lease, self._parts.lease)
            self._after_step()
            await self._stopping.wait()
            with trio.move_on_after(self._parts.shutdown_timeout) as bound:
                await self._finished.wait()
            if bound.cancelled_caught:
                log.warning("the session did not end within %.1f s and was cut off", self._parts.shutdown_timeout)
            if self.engine.holds_rotation:
                self._unsaved = True
                log.critical("the session ended before its new tokens were saved; the stored ones may be spent")
            self.engine.shut()
            nursery.cancel_scope.cancel()

    # --- after every step ---

    def _after_step(self) -> None:
        engine, nursery = self.engine, self._nursery
        if nursery is None:
            return
        while engine.openings:
            opening = engine.openings.popleft()
            link = engine.links.get(opening.generation)
            if link is not None and self._opens_sockets:
                socket = self._sockets[opening.generation] = _Socket(link)
                nursery.start_soon(self._run_socket, opening, socket)
        while engine.aborts:
            dropped = self._sockets.get(engine.aborts.popleft())
            if dropped is not None:
                dropped.scope.cancel()
        while engine.http_jobs:
            nursery.start_soon(self._run_http, engine.http_jobs.popleft())
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
        if self.engine.is_finished and not self._sockets:
            self._finished.set()

    # --- tasks ---

    @_protected
    async def _keep_time(self) -> None:
        clock = self._parts.clock
        while True:
            deadline = self.engine.next_deadline()
            now = clock.now().mono_ms
            if deadline is not None and deadline <= now:
                self.engine.handle(Tick())
                await trio.lowlevel.checkpoint()
                continue
            self._armed_ms = deadline
            self._rearm.clear()
            with trio.move_on_after(inf if deadline is None else clock.seconds(min(deadline - now, LONGEST_SLEEP_MS))):
                await self._rearm.wait()

    @_protected
    async def _run_store(self) -> None:
        jobs = self.engine.store_jobs
        while True:
            while jobs:
                # It stays in the queue while it is under way, so that the end waits for it.
                report = await run_store_job(self._parts.store, jobs[0], log)
                jobs.popleft()
                if report is not None:
                    self.engine.handle(report)
                else:
                    self._after_step()
            self._store_work.clear()
            await self._store_work.wait()

    @_protected
    async def _run_messages(self, store: MessageStore, keeper: Keeper) -> None:
        while True:
            while keeper.commits:
                report = await run_commit(store, keeper.commits[0])
                if isinstance(report, CommitFailed) and report.lost:
                    self.taken_over = True
                    self.stop()
                self.engine.commit_report(report)
            self._message_work.clear()
            await self._message_work.wait()

    @_protected
    async def _run_http(self, job: HttpJob) -> None:
        self.engine.handle(await run_http_job(self._parts.runner, job, self._parts.refresh_gate))

    @_protected
    async def _run_socket(self, opening: Open, socket: "_Socket") -> None:
        generation = opening.generation
        is_open = False
        closing: tuple[int, str] = (NO_CLOSE_FRAME, "")
        with socket.scope:
            try:
                async with AsyncExitStack() as stack:
                    async with turn_of(self._parts.socket_gate, self._parts.clock.seconds(opening.timeout_ms // 2)):
                        connecting = open_websocket(opening, self._parts.sockets, self._parts.clock)
                        websocket = await stack.enter_async_context(connecting)
                    is_open = True
                    self.engine.handle(Opened(generation))
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._write, socket, websocket)
                        closing = await self._read(socket, websocket)
                        nursery.cancel_scope.cancel()
            except Exception as error:
                if is_open:
                    raise
                self.engine.handle(OpenFailed(generation, describe_failure(error)))
        del self._sockets[generation]
        if is_open:
            self.engine.handle(Closed(generation, *closing))
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

    @_protected
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
                            await websocket.aclose(code, cut_reason(reason))
                        case Reconnect(reason=reason):
                            await websocket.aclose(NORMAL_CLOSURE, cut_reason(reason))
                        case _:
                            assert_never(item)
                socket.work.clear()
                await socket.work.wait()
        except ConnectionClosed:
            pass  # the reader reports it


class _Socket:
    """One generation, with what wakes its two tasks and what drops it."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.scope = trio.CancelScope()
        self.work = Signal()
        self.readable = Signal()


class _Connection(ClientConnection):
    """The library's connection, but a write that is stuck does not hold up the reading.

    The library's reader flushes after each piece it has read, behind whatever write is under way, and hands out nothing
    before. Here it leaves its bytes, a Pong or the echo of a CLOSE frame, to the writer that is at it.
    """

    _reader: trio.lowlevel.Task | None = None
    _owed = False

    async def recv_events(self) -> None:
        """See the library."""
        self._reader = trio.lowlevel.current_task()
        await super().recv_events()

    async def send_data(self) -> None:
        """See the library."""
        if self.send_lock.locked() and trio.lowlevel.current_task() is self._reader:
            self._owed = True
            return
        await super().send_data()
        while self._owed:
            self._owed = False
            await super().send_data()


class _Connect(websocket_connect):
    """The library's client, but an upgrade that is redirected has failed: addresses come from the operator (AUTH-7)."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def open_websocket(opening: Open, options: SocketOptions, clock: Clock) -> _Connect:
    """Open the socket; the upgrade carries neither token nor subprotocol (AUTH-2), and pings are the core's (HB-8)."""
    return _Connect(
        opening.url,
        ssl=options.ssl if opening.url.startswith("wss:") else None,
        additional_headers=list(options.headers),
        proxy=options.proxy,
        open_timeout=clock.seconds(opening.timeout_ms),
        ping_interval=None,
        close_timeout=options.close_timeout,
        max_size=options.max_size,
        create_connection=_Connection,
        logger=WireLogger(log),
    )
