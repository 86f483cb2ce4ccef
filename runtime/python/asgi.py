"""An ASGI app in this process (ASGI 3.0): FastAPI, Starlette or Django without a server around it.

Everything of the app runs in the one event loop of the process, and that runs only while an invocation is served. What
the app does after its answer is waited for once the client has that, until the deadline; what is not done by then
stands still, and goes on with the next invocation. docs/wsgi-asgi.md is for users.
"""

from __future__ import annotations

import asyncio
import time

from ..errors import InitFault, InvocationFault, ResponseTooLarge
from ..events.response import BODILESS
from ..invocation import PAYLOAD_LIMIT
from ..json_codec import utf8
from ..report import user_fault
from .event_loop import DeadlinePassed, Handover
from .module import ending
from .web_callable import Alarm, Guard, bad_answer, check_length, head_of, parts_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any, Literal

    from ..invocation import Invocation
    from ..logs import Log
    from ..messages import HttpRequest, HttpResponse
    from .event_loop import EventLoop
    from .web_callable import Current, Rules

    Message = dict[str, Any]
    Scope = dict[str, Any]
    Application = Callable[..., Awaitable[Any]]
    from collections.abc import Awaitable, Callable
    from typing import Any


# 2.3 is what uvicorn says: Starlette then watches for http.disconnect while it streams, instead of for a failed send.
VERSIONS = {"version": "3.0", "spec_version": "2.3"}
# How long an app may take to notice that its client has gone, before its task is cancelled; and then to clean up.
GONE_LIMIT_S = 0.5
# At the deadline the loop itself stops what it runs. Only code that blocks it is left for the alarm, which gives the
# loop two more turns, and never interrupts it: it could not go on.
ALARM_PATIENCE = 3
ALARM_SPARES = ("asyncio", "selectors", __name__.partition(".")[0])


class AsgiApp:
    """The app that ``application`` is."""

    def __init__(
        self,
        application: Application,
        loop: EventLoop,
        state: dict[str, Any] | None,
        rules: Rules,
        current: Current,
        log: Log,
    ) -> None:
        self._application = application
        self._loop = loop
        self._state = state
        self._rules = rules
        self._current = current
        self._log = log
        self.guard = Guard(rules, Alarm(ALARM_PATIENCE, ALARM_SPARES), in_order=(DeadlinePassed,))
        self._unfinished: list[_Answer] = []
        self._lingering: list[_Answer] = []  # asyncio itself may forget a task that nobody knows
        self._rest_until: float | None = None

    def ask(self, request: HttpRequest, invocation: Invocation) -> HttpResponse:
        """Returns the whole answer. Raises ``InvocationFault``."""
        answer = self._started(request, invocation, is_held=False)
        answer.draw()
        return answer.head._replace(body=answer.ready())

    def begin(self, request: HttpRequest, invocation: Invocation) -> tuple[HttpResponse, _Answer]:
        """Returns head and body. Raises ``InvocationFault``.

        ASGI has the head wait for the first message of the body, so that both are there.
        """
        answer = self._started(request, invocation, is_held=True)
        answer.draw()
        return answer.head, answer

    @property
    def max_body(self) -> int:
        """Of how many bytes a whole answer may be."""
        return self._rules.max_body

    def after_response(self) -> None:
        """Wait for what the app does after its answer. Raises ``EnvironmentLost``: it must not be called again."""
        answers, self._unfinished = self._unfinished, []
        for answer in answers:
            self._finish(answer)
        self.guard.after_response()

    def _finish(self, answer: _Answer) -> None:
        limit_s = None if self._rest_until is None else max(0.0, self._rest_until - time.time())
        answer.finish(0.0 if answer.is_given_up else limit_s)
        self._lingering = [one for one in self._lingering if one.is_running]
        if answer.is_running:
            self._lingering.append(answer)
            self._log("WARN", "the app still works on an answer that is sent; it goes on with the next invocation")

    def _started(self, request: HttpRequest, invocation: Invocation, is_held: bool) -> _Answer:
        self._rest_until = deadline = self._rules.deadline(invocation)
        answer = _Answer(self, Handover(self._loop), request, deadline, is_held)
        answer.start(self._application, self._scope(request))
        self._unfinished.append(answer)
        return answer

    def _scope(self, request: HttpRequest) -> Scope:
        """Returns the HTTP connection scope of the specification, with the event in it, as Mangum has it."""
        current = self._current
        parts = parts_of(request, current.event, self._rules.has_root)
        scope = {
            "type": "http",
            "asgi": dict(VERSIONS),
            "http_version": "1.1",
            "method": request.method,
            "scheme": parts.scheme,
            # Since 2.4 of the specification the path has the root in it, and frameworks take it away again.
            "path": parts.root + parts.path_octets.decode("utf-8", "replace"),
            "raw_path": (parts.root + parts.path).encode(),
            "query_string": parts.query.encode(),
            "root_path": parts.root,
            "headers": [(name.encode(), utf8(value)) for name, value in request.headers],
            "client": (parts.client, 0),
            "server": parts.server,
            "extensions": {},
            "aws.event": current.event,
            "aws.context": current.context,
        }
        if self._state is not None:
            scope["state"] = dict(self._state)
        return scope


