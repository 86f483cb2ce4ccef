"""What the test apps share: a raw-socket HTTP server, and the ways in which an app can start badly.

Little is imported, and only what is built in or in C: an app is ready about 15 ms after its start. Environment:

==========================  ==========================================================================================
``PORT``                    where to listen on 127.0.0.1
``LISTEN_OTHER_PORT``       listen there instead, as a misconfigured app does
``START_DELAY_MS``          wait so long before listening
``START_WHEN``              wait for a file of this path before listening
``EXIT_AT_ONCE_MS``         do not listen; print lines to stderr, wait so long, exit with ``EXIT_CODE`` (default 1)
``UNREADY_STATUS_COUNT``    answer 503 to so many requests first
``ACCEPT_BUT_SILENT_FIRST`` accept the first connection and never answer on it
``STDERR_BURST``            write so many bytes to stderr before listening
``IGNORE_SIGTERM``          do
``FORK_CHILD``              leave a child process behind that sleeps for ever
==========================  ==========================================================================================
"""

from __future__ import annotations

import _signal
import _socket
import _thread
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Request:
    """A request whose body is not read yet. Nothing is decoded: names and values are bytes, in their order."""

    def __init__(self, head: bytes) -> None:
        request_line, *lines = head.split(b"\r\n")
        self.method, self.target, self.version = request_line.split(b" ", 2)
        self.headers = [(name, value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines)]

    def header(self, name: bytes) -> bytes:
        """The first value of the field ``name`` (lower-case), or nothing."""
        return next((value for candidate, value in self.headers if candidate.lower() == name), b"")

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition(b"?")[0].decode("latin-1")


class Gone(Exception):
    """The client has closed the connection, or the app is to close it."""


class Connection:
    """One client's connection."""

    def __init__(self, sock: _socket.socket) -> None:
        self._sock = sock
        self._buffer = b""

    def read_head(self) -> Request:
        """The next request."""
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return Request(head)

    def read_body(self, request: Request) -> bytes:
        """Its body."""
        if request.header(b"transfer-encoding").lower() == b"chunked":
            return b"".join(iter(self._read_chunk, b""))
        return self._exactly(int(request.header(b"content-length") or 0))

    def _read_chunk(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._receive()
        size, _, self._buffer = self._buffer.partition(b"\r\n")
        return self._exactly(int(size, 16) + 2)[:-2]

    def _exactly(self, size: int) -> bytes:
        pieces = [self._buffer]
        missing = size - len(self._buffer)
        while missing > 0:
            pieces.append(self._sock.recv(min(missing, 1 << 20)))
            if not pieces[-1]:
                raise Gone
            missing -= len(pieces[-1])
        received = b"".join(pieces)
        self._buffer = received[size:]
        return received[:size]

    def _receive(self) -> None:
        received = self._sock.recv(65536)
        if not received:
            raise Gone
        self._buffer += received

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self._sock.sendall(data)

    def answer(self, status: int, body: bytes = b"", *fields: bytes, content_type: bytes = b"application/json") -> None:
        """Send a whole, well-formed response. ``fields`` are further header lines."""
        lines = [b"HTTP/1.1 %d Some Reason" % status, b"content-type: " + content_type, *fields]
        self.send(b"\r\n".join([*lines, b"content-length: %d" % len(body), b"", body]))

    def wait_until_gone(self) -> None:
        """Say nothing until the client closes."""
        while True:
            self._receive()

    def reset(self) -> None:
        """Close with a TCP reset."""
        self._sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        raise Gone

    def close(self) -> None:
        """Close in the ordinary way."""
        self._sock.close()


_listeners: list[_socket.socket] = []


def stop_listening() -> None:
    """Refuse connections from now on, and live on."""
    _listeners[0].shutdown(_socket.SHUT_RDWR)


def serve(handle: Callable[[Connection, Request], None]) -> None:
    """Start as the environment says and hand every request to ``handle``, one thread per connection."""
    serve_on(start(), handle)


def serve_on(listener: _socket.socket, handle: Callable[[Connection, Request], None]) -> None:
    """The same on a socket that listens already."""
    unready = [None] * _number("UNREADY_STATUS_COUNT")
    is_silent = bool(os.environ.get("ACCEPT_BUT_SILENT_FIRST"))

    def converse(sock: _socket.socket, is_silent: bool) -> None:
        connection = Connection(sock)
        try:
            if is_silent:
                connection.wait_until_gone()
            while True:
                request = connection.read_head()
                if unready:
                    unready.pop()
                    connection.read_body(request)
                    connection.answer(503)
                else:
                    handle(connection, request)
        except (Gone, OSError):
            pass
        finally:
            connection.close()

    while True:
        try:
            descriptor, _ = listener._accept()
        except OSError:  # stop_listening was called
            time.sleep(3600)
            return
        sock = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0, descriptor)
        sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        _thread.start_new_thread(converse, (sock, is_silent))
        is_silent = False


def start() -> _socket.socket:
    """Start as the environment says; the socket that listens."""
    if os.environ.get("IGNORE_SIGTERM"):
        _signal.signal(_signal.SIGTERM, _signal.SIG_IGN)
    if os.environ.get("FORK_CHILD") and os.fork() == 0:
        while True:
            _signal.pause()
    _burst(_number("STDERR_BURST"))
    if "EXIT_AT_ONCE_MS" in os.environ:
        os.write(2, b"app: cannot open the database\napp: giving up\n")
        time.sleep(_number("EXIT_AT_ONCE_MS") / 1000)
        os._exit(_number("EXIT_CODE", 1))
    time.sleep(_number("START_DELAY_MS") / 1000)
    while "START_WHEN" in os.environ and not os.path.exists(os.environ["START_WHEN"]):
        time.sleep(0.001)
    listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", _number("LISTEN_OTHER_PORT") or int(os.environ["PORT"])))
    except (OSError, KeyError, ValueError) as error:
        sys.exit(f"app: cannot listen on PORT={os.environ.get('PORT')}: {error!r}")
    listener.listen(64)
    _listeners.append(listener)
    return listener


def _number(name: str, default: int = 0) -> int:
    return int(os.environ.get(name) or default)


def _burst(size: int) -> None:
    line = b"app: " + b"x" * 94 + b"\n"
    data = (line * (size // len(line) + 1))[:size]
    while data:
        data = data[os.write(2, data) :]
