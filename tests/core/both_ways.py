"""The short way of ordinary messages and ``step``, side by side."""

from collections.abc import Iterable

from clawproto.effects import Effect, SendFrame
from clawproto.events import Event, FrameReceived, Send
from clawproto.instant import Instant
from clawproto.session import step
from clawproto.state import State
from clawproto.traffic import Traffic
from clawproto.traffic_out import SendTraffic
from tests.core.harness import of
from tests.core.link_harness import LinkBench
from tests.core.messaging import HELLO, answer
from tests.core.test_traffic import said

SENDING = Send(1, "cnv_1", HELLO)


class Both:
    """A `Traffic` and ``step`` side by side, event by event.

    Attributes:
        looks: whether the state is put together, and the next Traffic begun, after each event.
    """

    def __init__(self, bench: LinkBench, *, looks: bool = False) -> None:
        assert bench.online
        self.state, self.now, self.looks = bench.state, bench.now, looks
        self.generation = bench.generation
        self.effects: tuple[Effect, ...] = ()  # of the last event
        self._traffic = Traffic.begin(self.state)
        self._sends: SendTraffic | None = None

    def takes(self, event: Event, later: int = 0, *, wall: int | None = None) -> bool:
        """Whether the short way is taken, ``later`` ms after the last event, and ``wall`` ms by the wall clock.

        What comes of it is what comes of ``step``; or nothing has been done.
        """
        self.now = Instant(self.now.wall_ms + (later if wall is None else wall), self.now.mono_ms + later)
        before = self.state
        self.state, self.effects = step(before, event, self.now)
        done = None if self._traffic is None else self._traffic.handle(event, self.now)
        if done is None or self._traffic is None:
            self.look(before)
            return False
        assert done == self.effects
        assert self._traffic.deadline == self.state.deadline
        if self.looks:
            self.look()
        return True

    def look(self, expected: State | None = None) -> None:
        """Compare the states, and go on with the next Traffic."""
        if self._traffic is not None:
            assert self._traffic.state() == (self.state if expected is None else expected)
            self._sends = self._traffic.sends
        self._traffic = Traffic.begin(self.state, self._sends)

    def message(self, number: int, **more: object) -> FrameReceived:
        """The message with this id and this number in the stream."""
        return FrameReceived(self.generation, said(number, number, **more))  # type: ignore[arg-type]

    def ack(self, sent: tuple[str, str], word: str = "") -> FrameReceived:
        return FrameReceived(self.generation, answer(word, *sent, 0))


def frames(effects: Iterable[Effect]) -> list[str]:
    """The events of the uplinks among them."""
    return [effect.event for effect in of(effects, SendFrame)]
