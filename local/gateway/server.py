"""The gateway: an HTTP server on this machine that stands where a Function URL, an API or a load balancer does in AWS.

A browser's request becomes an event, the function's answer becomes the response. h11 reads the request, because it
hands over the target, the names and the values as they were sent; a framework would have decoded them already.

Its one port speaks HTTP and HTTPS. To the app all is HTTPS, as it is on AWS: ``local.gateway.plain_http`` says how.
"""

from __future__ import annotations

import errno
import socket
import ssl
import struct
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from email.utils import formatdate
from types import TracebackType
from typing import NamedTuple, Self

import h11

from layer.failures import LayerError
from runtime.messages import HttpResponse, header, header_values

from .. import sources
from ..environments.pool import Outcome
from ..failures import LocalFailure
from ..hosts import Authority, Hosts, is_loopback, parse_authority
from ..ports import LOOPBACK, HeldPort, hold, hold_free, shut_down
from ..runtime_api.streamed_answer import AnswerCut, ClientGone
from ..sources.reply import BODILESS, from_reply, own_page
from ..sources.request import absolute_authority, origin_form
from ..sources.streamed import from_unstreamed
from ..sources.values import Answer, Arrival, ClientRequest, Front, Refused, Source
from . import certificate, websockets
from .plain_http import HTTPS_PORT, as_over_tls, as_without_tls
from .streamed_response import StreamedResponse, abandon, begin_response

IDLE_S = 60.0
RECEIVE_BYTES = 65536
HEAD_BYTES = 65536  # the largest request head of all front ends, a load balancer's
AS_ON_AWS = Front()
UNREAD = ClientRequest("-", "-", ())  # what came in place of a request
HELLO = b"\x16"  # the first byte of TLS (RFC 8446 section 5.1), which no HTTP request begins with
FAREWELL_S = 1.0
PROTOCOLS = ("HTTP/1.1", "HTTP/1.0")


class Served(NamedTuple):
    """A request that was answered; the terminal shows a line for each."""

    method: str
    target: str
    status: int
    body_bytes: int
    duration_ms: float
    is_cold: bool
    environment: int  # which one served it; 0 when none did
    problem: tuple[str, ...]
    first_byte_ms: float | None = None  # when the head of a streamed answer was there; None: it came in one piece


class RefusedRequest(Exception):
    """``request``, which may be without its body, is answered by the front end itself."""

    def __init__(self, request: ClientRequest, refused: Refused) -> None:
        super().__init__(str(refused))
        self.request = request
        self.status = refused.status
        self.page = refused.page


class Result(NamedTuple):
    """An answer, and who gave it."""

    answer: Answer
    is_cold: bool = False
    environment: int = 0
    stream: StreamedResponse | None = None  # what comes after the answer's head


