"""The app behind ``tests/apps/puppet.py``: reads requests with h11 as strictly as it can, answers with given bytes.

One thread serves all connections, so that "nothing more is coming" is a state that can be waited for: what the runtime
sent before it answered the invocation is in these sockets' buffers by then.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import struct
import threading
import time
from pathlib import Path
from typing import NamedTuple, Self

import h11

from tests.fakes import is_running

from .examples import AppAnswer, End

RECEIVE_SIZE = 1 << 20
WAIT_SECONDS = 30.0
READINESS = b"fairlead-readiness-check"
OK = AppAnswer((b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",), "keep")
# Nobody knows what to answer: the request came when none was due.
UNDUE = AppAnswer((b"HTTP/1.1 500 Undue\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",), "close")
# h11 takes these two for white space and refuses them inside of a value; that the runtime passes on a client's control
# characters, except CR, LF and NUL, is a decision of its own (tests/data/events: header-value-keeps-inner-tab-...).
CONTROLS_H11_REFUSES = bytes.maketrans(b"\x0b\x0c", b"\x01\x01")


class AppRequest(NamedTuple):
    """A request as the app got it."""

    raw_head: bytes  # with the empty line
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    is_complete: bool
    is_first: bool  # on its connection


class AppSide:
    """Takes the connections of one puppet after the other. ``with`` it."""

    def __init__(self, control: Path) -> None:
        self.control = control
        self.requests: list[AppRequest] = []
        self.problems: list[str] = []
        self.starts = 0
        self._answers: dict[bytes, AppAnswer] = {}
        self._default = UNDUE
        self._lock = threading.Lock()
        self._quiet = threading.Event()
        self._is_over = False
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(control))
        self._listener.listen(8)
        self._wake, self._waker = socket.socketpair()
        self._selector.register(self._listener, selectors.EVENT_READ, self._take_puppet)
        self._selector.register(self._wake, selectors.EVENT_READ, lambda: self._wake.recv(4096))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._waker.send(b".")
        self._thread.join(WAIT_SECONDS)
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()
        self._waker.close()

    def expect(self, answer: AppAnswer) -> None:
        """From now on every request gets ``answer``, except those that ``answer_to`` names."""
        with self._lock:
            self._default = answer

    def answer_to(self, body: bytes, answer: AppAnswer) -> None:
        """A request with exactly this body gets ``answer``; the only one of this kind."""
        with self._lock:
            self._answers = {body: answer}

    def take(self) -> tuple[list[AppRequest], list[str]]:
        """What came since the last time, and what was wrong with it, once all that was sent has been read."""
        self._quiet.clear()
        self._waker.send(b".")
        if not self._quiet.wait(WAIT_SECONDS):
            raise AssertionError(f"the app's side did not come to rest within {WAIT_SECONDS} s")
        with self._lock:
            taken = self.requests, self.problems
            self.requests, self.problems = [], []
        return taken

    def _run(self) -> None:
        while not self._is_over:
            if not self._quiet.is_set() and not self._selector.select(0):
                self._quiet.set()
            for key, _ in self._selector.select():
                if key.fileobj in self._selector.get_map():  # one that died may have taken others with it
                    key.data()

    def _take_puppet(self) -> None:
        control, _ = self._listener.accept()
        self.starts += 1
        credentials = control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        puppet = _Puppet(self, struct.unpack("3i", credentials)[0])
        self._selector.register(control, selectors.EVENT_READ, lambda: self._take_connection(control, puppet))

    def _take_connection(self, control: socket.socket, puppet: _Puppet) -> None:
        _, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not descriptors:
            self.forget(control)
            return
        sock = socket.socket(fileno=descriptors[0])
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(WAIT_SECONDS)  # a runtime that does not read must not stop the tests
        connection = _Connection(self, puppet, sock)
        puppet.connections.append(connection)
        self._selector.register(sock, selectors.EVENT_READ, connection.receive)

    def forget(self, sock: socket.socket) -> None:
        """Close a socket and look at it no more."""
        self._selector.unregister(sock)
        sock.close()

    def choose(self, request: AppRequest) -> AppAnswer:
        """What this request is answered with."""
        if _is_readiness_check(request):
            return OK
        with self._lock:
            return self._answers.get(request.body, self._default) if request.is_complete else self._default

    def record(self, request: AppRequest) -> None:
        """Remember a request, unless it is one of the runtime's own."""
        if not _is_readiness_check(request):
            with self._lock:
                self.requests.append(request)

    def problem(self, text: str) -> None:
        """Remember that something was wrong."""
        with self._lock:
            self.problems.append(text)

    def wants_early(self) -> bool:
        """Whether the coming request is to be answered before its body is there."""
        with self._lock:
            return self._default.is_early


