"""Processes that outlive the test which started them: found after each test, killed, and told with the test's name.

A process belongs to this run if it descends from it, has its mark in the environment, or is of a session or process
group of such a process. What a fixture of a longer life has started may live as long as that fixture, and so may what
such a process starts.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

from .process import GONE_WITHIN_S, MARK, is_running

POLL_S = 0.02


class Process(NamedTuple):
    """One process, as proc(5) shows it. A number that is given again comes with another start time."""

    pid: int
    parent: int
    group: int
    session: int
    started: int


class Leftovers:
    """The processes of this test run."""

    def __init__(self, gone_within_s: float = GONE_WITHIN_S) -> None:
        self._gone_within_s = gone_within_s
        self._me = os.getpid()
        self._mark = f"{MARK}={self._me}-".encode()
        self._others: set[int] = set()  # looked at, and not of this run
        self._ours: dict[Process, str] = {}  # and the scope of the fixture that started it: "function" ends with a test

    def note(self, scope: str) -> None:
        """Take what was started since the last look as belonging to ``scope``."""
        pids = {int(name) for name in os.listdir("/proc") if name.isdigit()}
        self._others &= pids
        self._ours = {known: of for known, of in self._ours.items() if known.pid in pids and _process(known.pid)}
        known = {process.pid for process in self._ours}
        # In the order of their start, more or less: parents are known before their children.
        fresh = [found for pid in sorted(pids - known - self._others) if (found := _process(pid))]
        while adopted := [process for process in fresh if self._is_ours(process)]:
            for process in adopted:
                self._ours[process] = self._inherited(process) or scope
            fresh = [process for process in fresh if process not in self._ours]
        self._others |= {process.pid for process in fresh}

    def take(self, scopes: set[str]) -> list[str]:
        """End what is left of ``scopes``: the command line of each. What ends by itself within moments is none."""
        limit = time.monotonic() + self._gone_within_s
        while (left := self._left(scopes)) and time.monotonic() < limit:
            time.sleep(POLL_S)
        lines = [f"{process.pid}: {_command_line(process.pid)}" for process in left]
        for process in left:
            try:
                os.kill(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return lines

    def _left(self, scopes: set[str]) -> list[Process]:
        self.note("function")
        return [process for process, scope in self._ours.items() if scope in scopes]

    def _is_ours(self, process: Process) -> bool:
        if process.pid == self._me:
            return False
        relatives = {self._me, *(known.pid for known in self._ours)}
        if process.parent in relatives or {process.group, process.session} & (relatives - {self._me}):
            return True
        return self._mark in _read(process.pid, "environ")

    def _inherited(self, process: Process) -> str | None:
        for known, scope in self._ours.items():
            if known.pid in (process.parent, process.group, process.session):
                return scope
        return None


def _process(pid: int) -> Process | None:
    """The process, unless it is gone or a zombie."""
    fields = _read(pid, "stat").rpartition(b") ")[2].split()
    if not fields or not is_running(pid):
        return None
    return Process(pid, *(int(fields[at]) for at in (1, 2, 3, 19)))


def _command_line(pid: int) -> str:
    return _read(pid, "cmdline").replace(bytes(1), b" ").decode(errors="replace").strip()


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""  # gone, or somebody else's
