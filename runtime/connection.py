"""One keep-alive connection to one address: it sends a request and returns the complete answer.

The only module that touches network sockets, and the only one where an ``OSError`` of theirs becomes an
``ExchangeError``. The bytes are http1's business. ``Connection._exchange`` is the way of every exchange, from top to
bottom: the usual one (socket open, request small, answer there with the first receive) makes seven Python calls.

Three rules:

1. **One send and one receive** for a message that is small, which most are: each further system call costs microseconds
   and a wake-up of the peer.
2. **Nothing is sent on a connection that is known to be dead**, or likely to be: before each request ``poll`` tells
   whether the peer has closed it, and one that was idle for long is not tried. The peer may still close it right
   after the ``poll``, so a request with an idempotent method (RFC 9110 9.2.2) is sent once more when its reused
   connection died without a byte of an answer. A POST never is: it may have been processed. Late bytes may come right
   after the ``poll`` as well: a peer that was once seen to send bytes which belong to no answer gets a connection for
   each request from then on.
3. **The socket stays blocking**, while there is one invocation at a time. ``settimeout`` would make it non-blocking
   inside: one more system call for each of ours, and MSG_WAITALL would return early. With a deadline it has a fixed
   SO_RCVTIMEO, after which the clock is looked at, and the last second is waited for in ``poll``. SO_RCVTIMEO alone
   is not exact: the kernel's timer wheel rounds it up by as much as an eighth, which is seconds. What is small never
   blocks in a send, since each exchange begins with empty buffers; what is larger is sent while looking at the clock.
   Where several invocations are served at once, each wait suspends instead (waiting.py).
"""

from __future__ import annotations

import errno
import posix
import select
import time

from .errors import ClientGone, ConnectionLost, ConnectRefused, ExchangeTimeout, ProtocolError
from .http1 import ResponseReader, render_head
from .messages import HttpRequest, HttpResponse
from .standard import socket
from .waiting import LONGEST_WAIT_S, NEVER, Blocking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from .waiting import Interests, Waiting

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
# One segment is worth a copy: below this a body is joined to its head.
JOIN_LIMIT = 16 * 1024
RECEIVE_SIZE = 64 * 1024
# For an answer that is passed on while more of it is there already: fewer calls on both sides. The allocator keeps a
# block of this size (docs/decisions/0008), so it costs no page faults.
STREAM_SIZE = 512 * 1024
# After so much in one go more is likely to be there; after less, waiting at once is cheaper than a receive that fails.
FLOWING = 16 * 1024
# At most so much of a body of known length is waited for by one receive call: the clock is read in between.
CHUNK = 1024 * 1024
# How long a receive blocks before the clock is looked at again.
PATIENCE_S = 0.5
# How long it blocks where a signal handler in Python is waiting to be called. A signal that comes between the last
# bytecode and the receive call does not interrupt that call, and would be noticed only when it returns.
WATCHFUL_S = 0.05
# A deadline that is closer than this has passed. A socket with a limit of 0 microseconds has none.
SHORTEST_WAIT_S = 0.001
# With less time left than this, ``poll`` waits for the answer: it is exact.
EXACT_WAIT_S = 2 * PATIENCE_S
# A Unix socket whose backlog is full says so at once, where TCP waits.
BACKLOG_PAUSE_S = 0.001


