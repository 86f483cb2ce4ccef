"""``tests/apps/echo.py`` as an ASGI app: answers with what it received."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise ValueError(scope["type"])
    body = (await receive())["body"]
    query = scope["query_string"]
    seen = {
        "method": scope["method"],
        "target": (scope["raw_path"] + (b"?" + query if query else b"")).decode("latin-1"),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
        "body": b64encode(body).decode(),
    }
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    document = json.dumps(seen, separators=(",", ":")).encode()
    await send({"type": "http.response.body", "body": document})