class _NobodyListens(BrokenPipeError):
    """Raised in an app that goes on sending: the specification asks for an ``OSError``."""


class _Answer:
    """One request and what the app makes of it, as a ``handler.InProcessBody``.

    ``is_held``: the answer is wanted piece by piece, and the app goes on when its last one was taken.
    """

    waits: Literal[False] = False

    def __init__(
        self, app: AsgiApp, handover: Handover, request: HttpRequest, deadline: float | None, is_held: bool
    ) -> None:
        self.request = request
        self.is_given_up = False
        self._app = app
        self._handover = handover
        self._deadline = deadline
        self._is_held = is_held
        self._head: HttpResponse | None = None
        self._pieces: list[bytes] = []  # of an answer that is wanted whole
        self._first = b""
        self._size = 0
        self._is_received = False
        self._is_complete = False
        self._is_over = False
        self._has_ended: asyncio.Event | None = None

    @property
    def head(self) -> HttpResponse:
        """Status and fields, once something of the body was drawn."""
        if self._head is None:
            raise bad_answer("the app has sent no http.response.start")
        return self._head

    @property
    def is_running(self) -> bool:
        """Whether the app still does something."""
        return self._handover.is_running

    def start(self, application: Application, scope: Scope) -> None:
        """Have the app called as soon as the event loop runs."""

        async def call() -> None:
            await application(scope, self._receive, self._send)

        self._handover.start(call())

    def draw(self) -> None:
        """Wait for the first of the body, or for all of it. Raises ``InvocationFault``."""
        self._first = self._taken(-1)

    def ready(self) -> bytes:
        """Returns what was drawn already."""
        first, self._first = self._first, b""
        return first

    def read(self, watched: int) -> bytes:
        """Returns the next piece, ``b""`` at the end. Raises ``InvocationFault`` and ``ClientGone``."""
        while not self._is_over:
            if piece := self.ready() or self._taken(watched):
                return piece
        return self.ready()

    def close(self) -> None:
        """Let an app that is not done learn that nobody listens."""
        self._handover.unwatch()
        if self._is_over or not self.is_running:
            return
        self._end()
        limit_s = GONE_LIMIT_S
        if self._deadline is not None:
            limit_s = max(0.0, min(limit_s, self._deadline - time.time()))
        self.finish(limit_s)
        if self.is_running:
            self._give_up()
            self.finish(limit_s)

    def finish(self, limit_s: float | None) -> None:
        """Wait until ``limit_s`` for the app to return. What it raises is logged: its answer is what it is."""

        def wait() -> None:
            try:
                self._handover.finish(limit_s)
            except _NobodyListens:
                pass

        try:
            self._app.guard.run(wait, self.request, self._deadline if limit_s else None)
        except InvocationFault:
            pass

    def _taken(self, watched: int) -> bytes:
        def take() -> bytes | None:
            return self._handover.take(watched, self._deadline)

        try:
            piece = self._app.guard.run(take, self.request, self._deadline)
            if piece is None:
                raise bad_answer("the app has returned without having sent all of its answer")
            if self._size > self._app.max_body and not self._is_held:
                raise ResponseTooLarge(self._size, PAYLOAD_LIMIT)
            if self._is_complete:
                self._is_over = True
                check_length(self.request, self.head, self._size)
        except InvocationFault:
            self._give_up()
            raise
        return piece

    def _give_up(self) -> None:
        """Nobody wants the answer any more, and the app does not get the time to notice by itself."""
        self._end()
        self.is_given_up = True
        self._handover.cancel()

    def _end(self) -> None:
        self._is_complete = True
        if self._has_ended:
            self._has_ended.set()

    # What the app is given (https://asgi.readthedocs.io/en/latest/specs/www.html)

    async def _receive(self) -> Message:
        if not self._is_received:
            self._is_received = True
            return {"type": "http.request", "body": self.request.body, "more_body": False}
        if not self._is_complete:
            self._has_ended = self._has_ended or asyncio.Event()
            await self._has_ended.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start" and self._head is None:
            self._head = _head(message)
        elif kind == "http.response.body" and self._head is not None:
            if self._is_complete:
                raise _NobodyListens("the answer has ended")
            await self._send_body(message.get("body", b""), bool(message.get("more_body", False)))
        else:
            raise RuntimeError(f"the ASGI message {kind!r} does not belong here")

    async def _send_body(self, body: Any, has_more: bool) -> None:
        has_body = self.request.method != "HEAD" and self.head.status not in BODILESS
        piece = bytes(body) if has_body else b""
        self._size += len(piece)
        if self._is_held and has_more:
            await self._handover.put(piece)
            return
        self._pieces.append(piece)
        is_too_large = self._size > self._app.max_body and not self._is_held
        if is_too_large or not has_more:
            self._end()
            self._handover.offer(b"".join(self._pieces))


