"""Tasks that outlive the end of their program."""

import asyncio
from collections.abc import Callable, Coroutine


class GuardedTask(asyncio.Task[None]):
    """A task that the end of ``asyncio.run`` does not tear apart.

    When its main function is over, ``asyncio.run`` cancels whatever is left, all at once: the application's task in its
    ``connect`` block, and the request that has just redeemed a refresh token. This task refuses that one cancellation
    and tells its owner to stop; ``asyncio.run`` waits for it, and the owner's end is bounded. It is recognised by the
    loop standing still. Any other cancellation comes from within: the timeouts of the libraries in use.

    A program that cancels every task of a running loop by hand does get through; the work then sees a CancelledError
    with ``is_ended`` unset, reports what it was doing as failed, and the session ends in good order.

    Attributes:
        is_ended: the owner has ended it.
    """

    def __init__(
        self,
        work: Coroutine[None, None, None],
        *,
        loop: asyncio.AbstractEventLoop,
        name: str,
        on_refused: Callable[[], None],
    ) -> None:
        super().__init__(work, loop=loop, name=name)
        self._on_refused = on_refused
        self.is_ended = False

    def end(self) -> None:
        """Cancel for good; for the owner."""
        self.is_ended = True
        super().cancel()

    def cancel(self, msg: object = None) -> bool:
        """Refuse while the loop stands still."""
        loop = self.get_loop()
        if loop.is_running():
            return super().cancel(msg)
        if not self.done():
            loop.call_soon(self._on_refused)
        return False