class _Puppet:
    """One process that hands its connections over."""

    def __init__(self, side: AppSide, pid: int) -> None:
        self._side = side
        self._pid = pid
        self.connections: list[_Connection] = []

    def die(self) -> None:
        """As a process dies: the sockets are closed, and nobody listens any more once this returns."""
        try:
            os.kill(self._pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        limit = time.monotonic() + WAIT_SECONDS
        while is_running(self._pid) and time.monotonic() < limit:
            time.sleep(0.0005)
        for connection in list(self.connections):
            connection.close()


class _Connection:
    """One connection of the runtime."""

    def __init__(self, side: AppSide, puppet: _Puppet, sock: socket.socket) -> None:
        self._side = side
        self._puppet = puppet
        self._sock = sock
        self._is_first = True
        self._is_open = True
        self._start_over()

    def _start_over(self) -> None:
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 26)
        self._head = b""
        self._request: h11.Request | None = None
        self._body: list[bytes] = []
        self._is_answered = False

    def receive(self) -> None:
        """Take what has come, and answer a request that it completes."""
        try:
            data = self._sock.recv(RECEIVE_SIZE)
        except OSError:
            data = b""
        if data:
            try:
                self._feed(data)
            except h11.RemoteProtocolError as error:
                self._side.problem(f"not a well-formed request: {error}: {self._head[:2000]!r}")
                self.close()
        else:
            self.close()

    def _feed(self, data: bytes) -> None:
        if self._request is None:
            self._head += data
            head, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            self._head = head + found
            self._parser.receive_data(self._head.translate(CONTROLS_H11_REFUSES))
            event = self._parser.next_event()
            assert isinstance(event, h11.Request), event
            self._request = event
        if data:
            self._parser.receive_data(data)
        is_complete = self._read_body()
        if not is_complete and not self._side.wants_early():
            return
        request = self._as_request(is_complete)
        answer = None if self._is_answered else self._side.choose(request)
        self._is_answered = True
        if is_complete:
            self._side.record(request)
            self._is_first = False
            if rest := self._parser.trailing_data[0]:
                self._side.problem(f"bytes after the end of a request: {rest[:2000]!r}")
            self._start_over()
        if answer:
            self._perform(answer)

    def _read_body(self) -> bool:
        while True:
            event = self._parser.next_event()
            if isinstance(event, h11.Data):
                self._body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                return True
            elif event is h11.NEED_DATA:
                return False
            else:
                raise AssertionError(f"h11 gave {event!r} in a request")

    def _as_request(self, is_complete: bool) -> AppRequest:
        request = self._request
        return AppRequest(
            self._head,
            request.method.decode() if request else "",
            request.target.decode() if request else "",
            [(name.decode(), value.decode("latin-1")) for name, value in request.headers] if request else [],
            b"".join(self._body),
            is_complete,
            self._is_first,
        )

    def _perform(self, answer: AppAnswer) -> None:
        try:
            for piece in answer.pieces:
                self._sock.sendall(piece)
        except OSError:
            pass  # the runtime has refused the answer before its end
        self._finish(answer.end)

    def _finish(self, end: End) -> None:
        if end == "die":
            self._puppet.die()
        elif end != "keep":
            if end == "reset":
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close()

    def close(self) -> None:
        """Close it, if it is not."""
        if self._is_open:
            self._is_open = False
            if self._head:  # the beginning of a request
                self._side.record(self._as_request(is_complete=False))
            self._puppet.connections.remove(self)
            self._side.forget(self._sock)


def _is_readiness_check(request: AppRequest) -> bool:
    fields = dict(request.headers)
    return fields.get("user-agent") == READINESS.decode() and "x-amzn-lambda-context" not in fields
