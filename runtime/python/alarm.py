"""A deadline for code of the user's that nothing else can stop.

It is the signal SIGALRM, whose handler raises ``Late`` in the main thread, in whatever that is doing: the process ought
to end soon after. Code in C is not interrupted before it returns. An app that uses SIGALRM itself has no such deadline.
"""

from __future__ import annotations

import time

from ..c_modules import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Self

# What is raised can be caught: it is raised again.
AGAIN_S = 0.05


class Late(BaseException):
    """The deadline has passed. Not an ``Exception``, which apps catch."""


class Alarm:
    """A context manager that is used again and again; ``until`` sets its deadline.

    ``patience``: how many signals it takes, ``AGAIN_S`` apart. ``spared``: packages whose code is not interrupted.
    """

    def __init__(self, patience: int = 1, spared: tuple[str, ...] = ()) -> None:
        self._patience = self._left = patience
        self._spared = spared
        self._seconds = 0.0
        self._is_set = False
        self._is_ours = signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
        if self._is_ours:
            signal.signal(signal.SIGALRM, self._on_alarm)

    def until(self, deadline: float | None) -> Self:
        """The same, for a deadline in epoch seconds; None is no deadline."""
        self._seconds = 0.0 if deadline is None else max(0.001, deadline - time.time())
        return self

    def __enter__(self) -> None:
        if self._seconds and self._is_ours:
            self._is_set = True
            self._left = self._patience
            signal.setitimer(signal.ITIMER_REAL, self._seconds, AGAIN_S)

    def __exit__(self, *_: object) -> None:
        if self._is_set:
            self._is_set = False  # first: the signal may have come, and its handler not
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _on_alarm(self, _signal: int, frame: FrameType | None) -> None:
        if not self._is_set:
            return
        self._left -= 1
        interrupted = str(frame.f_globals.get("__name__")).partition(".")[0] if frame else ""
        if self._left <= 0 and interrupted not in self._spared:
            raise Late
