"""One connection of a browser: each request becomes an event, the function's answer becomes the response."""

from __future__ import annotations

import socket
import ssl
import struct
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

import h11

from layer.failures import LayerError
from runtime.messages import HttpResponse, header

from .. import sources
from ..environments.pool import Outcome
from ..failures import LocalFailure
from ..hosts import Authority, is_loopback, parse_authority
from ..runtime_api.streamed_answer import AnswerCut, ClientGone
from ..sources.reply import BODILESS, from_reply
from ..sources.request import origin_form
from ..sources.streamed import from_unstreamed
from ..sources.values import Answer, Arrival, ClientRequest, Front, Refused, Source
from .plain_http import HTTPS_PORT, as_over_tls, as_without_tls
from .streamed_response import StreamedResponse, abandon, begin_response
from .wire import HEAD_BYTES, RefusedRequest, head_bytes, read_request, response_bytes

RECEIVE_BYTES = 65536
UNREAD = ClientRequest("-", "-", ())  # what came in place of a request


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


class Service(NamedTuple):
    """The part of a gateway that its conversations share."""

    submit: Callable[[bytes], Future[Outcome]]
    on_served: Callable[[Served], object]
    source: Source
    front: Front
    is_https: bool
    port: Callable[[], int]  # where the gateway listens now


class Result(NamedTuple):
    """An answer, and who gave it."""

    answer: Answer
    is_cold: bool = False
    environment: int = 0
    stream: StreamedResponse | None = None  # what comes after the answer's head


class Conversation:
    """Serves one connection, which may be secured by TLS."""

    def __init__(self, service: Service, connection: socket.socket, client_ip: str) -> None:
        self._service = service
        self._connection = connection
        self._client_ip = client_ip
        self._is_secure = isinstance(connection, ssl.SSLSocket)
        self._http = h11.Connection(h11.SERVER, HEAD_BYTES)

    def serve(self) -> None:
        """Answer its requests. Raises ``AnswerCut``, ``ClientGone``, ``OSError``: there is no proper end."""
        http, connection = self._http, self._connection

        def receive() -> bytes:
            return connection.recv(RECEIVE_BYTES)

        while http.states[h11.SERVER] is not h11.MUST_CLOSE:
            try:
                request = read_request(http, receive, connection.sendall, self._service.source)
            except h11.RemoteProtocolError as error:
                page = self._service.source.own_page(error.error_status_hint)
                self._refuse(UNREAD, page, str(error))
                return
            except RefusedRequest as error:
                page = error.page or self._service.source.own_page(error.status)
                self._refuse(error.request, page, str(error))
                return
            if request is None:
                return
            started = time.monotonic()
            result = self._result(request)
            if result.stream:
                self._relay(request, result, result.stream, started)
            else:
                if request.method == "HEAD":  # content-length still says what GET would bring
                    result = with_response(result, _without_body)
                # Before it is sent: whoever has the answer can count on the line.
                self._report(request, result, started)
                connection.sendall(response_bytes(http, result.answer.response))
            is_over = http.our_state is not h11.DONE or http.their_state is not h11.DONE
            if is_over or self._has_moved():  # what follows should not need this port
                return
            http.start_next_cycle()

    def _result(self, request: ClientRequest) -> Result:
        host = header(request.headers, "host") or ""
        own = parse_authority(host)
        if own is None:  # HTTP/1.0 need not say one
            return self._invoke(request, self._service.front)
        target = origin_form(request.target)
        front = self._service.front._replace(port=own.port or HTTPS_PORT)
        if self._is_secure:
            result = with_response(self._invoke(request, front), without_hsts, own)
        elif self._service.is_https:
            return Result(Answer(elsewhere(f"https://{host}{target}")))
        else:
            result = self._invoke(as_over_tls(request, host), front)
            result = with_response(result, as_without_tls, host, own)
        if self._has_moved() and result.answer.response.status == 502 and not result.stream:
            # It moved because the app could not start: there the app will have the request.
            there = elsewhere(f"http{'s' if self._is_secure else ''}://{own.in_url}:{self._service.port()}{target}")
            result = with_response(result, lambda _: there)
        return result

    def _has_moved(self) -> bool:
        return bool(self._connection.getsockname()[1] != self._service.port())

    def _invoke(self, request: ClientRequest, front: Front) -> Result:
        source = self._service.source
        try:
            arrival = Arrival(self._client_ip, time.time(), str(uuid.uuid4()))
            asked = self._service.submit(sources.encode(source.to_event(request, front, arrival)))
            outcome = asked.result(source.patience_s)
        except Refused as error:
            return Result(Answer(source.own_page(error.status), (str(error),)))
        except TimeoutError:
            asked.add_done_callback(abandon)
            words = f"{source.name} waits no longer than {source.patience_s:.0f} s; the function goes on"
            return Result(Answer(source.own_page(504), (words,)))
        except (LocalFailure, LayerError) as failure:
            return Result(Answer(source.own_page(502), (str(failure),)))
        answer, stream = self._answer(request, outcome)
        notices = [outcome.reply.notice] if outcome.reply.notice else []
        answer = answer._replace(problem=(*source.warnings(request, front), *answer.problem, *notices))
        return Result(answer, outcome.reply.is_cold, outcome.environment, stream)

    def _answer(self, request: ClientRequest, outcome: Outcome) -> tuple[Answer, StreamedResponse | None]:
        source, reply = self._service.source, outcome.reply
        if reply.stream:
            return begin_response(source, outcome, self._connection)
        if self._service.front.is_streaming:
            return from_unstreamed(source, reply.status, reply.body), None
        return from_reply(source, request, self._service.front, reply.status, reply.body), None

    def _relay(self, request: ClientRequest, result: Result, stream: StreamedResponse, started: float) -> None:
        """Send a streamed answer while it comes. Raises ``AnswerCut``, ``ClientGone``, ``OSError``: no proper end."""
        http, connection = self._http, self._connection
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

    def _refuse(self, request: ClientRequest, page: HttpResponse, words: str) -> None:
        result = Result(Answer(page, (words,)))
        self._report(request, result, time.monotonic())
        self._connection.sendall(response_bytes(self._http, result.answer.response))
        # Closed at once, with data of the request unread, TCP would reset the connection and take the answer with it.
        socket.socket.shutdown(self._connection, socket.SHUT_WR)
        while self._connection.recv(RECEIVE_BYTES):
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
        self._service.on_served(
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
