"""``python -m tests.journals FILE…``: the same events, with the answers of this version."""

import gzip
import sys
from importlib.metadata import version
from pathlib import Path
from typing import cast

from clawproto.events import Event
from clawproto.journal import Recorder
from clawproto.journal_encoding import JournalError, decode
from clawproto.replay import Replayer
from clawproto.session import step
from clawproto_cli.journals import open_journal


def renewed(path: Path) -> str:
    """The journal, recorded once more. Only one that begins with the session and has no gap can be."""
    replayer = Replayer(journal := open_journal(path))
    if "whole" in journal.header or any(line.is_gap for line in journal.lines):
        raise JournalError("only a journal that is complete from its start can be recorded again")
    state, recorder = replayer.state, Recorder(library=version("clawproto"))
    text = [recorder.header(state.config)]
    for line in journal.lines:
        event = cast(Event, decode(line.source["event"]))
        state, effects = step(state, event, line.at)
        text.append(recorder.step(line.at, event, effects, state))
    return "".join(text)


for name in sys.argv[1:]:
    text = renewed(Path(name)).encode()
    with gzip.GzipFile(name, "wb", mtime=0) as file:
        file.write(text)
