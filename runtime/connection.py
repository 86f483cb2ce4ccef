"""One keep-alive connection to one address: it sends a request and returns the complete answer.

The only module that touches network sockets, and the only one where an ``OSError`` of theirs becomes an
``ExchangeError``. The bytes are http1's business.

Three rules:

1. **One send and one receive** for a message that is small, which most are: each further system call costs microseconds
   and a wake-up of the peer.
2. **Nothing is sent on a connection that is known to be dead**, or likely to be: before each request a look
   (``poll``) tells whether the peer has closed it, and one that was idle for long is not tried. The look leaves a
   gap, so a request with an idempotent method (RFC 9110 9.2.2) is sent once more when its reused connection died
   without a byte of an answer. A POST never is: it may have been processed.
3. **The socket stays blocking.** ``settimeout`` would make it non-blocking inside: one more system call for each of
   ours, and MSG_WAITALL would return early. With a deadline it has a fixed SO_RCVTIMEO, after which the clock is looked
   at, and the last second is waited for in ``poll``. SO_RCVTIMEO alone will not do: the kernel's timer wheel rounds it
   up by as much as an eighth, which is seconds. What is small never blocks in a send, since each exchange begins with
   empty buffers; what is larger is sent while looking at the clock.
"""

from __future__ import annotations

import select
import time

from .c_modules import socket
from .errors import ClientGone, ConnectionLost, ConnectRefused, ExchangeTimeout, ProtocolError
from .http1 import ResponseReader, render_head
from .messages import HttpRequest, HttpResponse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
# One segment is worth a copy: below this a body is joined to its head.
JOIN_LIMIT = 16 * 1024
RECEIVE_SIZE = 64 * 1024
# The same of an answer that is passed on while more of it is there already: fewer calls on both sides. The allocator
# keeps a block of this size (docs/decisions/0008), so it costs no page faults.
STREAM_SIZE = 512 * 1024
# After so much in one go more is likely to be there; after less, waiting at once is cheaper than a receive that fails.
FLOWING = 16 * 1024
# How much of a body of known length one receive call may wait for: the deadline is looked at in between.
CHUNK = 1024 * 1024
NEVER = float("inf")
# The kernel counts in 32-bit milliseconds, and no invocation takes a day.
LONGEST_WAIT_S = 86_400.0
# How long a receive blocks before the clock is looked at again.
PATIENCE_S = 0.5
# The same where a signal handler in Python is waiting to be called. A signal that comes between the last bytecode and
# the receive call does not interrupt that, and would be noticed only when the call returns.
WATCHFUL_S = 0.05


