"""A small FastAPI app: a page, forms, files, cookies, queue messages. Only /events knows that it is on Lambda."""

from __future__ import annotations

import hashlib
import html
import platform
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import FastAPI, Form, HTTPException, Request, Response, UploadFile
from fastapi.responses import HTMLResponse, RedirectResponse


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Before ``yield``: what should happen once, at the cold start. After it: at SIGTERM, within 400 ms."""
    yield
    print("stopped", flush=True)


app = FastAPI(title="Fairlead example", lifespan=lifespan)
PAGE = (Path(__file__).parent / "page.html").read_text()
EVERY_BYTE = bytes(range(256))


@app.get("/", response_class=HTMLResponse)
def page(request: Request, name: str = "") -> str:
    greeting = f"Hello, {html.escape(name)}" if name else "It runs"
    cookies = ", ".join(f"{html.escape(key)}={html.escape(value)}" for key, value in request.cookies.items())
    return PAGE.replace("{{greeting}}", greeting).replace("{{cookies}}", cookies or "none yet")


@app.post("/greet")
def greet(name: Annotated[str, Form()]) -> RedirectResponse:
    # See Other: reloading the page that follows does not send the form again.
    return RedirectResponse(f"/?name={quote(name, safe='')}", status_code=303)


@app.post("/upload")
def upload(file: UploadFile) -> dict[str, Any]:
    content = file.file.read()
    return {"name": file.filename, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@app.get("/download")
def download() -> Response:
    """1 KiB in which every byte value occurs."""
    headers = {"content-disposition": 'attachment; filename="every-byte.bin"'}
    return Response(EVERY_BYTE * 4, media_type="application/octet-stream", headers=headers)


@app.get("/cookies")
def cookies(request: Request, response: Response) -> dict[str, str]:
    """What the browser sent; two cookies come back, each in a field of its own."""
    response.set_cookie("visited", "yes", httponly=True, samesite="lax")
    response.set_cookie("theme", "dark", max_age=86400)
    return dict(request.cookies)


@app.api_route("/echo{rest:path}", methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def echo(request: Request) -> dict[str, Any]:
    """The request as it reached the app: nothing decoded, nothing sorted, nothing joined."""
    body = await request.body()
    return {
        "method": request.method,
        "raw_path": request.scope["raw_path"].decode("latin-1"),
        "query": request.scope["query_string"].decode("latin-1"),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.headers.raw],
        "body_bytes": len(body),
        "body_sha256": hashlib.sha256(body).hexdigest(),
    }


@app.get("/api/request")
def described(request: Request) -> dict[str, Any]:
    """The request as FastAPI understands it. uvicorn reads scheme and client from X-Forwarded-*, as run.sh lets it."""
    return {
        "runtime": f"Python {platform.python_version()}",
        "method": request.method,
        "url": str(request.url),
        "query": request.query_params.multi_items(),
        "headers": request.headers.items(),
        "client": request.client.host if request.client else None,
    }


@app.post("/api/bytes")
async def same_bytes(request: Request) -> Response:
    body = await request.body()
    headers = {"x-length": str(len(body)), "x-sha256": hashlib.sha256(body).hexdigest()}
    return Response(body, media_type="application/octet-stream", headers=headers)


@app.get("/api/cookies")
def two_cookies(request: Request, response: Response) -> dict[str, str]:
    response.set_cookie("theme", "dark", max_age=86400)
    response.set_cookie("visited", "yes", httponly=True)
    return request.cookies


@app.post("/form")
async def form(request: Request) -> dict[str, list[str]]:
    async with request.form() as fields:
        return {name: [str(value) for value in fields.getlist(name)] for name in fields}


@app.post("/events")
async def events(request: Request) -> dict[str, Any]:
    """Everything that is not HTTP arrives here: queues, topics, schedules, table streams.

    Of an SQS batch, the messages whose body is "fail" are reported as failed, and SQS delivers only these again
    (the event source mapping needs FunctionResponseTypes: ReportBatchItemFailures).
    """
    # Anybody can POST here from outside. Fairlead sets this header for events and takes it from every other request.
    if "x-fairlead-event-source" not in request.headers:
        raise HTTPException(403, "for events only")
    event = await request.json()
    records = event.get("Records", []) if isinstance(event, dict) else []
    failed = [record["messageId"] for record in records if record.get("body") == "fail"]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}
