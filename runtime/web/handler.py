"""Web mode: an invocation becomes a request to the app, the app's answer becomes the payload.

``WebHandler.handle`` is the way of one invocation from top to bottom::

    prepare     event -> request, middleware before            plain functions
    ask         request -> the app -> response                 the only part that waits
    finish      middleware after, response -> payload          plain functions

An app in this process has a ``handle`` of its own, of the same three lines without waiting
(python/callable_mode.py).
"""

from __future__ import annotations

from ..errors import BadRequest, EnvironmentLost, FunctionFailed, InvocationFault, ResponseTooLarge
from ..events import STREAM_TYPE, TRIGGER, BinaryBody, detect, event_of, padding_for, to_prelude
from ..invocation import Result, StreamedResult
from ..messages import HttpResponse
from ..standard import standard_library

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Literal, Protocol

    from ..config import Config
    from ..events import EventFormat, EventOptions
    from ..invocation import Body, Invocation
    from ..logs import Log
    from ..messages import HttpRequest
    from .app_client import AppClient

    class Middleware(Protocol):
        """A step between the event and the app. The first in a list is the outermost."""

        def before(self, exchange: Exchange) -> None:
            """May replace ``request``, or set ``response``: then neither the app nor a further step is asked."""

        def after(self, exchange: Exchange) -> None:
            """May replace ``response``, add to ``filters`` or ``follow_ups``, or raise ``InvocationFault``.

            Called in the reverse order, for each step whose ``before`` has let the request pass.
            """

    class AppBody(Protocol):
        """The rest of an app's answer, as ``invocation.Body``, of which something may have come with the head."""

        waits: Literal[True]

        def ready(self) -> bytes:
            """Returns what there is without waiting; ``b""`` does not mean that it was all."""

        async def read(self, watched: int) -> bytes: ...

        def close(self) -> None: ...

    class InProcessBody(Protocol):
        """The rest of the answer of an app in this process, as ``invocation.InProcessBody``."""

        waits: Literal[False]

        def ready(self) -> bytes:
            """Returns what there is without calling the app; ``b""`` does not mean that it was all."""

        def read(self, watched: int) -> bytes: ...

        def close(self) -> None: ...

    class Filter(Protocol):
        """Changes the body of a streamed answer as it passes."""

        def feed(self, octets: bytes) -> bytes:
            """Returns what is sent for ``octets``, which are some; ``b""``: nothing yet."""

        def finish(self) -> bytes:
            """Returns what is sent at the end of the body."""

    class Observation(Middleware, Protocol):
        """Measures each invocation for the request log, metrics and traces."""

        def begin(self, exchange: Exchange) -> None:
            """Start the clock of the invocation."""

        def stop(self, exchange: Exchange) -> None:
            """Stop the clock of the app, if it runs."""

        def report(self, exchange: Exchange) -> None:
            """Report the invocation, which is answered."""


REASONS = {400: "Bad Request", 431: "Request Header Fields Too Large", 502: "Bad Gateway", 504: "Gateway Timeout"}


class Exchange:
    """One invocation on its way to the app and back: what is known of it so far."""

    event: object = None
    event_format: EventFormat | None = None  # None: the payload is not JSON
    is_streamed = False
    request: HttpRequest
    response: HttpResponse | None = None  # of a streamed answer, the head
    body: AppBody | InProcessBody | None = None  # of a streamed answer; None: the response has all of it
    passed: Sequence[Middleware] = ()  # the steps that have let the request pass
    filters: Sequence[Filter] = ()  # of the streamed body, the innermost first
    follow_ups: Sequence[HttpRequest] = ()  # sent to the app once the invocation is answered
    # For the request log, metrics and traces, and set only where these are on. Epoch seconds, and monotonic ones.
    began = started = app_began = app_started = app_ms = 0.0
    status = response_bytes = 0  # of the app's answer
    error_type = ""

    def __init__(self, invocation: Invocation) -> None:
        self.invocation = invocation