class Gateway:
    """``with Gateway(environments.submit, port=3000, on_served=show): ...`` serves until the block ends.

    Each connection has a thread of its own; the queueing is ``submit``'s. ``front`` has what the browser cannot know.
    ``host`` is the address to listen on. Requests for another host are refused, except for those in ``allowed_hosts``.
    ``is_https``: who comes without TLS is sent to the address with it. ``on_note`` gets sentences about what clients
    try in vain. Raises ``OSError`` when the port is taken.
    """

    def __init__(
        self,
        submit: Callable[[bytes], Future[Outcome]],
        port: int = 0,
        on_served: Callable[[Served], object] = repr,
        source: Source = sources.DEFAULT,
        front: Front = AS_ON_AWS,
        host: str = LOOPBACK,
        allowed_hosts: Sequence[str] = (),
        is_https: bool = False,
        on_note: Callable[[str], object] = repr,
    ) -> None:
        self._submit = submit
        self._on_served = on_served
        self._on_note = on_note
        self._hosts = Hosts(host, allowed_hosts)
        self._is_https = is_https
        self._tls: ssl.SSLContext | None = None
        self._websockets = websockets.Notes()
        self._source = source._replace(check=self._checking(source))
        self._host = host
        self._listener, self._held = _listening(host, port)
        self.port: int = self._listener.getsockname()[1]
        self._front = front
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        if is_https:
            self._context()  # what is wrong with it should be known before the first request

    @property
    def address(self) -> str:
        return f"http{'s' if self._is_https else ''}://{LOOPBACK}:{self.port}"

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            for open_socket in (self._listener, *self._connections):
                shut_down(open_socket)
        self._acceptor.join()  # no limit: its socket is shut down
        self._listener.close()
        self._held.release()

    def move(self, port: int) -> None:
        """Listen on ``port`` from now on; a request that has failed meanwhile is sent there. Raises ``OSError``."""
        listener, held = _listening(self._host, port)
        with self._lock:
            old, self._listener = self._listener, listener
            self.port = port
        shut_down(old)
        old.close()
        self._held.release()
        self._held = held

    def _accept(self) -> None:
        while True:
            listener = self._listener
            try:
                connection, address = listener.accept()
            except OSError:
                if listener is self._listener:
                    return
                continue  # it has moved
            with self._lock:
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection, address[0]), daemon=True).start()

    def _serve(self, connection: socket.socket, client_ip: str) -> None:
        try:
            with connection:
                connection.settimeout(IDLE_S)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if connection.recv(1, socket.MSG_PEEK) == HELLO:
                    self._serve_over_tls(connection, client_ip)
                else:
                    self._serve_requests(connection, client_ip)
        except (OSError, ClientGone):
            pass  # the browser went away, which is its right
        except AnswerCut:
            pass  # by closing without an end, the browser sees that there was none
        finally:
            with self._lock:
                self._connections.discard(connection)

    def _serve_over_tls(self, connection: socket.socket, client_ip: str) -> None:
        # Of the plain socket nothing is left once it is wrapped: it is the other that has to be woken at the end.
        with self._context().wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as secured:
            with self._lock:
                self._connections.discard(connection)
                self._connections.add(secured)
            try:
                secured.do_handshake()
                self._serve_requests(secured, client_ip)
                # Told by TLS: the end of a connection alone may be anybody's, and is no end of an answer.
                secured.settimeout(FAREWELL_S)
                secured.unwrap()
            finally:
                with self._lock:
                    self._connections.discard(secured)

    def _context(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls is None:
                self._tls = certificate.context(certificate.ensure(self._hosts.names))
            return self._tls

    def _checking(self, source: Source) -> Callable[[ClientRequest], None]:
        """The check of a request's head: the rules of this machine, then those of ``source``."""

        def check(request: ClientRequest) -> None:
            if request.protocol not in PROTOCOLS:
                raise Refused(505, f"{request.protocol} is not spoken here: {' and '.join(PROTOCOLS)} are")
            if request.method == "CONNECT":
                raise Refused(405, "CONNECT is for proxies, and no front end is one")
            for host in hosts_of(request):
                self._check_host(host)
            if words := self._websockets.of(request):
                self._on_note(words)
            source.check(request)

        return check

    def _check_host(self, host: str) -> None:
        named = parse_authority(host)
        if named is None:
            raise Refused(400, f"{host!r} is no host that a request can be for")
        if not self._hosts.admit(named):
            words = (
                f"a request for the host {named.name} is none for this gateway; if that is a name of yours, "
                f"ALLOWED_HOSTS={named.name} (--allowed-hosts {named.name}) lets it in"
            )
            raise Refused(403, words, own_page(403, "text/plain; charset=utf-8", words + "\n"))

    def _serve_requests(self, connection: socket.socket, client_ip: str) -> None:
        def receive() -> bytes:
            return connection.recv(RECEIVE_BYTES)

        is_secure = isinstance(connection, ssl.SSLSocket)
        http = h11.Connection(h11.SERVER, HEAD_BYTES)
        while http.states[h11.SERVER] is not h11.MUST_CLOSE:
            try:
                request = read_request(http, receive, connection.sendall, self._source)
            except h11.RemoteProtocolError as error:
                page = self._source.own_page(error.error_status_hint)
                self._refuse(http, connection, UNREAD, page, str(error))
                return
            except RefusedRequest as error:
                page = error.page or self._source.own_page(error.status)
                self._refuse(http, connection, error.request, page, str(error))
                return
            if request is None:
                return
            started = time.monotonic()
            result = self._result(request, client_ip, connection, is_secure)
            if result.stream:
                self._relay(http, connection, request, result, result.stream, started)
            else:
                if request.method == "HEAD":  # content-length still says what GET would bring
                    result = with_response(result, _without_body)
                # Before it is sent: whoever has the answer can count on the line.
                self._report(request, result, started)
                connection.sendall(response_bytes(http, result.answer.response))
            is_over = http.our_state is not h11.DONE or http.their_state is not h11.DONE
            if is_over or self._has_moved(connection):  # what follows should not need this port
                return
            http.start_next_cycle()

    def _result(self, request: ClientRequest, client_ip: str, connection: socket.socket, is_secure: bool) -> Result:
        host = header(request.headers, "host") or ""
        own = parse_authority(host)
        if own is None:  # HTTP/1.0 need not say one
            return self._invoke(request, self._front, client_ip, connection)
        target = origin_form(request.target)
        front = self._front._replace(port=own.port or HTTPS_PORT)
        if is_secure:
            result = with_response(self._invoke(request, front, client_ip, connection), without_hsts, own)
        elif self._is_https:
            return Result(Answer(elsewhere(f"https://{host}{target}")))
        else:
            result = self._invoke(as_over_tls(request, host), front, client_ip, connection)
            result = with_response(result, as_without_tls, host, own)
        if self._has_moved(connection) and result.answer.response.status == 502 and not result.stream:
            # It moved because the app could not start: there the app will have the request.
            there = elsewhere(f"http{'s' if is_secure else ''}://{own.in_url}:{self.port}{target}")
            result = with_response(result, lambda _: there)
        return result

    def _has_moved(self, connection: socket.socket) -> bool:
        return bool(connection.getsockname()[1] != self.port)

    def _invoke(self, request: ClientRequest, front: Front, client_ip: str, connection: socket.socket) -> Result:
        source = self._source
        try:
            arrival = Arrival(client_ip, time.time(), str(uuid.uuid4()))
            asked = self._submit(sources.encode(source.to_event(request, front, arrival)))
            outcome = asked.result(source.patience_s)
        except Refused as error:
            return Result(Answer(source.own_page(error.status), (str(error),)))
        except TimeoutError:
            asked.add_done_callback(abandon)
            words = f"{source.name} waits no longer than {source.patience_s:.0f} s; the function goes on"
            return Result(Answer(source.own_page(504), (words,)))
        except (LocalFailure, LayerError) as failure:
            return Result(Answer(source.own_page(502), (str(failure),)))
        answer, stream = self._answer(request, outcome, connection)
        notices = [outcome.reply.notice] if outcome.reply.notice else []
        answer = answer._replace(problem=(*source.warnings(request, front), *answer.problem, *notices))
        return Result(answer, outcome.reply.is_cold, outcome.environment, stream)

    def _answer(
        self, request: ClientRequest, outcome: Outcome, connection: socket.socket
    ) -> tuple[Answer, StreamedResponse | None]:
        source, reply = self._source, outcome.reply
        if reply.stream:
            return begin_response(source, outcome, connection)
        if self._front.is_streaming:
            return from_unstreamed(source, reply.status, reply.body), None
        return from_reply(source, request, self._front, reply.status, reply.body), None

    def _relay(
        self,
        http: h11.Connection,
        connection: socket.socket,
        request: ClientRequest,
        result: Result,
        stream: StreamedResponse,
        started: float,
    ) -> None:
        """Send a streamed answer while it comes. Raises ``AnswerCut``, ``ClientGone``, ``OSError``: no proper end."""
        first_byte_ms = _since(started)
        head, problem, sent = result.answer.response, result.answer.problem, 0
        has_body = request.method != "HEAD" and head.status not in BODILESS
        try:
            connection.sendall(head_bytes(http, head))
            for piece in stream.pieces():
                if has_body:
                    connection.sendall(http.send(h11.Data(data=piece)) or b"")
                    sent += len(piece)
            problem += stream.notices()
        except AnswerCut:
            problem += ("the client gets an incomplete answer:", *stream.failure())
            if http.their_http_version == b"1.0":  # there a body ends with its connection: only a reset shows it
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise
        except (ClientGone, OSError):
            problem += (f"the client went away after {sent:,} bytes of the answer",)
            raise
        finally:
            stream.close()
            result = result._replace(answer=Answer(head, problem))
            self._report(request, result, started, sent, first_byte_ms)
        connection.sendall(http.send(h11.EndOfMessage()) or b"")

    def _refuse(
        self, http: h11.Connection, connection: socket.socket, request: ClientRequest, page: HttpResponse, words: str
    ) -> None:
        result = Result(Answer(page, (words,)))
        self._report(request, result, time.monotonic())
        connection.sendall(response_bytes(http, result.answer.response))
        # Closed at once, with data of the request unread, TCP would reset the connection and take the answer with it.
        socket.socket.shutdown(connection, socket.SHUT_WR)
        while connection.recv(RECEIVE_BYTES):
            pass

    def _report(
        self,
        request: ClientRequest,
        result: Result,
        started: float,
        streamed_bytes: int = 0,
        first_byte_ms: float | None = None,
    ) -> None:
        answer = result.answer
        self._on_served(
            Served(
                request.method,
                request.target,
                answer.response.status,
                len(answer.response.body) + streamed_bytes,
                _since(started),
                result.is_cold,
                result.environment,
                answer.problem,
                first_byte_ms,
            )
        )


def _listening(host: str, port: int) -> tuple[socket.socket, HeldPort]:
    """A listener at ``port`` (0: at any free one) and its hold. Raises ``OSError``, for a port held by others too."""
    held = hold(port) if port else hold_free(host)
    if held is None:
        raise OSError(errno.EADDRINUSE, "another run of Fairlead has it")
    try:
        return socket.create_server((host, held.number), backlog=64), held
    except OSError:
        held.release()
        raise


def _since(started: float) -> float:
    return (time.monotonic() - started) * 1000


def with_response(result: Result, change: Callable[..., HttpResponse], *arguments: object) -> Result:
    """``result`` whose response is ``change(response, *arguments)``."""
    answer = result.answer
    return result._replace(answer=answer._replace(response=change(answer.response, *arguments)))


def _without_body(response: HttpResponse) -> HttpResponse:
    return response._replace(body=b"")


def without_hsts(response: HttpResponse, own: Authority) -> HttpResponse:
    """``response`` without what would keep a browser from everything else that this machine serves without TLS."""
    if not is_loopback(own):
        return response
    lines = [(name, value) for name, value in response.headers if name.lower() != "strict-transport-security"]
    return response._replace(headers=lines)


def elsewhere(address: str) -> HttpResponse:
    """Sends a client to ``address``, with the same method and body; the next run may be elsewhere again."""
    return HttpResponse(307, "Temporary Redirect", [("location", address), ("content-length", "0")], b"")


def hosts_of(request: ClientRequest) -> list[str]:
    """The names that the client calls this server, in Host and in a target in absolute form."""
    return [*header_values(request.headers, "host"), *absolute_authority(request.target)]


def read_request(
    http: h11.Connection,
    receive: Callable[[], bytes],
    send: Callable[[bytes], object],
    source: Source = sources.DEFAULT,
) -> ClientRequest | None:
    """The next request of the connection, target, names and values as they were sent; None when there is no other.

    Raises ``h11.RemoteProtocolError`` for what is not HTTP, ``RefusedRequest`` for what ``source`` does not take.
    """
    head = _next_event(http, receive, send)
    if not isinstance(head, h11.Request):
        return None
    # Header values are UTF-8 to AWS.
    lines = [(name.decode(), value.decode(errors="replace")) for name, value in head.headers.raw_items()]
    protocol = f"HTTP/{(http.their_http_version or b'1.1').decode()}"
    request = ClientRequest(head.method.decode(), head.target.decode(), lines, b"", protocol)
    try:
        return request._replace(body=_read_body(http, receive, send, request, source))
    except Refused as error:
        raise RefusedRequest(request, error) from None


def _read_body(
    http: h11.Connection,
    receive: Callable[[], bytes],
    send: Callable[[bytes], object],
    request: ClientRequest,
    source: Source,
) -> bytes:
    sources.check_head(source, request)
    # Before the 100 (Continue) that lets the body come.
    sources.check_body(source, int(header(request.headers, "content-length") or 0))
    body = bytearray()
    while isinstance(event := _next_event(http, receive, send), h11.Data):
        body += event.data
        sources.check_body(source, len(body))
    return bytes(body)


def _next_event(http: h11.Connection, receive: Callable[[], bytes], send: Callable[[bytes], object]) -> object:
    while (event := http.next_event()) is h11.NEED_DATA:
        if http.they_are_waiting_for_100_continue:
            send(http.send(h11.InformationalResponse(status_code=100, headers=[], reason="Continue")) or b"")
        data = receive()
        # h11 refuses a head that is too large only while it is incomplete: it gets no more at a time than that takes.
        is_head = http.their_state is h11.IDLE
        room = HEAD_BYTES + 1 - len(http.trailing_data[0]) if is_head else len(data)
        http.receive_data(data[:room])
        if len(data) > room:
            event = http.next_event()
            http.receive_data(data[room:])
            return event
    return event


def response_bytes(http: h11.Connection, response: HttpResponse) -> bytes:
    """``response`` as it goes over the wire, in answer to the request that ``http`` has read."""
    return b"".join(_response_parts(http, response))


def head_bytes(http: h11.Connection, response: HttpResponse) -> bytes:
    """The head of ``response`` as it goes over the wire. h11 frames the body where ``response`` does not say how."""
    fields = [(name.encode(), value.encode()) for name, value in response.headers]
    if header(response.headers, "date") is None:
        fields.append((b"date", formatdate(usegmt=True).encode()))
    head = h11.Response(status_code=response.status, headers=fields, reason=response.reason.encode())
    return http.send(head) or b""


def _response_parts(http: h11.Connection, response: HttpResponse) -> Iterator[bytes]:
    yield head_bytes(http, response)
    if response.body:
        yield http.send(h11.Data(data=response.body)) or b""
    yield http.send(h11.EndOfMessage()) or b""
