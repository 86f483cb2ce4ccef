"""An app that answers bit by bit, each bit when the test asks for it.

``POST /release`` on another connection lets it go on; ``GET /count`` tells how many bytes the last stream has written
and whether its client went away.
"""

from __future__ import annotations

import _thread
from _json import encode_basestring_ascii

from serving import Connection, Gone, Request, serve

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
COOKIES = b"set-cookie: a=1\r\nset-cookie: b=2; Path=/\r\nvary: accept\r\nvary: origin\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
PIECE = bytes(range(256)) * 256

released = _thread.allocate_lock()
released.acquire()
state = {"written": 0, "gone": 0}


def chunk(data: bytes) -> bytes:
    """``data`` as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def handle(connection: Connection, request: Request) -> None:
    """Do what the path says."""
    connection.read_body(request)
    name, _, argument = request.path[1:].partition("/")
    if name == "release":
        released.release()
        connection.answer(200)
    elif name == "count":
        text = ",".join(f"{encode_basestring_ascii(key)}:{value}" for key, value in state.items())
        connection.answer(200, b"{" + text.encode() + b"}")
    elif name in STREAMS:
        state.update(written=0, gone=0)
        try:
            STREAMS[name](connection, argument)
        except (Gone, OSError):
            state["gone"] = 1
            raise
    else:
        connection.answer(200, b'"ok"')


def events(connection: Connection, argument: str) -> None:
    """/events-stream/N: the head at once, then N server-sent events, each after a release."""
    connection.send(HEAD + CHUNKED)
    for number in range(int(argument)):
        released.acquire()
        connection.send(chunk(b"data: %d\n\n" % number))
    connection.send(b"0\r\n\r\n")


def bulk(connection: Connection, argument: str) -> None:
    """/bulk/N: N times 64 KiB, length announced."""
    count = int(argument)
    connection.send(HEAD + COOKIES + b"content-length: %d\r\n\r\n" % (count * len(PIECE)))
    for _ in range(count):
        connection.send(PIECE)
        state["written"] += len(PIECE)


def until_close(connection: Connection, argument: str) -> None:
    """/until-close/N: N times 64 KiB as HTTP/1.0 sends them."""
    connection.send(b"HTTP/1.0 200 OK\r\ncontent-type: application/octet-stream\r\n\r\n")
    for _ in range(int(argument)):
        connection.send(PIECE)
    raise Gone


def breaks_off(connection: Connection, argument: str) -> None:
    """/breaks-off: a chunk, and after a release the connection is closed in the middle of the next."""
    connection.send(HEAD + CHUNKED + chunk(b"data: 0\n\n") + b"40\r\nhalf")
    released.acquire()
    raise Gone


def malformed(connection: Connection, argument: str) -> None:
    """/malformed: a chunk, and after a release something that is none."""
    connection.send(HEAD + CHUNKED + chunk(b"data: 0\n\n"))
    released.acquire()
    connection.send(b"zz\r\n")
    connection.wait_until_gone()


def quiet(connection: Connection, argument: str) -> None:
    """/quiet: a chunk, then nothing until the client is gone."""
    connection.send(HEAD + CHUNKED + chunk(b"data: 0\n\n"))
    connection.wait_until_gone()


STREAMS = {
    "breaks-off": breaks_off,
    "bulk": bulk,
    "events-stream": events,
    "malformed": malformed,
    "quiet": quiet,
    "until-close": until_close,
}

if __name__ == "__main__":
    serve(handle)
