"""The connections to one PostgreSQL server: few, shared by all accounts of a process, and never waited for without end.

    operation --> a thread of the pool's own limiter --> an idle connection, or a new one --> BEGIN … COMMIT --> idle
                                                                |                                 |
                                       the server cannot be reached: StoreError     it failed: StoreError, and closed

One operation is one transaction. Nothing is set for longer than a transaction, so that a pooler that lends connections
for a transaction may stand in between. Everything but `Pool.run` and `Pool.aclose` blocks and belongs on a worker
thread; psycopg's own asynchronous connections would work on asyncio only.
"""

import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

import anyio
import anyio.to_thread
import psycopg
from anyio.lowlevel import RunVar
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from clawproto.deferred import frozen
from clawproto_io.errors import GenerationConflict, StoreError
from clawproto_io.logs import logger
from clawproto_io.stores.postgres import failures
from clawproto_io.stores.postgres.schema import look_at, migrate, quoted

DEFAULT_SCHEMA: Final = "clawproto"
DEFAULT_CONNECTIONS: Final = 4
DEFAULT_TIMEOUT: Final = 10.0  # seconds

_REFUSALS = (GenerationConflict, StoreError, ValueError)  # of the operation itself; the connection is as good as before

_log = logger("store")
_T = TypeVar("_T")


@frozen
class _Limiters:
    all: anyio.CapacityLimiter
    yielding: anyio.CapacityLimiter


