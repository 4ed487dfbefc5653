"""What can happen to the disk under a running session: made with the means of the system, and taken back again.

Each works on another process, which knows nothing of it. Most need root, since they mount small file systems of their
own; without it, and on systems other than Linux, those are left out.
"""

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

HOLDER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
time.sleep(600)
"""


class Fault:
    """A disk, and what goes wrong with it.

    Attributes:
        says: what the store must tell of it, as a regular expression.
        folder: where the store is to be.
        busy_ms: how long the store is to wait for somebody else's lock.
    """

    says = ""
    busy_ms = 5_000

    _other: sqlite3.Connection | None = None

    def __init__(self, folder: Path) -> None:
        self.base = folder
        self.folder = folder / "disk"
        self.folder.mkdir(exist_ok=True)

    @staticmethod
    def is_possible() -> bool:
        """Whether it can be made on this machine, by this user."""
        return sys.platform == "linux"

    def __enter__(self) -> "Fault":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take everything away."""
        self.leave()

    def begin(self, pid: int, store: Path) -> None:
        """From now on ``pid`` cannot write its store."""
        raise NotImplementedError

    def end(self) -> None:
        """All is well again."""
        raise NotImplementedError

    def join(self, store: Path) -> None:
        """Look at the file as well. A store that fails closes it, and whoever closes it last moves the log into it and
        deletes the log, which makes room: the fault would often be over with the second try."""
        self._other = sqlite3.connect(store, check_same_thread=False)
        self._other.execute("SELECT count(*) FROM sqlite_master").fetchone()

    def leave(self) -> None:
        """The opposite."""
        if self._other is not None:
            self._other.close()
            self._other = None


def _is_root() -> bool:
    return sys.platform == "linux" and os.geteuid() == 0


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


class _Mounted(Fault):
    """A disk of its own."""

    @staticmethod
    def is_possible() -> bool:
        return _is_root() and all(shutil.which(tool) for tool in ("mount", "umount", "mkfs.ext4", "losetup", "chattr"))

    def close(self) -> None:
        self.leave()
        subprocess.run(["umount", "--lazy", str(self.folder)], check=False, capture_output=True)


class FullDisk(_Mounted):
    """No space left on a small file system."""

    says = "has no room to grow; the disk is full"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        _run("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(self.folder))

    def begin(self, pid: int, store: Path) -> None:
        self.join(store)
        with (self.folder / "filler").open("wb", buffering=0) as filler:
            try:
                while filler.write(bytes(4096)) == 4096:
                    pass
            except OSError:
                return

    def end(self) -> None:
        (self.folder / "filler").unlink()
        self.leave()


class _Device(_Mounted):
    """A file system of its own, on a disk that is a file."""

    options = "errors=continue"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.image = folder / "image"
        with self.image.open("wb") as file:
            file.truncate(16 * 1024 * 1024)
        _run("mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", str(self.image))
        self.mount()

    def mount(self) -> None:
        """Mount it."""
        _run("mount", "-o", f"loop,{self.options}", str(self.image), str(self.folder))


class BrokenMedium(_Device):
    """The disk refuses to be written: what is written goes into the cache, and the sync fails with an I/O error."""

    says = r"could not be read or written; check the disk.*\(SQLITE_IOERR"

    def begin(self, pid: int, store: Path) -> None:
        _run("chattr", "+i", str(self.image))

    def end(self) -> None:
        _run("chattr", "-i", str(self.image))

    def close(self) -> None:
        subprocess.run(["chattr", "-i", str(self.image)], check=False, capture_output=True)
        super().close()


class ReadOnlyFileSystem(_Device):
    """The kernel has found an error and lets nobody write any more; the way out is to mount it anew."""

    says = "could not be read or written|cannot be written|cannot be opened"
    options = "errors=remount-ro"

    def __init__(self, folder: Path) -> None:
        _run("chattr", "+i", str(self.point(folder)))  # nobody is to write to the mount point while nothing is mounted
        super().__init__(folder)

    def point(self, folder: Path) -> Path:
        """The mount point, made."""
        (folder / "disk").mkdir()
        return folder / "disk"

    def begin(self, pid: int, store: Path) -> None:
        device = subprocess.run(
            ["findmnt", "--noheadings", "--output", "SOURCE", str(self.folder)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        Path("/sys/fs/ext4", Path(device).name, "trigger_fs_error").write_text("a test")

    def end(self) -> None:
        _run("umount", "--lazy", str(self.folder))
        end = time.monotonic() + 20
        while self._is_in_use() and time.monotonic() < end:  # by an operation that had begun
            time.sleep(0.02)
        self.mount()

    def _is_in_use(self) -> bool:
        known = subprocess.run(["losetup", "-j", str(self.image)], check=True, capture_output=True)
        return bool(known.stdout)

    def close(self) -> None:
        super().close()
        subprocess.run(["chattr", "-i", str(self.folder)], check=False, capture_output=True)


class ImmutableFile(_Device):
    """Nobody may write the file, root included."""

    says = "could not be read or written|cannot be written|cannot be opened"
    _files: tuple[str, ...] = ()

    def begin(self, pid: int, store: Path) -> None:
        # Not the shared memory beside them: a page of it that may not be written kills the process (SIGBUS).
        self._files = tuple(str(store.with_name(store.name + suffix)) for suffix in ("", "-wal"))
        _run("chattr", "+i", *self._files)

    def end(self) -> None:
        _run("chattr", "-i", *self._files)

    def close(self) -> None:
        if self._files and self.folder.is_mount():
            subprocess.run(["chattr", "-i", *self._files], check=False, capture_output=True)
        super().close()


class LimitedFile(Fault):
    """An I/O error in the middle of a commit: the log may grow by half a page and no more. Needs no rights."""

    says = r"could not be read or written; check the disk.*\(SQLITE_IOERR"
    _pid = 0

    def begin(self, pid: int, store: Path) -> None:
        self.join(store)
        self._pid = pid
        log = store.with_name(store.name + "-wal")
        size = log.stat().st_size if log.exists() else 0
        self._limit(size + 2_000)

    def end(self) -> None:
        self._limit(resource.RLIM_INFINITY)
        self.leave()

    def _limit(self, size: int) -> None:
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


class LockedStore(Fault):
    """Another process has begun a transaction and stands still."""

    says = "is locked by another process; stop the process"
    busy_ms = 200
    _holder: "subprocess.Popen[bytes] | None" = None

    def begin(self, pid: int, store: Path) -> None:
        self._holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(store)], stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"locked\n"
        self._holder.send_signal(signal.SIGSTOP)

    def end(self) -> None:
        if self._holder is not None:
            self._holder.kill()
            self._holder.communicate()
            self._holder = None

    def close(self) -> None:
        self.end()


class MissingFolder(Fault):
    """The folder is gone, as if its disk had been taken out."""

    says = "the directory .* does not exist"

    def begin(self, pid: int, store: Path) -> None:
        self.folder.rename(self.base / "elsewhere")

    def end(self) -> None:
        (self.base / "elsewhere").rename(self.folder)


FAULTS: tuple[type[Fault], ...] = (
    FullDisk,
    BrokenMedium,
    ReadOnlyFileSystem,
    ImmutableFile,
    LimitedFile,
    LockedStore,
    MissingFolder,
)
