"""Our own log lines: one record, one line, one write, on stderr.

The text form is that of Lambda's managed runtimes (level, UTC time, request id, message, with tabs between them);
``AWS_LAMBDA_LOG_FORMAT=JSON`` gives one object per line, with the keys of a handler's own records (log_records.py).
``logging`` is not used: it takes 10 ms of the start.
"""

from __future__ import annotations

import posix
import time

from .json_codec import dumps
from .standard import standard_library

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

STDERR = 2
NO_BREAK_SPACE = "\u00a0"
LOGGER = "fairlead"  # tells our lines from those of the user's loggers


def wants_json(environ: Mapping[str, str]) -> bool:
    """Whether the function is configured for log lines as JSON."""
    return environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"


def stamp(now: float) -> str:
    """Epoch seconds as ``2026-11-21T09:29:43.556Z``."""
    seconds, milliseconds = divmod(int(now * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{milliseconds:03d}Z"


def one_line(text: str) -> str:
    """``text`` with carriage returns between its lines: CloudWatch makes one event of it, line feeds would split it."""
    return text.rstrip("\n").replace("\r\n", "\r").replace("\n", "\r")


def indented(text: str) -> list[str]:
    """The lines of a trace, beginning with no-break spaces: CloudWatch shows an event without its leading blanks."""
    lines = text.rstrip("\n").split("\n")
    return [NO_BREAK_SPACE * (len(line) - len(line.lstrip(" "))) + line.lstrip(" ") for line in lines]


def line(level: str, message: str, request_id: str = "", *, as_json: bool = False, now: float | None = None) -> bytes:
    """One log record as a line of UTF-8."""
    when = stamp(time.time() if now is None else now)
    if as_json:
        record = {"timestamp": when, "level": level, "message": message, "logger": LOGGER, "requestId": request_id}
        return dumps({key: value for key, value in record.items() if value}) + b"\n"
    told = one_line(f"{request_id}\t{message}")
    return f"[{level}]\t{when}\t{told}\n".encode("utf-8", "backslashreplace")


class Log:
    """Writes records to stderr; never raises."""

    def __init__(self, as_json: bool = False) -> None:
        self._as_json = as_json

    def __call__(self, level: str, message: str, request_id: str = "") -> None:
        write_all(STDERR, line(level, message, request_id, as_json=self._as_json))


def write_all(descriptor: int, octets: bytes | memoryview) -> None:
    """Write everything, or give up without a word: a closed stderr must not stop an app or a function."""
    try:
        while octets:
            try:
                octets = octets[posix.write(descriptor, octets) :]
            except BlockingIOError:
                _await_room(descriptor)
    except OSError:
        pass


def _await_room(descriptor: int) -> None:
    """A child process can have made the pipe that we share with it non-blocking, as Node does."""
    with standard_library:
        import select

    poller = select.poll()
    poller.register(descriptor, select.POLLOUT)
    poller.poll()
