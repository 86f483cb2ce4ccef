"""Streamed responses: one chunked POST each, whose trailers say how it ended
(https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming).

::

    POST .../response HTTP/1.1                          begin
    Lambda-Runtime-Function-Response-Mode: streaming
    Transfer-Encoding: chunked
    Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body

    size CRLF data CRLF ...                             write, once for each piece, and nothing is held back
    0 CRLF [trailers] CRLF                              finish, or fail with the two trailers

The platform takes a stream without its last chunk for a truncated one, so a failed stream is ended with one as well.
The POST goes over the connection on which the invocation came. That serves the next one if the platform keeps it open.
"""

from __future__ import annotations

import binascii
import select

from .errors import ClientGone, ConnectionLost, ExchangeError
from .http1 import ResponseReader, render_lines, render_trailers
from .invocation import ERROR_BODY, ERROR_TYPE, RESPONSE_MODE
from .standard import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .connection import Connection
    from .messages import HttpResponse

STREAM_LINES = render_lines(
    (
        (RESPONSE_MODE, "streaming"),
        ("Transfer-Encoding", "chunked"),
        ("Trailer", f"{ERROR_TYPE}, {ERROR_BODY}"),
    )
)
_LAST_CHUNK = b"0\r\n"


class ResponseStream:
    """One streamed response. After ``begin`` call ``finish`` or ``fail`` to end it, or else ``abandon``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._held = b""
        self.watched = -1
        """The descriptor that becomes readable when the platform closes the connection, or answers early."""
        self.size = 0
        """Bytes written, without their framing."""

    async def begin(self, head: bytes) -> None:
        """Open the connection. The head goes out together with the first piece. Raises ``ConnectRefused``."""
        self.watched = (await self._connection.lend()).fileno()
        self._held = head

    async def write(self, data: bytes) -> None:
        """Send one piece, which is not empty. Raises ``ClientGone``."""
        self.size += len(data)
        await self._send(self._held + b"%x\r\n" % len(data), data, b"\r\n")
        self._held = b""

    async def finish(self, last: bytes = b"") -> HttpResponse:
        """End the answer, with ``last`` as its last piece. Returns the platform's answer. Raises ``ClientGone``."""
        return await self._end(last, b"\r\n")

    async def fail(self, error_type: str, document: bytes) -> HttpResponse:
        """End the answer as one that failed. ``document`` is as for an error post; as base64 it is one header line.

        An ``error_type`` of "" is left out.
        """
        trailers = [(ERROR_TYPE, error_type)] if error_type else []
        trailers.append((ERROR_BODY, binascii.b2a_base64(document, newline=False).decode()))
        return await self._end(b"", render_trailers(trailers))

    def abandon(self) -> None:
        """Close the connection in the middle of the answer."""
        self._connection.close()

    async def _end(self, last: bytes, trailers: bytes) -> HttpResponse:
        self.size += len(last)
        piece = (b"%x\r\n" % len(last), last, b"\r\n") if last else ()
        await self._send(self._held, *piece, _LAST_CHUNK + trailers)
        reader = ResponseReader("POST")
        try:
            while reader.response is None:
                await self._connection.receive(reader, None, -1)
        except ExchangeError as error:
            raise ClientGone(f"the platform did not acknowledge the answer: {error}") from error
        return reader.response

    async def _send(self, *parts: bytes) -> None:
        """Send all parts: without a copy, and with one system call as long as the platform keeps up."""
        try:
            sock = self._connection.lent()
            try:
                sent = sock.sendmsg(parts, (), socket.MSG_DONTWAIT)
            except BlockingIOError:
                sent = 0
            for part in parts:
                if sent < len(part):
                    await self._send_slowly(sock, memoryview(part)[sent:])
                sent = max(0, sent - len(part))
        except (OSError, ConnectionLost) as error:
            raise ClientGone(f"the platform takes no more of the answer: {error}") from error

    async def _send_slowly(self, sock: socket.socket, rest: memoryview) -> None:
        """Send the rest of a part piece by piece, whenever the socket has room. Raises ``ClientGone``.

        A blocking send would wait on for a peer that has closed its side without reading the rest.
        """
        while rest:
            if await self._connection.wait(select.POLLOUT | select.POLLIN) & ~select.POLLOUT:
                raise ClientGone("the platform has answered, or closed the connection, before the end of the answer")
            try:
                rest = rest[sock.send(rest, socket.MSG_DONTWAIT) :]
            except BlockingIOError:  # the room was taken back
                continue
