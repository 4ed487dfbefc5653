"""The core in a plain blocking loop. What must never be lost is in the core; this file carries out its effects.

python blocking.py agent.db
"""

import logging
import signal
import sys
import time
from collections import deque
from contextlib import suppress

import anyio
from clawproto_io import HttpRunner, SystemClock, open_store, system_seed
from clawproto_io.jobs import run_http_job, run_store_job
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from clawproto import Config, Session, effects, events


class BlockingDriver:
    def __init__(self, path: str) -> None:
        self.store, self.clock, self.session = open_store(path), SystemClock(), Session(Config(seed=system_seed()))
        self.queue: deque[events.Event] = deque([events.Start(anyio.run(self.store.load))])
        self.socket: ClientConnection | None = None
        self.generation, self.idle = 0, False

    def run(self) -> None:
        while not self.session.is_finished:
            event = self.queue.popleft() if self.queue else self.wait()
            for effect in self.session.handle(event, self.clock.now()):
                report = self.perform(effect)
                if report is not None:
                    self.queue.append(report)

    def interrupt(self, *_: object) -> None:  # a signal ends the waiting, but never a refresh or a save
        self.queue.append(events.Stop())
        if self.idle:
            raise InterruptedError

    def wait(self) -> events.Event:
        deadline, self.idle = self.session.next_deadline(), True
        seconds = 60 if deadline is None else max(0, deadline - self.clock.now().mono_ms) / 1000
        try:
            if self.socket is not None:
                return events.FrameReceived(self.generation, self.socket.recv(timeout=seconds))
            time.sleep(seconds)
        except ConnectionClosed as error:
            self.socket = None
            return events.Closed(self.generation, 1006 if error.rcvd is None else error.rcvd.code)
        except (TimeoutError, InterruptedError):
            pass
        finally:
            self.idle = False
        return events.Tick()

    def perform(self, effect: effects.Effect) -> events.Event | None:
        match effect:
            case effects.Open(generation, url, timeout_ms):
                try:
                    self.socket = connect(url, open_timeout=timeout_ms / 1000, ping_interval=None)
                except Exception as error:
                    return events.OpenFailed(generation, type(error).__name__)
                self.generation = generation
                return events.Opened(generation)
            case effects.SendFrame(text=text) if self.socket is not None:
                with suppress(ConnectionClosed):  # the next receive reports it
                    self.socket.send(text)
            case effects.Close(generation) | effects.Reconnect(generation) | effects.Abort(generation) if self.socket:
                self.socket = self.socket.close()
                return events.Closed(generation, 1000)
            case effects.RequestRefresh() | effects.RequestHttp():
                return anyio.run(run_http_job, HttpRunner(), effect)
            case effects.Emit(event, delivery):
                print(event, flush=True)
                return None if delivery is None else events.Settle(delivery)
            case effects.RecordIntent() | effects.Persist() | effects.Logout() | effects.Reload():
                return anyio.run(run_store_job, self.store, effect, logging.getLogger(__name__))
        return None


if __name__ == "__main__":
    driver = BlockingDriver(sys.argv[1])
    signal.signal(signal.SIGINT, driver.interrupt)
    driver.run()
