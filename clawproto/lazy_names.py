"""Public names that are loaded when they are first asked for (PEP 562).

A package lists its names twice: as imports for type checkers, and as text for the interpreter, by the module that has
them. `tests/test_start_up.py` sees to it that both lists say the same.
"""

from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_names(
    package: dict[str, object], modules: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The ``__getattr__`` and the ``__dir__`` of a package.

    Args:
        package: its ``globals()``.
        modules: names, separated by blanks, by the full name of the module that has them.
    """
    homes = {name: module for module, names in modules.items() for name in names.split()}

    def load(name: str) -> object:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package['__name__']!r} has no attribute {name!r}")
        found: object = getattr(import_module(home), name)
        package[name] = found  # from now on an ordinary attribute
        return found

    def listed() -> list[str]:
        return sorted({*package, *homes})

    return load, listed
