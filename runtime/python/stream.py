"""What a Python handler returns bit by bit, as a streamed answer.

==============================================================  ===================================================
a generator, an async generator, or another (async) iterator    its items, as ``application/octet-stream``
``{"body": <one of those>, "contentType": ...}``                the same with that content type
``{"statusCode": ..., "headers": ..., "body": ...}``            an HTTP answer: prelude and body
==============================================================  ===================================================

Items are ``str`` (sent as UTF-8), ``bytes``, ``bytearray`` or ``memoryview``; each is sent as it comes. The first one
is there before anything is sent: what fails until then is an ordinary invocation error. docs/streaming.md is for users.
"""

from __future__ import annotations

from ..errors import ClientGone, InvocationFault
from ..invocation import RAW_STREAM_TYPE, StreamedResult
from ..messages import HttpResponse, is_token
from ..standard import standard_library
from .watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable, Iterator
    from typing import Any, Protocol

    from .event_loop import EventLoop
    from .handover import Handover

    Reported = Callable[[BaseException], InvocationFault]

    class Pieces(Protocol):
        """Octets bit by bit."""

        def next(self, watched: int) -> bytes:
            """The next ones, ``b""`` at the end. Raises ``ClientGone``, and whatever the user's code raises."""

        def close(self) -> None:
            """End what produces them. Raises whatever the user's code raises."""


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
    """What goes in front of an HTTP answer's body, and in place of one that is empty. Raises ``InvocationFault``."""
    with standard_library:
        from ..events import padding_for, to_prelude

    head = _head(answer)
    return to_prelude(head), padding_for(head) if pads else b""


def type_of(content_type: Any) -> str:
    """The content type of a streamed answer, which is sent in a header. Raises ``InvocationFault`` when it is none."""
    return _field("contentType", content_type)


def octets_of(item: Any) -> bytes:
    """What is sent of one item of a stream. Raises ``InvocationFault``."""
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
    """What is sent: an ``invocation.InProcessBody``."""

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
            from .handover import Handover

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