class HttpHandler:
    """The two halves of an invocation that do not wait: to the app's request, and from the app's response.

    A subclass asks the app in between.
    """

    def __init__(
        self,
        config: Config,
        options: EventOptions,
        middleware: Sequence[Middleware],
        observation: Observation | None,
        log: Log,
        decode: Callable[[bytes], object] = event_of,
    ) -> None:
        self._options = options
        self._middleware = middleware
        self._observation = observation
        self._log = log
        self._decode = decode
        self._faults_are_errors = config.answers.app_faults == "error"
        self._pads = config.answers.pad_empty_streams
        self._streams = config.answers.invoke_mode == "response_stream"
        self._format_of = _as_trigger if config.events.mode == "raw" else detect
        self._answered: Exchange | None = None  # the last invocation, where something may be left to do after it

    def begin(self, exchange: Exchange) -> None:
        """Note the invocation for ``take_follow_ups``, and start its clock where it is observed."""
        self._answered = exchange
        if self._observation:
            self._observation.begin(exchange)

    def prepare(self, exchange: Exchange) -> None:
        """Make the request, or the response where a step of the middleware gives one. Raises ``InvocationFault``."""
        invocation = exchange.invocation
        if self._middleware:
            self.begin(exchange)
        try:
            event = exchange.event = self._decode(invocation.payload)
        except ValueError as error:
            raise InvocationFault("Runtime.UnmarshalError", f"the event is not JSON: {error}") from error
        event_format = exchange.event_format = self._format_of(event)
        exchange.is_streamed = self._streams and event_format.can_stream
        exchange.request = event_format.to_request(event, invocation, self._options)
        if self._middleware:
            self.pass_inward(exchange)

    def pass_inward(self, exchange: Exchange) -> None:
        """Run what the middleware does before the app is asked."""
        for number, step in enumerate(self._middleware):
            step.before(exchange)
            if exchange.response is not None:
                exchange.passed = self._middleware[:number]
                return
        exchange.passed = self._middleware

    def pass_outward(self, exchange: Exchange) -> None:
        """Run what the middleware does once the app has answered. Raises ``InvocationFault``."""
        for step in reversed(exchange.passed):
            step.after(exchange)

    def finish(self, exchange: Exchange) -> Result | StreamedResult:
        """Returns what the response is posted as. Raises ``InvocationFault``."""
        if exchange.passed:
            self.pass_outward(exchange)
        response, event_format, event = exchange.response, exchange.event_format, exchange.event
        assert response is not None
        assert event_format is not None
        if exchange.is_streamed:
            return self._streamed(exchange, event_format, response)
        payload = event_format.to_payload(response, event)
        for warning in event_format.warnings(event, exchange.request, response, payload):
            self._log("WARN", warning, exchange.invocation.request_id)
        if len(payload) <= event_format.payload_limit:
            return Result._make((payload, "application/json"))
        return Result(_smaller(event_format, event, response, len(payload)))

    def _streamed(self, exchange: Exchange, event_format: EventFormat, head: HttpResponse) -> StreamedResult:
        """The answer from the moment that the app has sent its head: what fails later fails in the open."""
        prelude = to_prelude(head)
        for warning in event_format.warnings(exchange.event, exchange.request, head, prelude):
            self._log("WARN", warning, exchange.invocation.request_id)
        body = exchange.body
        first = body.ready() if body else head.body
        padding = padding_for(head, exchange.request.method) if self._pads and not first else b""
        if body and first:
            first = _fed(exchange.filters, first)
        if body is not None and body.waits is True:
            return StreamedResult(AppStream(exchange, body, prelude + first, padding), STREAM_TYPE)
        return StreamedResult(InProcessStream(exchange, body, prelude + first, padding), STREAM_TYPE)

    def failed(self, exchange: Exchange, error: Exception) -> Result | StreamedResult:
        """Returns what a client sees of the error. Raises ``InvocationFault`` where the invocation has to fail.

        MemoryError and RecursionError included: whatever goes wrong costs one invocation, not the process.
        """
        if exchange.body:
            exchange.body.close()
        if not isinstance(error, InvocationFault):
            raise self._internal(error, exchange) from error
        exchange.error_type = error.error_type
        if self._observation:
            self._observation.stop(exchange)
        event_format = exchange.event_format
        if event_format is None or not self._is_shown_to_client(error, event_format):
            raise error
        try:
            request_id = exchange.invocation.request_id
            if not error.is_logged:
                self._log("ERROR", f"{error.error_type}: {error.message}", request_id)
            response = fault_response(error, request_id)
            if exchange.is_streamed:
                answer = to_prelude(response) + response.body
                return StreamedResult(InProcessStream(Exchange(exchange.invocation), None, answer), STREAM_TYPE)
            return Result(event_format.to_payload(response, exchange.event))
        except Exception as second:
            raise self._internal(second, exchange) from second

    def _internal(self, error: Exception, exchange: Exchange) -> InvocationFault:
        with standard_library:
            from ..report import internal_fault, trace_of  # only when something is broken

        self._log("ERROR", trace_of(error), exchange.invocation.request_id)
        fault = internal_fault(error)
        exchange.error_type = fault.error_type
        return fault

    def _is_shown_to_client(self, fault: InvocationFault, event_format: EventFormat) -> bool:
        """Whether the fault becomes an HTTP answer. A trigger's must not: it would count as processed."""
        if not event_format.is_http or isinstance(fault, EnvironmentLost | FunctionFailed):
            return False
        return isinstance(fault, BadRequest) or not self._faults_are_errors

    def take_follow_ups(self) -> list[tuple[HttpRequest, Invocation]]:
        """Report the time of the invocation that was answered a moment ago. Returns what to ask the app after it."""
        exchange, self._answered = self._answered, None
        if exchange is None:
            return []
        if self._observation:
            self._observation.report(exchange)
        return [(request, exchange.invocation) for request in exchange.follow_ups]

    def check_follow_up(self, request: HttpRequest, invocation: Invocation, response: HttpResponse) -> None:
        """Log a response that says that the work has failed."""
        if response.status >= 500:
            self.log_follow_up(invocation, f"the app answered {request.target} with status {response.status}")

    def log_follow_up(self, invocation: Invocation, words: str) -> None:
        """Log work after the response that has failed: the invocation has its answer already."""
        self._log("ERROR", f"work after the response: {words}", invocation.request_id)


