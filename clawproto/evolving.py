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

    _ABSENT = object()

    class _Replacers(dict):
        """The function for a class, made when it is first asked for."""

        def __missing__(self, cls):
            replacer = self[cls] = _make_replacer(cls)
            return replacer

    _replacers = _Replacers()

    def evolve(instance, /, **changes):
        """A copy of a frozen, slotted attrs ``instance`` with some fields replaced. TypeError for other names."""
        return _replacers[instance.__class__](instance, **changes)

    def _make_replacer(cls):
        names = [attribute.name for attribute in fields(cls)]
        setters = {f"set_{name}": getattr(cls, name).__set__ for name in names}
        parameters = ", ".join(f"{name}=absent" for name in names)
        lines = [f"    set_{name}(new, old.{name} if {name} is absent else {name})" for name in names]
        source = (
            f"def replace(old, /, *, {parameters}):\n    new = make(cls)\n" + "\n".join(lines) + "\n    return new\n"
        )
        namespace = {"absent": _ABSENT, "cls": cls, "make": object.__new__, **setters}
        exec(source, namespace)  # noqa: S102 (the source is made of field names)
        return namespace["replace"]
