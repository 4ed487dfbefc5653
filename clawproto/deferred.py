"""attrs classes whose methods are made when they are first asked for.

A process that runs a session uses a third of the 200 kinds of events, effects and values that there are. attrs writes,
compiles and runs the source of four methods for each of them, which was half of the time of an import. Here a class
gets its slots at once, and its methods from attrs in two parts:

    written ── slots ──► known ── first instance, fields, pickle ──► made ── first repr, comparison, hash ──► complete

Until then a placeholder stands in the class for each method. Whoever looks one up, be it the interpreter or a caller,
gets the real one, which stands there from then on: a complete class is what attrs makes of it in one go.

A class that has more in it than fields and plain methods, or that asks more of attrs than ``kw_only``, is made at once.
"""

from typing import TYPE_CHECKING

__all__ = ["frozen"]

if TYPE_CHECKING:
    from attrs import frozen
else:
    from functools import cached_property
    from threading import RLock  # noqa: TID251 (attrs' own making of a class is not safe among threads)
    from typing import ClassVar

    import attrs

    _one_at_a_time = RLock()  # attrs changes a class as it was written while it looks at it

    class _Sample:
        __slots__ = ()

    def _made_by_attrs(**options):
        """The names that attrs puts into a frozen class; they depend on its version and on Python's."""
        return vars(attrs.frozen(_Sample, **options)).keys() - vars(_Sample).keys() - {"__weakref__"}

    _PLAIN = {"repr": False, "eq": False}
    _FIRST = frozenset(_made_by_attrs(**_PLAIN) - {"__attrs_props__"})  # which say what methods a class has
    _SECOND = frozenset(_made_by_attrs() - _FIRST)
    _SPECIAL = _FIRST | _SECOND | {"__slots__", "__getattr__", "__attrs_pre_init__", "__attrs_init_subclass__"}

    class _Making:
        """A class that is not complete, what was written of it, and the options for attrs."""

        __slots__ = ("cls", "options", "written")

        def __init__(self, written, options):
            self.written = written
            self.options = options

    class _Placeholder:
        """Stands in a class for one of its methods until that is looked up."""

        __slots__ = ("_making", "_name")

        def __init__(self, name, making):
            self._name = name
            self._making = making

        def __get__(self, instance, owner=None):
            making = self._making
            names, plain = (_FIRST, _PLAIN) if self._name in _FIRST else (_SECOND, {})
            with _one_at_a_time:
                found = vars(making.cls)[self._name]
                if found is self:  # no other thread has been here
                    made = vars(attrs.frozen(making.written, **making.options, **plain))
                    for name in names:
                        setattr(making.cls, name, made[name])
                    found = made[self._name]
            return found.__get__(instance, owner) if hasattr(found, "__get__") else found

    def _is_of_the_class(annotation):
        if isinstance(annotation, str):
            return "ClassVar" in annotation
        return annotation is ClassVar or getattr(annotation, "__origin__", None) is ClassVar

    def _is_plain(written, annotations):
        """Whether it takes no more than slots and what attrs makes for every class."""
        if issubclass(written, BaseException):  # which attrs hashes and compares in another way
            return False
        for name, item in vars(written).items():
            if name in _SPECIAL or isinstance(item, cached_property):
                return False
            function = getattr(item, "fget", None) or getattr(item, "__func__", item)
            if "__class__" in getattr(getattr(function, "__code__", None), "co_freevars", ()):  # as ``super()`` has it
                return False
        return not any(map(_is_of_the_class, annotations.values())) and not any(
            hasattr(base, name) for base in written.__bases__ for name in annotations
        )

    def frozen(written=None, **options):
        """`attrs.frozen`, which makes the methods of the class when they are first asked for."""
        if written is None:
            return lambda cls: frozen(cls, **options)
        annotations = written.__annotations__
        if not options.keys() <= {"kw_only"} or not _is_plain(written, annotations):
            return attrs.frozen(written, **options)
        left_out = {"__dict__", "__weakref__", *annotations}
        body = {name: item for name, item in vars(written).items() if name not in left_out}
        referable = any("__weakref__" in vars(base) for base in written.__mro__[1:-1])
        body["__slots__"] = (*annotations,) if referable else (*annotations, "__weakref__")
        body["__qualname__"] = written.__qualname__
        making = _Making(written, options)
        body.update((name, _Placeholder(name, making)) for name in _FIRST | _SECOND)
        making.cls = type(written)(written.__name__, written.__bases__, body)
        return making.cls
