"""The same benchmarks on another Python, in an environment that is made for it and removed afterwards."""

import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from benchmarks.children import environment

REQUIRED = ("attrs", "cattrs", "websockets", "anyio", "httpx2", "trio")
OPTIONAL = ("msgspec", "uvloop", "psutil", "numpy", "aiohttp", "click", "rich")  # not every Python has a wheel of these


def run(python: str, arguments: list[str]) -> int:
    """Make the environment with the packages of this one, measure in it.

    Returns:
        The exit code of the run.

    Raises:
        CalledProcessError: there is no such Python, or a package that is needed cannot be installed there.
    """
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        inside = Path(folder) / "bin" / "python"
        pip: list[str | Path] = [inside, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
        subprocess.run([*pip, *(_pinned(name) for name in REQUIRED)], check=True)
        for name in OPTIONAL:
            if subprocess.run([*pip, "--only-binary", ":all:", _pinned(name)], check=False).returncode:
                print(f"{name} cannot be installed on this Python: measured without it", file=sys.stderr)
        return subprocess.run([inside, "-m", "benchmarks", *arguments], check=False, env=environment()).returncode


def _pinned(name: str) -> str:
    return f"{name}=={metadata.version(name)}"