class Connection:
    """A connection to ``host`` and ``port``, or to the Unix socket that ``host`` is the absolute path of.

    Opened when first used, and again when it was lost or idle for ``idle_limit_s``. ``waiting`` is how it waits.
    ``is_repeating``: an idempotent request is sent once more by rule 2; else that is left to the caller.
    """

    def __init__(
        self,
        host: str,
        port: int,
        idle_limit_s: float = NEVER,
        waiting: Waiting | None = None,
        is_repeating: bool = True,
    ) -> None:
        self._address: tuple[str, int] | str = host if host.startswith("/") else (host, port)
        self._idle_limit_s = idle_limit_s
        self._is_repeating = is_repeating
        self._used_at = 0.0
        self._family = _family(host)
        self._socket: socket.socket | None = None
        self._waiting: Waiting = waiting or Blocking()
        self._blocks = not self._waiting.suspends
        self._readable: Interests = ()  # what is mostly waited for, as ``Waiting`` wants it
        self._either: Interests = ()
        self._look: Callable[[float], object]  # with 0: whether it is readable; exists when the socket does
        self._is_flowing = False  # of an answer that is passed on, more is likely to be there already
        self._timed = 0.0  # after how many seconds a receive on the open socket returns at the latest; 0: never
        self.has_ended_answer = False
        """The last answer ended with its connection: nothing else told where it ends."""
        self.while_idle: Callable[[], None] | None = None
        """Called every ``WATCHFUL_S`` while an exchange without a deadline waits, where waiting blocks."""
        self._is_idle = False
        self._keeps = True  # the peer has never sent bytes that belong to no answer
        self.on_surplus: Callable[[], None] | None = None
        """Called once, when the peer has sent such bytes for the first time."""
        self._is_sound = True  # of the current exchange, the whole request was sent, and nothing came before that

    def exchange(
        self, request: HttpRequest, deadline: float | None = None, max_body: int | None = None
    ) -> Coroutine[Any, Any, HttpResponse]:
        """``exchange_bytes`` for a request value. Raises ``ProtocolError`` at once when that cannot be rendered."""
        return self._exchange(ResponseReader(request.method, max_body), render_head(request), request.body, deadline)

    def exchange_bytes(
        self, method: str, head: bytes, body: bytes = b"", deadline: float | None = None, max_body: int | None = None
    ) -> Coroutine[Any, Any, HttpResponse]:
        """Send a rendered request, return the answer to it.

        ``deadline`` is in epoch seconds, None is no limit. Raises ``ExchangeError``; ``ConnectRefused`` alone means
        that nothing was sent.
        """
        return self._exchange(ResponseReader(method, max_body), head, body, deadline)

    async def begin(
        self, request: HttpRequest, deadline: float | None = None, max_body: int | None = None
    ) -> ResponseReader:
        """Send a request; return once the ``head`` of the answer has come. Raises as ``exchange``.

        The rest is the caller's to ``receive``. Nothing else may be sent until the answer is complete.
        """
        reader = ResponseReader(request.method, max_body)
        await self._exchange(reader, render_head(request), request.body, deadline, is_head_enough=True)
        return reader

    async def receive(self, reader: ResponseReader, deadline: float | None, watched: int) -> None:
        """Receive more of an answer that was begun, as soon as there is more. Raises as ``exchange``.

        ``ClientGone`` is raised when the descriptor ``watched`` becomes readable while nothing comes.
        """
        try:
            while True:
                sock = self.lent()
                if not (self._is_flowing and self._blocks):  # where others wait, they have their turn
                    await self._await_data(self._readable_with(watched), deadline)
                try:
                    data = sock.recv(STREAM_SIZE if self._is_flowing else RECEIVE_SIZE, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    self._is_flowing = False
                    continue
                except OSError as error:
                    raise ConnectionLost(f"{self} reset the connection: {error}") from error
                self._is_flowing = len(data) >= FLOWING
                self._feed(reader, data, time.time())
                return
        except BaseException:
            self.close()
            raise

    async def send(self, request: HttpRequest) -> ResponseReader:
        """Send a request without a body, and do not wait: the answer is the caller's to ``receive``.

        Raises ``ConnectRefused``. That the app did not take the request is seen with the answer.
        """
        sock = self._socket or await self._open(None)
        try:
            sock.sendall(render_head(request))
            self._is_sound = True
        except OSError as error:
            self._is_sound = self._not_taken(error)
        return ResponseReader(request.method)

    @property
    def is_open(self) -> bool:
        """Whether there is a socket. The peer may have closed its end."""
        return self._socket is not None

    async def let_close(self, seconds: float, more_s: float) -> None:
        """Give the peer ``seconds`` after its answer to close the connection, then ``more_s`` to close its listener."""
        at = self._used_at
        if self._socket is not None:
            if time.time() >= at + seconds or not await self._waiting.ready(self._readable, at + seconds):
                return
            at = time.time()
        rest = at + more_s - time.time()
        if rest > 0:
            await self._waiting.sleep(min(rest, more_s))

    async def lend(self) -> socket.socket:
        """The open socket, for an exchange that is not one request and one answer. Raises ``ConnectRefused``."""
        await self.connect()
        return self.lent()

    def lent(self) -> socket.socket:
        """The socket of an exchange that has begun. Raises ``ConnectionLost`` when it is closed."""
        if self._socket is None:
            raise ConnectionLost(f"the connection to {self} was closed")
        return self._socket

    async def connect(self, deadline: float | None = None) -> None:
        """Open the connection if it is not. Raises ``ConnectRefused`` or ``ExchangeTimeout``."""
        if not self._is_usable(time.time()):
            await self._open(deadline)

    async def park(self, head: bytes) -> None:
        """Send a request and leave its answer unread, for as long as this object lives."""
        (self._socket or await self._open(None)).sendall(head)

    def hang_up(self) -> None:
        """Tell the peer that no more requests come, if none is under way. For another thread, at the process's end."""
        if self._is_idle and self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:  # the peer was first
                pass

    def close(self) -> None:
        """Drop the connection; the next exchange opens another one."""
        if self._socket is not None:
            self._waiting.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None

    async def wait(self, events: int, deadline: float | None = None) -> int:
        """Wait for one of ``events`` (of ``select.poll``) on the open socket. Returns the true ones; 0 at the deadline.

        Raises ``ConnectionLost`` when it is closed, and ``ExchangeTimeout`` when the deadline is over already.
        """
        if deadline is not None:
            _remaining(deadline)
        ready = await self._waiting.ready(((self.lent().fileno(), events),), deadline)
        return ready[0][1] if ready else 0

    def _is_usable(self, now: float) -> bool:
        """Whether an open connection is there that the peer has not closed, as far as can be known now."""
        self._is_idle = False
        if self._socket is None:
            return False
        if not self._look(0) and abs(now - self._used_at) < self._idle_limit_s:
            return True
        # Idle for long; the end of the stream; or bytes that nobody asked for: they must not become the next answer.
        try:
            has_surplus = self._socket.recv(1, socket.MSG_DONTWAIT) != b""
        except OSError:  # nothing; or reset
            has_surplus = False
        self.close()
        if has_surplus:
            self._distrust()
        return False

    def _distrust(self) -> None:
        if self._keeps and self.on_surplus:
            self.on_surplus()
        self._keeps = False

    async def _exchange(
        self, reader: ResponseReader, head: bytes, body: bytes, deadline: float | None, is_head_enough: bool = False
    ) -> HttpResponse:
        """Send, and receive the answer, or its head; once more when that is allowed."""
        now = time.time()
        may_repeat, was_lost = self._is_usable(now) and reader.method in IDEMPOTENT and self._is_repeating, False
        while True:
            try:
                sock = self._socket
                if sock is None:
                    sock, now = await self._open(deadline), self._used_at
                limit_s = PATIENCE_S if deadline is not None else WATCHFUL_S if self.while_idle else self._timed
                if self._timed != limit_s and self._blocks:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(limit_s))
                    self._timed = limit_s
                if deadline is not None and deadline - now < SHORTEST_WAIT_S:
                    raise ExchangeTimeout("the deadline has passed")
                if len(head) + len(body) < JOIN_LIMIT:
                    try:
                        sock.sendall(head + body if body else head)
                        self._is_sound = True
                    except OSError as error:
                        self._is_sound = self._not_taken(error)
                else:
                    self._is_sound = await self._send_large(sock, reader, head, body, deadline)
                    now = time.time()
                while reader.response is None and not (is_head_enough and reader.has_head):
                    size, flags = RECEIVE_SIZE, 0
                    if reader.missing:
                        size, flags = min(reader.missing, CHUNK), int(socket.MSG_WAITALL)
                    if not self._blocks or (deadline is not None and deadline - now < EXACT_WAIT_S):
                        await self._await_data(self._readable, deadline)
                        flags = int(socket.MSG_DONTWAIT)
                    try:
                        data = sock.recv(size, flags)
                    except BlockingIOError:  # PATIENCE_S are over, or WATCHFUL_S
                        now = time.time()
                        if self.while_idle:
                            self.while_idle()
                        continue
                    except OSError as error:
                        raise ConnectionLost(f"{self} reset the connection: {error}") from error
                    now = time.time()
                    self._feed(reader, data, now)
                return reader.response or reader.head
            except BaseException as error:  # a signal handler's exit included: half an exchange is never taken up again
                self.close()
                if was_lost and isinstance(error, ConnectRefused):
                    raise ConnectionLost("the connection was lost, and then refused") from error
                if isinstance(error, ConnectionLost):
                    error.is_unanswered = not reader.started
                if not (may_repeat and isinstance(error, ConnectionLost)) or reader.started:
                    raise
                may_repeat, was_lost = False, True

    async def _open(self, deadline: float | None) -> socket.socket:
        self.has_ended_answer = False
        sock = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            if self._family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._connect(sock, deadline)
        except (OSError, ExchangeTimeout) as error:
            self._waiting.forget(sock.fileno())
            sock.close()
            if isinstance(error, BlockingIOError | ExchangeTimeout):
                raise ExchangeTimeout(f"{self} did not accept a connection in time") from None
            raise ConnectRefused(f"{self} refused the connection: {error}") from error
        self._socket = sock
        self._readable, self._either = ((sock.fileno(), select.POLLIN),), ()
        self._look = self._waiting.looking(sock.fileno())
        self._timed = 0.0
        self._used_at = time.time()
        return sock

    async def _connect(self, sock: socket.socket, deadline: float | None) -> None:
        """Raises ``OSError``, which is a ``BlockingIOError`` at the deadline, and ``ExchangeTimeout``."""
        if self._blocks:
            if deadline is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(_remaining(deadline)))
            sock.connect(self._address)
            return
        sock.setblocking(False)
        while error := sock.connect_ex(self._address):
            if deadline is not None:
                _remaining(deadline)
            if error in (errno.EINPROGRESS, errno.EALREADY):
                await self._waiting.ready(((sock.fileno(), select.POLLOUT),), deadline)
            elif error == errno.EAGAIN:
                await self._waiting.sleep(BACKLOG_PAUSE_S)
            else:
                raise OSError(error, posix.strerror(error))
        sock.setblocking(True)  # what is small is sent in one go, and never waits

    def _not_taken(self, error: OSError) -> bool:
        """False, since the peer has closed its end; it may have answered before. Raises ``ExchangeTimeout``."""
        if isinstance(error, BlockingIOError):
            raise ExchangeTimeout(f"{self} did not take the request in time") from None
        return False

    async def _send_large(
        self, sock: socket.socket, reader: ResponseReader, head: bytes, body: bytes, deadline: float | None
    ) -> bool:
        """Send while receiving. Returns whether all was sent; the answer may be complete already when it was not.

        An answer that is complete before all was sent (413 and the like) ends the sending. One that has merely begun
        does not: apps that stream an upload back answer while they read, and would block for ever on a client that
        does not.
        """
        try:
            for part in (head, body):
                rest = memoryview(part)
                while rest:
                    ready = await self.wait(select.POLLIN | select.POLLOUT, deadline)
                    if not ready:
                        raise ExchangeTimeout(f"{self} did not take the request in time")
                    try:
                        if not ready & ~select.POLLOUT:
                            rest = rest[sock.send(rest, socket.MSG_DONTWAIT) :]
                            continue
                        data = sock.recv(RECEIVE_SIZE, socket.MSG_DONTWAIT)
                    except BlockingIOError:
                        continue
                    self._is_sound = False
                    self._feed(reader, data, time.time())
                    if reader.response:
                        return False
        except OSError:  # closed or reset by a peer that may have answered first: what it said is read next
            return False
        return True

    def _feed(self, reader: ResponseReader, data: bytes, now: float) -> None:
        """Hand the bytes to the reader, and see what becomes of the connection when the answer is complete."""
        if data:
            reader.feed(data)
        else:
            reader.feed_eof()
            self.has_ended_answer = True
        if reader.response:
            self._used_at = now
            self._is_idle = True
            if not (self._is_sound and self._keeps and reader.keep_alive):
                self.close()
                if reader.has_surplus:
                    self._distrust()

    async def _await_data(self, interests: Interests, deadline: float | None) -> None:
        """Wait. Raises ``ExchangeTimeout``, and ``ClientGone`` when only the watched descriptor is readable."""
        if deadline is not None:
            _remaining(deadline)  # however much there is to read already
        ready = await self._waiting.ready(interests, deadline)
        if not ready:
            raise ExchangeTimeout(f"{self} did not answer in time")
        if len(ready) == 1 and ready[0][0] != interests[0][0]:
            raise ClientGone

    def _readable_with(self, watched: int) -> Interests:
        """Interests in our socket and in the descriptor ``watched`` (-1: none). Kept for the next call."""
        if watched < 0:
            return self._readable
        if self._either[1:] != ((watched, select.POLLIN),):
            self._either = (*self._readable, (watched, select.POLLIN))
        return self._either

    def __str__(self) -> str:
        return self._address if isinstance(self._address, str) else f"{self._address[0]}:{self._address[1]}"


