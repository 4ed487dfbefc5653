"""Where output goes: JSON lines for programs, styled lines for people. Every line is flushed at once."""

import json
import os
import sys
from collections.abc import Mapping

import anyio.to_thread
from rich.console import Console
from rich.text import Text


def console() -> Console:
    """Standard output for people: colours on a terminal only, none with NO_COLOR; no markup in what others wrote."""
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True)


def write_json(form: Mapping[str, object]) -> None:
    """One object on a line of its own. Plain ASCII, so that no content can steer a terminal or fail to be encoded."""
    sys.stdout.write(json.dumps(form) + "\n")
    sys.stdout.flush()


class Lines:
    """Writes the output of a long-running command from a worker thread, so that a slow reader holds up no session.

    Attributes:
        closed: the reader has gone; nothing can be written any more.
    """

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._console = console()
        self.closed = False

    async def write(self, form: Mapping[str, object], line: str, style: str = "") -> None:
        """Write ``form`` or ``line`` and return once it is with the operating system."""

        def write() -> None:
            if self._as_json:
                write_json(form)
            else:
                self._console.print(Text(line, style))
                sys.stdout.flush()

        if self.closed:
            return
        try:
            await anyio.to_thread.run_sync(write)
        except BrokenPipeError:
            self.closed = True
            # What is still buffered must not fail again when the interpreter closes the stream.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
