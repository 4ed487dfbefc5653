"""An echo agent on Twisted's reactor: `clawproto.engine.Engine` sorts the core's effects, this file carries them out.

python twisted_loop.py agent.db
"""
# ruff: noqa: N802 (names of methods are Twisted's)

import logging
import sys
from io import BytesIO

import anyio
from twisted.internet import defer, endpoints, error, protocol, reactor, ssl, threads
from twisted.web.client import Agent, FileBodyProducer, PotentialDataLoss, ResponseDone
from twisted.web.http_headers import Headers
from websockets import client, frames, http11, protocol as websocket, uri

from clawproto import Config, HttpAnswer, Session, app_events, calls, effects, events, results
from clawproto.engine import Engine
from clawproto_io import SystemClock, jobs, open_store, sockets, system_seed

log = logging.getLogger("twisted_loop")
SIZE_LIMIT, SHUTDOWN_SECONDS = 8 * 1024 * 1024, 35.0  # bytes of a frame or an answer; more than a refresh may take


class Socket(protocol.Protocol):
    """One generation: the sans-IO half of `websockets` on a Twisted transport. Deadlines are the core's: it aborts."""

    def __init__(self, opening, engine):
        self.generation, self.engine, self.is_open, self.parts = opening.generation, engine, False, bytearray()
        target = uri.parse_uri(opening.url)
        self.wire = client.ClientProtocol(target, max_size=SIZE_LIMIT, logger=sockets.WireLogger(log))
        endpoint = endpoints.HostnameEndpoint(reactor, target.host, target.port)
        if target.secure:
            endpoint = endpoints.wrapClientTLS(ssl.optionsForClientTLS(target.host), endpoint)
        self.connecting = endpoints.connectProtocol(endpoint, self).addErrback(self.connectionLost)

    def connectionMade(self):
        self.wire.send_request(self.wire.connect())
        self.flush()

    def dataReceived(self, data):
        self.wire.receive_data(data)
        self.flush()  # answers to Ping and CLOSE
        for event in self.wire.events_received():
            if isinstance(event, http11.Response) and self.wire.handshake_exc is None:
                self.is_open = True
                self.engine.handle(events.Opened(self.generation))
            elif isinstance(event, frames.Frame) and event.opcode in frames.DATA_OPCODES:
                self.parts += event.data
                if event.fin:
                    message, self.parts = bytes(self.parts), bytearray()
                    self.engine.receive(self.generation, message)

    def write(self, item):
        if self.wire.state is websocket.State.OPEN:
            if isinstance(item, effects.SendFrame):
                self.wire.send_text(item.text.encode())
            else:  # Close or Reconnect
                self.wire.send_close(getattr(item, "code", sockets.NORMAL_CLOSURE), sockets.cut_reason(item.reason))
            self.flush()

    def flush(self):
        self.transport.writeSequence(self.wire.data_to_send())
        if self.wire.close_rcvd is not None or self.wire.handshake_exc is not None:
            self.transport.loseConnection()  # after what has been written

    def connectionLost(self, reason):
        self.wire.receive_eof()
        closed = events.Closed(self.generation, self.wire.close_code or 1006, self.wire.close_reason or "")
        self.engine.handle(closed if self.is_open else events.OpenFailed(self.generation, "no WebSocket"))

    def abort(self):
        self.connecting.cancel()
        if self.transport is not None:
            self.transport.abortConnection()


class Body(protocol.Protocol):
    """The body of an answer, bounded."""

    def __init__(self):
        self.data, self.done = bytearray(), defer.Deferred(lambda _: self.transport.loseConnection())

    def dataReceived(self, data):
        self.data += data
        if len(self.data) > SIZE_LIMIT:
            self.transport.loseConnection()

    def connectionLost(self, reason):
        whole = reason.check(ResponseDone, PotentialDataLoss)
        self.done.callback(bytes(self.data)) if whole else self.done.errback(reason)