class WebHandler(HttpHandler):
    """Answers invocations with an app that is another process."""

    def __init__(
        self,
        app: AppClient,
        config: Config,
        options: EventOptions,
        middleware: Sequence[Middleware],
        observation: Observation | None,
        log: Log,
    ) -> None:
        super().__init__(config, options, middleware, observation, log)
        self._app = app

    async def handle(self, invocation: Invocation) -> Result | StreamedResult:
        """Returns the answer to the invocation. Raises ``InvocationFault``, whatever goes wrong."""
        exchange = Exchange(invocation)
        try:
            self.prepare(exchange)
            if exchange.response is None:
                if exchange.is_streamed:
                    exchange.response, exchange.body = await self._app.begin(exchange.request, invocation)
                else:
                    exchange.response = await self._app.ask(exchange.request, invocation)
            return self.finish(exchange)
        except Exception as error:
            return self.failed(exchange, error)

    async def after_response(self) -> None:
        """Do what is left to do once the invocation is answered. Raises ``EnvironmentLost``."""
        if self._answered:
            for request, invocation in self.take_follow_ups():
                try:
                    self.check_follow_up(request, invocation, await self._app.ask(request, invocation))
                except InvocationFault as fault:
                    self.log_follow_up(invocation, f"{fault.error_type}: {fault.message}")
        if self._app.is_lost:
            self._app.replace()


