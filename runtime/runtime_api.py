"""The client of the Runtime API (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html): next, respond, fail,
fail_init, streamed responses; and the extension that we register.

Each status means:

====================  ============================================================================================
next: 200             an invocation; anything else, or no answer: ``RuntimeApiFault``, and the process ends
post: 2xx             accepted
post: 400, 403, 410   the platform no longer wants it (a stale id, a wrong state, timed out): logged, the loop goes on
post: 413             too large; the platform has told the caller already: logged, never followed by an error post
post: other           "500: container error, non-recoverable state, the runtime should exit promptly"
====================  ============================================================================================

Whatever waits during an invocation is a coroutine (waiting.py). What begins or ends the process is a plain function.

There is no read timeout on next: between invocations the environment is frozen, for hours at a time. Proxy variables of
the environment do not concern this connection, and redirects are not followed.
"""

from __future__ import annotations

from .connection import Connection, address_of
from .errors import ClientGone, ExchangeError, Fault, InvocationFault, ProtocolError, RuntimeApiFault
from .http1 import render_head, render_lines, render_post
from .invocation import (
    CLIENT_CONTEXT,
    COGNITO_IDENTITY,
    DEADLINE_MS,
    ERROR_PATH,
    ERROR_TYPE,
    FUNCTION_ARN,
    INIT_ERROR_PATH,
    INVOCATION_ID,
    NEXT_PATH,
    PAYLOAD_LIMIT,
    REQUEST_ID,
    RESPONSE_PATH,
    RESTORE_ERROR_PATH,
    RESTORE_NEXT_PATH,
    TENANT_ID,
    TRACE_ID,
    USER_AGENT,
    XRAY_ERROR_CAUSE,
    Invocation,
    Result,
    StreamedResult,
)
from .messages import HttpRequest, HttpResponse, is_field_value
from .standard import signal, standard_library
from .values import Memo
from .waiting import run_blocking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from .logs import Log
    from .response_stream import ResponseStream
    from .waiting import Waiting

# Statuses of a post that was refused, after which the next invocation is served all the same.
REFUSED_BUT_ALIVE = frozenset({400, 403, 410, 413})
EXCERPT = 300
JSON = "application/json"
_EXTENSION = "fairlead"
_REGISTER_PATH = "/2020-01-01/extension/register"
_NEXT_EVENT_PATH = "/2020-01-01/extension/event/next"
# SHUTDOWN is refused to internal extensions, and Managed Instances refuse every event to them.
_NO_EVENTS = b'{"events":[]}'
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# In lower case, as a ``ResponseReader`` spells names.
_REQUEST_ID, _DEADLINE_MS, _FUNCTION_ARN, _TRACE_ID, _CLIENT_CONTEXT, _COGNITO_IDENTITY, _TENANT_ID, _INVOCATION_ID = (
    name.lower()
    for name in (
        REQUEST_ID,
        DEADLINE_MS,
        FUNCTION_ARN,
        TRACE_ID,
        CLIENT_CONTEXT,
        COGNITO_IDENTITY,
        TENANT_ID,
        INVOCATION_ID,
    )
)


