"""Names of the processes that own sessions, and when one of them is certainly gone.

    HOST:PID:TOKEN                          a name for people, made unique by the token
    HOST:PID:TOKEN@PLACE:STARTED            on Linux, so that others in the same place can look the process up

PLACE is a digest of what makes a process id mean one thing only: the boot of the kernel, and the namespaces of process
ids and of time. Two containers with one host name, and a machine before and after a restart, are different places; in
another place nothing can be concluded. STARTED tells a process from a later one with the same id.

An owner counts as gone only if the kernel says that there is no such process. Whatever cannot be asked, is refused or
reads oddly leaves it alive, so the worst that can happen is what happens without all this: its term is waited for.
"""

import hashlib
import os
import re
import secrets
import socket
from pathlib import Path

from clawproto.deferred import frozen

_PROC = Path("/proc")
_NAME = re.compile(r".*:(?P<pid>[1-9][0-9]*):[0-9a-f]+@(?P<place>[0-9a-f]{16}):(?P<started>[0-9]+)", re.DOTALL)
_DEAD = ("Z", "X")  # states of a process whose parent has not yet asked how it ended


def new_owner() -> str:
    """A name for this process that nobody ever had. Made anew after a fork, it names the child."""
    name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    place, process = _place(), _look_up(os.getpid())
    return name if place is None or process is None else f"{name}@{place}:{process.started}"


def is_gone(owner: str) -> bool:
    """Whether the process called ``owner`` certainly does not run any more. False if that cannot be told from here."""
    found = _NAME.fullmatch(owner)
    if found is None or found["place"] != _place():
        return False
    pid = int(found["pid"])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # it runs as somebody else, or there cannot be such a process
        pass
    process = _look_up(pid)
    return process is not None and (process.ended or process.started != int(found["started"]))


def short_name(owner: str) -> str:
    """The part of the name that is for people."""
    return owner.partition("@")[0]


@frozen
class _Process:
    started: int  # clock ticks after the boot
    ended: bool


def _look_up(pid: int) -> _Process | None:
    """What the kernel says about a process; None if it does not say."""
    try:
        line = (_PROC / str(pid) / "stat").read_bytes()
        fields = line[
            line.rindex(b")") + 1 :
        ].split()  # what comes before is the program's name, which may hold anything
        state, threads, started = fields[0].decode("ascii"), int(fields[17]), int(fields[19])
    except (OSError, ValueError, IndexError):
        return None
    return _Process(started, state in _DEAD and threads <= 1)  # the first thread may end before the others


def _place() -> str | None:
    """Where this process runs; None if the system does not tell."""
    try:
        if os.readlink(_PROC / "self") != str(os.getpid()):
            return None  # the table of processes is that of another namespace
        boot = (_PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
        namespaces = [os.readlink(_PROC / "self/ns" / kind) for kind in ("pid", "time") if _has(kind)]
    except (OSError, ValueError):
        return None
    if not boot or not namespaces:
        return None
    return hashlib.blake2b("\0".join((boot, *namespaces)).encode(), digest_size=8).hexdigest()


def _has(kind: str) -> bool:
    """Whether the kernel knows such namespaces: that of process ids must be told, that of time came later."""
    return kind == "pid" or (_PROC / "self/ns" / kind).is_symlink()
