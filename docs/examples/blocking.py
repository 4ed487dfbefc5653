"""The core in a plain blocking loop. What must never be lost is in the core; this file carries out its effects.

python blocking.py agent.db
"""

import logging
import signal
import sys
import time
from collections import deque
from contextlib import ExitStack, suppress

import anyio
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from clawproto import Config, Session, effects, events
from clawproto_io import HttpRunner, SystemClock, open_store, system_seed
from clawproto_io.jobs import run_http_job, run_store_job


class BlockingDriver:
    def __init__(self, path: str) -> None:
        self.store, self.clock, self.session = open_store(path), SystemClock(), Session(Config(seed=system_seed()))
        self.queue: deque[events.Event] = deque([events.Start(anyio.run(self.store.load))])
        self.open, self.generation = ExitStack(), 0
        self.socket: ClientConnection | None = None

    def run(self) -> None:
        while not self.session.is_finished:
            event = self.queue.popleft() if self.queue else self.wait()
            for effect in self.session.handle(event, self.clock.now()):
                if (report := self.perform(effect)) is not None:
                    self.queue.append(report)

    def wait(self) -> events.Event:
        deadline = self.session.next_deadline()
        seconds = 1.0 if deadline is None else min(1.0, max(0, deadline - self.clock.now().mono_ms) / 1000)
        try:
            if self.socket is not None:
                return events.FrameReceived(self.generation, self.socket.recv(timeout=seconds))
            time.sleep(seconds)
        except TimeoutError:
            pass
        except ConnectionClosed as error:
            return self.close(1006 if error.rcvd is None else error.rcvd.code)
        return events.Tick()

    def close(self, code: int = 1000) -> events.Closed:
        self.open.close()
        self.socket = None
        return events.Closed(self.generation, code)

    def perform(self, effect: effects.Effect) -> events.Event | None:
        if isinstance(effect, effects.Open):
            self.generation = effect.generation
            try:
                self.socket = self.open.enter_context(connect(effect.url, open_timeout=effect.timeout_ms / 1000))
            except Exception as error:
                return events.OpenFailed(self.generation, type(error).__name__)
            return events.Opened(self.generation)
        if isinstance(effect, effects.SendFrame) and self.socket is not None:
            with suppress(ConnectionClosed):  # the next receive reports it
                self.socket.send(effect.text)
        elif isinstance(effect, effects.Close | effects.Reconnect | effects.Abort):
            return self.close()
        elif isinstance(effect, effects.RequestRefresh | effects.RequestHttp):
            return anyio.run(run_http_job, HttpRunner(), effect)
        elif isinstance(effect, effects.RecordIntent | effects.Persist | effects.Logout | effects.Reload):
            return anyio.run(run_store_job, self.store, effect, logging.getLogger(__name__))
        elif isinstance(effect, effects.Emit):
            print(effect.event, flush=True)
            return None if effect.delivery is None else events.Settle(effect.delivery)
        return None


if __name__ == "__main__":
    driver = BlockingDriver(sys.argv[1])
    signal.signal(signal.SIGINT, lambda *_: driver.queue.append(events.Stop()))  # seen within a second
    driver.run()
