"""What importing loads, by name and not by time; names that are loaded late, and classes that are made late."""

import ast
import copy
import importlib
import inspect
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, cast

import attrs
import pytest
from attrs import field

from clawproto.deferred import frozen
from clawproto.lazy_names import lazy_names
from clawproto.secret import Secret

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "drivers")])}
LAZY = ["clawproto", "clawproto_asyncio", "clawproto_trio", "clawproto_io", "clawproto_io.stores"]
OURS = ("clawproto", "attr", "attrs", "cattrs", "msgspec", "websockets", "anyio", "trio", "asyncio", "sqlite3")
HEAVY = {"httpx2", "httpcore2", "sqlite3", "cattrs", "msgspec", "psycopg", "cryptography", "aiohttp", "rich", "click"}


def printed_by(program: str, *arguments: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(program: str) -> set[str]:
    """The modules that ``program`` loads in a fresh interpreter."""
    return set(json.loads(printed_by(f"{program}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))")))


def packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


# --- what is loaded ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", ["clawproto", "clawproto_asyncio", "clawproto_trio", "clawproto_io"])
def test_importing_a_package_loads_next_to_nothing(package: str) -> None:
    loaded = loaded_by(f"import {package}")
    assert {name for name in loaded if name.partition(".")[0].startswith(OURS)} <= {
        "clawproto",
        "clawproto.lazy_names",
        package,
    }


FIRST_STEP = """
from clawproto import Config, Credentials, Identity, Instant, Secret, Session, TokenPair
from clawproto.effects import Open
from clawproto.events import Start
identity = Identity(user_id="u", device_id="d", base_url="https://a.example", ws_url="wss://a.example/ws")
pair = TokenPair(Secret("head.eyJpYXQiOjE3OTAwMDAwMDAsImV4cCI6MTc5MDA4NjQwMH0.tail"), Secret("r"), 1_790_000_000_000)
session = Session(Config(seed=bytes(16)))
effects = session.handle(Start(Credentials(identity, pair, 1)), Instant(1_790_000_000_000, 7))
assert any(isinstance(effect, Open) for effect in effects)
"""


def test_a_first_step_loads_neither_cattrs_nor_msgspec() -> None:
    assert packages(loaded_by(FIRST_STEP)) & HEAVY == set()


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_having_connect_loads_no_http_no_store_and_no_reader(loop: str) -> None:
    loaded = loaded_by(f"from clawproto_{loop} import connect, pair")
    assert packages(loaded) & HEAVY == set()
    assert not {name for name in loaded if "fleet" in name and name.startswith("clawproto")}


CONNECTED = """
import json, sys
import {loop}
from clawproto_{loop} import connect
from clawproto.testing.peer import CHAT, Peer
from clawproto.testing.stage import POLICY
from clawproto_io.stores import MemoryStore

async def main():
    async with connect(MemoryStore(peer.credentials()), policy=POLICY) as client:
        there = set(sys.modules)
        await client.wait_ready()
        await client.refresh()
        await client.send(CHAT, "hello")
        print(json.dumps(sorted(set(sys.modules) - there)))

with Peer() as peer:
    {loop}.run({main})
"""


@pytest.mark.integration
@pytest.mark.parametrize(("loop", "main"), [("asyncio", "main()"), ("trio", "main")])
def test_a_session_loads_nothing_more_once_it_is_handed_out(loop: str, main: str) -> None:
    later = json.loads(printed_by(CONNECTED.format(loop=loop, main=main)))
    assert [name for name in later if name.partition(".")[0] in HEAVY or name.startswith("clawproto")] == []


# --- names that are loaded late ------------------------------------------------------------------------------------


def typed_imports(package: str) -> dict[str, str]:
    """What type checkers see, by name: the module that it comes from."""
    source = inspect.getsource(importlib.import_module(package))
    blocks = [node for node in ast.parse(source).body if isinstance(node, ast.If)]
    return {
        alias.asname or alias.name: node.module or ""
        for block in blocks
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def listed_names(package: str) -> dict[str, str]:
    """What the interpreter is told, by name: the module that it comes from."""
    tree = ast.parse(inspect.getsource(importlib.import_module(package)))
    (call,) = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "lazy_names"
    ]
    table = cast(dict[str, str], ast.literal_eval(call.args[1]))
    return {name: module for module, names in table.items() for name in names.split()}


@pytest.mark.parametrize("package", LAZY)
def test_type_checkers_and_the_interpreter_see_the_same_names(package: str) -> None:
    names = listed_names(package)
    assert names == typed_imports(package)
    module = importlib.import_module(package)
    assert set(module.__all__) <= set(names) <= set(dir(module))
    assert set(names) - set(module.__all__) <= {"PostgresAccounts", "PostgresStore"}, "which need an extra"


@pytest.mark.parametrize("package", LAZY)
def test_every_name_is_what_its_module_has(package: str) -> None:
    module = importlib.import_module(package)
    for name, home in listed_names(package).items():
        assert getattr(module, name) is getattr(importlib.import_module(home), name)
        assert vars(module)[name] is getattr(module, name), "it is an ordinary attribute by now"


def test_a_name_is_loaded_when_it_is_asked_for_and_is_an_ordinary_attribute_then() -> None:
    names: dict[str, object] = {"__name__": "some.package", "here": 1}
    load, listed = lazy_names(names, {"no.such.module": "Nothing", "clawproto.secret": "Secret reveal_all"})
    assert listed() == ["Nothing", "Secret", "__name__", "here", "reveal_all"], "and nothing is loaded for that"
    assert load("Secret") is Secret
    assert names == {"__name__": "some.package", "here": 1, "Secret": Secret}
    with pytest.raises(AttributeError, match="no attribute 'Other'"):
        load("Other")
    with pytest.raises(ModuleNotFoundError, match="No module named"):
        load("Nothing")
    with pytest.raises(AttributeError, match="reveal_all"):
        load("reveal_all")


@pytest.mark.parametrize("package", LAZY)
def test_a_star_import_brings_all_of_them(package: str) -> None:
    program = f"from {package} import *\nimport {package} as it\nprint(all(name in globals() for name in it.__all__))"
    assert printed_by(program) == "True\n"


@pytest.mark.parametrize("package", LAZY)
def test_help_shows_them(package: str) -> None:
    if package == "clawproto" and sys.version_info >= (3, 13):
        pytest.skip("pydoc stumbles over the __getattr__ that attrs makes for cached properties")
    text = printed_by(f"import pydoc, {package}\nprint(pydoc.plain(pydoc.render_doc({package})))")
    for name in importlib.import_module(package).__all__:
        assert name in text


@pytest.mark.parametrize("package", LAZY)
def test_another_name_is_not_there(package: str) -> None:
    module = importlib.import_module(package)
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        _ = module.nothing


# --- classes that are made late ------------------------------------------------------------------------------------


@frozen
class Plain:
    """Of the usual kind."""

    number: int
    text: str = field(default="x", repr=False)
    others: "tuple[Plain, ...]" = ()

    @property
    def doubled(self) -> int:
        return 2 * self.number


@frozen(kw_only=True)
class Derived(Plain):
    more: list[int] = field(factory=list[int])


@attrs.frozen
class Reference:
    """What attrs makes in one go."""

    number: int
    text: str = field(default="x", repr=False)
    others: "tuple[Reference, ...]" = ()

    @property
    def doubled(self) -> int:
        return 2 * self.number


def placeholders(cls: type) -> set[str]:
    return {name for name, item in vars(cls).items() if type(item).__name__ == "_Placeholder"}


def fresh() -> Any:
    """A class that nobody has used yet."""

    @frozen
    class Fresh:
        number: int
        text: str = "x"

    return Fresh


def test_the_class_becomes_what_attrs_makes_of_it() -> None:
    made = Plain(1)
    assert repr(made) == "Plain(number=1, others=())"
    assert made == Plain(1) and made != Plain(2) and hash(made) == hash(Plain(1))
    assert placeholders(Plain) == set()
    differing = {"__doc__", "__annotations__", "__attrs_attrs__", "__attrs_props__", "__firstlineno__", "__module__"}
    assert vars(Plain).keys() == vars(Reference).keys()
    for name, item in vars(Reference).items():
        if name not in differing:
            assert type(vars(Plain)[name]) is type(item), name
    names = [attribute.name for attribute in attrs.fields(Plain)]
    assert names == [attribute.name for attribute in attrs.fields(Reference)]
    assert vars(Plain)["__slots__"] == vars(Reference)["__slots__"]
    assert not hasattr(made, "__dict__")


def test_an_instance_needs_the_first_part_only() -> None:
    cls = fresh()
    assert {"__init__", "__eq__", "__attrs_attrs__"} <= placeholders(cls)
    value = cls(1)
    assert (value.number, value.text) == (1, "x")
    left = placeholders(cls)
    assert {"__repr__", "__eq__", "__hash__"} <= left and not {"__init__", "__attrs_attrs__"} & left
    assert cls(2) == cls(2)
    assert placeholders(cls) == set()


@pytest.mark.parametrize(
    "use",
    [
        lambda cls: cls(1),
        attrs.fields,
        attrs.has,
        inspect.signature,
        lambda cls: cls.__init__,
        lambda cls: cls.__match_args__,
        lambda cls: repr(object.__new__(type("Sub", (cls,), {"number": 1, "text": "", "__slots__": ()}))),
        lambda cls: cls.__eq__,
        lambda cls: cls.__hash__,
        lambda cls: object.__new__(cls) == 1,
        lambda cls: cls.__setattr__,
    ],
)
def test_whatever_is_asked_for_first_is_there(use: Any) -> None:
    cls = fresh()
    use(cls)
    value = cls(3)
    assert value == cls(3) and hash(value) == hash(cls(3)) and "number=3" in repr(value)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        value.number = 4
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        del value.number
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        object.__new__(fresh()).number = 4


def test_matching_by_position() -> None:
    match fresh()(5):
        case [_]:
            pytest.fail("it is no sequence")
        case value:
            assert value.__match_args__ == ("number", "text")
    match Plain(5, "y"):
        case Plain(number, text):
            assert (number, text) == (5, "y")


def test_a_subclass_has_the_fields_of_its_base() -> None:
    value = Derived(number=1, more=[2])
    assert repr(value) == "Derived(number=1, others=(), more=[2])"
    assert value == Derived(number=1, more=[2]) and value != Plain(1) and Plain(1) != value
    assert value.doubled == 2
    assert attrs.evolve(value, number=7) == Derived(number=7, more=[2])
    assert "__weakref__" not in vars(Derived)["__slots__"]


def test_copies_and_pickles() -> None:
    value = Plain(1, "y", (Plain(2),))
    assert copy.copy(value) == value == copy.deepcopy(value) == pickle.loads(pickle.dumps(value))
    assert attrs.asdict(value)["others"] == ({"number": 2, "text": "x", "others": ()},)


def test_a_pickle_can_be_read_by_a_process_that_has_used_no_class() -> None:
    program = (
        "import pickle, sys\n"
        "value = pickle.loads(bytes.fromhex(sys.argv[1]))\n"
        "print(repr(value), value == pickle.loads(pickle.dumps(value)))\n"
    )
    from clawproto import Instant

    assert printed_by(program, pickle.dumps(Instant(1, 2)).hex()) == "Instant(wall_ms=1, mono_ms=2) True\n"


def test_two_threads_may_be_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(50):
            cls = fresh()
            barrier = threading.Barrier(4)
            made: list[object] = []

            def use(cls: Any = cls, barrier: threading.Barrier = barrier, made: list[object] = made) -> None:
                barrier.wait()
                made.append((cls(1), repr(cls(1)), hash(cls(1)), cls(1) == cls(1)))

            threads = [threading.Thread(target=use) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(made) == 4 and len({repr(item) for item in made}) == 1
    finally:
        sys.setswitchinterval(interval)
    assert failed == []


def test_exceptions_are_made_at_once() -> None:
    @frozen
    class Trouble(Exception):
        number: int

    assert len({Trouble(1), Trouble(1)}) == len({attrs.frozen(type("T", (Exception,), {}))() for _ in range(2)})


def test_what_is_special_is_made_at_once() -> None:
    @frozen
    class OwnComparison:
        number: int

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 1

    @frozen(repr=False)
    class NoRepr:
        number: int

    @frozen
    class WithSuper:
        number: int

        def shown(self) -> str:
            return super().__repr__()

    @frozen
    class WithClassVariable:
        KIND: ClassVar[str] = "kind"
        number: int = 0

    @frozen
    class Again(Plain):
        number: int = 7

    for cls in (OwnComparison, NoRepr, WithSuper, WithClassVariable, Again):
        assert placeholders(cls) == set(), cls
    assert OwnComparison(1) == OwnComparison(2)
    assert "number" not in repr(NoRepr(1))
    assert WithSuper(1).shown().startswith("<")
    assert WithClassVariable.KIND == "kind" and len(attrs.fields(WithClassVariable)) == 1
    assert Again().number == 7


def deferred_classes() -> Iterator[type]:
    for file in sorted((ROOT / "clawproto").rglob("*.py")):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if not module.endswith("__main__") and "from clawproto.deferred import" in file.read_text(encoding="utf-8"):
            for item in vars(importlib.import_module(module)).values():
                if isinstance(item, type) and item.__module__ == module:
                    yield item


def test_every_class_of_the_core_can_be_made() -> None:
    """What attrs has to say against a class, it says at its first use, which may be a long time after the import."""
    seen = 0
    for cls in deferred_classes():
        if attrs.has(cls):
            own = {attribute.name for attribute in attrs.fields(cls) if not attribute.inherited}
            assert own <= {*getattr(cls, "__slots__", ())}, cls
            assert all(callable(getattr(cls, name)) for name in ("__init__", "__repr__", "__eq__"))
            assert placeholders(cls) == set(), cls
            seen += 1
    assert seen > 200
