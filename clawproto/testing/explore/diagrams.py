"""The state diagrams of the documents, drawn from the moves that an exploration has seen.

``python -m clawproto.testing.explore.diagrams docs/states.md`` writes them, ``--check`` says whether they are stale.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from clawproto.testing.explore.client import Client
from clawproto.testing.explore.messages import Machine, walk
from clawproto.testing.explore.search import search
from clawproto.testing.explore.worlds import DRAWN, World

_HEAD: Final = """# The machines as diagrams

Drawn by `python -m clawproto.testing.explore.diagrams docs/states.md` from the moves that the explorer has seen; a test
says when they are stale. An arrow carries every event that was seen to lead from one phase to the other; what leaves
the phase as it is has none. *time* is a `Tick`, or an instant that has passed when something else happens.
"""
_TEXTS: Final = {
    "tokens": """
## Tokens

From explorations with server, store, a sibling process and crashes in which one thing fails, of an agent that is
paired, whose pair was revoked, or that is not paired yet. `usable` is the phase `Idle` with a pair in force; `absent`
and `logged_out` wait for credentials. *hub* is what happens to a socket that the tokens have permitted.
""",
    "link": """
## Link

From an exploration in which the hub does anything at any time, while server and store work. *http* and *store* are the
moments at which a rotation ends: a new token permits the next socket, or changes the one that is there.
""",
    "outbox": """
## Outbox

What becomes of one message, with a message store (`not_kept`) and without. `undecided` is what its sender was told; the
message is still reconciled. `unanswered` waits for the next connection.
""",
    "inbox": """
## Inbox

What becomes of one message that the hub sends, with `dseq` (v2). `held`: the application has it. Whatever was not
acknowledged comes again after the next connect; unchanged, it is settled without being handed over.
""",
}

_MESSAGES: Final[tuple[tuple[Machine, bool, int], ...]] = (
    ("outbox", False, 1_000),
    ("outbox", True, 1_500),
    ("inbox", False, 1_500),
)
_WORDS: Final = {
    "late": "time",
    "restart": "start",
    "age": "hours",
    "load": "credentials loaded",
    "refresh": "refresh wanted",
    "open-failed": "open failed",
    "pause": "receiver paused",
    "resume": "receiver resumed",
}


def _event(name: str) -> str:
    kind, _, rest = name.partition(" ")
    if kind == "closed":
        return "closed"
    if kind == "socket":
        return f"hub: {rest}"
    return _WORDS.get(name, name)


def draw(edges: Iterable[tuple[str, str, str]]) -> str:
    """A Mermaid state diagram."""
    arrows: dict[tuple[str, str], set[str]] = {}
    for left, event, after in edges:
        before = "" if event in ("start", "restart") else left
        if before != after:
            arrows.setdefault((before, after), set()).add(_event(event))
    lines = ["```mermaid", "stateDiagram-v2"]
    for (before, after), events in sorted(arrows.items()):
        label = ", ".join(sorted(events)).replace(":", "")
        lines.append(f"    {_node(before)} --> {_node(after)} : {label}")
    return "\n".join([*lines, "```", ""])


def _node(phase: str) -> str:
    return {"": "[*]", "Idle": "usable", "logged-out": "logged_out"}.get(phase, phase)


def document() -> str:
    """The whole page."""
    parts = [_HEAD]
    for title, worlds in DRAWN.items():
        seen: set[tuple[str, str, str]] = set()
        for world in worlds:
            seen |= _edges(title, world)
        parts += [_TEXTS[title], draw(seen)]
    machines: tuple[Machine, ...] = ("outbox", "inbox")
    for machine in machines:
        walks = [walk(machine, keep=keep, limit=limit) for name, keep, limit in _MESSAGES if name == machine]
        parts += [_TEXTS[machine], draw(edge for one in walks for edge in one.edges)]
    return "\n".join(parts)


def _edges(title: str, world: World) -> set[tuple[str, str, str]]:
    client = Client(world.setting.linked, total=False)
    search(world.name, world.setting, client=client, limit=world.limit)
    which = 0 if title == "tokens" else 1
    return {(before[which], event, after[which]) for before, event, after in client.edges}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or check it: exit code 1 if it is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    page: Path = options.page
    drawn = document()
    if options.check:
        stale = not page.exists() or page.read_text(encoding="utf-8") != drawn
        print(f"{page} is {'stale' if stale else 'up to date'}")
        return int(stale)
    page.write_text(drawn, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
