"""A function as Lambda runs it, on this machine: a layer and an app in a sandbox, with neither root nor Docker.

``/`` is a stand-in for provided.al2023 and read-only, ``/opt`` is the layer, ``/var/task`` the app, ``/tmp`` a bounded
tmpfs; the user is 993 and has no capabilities; the process table is private and ends with this process.
The network is this machine's: the app reaches databases and APIs as it would without the sandbox.
Where no sandbox can be made, the function is an ordinary process, and a notice says what that means.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, Self

from ..failures import LocalFailure
from ..machine import architecture_of
from ..ports import is_free, listening_ports
from ..runtime_api.emulator import Emulator
from ..runtime_api.reply import Reply, init_error
from ..runtime_api.streaming import StreamingRuntimeApi
from ..sandbox import rootfs
from ..sandbox.launcher import Code, Launcher, launcher
from ..sandbox.mounts import TASK_ROOT, Bind
from ..sandbox.process import SandboxProcess
from .app_port import AppPort

PORT_ATTEMPTS = 3
APP_EXITED, PORT_IN_USE = "Runtime.AppExited", "Runtime.PortInUse"
# How servers say that their port is somebody else's, and where most of them say which.
ADDRESS_IN_USE = re.compile(r"EADDRINUSE|address (is )?already in use", re.IGNORECASE)
PORT_IN_WORDS = re.compile(r"(?:\bport\W{0,3}|:|', )(\d{2,5})\b", re.IGNORECASE)
# By then most apps listen. One that listens elsewhere is looked for again and again, because none says so.
LOOK_S = 2.0
COMMAND, UNIX_SOCKET = "FAIRLEAD_COMMAND", "FAIRLEAD_UNIX_SOCKET"

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


def ignore(reply: Reply) -> None:
    """Ignore an early answer: ``invoke`` returns it too, unless it is streamed."""
    if reply.stream:
        reply.stream.close()


class RuntimeApi(Protocol):
    """Starts the runtime of one function in its sandbox and serves its invocations."""

    notices: list[str]
    is_cold: bool  # the next invocation is the first of its runtime

    def program(self) -> Bind | None: ...
    def environment(self, configured: dict[str, str]) -> dict[str, str]: ...
    def start(self, launcher: Launcher) -> None: ...
    def invoke(self, payload: bytes, headers: Mapping[str, str], on_answer: Callable[[Reply], object]) -> Reply: ...
    def processes(self) -> list[int]: ...
    def end(self) -> None: ...
    def stop(self) -> None: ...


class Function:
    """One function: ``with Function(layer, app) as function: function.invoke(b"{}")``.

    ``environment`` is the function's configuration and wins over Lambda's own variables. ``extra_binds`` may lie below
    ``/var/task`` or ``/mnt``. ``on_output`` gets each line that the function or the emulator writes, in a thread of its
    own; ``output`` has the last of them in any case, ``notices`` what is different from Lambda on this machine.
    ``architecture`` is ``x86_64`` or ``arm64``, by default what the layer is made for; arm64 is emulated on another
    machine. ``freeze`` stops the function's processes between invocations, as Lambda does and the emulator does not.
    ``suite`` is the Debian release that the stand-in is made of. ``own_port``: the app gets a port that is its alone,
    whatever ``environment`` says. ``on_port_wanted`` gets a port that is taken and that the app wants all the same;
    it says what was done about it, or nothing. ``is_streaming``: our own Runtime API takes the emulator's place, and
    ``invoke`` hands a streamed answer on while it comes.

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
        is_streaming: bool = False,
    ) -> None:
        layer = layer.resolve()
        self._code = Code(layer, task.resolve(), architecture or architecture_of(layer), suite)
        self._freezes = freeze
        self._environment = dict(environment or {})
        self._memory_mb = memory_mb
        self._timeout_s = timeout_s
        self._binds = extra_binds
        self._one_at_a_time = threading.Lock()
        self._on_port_wanted = on_port_wanted
        self._port = AppPort(self._environment, own_port)
        self._is_streaming = is_streaming
        self.sandbox = SandboxProcess(memory_mb, on_output)
        self.runtime_api: RuntimeApi | None = None
        self.kind = ""  # of launcher.KINDS
        self.notices: list[str] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def output(self) -> list[str]:
        """The last lines that the function and the emulator wrote."""
        return list(self.sandbox.lines)

    @property
    def app_port(self) -> int:
        """Where the app should listen."""
        return self._port.number

    def processes(self) -> list[int]:
        """The function's processes, as this machine counts them."""
        return self.runtime_api.processes() if self.runtime_api else []

    def start(self) -> None:
        """Start the sandbox. With the emulator, the function's own init comes with the first invocation.

        Raises ``LocalFailure`` when this machine cannot run it.
        """
        try:
            self.notices += filter(None, [self._port.choose()])
            self.runtime_api = (StreamingRuntimeApi if self._is_streaming else Emulator)(
                self.sandbox, self._timeout_s, self._code
            )
            started = self._launcher(self.runtime_api)
            self.kind = started.kind
            self.notices += started.notices
            self.notices += [*self.sandbox.limit(self._freezes), *self.runtime_api.notices]
            self.runtime_api.start(started)
        except BaseException:
            self.stop()
            raise

    def invoke(
        self,
        payload: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        on_answer: Callable[[Reply], object] = ignore,
    ) -> Reply:
        """Send one event and wait for its answer. Callers wait for each other: an environment serves one at a time.

        ``on_answer`` gets an answer that is there before the invocation is over; the emulator has none.
        An app whose port was taken, and was not named by the developer, gets another one.
        Raises ``LocalFailure`` when the function is not running.
        """
        with self._one_at_a_time:  # not only for the order: two requests at once crash the emulator
            if self.runtime_api is None:
                raise LocalFailure("the function was not started")
            moved: list[str] = []
            with self._looking(self.runtime_api):
                reply = self._ask(self.runtime_api, payload, headers or {}, on_answer)
                while len(moved) < PORT_ATTEMPTS and self._has_lost_its_port(reply):
                    moved.append(self._move(self.runtime_api))
                    reply = self._ask(self.runtime_api, payload, headers or {}, on_answer)
            notices = [*moved, reply.notice, self._port_in_the_way(reply)]
            return reply._replace(notice="; ".join(filter(None, notices)))

    def stop(self) -> None:
        """End everything. The app is told first, as on Lambda; what is left after that is killed."""
        self.sandbox.close()
        if self.runtime_api:
            self.runtime_api.stop()
        self._port.release()
        self.sandbox.release()

    def _launcher(self, runtime_api: RuntimeApi) -> Launcher:
        if "AWS_LAMBDA_MAX_CONCURRENCY" in self._environment:
            raise LocalFailure(
                "AWS_LAMBDA_MAX_CONCURRENCY puts the emulator into Managed Instances mode, which is not supported here"
            )
        configured = {
            **LAMBDA_ENVIRONMENT,
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(self._timeout_s),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self._memory_mb),
            **self._environment,
            **self._port.variables,
        }
        return launcher(self._code, runtime_api.environment(configured), self._binds, runtime_api.program)

    def _ask(
        self, runtime_api: RuntimeApi, payload: bytes, headers: Mapping[str, str], on_answer: Callable[[Reply], object]
    ) -> Reply:
        """Send the event, once."""
        self.sandbox.thaw()
        reply = runtime_api.invoke(payload, headers, on_answer)
        if not runtime_api.is_cold:
            self.sandbox.freeze(runtime_api.processes)
        return reply

    def _has_lost_its_port(self, reply: Reply) -> bool:
        """Whether the start failed because somebody else listens on the app's port, and it may have another one."""
        failure, _ = init_error(reply)
        if not self._port.is_chosen or failure not in (PORT_IN_USE, APP_EXITED):
            return False
        return failure == PORT_IN_USE or not is_free(self.app_port)

    def _move(self, runtime_api: RuntimeApi) -> str:
        """Start again with another port for the app, which has seen no request yet; returns a sentence about it."""
        with self.sandbox.while_open():
            notice = self._port.choose_again()
            runtime_api.end()
            runtime_api.start(self._launcher(runtime_api))
        return notice

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
    def _looking(self, runtime_api: RuntimeApi) -> Iterator[None]:
        """During a cold start, say it when the app listens somewhere else than it should."""
        if not runtime_api.is_cold or not self._is_server():
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
        has_script = (self._code.task / self._environment.get("_HANDLER", LAMBDA_ENVIRONMENT["_HANDLER"])).is_file()
        return (has_script or bool(self._environment.get(COMMAND))) and not self._environment.get(UNIX_SOCKET)

    def _look(self, is_over: threading.Event) -> None:
        while not is_over.wait(LOOK_S):
            ports = listening_ports(self.processes())
            if self.app_port in ports:
                return
            if ports:
                where = " and ".join(map(str, ports))
                seen = f"so far the app listens on port {where} and not on $PORT, which is {self.app_port}"
                self.sandbox.say(f"{seen}; unless it is still starting, {_lines_to_add(ports[0])}")
                return


def _lines_to_add(port: int) -> str:
    return (
        f"let it listen on $PORT, or give the function the variable FAIRLEAD_PORT={port}, here with "
        f"ENV='FAIRLEAD_PORT={port}'"
    )