def _head(message: Message) -> HttpResponse:
    status = message["status"]
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError(f"the status must be a number from 200 to 599, and not {status!r}")
    fields = message.get("headers") or ()
    return head_of(status, "", [(bytes(name), bytes(value).strip(b" \t")) for name, value in fields])


# ---- the app's start and end -----------------------------------------------------------------------------------------
#
# An ASGI app's start and end (https://asgi.readthedocs.io/en/latest/specs/lifespan.html).


LIFESPAN_VERSIONS = {"version": "3.0", "spec_version": "2.0"}


class Lifespan:
    """One task of the app's, from its start to its end."""

    def __init__(self, application: Callable[..., Awaitable[Any]], loop: EventLoop) -> None:
        self._application = application
        self._loop = loop.current()
        self._task: asyncio.Task[None] | None = None
        self._said: dict[str, str] = {}  # type of the message that the app has sent -> its text
        self._spoken = asyncio.Event()
        self._ends = asyncio.Event()
        self._is_asked = False
        self.state: dict[str, Any] = {}
        """The state that the app has filled for its requests."""

    @property
    def is_supported(self) -> bool:
        """Whether the app has answered to its start."""
        return "lifespan.startup.complete" in self._said

    def start(self) -> None:
        """Have the app start. Raises ``InitFault`` when it says that this failed; it need not know the protocol."""
        self._task = self._loop.create_task(self._call())
        try:
            self._loop.run_until_complete(self._next_word())
        except (SystemExit, KeyboardInterrupt) as error:
            exit_code, error_type, message = ending(error, "the app")
            fault = user_fault(InitFault, error, error_type, message)
            fault.exit_code = exit_code or 1
            raise fault from None
        if "lifespan.startup.failed" in self._said:
            raise _failed(self._said["lifespan.startup.failed"])
        if self._task.done() and not self._task.cancelled():
            self._task.exception()  # so asyncio does not complain: an app without this protocol raises what it likes

    def end(self, limit_s: float) -> str:
        """Have the app end, and wait for that until ``limit_s``. What went wrong; "" is nothing."""
        if not self.is_supported or self._task is None or self._loop.is_closed() or self._loop.is_running():
            return ""
        self._spoken.clear()
        self._ends.set()
        try:
            self._loop.run_until_complete(asyncio.wait_for(self._next_word(), limit_s))
        except TimeoutError:
            return f"it took longer than {limit_s:.1f} s"
        except BaseException as error:
            return f"{type(error).__name__}: {error}"
        if "lifespan.shutdown.complete" in self._said:
            return ""
        if self._task.done() and not self._task.cancelled() and self._task.exception():
            return repr(self._task.exception())
        return self._said.get("lifespan.shutdown.failed", "")

    async def _call(self) -> None:
        try:
            scope = {"type": "lifespan", "asgi": dict(LIFESPAN_VERSIONS), "state": self.state}
            await self._application(scope, self._receive, self._send)
        finally:
            self._spoken.set()

    async def _next_word(self) -> None:
        await self._spoken.wait()

    async def _receive(self) -> dict[str, Any]:
        if not self._is_asked:
            self._is_asked = True
            return {"type": "lifespan.startup"}
        await self._ends.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: dict[str, Any]) -> None:
        self._said[message["type"]] = str(message.get("message", ""))
        self._spoken.set()


def _failed(text: str) -> InitFault:
    """``text`` is a line or, from Starlette, a whole traceback, whose last line says most."""
    lines = text.strip().splitlines() or ["it gave no reason"]
    fault = InitFault("Runtime.LifespanFailed", f"the app's start failed: {lines[-1]}")
    fault.stack = tuple(f"{line}\n" for line in lines) if len(lines) > 1 else ()
    return fault
