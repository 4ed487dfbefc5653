"""Tasks that outlive the end of their program, and the group that a driver keeps of them."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context

try:
    import sniffio
except ImportError:  # then nobody asks it
    sniffio = None  # type: ignore[assignment]


def callback_context() -> Context:
    """A context for callbacks of the loop. They run in no task, by which sniffio and anyio know asyncio; so that what
    the application does in its listeners works all the same, the context says it."""
    context = copy_context()
    if sniffio is not None:
        context.run(sniffio.current_async_library_cvar.set, "asyncio")
    return context


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
        context: Context | None = None,
    ) -> None:
        super().__init__(work, loop=loop, name=name, context=context)
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


class TaskGroup:
    """The tasks of one driver.

    Args:
        name: what the names of the tasks begin with.
        on_stop: called when somebody else wants a task to end: the owner should come to its end then.
        on_failure: called with the name of a task and what it raised.
    """

    __slots__ = ("_loop", "_name", "_on_failure", "_on_stop", "_tasks")

    def __init__(
        self, name: str, on_stop: Callable[[], None], on_failure: Callable[[str, BaseException], None]
    ) -> None:
        self._name = name
        self._on_stop = on_stop
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._tasks: list[asyncio.Task[None]] = []

    def guard(self, work: Coroutine[None, None, None], name: str, context: Context | None = None) -> GuardedTask:
        """A task outside the group: nobody looks after how it ends. ``context`` is that of the task itself."""
        name = f"{self._name} {name}"
        return GuardedTask(work, loop=self._loop, name=name, on_refused=self._on_stop, context=context)

    def spawn(self, work: Coroutine[None, None, None], name: str, context: Context | None = None) -> GuardedTask:
        """A task of the group."""
        task = self.guard(work, name, context)
        self._tasks.append(task)
        task.add_done_callback(self._ended)
        return task

    async def end(self) -> None:
        """Cancel all of them for good, and wait until they have ended."""
        while self._tasks:
            for task in self._tasks:
                assert isinstance(task, GuardedTask)
                task.end()
            await asyncio.wait(tuple(self._tasks))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.remove(task)
        assert isinstance(task, GuardedTask)
        if task.cancelled():
            if not task.is_ended:
                self._on_stop()
            return
        error = task.exception()
        if error is not None:
            self._on_failure(task.get_name(), error)
