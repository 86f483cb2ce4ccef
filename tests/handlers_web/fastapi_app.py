"""A FastAPI app, with a lifespan."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import gate
from fastapi import BackgroundTasks, FastAPI, Request
from fastapi.responses import RedirectResponse, StreamingResponse
from pydantic import BaseModel


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
    yield {"database": "open"}
    gate.tell("ended")


app = FastAPI(lifespan=lifespan)


class Item(BaseModel):
    name: str
    price: float = 1.5


@app.get("/")
async def index(request: Request) -> str:
    return request.state.database


@app.get("/seen/{rest:path}")
async def seen(rest: str, request: Request) -> dict[str, Any]:
    return {
        "path": request.url.path,
        "rest": rest,
        "root": request.scope["root_path"],
        "url": str(request.url),
        "args": request.query_params.multi_items(),
        "cookies": request.cookies,
        "client": request.client and request.client.host,
        "link": str(request.url_for("index")),
        "event": request.scope["aws.event"]["version"],
    }


@app.post("/items")
def items(item: Item) -> Item:
    """In a thread, as FastAPI does it with what is no coroutine."""
    return item


@app.get("/login")
async def login() -> RedirectResponse:
    response = RedirectResponse("/")
    response.set_cookie("session", "abc", httponly=True)
    response.set_cookie("theme", "dark")
    return response


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        for number in range(3):
            await asyncio.sleep(0)
            yield f"line {number}\n"

    return StreamingResponse(lines(), media_type="text/plain")


@app.get("/quiet")
async def quiet() -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        try:
            yield "first"
            gate.tell("waits")
            await asyncio.Event().wait()
        finally:
            gate.tell("closed")

    return StreamingResponse(lines(), media_type="text/plain")


@app.get("/later")
async def later(tasks: BackgroundTasks) -> str:
    async def work() -> None:
        await gate.wait_async()
        gate.tell("worked")

    tasks.add_task(work)
    return "answered"


@app.get("/boom")
async def boom() -> None:
    raise ValueError("boom")


@app.post("/events")
async def events(event: dict[str, Any]) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": event["Records"][0]["messageId"]}]}
