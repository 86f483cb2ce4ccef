"""An app whose path says what it does to its client; ``FAULTS`` below is the list.

``POST /events`` answers with the body it was sent. If that is a JSON object with a ``fault``, which is one of the
paths, it does that instead: so that events that are no HTTP requests reach them too. Every other path is answered
``"ok"``.
"""

from __future__ import annotations

import _thread
import os
import time
from _json import encode_basestring_ascii

from serving import Connection, Gone, Request, serve, stop_listening

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = b"text/plain; charset=utf-8"
OK = b'"ok"'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
CHUNKED_HEAD = HEAD + b"transfer-encoding: chunked\r\n\r\n"
CHUNKS = b'1\r\n"\r\n2;extension=1\r\nok\r\n1\r\n"\r\n'


def status(connection: Connection, argument: str) -> None:
    """/status/NNN: that status, the body ``{"status":NNN}`` where it may have one."""
    code = int(argument)
    if code < 200 or code in (204, 304):
        connection.send(b"HTTP/1.1 %d Some Reason\r\n\r\n" % code)
    else:
        connection.answer(code, b'{"status":%d}' % code)


def no_content(connection: Connection, _: str) -> None:
    """204, no body, no length."""
    connection.send(b"HTTP/1.1 204 No Content\r\n\r\n")


def two_cookies(connection: Connection, _: str) -> None:
    """Two Set-Cookie lines, one of them with a comma, and two Vary lines."""
    cookies = (b"set-cookie: a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT", b"set-cookie: b=2; Path=/; HttpOnly")
    connection.answer(200, OK, *cookies, b"vary: accept", b"vary: origin")


def headers(connection: Connection, argument: str) -> None:
    """/headers/N: N header lines x-number-0, x-number-1, ..."""
    connection.answer(200, OK, *(b"x-number-%d: %d" % (number, number) for number in range(int(argument))))


def header_100k(connection: Connection, _: str) -> None:
    """One header of 100 000 bytes."""
    connection.answer(200, OK, b"x-big: " + b"b" * 100_000)


def latin1_header(connection: Connection, _: str) -> None:
    """A header value that is not UTF-8."""
    connection.answer(200, OK, b'content-disposition: attachment; filename="caf\xe9.txt"')


def large(connection: Connection, argument: str) -> None:
    """/large/N: N bytes of text."""
    connection.answer(200, b"a" * int(argument), content_type=TEXT)


def large_json(connection: Connection, argument: str) -> None:
    """/large-json/N: a JSON string of N bytes, its quotes included."""
    connection.answer(200, b'"' + b"a" * (int(argument) - 2) + b'"')


def text_latin1(connection: Connection, _: str) -> None:
    """Text in a declared charset that is not UTF-8."""
    connection.answer(200, b"caf\xe9", content_type=b"text/plain; charset=iso-8859-1")


def binary(connection: Connection, _: str) -> None:
    """Every byte once."""
    connection.answer(200, bytes(range(256)), content_type=b"application/octet-stream")


def chunked(connection: Connection, _: str) -> None:
    """Chunked, in three chunks, one with an extension."""
    connection.send(CHUNKED_HEAD + CHUNKS + b"0\r\n\r\n")


def chunked_trailers(connection: Connection, _: str) -> None:
    """The same with two trailers."""
    connection.send(CHUNKED_HEAD + CHUNKS + b"0\r\nx-checksum: 1\r\nx-other: 2\r\n\r\n")


def close_delimited(connection: Connection, _: str) -> None:
    """No length: the body ends with the connection."""
    connection.send(HEAD + b"connection: close\r\n\r\n" + OK)
    raise Gone


