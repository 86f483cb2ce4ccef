"""The gateway: an HTTP server on this machine that stands where a Function URL stands in AWS.

A browser's request becomes an event, the function's answer becomes the response. h11 reads the request, because it
hands over the target and the header values as they were sent; a framework would have decoded them already.
"""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from email.utils import formatdate
from types import TracebackType
from typing import NamedTuple, Self

import h11

from runtime.invocation import PAYLOAD_LIMIT
from runtime.messages import HttpRequest, HttpResponse, header

from .failures import LocalFailure
from .function_url import Answer, Front, encoded, from_reply, plain, to_event
from .ports import LOOPBACK
from .sandbox import Reply

IDLE_S = 60.0
RECEIVE_BYTES = 65536
UNREAD = HttpRequest("-", "-", ())  # what came in place of a request


class Served(NamedTuple):
    """One request that was answered; what the terminal shows a line for."""

    method: str
    target: str
    status: int
    body_bytes: int
    duration_ms: float
    is_cold: bool
    problem: tuple[str, ...]


class TooLarge(Exception):
    """The body of ``request`` (which is without it) is larger than an event can carry."""

    def __init__(self, request: HttpRequest, size: int) -> None:
        super().__init__(f"the request's body has {size:,} bytes or more; an event has {PAYLOAD_LIMIT:,} at most")
        self.request = request


class Gateway:
    """``with Gateway(sandbox.invoke, port=3000, on_served=show): ...`` serves on the loopback until the block ends.

    Each connection has a thread of its own; the queueing is ``invoke``'s. Raises ``OSError`` when the port is taken.
    """

    def __init__(
        self,
        invoke: Callable[[bytes], Reply],
        port: int = 0,
        on_served: Callable[[Served], object] = repr,
    ) -> None:
        self._invoke = invoke
        self._on_served = on_served
        self._listener = socket.create_server((LOOPBACK, port), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        # What the browser really speaks: an app that builds absolute links from it leads back here.
        self._front = Front(scheme="http", port=self.port)
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._acceptor = threading.Thread(target=self._accept, daemon=True)

    @property
    def address(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # shutdown, not close alone: close does not wake the thread that sits in accept or recv
        with self._lock:
            for open_socket in (self._listener, *self._connections):
                _shut_down(open_socket)
        self._acceptor.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, address = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection, address[0]), daemon=True).start()

    def _serve(self, connection: socket.socket, client_ip: str) -> None:
        try:
            with connection:
                connection.settimeout(IDLE_S)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._serve_requests(connection, client_ip)
        except OSError:
            pass  # the browser went away, which is its right
        finally:
            with self._lock:
                self._connections.discard(connection)

    def _serve_requests(self, connection: socket.socket, client_ip: str) -> None:
        http = h11.Connection(h11.SERVER)
        while http.states[h11.SERVER] is not h11.MUST_CLOSE:
            try:
                request = read_request(http, lambda: connection.recv(RECEIVE_BYTES), connection.sendall)
            except h11.RemoteProtocolError as error:
                self._refuse(http, connection, UNREAD, plain(error.error_status_hint, str(error)))
                return
            except TooLarge as error:
                self._refuse(http, connection, error.request, plain(413, str(error)))
                return
            if request is None:
                return
            started = time.monotonic()
            answer, is_cold = self._answer(request, client_ip, _protocol(http))
            if request.method == "HEAD":  # content-length still says what GET would bring
                answer = answer._replace(response=answer.response._replace(body=b""))
            # Before it is sent: whoever has the answer can count on the line.
            self._report(request, answer, started, is_cold)
            connection.sendall(response_bytes(http, answer.response))
            if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                return
            http.start_next_cycle()

    def _answer(self, request: HttpRequest, client_ip: str, protocol: str) -> tuple[Answer, bool]:
        event = to_event(request, self._front, client_ip, time.time(), str(uuid.uuid4()), protocol)
        payload = encoded(event)
        if payload is None:
            return plain(413, f"the event would be larger than Lambda's limit of {PAYLOAD_LIMIT} bytes"), False
        try:
            reply = self._invoke(payload)
        except LocalFailure as failure:
            return plain(502, str(failure)), False
        return from_reply(reply.status, reply.body), reply.is_cold

    def _refuse(self, http: h11.Connection, connection: socket.socket, request: HttpRequest, answer: Answer) -> None:
        self._report(request, answer, time.monotonic(), False)
        connection.sendall(response_bytes(http, answer.response))
        # Closed at once, with data of the request unread, TCP would reset the connection and take the answer with it.
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(RECEIVE_BYTES):
            pass

    def _report(self, request: HttpRequest, answer: Answer, started: float, is_cold: bool) -> None:
        duration_ms = (time.monotonic() - started) * 1000
        self._on_served(
            Served(
                request.method,
                request.target,
                answer.response.status,
                len(answer.response.body),
                duration_ms,
                is_cold,
                answer.problem,
            )
        )


def _protocol(http: h11.Connection) -> str:
    return f"HTTP/{(http.their_http_version or b'1.1').decode()}"


def _shut_down(open_socket: socket.socket) -> None:
    try:
        open_socket.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the other side was first


def read_request(
    http: h11.Connection, receive: Callable[[], bytes], send: Callable[[bytes], object]
) -> HttpRequest | None:
    """The next request of the connection, its target and values as they were sent; None when there is no other.

    Raises ``h11.RemoteProtocolError`` for what is not HTTP, ``TooLarge`` for a body that no event can carry.
    """
    head = _next_event(http, receive, send)
    if not isinstance(head, h11.Request):
        return None
    # Header values are UTF-8 to AWS. h11 has the names in lower case, as a Function URL has them.
    headers = [(name.decode(), value.decode(errors="replace")) for name, value in head.headers]
    request = HttpRequest(head.method.decode(), head.target.decode(), headers)
    _check_size(request, int(header(headers, "content-length") or 0))  # before the 100 (Continue) that lets it come
    body = bytearray()
    while isinstance(event := _next_event(http, receive, send), h11.Data):
        body += event.data
        _check_size(request, len(body))
    return request._replace(body=bytes(body))


def _check_size(request: HttpRequest, size: int) -> None:
    if size > PAYLOAD_LIMIT:
        raise TooLarge(request, size)


def _next_event(http: h11.Connection, receive: Callable[[], bytes], send: Callable[[bytes], object]) -> object:
    while (event := http.next_event()) is h11.NEED_DATA:
        if http.they_are_waiting_for_100_continue:
            send(http.send(h11.InformationalResponse(status_code=100, headers=[], reason="Continue")) or b"")
        http.receive_data(receive())
    return event


def response_bytes(http: h11.Connection, response: HttpResponse) -> bytes:
    """``response`` as it goes over the wire, in answer to the request that ``http`` has read."""
    return b"".join(_response_parts(http, response))


def _response_parts(http: h11.Connection, response: HttpResponse) -> Iterator[bytes]:
    fields = [(name.encode(), value.encode()) for name, value in response.headers]
    if header(response.headers, "date") is None:
        fields.append((b"date", formatdate(usegmt=True).encode()))
    head = h11.Response(status_code=response.status, headers=fields, reason=response.reason.encode())
    yield http.send(head) or b""
    if response.body:
        yield http.send(h11.Data(data=response.body)) or b""
    yield http.send(h11.EndOfMessage()) or b""
