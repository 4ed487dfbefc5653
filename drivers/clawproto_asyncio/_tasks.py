"""Tasks that outlive a stranger's cancellation."""

import asyncio
from collections.abc import Callable, Coroutine


class GuardedTask(asyncio.Task[None]):
    """A task that only its owner ends.

    ``asyncio.run`` cancels every task of the loop when its main function is over, and programs do the same by hand. A
    rotation in flight must survive that (REF-48), so a cancellation from outside only asks the owner to stop. Timeouts
    within the task work as ever: they come from the loop, or from the task itself. A callback of the loop that cancels
    everything looks like a timeout and gets through; the work then sees a CancelledError with ``is_ended`` unset.

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
        """Refuse, unless the call comes from within."""
        loop = self.get_loop()
        if loop.is_running() and asyncio.current_task(loop) in (None, self):
            return super().cancel(msg)
        if not self.done():
            loop.call_soon(self._on_refused)
        return False
