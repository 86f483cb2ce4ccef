"""An app between two checks of the standard library: that the server keeps to PEP 3333, and that the app does."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.validate import validator

warnings.simplefilter("error")


def _app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.errors"].write("to the log\n")
    environ["wsgi.errors"].flush()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"checked ", body]


app = validator(_app)
