"""The journals of a simulated session: one for each of its processes, as a driver would have written them."""

from pathlib import Path

from clawproto.effects import Effect
from clawproto.events import Event, Start
from clawproto.instant import Instant
from clawproto.journal import Recorder
from clawproto.state import State


class SimulatedJournal:
    """Told of each step. The journal of the last process is ``path``, that of the one before ``path.1``, and so on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._recorder = Recorder()
        self._processes: list[list[str]] = []

    def __call__(self, now: Instant, event: Event, effects: tuple[Effect, ...], after: State) -> None:
        """Record one step; nothing is written yet."""
        if isinstance(event, Start):
            self._recorder = Recorder()
            self._processes.append([self._recorder.header(after.config)])
        self._processes[-1].append(self._recorder.step(now, event, effects, after))

    def write(self) -> list[Path]:
        """Write them all, and tell where to, the last process first.

        Raises:
            OSError: they cannot be written.
        """
        paths: list[Path] = []
        for number, lines in enumerate(reversed(self._processes)):
            path = self._path.with_name(f"{self._path.name}.{number}") if number else self._path
            path.write_text("".join(lines), encoding="ascii")
            paths.append(path)
        return paths
