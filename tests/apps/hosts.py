"""An app that says on stdout what it was asked, and under which Host: ``GET / 127.0.0.1:8080``."""

from __future__ import annotations

import os

from serving import Connection, Request, serve


def tell(connection: Connection, request: Request) -> None:
    """Say it, and answer with JSON."""
    connection.read_body(request)
    os.write(1, b"%s %s %s\n" % (request.method, request.target, request.header(b"host")))
    connection.answer(200, b"{}")


if __name__ == "__main__":
    serve(tell)
