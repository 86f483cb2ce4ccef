"""``tests/apps/echo.py`` as a WSGI app: answers with what it received, its fields as WSGI has them."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterable
from typing import Any


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    fields = {key.removeprefix("HTTP_"): value for key, value in environ.items() if key.startswith("HTTP_")}
    fields |= {key: environ[key] for key in ("CONTENT_TYPE", "CONTENT_LENGTH") if key in environ}
    seen = {
        "method": environ["REQUEST_METHOD"],
        "target": environ["REQUEST_URI"],
        "headers": {name.lower().replace("_", "-"): value for name, value in fields.items()},
        "body": b64encode(environ["wsgi.input"].read()).decode(),
    }
    start_response("200 OK", [("content-type", "application/json")])
    return [json.dumps(seen, separators=(",", ":")).encode()]


class Namespace:
    """``echo_wsgi:Namespace.inner.app``"""

    class inner:  # noqa: N801
        app = staticmethod(app)


number = 7
