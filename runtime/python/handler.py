"""A Python handler: called with each event, as Lambda's managed Python runtime does it
(https://docs.aws.amazon.com/lambda/latest/dg/python-handler.html).

Whatever the user's code does becomes a fault with a name: nothing that it raises goes further than this module, and
``sys.exit`` is reported before it is obeyed. docs/handlers.md says what a handler may rely on.
"""

from __future__ import annotations

from ..errors import EnvironmentLost, InvocationFault, ResponseTooLarge
from ..invocation import PAYLOAD_LIMIT, RAW_STREAM_TYPE, Result
from ..report import text_of, user_fault
from ..standard import standard_library
from . import patchable
from .lambda_context import LambdaContext, TraceVariable
from .module import ending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from ..invocation import Invocation, StreamedResult
    from ..logs import Log
    from ..response_stream import ResponseStream
    from .codec import Codec
    from .event_loop import EventLoop
    from .lambda_context import Function
    from .logs import HandlerLogs
    from .module import HandlerFunction
    from .stream import StreamWriter

    OpenStream = Callable[[Invocation, str], Coroutine[Any, Any, ResponseStream]]


class HandlerExit(EnvironmentLost):
    """The user's code has ended the process. It is reported, and then obeyed."""

    exit_code: int = 1


class Writing:
    """The answer to an invocation, for a handler that wants to write it."""

    __slots__ = ("_invocation", "_open_stream", "_pads", "file")

    def __init__(self, open_stream: OpenStream, invocation: Invocation, pads: bool) -> None:
        self._open_stream = open_stream
        self._pads = pads
        self._invocation = invocation
        self.file: StreamWriter | None = None

    def begin(self, prelude: dict[str, Any] | None = None, content_type: str = RAW_STREAM_TYPE) -> StreamWriter:
        """A file to write the answer to; an HTTP answer with a ``prelude`` of statusCode, headers and cookies.

        Raises ``InvocationFault`` for a content type that cannot be sent.
        """
        with standard_library:
            from .stream import StreamWriter  # for the few that stream in this way

        if self.file:
            raise RuntimeError("an invocation has one answer, and response_stream was called before")
        file = StreamWriter(lambda sent_as: self._open_stream(self._invocation, sent_as), prelude, content_type)
        file.pads = self._pads
        self.file = file
        return file


