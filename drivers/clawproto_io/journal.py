"""Journals on disk: one file a session, written by a thread of its own, bounded, and never in the session's way.

    step ──► Recorder ──► queue, bounded ──► writer ──► agent.jsonl      a new file above max_bytes, with the state
    loop's thread                            thread       agent.jsonl.1, …  the older ones, at most `keep` in all

If the disk is full or too slow, lines are dropped and counted. As soon as there is room again the journal goes on with
a line that says how many are missing and has the state after them, so that what follows can still be replayed.
"""

import os
import secrets
import threading
from collections import deque
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Final, Literal

from clawproto.deferred import frozen
from clawproto.effects import Effect
from clawproto.events import Event, Start
from clawproto.instant import Instant
from clawproto.journal import Recorder
from clawproto.state import State
from clawproto_io.logs import logger

MODE: Final = 0o600
MAX_BYTES: Final = 16 * 1024 * 1024
KEEP: Final = 4
_PENDING: Final = 8 * 1024 * 1024  # bytes that may wait for the disk
_RETRY_MS: Final = 5_000  # a disk that has failed is tried again so often
_CLOSE_SECONDS: Final = 5.0

_log = logger("journal")


@frozen
class _Item:
    """Something for the writer.

    Attributes:
        kind: ``file`` begins a new file; ``gap`` is a new beginning within one; ``line`` makes sense only after the
            line before it.
        steps: that are lost if it cannot be written.
    """

    kind: Literal["file", "line", "gap"]
    text: bytes
    steps: int


class Journal:
    """Records a session: an observer for ``connect(journal=…)``, or for an engine of your own.

        async with connect("agent.db", journal="agent.jsonl") as client: ...

    Args:
        path: a journal that is there already is kept as ``path.1``, and so on.
        contents: False masks what people write (`clawproto.masking`).
        max_bytes: of one file, roughly.
        keep: files in all, the current one included.

    Raises:
        ValueError: ``max_bytes`` or ``keep`` is less than 1.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        contents: bool = True,
        max_bytes: int = MAX_BYTES,
        keep: int = KEEP,
    ) -> None:
        if max_bytes < 1 or keep < 1:
            raise ValueError("max_bytes and keep must be at least 1")
        self.path = Path(path)
        self._max_bytes, self._keep = max_bytes, keep
        self._recorder = Recorder(contents=contents, salt=secrets.token_bytes(16), library=_library())
        self._part = 1
        self._size = 0
        self._retry_at: int | None = None
        self._closed = False
        self._thread: threading.Thread | None = None
        self._dropped = 0
        self._file = _File(self.path, keep)
        # Shared with the writer, under the lock of `_work`.
        self._work = threading.Condition()
        self._queue: deque[_Item] = deque()
        self._pending = 0
        self._lost = 0
        self._ending = False

    @property
    def dropped(self) -> int:
        """Steps that are not in the journal."""
        with self._work:
            return self._dropped + self._lost

    def __call__(self, now: Instant, event: Event, effects: tuple[Effect, ...], state: object) -> None:
        """Record one step. Never raises and never waits for the disk."""
        if self._closed or not isinstance(state, State):
            return
        first = not self._recorder.started
        try:
            header = self._recorder.header(state.config) if first and isinstance(event, Start) else None
            line = self._recorder.step(now, event, effects, state)
            if header is not None:
                self._put("file", header, 0)
            elif first:  # in the middle of a session: begin with the state
                self._put("file", self._recorder.header(state.config), 1)
                return
            self._keep_line(line, now, state)
        except Exception:
            _log.exception("a step could not be recorded")
            with self._work:
                self._lost += 1

    def close(self) -> None:
        """Write what is pending, for at most five seconds, and end. Harmless when repeated."""
        self._closed = True
        with self._work:
            self._ending = True
            self._work.notify()
        if self._thread is not None:
            self._thread.join(_CLOSE_SECONDS)
        if self.dropped:
            _log.warning("%d steps are missing in the journal %s", self.dropped, self.path)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- the loop's thread ---

    def _keep_line(self, line: str, now: Instant, state: State) -> None:
        with self._work:
            lost, full = self._lost, self._pending > _PENDING
            has_file = self._file.is_open or any(item.kind == "file" for item in self._queue)
            if full or (lost and self._retry_at is not None and now.mono_ms < self._retry_at):
                self._lost += 1
                return
            if lost:
                self._lost = 0
        if lost:
            self._retry_at = now.mono_ms + _RETRY_MS
            if not has_file:
                self._put("file", self._recorder.header(state.config, part=self._part), 0)
            self._put("gap", self._recorder.gap(now, lost + 1), lost + 1)
            return
        self._put("line", line, 1)
        if self._size > self._max_bytes:
            self._part += 1
            self._put("file", self._recorder.header(state.config, part=self._part), 0)

    def _put(self, kind: Literal["file", "line", "gap"], text: str, steps: int) -> None:
        item = _Item(kind, text.encode(), steps)
        self._size = (0 if kind == "file" else self._size) + len(item.text)
        with self._work:
            self._queue.append(item)
            self._pending += len(item.text)
            self._work.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="clawproto journal", daemon=True)
            self._thread.start()

    # --- the writer's thread ---

    def _write(self) -> None:
        while True:
            with self._work:
                while not self._queue and not self._ending:
                    self._work.wait()
                if not self._queue:
                    break
                items = list(self._queue)
                self._queue.clear()
            for item in items:
                written = self._file.write(item)
                with self._work:
                    self._pending -= len(item.text)
                    if not written:
                        self._lost += item.steps
                    elif item.kind == "gap":
                        self._dropped += item.steps
        self._file.close()


class _File:
    """The current file. Used by the writer's thread only, but for `is_open`."""

    def __init__(self, path: Path, keep: int) -> None:
        self._path, self._keep = path, keep
        self._descriptor: int | None = None
        self._length = 0
        self._broken = False

    @property
    def is_open(self) -> bool:
        return self._descriptor is not None

    def write(self, item: _Item) -> bool:
        """Write it, or tell that it is lost; after that only a gap or a new file makes sense."""
        if self._broken and item.kind == "line":
            return False
        try:
            if item.kind == "file":
                self._begin()
            if self._descriptor is None:
                return False
            self._append(self._descriptor, item.text)
        except OSError as error:
            if not self._broken:
                _log.warning("the journal %s cannot be written: %s; the session goes on", self._path, error.strerror)
            self._broken = True
            self._cut()
            return False
        self._broken = False
        return True

    def _begin(self) -> None:
        self.close()
        _make_room(self._path, self._keep)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        self._descriptor, self._length = os.open(self._path, flags, MODE), 0

    def _append(self, descriptor: int, text: bytes) -> None:
        rest = memoryview(text)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        self._length += len(text)

    def _cut(self) -> None:
        """Take back half a line, or give up the file."""
        if self._descriptor is None:
            return
        try:
            os.ftruncate(self._descriptor, self._length)
        except OSError:
            self.close()
        if self._length == 0:  # not even a header: the next attempt begins anew
            self.close()

    def close(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            try:
                os.close(descriptor)
            except OSError:
                _log.debug("closing %s failed", self._path)


def _make_room(path: Path, keep: int) -> None:
    """Move the journals that are there one place up; the oldest makes room."""
    if not os.path.lexists(path):
        return
    names = [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, keep))]
    if keep == 1:
        path.unlink()
        return
    for older, newer in zip(reversed(names[1:]), reversed(names[:-1]), strict=True):
        if os.path.lexists(newer):
            newer.replace(older)


def _library() -> str:
    try:
        return version("clawproto")
    except PackageNotFoundError:
        return "source"
