"""A WSGI app that looks below itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from reach import look

look("import")


class _Body:
    def __iter__(self) -> Iterator[bytes]:
        look("iteration")
        yield b"piece"

    def close(self) -> None:
        look("close")


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> _Body:
    look("call", environ, start_response)
    start_response("200 OK", [])
    try:
        start_response("200 OK", [])
    except RuntimeError as error:
        look("an exception of Fairlead's", error)
    return _Body()
