"""An ASGI app without a framework: what it does is its path. It does not know the lifespan protocol."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import gate

Message = dict[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

TEXT = [(b"Content-Type", b"text/plain")]
JSON = [(b"content-type", b"application/json")]
PIECE = bytes(range(256)) * 256
done: list[str] = []


class Broken(Exception):
    """Something of the user's."""


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    name, _, argument = scope["path"][1:].partition("/")
    await PATHS[name](scope, receive, send, argument)


async def start(send: Send, status: int = 200, headers: list[tuple[bytes, bytes]] = TEXT) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def body(send: Send, octets: Any, more: bool = False) -> None:
    await send({"type": "http.response.body", "body": octets, "more_body": more})


async def ok(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    await start(send)
    await body(send, b"ok ", True)
    await body(send, b"", True)
    await body(send, bytearray(b"there"))


async def scope(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    await start(send, headers=JSON)
    shown = {key: value.decode("latin-1") if isinstance(value, bytes) else value for key, value in scope.items()}
    shown["headers"] = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
    shown["aws.context"] = scope["aws.context"].aws_request_id
    await body(send, json.dumps(shown).encode())


async def headers(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    fields = [
        (b"Set-Cookie", b"a=1"),
        (b"Set-Cookie", b"b=2"),
        (b"X-Utf-8", "é".encode()),
        (b"X-Latin", b"\xe9"),
        *TEXT,
    ]
    await start(send, 201, fields)
    await body(send, b"made")


async def messages(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    """What receive gives: the request, and after the answer that it is over."""
    first = await receive()
    waiting = asyncio.create_task(receive())
    await asyncio.sleep(0)
    before = waiting.done()
    await start(send, headers=JSON)
    await body(send, json.dumps({**first, "body": first["body"].decode(), "was_over": before}).encode())
    gate.tell((await waiting)["type"])
    gate.tell((await receive())["type"])
    try:
        await body(send, b"more")
    except OSError as error:
        gate.tell(type(error).__mro__[1].__name__)


async def raises_before(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    raise Broken("before the head")


async def raises_after_head(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    await start(send)
    try:
        raise Broken("after the head")
    finally:
        gate.tell("closed")


async def raises_in_body(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    await start(send)
    await body(send, b"sent ", True)
    try:
        raise Broken("in the body")
    finally:
        gate.tell("closed")


async def raises_at_close(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    await start(send)
    await body(send, b"whole")
    raise Broken("at the end")


async def exits(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    await start(send)
    if argument == "late":
        await body(send, b"sent ", True)
    sys.exit(3)


async def no_start(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    await body(send, b"body")


async def no_body(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    await start(send)


async def bad_status(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    await start(send, 99)


async def twice(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    await start(send)
    await start(send)


async def text_body(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    await start(send)
    await body(send, "text")


async def short(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    await start(send, headers=[*TEXT, (b"content-length", b"10")])
    await body(send, b"short")


async def large(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    await start(send)
    try:
        for _ in range(200):
            await body(send, PIECE, True)
        await body(send, b"")
    finally:
        gate.tell("closed")


async def no_content(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    await start(send, 204, [])
    await body(send, b"never sent")


async def fails(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    await start(send, 503)
    await body(send, b"busy")


async def sleeps(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    await start(send)
    if argument == "late":
        await body(send, b"sent ", True)
    try:
        await asyncio.Event().wait()
    finally:
        gate.tell("closed")


async def blocks(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    time.sleep(3600)


async def pieces(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    await start(send, headers=[(b"content-type", b"text/event-stream")])
    try:
        for number in range(int(argument)):
            await gate.wait_async()
            await body(send, b"piece %d\n" % number, True)
        await body(send, b"")
    finally:
        gate.tell("closed")


async def quiet(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    """A piece, and then nothing until the client has gone; or for ever, if told so."""
    await receive()
    await start(send)
    await body(send, b"first", True)
    try:
        if argument == "deaf":
            await asyncio.Event().wait()
        gate.tell((await receive())["type"])
    finally:
        gate.tell("closed")


async def bulk(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    await start(send)
    for _ in range(int(argument)):
        await body(send, b"".join((PIECE[:-1], b".")), True)
    await body(send, b"")


async def after(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    """Works on after its answer: until the test lets it."""
    await start(send)
    await body(send, b"answered")
    await gate.wait_async()
    done.append("after")
    gate.tell("done")


async def spawns(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    """Leaves a task behind that nobody waits for."""

    async def work() -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        done.append("task")

    scope["task"] = asyncio.create_task(work())
    tasks.append(scope["task"])
    await start(send)
    await body(send, b"answered")


tasks: list[asyncio.Task[None]] = []


async def was_done(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    await asyncio.gather(*tasks)
    await start(send, headers=JSON)
    await body(send, json.dumps(done).encode())


async def together(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    """Two tasks send at once."""
    await start(send)
    await asyncio.gather(*(body(send, b"%d" % number, True) for number in range(5)))
    await body(send, b".")


async def events(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    event = json.loads((await receive())["body"])
    if event.get("fails"):
        raise Broken("a trigger")
    await start(send, headers=JSON)
    await body(send, json.dumps({"seen": event, "same": scope["aws.event"] == event}).encode())


async def compressible(scope: Scope, receive: Receive, send: Send, argument: str) -> None:
    await start(send)
    await body(send, b"again and again " * 1000)


PATHS = {
    name.replace("_", "-"): value
    for name, value in list(globals().items())
    if asyncio.iscoroutinefunction(value) and value.__module__ == __name__ and name not in ("app", "start", "body")
}
