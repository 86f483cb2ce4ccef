"""Where the log records of a Python handler go: lines on stdout, or frames on a descriptor that the platform gave.

A layer for ``provided.*`` gets no such descriptor today; where there is one, the level travels beside the record and
nothing has to be squeezed into one line.
"""

from __future__ import annotations

import _thread
import posix
import time

from ..logs import one_line, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Output(Protocol):
        """What takes records."""

        def write(self, text: str, level: int | None) -> None:
            """One record as text. ``level`` is ``logging``'s number; None: the platform is not told."""


LINE_FEED = 10
ERROR = 40
TEXT_FRAME = 0xA55A0003
JSON_FRAME = 0xA55A0002


def rank(level: int) -> int:
    """0 TRACE, 1 DEBUG, 2 INFO, 3 WARN, 4 ERROR, 5 FATAL: a level of ``logging``, rounded down to one of Lambda's."""
    return min(max(level, 0), 50) // 10


class Descriptor:
    """What several threads write to, each piece as a whole."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._is_mid_line = False
        self._new_lock()
        posix.register_at_fork(after_in_child=self._new_lock)  # whoever held it does not exist there

    def write(self, octets: bytes | memoryview) -> None:
        """Write as it is."""
        with self._lock:  # a pipe keeps no more than 4 KiB together (PIPE_BUF)
            write_all(self.number, octets)
            if octets:
                self._is_mid_line = octets[-1] != LINE_FEED

    def write_line(self, line: bytes) -> None:
        """Write a line at the beginning of one: ``print(..., end="")`` may have left the last one open."""
        with self._lock:
            self.write(b"\n" + line if self._is_mid_line else line)

    def _new_lock(self) -> None:
        self._lock = _thread.RLock()  # a signal handler that logs interrupts whoever holds it


class Lines:
    """Standard output: one record, one line, and the level only in the text."""

    def __init__(self, stdout: Descriptor) -> None:
        self._stdout = stdout

    def write(self, text: str, level: int | None) -> None:
        """Write the record."""
        self._stdout.write_line(f"{one_line(text)}\n".encode("utf-8", "backslashreplace"))


class Frames:
    """The platform's telemetry descriptor: type (4 bytes, big-endian), length (4), time in µs (8), then the record."""

    def __init__(self, descriptor: Descriptor, as_json: bool) -> None:
        self._descriptor = descriptor
        self._type = JSON_FRAME if as_json else TEXT_FRAME

    def write(self, text: str, level: int | None) -> None:
        """Write the record as it is."""
        octets = text.encode("utf-8", "backslashreplace")
        kind = self._type if level is None else self._type | (rank(level) + 1) << 2
        head = kind.to_bytes(4, "big") + len(octets).to_bytes(4, "big") + (time.time_ns() // 1000).to_bytes(8, "big")
        self._descriptor.write(head + octets)