class HttpStream:
    """A streamed HTTP answer, piece by piece: the prelude with what there is of the body, the rest, the padding.

    ``padding`` is sent when that rest is empty.
    """

    def __init__(self, exchange: Exchange, start: bytes, padding: bytes) -> None:
        self._exchange = exchange
        self._start = start
        self._padding = padding
        self._is_over = False

    def _take_start(self) -> bytes:
        start, self._start = self._start, b""
        return start

    def _filtered(self, octets: bytes) -> bytes:
        """Returns what is sent for ``octets`` of the body, of which ``b""`` is the end."""
        if octets:
            piece = _fed(self._exchange.filters, octets)
        else:
            self._is_over = True
            piece = _finished(self._exchange.filters)
        if self._padding and (piece or self._is_over):
            piece, self._padding = piece or self._padding, b""
        return piece

    def _failed(self, fault: InvocationFault) -> InvocationFault:
        self._exchange.error_type = fault.error_type
        return fault


class AppStream(HttpStream):
    """The answer of an app that is another process: an ``invocation.Body``."""

    def __init__(self, exchange: Exchange, body: Body, start: bytes = b"", padding: bytes = b"") -> None:
        super().__init__(exchange, start, padding)
        self._body = body
        self.close = body.close

    async def read(self, watched: int) -> bytes:
        """Returns the next piece, ``b""`` at the end. Raises as the app's body."""
        if self._start:
            return self._take_start()
        try:
            while not self._is_over:
                if piece := self._filtered(await self._body.read(watched)):
                    return piece
        except InvocationFault as fault:
            raise self._failed(fault) from fault.__cause__
        return b""


class InProcessStream(HttpStream):
    """The answer of an app in this process, or one of ours: an ``invocation.InProcessBody``."""

    def __init__(self, exchange: Exchange, body: InProcessBody | None, start: bytes, padding: bytes = b"") -> None:
        super().__init__(exchange, start, padding)
        self._body = body

    def read(self, watched: int) -> bytes:
        """Returns the next piece, ``b""`` at the end. Raises as the app's body."""
        if self._start:
            return self._take_start()
        try:
            while not self._is_over:
                if piece := self._filtered(self._body.read(watched) if self._body else b""):
                    return piece
        except InvocationFault as fault:
            raise self._failed(fault) from fault.__cause__
        return b""

    def close(self) -> None:
        """Let go of the app's answer."""
        if self._body:
            self._body.close()


def _fed(filters: Sequence[Filter], octets: bytes) -> bytes:
    for one in filters:
        octets = one.feed(octets) if octets else b""
    return octets


def _finished(filters: Sequence[Filter]) -> bytes:
    octets = b""
    for one in filters:
        octets = (one.feed(octets) if octets else b"") + one.finish()
    return octets


def _smaller(event_format: EventFormat, event: object, response: HttpResponse, size: int) -> bytes:
    """The payload with its body in base64, if that fits: text full of quotation marks grows more than that as JSON."""
    if event_format.is_http and event_format.takes_base64 and len(response.body) < event_format.payload_limit:
        payload = event_format.to_payload(response._replace(body=BinaryBody(response.body)), event)
        if len(payload) <= event_format.payload_limit:
            return payload
    raise ResponseTooLarge(size, event_format.payload_limit)


def _as_trigger(_event: object) -> EventFormat:
    """In raw mode the app wants every event as it is."""
    return TRIGGER


def fault_response(fault: InvocationFault, request_id: str) -> HttpResponse:
    """Returns a client's answer for a fault: its name and where to look for more, nothing from inside the app."""
    reason = REASONS.get(fault.status, "")
    shown = fault.message if isinstance(fault, BadRequest | ResponseTooLarge) else "the log has the details"
    body = f"{fault.status} {reason}\n{fault.error_type}: {shown}\nRequest id: {request_id}\n"
    headers = (("content-type", "text/plain; charset=utf-8"), ("cache-control", "no-store"))
    return HttpResponse(fault.status, reason, headers, body.encode("utf-8", "replace"))
