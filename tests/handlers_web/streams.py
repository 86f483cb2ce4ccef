"""Handlers whose answer comes bit by bit."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import gate

PIECE = (bytes(range(256)) * 4096)[:-1]  # 1 MiB with the dot after it


def three(event: object, context: object) -> Iterator[bytes]:
    for number in range(3):
        gate.wait()
        yield b"piece %d\n" % number


async def three_async(event: object, context: object) -> AsyncIterator[bytes]:
    for number in range(3):
        await gate.wait_async()
        yield b"piece %d\n" % number


async def returns_async(event: object, context: object) -> AsyncIterator[bytes]:
    return three_async(event, context)


def http(event: dict[str, Any], context: object) -> dict[str, Any]:
    return {
        "statusCode": 201,
        "headers": {"Content-Type": "text/plain", "X-Number": 1, "Vary": ["accept", "origin"]},
        "cookies": ["a=1", "b=2; Path=/"],
        "body": iter(["first ", b"second"]),
        **event,
    }


async def http_async(event: dict[str, Any], context: object) -> dict[str, Any]:
    return {"statusCode": 200, "body": three_async(event, context)}


def typed(event: object, context: object) -> dict[str, Any]:
    return {"contentType": "text/csv", "body": iter(["a,b\n", "1,2\n"])}


class Iterable:
    """Neither a generator nor an iterator of Python's own."""

    def __init__(self, items: list[Any]) -> None:
        self._items = items

    def __iter__(self) -> Iterable:
        return self

    def __next__(self) -> Any:
        if not self._items:
            raise StopIteration
        return self._items.pop(0)


class AsyncIterable(Iterable):
    """The same in the other world."""

    def __aiter__(self) -> AsyncIterable:
        return self

    async def __anext__(self) -> Any:
        if not self._items:
            raise StopAsyncIteration
        return self._items.pop(0)


KINDS: dict[str, Callable[[], list[Any]]] = {
    "str": lambda: ["é", "☃"],
    "bytes": lambda: [b"\x00\xff"],
    "bytearray": lambda: [bytearray(b"array")],
    "memoryview": lambda: [memoryview(b"0123456789")[2:5]],
    "memoryview of numbers": lambda: [memoryview(b"0123456789abcdef").cast("I")],
    "empty pieces": lambda: ["", b"a", b"", bytearray(), "b", ""],
    "none": list,
    "only empty": lambda: ["", b""],
    "int": lambda: [1],
    "dict": lambda: [{"a": 1}],
    "None": lambda: [None],
    "half a surrogate pair": lambda: ["\ud83d"],
    "later: list": lambda: [b"sent ", ["a"]],
}


def kinds(event: str, context: object) -> Iterator[Any]:
    yield from KINDS[event]()


def kinds_iterator(event: str, context: object) -> Iterable:
    return Iterable(KINDS[event]())


async def kinds_async(event: str, context: object) -> AsyncIterator[Any]:
    for item in KINDS[event]():
        yield item


def kinds_async_iterator(event: str, context: object) -> AsyncIterable:
    return AsyncIterable(KINDS[event]())


def kinds_http(event: str, context: object) -> dict[str, Any]:
    return {"statusCode": 200, "body": Iterable(KINDS[event]())}


class Broken(Exception):
    """Something of the user's."""


def fails(event: str, context: Any) -> Iterator[bytes]:
    """Before the first piece, or after it."""
    try:
        if event == "before":
            raise Broken("no first piece")
        yield b"sent "
        if event == "exit":
            sys.exit(3)
        raise Broken("no second piece")
    finally:
        gate.tell("closed")


async def fails_async(event: str, context: Any) -> AsyncIterator[bytes]:
    for piece in fails(event, context):
        yield piece


def fails_http(event: str, context: Any) -> dict[str, Any]:
    return {"statusCode": 200, "body": fails(event, context)}


