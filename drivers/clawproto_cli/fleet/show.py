"""Shows what a fleet does: a live table on a terminal, lines elsewhere, JSON for programs."""

from collections import deque

import anyio
import anyio.to_thread
from rich.live import Live

from clawproto_cli.drivers import Fleet
from clawproto_cli.fleet.forms import news_form, news_line, totals_form, totals_line
from clawproto_cli.fleet.table import table_of
from clawproto_cli.output import Lines, console
from clawproto_io import SystemClock
from clawproto_io.fleet.board import FleetNews

_EVERY = 0.25  # seconds between two looks
_SUMS_EVERY = 10.0  # seconds between two lines of sums if nothing changes
_QUIET = ("owned", "let-go", "ready", "rotated")  # for people, the sums tell these
_KEPT = 100_000  # news that wait to be written, for a reader that has stopped reading


class Show:
    """Give it the news, and `run` it beside the fleet.

    Attributes:
        closed: the reader of the output has gone.
    """

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._clock = SystemClock()
        self._console = console()
        self._lines = Lines(as_json)
        self._news: deque[tuple[FleetNews, int]] = deque(maxlen=_KEPT)

    @property
    def closed(self) -> bool:
        return self._lines.closed

    def tell(self, news: FleetNews) -> None:
        """Something has happened."""
        self._news.append((news, self._clock.now().wall_ms))

    async def run(self, fleet: Fleet) -> None:
        """Until cancelled, or until the reader has gone."""
        if self._as_json or not self._console.is_terminal:
            await self._write(fleet)
        else:
            await self._draw(fleet)

    async def finish(self, fleet: Fleet) -> None:
        """What is left to say."""
        await self._flush()
        if self._as_json or not self._console.is_terminal:
            await self._sums(fleet)

    async def _write(self, fleet: Fleet) -> None:
        said: object = None
        at = 0.0
        while not self.closed:
            await self._flush()
            now = (fleet.totals, fleet.store_problem)
            since = anyio.current_time() - at
            if (now != said and since >= 1) or since >= _SUMS_EVERY:
                said, at = now, anyio.current_time()
                await self._sums(fleet)
            await anyio.sleep(_EVERY)

    async def _flush(self) -> None:
        while self._news:
            news, at_ms = self._news.popleft()
            if self._as_json or news.what not in _QUIET:
                await self._lines.write(news_form(news, at_ms), *news_line(news, at_ms))

    async def _sums(self, fleet: Fleet) -> None:
        at_ms = self._clock.now().wall_ms
        await self._lines.write(totals_form(fleet, at_ms), *totals_line(fleet, at_ms))

    async def _draw(self, fleet: Fleet) -> None:
        with Live(console=self._console, auto_refresh=False, vertical_overflow="crop") as live:
            while True:
                self._news.clear()
                table = table_of(fleet, self._clock.now().wall_ms, self._console.height)
                # On a thread: a terminal that is held with Ctrl-S must hold up no session.
                await anyio.to_thread.run_sync(lambda: live.update(table, refresh=True))  # noqa: B023  # awaited here
                await anyio.sleep(2 * _EVERY)
