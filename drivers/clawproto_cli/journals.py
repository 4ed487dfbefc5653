"""Reading the journals that a command is given."""

from pathlib import Path

from clawproto.journal_encoding import JournalError
from clawproto.replay import Journal, read
from clawproto_cli.failures import Exit, Failure


def open_journal(path: Path) -> Journal:
    """The journal in a file. Raises Failure if there is none."""
    try:
        with path.open(encoding="ascii", errors="replace", newline="\n") as lines:
            return read(lines)
    except OSError as error:
        raise Failure(Exit.FAILED, f"{path}: {error.strerror or error}") from None
    except JournalError as error:
        raise Failure(Exit.FAILED, f"{path}: {error}") from None