def keep_freed_memory() -> None:
    """Have glibc keep the blocks that large bodies were in, instead of mapping new pages for each invocation.

    It maps blocks above a threshold afresh, and raises that for good once such a block is freed, up to 32 MiB: so this
    frees the largest one that counts, never touched (docs/decisions/0008). Other C libraries do not mind.
    """
    bytes((32 << 20) - 65_536)


def _family(host: str) -> int:
    if host.startswith("/"):
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def address_of(text: str) -> tuple[str, int]:
    """Host and port of ``host:port``, the form of AWS_LAMBDA_RUNTIME_API. Raises ``ProtocolError``."""
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit()):
        raise ProtocolError(f"{text!r} is not host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _remaining(deadline: float) -> float:
    """Seconds until ``deadline``. Raises ``ExchangeTimeout`` when it has passed."""
    remaining = deadline - time.time()
    if remaining < SHORTEST_WAIT_S:
        raise ExchangeTimeout("the deadline has passed")
    return min(remaining, LONGEST_WAIT_S)


def _timeval(seconds: float) -> bytes:
    """``struct timeval`` of 64-bit Linux; ``struct`` would be one more import."""
    microseconds = int(seconds * 1_000_000)
    return (microseconds // 1_000_000).to_bytes(8, "little") + (microseconds % 1_000_000).to_bytes(8, "little")
