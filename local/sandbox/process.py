"""A program in a sandbox, and all that it starts: its output, its memory, and its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from ..cache import CHECKOUT
from ..failures import LocalFailure
from ..processes import below, children
from . import cgroup
from .cgroup import Freezer, MemoryLimit
from .launcher import Launcher

OUTPUT_LINES = 2000
KILLED_WITHIN_S = 60.0


class SandboxProcess:
    """Starts a program in a sandbox, and another when that has ended, until ``close``.

    ``on_output`` gets each line that they write, in a thread of its own; ``lines`` has the last of them.
    Start it in a thread that stays: the kernel ends the sandbox together with the thread that started it.
    """

    def __init__(self, memory_mb: int, on_output: Callable[[str], object] | None = None) -> None:
        self._memory_mb = memory_mb
        self._on_output = on_output
        self.lines: deque[str] = deque(maxlen=OUTPUT_LINES)
        self._open = threading.RLock()
        self._ending = threading.Lock()
        self._is_closed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._init_pid = 0
        self._memory_kills = 0
        self.memory_limit: MemoryLimit | None = None
        self.freezer: Freezer | None = None

    @property
    def pid(self) -> int:
        """The id of the process that everything in the sandbox ends with; 0 before the start."""
        return self._process.pid if self._process else 0

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def was_made(self) -> bool:
        """Whether the last start got as far as the program."""
        return self._init_pid > 0

    @property
    def program_pid(self) -> int:
        """The id of the program's process as this machine sees it; 0 when it does not run."""
        return next(iter(children(self._init_pid)), 0) if self.is_running else 0

    def processes(self) -> list[int]:
        """All in the sandbox except those that make it, as this machine counts them."""
        return below(self._init_pid) if self.is_running else []

    def limit(self, freezes: bool) -> list[str]:
        """Let the kernel limit the memory, or return a sentence where it cannot; allow ``freeze`` if ``freezes``.

        Raises ``LocalFailure`` where the kernel cannot freeze.
        """
        limit = self.memory_limit = MemoryLimit.of(self._memory_mb)
        if freezes:
            self.freezer = Freezer.of(cgroup.freezer_places(limit.directory if limit else None))
        return (
            [] if limit else [f"the memory limit of {self._memory_mb} MB is not enforced: no cgroup can be made here"]
        )

    @contextmanager
    def while_open(self) -> Iterator[None]:
        """Let ``close`` wait for the block. Raises ``LocalFailure`` when it was called before."""
        with self._open:
            if self._is_closed:
                raise LocalFailure("the function was stopped")
            yield

    def launch(self, launcher: Launcher, program: list[str], on_end: Callable[[int], object] = repr) -> None:
        """Start ``program``. ``on_end`` gets its exit status when it and all that it has started have ended."""
        read_end, write_end = os.pipe()
        command = [*launcher.command, "--info-fd", str(write_end), *launcher.arguments, *program]
        try:
            self._process = process = subprocess.Popen(
                self.memory_limit.applied_to(command) if self.memory_limit else command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=CHECKOUT,  # where Python finds the programs of this package
                pass_fds=(write_end,),
                start_new_session=True,  # Ctrl-C in the terminal is ours: we end the sandbox in order
            )
        finally:
            os.close(write_end)
        self._reader = threading.Thread(target=self._read_output, args=(process, on_end), daemon=True)
        self._reader.start()
        with os.fdopen(read_end, "rb") as info:
            description = info.read()
        self._init_pid = json.loads(description)["child-pid"] if description else 0

    def not_started(self) -> LocalFailure:
        """Why the sandbox did not start, in its own words."""
        return LocalFailure("the sandbox did not start: " + ("\n".join(self.lines) or "it wrote nothing"))

    def say(self, line: str) -> None:
        """Add a line to the output."""
        self.lines.append(line)
        if self._on_output:
            self._on_output(line)

    def out_of_memory(self) -> str:
        """A sentence, once, when the kernel has ended a process since the last time because of the memory limit."""
        kills = self.memory_limit.kills if self.memory_limit else 0
        if kills <= self._memory_kills:
            return ""
        self._memory_kills = kills
        notice = f"the function ran out of its {self._memory_mb} MB of memory: the kernel killed one of its processes"
        self.say(notice)
        return notice

    def freeze(self, running: Callable[[], list[int]]) -> None:
        """Freeze the processes that ``running()`` says, if freezing is allowed."""
        with self._open:  # after `close`, what is frozen could not end
            if self.freezer and not self._is_closed:
                self.freezer.freeze(running)

    def thaw(self) -> None:
        """Let what is frozen go on."""
        if self.freezer:
            self.freezer.thaw()

    def end(self, is_told: bool, patience_s: float) -> None:
        """End the program and all that it has started.

        Told are the program, if ``is_told``, and the sandbox, with ``patience_s`` for each; then it is killed.
        """
        with self._ending:  # who stops all this may come together with who has waited too long
            if self._process is None or self._reader is None:
                return
            process = self._process
            # The sandbox passes no signal on: told itself, it takes everything down at once, as it does when killed.
            steps = [process.terminate, process.kill]
            if is_told and (program := self.program_pid):
                steps.insert(0, partial(_terminate, program))
            for step in steps:
                step()
                try:
                    process.wait(patience_s)
                    break
                except subprocess.TimeoutExpired:
                    continue
            process.wait(KILLED_WITHIN_S)
            self._reader.join()  # no limit: the pipe ends when its last holder has, and all were killed
            assert process.stdout is not None
            process.stdout.close()
            self._process = self._reader = None

    def close(self) -> None:
        """Start and freeze nothing any more. What runs goes on: ``end`` it, then ``release``."""
        with self._open:
            self._is_closed = True
            self.thaw()

    def release(self) -> None:
        """Remove the cgroups."""
        if self.freezer:  # before the memory limit: with v2 it is inside
            self.freezer.release()
            self.freezer = None
        if self.memory_limit:
            self.memory_limit.release()
            self.memory_limit = None

    def _read_output(self, process: subprocess.Popen[bytes], on_end: Callable[[int], object]) -> None:
        assert process.stdout is not None
        for raw in process.stdout:
            self.say(raw.rstrip(b"\r\n").decode(errors="replace"))
        on_end(process.wait())  # no limit: its output has ended, so nothing of it runs any more


def _terminate(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass  # it has just ended, and so does the sandbox
