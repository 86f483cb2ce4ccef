"""Building blocks without an import: value types that read like ``typing.NamedTuple``, and a cache of results.

``typing`` takes 4 ms of a start that takes 7 ms in all, and ``collections`` another 2 ms (docs/decisions/0003). So only
the class statement is borrowed: mypy and the reader see the real ``NamedTuple``; at run time a class is a plain tuple
with the same C field getters that ``collections.namedtuple`` uses.

A module that defines values needs ``from __future__ import annotations``: the field list is read from the class body.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NamedTuple as NamedTuple
    from typing import TypeVar

    Key = TypeVar("Key", bound="str | bytes | tuple[str, ...]")
    Result = TypeVar("Result")
else:
    try:
        from _collections import _tuplegetter
    except ImportError:  # another Python than CPython

        def _tuplegetter(index, doc):
            return property(lambda self: self[index], doc=doc)

    # Constructors by their number of fields. To rename the parameters of one that is compiled already costs a tenth of
    # compiling one from text: 5 million instructions per start (docs/decisions/0003).
    _new = tuple.__new__
    _CONSTRUCTORS = (
        None,
        None,
        lambda _cls, a, b: _new(_cls, (a, b)),
        lambda _cls, a, b, c: _new(_cls, (a, b, c)),
        lambda _cls, a, b, c, d: _new(_cls, (a, b, c, d)),
        lambda _cls, a, b, c, d, e: _new(_cls, (a, b, c, d, e)),
        lambda _cls, a, b, c, d, e, f: _new(_cls, (a, b, c, d, e, f)),
        lambda _cls, a, b, c, d, e, f, g: _new(_cls, (a, b, c, d, e, f, g)),
        lambda _cls, a, b, c, d, e, f, g, h: _new(_cls, (a, b, c, d, e, f, g, h)),
        lambda _cls, a, b, c, d, e, f, g, h, i: _new(_cls, (a, b, c, d, e, f, g, h, i)),
        lambda _cls, a, b, c, d, e, f, g, h, i, j: _new(_cls, (a, b, c, d, e, f, g, h, i, j)),
        None,
        None,
        lambda _cls, a, b, c, d, e, f, g, h, i, j, k, m, n: _new(_cls, (a, b, c, d, e, f, g, h, i, j, k, m, n)),
    )
    _Function = type(_CONSTRUCTORS[2])

    def _constructor(fields, defaults):
        """A function of the class and its fields. A generic ``*args`` constructor would be several times slower."""
        template = _CONSTRUCTORS[len(fields)] if len(fields) < len(_CONSTRUCTORS) else None
        if template:
            code = template.__code__.replace(co_varnames=("_cls", *fields))
            return _Function(code, globals(), "__new__", defaults)
        names = ", ".join(fields)
        create = eval(f"lambda _cls, {names}: _new(_cls, ({names},))")
        create.__defaults__ = defaults
        return create

    def _repr(self):
        fields = ", ".join(f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
        return f"{type(self).__name__}({fields})"

    def _replace(self, **changes):
        values = [changes.pop(name, value) for name, value in zip(self._fields, self, strict=True)]
        if changes:
            raise TypeError(f"{type(self).__name__} has no field {sorted(changes)}")
        return type(self)(*values)

    class _Fields(type):
        """Turns the annotated class body of a ``NamedTuple`` subclass into a tuple type."""

        def __new__(mcls, name, bases, body):
            fields = tuple(body.pop("__annotations__", ()))
            defaults = tuple(body.pop(field) for field in fields if field in body)
            getters = {field: _tuplegetter(index, field) for index, field in enumerate(fields)}
            common = {
                "__slots__": (),
                "__new__": _constructor(fields, defaults),
                "__repr__": _repr,
                "__getnewargs__": lambda self: tuple(self),  # for copy and pickle
                "__match_args__": fields,
                "_fields": fields,
                "_replace": _replace,
                # Of a tuple with all fields, which is not checked: three fifths of the instructions of the constructor
                "_make": classmethod(_new),
            }
            return type(name, (tuple,), {**common, **getters, **body})

    NamedTuple = type.__new__(_Fields, "NamedTuple", (), {})


class Memo(dict["Key", "Result"]):
    """``memo[argument]`` is ``function(argument)``, computed once; from then on a look-up in a dict.

    It keeps at most ``count`` results, of arguments that are at most ``length`` long: peers choose these, and an
    environment lives for hours. A full cache is cleared. If it stopped adding instead, the first clients could fill it
    for good with arguments of their own making. An exception is not kept.
    """

    def __init__(self, function: Callable[[Key], Result], count: int, length: int) -> None:
        super().__init__()
        self._function = function
        self._count = count
        self._length = length

    def __missing__(self, argument: Key) -> Result:
        result = self._function(argument)
        if len(argument) <= self._length:
            if len(self) >= self._count:
                self.clear()
            self[argument] = result
        return result
