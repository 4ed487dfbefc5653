"""Reading the journals that a command is given."""

import gzip
import zlib
from pathlib import Path

from clawproto.journal_encoding import JournalError
from clawproto.replay import LONGEST_LINE, Journal, read
from clawproto_cli.failures import Exit, Failure


def open_journal(path: Path) -> Journal:
    """The journal in a file, which may be compressed with gzip. Raises Failure if there is none."""
    try:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="ascii", errors="replace", newline="\n") as lines:
            return read(iter(lambda: lines.readline(LONGEST_LINE + 1), ""))
    except (OSError, EOFError, zlib.error) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise Failure(Exit.FAILED, f"{path}: {reason}") from None
    except JournalError as error:
        raise Failure(Exit.FAILED, f"{path}: {error}") from None
