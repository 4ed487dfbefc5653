"""Both drivers have one public shape, and neither loads the other's loop."""

import importlib
import inspect
import os
import subprocess
import sys

import pytest

import clawproto_asyncio
import clawproto_trio

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
FOREIGN = {"clawproto_asyncio": ("trio", "clawproto_trio"), "clawproto_trio": ("asyncio", "clawproto_asyncio")}


def _shape(item: object) -> object:
    if isinstance(item, property):
        assert item.fget is not None
        return "property", _neutral(inspect.signature(item.fget)), item.__doc__
    assert callable(item)
    return inspect.iscoroutinefunction(item), _neutral(inspect.signature(item)), item.__doc__


def _neutral(signature: inspect.Signature) -> str:
    return str(signature).replace("clawproto_asyncio", "driver").replace("clawproto_trio", "driver")


def _members(kind: type) -> dict[str, object]:
    return {
        name: item
        for name, item in ((name, inspect.getattr_static(kind, name)) for name in dir(kind))
        if callable(item) or isinstance(item, property)
        if not name.startswith("_") or name in ("__aiter__", "__anext__")
    }


def test_the_clients_have_the_same_methods() -> None:
    ours, theirs = _members(clawproto_asyncio.Client), _members(clawproto_trio.Client)
    assert {name: _shape(item) for name, item in ours.items()} == {name: _shape(item) for name, item in theirs.items()}
    assert {"send", "request", "refresh", "pair", "settle", "wait_ready", "aclose", "set_typing"} <= set(ours)


def test_the_fleets_have_the_same_methods() -> None:
    ours, theirs = _members(clawproto_asyncio.Fleet), _members(clawproto_trio.Fleet)
    inside = {"begin", "finish", "run", "raise_failure"}  # how each driver runs it
    assert {name: _shape(item) for name, item in ours.items() if name not in inside} == {
        name: _shape(item) for name, item in theirs.items() if name not in inside
    }
    assert {"accounts", "members", "totals", "stop", "aclose", "wait_stopped"} <= set(ours)


@pytest.mark.parametrize("name", ["connect", "pair", "fleet", "run_fleet"])
def test_the_functions_take_the_same_arguments(name: str) -> None:
    one, other = getattr(clawproto_asyncio, name), getattr(clawproto_trio, name)
    assert _neutral(inspect.signature(one)) == _neutral(inspect.signature(other))


def test_the_modules_export_the_same_names() -> None:
    assert clawproto_asyncio.__all__ == clawproto_trio.__all__


@pytest.mark.parametrize("driver", sorted(FOREIGN))
def test_importing_a_driver_loads_no_other_loop(driver: str) -> None:
    code = f"import sys, {driver}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert not set(FOREIGN[driver]) & set(done.stdout.split())


PROGRAM = """
import sys
sys.modules[{foreign!r}] = None  # as if it were not installed
import {loop}, {driver}
from clawproto.testing.peer import CHAT, Peer
from clawproto.testing.stage import POLICY
from clawproto_io.stores import MemoryStore

async def main():
    async with {driver}.connect(MemoryStore(peer.credentials()), policy=POLICY) as client:
        await client.wait_ready()
        await client.refresh()
        await client.send(CHAT, "hello")

with Peer() as peer:
    {loop}.run({main})
print(len(peer.redeemed), len(peer.sent("message.send")))
"""


@pytest.mark.parametrize(("loop", "main"), [("asyncio", "main()"), ("trio", "main")])
def test_a_driver_works_where_the_other_loop_is_not_there(loop: str, main: str) -> None:
    driver = f"clawproto_{loop}"
    code = PROGRAM.format(foreign=FOREIGN[driver][0], loop=loop, driver=driver, main=main)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.stdout.split() == ["1", "1"], done.stderr


@pytest.mark.parametrize("driver", sorted(FOREIGN))
def test_every_public_name_is_documented(driver: str) -> None:
    module = importlib.import_module(driver)
    assert module.__doc__
    for name in module.__all__:
        item = getattr(module, name)
        assert item.__doc__, name
        for method, member in _members(item).items() if inspect.isclass(item) else ():
            assert inspect.getdoc(member), method
