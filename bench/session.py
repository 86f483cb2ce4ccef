"""One contestant, running: a mock Runtime API, the runtime and its app, each a process of its own.

The mock is stepped: it holds the first event of every phase back until ``run_phase`` is called, with the runtime
waiting in next. So several sessions can be alive with one of them at work, and a process can be looked at while it does
nothing.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from . import machine
from .build import build
from .contestants import Contestant
from .failures import BenchError

FUNCTION = {
    "PATH": "/usr/local/bin:/usr/bin:/bin:/opt/bin",
    "LANG": "en_US.UTF-8",
    "TZ": ":UTC",
    "_HANDLER": "handler",
    "AWS_REGION": "eu-central-1",
    "AWS_LAMBDA_FUNCTION_NAME": "bench",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
    "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/bench",
    "AWS_LAMBDA_LOG_STREAM_NAME": "2026/11/21/[$LATEST]0a1b2c",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
}
LIMIT_S = 600
# A runtime that has ended never asks for the next phase: it is looked for this often.
LOOK_S = 0.5


class Phase(NamedTuple):
    """A number of invocations with the event in this file."""

    event: Path
    invocations: int


class Options(NamedTuple):
    """The options of all sessions of a run."""

    pinned: bool = False
    quick_ack: bool = False


class Session:
    """A context manager: everything that was started is gone when it is left."""

    def __init__(
        self,
        contestant: Contestant,
        app_command: str,  # "": none
        phases: Sequence[Phase],
        options: Options,
        environment: Mapping[str, str] | None = None,
        save: Path | None = None,
    ) -> None:
        self.contestant = contestant
        self.started_ns = 0  # wall clock, just before the runtime's exec
        self._directory = Path(tempfile.mkdtemp(prefix="bench-"))
        self._log = self._directory / "log"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._mock: subprocess.Popen[bytes] | None = None
        self._left = len(phases)
        port = machine.free_port()
        try:
            with machine.on_one_core(options.pinned):
                self._mock, api = self._start_mock(phases, options.quick_ack, save)
                variables = {
                    **FUNCTION,
                    "AWS_LAMBDA_RUNTIME_API": api,
                    "LAMBDA_TASK_ROOT": str(self._directory),
                    "TMPDIR": str(self._directory),
                    **contestant.environment(port, app_command),
                    **(environment or {}),
                }
                self.started_ns = time.time_ns()
                self._runtime = self._start(contestant.command, variables)
                if app_command and not contestant.starts_app:
                    self._start(("/bin/sh", "-c", f"exec {app_command}"), {**FUNCTION, "PORT": str(port)})
            self._await("ready")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pids(self) -> list[int]:
        """The runtime's processes: the app's is none of them."""
        return machine.job(self._runtime.pid)

    def run_phase(self) -> Any:
        """Let the next phase happen. None, or after the last one what the mock has measured."""
        stdin = self._mock.stdin if self._mock else None
        assert stdin
        stdin.write(b"\n")
        stdin.flush()
        self._left -= 1
        if self._left:
            return self._await("ready")
        result = json.loads(self._await("{"))
        if not result["complete"]:
            raise self._failure("not every invocation was answered")
        return result

    def end_runtime(self) -> None:
        """Have the runtime end, as the platform does."""
        self._runtime.terminate()
        self._runtime.wait(LIMIT_S)

    def close(self) -> None:
        """End what was started: the runtime first, which ends the app if it has started it."""
        has_failed = any(process.poll() is not None for process in self._processes if process is not self._mock)
        for process in reversed(self._processes):
            orphans = machine.children(process.pid)
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
                for orphan in orphans:
                    os.kill(orphan, 9)
            for stream in (process.stdin, process.stdout):
                if stream:
                    stream.close()
        self._processes = []
        if has_failed:  # a runtime that ended by itself may have left the app behind
            for pid in machine.started_with(f"TMPDIR={self._directory}"):
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    pass
        shutil.rmtree(self._directory, ignore_errors=True)

    def _start_mock(
        self, phases: Sequence[Phase], quick_ack: bool, save: Path | None
    ) -> tuple[subprocess.Popen[bytes], str]:
        command = [
            *(str(build("mock_api")), "--step", "--limit", str(LIMIT_S), *(["--quickack"] if quick_ack else [])),
            *(["--save", str(save)] if save else []),
            *(word for phase in phases for word in (str(phase.event), str(phase.invocations))),
        ]
        process = self._start(command, {}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        words = process.stdout.readline().split() if process.stdout else []
        if words[:1] != [b"listening"]:
            raise self._failure("the mock Runtime API did not start")
        return process, f"127.0.0.1:{int(words[1])}"

    def _start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        stdin: int = subprocess.DEVNULL,
        stdout: int | None = None,
    ) -> subprocess.Popen[bytes]:
        # close_fds=False makes this a posix_spawn, the quickest way; Python's own descriptors are close-on-exec anyway.
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                command, env=environment, stdin=stdin, stdout=stdout or log, stderr=log, close_fds=False
            )
        self._processes.append(process)
        return process

    def _await(self, beginning: str) -> str:
        """The next line of the mock, which has to begin like this."""
        stream = self._mock.stdout if self._mock else None
        assert stream
        while not select.select([stream], [], [], LOOK_S)[0]:
            for process in self._processes:
                if process.poll() is not None:
                    raise self._failure(f"{process.args!r} has ended with {process.returncode}")
        line = stream.readline().decode()
        if not line.startswith(beginning):
            raise self._failure(f"the mock Runtime API ended early: {line[:300].strip() or 'it said nothing'}")
        return line

    def _failure(self, what: str) -> BenchError:
        said = self._log.read_text(errors="replace")[-3000:] if self._log.exists() else ""
        return BenchError(f"{self.contestant.name}: {what}\nWhat was logged ends with:\n{said}")


def in_order(contestants: Sequence[Contestant], round_number: int) -> Sequence[Contestant]:
    """Reversed in every other round, so that neither always comes second."""
    return contestants if round_number % 2 == 0 else contestants[::-1]
