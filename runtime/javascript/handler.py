"""Handlers of events in JavaScript: each invocation is posted to their host, javascript/events.mjs.

The event goes there as it came, and the result comes back as it is to be posted. What else there is to say goes in
fields that neither a client nor a handler can set::

    x-fairlead-invocation: {"request_id": ..., "deadline_ms": ..., ...}     with the event
    x-fairlead-answer: result                        with the result
    x-fairlead-answer: failure                       with a line for the Runtime API, and one for X-Ray
    x-fairlead-answer: stream                        with frames: a byte for the kind, four for the length, the content
"""

from __future__ import annotations

from ..errors import FunctionFailed, InvocationFault, ResponseTooLarge
from ..events.fields import mapping
from ..invocation import PAYLOAD_LIMIT, RAW_STREAM_TYPE, Result, StreamedResult
from ..json_codec import loads, quote_ascii
from ..messages import HttpRequest, header
from ..standard import standard_library
from ..web.handler import AppStream, Exchange, WebHandler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..events import EventOptions
    from ..invocation import Invocation
    from ..web.handler import AppBody

INVOCATION = "x-fairlead-invocation"
ANSWER = "x-fairlead-answer"
_RESULT, _FAILURE, _STREAM = "result", "failure", "stream"
_FRAME_HEAD = 5
_DATA, _ERROR, _END = b"d", b"e", b"."
# A template: as a dict it would take more than twice the time.
_TOLD = '{"request_id":%s,"deadline_ms":%d,"arn":%s,"trace_id":%s,"tenant_id":%s,"client_context":%s,"identity":%s}'


class EventHandler(WebHandler):
    """Handles invocations with the host of a handler of events."""

    async def handle(self, invocation: Invocation) -> Result | StreamedResult:
        """Returns the answer to the invocation. Raises ``InvocationFault``, whatever goes wrong."""
        exchange = Exchange(invocation)
        try:
            self.begin(exchange)
            exchange.request = to_request(invocation, self._options)
            self.pass_inward(exchange)
            if exchange.response is None:
                exchange.response, exchange.body = await self._app.begin(exchange.request, invocation)
            self.pass_outward(exchange)
            return await self._result(exchange)
        except Exception as error:
            return self.failed(exchange, error)

    async def _result(self, exchange: Exchange) -> Result | StreamedResult:
        head, body = exchange.response, exchange.body
        if head is None or body is None or body.waits is False:  # a hook has answered
            raise InvocationFault("Runtime.AppBadResponse", "the host of the handler was not asked")
        kind = header(head.headers, ANSWER)
        if kind == _STREAM:
            content_type = header(head.headers, "content-type") or RAW_STREAM_TYPE
            return StreamedResult(AppStream(exchange, FramedBody(body)), content_type)
        octets = await _whole(body)
        exchange.response_bytes = len(octets)
        if kind == _RESULT:
            return Result(octets)
        if kind == _FAILURE:
            raise failure_of(octets)
        raise InvocationFault("Runtime.AppBadResponse", f"the host of the handler answered with status {head.status}")


def to_request(invocation: Invocation, options: EventOptions) -> HttpRequest:
    """``POST`` of the payload, untouched, to the events path, with what the handler's context is made of."""
    told = _TOLD % (
        quote_ascii(invocation.request_id),
        invocation.deadline_ms,
        quote_ascii(invocation.function_arn),
        quote_ascii(invocation.trace_id),
        quote_ascii(invocation.tenant_id),
        quote_ascii(invocation.client_context),
        quote_ascii(invocation.cognito_identity),
    )
    headers = [
        ("host", options.host),
        ("content-type", "application/json"),
        ("content-length", str(len(invocation.payload))),
        (INVOCATION, told),
    ]
    return HttpRequest("POST", options.events_path, headers, invocation.payload)


async def _whole(body: AppBody) -> bytes:
    """All of the body. Raises ``ResponseTooLarge`` when that is more than can be posted."""
    pieces = []
    size = 0
    while piece := await body.read(-1):
        pieces.append(piece)
        size += len(piece)
        if size > PAYLOAD_LIMIT:
            body.close()
            raise ResponseTooLarge(size, PAYLOAD_LIMIT)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def failure_of(told: bytes) -> FunctionFailed:
    """The fault that the host tells of: the error document, which is posted as it is, and the line for X-Ray."""
    with standard_library:
        from ..report import error_type_of  # only when something was thrown

    document, _, cause = told.partition(b"\n")
    content = mapping(loads(document))
    name, message = (content.get(key) for key in ("errorType", "errorMessage"))
    name = name if isinstance(name, str) else ""
    fault = FunctionFailed(error_type_of(name), message if isinstance(message, str) else "")
    fault.name = name
    fault.document = document
    fault.xray_cause = cause.decode("ascii", "replace")
    fault.is_logged = True
    return fault


class FramedBody:
    """The content of the data frames of a streamed answer: an ``invocation.Body``."""

    def __init__(self, body: AppBody) -> None:
        self._body = body
        self._held = b""
        self._left = 0  # bytes of a data frame that are still to come

    async def read(self, watched: int) -> bytes:
        """The next piece. Raises ``FunctionFailed`` at a frame that says that the handler has failed."""
        while True:
            if self._left and self._held:
                piece, self._held = self._held[: self._left], self._held[self._left :]
                self._left -= len(piece)
                return piece
            if not self._left and len(self._held) >= _FRAME_HEAD:
                kind, size = self._held[:1], int.from_bytes(self._held[1:_FRAME_HEAD], "big")
                if kind == _END:
                    self._held = b""
                    return await self._body.read(watched)  # b"": so the connection can be used again
                if kind == _DATA:
                    self._held, self._left = self._held[_FRAME_HEAD:], size
                    continue
                if len(self._held) >= _FRAME_HEAD + size:
                    raise failure_of(self._held[_FRAME_HEAD : _FRAME_HEAD + size])
            received = await self._body.read(watched)
            if not received:
                raise InvocationFault("Runtime.AppConnectionLost", "the handler's host broke its streamed answer off")
            self._held += received

    def close(self) -> None:
        """Let go of the host's answer."""
        self._body.close()
