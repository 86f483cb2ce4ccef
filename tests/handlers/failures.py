"""Fails in the way that the event names."""

from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn


class Outer:
    class NestedError(Exception):
        """errorType has its own name only."""


class snake_case(Exception):  # noqa: N801 (what users do)
    """The header's pattern wants a capital."""


class E404(Exception):
    """And letters only."""


class Ünïcode(Exception):
    """In ASCII."""


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text today")

    __repr__ = __str__


class Metaclass(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise ValueError("no name today")


class Anonymous(Exception, metaclass=Metaclass):
    pass


class OtherEnd(BaseException):
    """What frameworks leave a loop with."""


class Noted(Exception):
    __notes__ = "not a list"  # type: ignore[assignment]


def value_error() -> NoReturn:
    raise ValueError("the value is wrong")


def empty() -> NoReturn:
    raise ValueError


def chained() -> NoReturn:
    try:
        {}["missing"]
    except KeyError as error:
        raise RuntimeError("cannot go on") from error


def while_handling() -> NoReturn:
    try:
        {}["missing"]
    except KeyError:
        raise RuntimeError("cannot go on")  # noqa: B904 (this is what is tested)


def suppressed() -> NoReturn:
    try:
        {}["missing"]
    except KeyError:
        raise RuntimeError("cannot go on") from None


def noted() -> NoReturn:
    error = ValueError("noted")
    error.add_note("while reading row 7")
    raise error


def grouped() -> NoReturn:
    raise ExceptionGroup("several", [ValueError("one"), TypeError("two")])


def recursion() -> int:
    return recursion() + 1


def circular() -> NoReturn:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    raise one


def many_causes() -> NoReturn:
    error: Exception = ValueError("0")
    for number in range(1, 500):
        after = ValueError(str(number))
        after.__cause__ = error
        error = after
    raise error


def interrupted() -> NoReturn:
    raise KeyboardInterrupt


def cancelled() -> NoReturn:
    import asyncio

    raise asyncio.CancelledError


def raising(kind: type[BaseException], *arguments: object) -> Callable[[], NoReturn]:
    def fail() -> NoReturn:
        raise kind(*arguments)

    return fail


FAILURES: dict[str, Callable[[], Any]] = {
    "value error": value_error,
    "empty message": empty,
    "nested class": raising(Outer.NestedError, "nested"),
    "snake case": raising(snake_case, "snake"),
    "number in the name": raising(E404, "404"),
    "unicode name": raising(Ünïcode, "ü"),
    "two arguments": raising(ValueError, "one", 2),
    "module not found": lambda: __import__("no_such_module"),
    "key error": lambda: {}["missing"],
    "zero division": lambda: 1 // 0,
    "os error": lambda: open("/no/such/file"),  # noqa: SIM115
    "name error": lambda: eval("no_such_name"),
    "memory error": raising(MemoryError, "no room"),
    "stop iteration": raising(StopIteration, 7),
    "unicode message": raising(ValueError, "é ☃ 😀"),
    "hostile message": raising(ValueError, "line 1\r\nX-Injected: yes\n\x7f\x00 é 😀 \u2028"),
    "lone surrogate": raising(ValueError, "half \ud83d"),
    "huge message": raising(ValueError, "x" * 2_000_000),
    "large message": raising(ValueError, "é" * 90_000),
    "chained": chained,
    "while handling": while_handling,
    "suppressed": suppressed,
    "noted": noted,
    "notes that are none": raising(Noted, "n"),
    "group": grouped,
    "circular causes": circular,
    "many causes": many_causes,
    "recursion": recursion,
    "str() fails": raising(Unspeakable),
    "name fails": raising(Anonymous, "a"),
    "sys.exit(3)": lambda: sys.exit(3),
    "sys.exit(0)": lambda: sys.exit(0),
    "sys.exit()": lambda: sys.exit(),
    "sys.exit(text)": lambda: sys.exit("the reason"),
    "exit(4)": lambda: builtins.exit(4),
    "os._exit(5)": lambda: os._exit(5),
    "interrupted": interrupted,
    "base exception": raising(OtherEnd, "left"),
    "generator exit": raising(GeneratorExit),
    "cancelled": cancelled,
}


def handler(event: str, context: object) -> Any:
    return FAILURES[event]() if event in FAILURES else event


async def async_handler(event: str, context: object) -> Any:
    return handler(event, context)


def wrong_arity(event: object) -> None:
    """Lambda passes two arguments."""
