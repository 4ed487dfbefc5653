"""Opening the SQLite file of a store: rights, settings, schema, and errors that say the way out.

Everything here blocks and belongs on a worker thread.
"""

import errno
import os
import sqlite3
import stat
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from clawproto_io.errors import StoreError
from clawproto_io.logs import logger
from clawproto_io.stores.sqlite_schema import APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION, SMALL_TABLES

MODE = 0o600
_SMALLEST_SIZE = 512  # bytes; one page of the smallest kind
_SUFFIXES = ("", "-wal", "-shm", "-journal")

_log = logger("store")

_PROBLEMS = {
    sqlite3.SQLITE_NOTADB: "is not an SQLite database; if it is not needed, move it away and pair again, "
    "or name another file",
    sqlite3.SQLITE_CORRUPT: "is damaged; restore it from a copy, or move it away and pair again",
    sqlite3.SQLITE_READONLY: "cannot be written; make the file and its directory writable for this user",
    sqlite3.SQLITE_PERM: "cannot be accessed; make the file and its directory readable and writable for this user",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; check that it is a file, and that the file and its directory are "
    "readable and writable for this user",
    sqlite3.SQLITE_FULL: "has no room to grow; the disk is full: free some space",
    sqlite3.SQLITE_IOERR: "could not be read or written; check the disk: it may be full, over quota, or failing",
    sqlite3.SQLITE_BUSY: "is locked by another process; stop the process that holds it, or wait for it",
    sqlite3.SQLITE_LOCKED: "is locked by another process; stop the process that holds it, or wait for it",
    sqlite3.SQLITE_TOOBIG: "holds a value that is too large; restore it from a copy, or move it away and pair again",
}

_NO_LOCKS = "is on a file system without file locks, which SQLite needs; put it on a local disk"
_UNREADABLE = "holds something that cannot be read; restore it from a copy, or move it away and pair again"


def explain(path: Path, error: sqlite3.Error | UnicodeError | OSError) -> StoreError:
    """What SQLite or the system raised, as an error that names the file and the way out.

    Raise it outside of the handler that caught ``error``, which must not hang on as its context: SQLite's own text may
    quote what is stored.
    """
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        if (code == sqlite3.SQLITE_BUSY or "LOCK" in name) and not _has_locks(path.parent):
            return StoreError(str(path), f"{_NO_LOCKS} ({name})")
        return StoreError(str(path), f"{_PROBLEMS.get(code, _UNREADABLE)} ({name})")
    if isinstance(error, UnicodeError):
        return StoreError(str(path), "cannot hold a text that is not valid Unicode; nothing was written")
    return StoreError(
        str(path),
        f"{error.strerror or type(error).__name__}; check that it is a plain file, "
        "and that the file and its directory are readable and writable for this user",
    )


def _has_locks(directory: Path) -> bool:
    """Whether files there can be locked, as far as can be found out. SQLite takes a file system that has no locks for a
    file that is always locked. The file itself is not touched: closing it would end SQLite's own locks on it."""
    if fcntl is None:
        return True
    try:
        with tempfile.TemporaryFile(dir=directory) as probe:
            fcntl.lockf(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
    return True


def check_directory(path: Path) -> None:
    """Raise `StoreError` if there is no directory for the file ``path`` to be in."""
    if not path.parent.is_dir():
        raise StoreError(str(path), f"the directory {path.parent} does not exist; create it first")


def identity_of(path: Path) -> tuple[int, int] | None:
    """Device and inode of the file, or None if it is not there. Tells a replaced file from the one that was opened."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def open_database(path: Path, busy_timeout_ms: int) -> tuple[sqlite3.Connection, tuple[int, int]]:
    """Open ``path``, creating it if need be, with every setting made and the schema up to date.

    Returns:
        The connection, and the `identity_of` what was there just before. If something else is put in its place in the
        meantime, a comparison shows it.

    Raises:
        StoreError: the directory is missing, or the file is not ours or too new.
        sqlite3.Error, OSError: anything else; see `explain`.
    """
    identity = _prepare_file(path)
    # mode=rw: SQLite itself never creates the file, so its rights are always ours.
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode=rw",
        uri=True,
        timeout=busy_timeout_ms / 1000,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        _configure(connection, busy_timeout_ms)
        _migrate(connection, path)
        _check_table(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection, identity


def _prepare_file(path: Path) -> tuple[int, int]:
    """See to it that the file exists and that nobody else can read it or what SQLite puts beside it."""
    check_directory(path)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
    except FileExistsError:
        pass
    else:
        try:
            os.fchmod(descriptor, MODE)  # a strict umask may have taken even our own rights
        finally:
            os.close(descriptor)
        _sync_directory(path.parent)
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise StoreError(str(path), "is not a plain file; name another path")
    if 0 < found.st_size < _SMALLEST_SIZE:  # SQLite would take it for a new file and write over it
        raise StoreError(str(path), _PROBLEMS[sqlite3.SQLITE_CORRUPT])
    # SQLite gives its side files the rights of the main file, but older ones may be lying about.
    for suffix in _SUFFIXES:
        _tighten(path.with_name(path.name + suffix))
    return found.st_dev, found.st_ino


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _tighten(path: Path) -> None:
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        if mode & 0o077:
            os.chmod(path, mode & 0o700)
            _log.warning("%s was open to other users (mode %o); closed it", path, mode)
    except FileNotFoundError:
        pass


def _configure(connection: sqlite3.Connection, busy_timeout_ms: int) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")  # a forgotten token leaves no trace in free pages
    connection.execute("PRAGMA trusted_schema = OFF")
    # The change to WAL needs the file for itself and does not wait for it; two first starts at once would fail.
    deadline = time.monotonic() + busy_timeout_ms / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")  # macOS: fsync alone does not reach the platter there


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    if _version(connection, path) == SCHEMA_VERSION:
        return
    with transaction(connection):
        version = _version(connection, path)  # again, now that nobody else can write
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    application, version, tables = connection.execute(
        "SELECT a.application_id, v.user_version, (SELECT count(*) FROM sqlite_master)"
        " FROM pragma_application_id a, pragma_user_version v"
    ).fetchone()
    if application != APPLICATION_ID and (tables or application or version):
        raise StoreError(str(path), "is a database of another program; name another file")
    if version > SCHEMA_VERSION:
        raise StoreError(
            str(path),
            f"was written by a newer clawproto (schema {version}, this one knows {SCHEMA_VERSION}); upgrade clawproto",
        )
    return int(version)


def _check_table(connection: sqlite3.Connection, path: Path) -> None:
    """A file that was cut short can look like one without a record; that must not pass for "never paired"."""
    for table in SMALL_TABLES:
        (verdict,) = connection.execute(f"PRAGMA quick_check('{table}')").fetchone()
        if verdict != "ok":
            raise StoreError(str(path), _PROBLEMS[sqlite3.SQLITE_CORRUPT])


@contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[None]:
    """A write transaction: takes the write lock at once, so that what is read in it is still true at the commit."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
