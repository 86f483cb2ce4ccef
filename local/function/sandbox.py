"""A function as Lambda runs it, on this machine: the emulator and a layer in a sandbox, with neither root nor Docker.

``/`` is a stand-in for provided.al2023 and read-only, ``/opt`` is the layer, ``/var/task`` the app, ``/tmp`` a bounded
tmpfs; the user is 993 and has no capabilities; the process table is private and ends with this process.
The network is this machine's: the app reaches databases and APIs as it would without the sandbox.
Where no sandbox can be made, the function is an ordinary process, and a notice says what that means.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import urllib3

from ..cache import CHECKOUT
from ..failures import LocalFailure
from ..machine import architecture_of
from ..ports import HeldPort, hold_free, is_free, is_listening, listening_ports, loopback_address
from ..processes import below, children
from ..runtime_api.streamed_answer import StreamedAnswer
from ..sandbox import freezer, rootfs
from ..sandbox.enclosure import Enclosure, Function, enclosure
from ..sandbox.freezer import Freezer
from ..sandbox.memory_limit import MemoryLimit
from ..sandbox.mounts import TASK_ROOT, Bind
from .app_port import AppPort

INVOCATIONS = "/2015-03-31/functions/function/invocations"
PORT_ATTEMPTS = 3
APP_EXITED, PORT_IN_USE = "Runtime.AppExited", "Runtime.PortInUse"
# How servers say that their port is somebody else's, and where most of them say which.
ADDRESS_IN_USE = re.compile(r"EADDRINUSE|address (is )?already in use", re.IGNORECASE)
PORT_IN_WORDS = re.compile(r"(?:\bport\W{0,3}|:|', )(\d{2,5})\b", re.IGNORECASE)
# By then most apps listen. One that listens elsewhere is looked for again and again, because none says so.
LOOK_S = 2.0
START_S = 10.0
# With an extension registered the emulator grants the runtime 0.6 s after SIGTERM; more means that it hangs.
STOP_S = 2.0
KILLED_WITHIN_S = 60.0
POLL_S = 0.005
OUTPUT_LINES = 2000
COMMAND, UNIX_SOCKET = "FAIRLEAD_COMMAND", "FAIRLEAD_UNIX_SOCKET"
TIMED_OUT = b"Task timed out after "

# What the platform sets on provided.al2023 (https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html),
# except for what the emulator adds: the function's name and version, the log names, the Runtime API's address.
# AWS_EXECUTION_ENV and HOME are not set there, so they are not here.
LAMBDA_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin/:/bin:/opt/bin",
    "LD_LIBRARY_PATH": "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
    "LANG": "en_US.UTF-8",
    "TZ": ":UTC",
    "LAMBDA_TASK_ROOT": TASK_ROOT,
    "LAMBDA_RUNTIME_DIR": "/var/runtime",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    "_HANDLER": "run.sh",
}


class Reply(NamedTuple):
    """What the emulator answered. Status 200 says little: a function's errors and timeouts come with it too."""

    status: int
    body: bytes
    is_cold: bool  # the init phase was part of this invocation
    notice: str = ""  # what this machine saw and the emulator does not say: out of memory
    stream: StreamedAnswer | None = None  # to be read instead of ``body``, before the invocation is over


def init_error(reply: Reply) -> tuple[str, str]:
    """Type and message of the error with which the function's start failed; both empty when it did not."""
    if reply.status != 502 or reply.stream:
        return "", ""
    try:
        document = json.loads(reply.body)
        return str(document["errorType"]), str(document["errorMessage"])
    except (ValueError, KeyError, TypeError):
        return "", ""


def unheard(reply: Reply) -> None:
    """For who does not care for an early answer: what ``invoke`` gives has it too, unless it is streamed."""
    if reply.stream:
        reply.stream.close()