class Driver:
    def __init__(self, path):
        self.store, self.clock, self.agent = open_store(path), SystemClock(), Agent(reactor, connectTimeout=10)
        self.engine = Engine(Session(Config(seed=system_seed())), now=self.clock.now, on_step=self.wake)
        self.sockets, self.timer, self.storing, self.finished = {}, None, False, defer.Deferred()

    def wake(self):
        """After every step: look at what there is to do, once the step is over."""
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        self.timer = reactor.callLater(0, self.work)

    def work(self):
        self.timer, engine = None, self.engine
        while engine.openings:
            opening = engine.openings.popleft()
            self.sockets[opening.generation] = Socket(opening, engine)
        while engine.aborts:
            self.sockets[engine.aborts.popleft()].abort()
        self.sockets = {number: socket for number, socket in self.sockets.items() if number in engine.links}
        for number, socket in self.sockets.items():
            while engine.links[number].outgoing:
                socket.write(engine.links[number].outgoing.popleft())
        while engine.http_jobs:
            job = engine.http_jobs.popleft()
            asking = defer.Deferred.fromCoroutine(self.ask(job)).addTimeout(job.timeout_ms / 1000, reactor)
            asking.addErrback(self.not_answered, job).addCallback(engine.handle)
        if engine.store_jobs and not self.storing:
            defer.Deferred.fromCoroutine(self.run_store())
        while (event := engine.take()) is not None:  # answered at once, so there is never a reason to stop reading
            self.on_event(event)
            engine.mailbox.settle_handed_out()
        if engine.is_finished and not self.finished.called:
            self.finished.callback(None)
        deadline, now = engine.next_deadline(), self.clock.now().mono_ms
        if deadline is not None and self.timer is None:
            self.timer = reactor.callLater(max(0, deadline - now) / 1000, engine.handle, events.Tick())

    async def ask(self, job):
        headers, producer, body = Headers(), FileBodyProducer(BytesIO(job.http.body or b"")), Body()
        for name, value in job.http.headers:
            headers.addRawHeader(name, value)
        response = await self.agent.request(job.http.method.encode(), job.http.url.encode(), headers, producer)
        response.deliverBody(body)
        got = (
            (name.decode().lower(), values[0].decode("latin-1")) for name, values in response.headers.getAllRawHeaders()
        )
        return events.HttpAnswered(job.request, HttpAnswer(response.code, tuple(got), await body.done))

    def not_answered(self, failure, job):
        sent = failure.check(error.ConnectError, error.DNSLookupError) is None
        return events.HttpFailed(job.request, sent, failure.type.__name__)

    async def run_store(self):
        """One job after the other, in a thread; it stays in the queue while under way, so that the end waits for it."""
        self.storing, queue = True, self.engine.store_jobs
        while queue:
            report = await threads.deferToThread(anyio.run, jobs.run_store_job, self.store, queue[0], log)
            queue.popleft()
            if report is not None:
                self.engine.handle(report)
        self.storing = False
        self.wake()

    def on_event(self, event):
        if isinstance(event, app_events.MessageReceived) and event.conversational:
            text = f"echo: {event.text}"
            self.engine.submit(lambda number: calls.build_send(number, event.chat_id, text, reply_to=event), self.sent)
        elif isinstance(event, app_events.LoggedOut | app_events.CredentialsNeeded) and not self.engine.stopped:
            print(f"pair me: {event.text}")
            reactor.stop()

    def sent(self, result):
        if not isinstance(result, results.Receipt):
            print(f"not sent: {result}")

    def stop(self):
        self.engine.handle(events.Stop())
        return self.finished.addTimeout(SHUTDOWN_SECONDS, reactor)


if __name__ == "__main__":
    driver = Driver(sys.argv[1])
    reactor.callWhenRunning(driver.engine.handle, events.Start(anyio.run(driver.store.load)))
    reactor.addSystemEventTrigger("before", "shutdown", driver.stop)  # the reactor waits for what it returns
    reactor.run()
    if driver.engine.holds_rotation:
        sys.exit("the new tokens could not be saved; the stored ones may be spent")
