"""Whether a session becomes slower with its age, or with the number of sends under way.

Both sessions are live, reached by their own steps, and measured in short stretches: the large one goes on and on, the
small one is made anew for each stretch, outside of the time that counts.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence

from benchmarks import frames
from benchmarks.harness import Row, alternate, paired
from benchmarks.sessions import moment, ready, receive
from clawproto.effects import Effect, SendFrame
from clawproto.events import FrameReceived, Send
from clawproto.session import Session

LIMIT = 1.1
FEW_SEEN, MANY_SEEN = 10, 1_000_000
FEW_PENDING, MANY_PENDING = 1, 10_000
STRETCH = 40  # frames: one ack of ours falls into it
SENDS = 20
STRETCHES = 30  # in one half of a pair
SIZE = 700
NOW = moment(1_000)  # it stands still for sends, or the first ones would wait in vain for their acks


class Listening:
    """A live session that has seen so many messages, all of them settled."""

    def __init__(self, seen: int) -> None:
        state, self._generation = ready()
        self._session, make = Session.of(state), frames.quickly(SIZE)
        for number in range(1, seen + 1):
            receive(self._session, self._generation, number, make(number))
        self._seen = seen

    def seconds(self) -> float:
        """Processor time per frame of the next ones."""
        texts = [(number, frames.message(number, SIZE)) for number in range(self._seen + 1, self._seen + STRETCH + 1)]
        began = time.process_time()
        for number, text in texts:
            receive(self._session, self._generation, number, text)
        spent = time.process_time() - began
        self._seen += STRETCH
        return spent / STRETCH


def _hello(number: int) -> Send:
    return Send(number, frames.chat(number), ({"kind": "text", "text": f"hello {number}"},))


class Sending:
    """A live session with so many sends under way."""

    def __init__(self, pending: int) -> None:
        state, self._generation = ready()
        self._session = Session.of(state)
        self._sent = 0
        self.send(self._commands(pending))
        assert self.pending == pending, "and whoever asks has the whole state put together"

    def _commands(self, count: int) -> list[Send]:
        first = self._sent + 1
        self._sent += count
        return [_hello(number) for number in range(first, first + count)]

    def commands(self) -> list[Send]:
        """The next `SENDS`."""
        return self._commands(SENDS)

    def send(self, commands: Sequence[Send]) -> list[tuple[Effect, ...]]:
        handle = self._session.handle
        return [handle(command, NOW) for command in commands]

    def seconds(self) -> float:
        """Processor time per send of the next ones, which are acknowledged afterwards."""
        commands = self.commands()
        began = time.process_time()
        done = self.send(commands)
        spent = time.process_time() - began
        for effect in (effect for effects in done for effect in effects):
            assert isinstance(effect, SendFrame)
            uplink = json.loads(effect.text)
            ack = frames.ack(uplink["trace_id"], uplink["payload"]["message_id"])
            self._session.handle(FrameReceived(self._generation, ack), NOW)
        return spent / SENDS

    @property
    def pending(self) -> int:
        return len(self._session.state.outbox.entries)


def _mean(stretch: Callable[[], float]) -> float:
    return sum(stretch() for _ in range(STRETCHES)) / STRETCHES * 1e6


def growth(rounds: int) -> Iterator[Row]:
    """Microseconds per frame and per send, of the large session against the small one."""
    old = Listening(MANY_SEEN)
    aged, young = alternate(lambda: _mean(old.seconds), lambda: _mean(lambda: Listening(FEW_SEEN).seconds()), rounds)
    name = "message.send, 700 bytes"
    row = paired("growth", name, f"{FEW_SEEN} seen", "µs", aged, young)
    yield row.held_to("frame growth", LIMIT)
    busy = Sending(MANY_PENDING)
    many, few = alternate(lambda: _mean(busy.seconds), lambda: _mean(Sending(FEW_PENDING).seconds), rounds)
    assert busy.pending == MANY_PENDING
    row = paired("growth", "message.send, one word", f"{FEW_PENDING} pending", "µs", many, few)
    yield row.held_to("send growth", LIMIT)
