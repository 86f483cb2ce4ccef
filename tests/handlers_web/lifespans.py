"""ASGI apps that start and end in their own ways."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import gate

Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


def with_lifespan(lifespan: Callable[[dict[str, Any], Any, Any], Awaitable[None]]) -> Application:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await lifespan(scope, receive, send)
            return
        scope["state"]["own"] = True  # of this request alone
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(scope["state"]).encode()})

    return app


async def _good(scope: dict[str, Any], receive: Any, send: Any) -> None:
    assert (await receive())["type"] == "lifespan.startup"
    scope["state"]["database"] = "open"
    await send({"type": "lifespan.startup.complete"})
    assert (await receive())["type"] == "lifespan.shutdown"
    gate.tell("ended")
    await send({"type": "lifespan.shutdown.complete"})


async def _fails(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


async def _exits(scope: dict[str, Any], receive: Any, send: Any) -> None:
    sys.exit(4)


async def _ends_badly(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    raise ValueError("the end is bad")


async def _does_not_end(scope: dict[str, Any], receive: Any, send: Any) -> None:
    import asyncio

    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await asyncio.Event().wait()


good = with_lifespan(_good)
fails = with_lifespan(_fails)
exits = with_lifespan(_exits)
ends_badly = with_lifespan(_ends_badly)
does_not_end = with_lifespan(_does_not_end)
