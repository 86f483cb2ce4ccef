"""Returns what the event names: one entry for each kind of value that a handler may return."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
from typing import Any, NamedTuple

Point = collections.namedtuple("Point", ["x", "y"])


class Order(NamedTuple):
    id: int
    at: Point


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Name(str, enum.Enum):  # noqa: UP042 (what users have)
    BEE = "bee"


class Strange:
    def _asdict(self) -> dict[str, int]:
        return {"as": 1}


class Raising(dict[str, int]):
    def items(self) -> Any:
        raise LookupError("no items today")


def circle() -> list[Any]:
    members: list[Any] = []
    members.append(members)
    return members


def deep(levels: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(levels):
        nested = [nested]
    return nested


RESULTS: dict[str, Any] = {
    "none": None,
    "true": True,
    "number": 12,
    "large number": 2**70,
    "float": 1.0,
    "small float": 1e-300,
    "text": "plain",
    "empty text": "",
    "text that is JSON": '{"a": 1}',
    "unicode": 'é ☃ 😀 \x7f \x00 " \\ / \n',
    "list": [1, [2, []], {}],
    "tuple": (1, 2),
    "dict": {"b": 1, "a": {"c": [None, False]}},
    "keys": {1: "int", None: "none", 1.5: "float", False: "bool"},
    "bytes key": {b"key": 1},
    "enum keys": {Level.LOW: 1, Name.BEE: 2},
    "named tuple": Point(1, Order(2, Point(3, 4))),
    "named tuple inside": {"points": [Point(1, 2)]},
    "_asdict": {"strange": Strange()},
    "ordered dict": collections.OrderedDict(b=1, a=2),
    "default dict": collections.defaultdict(list, a=[1]),
    "int enum": [Level.LOW],
    "str enum": [Name.BEE],
    "bytes inside": {"inner": b"\xc3\xa9"},
    "decimal": decimal.Decimal("1.10"),
    "decimals": {"a": [decimal.Decimal("1E+400"), decimal.Decimal("-0.0"), decimal.Decimal(7)]},
    "http": {"statusCode": 200, "headers": {"content-type": "text/html"}, "body": "<p>é</p>"},
    "bytes": b"\x00\xffraw",
    "no bytes": b"",
    "bytearray": bytearray(b"abc"),
    "bytes inside that are no text": {"inner": b"\xff"},
    "set": {1},
    "class": datetime.date,
    "object": object(),
    "datetime": datetime.datetime(2026, 1, 1),
    "date inside": {"on": datetime.date(2026, 1, 1)},
    "enum": Colour.RED,
    "complex": 1j,
    "tuple key": {(1, 2): 3},
    "circle": circle(),
    "nested too deeply": deep(100_000),
    "raising": Raising(a=1),
    "nan": float("nan"),
    "infinity": [float("inf"), float("-inf"), 1.5],
    "nan key": {float("nan"): 1},
    "decimal nan": decimal.Decimal("NaN"),
    "decimal -nan": {"a": decimal.Decimal("-NaN"), "b": decimal.Decimal("sNaN")},
    "decimal infinity": decimal.Decimal("Infinity"),
    "lone surrogate": {"half": "\ud83d é"},
}


def handler(event: str, context: object) -> Any:
    return RESULTS[event]


def echo(event: Any, context: object) -> Any:
    return event


def kind(event: Any, context: object) -> str:
    return f"{type(event).__name__}: {event!r}"
