"""The core does no IO, and each driver loads only its own event loop."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Set as AbstractSet
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "clawproto"
DRIVERS = ROOT / "drivers"

# What attrs and cattrs bring along themselves: threading (a thread-local in attrs' repr), and on some versions the C
# module _socket, of which typing_extensions wants the type of its capsule. msgspec brings datetime and uuid.
IMPURE = {
    "_ssl",
    "aiohttp",
    "anyio",
    "asyncio",
    "http.client",
    "httpx2",
    "logging",
    "random",
    "secrets",
    "select",
    "selectors",
    "sniffio",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "tempfile",
    "trio",
    "urllib.request",
    "websockets",
}

BANNED_IN_SOURCE = IMPURE | {"_socket", "io", "os", "pathlib", "signal", "sys", "threading", "time", "uuid"}
BANNED_CALLS = {"breakpoint", "eval", "exec", "input", "open", "print"}

# evolving.py generates a function for each class, as attrs does, from the names of its fields.
CALLS_ALLOWED: dict[str, AbstractSet[str]] = {"evolving.py": {"exec"}}

# deferred.py lets one thread at a time make a class: attrs' own making is not safe among threads.
IMPORTS_ALLOWED: dict[str, AbstractSet[str]] = {"deferred.py": {"threading"}}

LONGEST_FILE = 400
LONGER = {
    "clawproto/tokens.py": 430,  # one machine, whose transitions belong side by side
}


def loaded_by(*modules: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after importing ``modules``, without what it starts with."""
    script = (
        "import importlib, json, sys\n"
        "before = set(sys.modules)\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))\n"
    )
    path = os.pathsep.join([str(ROOT), str(DRIVERS)])
    done = subprocess.run(
        [sys.executable, "-c", script, *modules],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    return set(json.loads(done.stdout))


def core_files() -> list[Path]:
    return [file for file in sorted(CORE.rglob("*.py")) if "testing" not in file.relative_to(CORE).parts]


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_importing_the_core_loads_nothing_impure() -> None:
    assert loaded_by("clawproto") & IMPURE == set()


def test_no_module_of_the_core_loads_anything_impure() -> None:
    names = [module_name(file) for file in core_files()]
    assert "clawproto.wire.values" in names
    loaded = loaded_by(*names)
    assert set(names) <= loaded
    assert loaded & IMPURE == set()


def driver_files(package: str) -> list[Path]:
    return sorted((DRIVERS / package).rglob("*.py"))


def test_the_asyncio_driver_loads_no_trio() -> None:
    assert loaded_by("clawproto_asyncio") & {"trio", "aiohttp", "clawproto_trio"} == set()


def test_the_trio_driver_loads_no_asyncio() -> None:
    assert loaded_by("clawproto_trio") & {"asyncio", "aiohttp", "clawproto_asyncio"} == set()


def test_what_the_drivers_share_loads_neither_loop() -> None:
    assert loaded_by("clawproto_io") & {"asyncio", "trio", "aiohttp"} == set()


@pytest.mark.parametrize(
    ("package", "foreign"),
    [
        ("clawproto_asyncio", {"anyio", "trio", "clawproto_trio"}),
        ("clawproto_trio", {"anyio", "asyncio", "clawproto_asyncio"}),
    ],
)
def test_no_source_of_a_driver_names_the_other_loop(package: str, foreign: set[str]) -> None:
    files = driver_files(package)
    assert files
    found = [
        f"{file.name}:{line}: {name}"
        for file in files
        for line, name in imports_of(ast.parse(file.read_text(encoding="utf-8")))
        if name.partition(".")[0] in foreign
    ]
    assert found == []


def imports_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and absolute name of everything that ``tree`` imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            yield node.lineno, node.module
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def calls_in(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of every call of a plain name in ``tree``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.lineno, node.func.id


def findings(
    source: str, allowed_calls: AbstractSet[str] = frozenset(), allowed_imports: AbstractSet[str] = frozenset()
) -> list[str]:
    """What the source of a core module imports or calls, and must not."""
    tree = ast.parse(source)
    found: list[str] = []
    for line, name in imports_of(tree):
        parts = name.split(".")
        banned = BANNED_IN_SOURCE - allowed_imports
        if any(".".join(parts[:count]) in banned for count in range(1, len(parts) + 1)):
            found.append(f"{line}: import {name}")
    found += [f"{line}: {name}()" for line, name in calls_in(tree) if name in BANNED_CALLS - allowed_calls]
    found += [f"{node.lineno}: async" for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef | ast.Await)]
    return found


@pytest.mark.parametrize("file", core_files(), ids=lambda file: str(file.relative_to(CORE)))
def test_the_source_of_the_core_is_pure(file: Path) -> None:
    calls, imports = CALLS_ALLOWED.get(file.name, set()), IMPORTS_ALLOWED.get(file.name, set())
    assert findings(file.read_text(encoding="utf-8"), calls, imports) == []


@pytest.mark.parametrize(
    "source",
    [
        "import asyncio",
        "import asyncio.events as x",
        "from asyncio import events",
        "from urllib import request",
        "import urllib.request",
        "from http.client import HTTPConnection",
        "def f():\n    import time",
        "if x:\n    from os import path",
        "print('x')",
        "f = lambda: open('x')",
        "async def f(): ...",
    ],
)
def test_impure_source_is_found(source: str) -> None:
    assert findings(source) != []


@pytest.mark.parametrize(
    "source", ["import hashlib", "from urllib.parse import urlsplit", "from http import HTTPStatus"]
)
def test_pure_source_is_not_found(source: str) -> None:
    assert findings(source) == []


def test_the_core_works_without_msgspec() -> None:
    script = (
        "import sys\n"
        "sys.modules['msgspec'] = None\n"
        "from clawproto.wire import json_backend\n"
        "print(json_backend.name, json_backend.loads('[1]'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout == "stdlib [1]\n"


def test_files_stay_short() -> None:
    lengths = {
        str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines())
        for directory in (CORE, DRIVERS)
        for file in directory.rglob("*.py")
    }
    assert {name: length for name, length in lengths.items() if length > LONGER.get(name, LONGEST_FILE)} == {}
