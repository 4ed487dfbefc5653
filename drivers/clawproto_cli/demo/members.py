"""The processes of the demonstration of a fleet: each is a ``clawproto fleet --json``, and this is what it says."""

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from typing import IO

from clawproto_cli.demo.suspension import suspend
from clawproto_cli.drivers import DriverName
from clawproto_io.stores.places import sqlite_file

_PATIENCE = 60.0  # seconds for a process to end in good order


class Member:
    """One process. `read` by a thread of its own.

    Attributes:
        title: for people.
        name: as the others see it; empty before it says so.
        rotated: when tokens were rotated, by the second.
        connected: when a session became ready, by the second.
        logged_out: accounts whose session ended for good.
        failures: sessions that failed, with the reason.
        totals: the last sums.
        exit_code: None while it runs.
    """

    def __init__(self, title: str, driver: DriverName, store: str, term: float, refresh_floor: float) -> None:
        self.title = title
        self.driver: DriverName = driver
        self._store = store
        self.name = ""
        self.rotated: Counter[int] = Counter()
        self.connected: Counter[int] = Counter()
        self.logged_out: list[str] = []
        self.failures: list[str] = []
        self.totals: dict[str, int] = {}
        self.is_paused = False
        arguments = ["fleet", "--json", "--echo", "--store", store, "--driver", driver, "--term", str(term)]
        arguments += ["--refresh-floor", str(refresh_floor)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "clawproto_cli", *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def kill(self) -> None:
        """As a crash would."""
        self._process.kill()
        self._process.wait()
        self.totals = {}

    def pause(self) -> None:
        """As a machine that is suspended."""
        suspend(self._process, sqlite_file(self._store))
        self.is_paused = True

    def resume(self) -> None:
        """And wakes up."""
        self._process.send_signal(signal.SIGCONT)
        self.is_paused = False

    def end(self) -> bool:
        """In good order; tell whether it did."""
        if self.exit_code is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._reader.join(_PATIENCE)
        return code == 0

    def close(self) -> None:
        """Whatever it is doing."""
        if self.exit_code is None:
            self._process.kill()  # a paused process dies as well
            self._process.wait()
        self._reader.join(_PATIENCE)

    def _read(self, output: IO[bytes]) -> None:
        with output:
            for line in output:
                self._take(json.loads(line))

    def _take(self, form: dict[str, object]) -> None:
        second = int(str(form.get("at_ms", 0))) // 1000
        match form["event"]:
            case "started":
                self.name = str(form["member"])
            case "rotated":
                self.rotated[second] += 1
            case "ready":
                self.connected[second] += 1
            case "logged_out":
                self.logged_out.append(str(form["account"]))
            case "failed":
                self.failures.append(f"{form['account']}: {form.get('detail')}")
            case "totals":
                self.totals = {key: value for key, value in form.items() if isinstance(value, int)}
            case _:
                pass
