"""``context.response_stream()``: the answer as a file that a Python handler writes, for code that wants a file.

::

    def handler(event, context):
        out = context.response_stream(content_type="text/csv")
        csv.writer(out).writerows(rows())

With a dict of ``statusCode``, ``headers`` and ``cookies`` it is an HTTP answer. Nothing is sent before the first write;
the answer ends when the handler returns, and what that returns is not looked at. docs/streaming.md is for users.
"""

from __future__ import annotations

from ..errors import ClientGone, InvocationFault
from ..invocation import StreamedResult
from ..standard import standard_library
from ..waiting import run_blocking
from .stream import octets_of, prelude_of, type_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, Self

    from ..response_stream import ResponseStream

    OpenStream = Callable[[str], Coroutine[Any, Any, ResponseStream]]


class StreamWriter:
    """A file of bytes that can only be written; text is written as UTF-8."""

    def __init__(self, open_stream: OpenStream, prelude: dict[str, Any] | None, content_type: str) -> None:
        self._open_stream = open_stream
        self._prelude = prelude
        self._content_type = type_of(content_type)
        self._stream: ResponseStream | None = None
        self._gone: ClientGone | None = None
        self._padding = b""  # for a body that stays empty
        self.closed = False
        self.pads = False
        """Whether an HTTP answer without a body gets one of a byte."""

    @property
    def content_type(self) -> str:
        """The type that the answer is sent as. It can be set until the first write, to text on one line."""
        return self._content_type

    @content_type.setter
    def content_type(self, value: str) -> None:
        self._must_not_have_begun("the content type")
        if self._prelude is not None:
            raise ValueError("the content type of an HTTP answer is one of its headers")
        self._content_type = type_of(value)

    @property
    def prelude(self) -> dict[str, Any] | None:
        """Status, headers and cookies of an HTTP answer. It can be set until the first write."""
        return self._prelude

    @prelude.setter
    def prelude(self, value: dict[str, Any] | None) -> None:
        self._must_not_have_begun("the prelude")
        self._prelude = value

    def write(self, data: str | bytes | bytearray | memoryview) -> int:
        """Send ``data``; returns how long it is. Raises ``BrokenPipeError`` when the client has gone."""
        if self.closed:
            raise ValueError("write to a closed stream")
        try:
            octets = octets_of(data)
        except InvocationFault as fault:
            raise TypeError(fault.message) from None
        if octets:
            self._send(octets)
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Refuse further writes. The answer ends with the handler."""
        self.closed = True

    def readable(self) -> bool:
        """As files have it."""
        return False

    def writable(self) -> bool:
        """As files have it."""
        return True

    def seekable(self) -> bool:
        """As files have it."""
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def has_begun(self) -> bool:
        """Whether something was sent: an error can only be told in trailers then."""
        return self._stream is not None

    def is_end_of(self, error: BaseException) -> bool:
        """Whether ``error`` is no more than that the client has gone."""
        return self._gone is not None and isinstance(error, BrokenPipeError)

    def result(self, fault: InvocationFault | None = None) -> StreamedResult:
        """How the answer ends. Raises what ``write`` may raise when nothing was written yet."""
        if self._stream is None:
            self._begin()
        self.closed = True  # a thread may still have it
        return StreamedResult(_End(self._gone or fault, self._padding), self._content_type)

    def _send(self, octets: bytes) -> None:
        if self._gone is None:
            stream = self._stream or self._begin()
            self._padding = b""
            try:
                run_blocking(stream.write(octets))
                return
            except ClientGone as gone:
                self._gone = gone
        raise BrokenPipeError(f"the client has gone: {self._gone}")

    def _begin(self) -> ResponseStream:
        if self._prelude is None:
            self._stream = self._opened(self._content_type)
            return self._stream
        with standard_library:
            from ..events import STREAM_TYPE

        octets, self._padding = prelude_of(self._prelude, self.pads)
        self._content_type = STREAM_TYPE
        self._stream = self._opened(STREAM_TYPE)
        try:
            run_blocking(self._stream.write(octets))
        except ClientGone as gone:
            self._gone = gone
        return self._stream

    def _opened(self, content_type: str) -> ResponseStream:
        return run_blocking(self._open_stream(content_type))

    def _must_not_have_begun(self, what: str) -> None:
        if self._stream is not None:
            raise RuntimeError(f"{what} was sent with the first write and cannot be set any more")


class _End:
    """What is left of an answer that was written already: its end, as an ``invocation.InProcessBody``."""

    def __init__(self, trouble: InvocationFault | ClientGone | None, padding: bytes) -> None:
        self._trouble = trouble
        self._padding = padding

    def read(self, _watched: int) -> bytes:
        """Nothing more but the padding, if there is one."""
        if self._trouble is not None:
            raise self._trouble
        padding, self._padding = self._padding, b""
        return padding

    def close(self) -> None:
        """Nothing to let go of."""
