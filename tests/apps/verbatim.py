"""An app that answers with the very bytes that the request asks for.

They come in base64: in the field ``x-verbatim``, else as the member ``verbatim`` of a JSON event at ``/events``, else
the whole body is them. What else a request can ask for:

=========================  ===========================================================================================
``x-then: close``          the connection is closed after those bytes; ``reset``: it is reset
``x-reset-if-reused: 1``   when the connection has carried a request before, it is reset instead of an answer
``/count``                 answers how many requests have come with the same ``x-tag``, those that were reset included
=========================  ===========================================================================================
"""

from __future__ import annotations

from binascii import a2b_base64

from serving import Connection, Gone, Request, serve

tags: list[bytes] = []


def answer_of(request: Request, body: bytes) -> bytes:
    """The bytes that the request asks for."""
    asked = request.header(b"x-verbatim")
    if not asked and request.path == "/events":
        asked = body.partition(b'"verbatim"')[2].partition(b'"')[2].partition(b'"')[0]
    return a2b_base64(asked) if asked else body


def handle(connection: Connection, request: Request) -> None:
    """Do what the request says."""
    body = connection.read_body(request)
    if request.path == "/count":
        connection.answer(200, b"%d" % tags.count(request.header(b"x-tag")))
        return
    if request.header(b"x-tag"):
        tags.append(request.header(b"x-tag"))
    if request.header(b"x-reset-if-reused") and "is_reused" in vars(connection):
        connection.reset()
    vars(connection)["is_reused"] = True
    connection.send(answer_of(request, body) or b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    if request.header(b"x-then") == b"reset":
        connection.reset()
    if request.header(b"x-then") == b"close":
        raise Gone


if __name__ == "__main__":
    serve(handle)
