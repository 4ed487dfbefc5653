"""What is shown while it runs: one line an occurrence, coloured by agent on a terminal."""

import sys
import threading
import time

from rich.console import Console
from rich.text import Text

from clawproto_cli.text import printable

STYLES = {"": "bold", "asyncio": "cyan", "trio": "magenta"}


class Story:
    """Tells the story, from several threads.

    Args:
        aside: tell it on standard error, since standard output is for a program.
    """

    def __init__(self, *, aside: bool) -> None:
        self._console = Console(
            file=sys.stderr if aside else None, highlight=False, markup=False, emoji=False, soft_wrap=True
        )
        self._lock = threading.Lock()
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def act(self, title: str, text: str) -> None:
        """A new act begins."""
        self._print(Text.assemble(("\n" + title, "bold"), "  ", text))

    def note(self, text: str, style: str = "dim") -> None:
        """The narrator."""
        self._print(Text(text, style))

    def tell(self, name: str, driver: str, text: str, style: str = "") -> None:
        """Something happened to an agent."""
        self._print(
            Text.assemble(
                (f"{self.seconds:5.1f} s  ", "dim"), (f"{name:<4}", STYLES[driver]), " ", (printable(text), style)
            )
        )

    def _print(self, text: Text) -> None:
        with self._lock:
            self._console.print(text)
