"""A WSGI app in this process (PEP 3333): a Flask or Django app without a server around it.

The app is called in the main thread, one request at a time. What is sent of its answer, and when, is web mode's
business: asked for the whole it is run to its end, asked to begin it is run until its first octets are there.
docs/wsgi-asgi.md is for users.
"""

from __future__ import annotations

import io
import sys

from ..errors import ClientGone, InvocationFault, ResponseTooLarge
from ..events.response import BODILESS
from ..invocation import PAYLOAD_LIMIT
from ..json_codec import utf8
from .stream import Watch
from .web_callable import Alarm, Guard, bad_answer, check_length, head_of, parts_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Literal

    from ..invocation import Invocation
    from ..messages import HttpRequest, HttpResponse
    from .web_callable import Current, Rules

    Environ = dict[str, Any]
    Application = Callable[[Environ, Callable[..., Any]], Any]

CONSTANTS = {
    "SERVER_PROTOCOL": "HTTP/1.1",
    "SERVER_SOFTWARE": "fairlead",
    "GATEWAY_INTERFACE": "CGI/1.1",
    "wsgi.version": (1, 0),
    "wsgi.multithread": False,
    "wsgi.multiprocess": False,
    "wsgi.run_once": False,
    "wsgi.input_terminated": True,  # it ends where the body ends: werkzeug then trusts it without a length
}
# CGI has names of its own for these (RFC 3875 section 4.1).
_UNPREFIXED = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}

_END = object()


class WsgiApp:
    """The app that ``application`` is."""

    def __init__(self, application: Application, rules: Rules, current: Current) -> None:
        self._application = application
        self._rules = rules
        self._current = current
        self._guard = Guard(rules, Alarm())

    def ask(self, request: HttpRequest, invocation: Invocation) -> HttpResponse:
        """Returns the whole answer. Raises ``InvocationFault``."""
        answer = self._called(request, invocation)
        try:
            pieces, size = [], 0
            while piece := answer.read(-1):
                pieces.append(piece)
                size += len(piece)
                if size > self._rules.max_body:
                    raise ResponseTooLarge(size, PAYLOAD_LIMIT)
            return answer.head._replace(body=b"".join(pieces))
        finally:
            answer.close()

    def begin(self, request: HttpRequest, invocation: Invocation) -> tuple[HttpResponse, _Answer]:
        """Returns head and body. Raises ``InvocationFault``.

        PEP 3333 has the head wait for the first octets of the body, so that both are there.
        """
        answer = self._called(request, invocation)
        try:
            answer.draw()
        except BaseException:
            answer.close()
            raise
        return answer.head, answer

    def after_response(self) -> None:
        """Raises ``EnvironmentLost`` when the app must not be called again."""
        self._guard.after_response()

    def _called(self, request: HttpRequest, invocation: Invocation) -> _Answer:
        deadline = self._rules.deadline(invocation)
        answer = _Answer(self._guard, request, deadline)
        environ = self._environ(request)
        self._guard.run(lambda: answer.start(self._application, environ), request, deadline)
        return answer

    def _environ(self, request: HttpRequest) -> Environ:
        """The variables of PEP 3333 and RFC 3875, and a few that apps look for."""
        current = self._current
        parts = parts_of(request, current.event, self._rules.has_root)
        return {
            **CONSTANTS,
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": parts.root,
            "PATH_INFO": parts.path_octets.decode("latin-1"),
            "QUERY_STRING": parts.query,
            "REQUEST_URI": parts.root + request.target,
            "RAW_URI": parts.root + request.target,
            "REMOTE_ADDR": parts.client,
            "SERVER_NAME": parts.server[0],
            "SERVER_PORT": str(parts.server[1]),
            "wsgi.url_scheme": parts.scheme,
            "wsgi.input": io.BytesIO(request.body),
            "wsgi.errors": sys.stderr,
            "aws.event": current.event,
            "aws.context": current.context,
            **_fields(request),
        }