class RuntimeApi:
    """A client of the Runtime API at ``address`` (host:port), on one keep-alive connection."""

    def __init__(self, address: str, log: Log, waiting: Waiting | None = None) -> None:
        self._address = address
        self._connection = Connection(*address_of(address), waiting=waiting)
        self._common = render_lines((("Host", address), ("User-Agent", USER_AGENT)))
        self._next_head = render_head(HttpRequest("GET", NEXT_PATH, ()), self._common)
        # Nearly all answers of a function have one content type.
        self._typed: Memo[str, str] = Memo(self._with_type, count=50, length=100)
        self._log = log
        self._begun: ResponseStream | None = None
        self.while_idle: Callable[[], None] | None = None
        """Called now and then while next waits, if there is a signal handler in Python for SIGTERM."""

    def _with_type(self, content_type: str) -> str:
        """The lines that posts of this type have in common. Raises ``ProtocolError``."""
        return self._common + render_lines((("Content-Type", content_type),))

    async def next(self) -> Invocation:
        """Wait for the next invocation. Raises ``RuntimeApiFault``, and what a signal handler raises."""
        if self.while_idle and callable(signal.getsignal(signal.SIGTERM)):
            self._connection.while_idle = self.while_idle
        try:
            response = await self._connection.exchange_bytes("GET", self._next_head)
        except ExchangeError as error:
            raise RuntimeApiFault(f"no invocation could be had from the Runtime API: {error}") from error
        self._connection.while_idle = None
        return invocation_from(response)

    def respond(self, invocation: Invocation, result: Result | StreamedResult) -> Coroutine[Any, Any, None]:
        """Answer the invocation. Once this has begun the invocation can no longer be failed."""
        if isinstance(result, StreamedResult):
            return self._stream(invocation, result)
        path = RESPONSE_PATH % _segment(invocation.request_id)
        try:
            head = render_post(path, self._typed[result.content_type], _echo(invocation), len(result.payload))
        except ProtocolError as error:  # nothing was sent, so it can still be reported
            return self.fail(invocation, _unsendable(str(error)))
        return self._post(invocation, head, result.payload)

    async def fail(self, invocation: Invocation, fault: InvocationFault) -> None:
        """Report the invocation as failed, and log it."""
        self._log_fault(fault, invocation.request_id)
        with standard_library:
            from .report import error_document, xray_cause  # 0.2 ms of a start that mostly goes well

        described = [(ERROR_TYPE, fault.error_type), (XRAY_ERROR_CAUSE, xray_cause(fault)), *_echo(invocation)]
        fields = self._sendable(described, invocation.request_id)
        document = error_document(fault, invocation.request_id)
        path = ERROR_PATH % _segment(invocation.request_id)
        await self._post(invocation, render_post(path, self._typed[JSON], fields, len(document)), document)

    def fail_init(self, fault: Fault) -> None:
        """Report that the function cannot start, and log it. The process is about to exit: nothing is raised."""
        self._report(INIT_ERROR_PATH, fault)

    def await_restore(self) -> None:
        """Let the snapshot be taken; return when an environment was restored from it. Raises ``RuntimeApiFault``.

        On a connection of its own, and with none open: what the snapshot holds of one is of no use to its copies.
        """
        self._connection.close()
        connection = Connection(*address_of(self._address))
        try:
            head = render_head(HttpRequest("GET", RESTORE_NEXT_PATH, (("Connection", "close"),)), self._common)
            response = run_blocking(connection.exchange_bytes("GET", head))
        except ExchangeError as error:
            raise RuntimeApiFault(f"the restored environment heard nothing of the Runtime API: {error}") from error
        finally:
            connection.close()
        if response.status != 200:
            raise RuntimeApiFault(f"the Runtime API answered restore/next with {_excerpt(response)}")

    def fail_restore(self, fault: Fault) -> None:
        """Report that the restored function cannot start, and log it. Nothing is raised, as for ``fail_init``."""
        self._report(RESTORE_ERROR_PATH, fault)

    def _report(self, path: str, fault: Fault) -> None:
        """Log and post a fault that keeps the function from starting."""
        self._log_fault(fault)
        with standard_library:
            from .report import error_document

        body = error_document(fault)
        fields = self._sendable([(ERROR_TYPE, fault.error_type)])
        head = render_post(path, self._typed[JSON], fields, len(body))
        try:
            response = run_blocking(self._connection.exchange_bytes("POST", head, body))
        except ExchangeError as error:
            self._log("ERROR", f"the failure could not be posted: {error}")
            return
        if response.status not in (202, 403):  # 403: reported before, by somebody else
            self._log("WARN", f"the Runtime API answered the report of a failure with {_excerpt(response)}")

    async def open_stream(self, invocation: Invocation, content_type: str) -> ResponseStream:
        """A streamed answer that is begun; ``respond`` goes on with it.

        Raises ``InvocationFault`` when the content type is none, and ``RuntimeApiFault``.
        """
        with standard_library:
            from .response_stream import STREAM_LINES, ResponseStream  # for those that stream

        if not is_field_value(content_type):  # whoever took it from the user's code has looked at it, or should have
            raise _unsendable(f"the content type must be text on one line, and not {content_type!r:.100}")
        path = RESPONSE_PATH % _segment(invocation.request_id)
        request = HttpRequest("POST", path, [("Content-Type", content_type), *_echo(invocation)])
        try:
            head = render_head(request, self._common + STREAM_LINES)
        except ProtocolError as error:
            raise _unsendable(str(error)) from None
        stream = ResponseStream(self._connection)
        try:
            await stream.begin(head)
        except ExchangeError as error:
            raise RuntimeApiFault(f"the answer could not be posted to the Runtime API: {error}") from error
        self._begun = stream
        return stream

    async def _stream(self, invocation: Invocation, result: StreamedResult) -> None:
        """Send a streamed answer to its end. The client may disconnect: that is no error, and the loop goes on."""
        body = result.body
        try:
            try:
                stream = self._begun or await self.open_stream(invocation, result.content_type)
            except InvocationFault as fault:  # nothing was sent, so it can still be reported
                await self.fail(invocation, fault)
                return
            try:
                while True:
                    read = body.read(stream.watched)
                    piece = read if isinstance(read, bytes) else await read
                    if not piece:
                        break
                    await stream.write(piece)
                    del read, piece  # before the next one comes into being
                await self.end_stream(invocation, stream)
            except InvocationFault as fault:
                await self.end_stream(invocation, stream, fault)
            except ClientGone as gone:
                self.abandon_stream(invocation, stream, gone)
        finally:
            self._begun = None
            body.close()

    async def end_stream(
        self, invocation: Invocation, stream: ResponseStream, fault: InvocationFault | None = None
    ) -> None:
        """End a streamed answer. With a ``fault`` it ends as a failed one, and that is logged."""
        try:
            if fault is None:
                response = await stream.finish()
            else:
                self._log_fault(fault, invocation.request_id)
                with standard_library:
                    from .report import error_document

                described = dict(self._sendable([(ERROR_TYPE, fault.error_type)], invocation.request_id))
                document = error_document(fault, invocation.request_id)
                response = await stream.fail(described.get(ERROR_TYPE, ""), document)
        except ClientGone as gone:
            self.abandon_stream(invocation, stream, gone)
            return
        if not 200 <= response.status < 300:
            self._refused(invocation, response, stream.size)

    def abandon_stream(self, invocation: Invocation, stream: ResponseStream, gone: ClientGone) -> None:
        """Give up a streamed answer whose client has disconnected, and log that."""
        stream.abandon()
        why = str(gone) or "the client went away"
        self._log("INFO", f"a streamed answer ended after {stream.size} bytes: {why}", invocation.request_id)

    def _log_fault(self, fault: Fault, request_id: str = "") -> None:
        if not fault.is_logged:
            self._log("ERROR", f"{fault.error_type}: {fault.message}", request_id)

    async def _post(self, invocation: Invocation, head: bytes, body: bytes) -> None:
        try:
            response = await self._connection.exchange_bytes("POST", head, body)
        except ExchangeError as error:
            raise RuntimeApiFault(f"the answer could not be posted to the Runtime API: {error}") from error
        if not 200 <= response.status < 300:
            self._refused(invocation, response, len(body))

    def _refused(self, invocation: Invocation, response: HttpResponse, size: int) -> None:
        if self._is_fatal(response):
            raise RuntimeApiFault(f"the Runtime API answered a post with {_excerpt(response)}")
        limit = f" (limit {PAYLOAD_LIMIT})" if response.status == 413 else ""
        self._log(
            "ERROR",
            f"the Runtime API refused the answer of {size} bytes{limit} with {_excerpt(response)}",
            invocation.request_id,
        )

    def _is_fatal(self, refusal: HttpResponse) -> bool:
        return refusal.status not in REFUSED_BUT_ALIVE

    def _sendable(self, fields: list[tuple[str, str]], request_id: str = "") -> list[tuple[str, str]]:
        """``fields`` without those that are empty or cannot be sent. Each of the latter is logged.

        So a report is posted even when a part of it is no header value.
        """
        kept = [(name, value) for name, value in fields if value and is_field_value(value)]
        for name, value in fields:
            if value and (name, value) not in kept:
                self._log(
                    "WARN", f"{name} is left out of a report, since {value!r:.100} is no header value", request_id
                )
        return kept


