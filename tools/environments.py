"""Virtual environments for `make`: create them from the lock, and run the tests in each.

    python tools/environments.py create .venv     an environment for the running Python
    python tools/environments.py test ARGS...     the suite on every Python that counts; ARGS go to pytest

Uses the standard library alone: it runs before anything is installed.
"""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements-dev.lock"
OLDEST = (3, 11)
Version = tuple[int, int, int]


@dataclass(frozen=True)
class Interpreter:
    """A Python that can create environments."""

    version: Version
    executable: str

    @property
    def minor(self) -> tuple[int, int]:
        return self.version[:2]

    def __str__(self) -> str:
        return "Python " + ".".join(map(str, self.version))


def probe(executable: Path | str) -> Interpreter | None:
    """What ``executable`` is, or None if it is no usable CPython release that we support."""
    script = (
        "import ensurepip, sqlite3, ssl, sys, venv\n"
        "assert sys.implementation.name == 'cpython' and sys.version_info.releaselevel == 'final'\n"
        "print(*sys.version_info[:3])"
    )
    try:
        done = subprocess.run(
            [executable, "-I", "-c", script],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    major, minor, micro = map(int, done.stdout.split())
    if (major, minor) < OLDEST:
        return None
    return Interpreter((major, minor, micro), str(executable))


def candidates() -> Iterator[Path]:
    """Where other Pythons may be: on the path, and where pyenv and uv put them."""
    for directory in os.get_exec_path():
        yield from (path for path in Path(directory).glob("python3.*") if re.fullmatch(r"python3\.\d+", path.name))
    home = Path.home()
    pyenv = Path(os.environ.get("PYENV_ROOT", home / ".pyenv"))
    yield from pyenv.glob("versions/3.*/bin/python3")
    yield from (home / ".local/share/uv/python").glob("cpython-3.*/bin/python3")


def installed() -> list[Interpreter]:
    """Every usable Python, newest first."""
    found = {found.version: found for path in candidates() if (found := probe(path)) is not None}
    return sorted(found.values(), key=lambda interpreter: interpreter.version, reverse=True)


def running() -> Interpreter:
    """The Python that runs this script, or the one that its environment was made from."""
    return Interpreter(sys.version_info[:3], sys.executable)


def fingerprint(interpreter: Interpreter) -> str:
    """Names everything that an environment was made from: it is out of date when this changes."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    package = json.dumps([settings["build-system"], settings["project"], settings["tool"]["hatch"]])
    digest = hashlib.sha256(f"{interpreter} {ROOT} {package}".encode())
    digest.update(LOCK.read_bytes())
    return digest.hexdigest()


def works(python: Path) -> bool:
    """Whether ``python`` still starts: the Python that its environment was made from may be gone."""
    try:
        return subprocess.run([python, "-I", "-c", ""], check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def create(directory: Path, interpreter: Interpreter) -> Path:
    """Create the environment if it is missing or out of date. Returns its Python."""
    python = directory / "bin" / "python"
    stamp = directory / "made-from"
    wanted = fingerprint(interpreter)
    if stamp.is_file() and stamp.read_text() == wanted and works(python):
        return python
    print(f"creating {directory.name} with {interpreter}", flush=True)
    shutil.rmtree(directory, ignore_errors=True)
    if interpreter != running():
        subprocess.run([interpreter.executable, "-m", "venv", directory], check=True)
    elif importlib.util.find_spec("ensurepip"):
        venv.create(directory, with_pip=True, symlinks=True)
    else:  # some distributions have Python and pip, and ensurepip in a package of its own
        venv.create(directory, symlinks=True)
        subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "pip"], check=True)
    pip: list[str | Path] = [python, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    subprocess.run([*pip, "--require-hashes", "-r", LOCK], check=True, cwd=ROOT)
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "-e", "."], check=True, cwd=ROOT)
    stamp.write_text(wanted)
    return python


def others(pythons: list[Interpreter], own: Interpreter) -> list[Interpreter]:
    """The Pythons that the suite must run on besides the running one: the oldest supported and the newest."""
    wanted = {pythons[0].minor, OLDEST} if pythons else {OLDEST}
    newest: dict[tuple[int, int], Interpreter] = {}
    for interpreter in pythons:
        newest.setdefault(interpreter.minor, interpreter)
    return [newest[minor] for minor in sorted(wanted) if minor != own.minor and minor in newest]


def test(arguments: list[str]) -> int:
    """Run the suite on the other Pythons with the standard library's JSON reader, then on this one with msgspec.

    Where there is only one Python, it runs the suite both ways. The last run prints the table of rules.
    """
    own = running()
    runs = [
        (other, create(ROOT / f".venv-{other.minor[0]}.{other.minor[1]}", other)) for other in others(installed(), own)
    ]
    pytest = ["-m", "pytest", "-q", "-n", "auto", *arguments]
    for interpreter, python in runs or [(own, Path(sys.executable))]:
        print(f"\n--- {interpreter}, JSON by the standard library", flush=True)
        done = subprocess.run([python, *pytest, "--json-backend=stdlib"], check=False, cwd=ROOT)
        if done.returncode:
            return done.returncode
    print(f"\n--- {own}, JSON by msgspec", flush=True)
    return subprocess.run(
        [sys.executable, *pytest, "--json-backend=msgspec", "--rule-table"], check=False, cwd=ROOT
    ).returncode


def main(arguments: list[str]) -> int:
    match arguments:
        case ["create", directory]:
            create(ROOT / directory, running())
            return 0
        case ["test", *rest]:
            return test(rest)
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
