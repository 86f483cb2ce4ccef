"""A streamed answer on its way: pulled from the runtime's request, piece by piece.

What nobody reads stays in the kernel's buffers, and the runtime has to wait: that is all the backpressure there is.
"""

from __future__ import annotations

import base64
import binascii
import json
import select
import socket
import struct
import threading
from collections.abc import Callable

import h11

from runtime.invocation import ERROR_BODY, ERROR_TYPE

RECEIVE_BYTES = 65536
TOO_LARGE = "Function.ResponseSizeTooLarge"
TRUNCATED = "Runtime.TruncatedResponse"


class AnswerCut(Exception):
    """The answer has no proper end. The invocation ends with the reason."""


class ClientGone(Exception):
    """The client has closed its connection."""


class StreamedAnswer:
    """The answer that a runtime posts in streaming mode; one thread reads it.

    ``on_end`` gets the error document that it failed with, None when it did not, as soon as that is known; ``on_cut``
    the document when it was cut off instead, and None when that was us. ``limit`` is in bytes.
    """

    def __init__(
        self,
        http: h11.Connection,
        connection: socket.socket,
        content_type: str,
        limit: int,
        on_end: Callable[[bytes | None], object],
        on_cut: Callable[[bytes | None], object],
    ) -> None:
        self._http = http
        self._connection = connection
        self.content_type = content_type
        self._limit = limit
        self._on_end = on_end
        self._on_cut = on_cut
        self._size = 0
        self._is_over = False
        self.finished = threading.Event()
        """Set when nobody reads any more: the connection is the server's again."""

    def read(self, client: socket.socket | None = None) -> bytes:
        """The next bytes, as soon as there are some; ``b""`` at the end. ``client`` is watched meanwhile.

        Raises ``AnswerCut``, and ``ClientGone`` when ``client`` has closed its connection.
        """
        if self._is_over:
            return b""
        try:
            event = self._next_event(client)
        except (h11.RemoteProtocolError, OSError) as error:
            self._finish(self._on_cut, error_document(TRUNCATED, f"the runtime's answer broke off: {error}"))
            raise AnswerCut from error
        if isinstance(event, h11.Data):
            self._size += len(event.data)
            if self._size > self._limit:
                self._refuse()
            return bytes(event.data)
        assert isinstance(event, h11.EndOfMessage)
        failure = failure_in(event)
        self._finish(self._on_end, failure)
        if failure is not None:
            raise AnswerCut
        return b""

    def close(self) -> None:
        """Take no more: the runtime's connection is closed, if it is not through with its answer."""
        if not self._is_over:
            self._finish(self._on_cut, None, is_early=True)

    def interrupt(self) -> None:
        """Make the thread that reads get an ``AnswerCut``."""
        try:
            # Closed, it is reset: without, a runtime that is in the middle of a send would wait for room on and on.
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the runtime was first

    def _next_event(self, client: socket.socket | None) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            await_readable(self._connection, client)
            self._http.receive_data(self._connection.recv(RECEIVE_BYTES))
        return event

    def _refuse(self) -> None:
        words = f"the streamed answer exceeds the maximum of {self._limit} bytes"
        # An error of the function, not of its runtime.
        self._finish(self._on_end, error_document(TOO_LARGE, words), is_early=True)
        raise AnswerCut

    def _finish(
        self, tell: Callable[[bytes | None], object], document: bytes | None, *, is_early: bool = False
    ) -> None:
        """Read no more. The session is told first: the runtime may ask for its next invocation once it notices."""
        self._is_over = True
        tell(document)
        if is_early:
            self.interrupt()
        self.finished.set()


def await_readable(source: socket.socket, client: socket.socket | None) -> None:
    """Return when something can be read from ``source``. Raises ``ClientGone``."""
    if client is None:
        return  # recv waits
    watched = select.poll()
    watched.register(source, select.POLLIN)
    # RDHUP, not IN: the next request may have come already. A client that closes one direction only counts as gone too,
    # as for most servers that pass streams on: which of both it is cannot be seen.
    watched.register(client, select.POLLRDHUP)
    ready = {descriptor for descriptor, _ in watched.poll()}
    if client.fileno() in ready:
        raise ClientGone


def failure_in(end: h11.EndOfMessage) -> bytes | None:
    """The error document that the trailers of a streamed answer bring, or None."""
    trailers = {name.decode().lower(): value.decode("latin-1") for name, value in end.headers}
    error_type, body = trailers.get(ERROR_TYPE.lower()), trailers.get(ERROR_BODY.lower())
    if not error_type and not body:
        return None
    try:
        document = json.loads(base64.b64decode(body or "", validate=True))
    except (binascii.Error, ValueError):
        document = None
    if isinstance(document, dict) and {"errorType", "errorMessage"} <= document.keys():
        return json.dumps(document).encode()
    return error_document(error_type or "Runtime.Unknown", "the trailers of the answer say no more")


def error_document(error_type: str, message: str) -> bytes:
    """The document that an invocation fails with."""
    return json.dumps({"errorType": error_type, "errorMessage": message}).encode()
