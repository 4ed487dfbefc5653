"""Why mutants survive: ``explained.txt`` says it, and the page about the survivors repeats it.

In that file a line that begins with ``=`` is a reason, and the lines below it name what it holds for: the module, a
colon, and the lines that the mutant puts in (or takes out, if it puts none in), joined by a slash. A line that begins
with ``~`` is a regular expression for all such lines that it matches as a whole.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

EXPLAINED: Final = Path(__file__).with_name("explained.txt")
UNEXPLAINED: Final = "Not explained"


def change_in(module: str, change: str) -> str:
    """What `explained.txt` calls a change, of which ``change`` has the lines as a difference shows them."""
    lines = change.splitlines()
    chosen = [line for line in lines if line.startswith("+")] or lines
    return f"{module}: " + " / ".join(line[1:].strip() for line in chosen)


@frozen
class Reasons:
    """What `explained.txt` says.

    Attributes:
        of: the reason of each change that is named.
        patterns: the reasons of all others that match.
    """

    of: Mapping[str, str]
    patterns: tuple[tuple[re.Pattern[str], str], ...]

    @classmethod
    def read(cls, text: str) -> "Reasons":
        """From the text of the file.

        Raises:
            ValueError: a line stands under no reason, or a change is there twice.
        """
        found: dict[str, str] = {}
        patterns: list[tuple[re.Pattern[str], str]] = []
        reason: str | None = None
        for line in text.splitlines():
            if line.startswith("="):
                reason = line[1:].strip()
            elif line.strip():
                if reason is None or line in found:
                    raise ValueError(f"explained.txt: {line}")
                if line.startswith("~"):
                    patterns.append((re.compile(line[1:].strip()), reason))
                else:
                    found[line] = reason
        return cls(found, tuple(patterns))

    def why(self, change: str) -> str | None:
        """Why nobody notices this change; None if that is not explained."""
        if change in self.of:
            return self.of[change]
        return next((reason for pattern, reason in self.patterns if pattern.fullmatch(change)), None)

    def sort(self, changes: Iterable[str]) -> dict[str, list[str]]:
        """The changes under their reasons, those without one at the end."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for change in changes:
            found[self.why(change) or UNEXPLAINED].append(change)
        return {reason: found[reason] for reason in sorted(found, key=lambda reason: reason == UNEXPLAINED)}


def section(changes: Iterable[str], reasons: Reasons) -> str:
    """The survivors for the page."""
    lines: list[str] = []
    for reason, those in reasons.sort(changes).items():
        lines += [f"### {reason}", "", *(_item(change) for change in those), ""]
    return "\n".join(lines)


def _item(change: str) -> str:
    module, _, text = change.partition(": ")
    return f"- `{module}`: `` {text} ``"
