"""Our own log lines: one record, one line, one write, on stderr.

The text form is that of Lambda's managed runtimes (level, UTC time, request id, message, with tabs between them);
``AWS_LAMBDA_LOG_FORMAT=JSON`` gives one object per line. ``logging`` is not used: it takes 10 ms of the start.
"""

from __future__ import annotations

import posix
import time

from .json_codec import dumps

STDERR = 2


def line(level: str, message: str, request_id: str = "", *, as_json: bool = False, now: float | None = None) -> bytes:
    """One log record as a line of UTF-8."""
    now = time.time() if now is None else now
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
    if as_json:
        record = {"timestamp": stamp, "level": level, "message": message, "requestId": request_id}
        return dumps({key: value for key, value in record.items() if value}) + b"\n"
    # A carriage return keeps a multi-line message one CloudWatch event; a line feed would split it.
    one_line = message.rstrip("\n").replace("\r\n", "\r").replace("\n", "\r")
    return f"[{level}]\t{stamp}\t{request_id}\t{one_line}\n".encode("utf-8", "backslashreplace")


class Log:
    """Writes records to stderr; never raises."""

    def __init__(self, as_json: bool = False) -> None:
        self._as_json = as_json

    def __call__(self, level: str, message: str, request_id: str = "") -> None:
        write_all(STDERR, line(level, message, request_id, as_json=self._as_json))


def write_all(descriptor: int, data: bytes) -> None:
    """Write everything, or give up without a word: a closed stderr must not stop an app or a function."""
    try:
        while data:
            data = data[posix.write(descriptor, data) :]
    except OSError:
        pass