def _fields(request: HttpRequest) -> dict[str, str]:
    """The header fields as variables; repeated ones as one list (RFC 9110 section 5.3).

    A name with ``_`` becomes the same variable as the one with ``-``; events/fields.py has removed those that could
    pass for another.
    """
    fields: dict[str, str] = {}
    for name, value in request.headers:
        key = _UNPREFIXED.get(name) or "HTTP_" + name.upper().replace("-", "_")
        text = value if value.isascii() else utf8(value).decode("latin-1")
        fields[key] = f"{fields[key]},{text}" if key in fields else text
    return fields


class _Answer:
    """One call of the app, and the body that comes of it: a ``handler.InProcessBody``."""

    waits: Literal[False] = False

    def __init__(self, guard: Guard, request: HttpRequest, deadline: float | None) -> None:
        self._guard = guard
        self._request = request
        self._deadline = deadline
        self._head: HttpResponse | None = None
        self._iterable: Any = None
        self._items: Iterator[Any] = iter(())
        self._waiting: list[bytes] = []  # what came through write(), or was drawn
        self._size = 0
        self._has_octets = False  # from here on the head cannot be changed
        self._is_over = False
        self._watch = Watch()

    def start(self, application: Application, environ: Environ) -> None:
        """Call the app."""
        self._iterable = application(environ, self._start_response)
        self._items = iter(self._iterable)

    @property
    def head(self) -> HttpResponse:
        """Status and fields, once octets were read or the end was. Raises ``InvocationFault`` when there are none."""
        if self._head is None:
            raise bad_answer("the app has not called start_response")
        return self._head

    def draw(self) -> None:
        """Have the first octets there, and thereby the head."""
        first = self.read(-1)
        self._waiting[:0] = [first] if first else []
        self._is_over = not first

    def ready(self) -> bytes:
        """Returns what was drawn already."""
        return self._waiting.pop(0) if self._waiting else b""

    def read(self, watched: int) -> bytes:
        """Returns the next piece, ``b""`` at the end. Raises ``InvocationFault`` and ``ClientGone``."""
        return self._guard.run(lambda: self._next(watched), self._request, self._deadline)

    def close(self) -> None:
        """Tell the iterable that nobody wants more of it, whatever has happened."""
        iterable, self._iterable = self._iterable, None
        self._items = iter(())
        close = getattr(iterable, "close", None)
        if close:
            try:
                self._guard.run(close, self._request, self._deadline)
            except InvocationFault:
                pass  # it is in the log, and the answer is what it is

    def _next(self, watched: int) -> bytes:
        while not self._is_over:
            piece = self._waiting.pop(0) if self._waiting else next(self._items, _END)
            if piece is _END:
                self._is_over = True
                check_length(self._request, self.head, self._size)
                return b""
            if not isinstance(piece, bytes):
                raise bad_answer(f"a WSGI app's answer consists of bytes, and not of {type(piece).__name__}")
            if self._watch.on(watched).is_gone:
                raise ClientGone
            if piece:
                self._has_octets = True
                if self._request.method == "HEAD" or self.head.status in BODILESS:
                    self._is_over = True
                    return b""
                self._size += len(piece)
                return piece
        return b""

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """``start_response`` of PEP 3333, with ``exc_info``."""
        if exc_info:
            try:
                if self._has_octets:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self._head is not None:
            raise RuntimeError("start_response was called before, and without exc_info it may be called once")
        code, _, reason = status.partition(" ")
        if not (len(code) == 3 and code.isascii() and code.isdigit() and 200 <= int(code) <= 599):
            raise ValueError(f"the status must be like '200 OK', and not {status!r}")
        fields = ((name.encode("latin-1"), value.strip(" \t").encode("latin-1")) for name, value in headers)
        self._head = head_of(int(code), reason, fields)
        return self._write

    def _write(self, octets: bytes) -> None:
        """The ``write`` of PEP 3333, which is there for old code: what it is given waits until the app returns."""
        if not isinstance(octets, bytes):
            raise TypeError(f"write() takes bytes, and not {type(octets).__name__}")
        self._has_octets = self._has_octets or bool(octets)
        self._waiting.append(octets)
