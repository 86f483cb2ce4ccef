"""A Starlette app, for uvicorn, whose background task waits until it is released: ``/release``, asked beside Fairlead.

``/state`` tells what has become of the task, and ``/done`` answers when no request is in work any more, its background
tasks included. ``running`` and ``Remember`` are what docs/app.md shows.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

running: set[asyncio.Task[Any]] = set()
released = asyncio.Event()
states = ["not begun"]


class Remember:
    """Remembers each request until all that belongs to it is over."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":  # and not the lifespan, which is never over
            task = asyncio.current_task()
            assert task
            running.add(task)
            task.add_done_callback(running.discard)
        await self.app(scope, receive, send)


async def mail() -> None:
    """The task."""
    states.append("running")
    await released.wait()
    states.append("over")


async def work(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("answered", background=BackgroundTask(mail))


async def done(_request: Request) -> PlainTextResponse:
    others = {task for task in running if task is not asyncio.current_task()}
    if others:
        await asyncio.wait(others)
    return PlainTextResponse("")


async def state(_request: Request) -> PlainTextResponse:
    return PlainTextResponse(states[-1])


async def release(_request: Request) -> PlainTextResponse:
    released.set()
    return PlainTextResponse("")


app = Starlette(
    routes=[
        Route("/", state),
        Route("/work", work),
        Route("/done", done, methods=["POST"]),
        Route("/state", state),
        Route("/release", release),
    ]
)
app.add_middleware(Remember)