class PythonHandler:
    """Calls ``function`` with each event."""

    def __init__(
        self,
        function: HandlerFunction,
        codec: Codec,
        constants: Function,
        logs: HandlerLogs,
        open_stream: OpenStream,
        pads_empty_streams: bool,
        log: Log,
    ) -> None:
        self._pads = pads_empty_streams
        self._function = function
        self._decode, self._encode = codec
        self._constants = constants
        self._logs = logs
        self._open_stream = open_stream
        self._exit: HandlerExit | None = None
        self._trace = TraceVariable()
        self._loop: EventLoop | None = None
        if _is_async(function):
            self._start_loop()  # 34 ms, while Lambda still gives the function a whole processor
        if patchable.is_patched():
            self._function = patchable.patched(self._awaiting(function), log)

    def handle(self, invocation: Invocation) -> Result | StreamedResult:
        """Returns the answer to the invocation. Raises ``InvocationFault``, whatever the user's code does."""
        writing = Writing(self._open_stream, invocation, self._pads)
        try:
            self._logs.begin(invocation)
            self._trace.set(invocation.trace_id)
            event = self._event(invocation)
            context = LambdaContext(invocation, self._constants)
            context.response_stream = writing.begin
            returned = self._function(event, context)
            if hasattr(type(returned), "__await__"):
                returned = self._the_loop().run(returned)
            return writing.file.result() if writing.file else self._result(returned)
        except BaseException as error:
            return self._failed(error, writing.file)

    def after_response(self) -> None:
        """Wait for nothing: the handler's tasks go on by themselves. Raises ``HandlerExit`` if it has ended itself."""
        if self._exit:
            raise self._exit

    def turn(self) -> None:
        """Let what waits in the handler's event loop have its turn, such as the signal handlers of asyncio."""
        if self._loop:
            self._loop.turn()

    def _event(self, invocation: Invocation) -> object:
        if not is_json(invocation.content_type):
            return invocation.payload
        try:
            return self._decode(invocation.payload)
        except (ValueError, RecursionError) as error:
            raise InvocationFault("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}") from None

    def _failed(self, error: BaseException, written: StreamWriter | None) -> StreamedResult:
        """Raise what ``error`` means, unless an answer was begun already: that is ended with it."""
        if written and written.is_end_of(error):
            return written.result()
        fault = self._reported(error)
        if written and written.has_begun:
            return written.result(fault)
        raise fault from None

    def _reported(self, error: BaseException) -> InvocationFault:
        fault = report_exception(error, self._logs)
        if isinstance(fault, HandlerExit):
            self._exit = fault
        return fault

    def _awaiting(self, function: HandlerFunction) -> HandlerFunction:
        """``function`` as one that returns what is awaited: whoever wraps it wants to see what is raised then."""

        def call(event: object, context: LambdaContext) -> object:
            returned = function(event, context)
            return self._the_loop().run(returned) if hasattr(type(returned), "__await__") else returned

        return call

    def _the_loop(self) -> EventLoop:
        return self._loop or self._start_loop()

    def _start_loop(self) -> EventLoop:
        with standard_library:
            from .event_loop import EventLoop

        self._loop = EventLoop()
        return self._loop

    def _result(self, returned: object) -> Result | StreamedResult:
        """Returns the result that is posted for a returned value."""
        if is_streamed(returned):
            with standard_library:
                from .stream import streamed

            return streamed(returned, self._the_loop, self._reported, self._pads)
        result = Result(returned, "application/unknown") if isinstance(returned, bytes) else self._json(returned)
        if len(result.payload) > PAYLOAD_LIMIT:
            raise ResponseTooLarge(len(result.payload), PAYLOAD_LIMIT)
        return result

    def _json(self, returned: object) -> Result:
        try:
            return Result(self._encode(returned))
        except Exception as error:  # from a property or an iterator of the user's as well
            message = f"Unable to marshal response: {text_of(error)}"
            raise InvocationFault("Runtime.MarshalError", message) from None


def is_streamed(returned: object) -> bool:
    """Whether it comes bit by bit: an iterator, async or not, or an answer whose body is one."""
    kind = type(returned)
    if isinstance(returned, dict):
        kind = type(returned.get("body"))
    return hasattr(kind, "__next__") or hasattr(kind, "__aiter__")


def report_exception(error: BaseException, logs: HandlerLogs) -> InvocationFault:
    """Logs an exception of the user's code. Returns the fault that it is reported as."""
    fault = _fault(error)
    try:
        logs.error(fault.name or fault.error_type, fault.message, fault.stack)
        fault.is_logged = True
    except Exception:  # out of memory, most likely: what counts is that it is posted
        pass
    return fault


def _fault(error: BaseException) -> InvocationFault:
    """Returns the fault that an exception of an invocation is reported as."""
    if isinstance(error, InvocationFault):
        return error
    if isinstance(error, Exception):
        return user_fault(InvocationFault, error)
    exit_code, error_type, message = ending(error, "the handler")
    if exit_code is None:
        return user_fault(InvocationFault, error)
    fault = user_fault(HandlerExit, error, error_type, message)
    fault.exit_code = exit_code
    return fault


def is_json(content_type: str) -> bool:
    """Whether the payload is JSON: its type says so, whatever its parameters are, or says nothing."""
    return content_type in ("application/json", "") or (
        content_type.partition(";")[0].strip().lower() == "application/json"
    )


def _is_async(function: object) -> bool:
    """Whether it is an ``async def``. Where that cannot be seen, the first awaitable that comes will tell."""
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return bool(getattr(code, "co_flags", 0) & 0x80)  # CO_COROUTINE