def register_extension(address: str, log: Log) -> Connection | None:
    """Register the internal extension that makes SIGTERM arrive.

    Lambda sends SIGTERM before the end of an environment only when some extension is registered, and kills at once
    otherwise (https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-shutdown).
    So the runtime registers one that wants no events, from inside the process, and asks for its next event: without
    that request init would never complete. No answer to it ever comes. The open socket is all that has to be kept.

    Returns the connection to keep for as long as the process lives. None when the platform has refused: that is
    logged, and the app then gets no SIGTERM.
    """
    connection = Connection(*address_of(address))
    common = render_lines((("Host", address), ("User-Agent", USER_AGENT)))
    fields = (
        ("Lambda-Extension-Name", _EXTENSION),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(_NO_EVENTS))),
    )
    head = render_head(HttpRequest("POST", _REGISTER_PATH, fields), common)
    try:
        response = run_blocking(connection.exchange_bytes("POST", head, _NO_EVENTS))
        identifier = dict(response.headers).get("lambda-extension-identifier")
        if response.status == 200 and identifier:
            next_event = HttpRequest("GET", _NEXT_EVENT_PATH, (("Lambda-Extension-Identifier", identifier),))
            run_blocking(connection.park(render_head(next_event, common)))
            return connection
        problem = f"status {response.status}"
    except (ExchangeError, OSError) as error:
        problem = str(error)
    log("WARN", f"the app will get no SIGTERM before the environment ends: registering for it failed ({problem})")
    connection.close()
    return None


