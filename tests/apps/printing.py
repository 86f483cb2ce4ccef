"""An app that prints the path of each request, as apps do: without a flush.

``/end`` ends the process as a kill does, and what is held back is lost.
"""

from __future__ import annotations

import os

from serving import Connection, Request, serve


def answer(connection: Connection, request: Request) -> None:
    """Print, and answer what PYTHONUNBUFFERED is."""
    connection.read_body(request)
    print("printed", request.path)
    if request.path == "/end":
        os._exit(1)
    connection.answer(200, os.environ.get("PYTHONUNBUFFERED", "not set").encode())


if __name__ == "__main__":
    serve(answer)
