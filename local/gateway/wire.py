"""Requests and responses as bytes.

h11 reads the request, because it hands over the target, the names and the values as they were sent; a framework would
have decoded them already.
"""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate

import h11

from runtime.messages import HttpResponse, header

from .. import sources
from ..sources.values import ClientRequest, Refused, Source

HEAD_BYTES = 65536  # the largest request head of all front ends, a load balancer's


class RefusedRequest(Exception):
    """``request``, which may be without its body, is answered by the front end itself."""

    def __init__(self, request: ClientRequest, refused: Refused) -> None:
        super().__init__(str(refused))
        self.request = request
        self.status = refused.status
        self.page = refused.page


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
    parts = [head_bytes(http, response)]
    if response.body:
        parts.append(http.send(h11.Data(data=response.body)) or b"")
    return b"".join([*parts, http.send(h11.EndOfMessage()) or b""])


def head_bytes(http: h11.Connection, response: HttpResponse) -> bytes:
    """The head of ``response`` as it goes over the wire. h11 frames the body where ``response`` does not say how."""
    fields = [(name.encode(), value.encode()) for name, value in response.headers]
    if header(response.headers, "date") is None:
        fields.append((b"date", formatdate(usegmt=True).encode()))
    head = h11.Response(status_code=response.status, headers=fields, reason=response.reason.encode())
    return http.send(head) or b""
