"""The real ``./bootstrap`` as a child process: started as the platform does it, watched, gone when the test ends."""

from __future__ import annotations

import itertools
import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .runtime_api import WAIT_SECONDS, FakeRuntimeApi

CHECKOUT = Path(__file__).resolve().parents[2]
APPS = CHECKOUT / "tests" / "apps"
# A process that was killed takes a moment to be gone, the more so where others compute.
GONE_WITHIN_S = 5.0
# In the environment of everything a bootstrap starts, whatever process group that ends up in. Not called FAIRLEAD_...:
# those are settings.
MARK = "BOOTSTRAP_TEST_MARK"
# The interpreter behind the virtual environment: a version manager's shim costs 100 ms and more.
PYTHON = os.path.realpath(sys.executable)
# Below the ephemeral range, so that no outgoing connection of another test takes the port between choice and use.
_ports = itertools.count(12_000 + os.getpid() * 37 % 16_000)
_marks = itertools.count(1)


def app(name: str, *arguments: str) -> str:
    """The shell command that runs ``tests/apps/<name>``."""
    return "exec " + shlex.join([PYTHON, "-S", str(APPS / name), *arguments])


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that no other test of this run was given."""
    for port in _ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("unreachable: the count is endless")


def start_bootstrap(
    api: FakeRuntimeApi | None,
    *,
    command: str | None = None,
    handler: str | None = None,
    environment: Mapping[str, str | None] | None = None,
    arguments: Sequence[str] = (),
    bootstrap: Path = Path("bootstrap"),
) -> BootstrapProcess:
    """Start ``bootstrap`` (relative to the checkout) against ``api``, in a session of its own, and watch it.

    ``command`` and ``handler`` are ``FAIRLEAD_COMMAND`` and ``_HANDLER``. A variable given as None is removed.
    The process ends with the ``with FakeRuntimeApi()`` block at the latest, and all that it started with it.
    """
    directory = Path(tempfile.mkdtemp(prefix="bootstrap-test-"))
    task_root = directory / "task"
    task_root.mkdir()
    (directory / "tmp").mkdir()
    port = free_port()
    mark = f"{os.getpid()}-{next(_marks)}"
    variables: dict[str, str | None] = {
        "PATH": f"{os.path.dirname(PYTHON)}:/usr/local/bin:/usr/bin:/bin",
        "TMPDIR": str(directory / "tmp"),
        "LAMBDA_TASK_ROOT": str(task_root),
        "AWS_LAMBDA_RUNTIME_API": api.address if api else None,
        "AWS_LAMBDA_FUNCTION_NAME": "fairlead-test",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "FAIRLEAD_PORT": str(port),
        "FAIRLEAD_COMMAND": command,
        "_HANDLER": handler,
        MARK: mark,
        **(environment or {}),
    }
    given = {name: value for name, value in variables.items() if value is not None}
    process = subprocess.Popen(
        [str(CHECKOUT / bootstrap), *arguments],
        cwd=given.get("LAMBDA_TASK_ROOT", task_root),
        env=given,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    watched = BootstrapProcess(process, mark, port, directory)
    if api:
        api.processes.append(watched)
    return watched


class BootstrapProcess:
    """One run of ``bootstrap``. What it and its app print is collected all the time, so that nothing ever blocks."""

    def __init__(self, process: subprocess.Popen[bytes], mark: str, port: int, directory: Path) -> None:
        self.port = port
        self.directory = directory
        self.task_root = directory / "task"
        self._process = process
        self._mark = mark
        self._was_killed = False
        self._is_stopped = False
        self._changed = threading.Condition()
        self._streams = [stream for stream in (process.stdout, process.stderr) if stream]
        self._collected = [bytearray() for _ in self._streams]
        self._threads = [threading.Thread(target=self._collect, args=(at,), daemon=True) for at in (0, 1)]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """The process id; bash hands it on to the interpreter."""
        return self._process.pid

    @property
    def stdout(self) -> str:
        """What came on the standard output so far."""
        return self._text(0)

    @property
    def stderr(self) -> str:
        """What came on the standard error so far."""
        return self._text(1)

    @property
    def output(self) -> str:
        """Both, standard output first."""
        return self.stdout + self.stderr

    @property
    def app_pids(self) -> list[int]:
        """Every other process of this run that is alive: the app, what it started, and what outlived the bootstrap."""
        return [pid for pid in _processes() if pid != self.pid and self._is_ours(pid)]

    def has_exited(self) -> bool:
        """Whether the bootstrap has ended."""
        return self._process.poll() is not None

    def wait(self, timeout: float = WAIT_SECONDS) -> int:
        """The exit status, negative for a signal, once the bootstrap ends; all it printed is in ``output`` then."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the bootstrap did not exit within {timeout} s\n{self.describe()}") from None

    def wait_output(self, text: str, timeout: float = WAIT_SECONDS) -> None:
        """Wait until ``text`` was printed."""
        deadline = time.monotonic() + timeout
        while text not in self.output:
            if time.monotonic() > deadline or self.has_exited():
                if text in self.output:
                    return
                raise AssertionError(f"waited for {text!r} in the output\n{self.describe()}")
            with self._changed:
                self._changed.wait(0.05)

    def terminate(self) -> None:
        """Send SIGTERM as the platform does: to the bootstrap alone."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL as the platform does: to the bootstrap's process group, which is not the app's."""
        self._was_killed = True
        if not self.has_exited():
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(WAIT_SECONDS)

    def describe(self) -> str:
        """The state and the whole output, for a failure's message."""
        state = f"exited {self._process.returncode}" if self.has_exited() else "running"
        return f"bootstrap {self.pid} ({state}), stdout:\n{self.stdout}\nstderr:\n{self.stderr}"

    def stop(self) -> list[str]:
        """End everything; the processes that a bootstrap which ended by itself should not have left running."""
        if self._is_stopped:
            return []
        self._is_stopped = True
        leftovers = [] if self._was_killed or not self.has_exited() else self._leftovers()
        self.kill()
        limit = time.monotonic() + WAIT_SECONDS
        while (pids := self.app_pids) and time.monotonic() < limit:  # again and again: they may be forking
            for pid in pids:
                _kill(pid)
            time.sleep(0.001)
        for thread in self._threads:
            thread.join(WAIT_SECONDS)
        for stream in self._streams:
            stream.close()
        shutil.rmtree(self.directory, ignore_errors=True)
        return leftovers

    def _is_ours(self, pid: int) -> bool:
        # Either alone can be lost: the session by setsid, the environment by `env -i`.
        try:
            return os.getsid(pid) == self.pid or f"{MARK}={self._mark}".encode() in _read(pid, "environ").split(b"\0")
        except ProcessLookupError:
            return False

    def _leftovers(self) -> list[str]:
        limit = time.monotonic() + GONE_WITHIN_S
        while (pids := self.app_pids) and time.monotonic() < limit:
            time.sleep(0.01)
        return [f"{pid}: {_read(pid, 'cmdline').replace(bytes(1), b' ').decode()}" for pid in pids]

    def _text(self, at: int) -> str:
        self._drain(at)
        return self._collected[at].decode("utf-8", "backslashreplace")

    def _collect(self, at: int) -> None:
        stream = self._streams[at]
        is_open = True
        while is_open:
            select.select([stream], [], [])
            is_open = self._drain(at)

    def _drain(self, at: int) -> bool:
        """Take what waits in the pipe, without blocking; whether more can come.

        Readers do this too: what a process wrote before it exited must not depend on when a thread gets to run.
        """
        stream = self._streams[at]
        with self._changed:
            while not stream.closed and select.select([stream], [], [], 0)[0]:
                received = os.read(stream.fileno(), 65536)
                if not received:
                    return False
                self._collected[at] += received
                self._changed.notify_all()
            return not stream.closed


def is_running(pid: int) -> bool:
    """Whether a thread of the process is left, and with it its sockets.

    A leader that has ended is a zombie before its threads are gone, and what ends loses its command line before its
    descriptors are closed.
    """
    fields = _read(pid, "stat").rpartition(b") ")[2].split()
    return bool(fields) and (fields[0] not in (b"Z", b"X") or int(fields[17]) > 1)


def _processes() -> list[int]:
    """Everything that runs."""
    return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and is_running(int(pid))]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""  # gone, or somebody else's


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
