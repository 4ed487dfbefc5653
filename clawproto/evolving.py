"""A fast `evolve` for the values of the state.

`attrs.evolve` looks the fields up again on every call, which made up most of the cost of a step; here each class gets a
function of its own, generated once. Validators do not run: they belong to settings, which nobody evolves in a step.
"""

from typing import TYPE_CHECKING

__all__ = ["evolve"]

if TYPE_CHECKING:
    from attrs import evolve
else:
    from attrs import fields

    class _Replacers(dict):
        """The function for a class and the fields that change, made when it is first asked for."""

        def __missing__(self, key):
            replacer = self[key] = _make_replacer(*key)
            return replacer

    _replacers = _Replacers()

    def evolve(instance, /, **changes):
        """A copy of a frozen, slotted attrs ``instance`` with some fields replaced. TypeError for other names."""
        return _replacers[instance.__class__, tuple(changes)](instance, *changes.values())

    def _make_replacer(cls, changing):
        names = [attribute.name for attribute in fields(cls)]
        if foreign := [name for name in changing if name not in names]:
            raise TypeError(f"{cls.__name__} has no field {foreign[0]!r}")
        setters = {f"set_{name}": getattr(cls, name).__set__ for name in names}
        lines = [f"    set_{name}(new, {name if name in changing else f'old.{name}'})" for name in names]
        head = f"def replace({', '.join(('old', *changing))}):\n    new = make(cls)\n"
        namespace = {"cls": cls, "make": object.__new__, **setters}
        exec(head + "\n".join(lines) + "\n    return new\n", namespace)  # noqa: S102 (made of field names only)
        return namespace["replace"]