class Sandbox:
    """One function: ``with Sandbox(layer, app) as function: function.invoke(b"{}")``.

    ``environment`` is the function's configuration and wins over Lambda's own variables. ``extra_binds`` may lie below
    ``/var/task`` or ``/mnt``. ``on_output`` gets each line that the function or the emulator writes, in a thread of its
    own; ``output`` has the last of them in any case, ``notices`` what is different from Lambda on this machine.
    ``architecture`` is ``x86_64`` or ``arm64``, by default what the layer is made for; arm64 is emulated on another
    machine. ``freeze`` stops the function's processes between invocations, as Lambda does and the emulator does not.
    ``suite`` is the Debian release that the stand-in is made of. ``own_port``: the app gets a port that is its alone,
    whatever ``environment`` says. ``on_port_wanted`` gets a port that is taken and that the app wants all the same;
    it says what was done about it, or nothing.

    Start it in a thread that stays: the kernel ends the sandbox together with the thread that started it.
    """

    def __init__(
        self,
        layer: Path,
        task: Path,
        environment: Mapping[str, str] | None = None,
        memory_mb: int = 1024,
        timeout_s: int = 30,
        extra_binds: Sequence[Bind] = (),
        on_output: Callable[[str], object] | None = None,
        *,
        architecture: str | None = None,
        freeze: bool = False,
        suite: str = rootfs.SUITE,
        own_port: bool = False,
        on_port_wanted: Callable[[int], str] = lambda port: "",
    ) -> None:
        layer = layer.resolve()
        self._function = Function(layer, task.resolve(), architecture or architecture_of(layer), suite)
        self._freezes = freeze
        self._environment = dict(environment or {})
        self._memory_mb = memory_mb
        self._timeout_s = timeout_s
        self._binds = extra_binds
        self._on_output = on_output
        self._lines: deque[str] = deque(maxlen=OUTPUT_LINES)
        self._one_at_a_time = threading.Lock()
        self._end = threading.Lock()
        self._ending = threading.Lock()
        self._is_cold = True
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._client: urllib3.HTTPConnectionPool | None = None
        self._init_pid = 0
        self._memory_kills = 0
        self._on_port_wanted = on_port_wanted
        self._port = AppPort(self._environment, own_port)
        self._emulator_ports: list[HeldPort] = []
        self.memory_limit: MemoryLimit | None = None
        self.freezer: Freezer | None = None
        self.kind = ""  # of enclosure.KINDS
        self.notices: list[str] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def output(self) -> list[str]:
        """The last lines that the function and the emulator wrote."""
        return list(self._lines)

    @property
    def pid(self) -> int:
        """The id of the process that everything in the sandbox ends with; 0 before the start."""
        return self._process.pid if self._process else 0

    @property
    def app_port(self) -> int:
        """Where the app should listen."""
        return self._port.number

    @property
    def emulator_address(self) -> tuple[str, int]:
        """Where the emulator takes invocations; no port when it does not run."""
        return (self._client.host, self._client.port or 0) if self._client else ("", 0)

    @property
    def emulator_pid(self) -> int:
        """The emulator's process id as this machine sees it; 0 when there is none."""
        return next(iter(children(self._init_pid)), 0) if self.is_running else 0

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the emulator. The function's own init comes with the first invocation: the emulator does it so.

        Raises ``LocalFailure`` when this machine cannot run it.
        """
        if notice := self._port.choose():
            self.notices.append(notice)
        try:
            enclosed = self._enclosure()
            self.kind = enclosed.kind
            self.notices += enclosed.notices
            self._limit_memory()
            if self._freezes:
                self.freezer = Freezer.of(freezer.places(self.memory_limit.directory if self.memory_limit else None))
            self._start_emulator(enclosed)
        except BaseException:
            self.stop()
            raise

    def invoke(
        self,
        payload: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        on_answer: Callable[[Reply], object] = unheard,
    ) -> Reply:
        """Send one event and wait for its answer. Callers wait for each other: an environment serves one at a time.

        ``on_answer`` gets an answer that is there before the invocation is over; the emulator has none.
        An app whose port was taken, and was not named by the developer, gets another one.
        Raises ``LocalFailure`` when the emulator is gone.
        """
        with self._one_at_a_time:  # not only for the order: two requests at once crash the emulator
            moved: list[str] = []
            with self._looking():
                reply = self._ask(payload, headers or {}, on_answer)
                while len(moved) < PORT_ATTEMPTS and self._has_lost_its_port(reply):
                    moved.append(self._move())
                    reply = self._ask(payload, headers or {}, on_answer)
            notices = [*moved, reply.notice, self._port_in_the_way(reply)]
            return reply._replace(notice="; ".join(filter(None, notices)))

    def _ask(self, payload: bytes, headers: Mapping[str, str], on_answer: Callable[[Reply], object]) -> Reply:
        """Send the event, once."""
        if self._client is None or not self.is_running:
            raise LocalFailure("the emulator is not running")
        if self.freezer:
            self.freezer.thaw()
        reply = self._post(self._client, payload, headers)
        # After a crash, a failed init or a timeout the emulator initialises again within the next invocation.
        self._is_cold = reply.status != 200 or reply.body.startswith(TIMED_OUT)
        if not self._is_cold:
            self._freeze()
        return reply

    def _has_lost_its_port(self, reply: Reply) -> bool:
        """Whether the start failed because somebody else listens on the app's port, and it may have another one."""
        failure, _ = init_error(reply)
        if not self._port.is_chosen or failure not in (PORT_IN_USE, APP_EXITED):
            return False
        return failure == PORT_IN_USE or not is_free(self.app_port)

    def _move(self) -> str:
        """Start again with another port for the app, which has not been asked anything yet; a sentence about it."""
        with self._end:  # whoever stops all this ends what was started before, and nothing is started after it
            if not self._is_open():
                raise LocalFailure("the function was stopped")
            notice = self._port.choose_again()
            if self._client:
                self._client.close()
            self._end_process()
            self._start_emulator(self._enclosure())
        return notice

    def _is_open(self) -> bool:
        return self._client is not None

    def _port_in_the_way(self, reply: Reply) -> str:
        """A sentence when the app wanted a port that it was not given, and that is taken."""
        failure, message = init_error(reply)
        if failure != APP_EXITED or not ADDRESS_IN_USE.search(message):
            return ""
        ports = [port for port in map(int, PORT_IN_WORDS.findall(message)) if port <= 65535]
        wanted = next((port for port in ports if port != self.app_port and not is_free(port)), 0)
        if not wanted:
            return ""
        whose = "this gateway has" if wanted in listening_ports([os.getpid()]) else "is in use on this machine"
        words = f"the app wants port {wanted}, which {whose}, and not $PORT, which is {self.app_port}: "
        return words + _lines_to_add(wanted) + self._on_port_wanted(wanted)

    @contextmanager
    def _looking(self) -> Iterator[None]:
        """During a cold start, say it when the app listens somewhere else than it should."""
        if not self._is_cold or not self._is_server():
            yield
            return
        is_over = threading.Event()
        threading.Thread(target=self._look, args=(is_over,), daemon=True).start()
        try:
            yield
        finally:
            is_over.set()

    def _is_server(self) -> bool:
        """Whether the function is a web server with a port, and no handler."""
        has_script = (self._function.task / self._environment.get("_HANDLER", LAMBDA_ENVIRONMENT["_HANDLER"])).is_file()
        return (has_script or bool(self._environment.get(COMMAND))) and not self._environment.get(UNIX_SOCKET)

    def _look(self, is_over: threading.Event) -> None:
        while not is_over.wait(LOOK_S):
            ports = listening_ports(self.processes())
            if self.app_port in ports:
                return
            if ports:
                where = " and ".join(map(str, ports))
                seen = f"so far the app listens on port {where} and not on $PORT, which is {self.app_port}"
                self._say(f"{seen}; unless it is still starting, {_lines_to_add(ports[0])}")
                return

    def _freeze(self) -> None:
        with self._end:  # never behind the back of a thread that stops all this: what is frozen could not end
            if self.freezer and self._client:
                self.freezer.freeze(self.processes)

    def processes(self) -> list[int]:
        """The function's processes, as this machine counts them: all in the sandbox except those that make it."""
        emulator = self.emulator_pid
        return [pid for pid in below(self._init_pid) if pid != emulator] if emulator else []

    def wait(self) -> None:
        """Return when the sandbox has ended by itself."""
        if self._process:
            self._process.wait()  # no limit: the developer ends it

    def stop(self) -> None:
        """End everything. The app is told first, as on Lambda; what is left after that is killed."""
        with self._end:
            client, self._client = self._client, None
            if self.freezer:
                self.freezer.thaw()
        if client:
            client.close()
        self._end_process()
        self._port.release()
        self._release_emulator_ports()
        if self.freezer:  # before the memory limit: with v2 it is inside
            self.freezer.release()
            self.freezer = None
        if self.memory_limit:
            self.memory_limit.release()
            self.memory_limit = None

    def _full_environment(self) -> dict[str, str]:
        if "AWS_LAMBDA_MAX_CONCURRENCY" in self._environment:
            raise LocalFailure(
                "AWS_LAMBDA_MAX_CONCURRENCY puts the emulator into Managed Instances mode, which is not supported here"
            )
        return {
            **LAMBDA_ENVIRONMENT,
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(self._timeout_s),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self._memory_mb),
            **self._environment,
            **self._port.variables,
        }

    def _enclosure(self) -> Enclosure:
        return enclosure(self._function, self._full_environment(), self._binds)

    def _limit_memory(self) -> None:
        self.memory_limit = MemoryLimit.of(self._memory_mb)
        if self.memory_limit is None:
            self.notices.append(f"the memory limit of {self._memory_mb} MB is not enforced: no cgroup can be made here")

    def _post(self, client: urllib3.HTTPConnectionPool, payload: bytes, headers: Mapping[str, str]) -> Reply:
        # The init phase and the invocation may each take the whole timeout.
        patience = urllib3.Timeout(connect=5, read=2 * self._timeout_s + 10)
        try:
            response = client.urlopen(
                "POST", INVOCATIONS, body=payload, headers=dict(headers), retries=False, timeout=patience
            )
        except urllib3.exceptions.HTTPError as error:
            raise LocalFailure(self._out_of_memory() or f"the emulator did not answer: {error}") from error
        return Reply(response.status, response.data, self._is_cold, self._out_of_memory())

    def _out_of_memory(self) -> str:
        """A sentence, once, when the kernel has ended a process since the last time because of the memory limit."""
        kills = self.memory_limit.kills if self.memory_limit else 0
        if kills <= self._memory_kills:
            return ""
        self._memory_kills = kills
        notice = f"the function ran out of its {self._memory_mb} MB of memory: the kernel killed one of its processes"
        self._say(notice)
        return notice

    def _start_emulator(self, enclosed: Enclosure) -> None:
        for _ in range(PORT_ATTEMPTS):  # a free port may be somebody else's before the emulator listens
            address = loopback_address()
            self._release_emulator_ports()
            self._emulator_ports = [hold_free(address), hold_free(address)]
            port, api_port = (held.number for held in self._emulator_ports)
            self._lines.clear()
            options = _emulator_options(f"{address}:{port}", f"{address}:{api_port}")
            self._launch(enclosed, [*enclosed.emulator, *options, *enclosed.bootstrap])
            if self._waited_for(port, address) and self._waited_for(api_port, address):
                self._client = urllib3.HTTPConnectionPool(address, port, maxsize=1, block=True)
                return
            self._end_process()
            if not any("address already in use" in line for line in self._lines):
                break
        raise LocalFailure("the sandbox did not start: " + ("\n".join(self._lines) or "it wrote nothing"))

    def _release_emulator_ports(self) -> None:
        for held in self._emulator_ports:
            held.release()
        self._emulator_ports = []

    def _launch(self, enclosed: Enclosure, program: list[str]) -> None:
        read_end, write_end = os.pipe()
        command = [*enclosed.program, "--info-fd", str(write_end), *enclosed.arguments, *program]
        try:
            self._process = subprocess.Popen(
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
        self._reader = threading.Thread(target=self._read_output, args=(self._process,), daemon=True)
        self._reader.start()
        with os.fdopen(read_end, "rb") as info:
            description = info.read()
        self._init_pid = json.loads(description)["child-pid"] if description else 0

    def _read_output(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for raw in process.stdout:
            line = raw.rstrip(b"\r\n").decode(errors="replace")
            self._say(line)

    def _say(self, line: str) -> None:
        self._lines.append(line)
        if self._on_output:
            self._on_output(line)

    def _waited_for(self, port: int, address: str) -> bool:
        """Whether the emulator listens there. It opens its ports one after the other: a runtime may be quicker."""
        end = time.monotonic() + START_S
        while self.is_running and time.monotonic() < end:
            if is_listening(port, address):
                return True
            time.sleep(POLL_S)
        return False

    def _end_process(self) -> None:
        with self._ending:  # who stops all this may come together with who has waited too long
            if self._process is None or self._reader is None:
                return
            self._tell_to_end(self._process)
            self._reader.join()  # no limit: the pipe ends when its last holder has, and all were killed
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = self._reader = None

    def _tell_to_end(self, process: subprocess.Popen[bytes]) -> None:
        _end_in_order(process, self.emulator_pid)


def _emulator_options(address: str, api_address: str) -> list[str]:
    return [
        *("--log-level", "error"),
        *("--runtime-interface-emulator-address", address),
        *("--runtime-api-address", api_address),
    ]


def _lines_to_add(port: int) -> str:
    return (
        f"let it listen on $PORT, or give the function the variable FAIRLEAD_PORT={port}, here with "
        f"ENV='FAIRLEAD_PORT={port}'"
    )


def _end_in_order(process: subprocess.Popen[bytes], emulator_pid: int) -> None:
    # The outermost process passes no signal on: told itself, it takes everything down at once, as it does when killed.
    for pid in filter(None, (emulator_pid, process.pid)):
        try:
            os.kill(pid, signal.SIGTERM)
            process.wait(STOP_S)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
        return
    process.kill()
    process.wait(KILLED_WITHIN_S)
