"""Web mode: an invocation becomes a request to the app, the app's answer becomes the payload."""

from __future__ import annotations

from ..errors import BadRequest, EnvironmentLost, FunctionFailed, InvocationFault, ResponseTooLarge
from ..events import STREAM_TYPE, TRIGGER, BinaryBody, detect, event_of, padding_for, to_prelude
from ..invocation import Invocation, Result, StreamedResult
from ..messages import HttpResponse
from ..standard import standard_library

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..config import Config
    from ..events import EventFormat, EventOptions
    from ..invocation import Body
    from ..logs import Log
    from .app_client import App

REASONS = {400: "Bad Request", 431: "Request Header Fields Too Large", 502: "Bad Gateway", 504: "Gateway Timeout"}


class WebHandler:
    """Handles invocations with one app."""

    def __init__(
        self,
        config: Config,
        app: App,
        options: EventOptions,
        log: Log,
        decode: Callable[[bytes], object] = event_of,
    ) -> None:
        self._app = app
        self._options = options
        self._log = log
        self._decode = decode
        self._faults_are_errors = config.app_faults == "error"
        self._pads = config.pad_empty_streams
        self._streams = config.invoke_mode == "response_stream"
        self._format_of = _as_trigger if config.event_mode == "raw" else detect

    async def settle(self) -> None:
        """What is left to do once the invocation is answered. Raises ``EnvironmentLost``."""
        await self._app.settle()

    async def handle(self, invocation: Invocation) -> Result | StreamedResult:
        """The answer to the invocation. Raises ``InvocationFault``, whatever goes wrong."""
        try:
            return await self._handle(invocation)
        except InvocationFault:
            raise
        except Exception as error:  # MemoryError and RecursionError included: it costs one invocation, not the process
            with standard_library:
                from ..report import internal_fault, trace_of  # only when something is broken

            self._log("ERROR", trace_of(error), invocation.request_id)
            raise internal_fault(error) from error

    async def _handle(self, invocation: Invocation) -> Result | StreamedResult:
        try:
            event = self._decode(invocation.payload)
        except ValueError as error:
            raise InvocationFault("Runtime.UnmarshalError", f"the event is not JSON: {error}") from error
        event_format = self._format_of(event)
        streams = self._streams and event_format.can_stream
        try:
            if streams:
                return await self._streamed(event_format, event, invocation)
            return Result(await self._payload(event_format, event, invocation))
        except InvocationFault as fault:
            if not self._is_shown_to_client(fault, event_format):
                raise
            if not fault.is_logged:
                self._log("ERROR", f"{fault.error_type}: {fault.message}", invocation.request_id)
            response = fault_response(fault, invocation.request_id)
            if streams:
                return StreamedResult(HttpStream(to_prelude(response) + response.body), STREAM_TYPE)
            return Result(event_format.to_payload(response, event))

    async def _payload(self, event_format: EventFormat, event: object, invocation: Invocation) -> bytes:
        request = event_format.to_request(event, invocation, self._options)
        response = await self._app.ask(request, invocation)
        payload = event_format.to_payload(response, event)
        for warning in event_format.warnings(event, request, response, payload):
            self._log("WARN", warning, invocation.request_id)
        if len(payload) <= event_format.payload_limit:
            return payload
        return _smaller(event_format, event, response, len(payload))

    async def _streamed(self, event_format: EventFormat, event: object, invocation: Invocation) -> StreamedResult:
        """The answer from the moment that the app has sent its head: what fails later fails in the open."""
        request = event_format.to_request(event, invocation, self._options)
        head, body = await self._app.begin(request, invocation)
        prelude = to_prelude(head)
        for warning in event_format.warnings(event, request, head, prelude):
            self._log("WARN", warning, invocation.request_id)
        ready = body.ready()
        padding = padding_for(head, request.method) if self._pads and not ready else b""
        return StreamedResult(HttpStream(prelude + ready, body, padding), STREAM_TYPE)

    def _is_shown_to_client(self, fault: InvocationFault, event_format: EventFormat) -> bool:
        """Whether the fault becomes an HTTP answer. A trigger's must not: it would count as processed."""
        if not event_format.is_http or isinstance(fault, EnvironmentLost | FunctionFailed):
            return False
        return isinstance(fault, BadRequest) or not self._faults_are_errors


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


class HttpStream:
    """A prelude and what there is of the body already, then the rest of the body: an ``invocation.Body``.

    ``padding`` is sent when that rest is empty.
    """

    def __init__(self, start: bytes, body: Body | None = None, padding: bytes = b"") -> None:
        self._start = start
        self._body = body
        self._padding = padding

    async def read(self, watched: int) -> bytes:
        """The next piece."""
        if self._start:
            start, self._start = self._start, b""
            return start
        piece = await self._body.read(watched) if self._body else b""
        if self._padding:
            piece, self._padding = piece or self._padding, b""
        return piece

    def close(self) -> None:
        """Let go of the app's answer."""
        if self._body:
            self._body.close()


def fault_response(fault: InvocationFault, request_id: str) -> HttpResponse:
    """What an HTTP client sees of a fault: its name and where to look for more, nothing from the inside of the app."""
    reason = REASONS.get(fault.status, "")
    shown = fault.message if isinstance(fault, BadRequest | ResponseTooLarge) else "the log has the details"
    body = f"{fault.status} {reason}\n{fault.error_type}: {shown}\nRequest id: {request_id}\n"
    headers = (("content-type", "text/plain; charset=utf-8"), ("cache-control", "no-store"))
    return HttpResponse(fault.status, reason, headers, body.encode("utf-8", "replace"))
