"""An app that notes what it has done where a test finds it, and answers as it is told, in all the ways that apps have.

``CHAOS_STYLE`` says what processes it consists of:

===========  ==========================================================================================================
``alone``    one process
``recycled`` a supervisor and a worker that ends after some answers, its listening socket with it; then comes another
``forked``   a supervisor that listens, and two workers that end after some answers; each is replaced
===========  ==========================================================================================================

What to do stands in the event or in the query of the target, as ``name=value`` joined by ``;`` (see ``Order``). In the
file ``journal`` of the folder ``RECORD_DIRECTORY`` a request is noted as ``began TOKEN``, and each thing that is done
as ``done NAME``: a line is one write to a file opened for appending, so it survives SIGKILL the moment it is made.
"""

from __future__ import annotations

import os
import time

from serving import Connection, Gone, Request, serve, serve_on, start

LIFE = 25  # answers of a worker
PAUSE_S = 0.002  # between a worker and the next
POISON = b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n" + b'"poison"'
_answers = [0]


class Order:
    """What one request asks for."""

    def __init__(self, text: str) -> None:
        words = dict(part.split("=", 1) for part in text.split(";"))
        self.token = words["token"]
        self.items = [item for item in words["items"].split(",") if item]
        """What to do; an item that ends with ``!`` is not done, and reported as failed."""
        self.status = int(words["status"])
        self.framing = words["framing"]
        """``length``, ``chunked``, ``close`` or ``close10``: as an HTTP/1.0 server does."""
        self.head_first = words["order"] == "head-first"
        """The head is sent before anything is done."""
        self.pieces = int(words["pieces"])
        self.wait_s = int(words["wait_ms"]) / 1000
        """Between two pieces of the answer, and for each item."""
        self.size = int(words["size"])
        self.late = words["late"] == "yes"
        """A body is sent a moment after an answer that has none."""

    @property
    def body(self) -> bytes:
        """What the answer says."""
        failures = ",".join(f'{{"itemIdentifier":"{item[:-1]}"}}' for item in self.items if item.endswith("!"))
        return f'{{"batchItemFailures":[{failures}],"token":"{self.token}","filler":"{"x" * self.size}"}}'.encode()


def note(line: str) -> None:
    """Add a line to the journal."""
    journal = os.open(os.environ["RECORD_DIRECTORY"] + "/journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(journal, f"{line}\n".encode())
    os.close(journal)


def handle(connection: Connection, request: Request) -> None:
    """Do what the request asks for."""
    body = connection.read_body(request).decode()
    text = body.partition('"chaos": "')[2].partition('"')[0] or request.target.decode().partition("?")[2]
    if not text:
        connection.answer(200)  # it is ready
        return
    order = Order(text)
    has_body = request.method != b"HEAD" and order.status not in (204, 304)
    note(f"began {order.token}")
    head = head_of(order)
    if order.head_first:
        connection.send(head)
        head = b""
    for item in order.items:
        time.sleep(order.wait_s)
        if not item.endswith("!"):
            note(f"done {item}")
    send(connection, order, head, has_body)
    if not has_body and order.late:
        time.sleep(0.001)
        connection.send(POISON)
    _answers[0] += 1
    if os.environ["CHAOS_STYLE"] != "alone" and _answers[0] >= LIFE:
        os._exit(0)
    if order.framing.startswith("close"):
        raise Gone


def head_of(order: Order) -> bytes:
    """Status line and fields."""
    version = "1.0" if order.framing == "close10" else "1.1"
    lines = [f"HTTP/{version} {order.status} Some Reason", f"x-token: {order.token}", "content-type: application/json"]
    if order.framing == "length":
        lines.append(f"content-length: {len(order.body)}")
    elif order.framing == "chunked":
        lines.append("transfer-encoding: chunked")
    return "\r\n".join([*lines, "", ""]).encode()


def send(connection: Connection, order: Order, head: bytes, has_body: bool) -> None:
    """The answer, or what follows its head, in pieces."""
    body = order.body if has_body else b""
    size = len(body) // order.pieces + 1
    pieces = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    for number, piece in enumerate(pieces):
        if order.framing == "chunked" and piece:
            piece = b"%x\r\n%s\r\n" % (len(piece), piece)
        if number == 0:
            piece = head + piece
        else:
            time.sleep(order.wait_s)
        connection.send(piece)
    if order.framing == "chunked" and has_body:
        connection.send(b"0\r\n\r\n")


def supervise(count: int, work: str) -> None:
    """Have so many workers, for ever. Those with a socket of their own make it anew each time."""
    listener = start() if work == "forked" else None
    workers: set[int] = set()
    while True:
        while len(workers) < count:
            pid = os.fork()
            if pid == 0:
                serve_on(listener or start(), handle)
            workers.add(pid)
        workers.discard(os.wait()[0])
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    style = os.environ["CHAOS_STYLE"]
    if style == "alone":
        serve(handle)
    else:
        supervise(2 if style == "forked" else 1, style)