class Connection:
    """To ``host`` and ``port``, or to the Unix socket that ``host`` is the absolute path of.

    Opened when first used, and again when it was lost or idle for ``idle_limit_s``.
    """

    def __init__(self, host: str, port: int, idle_limit_s: float = NEVER) -> None:
        self._address: tuple[str, int] | str = host if host.startswith("/") else (host, port)
        self._idle_limit_s = idle_limit_s
        self._used_at = 0.0
        self._family = _family(host)
        self._socket: socket.socket | None = None
        self._is_flowing = False  # of an answer that is passed on, more is likely to be there already
        self._watch: tuple[int, Callable[[float], list[tuple[int, int]]]] | None = None  # on the socket and this one
        self._timed = 0.0  # after how many seconds a receive on the open socket returns at the latest; 0: never
        self.while_idle: Callable[[], None] | None = None
        """Called every ``WATCHFUL_S`` while an exchange without a deadline waits."""
        self._is_sound = True  # of the current exchange, the whole request was sent, and nothing came before that

    def exchange(
        self, request: HttpRequest, *, deadline: float | None = None, max_body: int | None = None
    ) -> HttpResponse:
        """``exchange_bytes`` for a request value."""
        return self.exchange_bytes(request.method, render_head(request), request.body, deadline, max_body)

    def exchange_bytes(
        self, method: str, head: bytes, body: bytes = b"", deadline: float | None = None, max_body: int | None = None
    ) -> HttpResponse:
        """Send a rendered request, return the answer to it.

        ``deadline`` is in epoch seconds, None is no limit. Raises ``ExchangeError``; ``ConnectRefused`` alone means
        that nothing was sent.
        """
        reader = self._begin(method, head, body, deadline, max_body)
        while reader.response is None:
            self._receive_more(reader, deadline)
        return reader.response

    def begin(self, request: HttpRequest, *, deadline: float | None = None) -> ResponseReader:
        """Send a request; return once the ``head`` of the answer has come. Raises as ``exchange``.

        The rest is the caller's to ``receive``. Nothing else may be sent until the answer is complete.
        """
        return self._begin(request.method, render_head(request), request.body, deadline, None)

    def receive(self, reader: ResponseReader, deadline: float | None, watched: int) -> None:
        """Receive more of an answer that was begun, as soon as there is more. Raises as ``exchange``.

        ``ClientGone`` is raised when the descriptor ``watched`` becomes readable while nothing comes.
        """
        try:
            while True:
                sock = self.lent()
                if not self._is_flowing:
                    self._await_data(sock, deadline, watched)
                try:
                    data = sock.recv(STREAM_SIZE if self._is_flowing else RECEIVE_SIZE, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    self._is_flowing = False
                    continue
                except OSError as error:
                    raise ConnectionLost(f"{self} reset the connection: {error}") from error
                self._is_flowing = len(data) >= FLOWING
                self._feed(reader, data)
                return
        except BaseException:
            self.close()
            raise

    def lend(self) -> socket.socket:
        """The open socket, for an exchange that is not one request and one answer. Raises ``ConnectRefused``."""
        self.connect()
        return self.lent()

    def lent(self) -> socket.socket:
        """The socket of an exchange that has begun. Raises ``ConnectionLost`` when it is closed."""
        if self._socket is None:
            raise ConnectionLost(f"the connection to {self} was closed")
        return self._socket

    def _begin(
        self, method: str, head: bytes, body: bytes, deadline: float | None, max_body: int | None
    ) -> ResponseReader:
        reused = self._is_usable()
        reader = ResponseReader(method, max_body)
        try:
            self._attempt(reader, head, body, deadline)
            return reader
        except ConnectionLost:
            if not reused or reader.started or method not in IDEMPOTENT:
                raise
        reader = ResponseReader(method, max_body)
        try:
            self._attempt(reader, head, body, deadline)
        except ConnectRefused as refused:
            raise ConnectionLost("the connection was lost, and then refused") from refused
        return reader

    def connect(self, deadline: float | None = None) -> None:
        """Open the connection if it is not. Raises ``ConnectRefused`` or ``ExchangeTimeout``."""
        if not self._is_usable():
            self._open(deadline)

    def park(self, head: bytes) -> None:
        """Send a request and leave its answer unread, for as long as this object lives."""
        (self._socket or self._open(None)).sendall(head)

    def close(self) -> None:
        """Drop the connection; the next exchange opens another one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = self._watch = None

    def _is_usable(self) -> bool:
        """Whether an open connection is there that the peer has not closed, as far as can be known now."""
        if self._socket is None:
            return False
        if abs(time.time() - self._used_at) >= self._idle_limit_s:
            self.close()
            return False
        if not self._poll(self._socket, -1)(0):  # half the time of a MSG_PEEK that fails
            return True
        # The end of the stream, or bytes that nobody asked for: they must not become the next answer.
        self.close()
        return False

    def _attempt(self, reader: ResponseReader, head: bytes, body: bytes, deadline: float | None) -> None:
        """Send, and receive at least the head of the answer."""
        try:
            sock = self._socket or self._open(deadline)
            if deadline is not None:
                _remaining(deadline)
                self._limit_waits(sock, PATIENCE_S)
            elif self.while_idle:
                self._limit_waits(sock, WATCHFUL_S)
            self._is_sound = self._send(sock, reader, head, body, deadline)
            while not (reader.response or reader.has_head):
                self._receive(sock, reader, deadline)
        except BaseException:  # a signal handler's exit included: half an exchange must not be taken up again
            self.close()
            raise

    def _receive_more(self, reader: ResponseReader, deadline: float | None) -> None:
        try:
            self._receive(self.lent(), reader, deadline)
        except BaseException:
            self.close()
            raise

    def _open(self, deadline: float | None) -> socket.socket:
        sock = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            if self._family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._timed = 0.0
            if deadline is not None:  # connect obeys this one
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(_remaining(deadline)))
            sock.connect(self._address)
        except BlockingIOError:
            sock.close()
            raise ExchangeTimeout(f"{self} did not accept a connection in time") from None
        except OSError as error:
            sock.close()
            raise ConnectRefused(f"{self} refused the connection: {error}") from error
        self._socket = sock
        self._used_at = time.time()
        return sock

    def _limit_waits(self, sock: socket.socket, limit_s: float) -> None:
        """Let no receive on ``sock`` block for much longer than ``limit_s``."""
        if self._timed != limit_s:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(limit_s))
            self._timed = limit_s

    def _send(
        self, sock: socket.socket, reader: ResponseReader, head: bytes, body: bytes, deadline: float | None
    ) -> bool:
        """Send all. Returns whether the peer took it; the answer may be complete already when it did not."""
        try:
            if len(head) + len(body) < JOIN_LIMIT:
                sock.sendall(head + body if body else head)
                return True
            return self._send_large(sock, reader, memoryview(head), deadline) and self._send_large(
                sock, reader, memoryview(body), deadline
            )
        except BlockingIOError:
            raise ExchangeTimeout(f"{self} did not take the request in time") from None
        except OSError:  # closed or reset by a peer that may have answered first: what it said is read next
            return False

    def _send_large(
        self, sock: socket.socket, reader: ResponseReader, rest: memoryview, deadline: float | None
    ) -> bool:
        """Send while receiving. An answer that is complete before all was sent (413 and the like) ends the sending.

        One that has merely begun does not: apps that stream an upload back answer while they read, and would block for
        ever on a client that does not.
        """
        watch = select.poll()
        watch.register(sock.fileno(), select.POLLIN | select.POLLOUT)
        while rest:
            ready = watch.poll(None if deadline is None else _remaining(deadline) * 1000)
            if not ready:
                raise BlockingIOError
            if ready[0][1] & ~select.POLLOUT:
                self._is_sound = False
                self._feed(reader, sock.recv(RECEIVE_SIZE))
                if reader.response:
                    return False
            else:
                rest = rest[sock.send(rest, socket.MSG_DONTWAIT) :]
        return True

    def _receive(self, sock: socket.socket, reader: ResponseReader, deadline: float | None) -> None:
        """Wait for some of the answer."""
        try:
            whole = int(socket.MSG_WAITALL)
            if deadline is not None and deadline - time.time() < 2 * PATIENCE_S:
                self._await_data(sock, deadline)
                whole = 0
            missing = reader.missing
            data = sock.recv(min(missing, CHUNK), whole) if missing else sock.recv(RECEIVE_SIZE)
        except BlockingIOError:  # PATIENCE_S are over, or WATCHFUL_S
            if self.while_idle:
                self.while_idle()
            return
        except OSError as error:
            raise ConnectionLost(f"{self} reset the connection: {error}") from error
        self._feed(reader, data)

    def _feed(self, reader: ResponseReader, data: bytes) -> None:
        """Hand the bytes to the reader, and see what becomes of the connection when the answer is complete."""
        if data:
            reader.feed(data)
        else:
            reader.feed_eof()
        if reader.response:
            self._used_at = time.time()
            if not (self._is_sound and reader.keep_alive):
                self.close()

    def _await_data(self, sock: socket.socket, deadline: float | None, watched: int = -1) -> None:
        ready = self._poll(sock, watched)(-1 if deadline is None else _remaining(deadline) * 1000)
        if not ready:
            raise ExchangeTimeout(f"{self} did not answer in time")
        if all(descriptor == watched for descriptor, _ in ready):
            raise ClientGone

    def _poll(self, sock: socket.socket, watched: int) -> Callable[[float], list[tuple[int, int]]]:
        """``poll`` on the open socket, and on ``watched`` unless it is -1. Kept, since mostly the same is asked for."""
        if self._watch is None or self._watch[0] != watched:
            watch = select.poll()
            watch.register(sock.fileno(), select.POLLIN)
            if watched >= 0:
                watch.register(watched, select.POLLIN)
            self._watch = (watched, watch.poll)
        return self._watch[1]

    def __str__(self) -> str:
        return self._address if isinstance(self._address, str) else f"{self._address[0]}:{self._address[1]}"


def _family(host: str) -> int:
    if host.startswith("/"):
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def address_of(text: str) -> tuple[str, int]:
    """``host:port`` taken apart, as AWS_LAMBDA_RUNTIME_API has it. Raises ``ProtocolError``."""
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit()):
        raise ProtocolError(f"{text!r} is not host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _remaining(deadline: float) -> float:
    """Seconds until ``deadline``; raises ``ExchangeTimeout`` when it has passed, since 0 would mean no limit at all."""
    remaining = deadline - time.time()
    if remaining < 0.001:
        raise ExchangeTimeout("the deadline has passed")
    return min(remaining, LONGEST_WAIT_S)


def _timeval(seconds: float) -> bytes:
    """``struct timeval`` of 64-bit Linux; ``struct`` would be one more import."""
    microseconds = int(seconds * 1_000_000)
    return (microseconds // 1_000_000).to_bytes(8, "little") + (microseconds % 1_000_000).to_bytes(8, "little")
