"""An app whose answers come bit by bit, and only when the test lets them.

==========================  ==========================================================================================
``/events/N``               N server-sent events, each when ``/more`` has been asked for
``/more``                   lets one more event go; on another connection
``/bytes/N``                N bytes, in chunks of 64 KiB
``/endless``                bytes until nobody takes them any more; ``/ended`` answers when that is so
``/broken``                 four bytes, then the end of the connection
``/dead``                   four bytes, then the end of the app
``/silent``                 four bytes, and no more
``/status/N``               that status, two cookies, no body
anything else               ``hello``, whole
==========================  ==========================================================================================
"""

from __future__ import annotations

import _thread
import os

from serving import Connection, Gone, Request, serve

CHUNK = bytes(range(256)) * 256
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ntransfer-encoding: chunked\r\n\r\n"


class Gate:
    """Lets one through for each ``open``."""

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._lock.acquire()

    def open(self) -> None:
        self._lock.release()

    def wait(self) -> None:
        self._lock.acquire()


more, ended = Gate(), Gate()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def events(connection: Connection, count: int) -> None:
    connection.send(CHUNKED % b"text/event-stream")
    for number in range(count):
        more.wait()
        connection.send(chunk(b"data: %d\n\n" % number))
    connection.send(chunk(b""))


def some_bytes(connection: Connection, size: int) -> None:
    connection.send(CHUNKED % b"application/octet-stream")
    for start in range(0, size, len(CHUNK)):
        connection.send(chunk(CHUNK[: size - start]))
    connection.send(chunk(b""))


def endless(connection: Connection, _: int) -> None:
    connection.send(CHUNKED % b"application/octet-stream")
    try:
        while True:
            connection.send(chunk(CHUNK))
    except OSError:
        ended.open()
        raise


def begun(connection: Connection) -> None:
    connection.send((CHUNKED % b"text/plain") + chunk(b"some"))


def broken(connection: Connection, _: int) -> None:
    begun(connection)
    raise Gone


def dead(connection: Connection, _: int) -> None:
    begun(connection)
    os._exit(3)


def silent(connection: Connection, _: int) -> None:
    begun(connection)
    connection.wait_until_gone()


def let_one_go(connection: Connection, _: int) -> None:
    more.open()
    connection.answer(200)


def wait_for_end(connection: Connection, _: int) -> None:
    ended.wait()
    connection.answer(200)


def status(connection: Connection, number: int) -> None:
    connection.answer(number, b"", b"set-cookie: a=1", b"set-cookie: b=2", content_type=b"text/plain")


ANSWERS = {
    "events": events,
    "more": let_one_go,
    "bytes": some_bytes,
    "endless": endless,
    "ended": wait_for_end,
    "broken": broken,
    "dead": dead,
    "silent": silent,
    "status": status,
}


def handle(connection: Connection, request: Request) -> None:
    connection.read_body(request)
    _, name, *number = request.path.split("/")
    answer = ANSWERS.get(name)
    if answer:
        answer(connection, int(number[0]) if number else 0)
    else:
        connection.answer(200, b"hello", content_type=b"text/plain")


serve(handle)
