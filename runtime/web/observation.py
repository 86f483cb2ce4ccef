"""What is measured of each invocation when somebody wants to know: the request log, metrics, traces.

Nothing of this is imported unless one of them is on. Durations come from the monotonic clock, points in time are epoch
seconds.
"""

from __future__ import annotations

import time

from ..errors import InvocationFault
from ..invocation import StreamedResult
from ..values import NamedTuple
from .app_client import AppAnswer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any, TypeVar

    from ..invocation import AppBody, Invocation, Result
    from ..loop import Handler
    from ..messages import HttpRequest, HttpResponse
    from .app_client import App

    Answer = TypeVar("Answer")
    Observer = Callable[["Record"], None]


class Start(NamedTuple):
    """How the environment came up, told with its first invocation."""

    init_ms: float  # from the start of `bootstrap` to the first next
    app_ready_ms: float  # from the same to the app's readiness


class Record(NamedTuple):
    """One invocation that is over. Durations are milliseconds, sizes are bytes."""

    invocation: Invocation
    began: float  # epoch seconds
    total_ms: float  # from the event to the moment that the answer was taken
    app_began: float  # epoch seconds; 0 when the app was not asked
    app_ms: float  # until the app's answer was there; for a streamed one, its head
    method: str
    path: str  # without the query, which may carry secrets
    status: int  # of the app; 0: it gave none
    request_bytes: int
    response_bytes: int
    error_type: str  # of the fault, if there was one
    start: Start | None  # for the first invocation of an environment only

    @property
    def overhead_ms(self) -> float:
        """What is not the app's: ours, and the platform's for taking the answer."""
        return max(0.0, self.total_ms - self.app_ms)


class ObservedApp:
    """An app that is timed."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.settle = app.settle
        self.clear()

    def clear(self) -> None:
        """Forget the last exchange."""
        self.request: HttpRequest | None = None
        self.began = self.app_ms = 0.0
        self.status = self.response_bytes = 0
        self.error_type = ""

    async def ask(self, request: HttpRequest, invocation: Invocation) -> HttpResponse:
        """As ``App`` has it."""
        response = await self._timed(self._app.ask, request, invocation)
        self.status, self.response_bytes = response.status, len(response.body)
        return response

    async def begin(self, request: HttpRequest, invocation: Invocation) -> AppAnswer:
        """As ``App`` has it."""
        answer = await self._timed(self._app.begin, request, invocation)
        self.status = answer.head.status
        return AppAnswer(answer.head, CountedBody(answer.body, self))

    async def _timed(
        self,
        ask: Callable[[HttpRequest, Invocation], Coroutine[Any, Any, Answer]],
        request: HttpRequest,
        invocation: Invocation,
    ) -> Answer:
        self.clear()
        self.request = request
        self.began, started = time.time(), time.monotonic()
        try:
            return await ask(request, invocation)
        except InvocationFault as fault:
            self.error_type = fault.error_type
            raise
        finally:
            self.app_ms = (time.monotonic() - started) * 1000


class CountedBody:
    """A body whose bytes are counted."""

    def __init__(self, body: AppBody, app: ObservedApp) -> None:
        self._body = body
        self._app = app
        self.close = body.close

    def ready(self) -> bytes:
        """As ``invocation.AppBody`` has it."""
        return self._counted(self._body.ready())

    async def read(self, watched: int) -> bytes:
        """As ``invocation.AppBody`` has it."""
        try:
            return self._counted(await self._body.read(watched))
        except InvocationFault as fault:
            self._app.error_type = fault.error_type
            raise

    def _counted(self, octets: bytes) -> bytes:
        self._app.response_bytes += len(octets)
        return octets


class ObservedHandler:
    """A handler whose invocations are told to ``observers`` when they are over."""

    def __init__(
        self,
        handler: Handler,
        app: ObservedApp,
        start: Start,
        is_first: Callable[[], bool],
        observers: Sequence[Observer],
    ) -> None:
        self._handler = handler
        self._app = app
        self._start: Start | None = start
        self._is_first = is_first
        self._observers = observers
        self._invocation: Invocation | None = None

    async def handle(self, invocation: Invocation) -> Result | StreamedResult:
        """As ``Handler`` has it."""
        self._invocation = invocation
        self._began, self._started, self._error_type = time.time(), time.monotonic(), ""
        try:
            return await self._handler.handle(invocation)
        except InvocationFault as fault:
            self._error_type = fault.error_type
            raise

    async def settle(self) -> None:
        """As ``Handler`` has it. The answer was taken a moment ago: this is the end of the invocation's time."""
        invocation, self._invocation = self._invocation, None
        if invocation:
            self._tell(invocation, (time.monotonic() - self._started) * 1000)
        await self._handler.settle()
        self._app.clear()  # after what was asked once more; a request may be megabytes

    def _tell(self, invocation: Invocation, total_ms: float) -> None:
        app = self._app
        request = app.request
        start, self._start = self._start, None
        record = Record(
            invocation,
            self._began,
            total_ms,
            app.began,
            app.app_ms,
            request.method if request else "",
            request.target.partition("?")[0] if request else "",
            app.status,
            len(request.body) if request else 0,
            app.response_bytes,
            self._error_type or app.error_type,
            start if start and self._is_first() else None,
        )
        for observer in self._observers:
            observer(record)
