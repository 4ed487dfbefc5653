"""Suspending a process as its machine would, but not in the middle of a commit.

SQLite keeps a file locked for as long as the process that writes it stands still, and no term of a lease can change
that: nobody else can write the file until that process goes on or is killed. A demonstration that happened to hit such
an instant would show this, and nothing about leases.
"""

import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

_PATIENCE = 1.0  # seconds for the others to finish their own commits
_ATTEMPTS = 50


def suspend(process: "subprocess.Popen[bytes] | subprocess.Popen[str]", path: Path | None) -> None:
    """Stop the child ``process`` at an instant at which it does not keep the SQLite file ``path``, if it uses one, from
    being written.

    Raises:
        RuntimeError: it holds the file whenever one looks.
    """
    for _ in range(_ATTEMPTS):
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)  # all of its threads stand still
        if path is None or _can_be_written(path):
            return
        process.send_signal(signal.SIGCONT)
        time.sleep(0.01)
    raise RuntimeError(f"process {process.pid} holds {path} all the time")


def _can_be_written(path: Path) -> bool:
    connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=_PATIENCE, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        return False
    finally:
        connection.close()
    return True
