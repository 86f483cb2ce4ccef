"""FastAPI that answers bit by bit: server-sent events, and a text that is as long as the client wants it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, StreamingResponse

PAGE = Path(__file__).parent / "page.html"
LINES_AT_ONCE = 1000


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    print("stopped", flush=True)


app = FastAPI(title="Fairlead streaming example", lifespan=lifespan)


@app.get("/")
def page() -> FileResponse:
    return FileResponse(PAGE)


@app.get("/clock")
async def clock(count: int = 5, pause_ms: int = 200) -> StreamingResponse:
    """``count`` server-sent events, ``pause_ms`` apart, each with the moment at which it was made."""

    async def ticks() -> AsyncIterator[str]:
        for number in range(1, count + 1):
            yield f"id: {number}\ndata: {json.dumps({'number': number, 'at_ms': time.time_ns() // 1_000_000})}\n\n"
            await asyncio.sleep(pause_ms / 1000)
        yield "event: end\ndata: {}\n\n"

    # no-transform, so that nothing on the way compresses it, and for that collects it
    return StreamingResponse(
        ticks(), media_type="text/event-stream", headers={"cache-control": "no-cache, no-transform"}
    )


@app.get("/lines")
async def lines(count: int = 1000) -> StreamingResponse:
    """``count`` lines, never all of them in memory. Streamed, an answer may have 200 MB; buffered, 6 MB."""

    # async, though it awaits nothing: a plain generator is called in a thread, anew for each piece
    async def numbered() -> AsyncIterator[str]:
        for first in range(1, count + 1, LINES_AT_ONCE):
            yield "".join(f"line {number:9}\n" for number in range(first, min(first + LINES_AT_ONCE, count + 1)))

    return StreamingResponse(numbered(), media_type="text/plain; charset=utf-8")
