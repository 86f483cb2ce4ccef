"""A WSGI app without a framework: what it does is its path."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import gate

Start = Callable[..., Callable[[bytes], object]]
OK = "200 OK"
TEXT = [("Content-Type", "text/plain")]
PIECE = bytes(range(256)) * 256


class Broken(Exception):
    """Something of the user's."""


def app(environ: dict[str, Any], start_response: Start) -> Iterable[Any]:
    name, _, argument = environ["PATH_INFO"][1:].partition("/")
    return PATHS[name](environ, start_response, argument)


class Told:
    """An iterable whose ``close`` the test hears of."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def close(self) -> None:
        gate.tell("closed")


def ok(environ: dict[str, Any], start_response: Start, argument: str) -> Iterable[Any]:
    start_response(OK, TEXT)
    return [b"ok ", b"", b"there"]


def environment(environ: dict[str, Any], start_response: Start, argument: str) -> Iterable[Any]:
    start_response(OK, [("Content-Type", "application/json")])
    shown = {key: value if isinstance(value, bool | tuple) else str(value) for key, value in environ.items()}
    del shown["wsgi.input"], shown["wsgi.errors"]
    return [json.dumps({**shown, "request": environ["aws.context"].aws_request_id}).encode()]


def headers(environ: dict[str, Any], start_response: Start, argument: str) -> Iterable[Any]:
    latin = "é".encode().decode("latin-1")
    start_response(
        "201 Made", [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Utf-8", latin), ("X-Latin", "\xe9"), *TEXT]
    )
    return [b"made"]


def write(environ: dict[str, Any], start_response: Start, argument: str) -> Iterable[Any]:
    sink = start_response(OK, TEXT)
    sink(b"written ")
    sink(b"first ")
    return [b"then returned"]


def late_start(environ: dict[str, Any], start_response: Start, argument: str) -> Iterator[bytes]:
    """A generator: nothing runs, start_response included, before the first piece is asked for."""
    start_response(OK, TEXT)
    yield b"late"


def exc_info(environ: dict[str, Any], start_response: Start, argument: str) -> Iterator[bytes]:
    """An error page in place of what was begun; too late once something was sent."""
    start_response(OK, TEXT)
    if argument == "late":
        yield b"sent "
    try:
        raise Broken("behind the page")
    except Broken:
        start_response("500 Oops", TEXT, sys.exc_info())
    yield b"the error page"


def raises_before(environ: dict[str, Any], start_response: Start, argument: str) -> Iterable[Any]:
    raise Broken("before the head")


def raises_after_head(environ: dict[str, Any], start_response: Start, argument: str) -> Iterable[Any]:
    def items() -> Iterator[bytes]:
        raise Broken("after the head")
        yield b""

    start_response(OK, TEXT)
    return Told(items())


def raises_in_body(environ: dict[str, Any], start_response: Start, argument: str) -> Iterable[Any]:
    def items() -> Iterator[bytes]:
        yield b"sent "
        raise Broken("in the body")

    start_response(OK, TEXT)
    return Told(items())


def raises_at_close(environ: dict[str, Any], start_response: Start, argument: str) -> Iterable[Any]:
    class Closing(Told):
        def close(self) -> None:
            raise Broken("at the end")

    start_response(OK, TEXT)
    return Closing([b"whole"])


def exits(environ: dict[str, Any], start_response: Start, argument: str) -> Iterator[bytes]:
    start_response(OK, TEXT)
    if argument == "late":
        yield b"sent "
    sys.exit(3)


def no_start(environ: dict[str, Any], start_response: Start, argument: str) -> Iterable[Any]:
    return [b"body"]


def bad_status(environ: dict[str, Any], start_response: Start, argument: str) -> Iterable[Any]:
    start_response("OK", TEXT)
    return []


def twice(environ: dict[str, Any], start_response: Start, argument: str) -> Iterable[Any]:
    start_response(OK, TEXT)
    start_response(OK, TEXT)
    return []


def text_body(environ: dict[str, Any], start_response: Start, argument: str) -> Iterable[Any]:
    start_response(OK, TEXT)
    return ["text"]


def short(environ: dict[str, Any], start_response: Start, argument: str) -> Iterable[Any]:
    start_response(OK, [*TEXT, ("Content-Length", "10")])
    return [b"short"]


def large(environ: dict[str, Any], start_response: Start, argument: str) -> Iterable[Any]:
    start_response(OK, TEXT)
    return Told(PIECE for _ in range(200))


def no_content(environ: dict[str, Any], start_response: Start, argument: str) -> Iterable[Any]:
    start_response("204 No Content", [])
    return [b"never sent"]


def fails(environ: dict[str, Any], start_response: Start, argument: str) -> Iterable[Any]:
    start_response("503 Busy", TEXT)
    return [b"busy"]


def sleeps(environ: dict[str, Any], start_response: Start, argument: str) -> Iterator[bytes]:
    start_response(OK, TEXT)
    if argument == "late":
        yield b"sent "
    try:
        time.sleep(3600)
    except BaseException:
        if argument == "stubborn":
            time.sleep(3600)
        raise


def pieces(environ: dict[str, Any], start_response: Start, argument: str) -> Iterable[Any]:
    def items() -> Iterator[bytes]:
        for number in range(int(argument)):
            gate.wait()
            yield b"piece %d\n" % number

    start_response(OK, [("Content-Type", "text/event-stream")])
    return Told(items())


def bulk(environ: dict[str, Any], start_response: Start, argument: str) -> Iterable[Any]:
    start_response(OK, TEXT)
    return Told(b"".join((PIECE[:-1], b".")) for _ in range(int(argument)))


def events(environ: dict[str, Any], start_response: Start, argument: str) -> Iterable[Any]:
    event = json.loads(environ["wsgi.input"].read())
    if event.get("fails"):
        raise Broken("a trigger")
    start_response(OK, [("Content-Type", "application/json")])
    return [json.dumps({"seen": event, "same": environ["aws.event"] == event}).encode()]


def modules(environ: dict[str, Any], start_response: Start, argument: str) -> Iterable[Any]:
    start_response(OK, [("Content-Type", "application/json")])
    return [json.dumps(sorted(sys.modules)).encode()]


def compressible(environ: dict[str, Any], start_response: Start, argument: str) -> Iterable[Any]:
    start_response(OK, TEXT)
    return [b"again and again " * 1000]


PATHS = {
    name.replace("_", "-"): value
    for name, value in list(globals().items())
    if callable(value) and getattr(value, "__module__", "") == __name__ and name not in ("app", "Told", "Broken")
}
