"""The output of ``make run``: lines for people, or JSON lines for programs."""

from __future__ import annotations

import re
import sys
import time
from datetime import UTC, datetime

import orjson

from .conversation import Served

# The emulator's account of each invocation: its figures are constants or wrong, and the gateway's line says it better.
BOOKKEEPING = re.compile(
    r"(START|END|REPORT) RequestId: |"
    r".*\(rapid\) (Invoke DONE|(Init|Invoke) failed error=(errResetReceived|Runtime exited with error: exit status))"
)


def write(line: str) -> None:
    # One write per line: lines of several threads must not mix.
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Readable:
    """Writes a line for each event, and below a request its problems."""

    def note(self, words: str) -> None:
        write(f"note: {words}")

    def address(self, app: str, address: str) -> None:
        write(f"{app} is at {address}  (Ctrl-C ends it)")

    def output(self, environment: int, line: str) -> None:
        write(f"#{environment}  {below(line)}")

    def served(self, served: Served) -> None:
        write(readable(served, time.strftime("%H:%M:%S")))


def below(line: str) -> str:
    """``line`` with what follows a carriage return on a line of its own, as CloudWatch shows a record of several lines.

    A terminal would write each of them over the one before.
    """
    return line.replace("\r", "\n          ")


def readable(served: Served, at: str) -> str:
    """A line with ``at``, the environment, the request, the answer and its time; below it, what went wrong."""
    environment = f"#{served.environment}" if served.environment else "--"
    warmth = f"  {'cold' if served.is_cold else 'warm'}" if served.environment else ""
    line = (
        f"{at}  {environment}  {served.method} {served.target}  {served.status}  "
        f"{served.body_bytes:,} B  {_duration(served)}{warmth}"
    )
    return "\n".join([line, *(f"          {problem}" for problem in served.problem)])


def _duration(served: Served) -> str:
    whole = f"{served.duration_ms:,.1f} ms"
    return whole if served.first_byte_ms is None else f"{served.first_byte_ms:,.1f} ms, all after {whole}"


class JsonLines:
    """One JSON object per line; ``type`` says what it is about, ``time`` is UTC."""

    def note(self, words: str) -> None:
        self._write("note", {"text": words})

    def address(self, app: str, address: str) -> None:
        self._write("address", {"app": app, "address": address})

    def output(self, environment: int, line: str) -> None:
        self._write("output", {"environment": environment, "line": line})

    def served(self, served: Served) -> None:
        first = served.first_byte_ms
        times = {
            "duration_ms": round(served.duration_ms, 3),
            "first_byte_ms": None if first is None else round(first, 3),
        }
        self._write("request", {**served._asdict(), **times})

    def _write(self, kind: str, members: dict[str, object]) -> None:
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        write(orjson.dumps({"time": stamp, "type": kind, **members}).decode())


Display = Readable | JsonLines
