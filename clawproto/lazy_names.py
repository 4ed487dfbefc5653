"""Public names that are loaded when they are first asked for (PEP 562).

A package lists its names by the module that has them, once for type checkers as imports, once for the interpreter as
text; `tests/test_start_up.py` sees to it that both say the same.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_names(package: str, modules: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The ``__getattr__`` and the ``__dir__`` of ``package``.

    Args:
        package: its ``__name__``.
        modules: names, separated by blanks, by the full name of the module that has them.
    """
    homes = {name: module for module, names in modules.items() for name in names.split()}

    def load(name: str) -> object:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(import_module(home), name)
        setattr(sys.modules[package], name, found)  # the next time it is an ordinary attribute
        return found

    def listed() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return load, listed
