"""What the local variables of the frames below lead to: error trackers and loggers show these, and all within reach.

``look(place)`` prints a line for the test that reads the output: ``reach PLACE: nothing``, or the way to the secret.
Globals of modules are not looked into, since nobody shows them.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from types import CodeType, FrameType, FunctionType, ModuleType, TracebackType
from typing import Any

MARK = "marked-7f3a"
_LONGEST = 200_000


def look(place: str, *more: object) -> None:
    """Look from the caller's frame down, at the exceptions that are being handled, and at ``more``."""
    found = ways(sys._getframe(1), sys.exc_info()[1], *more)
    # Not print: the test has to see the line even where the streams are closed already.
    os.write(1, f"reach {place}: {'; '.join(found) or 'nothing'}\n".encode())


def ways(*starts: object) -> list[str]:
    """How the secret is reached from ``starts``, as paths of names."""
    waiting: list[tuple[str, Any]] = [("", start) for start in starts]
    seen: set[int] = set()
    kept: list[object] = []  # what is made on the way must live as long as its id counts
    found: list[str] = []
    while waiting and len(seen) < _LONGEST:
        path, value = waiting.pop()
        if isinstance(value, str | bytes | bytearray):
            text = value if isinstance(value, str) else value.decode("latin-1")
            if MARK in text:
                found.append(path)
            continue
        if id(value) in seen or isinstance(value, ModuleType | type | CodeType | int | float):
            continue
        seen.add(id(value))
        kept.append(value)
        waiting += [(f"{path} > {name}"[-300:], part) for name, part in _parts(value)]
    assert not waiting, "too much is within reach to look at all of it"
    return found[:5]


def _parts(value: Any) -> Iterator[tuple[str, object]]:
    if isinstance(value, FrameType):
        if value.f_code.co_filename != __file__:
            where = f"{value.f_code.co_filename.rpartition('/')[2]}:{value.f_code.co_name}"
            yield from ((f"{where}:{name}", local) for name, local in list(value.f_locals.items()))
        yield "below", value.f_back
    elif isinstance(value, TracebackType):
        yield from (("frame", value.tb_frame), ("next", value.tb_next))
    elif isinstance(value, FunctionType):
        yield from (("defaults", value.__defaults__), ("keywords", value.__kwdefaults__), ("vars", value.__dict__))
        yield from zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
    elif isinstance(value, dict):
        yield from ((str(key)[:50], item) for key, item in list(value.items()))
        yield "keys", list(value)
    else:
        if isinstance(value, BaseException):
            yield from (("traceback", value.__traceback__), ("cause", value.__cause__), ("context", value.__context__))
        for name in ("gi_frame", "cr_frame", "ag_frame"):
            if type(value).__name__ in ("generator", "coroutine", "async_generator"):
                yield name, getattr(value, name, None)
        yield from ((type(value).__name__, part) for part in gc.get_referents(value))