def fails_written(event: str, context: Any) -> None:
    out = context.response_stream()
    for piece in fails(event, context):
        out.write(piece)


def quiet(event: object, context: object) -> Iterator[bytes]:
    """Waits for the test between its pieces."""
    try:
        yield b"first"
        while True:
            gate.tell("waits")
            gate.wait()
            yield b"more"
    finally:
        gate.tell("closed")


async def quiet_async(event: object, context: object) -> AsyncIterator[bytes]:
    """Waits for ever."""
    import asyncio

    try:
        yield b"first"
        gate.tell("waits")
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        gate.tell("closed")


def fails_to_close(event: object, context: object) -> Iterator[bytes]:
    try:
        yield b"first"
        gate.tell("waits")
        gate.wait()
        yield b"more"
    finally:
        raise Broken("in finally")


def bulk(event: int, context: object) -> Iterator[bytes]:
    """So many MiB; how many were made is in the file COUNT."""
    try:
        with open(os.environ["COUNT"], "wb", buffering=0) as count:
            for number in range(event):
                yield b"".join((PIECE, b"."))  # another one each time
                os.pwrite(count.fileno(), b"%8d" % (number + 1), 0)
    finally:
        gate.tell("closed")


async def bulk_async(event: int, context: object) -> AsyncIterator[bytes]:
    for piece in bulk(event, context):
        yield piece


def bulk_written(event: int, context: Any) -> None:
    out = context.response_stream()
    for piece in bulk(event, context):
        out.write(piece)


def written(event: dict[str, Any], context: Any) -> str:
    out = context.response_stream(**event)
    gate.wait()
    csv.writer(out).writerow(["a", "é"])
    gate.wait()
    out.write(b"bytes")
    out.flush()
    out.close()
    return "not looked at"


async def written_async(event: dict[str, Any], context: Any) -> None:
    with context.response_stream({"statusCode": 202, "cookies": ["a=1"]}) as out:
        out.write("text")


def written_not(event: object, context: Any) -> None:
    context.response_stream({"statusCode": 204})


def written_nothing(event: int, context: Any) -> None:
    context.response_stream({"statusCode": event})


def misused(event: str, context: Any) -> None:
    """What a file of this kind refuses, after and before the first write."""
    out = context.response_stream({"statusCode": 200}) if event == "content type of HTTP" else context.response_stream()
    assert (out.content_type, out.closed, out.has_begun) == ("application/octet-stream", False, False)
    out.content_type = "text/plain" if event != "content type of HTTP" else "text/html"
    if event == "number":
        out.write(1)
    out.write("sent ")
    if event == "content type":
        out.content_type = "text/html"
    elif event == "prelude":
        out.prelude = {"statusCode": 200}
    elif event == "closed":
        out.close()
        out.write("more")
    else:
        context.response_stream()


def typed_by(event: list[str], context: Any) -> dict[str, Any] | None:
    """An answer whose content type is the caller's, in each of the ways to give one."""
    way, content_type = event
    if way == "dict":
        return {"contentType": content_type, "body": iter(["text"])}
    if way == "call":
        context.response_stream(content_type=content_type).write("text")
    elif way == "property":
        out = context.response_stream()
        out.content_type = content_type
        out.write("text")
    elif way == "handled":  # an error that the handler thinks better of
        try:
            context.response_stream(content_type=content_type)
        except Exception:
            context.response_stream(content_type="text/plain").write("text")
    return None


def gone(event: object, context: Any) -> None:
    """Writes until the client has gone, and takes note of that."""
    out = context.response_stream()
    try:
        while True:
            out.write(PIECE)
    except BrokenPipeError:
        gate.tell("noticed")
        if event == "raises":
            raise


def plain(event: object, context: object) -> object:
    return event


def by_name(event: list[Any], context: object) -> object:
    """Another handler of this module, so that one process serves them all."""
    name, argument = event
    return globals()[name](argument, context)
