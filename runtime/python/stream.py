"""Streams what a Python handler returns bit by bit.

==============================================================  ===================================================
a generator, an async generator, or another (async) iterator    its items, as ``application/octet-stream``
``{"body": <one of those>, "contentType": ...}``                the same with that content type
``{"statusCode": ..., "headers": ..., "body": ...}``            an HTTP answer: prelude and body
==============================================================  ===================================================

Items are ``str`` (sent as UTF-8), ``bytes``, ``bytearray`` or ``memoryview``; each is sent as it comes. The first one
is there before anything is sent: what fails until then is an ordinary invocation error. docs/streaming.md is for users.
"""

from __future__ import annotations

import select

from ..errors import ClientGone, InvocationFault
from ..invocation import RAW_STREAM_TYPE, StreamedResult
from ..messages import HttpResponse, is_token
from ..standard import standard_library
from ..waiting import run_blocking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable, Iterator
    from typing import Any, Protocol

    from .event_loop import EventLoop, Handover

    Reported = Callable[[BaseException], InvocationFault]

    class Pieces(Protocol):
        """Octets bit by bit."""

        def next(self, watched: int) -> bytes:
            """The next ones, ``b""`` at the end. Raises ``ClientGone``, and whatever the user's code raises."""

        def close(self) -> None:
            """End what produces them. Raises whatever the user's code raises."""

    from collections.abc import Callable, Coroutine
    from typing import Self

    from ..response_stream import ResponseStream

    OpenStream = Callable[[str], Coroutine[Any, Any, ResponseStream]]


# How long an async generator may take for its clean-up. The next invocation may be waiting; what is not done by then
# goes on during that.
CLOSE_LIMIT_S = 1.0


def streamed(returned: Any, loop: Callable[[], EventLoop], reported: Reported, pads: bool = False) -> StreamedResult:
    """``returned``, for which ``python_handler.is_streamed`` holds, with its first piece drawn.

    ``pads``: an HTTP answer without a body gets one of a byte. ``reported`` makes a fault of what the user's code
    raises later, and logs it. Raises whatever that code raises, and ``InvocationFault``.
    """
    if not isinstance(returned, dict):
        return StreamedResult(StreamedItems(_drawn(returned, loop), reported), RAW_STREAM_TYPE)
    if "statusCode" not in returned:
        content_type = type_of(returned.get("contentType", RAW_STREAM_TYPE))
        return StreamedResult(StreamedItems(_drawn(returned["body"], loop), reported), content_type)
    with standard_library:
        from ..events import STREAM_TYPE  # 3 ms, for these alone

    prelude, padding = prelude_of(returned, pads)
    return StreamedResult(StreamedItems(_drawn(returned["body"], loop), reported, prelude, padding), STREAM_TYPE)


def prelude_of(answer: dict[str, Any], pads: bool) -> tuple[bytes, bytes]:
    """Returns the prelude of an HTTP answer, and the padding for a body that is empty. Raises ``InvocationFault``."""
    with standard_library:
        from ..events import padding_for, to_prelude

    head = _head(answer)
    return to_prelude(head), padding_for(head) if pads else b""


def type_of(content_type: Any) -> str:
    """The content type of a streamed answer, which is sent in a header. Raises ``InvocationFault`` when it is none."""
    return _field("contentType", content_type)


def octets_of(item: Any) -> bytes:
    """Returns the octets of one item of a stream. Raises ``InvocationFault``."""
    if isinstance(item, str):
        try:
            return item.encode()
        except UnicodeEncodeError as error:
            raise _unsendable(f"a piece is not Unicode text: {error}") from None
    if isinstance(item, bytes):
        return item
    if isinstance(item, bytearray | memoryview):
        return bytes(item)  # the generator may fill the same one again
    raise _unsendable(f"a streamed answer consists of str and bytes, and not of {type(item).__name__}")


class StreamedItems:
    """The pieces of the answer: an ``invocation.InProcessBody``."""

    def __init__(self, pieces: _FirstDrawn, reported: Reported, prelude: bytes = b"", padding: bytes = b"") -> None:
        self._pieces = pieces
        self._reported = reported
        self._prelude = prelude
        self._padding = padding

    def read(self, watched: int) -> bytes:
        """Returns the next piece, ``b""`` at the end. Raises ``ClientGone`` and ``InvocationFault``."""
        if self._prelude:
            prelude, self._prelude = self._prelude, b""
            return prelude
        try:
            piece = self._pieces.next(watched)
            if self._padding:
                piece, self._padding = piece or self._padding, b""
            return piece
        except ClientGone:
            raise
        except BaseException as error:
            raise self._reported(error) from None

    def close(self) -> None:
        """End what makes the pieces. What a ``finally`` of the user's raises is logged: nobody is left to tell."""
        try:
            self._pieces.close()
        except BaseException as error:
            self._reported(error)


