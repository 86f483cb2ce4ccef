"""An app that notes what it has processed where a test finds it, whatever becomes of the app afterwards.

``RECORD_DIRECTORY`` is a folder. A request is noted in two lines of the file ``record`` there: ``began NAME`` when its
body has come, ``done NAME`` when it is processed, which is before it is answered. The name is the member ``name`` of
the JSON body. Each line is one write to a file opened for appending, so it survives SIGKILL the moment it is made.

==========================  ==========================================================================================
member ``work_ms``          processing takes so long
member ``stderr``           so many bytes are written to stderr meanwhile
member ``later_stderr``     so many bytes are written to stderr a moment after the answer, while nobody asks
member ``fork``             a child is left behind that sleeps for ever
``GOODBYE_MS``              on SIGTERM: waits so long, says goodbye on stderr, exits 0
``NOISE_EVERY_MS``          a line on stderr so often, from the start on
==========================  ==========================================================================================

Whatever else ``serving.py`` understands, it understands.
"""

from __future__ import annotations

import _signal
import _thread
import os
import time
from _json import scanstring

from serving import Connection, Request, serve

LINE = b"recorder: " + b"n" * 89 + b"\n"


def note(word: str, name: str) -> None:
    """Add a line to the record."""
    try:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        record = os.open(os.environ["RECORD_DIRECTORY"] + "/record", flags, 0o600)
    except OSError:
        return
    os.write(record, f"{word} {name}\n".encode())
    os.close(record)


def member(body: bytes, name: str) -> str:
    """The value of a member of the JSON object ``body``, as text; "" when there is none."""
    _, found, rest = body.decode().partition(f'"{name}":')
    rest = rest.lstrip()
    if not found:
        return ""
    return scanstring(rest, 1)[0] if rest.startswith('"') else rest.partition(",")[0].partition("}")[0]


def burst(size: int) -> None:
    """So many bytes on stderr."""
    data = (LINE * (size // len(LINE) + 1))[:size]
    while data:
        data = data[os.write(2, data) :]


def handle(connection: Connection, request: Request) -> None:
    """Note the request, do its work, note that it is done, answer."""
    body = connection.read_body(request)
    name = member(body, "name")
    if name:
        note("began", name)
    time.sleep(int(member(body, "work_ms") or 0) / 1000)
    burst(int(member(body, "stderr") or 0))
    if member(body, "fork") and os.fork() == 0:
        while True:
            _signal.pause()
    if name:
        note("done", name)
    connection.answer(200, b'{"batchItemFailures":[]}', b"x-app-pid: %d" % os.getpid())
    burst(int(member(body, "later_stderr") or 0))


def say_goodbye(*_: object) -> None:
    """Take some time to end."""
    time.sleep(int(os.environ["GOODBYE_MS"]) / 1000)
    os.write(2, b"goodbye\n")
    os._exit(0)


def make_noise() -> None:
    """A line now and then."""
    while True:
        time.sleep(int(os.environ["NOISE_EVERY_MS"]) / 1000)
        os.write(2, LINE)


if __name__ == "__main__":
    if os.environ.get("GOODBYE_MS"):
        _signal.signal(_signal.SIGTERM, say_goodbye)
    if os.environ.get("NOISE_EVERY_MS"):
        _thread.start_new_thread(make_noise, ())
    serve(handle)