class Pool:
    """At most ``connections`` connections to the server that ``dsn`` names.

    Args:
        dsn: a connection string or URL of libpq; what it does not say comes from libpq's environment variables.
        schema: of our tables; made if it is missing.
        timeout: bound on an operation, in seconds; see docs/postgres.md.

    Attributes:
        place: the server, for people; without the password.

    Raises:
        ValueError: a setting that cannot be.
    """

    def __init__(
        self,
        dsn: str,
        *,
        schema: str = DEFAULT_SCHEMA,
        connections: int = DEFAULT_CONNECTIONS,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        if not schema or len(schema.encode("utf-8", "replace")) > 63 or schema.startswith("pg_") or "\0" in schema:
            raise ValueError(f"no name for a schema: {schema!r}")
        if connections < 1:
            raise ValueError("connections must be at least 1")
        if not timeout >= 1:
            raise ValueError("timeout must be at least 1 second")
        self._conninfo, self.place = _understood(dsn, timeout)
        self._schema = schema
        self._timeout = timeout
        self._patience = timeout * 1.5  # the server gives up first, if it can
        self._connections = connections
        self._begin = {reading: _begin(schema, timeout, reading) for reading in (False, True)}
        self._limiters: RunVar[_Limiters] = RunVar("clawproto PostgreSQL pool")
        self._slots = threading.BoundedSemaphore(connections)  # for programs with several loops
        self._lock = threading.Lock()  # guards what follows
        self._idle: list[psycopg.Connection] = []
        self._closings = 0
        self._unreachable: tuple[float, str] | None = None
        self._warned = False

    async def run(
        self, operation: Callable[[psycopg.Connection], _T], *, reading: bool = False, yielding: bool = False
    ) -> _T:
        """Call ``operation`` in a transaction of its own, on a worker thread. Cancelling does not interrupt it.

        What it raises is raised, and nothing is written then.

        Args:
            reading: it only reads, and sees everything as of one moment; it then works on a standby as well.
            yielding: leave one connection to the others, so that a pair is not saved behind many messages.

        Raises:
            StoreError: the server cannot be reached or cannot do it; the text names the way out.
        """
        asked = time.monotonic()
        # A limiter of its own: an application that uses up the worker threads must not hold up the saving of a pair.
        limiters = self._limiters_here()
        if yielding:
            async with limiters.yielding:
                return await anyio.to_thread.run_sync(self._run, operation, reading, asked, limiter=limiters.all)
        return await anyio.to_thread.run_sync(self._run, operation, reading, asked, limiter=limiters.all)

    async def aclose(self) -> None:
        """Close what is idle, and what is not as soon as it is. Using the pool again connects again."""
        await anyio.to_thread.run_sync(self._close_idle, limiter=self._limiters_here().all)

    def _limiters_here(self) -> "_Limiters":
        """Those of the event loop that runs here."""
        try:
            return self._limiters.get()
        except LookupError:
            limiters = _Limiters(
                anyio.CapacityLimiter(self._connections), anyio.CapacityLimiter(max(1, self._connections - 1))
            )
            self._limiters.set(limiters)
            return limiters

    # --- on a worker thread ---------------------------------------------------------------------------------------

    def _run(self, operation: Callable[[psycopg.Connection], _T], reading: bool, asked: float) -> _T:
        with self._slots:
            connection = self._begun(reading, asked)
            closings = self._closings
            committing = False
            deadline = _Deadline(connection, self._patience)
            try:
                with deadline:
                    result = operation(connection)
                    committing = not reading
                    connection.execute("COMMIT")
            except (psycopg.Error, UnicodeError) as error:
                problem = self._problem(connection, error, committing)
            except _REFUSALS:
                with suppress(psycopg.Error), _Deadline(connection, self._timeout):
                    connection.execute("ROLLBACK")
                self._give_back(connection, closings)
                raise
            except BaseException:
                connection.close()
                raise
            else:
                self._give_back(connection, closings)
                return result
            connection.close()  # whatever state it is in, the next operation starts afresh
        if deadline.passed:
            problem = failures.too_late(self._patience, committing=committing)
        raise StoreError(self.place, problem)  # out here: the server's error does not hang on as its context

    def _problem(self, connection: psycopg.Connection, error: psycopg.Error | UnicodeError, committing: bool) -> str:
        farewell = isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith("57P")
        lost = connection.closed or farewell
        if lost:
            self._close_idle()
        return failures.at_work(error, lost=lost, committing=committing)

    def _begun(self, reading: bool, asked: float) -> psycopg.Connection:
        """A connection in a transaction. One that was idle may have died meanwhile; nothing is lost by trying it."""
        while (connection := self._idle_one()) is not None:
            with suppress(psycopg.Error), _Deadline(connection, self._timeout):
                connection.execute(self._begin[reading])
                return connection
            connection.close()
            self._close_idle()  # they have most likely met with the same
        connection = self._connected(asked)
        try:
            with _Deadline(connection, self._timeout):
                connection.execute(self._begin[reading])
            return connection
        except psycopg.Error as error:
            problem = failures.at_work(error, lost=connection.closed, committing=False)
            connection.close()
        raise StoreError(self.place, problem)

    def _idle_one(self) -> psycopg.Connection | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if not _is_spoken_to(connection):
                return connection
            connection.close()

    def _give_back(self, connection: psycopg.Connection, closings: int) -> None:
        with self._lock:
            if closings == self._closings and not connection.closed:
                self._idle.append(connection)
                return
        connection.close()

    def _close_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
            self._closings += 1
        for connection in idle:
            connection.close()

    def _connected(self, asked: float) -> psycopg.Connection:
        """A new connection to a schema that is up to date."""
        with self._lock:
            unreachable = self._unreachable
        if unreachable is not None and unreachable[0] >= asked:
            # Somebody has tried since this was asked. With hundreds who wait for a server that does not answer, one
            # after the other would wait for its own timeout.
            raise StoreError(self.place, unreachable[1])
        try:
            connection = psycopg.connect(self._conninfo, autocommit=True, prepare_threshold=None)
        except psycopg.Error as error:
            problem = failures.at_connect(error)
        else:
            return self._prepared(connection)
        with self._lock:
            self._unreachable = (time.monotonic(), problem)
        raise StoreError(self.place, problem)

    def _prepared(self, connection: psycopg.Connection) -> psycopg.Connection:
        try:
            with _Deadline(connection, self._timeout):
                found = look_at(connection, self._schema, self.place)
            if not found.durable and not self._warned:
                self._warned = True
                _log.warning(
                    "%s: the server runs with fsync off; what it saves does not survive a power cut", self.place
                )
            if not found.current:
                migrate(connection, self._schema, self.place)
            return connection
        except psycopg.Error as error:
            problem = failures.at_work(error, lost=connection.closed, committing=False)
            connection.close()
        except BaseException:
            connection.close()
            raise
        raise StoreError(self.place, problem)


class _Deadline:
    """Cuts the connection if the block takes too long.

    The server's own timeouts do not apply while it commits, nor while it stands still: on a disk that hangs, or because
    a standby that it waits for is gone.
    """

    def __init__(self, connection: psycopg.Connection, seconds: float) -> None:
        self.passed = False
        self._connection = connection
        self._lock = threading.Lock()
        self._left = False
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._left = True
        self._timer.cancel()

    def _cut(self) -> None:
        with self._lock, suppress(psycopg.Error, OSError):
            if self._left:
                return
            self.passed = True
            borrowed = socket.socket(fileno=self._connection.fileno())
            try:
                borrowed.shutdown(socket.SHUT_RDWR)
            finally:
                borrowed.detach()


def _is_spoken_to(connection: psycopg.Connection) -> bool:
    """Whether the server has said something to a connection that had asked nothing: mostly good-bye."""
    try:
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        return bool(poll.poll(0))
    except (psycopg.Error, OSError):
        return True


def _understood(dsn: str, timeout: float) -> tuple[str, str]:
    """What to connect with, and the name of the place."""
    try:
        given = {name: str(value) for name, value in conninfo_to_dict(dsn).items() if value is not None}
    except psycopg.Error:
        given = None
    if given is None:  # out here: the error may quote the password
        raise ValueError("not a connection string for PostgreSQL, as postgresql://user@host:5432/database")
    defaults = {
        "fallback_application_name": "clawproto",
        "connect_timeout": str(max(2, round(timeout / 2))),
        "keepalives_idle": "10",
        "keepalives_interval": "5",
        "keepalives_count": "3",
        "tcp_user_timeout": str(round(timeout * 1000)),
    }
    hosts = given.get("host", given.get("hostaddr", "")).split(",")
    ports = given.get("port", "").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    servers = ",".join(host + (port and f":{port}") for host, port in zip(hosts, ports, strict=False))
    user = given.get("user", "")
    place = f"postgresql://{user}{user and '@'}{servers}/{given.get('dbname', '')}"
    return make_conninfo("", **{**defaults, **given, "client_encoding": "UTF8"}), place


_AT_LEAST_ON = (
    "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') <> 'remote_apply'"
)


def _begin(schema: str, timeout: float, reading: bool) -> bytes:
    """The statements that every transaction starts with, in one round trip."""
    mode = "REPEATABLE READ, READ ONLY" if reading else "READ COMMITTED, READ WRITE"
    milliseconds = round(timeout * 1000)
    statements = (
        f"BEGIN ISOLATION LEVEL {mode}",
        # pg_temp is named so that it is searched last: nobody puts another table before ours.
        f"SET LOCAL search_path = {quoted(schema)}, pg_temp",
        f"SET LOCAL statement_timeout = {milliseconds}",
        f"SET LOCAL lock_timeout = {milliseconds // 2}",
        # A process that is paused in a transaction must not keep others from taking its session over: it is thrown
        # out before whoever waits for the row gives up.
        f"SET LOCAL idle_in_transaction_session_timeout = {milliseconds // 4}",
        # A commit is on the disk when it returns, whatever the database's default; a stronger one is left as it is.
        _AT_LEAST_ON,
    )
    return "; ".join(statements).encode("utf-8")