_invocation = Invocation._make


def invocation_from(response: HttpResponse) -> Invocation:
    """The invocation in an answer to next. Raises ``RuntimeApiFault``."""
    if response.status != 200:
        raise RuntimeApiFault(f"the Runtime API answered next with {_excerpt(response)}")
    field = dict(reversed(response.headers)).get  # the first of a name: a line break in a value must not replace one
    request_id = field(_REQUEST_ID, "")
    if not request_id:
        raise RuntimeApiFault(f"the Runtime API's answer to next has no {REQUEST_ID} header")
    digits = field(_DEADLINE_MS, "")
    deadline_ms = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 18 else 0
    return _invocation(
        (
            request_id,
            response.body,
            deadline_ms,
            field(_FUNCTION_ARN, ""),
            field(_TRACE_ID, ""),
            field(_CLIENT_CONTEXT, ""),
            field(_COGNITO_IDENTITY, ""),
            field(_TENANT_ID, ""),
            field(_INVOCATION_ID, ""),
            field("content-type", ""),
        )
    )


def _echo(invocation: Invocation) -> tuple[tuple[str, str], ...]:
    """The header line that echoes the platform's nonce, if it gave one."""
    return ((INVOCATION_ID, invocation.invocation_id),) if invocation.invocation_id else ()


def _unsendable(why: str) -> InvocationFault:
    return InvocationFault("Runtime.MarshalError", f"Unable to marshal response: {why}")


def _segment(request_id: str) -> str:
    """The id as one percent-encoded path segment (RFC 3986 3.3), whatever it holds."""
    if request_id.isascii() and request_id.replace("-", "").isalnum():  # nearly always: it is a UUID
        return request_id
    octets = request_id.encode("utf-8", "surrogateescape")
    return "".join(chr(octet) if chr(octet) in _UNRESERVED else f"%{octet:02X}" for octet in octets)


def _excerpt(response: HttpResponse) -> str:
    return f"status {response.status} {response.body[:EXCERPT].decode('utf-8', 'replace')}".rstrip()
