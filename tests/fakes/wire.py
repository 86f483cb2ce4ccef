"""HTTP/1.1, server side, for a fake: requests are read as they came and kept, replies are written as a test wants them.

No http.server: it normalises names, hides the bytes and cannot misbehave. This module knows nothing of Lambda.
"""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Literal, NamedTuple

RECEIVE_SIZE = 65536
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
REQUEST_LINE = re.compile(r"([A-Z]+) ([!-~]+) HTTP/1\.1")
REASONS = {status.value: status.phrase for status in HTTPStatus}
BODILESS_STATUSES = {204, 304}


class Wire(NamedTuple):
    """How one reply is put on the wire.

    ``gate_at`` and ``end_at`` are positions in the reply's bytes, head included, and read like slice bounds: 0 is
    before the first byte, -1 is before the last one, None is after everything.
    """

    chunk_size: int = 0  # 0: Content-Length, else chunked with that many bytes in each chunk
    send_size: int = 0  # 0: all in one send, else that many bytes per send
    gate: threading.Event | None = None  # nothing from gate_at on is written before the test sets it
    gate_at: int = 0
    end: Literal["keep", "close", "reset"] = "keep"
    end_at: int | None = None  # what is written before the connection is closed or reset

    @property
    def is_complete(self) -> bool:
        """Whether the client can get the whole reply."""
        return self.end == "keep" or self.end_at is None


class Reply(NamedTuple):
    """One scripted answer. ``read`` limits how much of the request's body is read before it is written."""

    status: int = 202
    body: bytes = b'{"status":"OK"}\n'
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
    wire: Wire = Wire()
    read: int | None = None

    def to_bytes(self) -> bytes:
        """The whole reply, framed as ``wire`` has it."""
        lines = [
            f"HTTP/1.1 {self.status} {REASONS.get(self.status, '')}",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        body = self.body
        if self.status in BODILESS_STATUSES or self.status < 200:
            body = b""
        elif self.wire.chunk_size:
            lines.append("Transfer-Encoding: chunked")
            body = b"".join(_chunks(body, self.wire.chunk_size))
        else:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _chunks(body: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(body), size):
        piece = body[start : start + size]
        yield b"%x\r\n%s\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


@dataclass
class RecordedRequest:
    """One request as it arrived. ``body`` has its chunking removed and grows until ``is_complete``."""

    number: int  # the order of arrival over all connections
    connection: int
    method: str
    target: str
    headers: list[tuple[str, str]]  # original case and order; bytes as latin-1
    trailers: list[tuple[str, str]] = field(default_factory=list)
    status: int = 0  # what the fake answered; 0 until it did
    is_complete: bool = False
    received: bytearray = field(default_factory=bytearray, repr=False)

    @property
    def body(self) -> bytes:
        """What came of the body so far."""
        return bytes(self.received)

    def header(self, name: str) -> str | None:
        """The only value of a field, or None. Fails when the field came more than once."""
        values = self.header_values(name)
        assert len(values) < 2, f"{self.method} {self.target} has {len(values)} {name} headers: {values}"
        return values[0] if values else None

    def header_values(self, name: str) -> list[str]:
        """Every value of a field, its name compared without regard to case."""
        return [value for candidate, value in self.headers if candidate.lower() == name.lower()]


class MalformedRequest(Exception):
    """What arrived is not HTTP/1.1."""


class ConnectionGone(Exception):
    """The client went away in the middle of a request."""


class RequestReader:
    """Takes requests from one socket and keeps what is left over between them."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray()

    def head(self) -> tuple[str, str, list[tuple[str, str]]] | None:
        """Method, target and headers of the next request, or None when the client has closed the idle connection."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if not self._receive():
                if self._buffer:
                    raise ConnectionGone
                return None
        lines = self._take(end + 4)[:-4].decode("latin-1").split("\r\n")
        match = REQUEST_LINE.fullmatch(lines[0])
        if not match:
            raise MalformedRequest(f"request line {lines[0]!r}")
        return match[1], match[2], [_field(line) for line in lines[1:]]

    def body(self, headers: list[tuple[str, str]], trailers: list[tuple[str, str]]) -> Iterator[bytes]:
        """The pieces of the body as they arrive; ``trailers`` is filled in when a chunked body ends."""
        framing = {name.lower(): value for name, value in headers}
        if framing.get("transfer-encoding", "").lower() == "chunked":
            yield from self._chunked(trailers)
        else:
            yield from self._exactly(_length(framing.get("content-length", "0"), 10))

    def has_more(self) -> bool:
        """Whether bytes of a further request are there already: the client pipelines."""
        return bool(self._buffer) or bool(_peek(self._sock))

    def _chunked(self, trailers: list[tuple[str, str]]) -> Iterator[bytes]:
        while size := _length(self._line().split(";")[0], 16):
            yield from self._exactly(size)
            if self._line():
                raise MalformedRequest("no line end after a chunk")
        while line := self._line():
            trailers.append(_field(line))

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            if not self._buffer and not self._receive():
                raise ConnectionGone
            piece = self._take(min(size, len(self._buffer)))
            size -= len(piece)
            yield piece

    def _line(self) -> str:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if not self._receive():
                raise ConnectionGone
        return self._take(end + 2)[:-2].decode("latin-1")

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _receive(self) -> bool:
        received = self._sock.recv(RECEIVE_SIZE)
        self._buffer += received
        return bool(received)


def _field(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not TOKEN.fullmatch(name) or re.search(r"[\r\n\0]", value):
        raise MalformedRequest(f"header line {line!r}")
    return name, value.strip(" \t")


def _length(text: str, base: int) -> int:
    try:
        return int(text, base)
    except ValueError:
        raise MalformedRequest(f"length {text!r}") from None


def _peek(sock: socket.socket) -> bytes | None:
    """The first byte that waits, ``b""`` when the client has gone, None when nothing came yet."""
    try:
        return sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def is_gone(sock: socket.socket) -> bool:
    """Whether the client has closed its side."""
    return _peek(sock) == b""


def write_reply(sock: socket.socket, reply: Reply, is_over: Callable[[], bool]) -> bool:
    """Write ``reply`` as its wire has it; whether the connection stays open. ``is_over`` gives up a closed gate."""
    data, wire = reply.to_bytes(), reply.wire
    if wire.end != "keep":
        data = data[: wire.end_at]
    if wire.gate:
        _send(sock, data[: wire.gate_at], wire.send_size)
        while not wire.gate.wait(0.02):
            if is_over() or is_gone(sock):
                return False
        data = data[wire.gate_at :]
    # MSG_MORE holds the last segment back, so that the end comes with it: what a client does next cannot overtake it.
    _send(sock, data, wire.send_size, socket.MSG_MORE if wire.end == "close" else 0)
    if wire.end == "close":
        sock.shutdown(socket.SHUT_WR)
    elif wire.end == "reset":
        reset(sock)
    return wire.end == "keep" and reply.read is None


def _send(sock: socket.socket, data: bytes, size: int, flags: int = 0) -> None:
    # TCP_NODELAY is set: each piece leaves by itself.
    for start in range(0, len(data), size or len(data) or 1):
        sock.sendall(data[start : start + (size or len(data))], flags)


def reset(sock: socket.socket) -> None:
    """Close with a TCP reset. What was sent before can still be read by the client, then it gets ECONNRESET."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
