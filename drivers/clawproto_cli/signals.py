"""SIGTERM as polite as SIGINT."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def terminated_as_interrupted() -> Generator[None]:
    """SIGTERM does what SIGINT does: a service manager cuts nothing short that an interrupt lets finish.

    Changes nothing outside of the main thread, nor where SIGINT is ignored, as for jobs in the background.
    """
    if threading.current_thread() is not threading.main_thread() or not callable(signal.getsignal(signal.SIGINT)):
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda _number, _frame: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
