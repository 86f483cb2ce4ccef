"""Value types that read like ``typing.NamedTuple`` and cost nothing to import.

``typing`` takes 4 ms of a start that takes 7 ms in all, and ``collections`` another 2 ms (docs/decisions/0003). So only
the class statement is borrowed: mypy and the reader see the real ``NamedTuple``; at run time a class is a plain tuple
with the same C field getters that ``collections.namedtuple`` uses.

A module that defines values needs ``from __future__ import annotations``: the field list is read from the class body.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:
    try:
        from _collections import _tuplegetter
    except ImportError:  # another Python than CPython

        def _tuplegetter(index, doc):
            return property(lambda self: self[index], doc=doc)

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
            names = ", ".join(fields)
            # Compiled, as namedtuple does it: a generic *args constructor would be several times slower per value.
            create = eval(f"lambda _cls, {names}: _new(_cls, ({names},))", {"_new": tuple.__new__})
            create.__defaults__ = defaults
            getters = {field: _tuplegetter(index, field) for index, field in enumerate(fields)}
            common = {
                "__slots__": (),
                "__new__": create,
                "__repr__": _repr,
                "__getnewargs__": lambda self: tuple(self),  # for copy and pickle
                "__match_args__": fields,
                "_fields": fields,
                "_replace": _replace,
            }
            return type(name, (tuple,), {**common, **getters, **body})

    NamedTuple = type.__new__(_Fields, "NamedTuple", (), {})
