"""Why mutants survive: ``explained.txt`` says it, and the page about the survivors repeats it.

In that file a line that begins with ``=`` is a reason, and the lines below it name what it holds for: the module, a
colon, and the lines that the mutant puts in (or takes out, if it puts none in), joined by a slash.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

EXPLAINED: Final = Path(__file__).with_name("explained.txt")
UNEXPLAINED: Final = "Not explained"


def change_in(module: str, change: str) -> str:
    """What `explained.txt` calls a change, of which ``change`` has the lines as a difference shows them."""
    lines = change.splitlines()
    chosen = [line for line in lines if line.startswith("+")] or lines
    return f"{module}: " + " / ".join(line[1:].strip() for line in chosen)


def read_reasons(text: str) -> dict[str, str]:
    """The reason of each change.

    Raises:
        ValueError: a line stands under no reason, or a change is there twice.
    """
    found: dict[str, str] = {}
    reason: str | None = None
    for line in text.splitlines():
        if line.startswith("="):
            reason = line[1:].strip()
        elif line.strip():
            if reason is None or line in found:
                raise ValueError(f"explained.txt: {line}")
            found[line] = reason
    return found


def by_reason(changes: Iterable[str], reasons: Mapping[str, str]) -> dict[str, list[str]]:
    """The changes under their reasons, in the order of the reasons; those without one at the end."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for change in changes:
        found[reasons.get(change, UNEXPLAINED)].append(change)
    order = [*dict.fromkeys(reasons.values()), UNEXPLAINED]
    return {reason: found[reason] for reason in order if reason in found}


def section(changes: Iterable[str], reasons: Mapping[str, str]) -> str:
    """The survivors for the page."""
    lines: list[str] = []
    for reason, those in by_reason(changes, reasons).items():
        lines += [f"### {reason}", "", *(_item(change) for change in those), ""]
    return "\n".join(lines)


def _item(change: str) -> str:
    module, _, text = change.partition(": ")
    return f"- `{module}`: `` {text} ``"