class _FirstDrawn:
    """Pieces of which the first one is there already."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._first: bytes | None = pieces.next(-1)
        self.close = pieces.close

    def next(self, watched: int) -> bytes:
        if self._first is None:
            return self._pieces.next(watched)
        first, self._first = self._first, None
        return first


class _Items:
    """The pieces of an iterator."""

    def __init__(self, items: Iterable[object]) -> None:
        self._items: Iterator[object] = iter(items)
        self._watch = Watch()

    def next(self, watched: int) -> bytes:
        for item in self._items:
            piece = octets_of(item)
            if self._watch.on(watched).is_gone:
                raise ClientGone
            if piece:
                return piece
        return b""

    def close(self) -> None:
        close = getattr(self._items, "close", None)
        if close:
            close()


class _AsyncItems:
    """The pieces of an async iterator."""

    def __init__(self, items: AsyncIterable[object], loop: EventLoop) -> None:
        with standard_library:
            from .event_loop import Handover

        self._handover = Handover(loop)
        self._handover.start(_feed(items, self._handover))

    def next(self, watched: int) -> bytes:
        return self._handover.take(watched) or b""

    def close(self) -> None:
        self._handover.stop(CLOSE_LIMIT_S)


async def _feed(items: AsyncIterable[object], handover: Handover) -> None:
    try:
        async for item in items:
            if piece := octets_of(item):
                await handover.put(piece)
    finally:
        close = getattr(items, "aclose", None)
        if close:
            await close()


def _drawn(items: Any, loop: Callable[[], EventLoop]) -> _FirstDrawn:
    """The pieces of ``items``, the first one drawn; when that fails they are closed."""
    pieces: Pieces = _AsyncItems(items, loop()) if hasattr(type(items), "__aiter__") else _Items(items)
    try:
        return _FirstDrawn(pieces)
    except BaseException:
        pieces.close()
        raise


def _head(answer: dict[str, Any]) -> HttpResponse:
    if answer.get("isBase64Encoded"):
        raise _unsendable("isBase64Encoded does not apply to what is streamed: yield the bytes as they are")
    status = answer.get("statusCode", 200)
    if not isinstance(status, int) or not 100 <= status <= 599:
        raise _unsendable(f"statusCode must be a number from 100 to 599, and not {status!r}")
    lines = [
        (_name(name), _field(name, value))
        for fields in (answer.get("headers"), answer.get("multiValueHeaders"))
        for name, values in _mapping(fields).items()
        for value in (values if isinstance(values, list | tuple) else (values,))
    ]
    lines += [("set-cookie", _field("cookies", cookie)) for cookie in answer.get("cookies") or ()]
    return HttpResponse(status, "", lines)


def _mapping(fields: Any) -> dict[Any, Any]:
    if isinstance(fields, dict | None):
        return fields or {}
    raise _unsendable(f"headers must be a dict, and not {type(fields).__name__}")


def _name(name: Any) -> str:
    if isinstance(name, str) and is_token(name):
        return name
    raise _unsendable(f"{name!r} cannot be the name of a header (RFC 9110 section 5.1)")


def _field(name: object, value: Any) -> str:
    if isinstance(value, int | float):
        value = str(value)
    with standard_library:
        from ..messages import is_field_value

    if is_field_value(value):
        return str(value)  # of a class derived from str, the plain text
    raise _unsendable(f"the value of {name!r} must be text on one line, and not {value!r:.100}")


def _unsendable(message: str) -> InvocationFault:
    return InvocationFault("Runtime.MarshalError", f"Unable to marshal response: {message}")


# ---- the connection, looked at ---------------------------------------------------------------------------------------
#
# A look at the connection on which a streamed answer is sent, while code of the user's makes the next piece.


class Watch:
    """One descriptor, once it is known which."""

    def __init__(self) -> None:
        self._poll: select.poll | None = None

    def on(self, watched: int) -> Self:
        """Returns this object, which watches ``watched`` from now on; -1 is none."""
        if watched >= 0 and self._poll is None:
            self._poll = select.poll()
            self._poll.register(watched, select.POLLIN)
        return self

    @property
    def is_gone(self) -> bool:
        """Whether the platform has said something, or closed: a write would succeed all the same, once."""
        return self._poll is not None and bool(self._poll.poll(0))


# ---- an answer that the handler writes -------------------------------------------------------------------------------
#
# ``context.response_stream()``: the answer as a file that a Python handler writes, for code that wants a file.
#
# ::
#
#     def handler(event, context):
#         out = context.response_stream(content_type="text/csv")
#         csv.writer(out).writerows(rows())
#
# With a dict of ``statusCode``, ``headers`` and ``cookies`` it is an HTTP answer. Nothing is sent before the first
# write; the answer ends when the handler returns, and what that returns is not looked at.


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
    """The end of an answer that was written already, as an ``invocation.InProcessBody``."""

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
