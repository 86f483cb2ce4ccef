"""An ASGI app that looks below itself."""

from __future__ import annotations

from typing import Any

from reach import look

look("import")


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        look("lifespan", await receive())
        await send({"type": "lifespan.startup.complete"})
        look("end of lifespan", await receive())
        await send({"type": "lifespan.shutdown.complete"})
        return
    look("call", scope, await receive())
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"a", "more_body": True})
    look("between pieces", receive, send)
    await send({"type": "http.response.body", "body": b"b"})
    look("after the answer")
    if scope["path"] == "/fails":
        raise RuntimeError("after the answer")
