"""A fast `evolve` and fast constructors for the values of the state and for what is made of every frame.

`attrs.evolve` looks the fields up on every call, and the constructor of a frozen class may not assign, so each field
costs it a call. Here each class gets functions of its own, generated once. They fill an instance of a twin, a subclass
with the same slots that is not frozen, and then make it an instance of the frozen class:

    twin() ── new.name = value, … ── new.__class__ = cls ──► as the constructor would have made it

Validators and converters do not run: they belong to settings, which nobody makes or evolves in a step. `constructor`
refuses classes that have any.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

__all__ = ["constructor", "evolve"]

P = ParamSpec("P")
T = TypeVar("T")

if TYPE_CHECKING:
    from attrs import evolve

    def constructor(cls: Callable[P, T]) -> Callable[P, T]:
        """A function that makes instances of a frozen, slotted attrs class. It takes what the class takes, in about a
        third of the time; a field whose default comes from a factory must be given.

        Raises:
            TypeError: the class has validators, converters or a method to be called after the construction.
        """
        ...
else:
    from functools import cache

    from attrs import NOTHING, Factory, fields

    class _Replacers(dict):
        """The function for a class and the fields that change, made when it is first asked for."""

        def __missing__(self, key):
            replacer = self[key] = _make_replacer(*key)
            return replacer

    _replacers = _Replacers()

    def evolve(instance, /, **changes):
        """A copy of a frozen, slotted attrs ``instance`` with some fields replaced. TypeError for other names."""
        return _replacers[instance.__class__, tuple(changes)](instance, *changes.values())

    @cache
    def _twin(cls):
        """A class of the same layout, instances of which can be assigned to."""
        unfrozen = {"__setattr__": object.__setattr__, "__delattr__": object.__delattr__}  # one C function for both
        return type(cls.__name__, (cls,), {"__slots__": (), **unfrozen})

    def _compiled(cls, name, parameters, lines, **names):
        body = "".join(f"    {line}\n" for line in ("new = make(twin)", *lines, "new.__class__ = cls", "return new"))
        namespace = {"cls": cls, "twin": _twin(cls), "make": object.__new__, **names}
        exec(f"def {name}({', '.join(parameters)}):\n{body}", namespace)  # noqa: S102 (made of field names only)
        return namespace[name]

    def _make_replacer(cls, changing):
        names = [attribute.name for attribute in fields(cls)]
        if foreign := [name for name in changing if name not in names]:
            raise TypeError(f"{cls.__name__} has no field {foreign[0]!r}")
        lines = [f"new.{name} = {name if name in changing else f'old.{name}'}" for name in names]
        return _compiled(cls, "replace", ("old", *changing), lines)

    def constructor(cls):
        """A function that makes instances of a frozen, slotted attrs class."""
        parameters, lines, defaults, named = [], [], {}, False
        for attribute in fields(cls):
            if attribute.validator or attribute.converter:
                raise TypeError(f"{cls.__name__}.{attribute.name} is validated or converted")
            if not attribute.init and isinstance(attribute.default, Factory):
                raise TypeError(f"{cls.__name__}.{attribute.name} is made anew for each instance")
            default, value = attribute.default, attribute.alias if attribute.init else f"_{attribute.name}_default"
            if attribute.init:
                if attribute.kw_only and not named:
                    parameters.append("*")
                    named = True
                given = default is NOTHING or isinstance(default, Factory)
                parameters.append(value if given else f"{value}=_{attribute.name}_default")
            defaults[f"_{attribute.name}_default"] = default
            lines.append(f"new.{attribute.name} = {value}")
        if hasattr(cls, "__attrs_post_init__") or hasattr(cls, "__attrs_pre_init__"):
            raise TypeError(f"{cls.__name__} has more to do than to keep its fields")
        return _compiled(cls, "construct", parameters, lines, **defaults)
