"""An event that can be used again, and takes little room while nobody waits."""

from functools import partial

import trio


class Signal:
    """Like `trio.Event`, but `clear` makes it wait again. Whoever waits already is not affected by `clear`."""

    __slots__ = ("_is_set", "_waiting")

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: list[trio.lowlevel.Task] = []

    def is_set(self) -> bool:
        """Whether `wait` would return at once."""
        return self._is_set

    def set(self) -> None:
        """Wake whoever waits, and let through whoever comes."""
        if not self._is_set:
            self._is_set = True
            if self._waiting:
                waiting, self._waiting = self._waiting, []
                for task in waiting:
                    trio.lowlevel.reschedule(task)

    def clear(self) -> None:
        """From now on, wait for the next `set`."""
        self._is_set = False

    async def wait(self) -> None:
        """Wait until it is set. A checkpoint."""
        if self._is_set:
            await trio.lowlevel.checkpoint()
            return
        task = trio.lowlevel.current_task()
        self._waiting.append(task)
        await trio.lowlevel.wait_task_rescheduled(partial(self._abort, task))

    def _abort(self, task: trio.lowlevel.Task, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._waiting.remove(task)
        return trio.lowlevel.Abort.SUCCEEDED