def http10(connection: Connection, _: str) -> None:
    """As an HTTP/1.0 server answers."""
    connection.send(b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\n" + OK)
    raise Gone


HEAD_10 = b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n"
HALF = b'{"batchItemFailures":[{"itemIdentifier":"m1"},'


def end_process(how: str) -> None:
    """By SIGKILL ("kill"), or with that status."""
    if how == "kill":
        os.kill(os.getpid(), 9)
    os._exit(int(how))


def end_in_body(connection: Connection, argument: str) -> None:
    """/end-in-body/HOW: no length, as an HTTP/1.0 server answers; the process ends in the middle of the body."""
    connection.send(HEAD_10 + HALF)
    end_process(argument)


def end_before_body(connection: Connection, argument: str) -> None:
    """/end-before-body/HOW: the same before the first byte of the body."""
    connection.send(HEAD_10)
    end_process(argument)


def end_with_body(connection: Connection, argument: str) -> None:
    """/end-with-body/HOW: the same at the end of the body."""
    connection.send(HEAD_10 + OK)
    end_process(argument)


def half_body(connection: Connection, _: str) -> None:
    """Half of a body without a length, a line on stderr that says so, and nothing more."""
    connection.send(HEAD_10 + HALF)
    os.write(2, b"half of it is sent\n")
    connection.wait_until_gone()


def reset_in_body(connection: Connection, _: str) -> None:
    """A TCP reset in the middle of a body without a length."""
    connection.send(HEAD_10 + HALF)
    connection.reset()


def half_json(connection: Connection, _: str) -> None:
    """Half of a JSON document, whole as an answer."""
    connection.answer(200, HALF)


def early_hints(connection: Connection, _: str) -> None:
    """A 103 before the answer."""
    connection.send(b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n")
    connection.answer(200, OK)


def slow_drip(connection: Connection, _: str) -> None:
    """Twenty bytes, each 5 ms after the other."""
    connection.send(HEAD + b"content-length: 20\r\n\r\n")
    for _byte in range(20):
        connection.send(b"1")
        time.sleep(0.005)


def sleep_ms(connection: Connection, argument: str) -> None:
    """/sleep-ms/N: a good answer, N milliseconds late."""
    time.sleep(int(argument) / 1000)
    connection.answer(200, OK)


_connections: list[Connection] = []


def connection_number(connection: Connection, _: str) -> None:
    """/connection: how many connections have asked this or met (/meet), counted from one."""
    if connection not in _connections:
        _connections.append(connection)
    connection.answer(200, b"%d" % len(_connections))


_meeting = _thread.allocate_lock()
_arrived = [0]


def meet(connection: Connection, argument: str) -> None:
    """/meet/N: an answer when N of these requests are there at the same time."""
    _connections.append(connection)
    with _meeting:
        _arrived[0] += 1
    while _arrived[0] < int(argument):
        time.sleep(0.001)
    connection.answer(200, OK)


_unanswered: list[str] = []


def silence(connection: Connection, _: str) -> None:
    """Never answers."""
    _unanswered.append("silence")
    connection.wait_until_gone()


def close_before(connection: Connection, _: str) -> None:
    """Closes without an answer."""
    _unanswered.append("close")
    raise Gone


def reset_before(connection: Connection, _: str) -> None:
    """A TCP reset without an answer."""
    _unanswered.append("reset")
    connection.reset()


def count(connection: Connection, _: str) -> None:
    """How many requests have met one of these, or silence."""
    connection.answer(200, b"%d" % len(_unanswered))


def reset_middle(connection: Connection, _: str) -> None:
    """A TCP reset in the middle of the body."""
    connection.send(HEAD + b"content-length: 100\r\n\r\n0123456789")
    connection.reset()


def reset_in_head(connection: Connection, _: str) -> None:
    """A TCP reset in the middle of the head."""
    connection.send(b"HTTP/1.1 200 O")
    connection.reset()


def truncated(connection: Connection, _: str) -> None:
    """Closes in the middle of a body of known length."""
    connection.send(HEAD + b"content-length: 100\r\n\r\n0123456789")
    raise Gone


def truncated_chunked(connection: Connection, _: str) -> None:
    """Closes before the last chunk."""
    connection.send(CHUNKED_HEAD + CHUNKS)
    raise Gone


def close_after(connection: Connection, _: str) -> None:
    """Answers, then closes the idle connection without a word."""
    connection.answer(200, OK)
    raise Gone


def reset_after(connection: Connection, _: str) -> None:
    """Answers, then resets the idle connection."""
    connection.answer(200, OK)
    connection.reset()


def garbage(connection: Connection, _: str) -> None:
    """Not HTTP at all."""
    connection.send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    raise Gone


def bad_chunk_size(connection: Connection, _: str) -> None:
    """A chunk size that is no number."""
    connection.send(CHUNKED_HEAD + b'+4\r\n"ok"\r\n0\r\n\r\n')


def both_lengths(connection: Connection, _: str) -> None:
    """Content-Length and Transfer-Encoding, which disagree."""
    connection.send(HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n" + CHUNKS + b"0\r\n\r\n")


def conflicting_lengths(connection: Connection, _: str) -> None:
    """Two Content-Length lines, which disagree."""
    connection.send(HEAD + b"content-length: 4\r\ncontent-length: 2\r\n\r\n" + OK)


def folded_header(connection: Connection, _: str) -> None:
    """A header value that goes on in the next line (obs-fold)."""
    connection.answer(200, OK, b"x-folded: one\r\n two")


def nul_header(connection: Connection, _: str) -> None:
    """A NUL in a header value."""
    connection.answer(200, OK, b"x-nul: a\0b")


def switching_protocols(connection: Connection, _: str) -> None:
    """A 101 that nobody asked for."""
    connection.send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")


def leftover(connection: Connection, _: str) -> None:
    """A whole response, and at once another one that nobody asked for."""
    poison = b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n" + b'"poison"'
    connection.send(HEAD + b"content-length: 4\r\n\r\n" + OK + poison)


POISON = b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n" + b'"poison"'


def late_body(connection: Connection, argument: str) -> None:
    """/late-body/NNN: that status with a length, and a moment later the body, which passes for another answer."""
    connection.send(b"HTTP/1.1 %d Some Reason\r\ncontent-length: %d\r\n\r\n" % (int(argument), len(POISON)))
    time.sleep(0.002)
    connection.send(POISON)


def late_chunked_body(connection: Connection, argument: str) -> None:
    """/late-chunked-body/NNN: the same in chunks."""
    connection.send(b"HTTP/1.1 %d Some Reason\r\ntransfer-encoding: chunked\r\n\r\n" % int(argument))
    time.sleep(0.002)
    connection.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(POISON), POISON))


def late_unannounced_body(connection: Connection, argument: str) -> None:
    """/late-unannounced-body/NNN: the same with nothing in the head that tells of a body, as gunicorn's threads do."""
    connection.send(b"HTTP/1.1 %d Some Reason\r\n\r\n" % int(argument))
    time.sleep(0.002)
    connection.send(POISON)


def interim_body(connection: Connection, _: str) -> None:
    """A 103 with a body that passes for the answer, which itself comes a moment later."""
    connection.send(b"HTTP/1.1 103 Early Hints\r\ncontent-length: %d\r\n\r\n" % len(POISON) + POISON)
    time.sleep(0.002)
    connection.answer(200, OK)


def body_with_204(connection: Connection, _: str) -> None:
    """A 204 that has a body all the same."""
    connection.send(b"HTTP/1.1 204 No Content\r\ncontent-length: 8\r\n\r\n" + b'"poison"')


def die(connection: Connection, _: str) -> None:
    """Exits 7 during the request."""
    os._exit(7)


def die_after(connection: Connection, _: str) -> None:
    """Answers, then exits 7."""
    connection.answer(200, OK)
    os._exit(7)


def write_stderr(connection: Connection, argument: str) -> None:
    """/stderr/N: N bytes on stderr, then an answer."""
    data = b"e" * (int(argument) - 1) + b"\n"
    while data:
        data = data[os.write(2, data) :]
    connection.answer(200, OK)


def write_stdout(connection: Connection, argument: str) -> None:
    """/stdout/TEXT: that line on stdout, then an answer."""
    os.write(1, argument.encode() + b"\n")
    connection.answer(200, OK)


def refuse(connection: Connection, _: str) -> None:
    """Answers, and accepts no connection from then on."""
    stop_listening()
    connection.answer(200, OK, b"connection: close")
    raise Gone


def pid(connection: Connection, _: str) -> None:
    """The process id."""
    connection.answer(200, b"%d" % os.getpid())


def environment(connection: Connection, _: str) -> None:
    """The environment as a JSON object."""
    pairs = (f"{encode_basestring_ascii(name)}:{encode_basestring_ascii(os.environ[name])}" for name in os.environ)
    connection.answer(200, "{{{}}}".format(",".join(pairs)).encode())


def descriptors(connection: Connection, _: str) -> None:
    """What the descriptors above 2 are, as a JSON object, without this app's own sockets' numbers."""
    links = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            links[number] = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue  # the one that listed them
    pairs = (f"{encode_basestring_ascii(name)}:{encode_basestring_ascii(link)}" for name, link in links.items())
    connection.answer(200, "{{{}}}".format(",".join(pairs)).encode())


def process_group(connection: Connection, _: str) -> None:
    """``[pid, process group, session]``"""
    connection.answer(200, b"[%d,%d,%d]" % (os.getpid(), os.getpgrp(), os.getsid(0)))


FAULTS: dict[str, Callable[[Connection, str], None]] = {
    "binary": binary,
    "both-lengths": both_lengths,
    "bad-chunk-size": bad_chunk_size,
    "body-with-204": body_with_204,
    "chunked": chunked,
    "chunked-trailers": chunked_trailers,
    "close-after": close_after,
    "close-before": close_before,
    "close-delimited": close_delimited,
    "conflicting-lengths": conflicting_lengths,
    "connection": connection_number,
    "count": count,
    "descriptors": descriptors,
    "die": die,
    "die-after": die_after,
    "early-hints": early_hints,
    "end-before-body": end_before_body,
    "end-in-body": end_in_body,
    "end-with-body": end_with_body,
    "environment": environment,
    "folded-header": folded_header,
    "garbage": garbage,
    "half-body": half_body,
    "half-json": half_json,
    "header-100k": header_100k,
    "headers": headers,
    "http10": http10,
    "interim-body": interim_body,
    "large": large,
    "large-json": large_json,
    "latin1-header": latin1_header,
    "late-body": late_body,
    "late-chunked-body": late_chunked_body,
    "late-unannounced-body": late_unannounced_body,
    "leftover": leftover,
    "meet": meet,
    "no-content": no_content,
    "nul-header": nul_header,
    "pid": pid,
    "process-group": process_group,
    "refuse": refuse,
    "reset-after": reset_after,
    "reset-before": reset_before,
    "reset-in-body": reset_in_body,
    "reset-in-head": reset_in_head,
    "reset-middle": reset_middle,
    "silence": silence,
    "sleep-ms": sleep_ms,
    "slow-drip": slow_drip,
    "status": status,
    "stderr": write_stderr,
    "stdout": write_stdout,
    "switching-protocols": switching_protocols,
    "text-latin1": text_latin1,
    "truncated": truncated,
    "truncated-chunked": truncated_chunked,
    "two-cookies": two_cookies,
}


def handle(connection: Connection, request: Request) -> None:
    """Do what the path (or the event) says."""
    if request.path == "/early-413":
        # The body is left unread, so closing sends a reset after the answer: what a server with an upload limit does.
        connection.answer(413, b'"too large"', b"connection: close")
        raise Gone
    body = connection.read_body(request)
    path = request.path
    if path == "/events":
        _, found, rest = body[:1000].partition(b'"fault"')
        if not found:
            connection.answer(200, body)
            return
        path = rest.split(b'"')[1].decode()
    name, _, argument = path[1:].partition("/")
    if name in FAULTS:
        FAULTS[name](connection, argument)
    elif request.method == b"HEAD":
        connection.send(HEAD + b"content-length: 4\r\n\r\n")
    else:
        connection.answer(200, OK)


if __name__ == "__main__":
    serve(handle)
