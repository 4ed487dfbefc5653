"""Print the interpreters that the suite runs on, one a line: Python 3.11 if there is one, and the newest there is.

The one that runs this file counts as well; an interpreter without ``venv`` does not.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST, LATEST = 11, 19  # minor versions that are looked for


def candidates() -> list[str]:
    """Everything that may be an interpreter."""
    names = [f"python3.{minor}" for minor in range(OLDEST, LATEST + 1)]
    found = [path for name in names if (path := shutil.which(name))]
    for root in (Path.home() / ".pyenv/versions", Path.home() / ".local/share/uv/python", Path("/opt/python")):
        found += [str(path) for name in names for path in root.glob(f"*/bin/{name}")]
    return [sys.executable, *found]


def version(interpreter: str) -> tuple[int, ...] | None:
    """Its version, or None if it is unfit: too old, a pre-release, broken, or unable to make a virtual environment."""
    program = "import sys, venv, ensurepip, sqlite3, ssl; print(*sys.version_info[:4])"
    try:
        done = subprocess.run([interpreter, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.fullmatch(r"3 (\d+) (\d+) final", done.stdout.strip())
    return None if match is None or int(match[1]) < OLDEST else (3, int(match[1]), int(match[2]))


def main() -> None:
    """Print the choice."""
    known: dict[tuple[int, ...], str] = {}
    for interpreter in candidates():
        found = version(interpreter)
        if found is not None:
            known.setdefault(found, interpreter)
    if not known:
        sys.exit("no Python 3.11 or newer with venv was found")
    oldest = [found for found in known if found[:2] == (3, OLDEST)]
    for chosen in dict.fromkeys([*sorted(oldest)[-1:], max(known)]):
        print(known[chosen])


if __name__ == "__main__":
    main()
