"""One accepted WebSocket of the development hub: a queue of effects and the task that carries them out."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

from aiohttp import web

from clawproto.hub.effects import CloseSocket, CutSocket, SendPing, SendText, SocketEffect

_LINGER_SECONDS = 2.0


class HubSocket:
    """Writes in order, holding back what is to be late. What waits is bounded by the hub's send buffer.

    Args:
        upgraded: the open WebSocket.
        transport: what is under it.
        report: called with a frame's number once it is written.
    """

    def __init__(
        self, upgraded: web.WebSocketResponse, transport: asyncio.Transport | None, report: Callable[[int], None]
    ) -> None:
        self._upgraded = upgraded
        self._transport = transport
        self._report = report
        self._queue: deque[tuple[float, SocketEffect]] = deque()
        self._wake = asyncio.Event()
        self._done = False

    def perform(self, effect: SocketEffect) -> None:
        """Queue an effect. A cut that need not flush happens at once."""
        if isinstance(effect, CutSocket) and not effect.flush:
            self._drop()
            return
        delay = effect.delay_ms / 1000 if isinstance(effect, SendText) else 0.0
        self._queue.append((asyncio.get_running_loop().time() + delay, effect))
        self._wake.set()

    def abort(self) -> None:
        """Drop the transport together with what it still holds."""
        self.finish()
        if self._transport is not None:
            self._transport.abort()

    def finish(self) -> None:
        """Send nothing more; `run` ends."""
        self._done = True
        self._queue.clear()
        self._wake.set()

    def _drop(self) -> None:
        """End the stream without a CLOSE frame: what the transport holds still goes out, for a short while."""
        self.finish()
        if self._transport is not None:
            self._transport.close()
            asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._transport.abort)

    async def run(self) -> None:
        """Carry the queue out until `finish`, or until the peer is gone."""
        with contextlib.suppress(ConnectionError):
            while not self._done:
                if not self._queue:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                due, effect = self._queue[0]
                wait = due - asyncio.get_running_loop().time()
                if wait > 0:
                    self._wake.clear()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), wait)
                    continue
                self._queue.popleft()
                await self._carry_out(effect)

    async def _carry_out(self, effect: SocketEffect) -> None:
        match effect:
            case SendText():
                await self._upgraded.send_str(effect.text)
                self._report(effect.number)
            case SendPing():
                await self._upgraded.ping()
            case CloseSocket():
                self._done = True
                await self._upgraded.close(code=effect.code, message=effect.reason.encode())
            case CutSocket():
                self._drop()
