"""``python -m local.run``: an app on this machine as it would run on Lambda, behind an address for the browser."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

from layer import build
from layer.failures import LayerError

from .app import python_packages, start_script
from .app.changes import Changes
from .app.prepared import AUTO, RUNTIMES, Prepared, oversize, prepare, unfit
from .app.start_script import START_SCRIPT, is_module, module_file
from .environments.app_port import PORT_VARIABLES, named_port
from .environments.function import Function
from .environments.pool import Environments, Outcome
from .failures import LocalFailure
from .gateway.conversation import Served
from .gateway.display import BOOKKEEPING, Display, JsonLines, Readable
from .gateway.late_requests import Lateness
from .gateway.server import Gateway
from .hosts import parse_authority
from .machine import architecture
from .ports import LOOPBACK
from .sandbox.mounts import TASK_ROOT
from .sources import SOURCES, STREAMING
from .sources.values import Front

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "fastapi"
DEFAULT_PORT, PORTS_TRIED = 3000, 20
OUTPUT_LINES = 2000
BUFFERED, STREAM = "buffered", "stream"
INVOKE_MODE_VARIABLES = ("FAIRLEAD_INVOKE_MODE", "AWS_LWA_INVOKE_MODE")
ENDING = (signal.SIGINT, signal.SIGTERM)
# The fields of Options whose option has another name.
FIELDS = {
    "cmd": "command",
    "env": "environment",
    "install_scripts": "with_install_scripts",
    "https": "is_https",
    "freeze": "is_freezing",
    "memory": "memory_mb",
    "reload": "is_reloading",
    "timeout": "timeout_s",
}
STAGED = ("http-api", "http-api-1", "rest")
STAGE_NAME = re.compile(r"\$default|[A-Za-z0-9_-]{1,128}")


class Options(NamedTuple):
    """The command line's options."""

    app: Path = EXAMPLE
    command: str = ""  # instead of the app's start script
    port: int | None = None  # the gateway's; None for DEFAULT_PORT, 0 for any free one
    layer: Path | None = None  # a layer's tree instead of the one that this checkout builds
    timeout_s: int = 30
    memory_mb: int = 1024
    environment: Mapping[str, str] = {}
    source: str = "function-url"  # a key of SOURCES
    stage: str = ""
    binary_media_types: Sequence[str] = ()
    environments: int = 4
    is_reloading: bool = False
    is_freezing: bool = False  # the function, between invocations
    host: str = LOOPBACK
    allowed_hosts: Sequence[str] = ()  # names of the gateway beside this machine's own
    is_https: bool = False  # of the address; the gateway speaks it anyway
    runtime: str = AUTO  # one of RUNTIMES
    invoke_mode: str = BUFFERED  # or STREAM
    with_install_scripts: bool = False
    handler: str = START_SCRIPT  # the function's: a start script, or a function in a module


class Running(NamedTuple):
    """A function, the gateway before it, and what is different from usual, in sentences."""

    environments: Environments
    gateway: Gateway
    notices: list[str]
    output: deque[str]  # the last lines of all environments


class Run:
    """The function of a run: its environments start here, and what they write comes together here."""

    def __init__(
        self, options: Options, on_output: Callable[[int, str], object] | None, on_note: Callable[[str], object]
    ) -> None:
        self._options = options
        self._on_output = on_output
        self._on_note = on_note
        self.layer = layer_tree(options.layer)
        self.output: deque[str] = deque(maxlen=OUTPUT_LINES)
        self.notices: list[str] = []  # of the environment that was started last
        self.lateness = Lateness()
        self.gateway: Gateway | None = None
        self._settled: dict[str, str] = {}  # variables of which it turns out that the app needs them
        self._changes = Changes(options.app, self._note_change) if options.is_reloading else lambda: None

    def start(self, number: int, is_alone: bool) -> Function:
        """Start an environment, with the app as it is now and a port of its own."""
        options = self._options
        app = prepare_app(options, self.layer)
        function = Function(
            app.layer,
            app.task,
            {**function_environment(options), **self._settled, **options.environment},
            options.memory_mb,
            options.timeout_s,
            app.binds,
            lambda line: self._keep(number, line),
            freeze=options.is_freezing,
            own_port=not is_alone,
            on_port_wanted=self._give_way,
            is_streaming=options.invoke_mode == STREAM,
        )
        function.start()
        self.notices = function.notices
        return function

    def version(self) -> object:
        """Another value when environments that were started before should serve no more."""
        return self._changes(), len(self._settled)

    def _keep(self, environment: int, line: str) -> None:
        self.output.append(line)
        self.lateness.hear(environment, line)
        if self._on_output:
            self._on_output(environment, line)

    def _note_change(self, path: str) -> None:
        self._on_note(f"{path} has changed: new environments from here on")

    def _give_way(self, port: int) -> str:
        """The app wants ``port``: if it is the gateway's, and nobody has asked for that, the gateway moves away."""
        options, gateway = self._options, self.gateway
        if options.port is not None or options.host != LOOPBACK or self._settled:
            return ""
        if gateway is None or port != gateway.port:
            return ""
        self._settled[PORT_VARIABLES[0]] = str(port)
        move(gateway)
        return f". The gateway has moved to {gateway.address}, and this run goes on as with {PORT_VARIABLES[0]}={port}"


@contextmanager
def running(
    options: Options,
    on_served: Callable[[Served], object] = repr,
    on_output: Callable[[int, str], object] | None = None,
    on_note: Callable[[str], object] = repr,
) -> Iterator[Running]:
    """The app in its first sandbox with the gateway open, until the block ends; what is missing is built or fetched.

    ``on_output`` gets an environment's number and a line that it wrote, ``on_note`` what happens to the app meanwhile.
    Raises ``LocalFailure`` or ``LayerError``, whose message says what to do.
    """
    start_script.check(options.app, options.command, options.handler)  # before anything is made
    run = Run(options, on_output, on_note)
    app = prepare_app(options, run.layer)
    notices = [*app.notices, *oversize(app), *unfit(app)]
    environments = Environments(run.start, options.environments, run.version, on_note)

    def on_explained(served: Served) -> None:
        on_served(run.lateness.explain(served))

    # The gateway takes its port first: an app that wants the same one then gets another.
    with open_gateway(environments.submit, options, on_explained, on_note) as gateway, environments:
        run.gateway = gateway
        environments.prepare()
        wanted = DEFAULT_PORT if options.port is None else options.port
        if wanted not in (0, gateway.port):
            whose = "the app's" if wanted == named_port(options.environment)[1] else "taken"
            notices.append(f"port {wanted} is {whose}, so the address has {gateway.port}")
        yield Running(environments, gateway, [*notices, *run.notices], run.output)


def prepare_app(options: Options, layer: Path) -> Prepared:
    """The app as it is now, with what it needs, on Fairlead's ``layer``."""
    return prepare(
        options.app,
        layer,
        options.runtime,
        command=options.command,
        handler=options.handler,
        with_install_scripts=options.with_install_scripts,
    )


def function_environment(options: Options) -> dict[str, str]:
    """The variables that ``options`` give the function, beside the developer's own."""
    found = dict[str, str]()
    if options.command:
        found["FAIRLEAD_COMMAND"] = options.command
    if options.handler != START_SCRIPT:
        found["_HANDLER"] = options.handler
        file = module_file(options.app, options.handler) if is_module(options.app, options.handler) else None
        if file and file.suffix == ".py":  # its packages lie where start scripts have them too
            found["PYTHONPATH"] = f"{TASK_ROOT}/{python_packages.FOLDER}"
    is_said = any(options.environment.get(name) for name in INVOKE_MODE_VARIABLES)
    if options.invoke_mode == STREAM and not is_said:
        found[INVOKE_MODE_VARIABLES[0]] = "response_stream"
    return found


def layer_tree(given: Path | None) -> Path:
    """The directory that becomes ``/opt``: the one given, else the one built from this checkout."""
    if given is None:
        return build.ensure(architecture())
    if not os.access(given / "bootstrap", os.X_OK):
        raise LocalFailure(f"{given} is no layer: it has no executable file called bootstrap")
    return given


def open_gateway(
    submit: Callable[[bytes], Future[Outcome]],
    options: Options,
    on_served: Callable[[Served], object],
    on_note: Callable[[str], object] = repr,
) -> Gateway:
    """A gateway on the port of ``options``, or on the next one that is free and not the app's.

    Raises ``LocalFailure`` when both were asked to have the same one.
    """
    port, source = DEFAULT_PORT if options.port is None else options.port, SOURCES[options.source]
    name, app_port = named_port(options.environment)
    if port and port == app_port and options.port is not None:
        raise LocalFailure(
            f"port {port} cannot be the app's ({name}) and the browser's (PORT= of make run, --port): leave the second "
            "out, and a free one is chosen"
        )
    reason: object = "they are the app's"
    front = Front(
        stage=options.stage,
        binary_media_types=options.binary_media_types,
        is_streaming=options.invoke_mode == STREAM,
    )
    for candidate in _candidates(port):
        if candidate and candidate == app_port:
            continue
        try:
            return Gateway(
                submit,
                candidate,
                on_served,
                source,
                front,
                options.host,
                options.allowed_hosts,
                options.is_https,
                on_note,
            )
        except OSError as error:
            reason = error
    raise LocalFailure(f"port {port} and the next ones are taken ({reason}): choose another with --port")


def move(gateway: Gateway) -> None:
    """Move the gateway to the next port that is free."""
    for candidate in _candidates(gateway.port + 1):
        try:
            return gateway.move(candidate)
        except OSError:
            continue
    raise LocalFailure(f"the app wants port {gateway.port}, and the next ones are taken: choose the gateway's, PORT=")


def _candidates(port: int) -> range:
    return range(port, min(port + PORTS_TRIED, 65536))


def parse_arguments(arguments: Sequence[str] | None) -> tuple[Options, Display]:
    """Parse the command line; a wrong one ends the program with argparse's message."""
    parser = argparse.ArgumentParser(
        prog="python -m local.run", description="Run an app as Lambda would.", argument_default=argparse.SUPPRESS
    )
    add = parser.add_argument
    add("--app", type=Path, metavar="DIR", help="the app's folder (default: the FastAPI example)")
    add("--cmd", metavar="COMMAND", help="start the app with this instead of its run.sh")
    add("--handler", metavar="NAME", help="module.function, or another start script than run.sh")
    add("--port", type=_number(0, 65535), help=f"the browser's port (default: {DEFAULT_PORT})")
    add("--host", metavar="ADDRESS", help="where to listen; 0.0.0.0 in a container")
    add("--allowed-hosts", type=_names, metavar="NAMES", help="other names of it: 'app.test .sub.test'")
    add("--https", action="store_true", help="the address is https, with a certificate made for this machine")
    add("--source", choices=SOURCES, help="what stands before the function")
    add("--stage", metavar="NAME", help=f"the stage of {', '.join(STAGED)}")
    add("--binary-media-types", nargs="+", metavar="TYPE", help="those of a REST API, such as '*/*'")
    add("--environments", type=_number(1, 64), metavar="N", help="how many at a time (default: 4)")
    add("--reload", action="store_true", help="when a file of the app has changed, serve with new environments")
    add("--freeze", action="store_true", help="freeze the function between requests, as Lambda does")
    add("--json", action="store_true", help="show JSON lines")
    add("--layer", type=Path, metavar="DIR", help="a layer's unpacked tree (default: built from this checkout)")
    add("--timeout", type=_number(1, 900), metavar="S", help="the function's timeout (default: 30)")
    add("--memory", type=_number(128, 10240), metavar="MB", help="the function's memory (default: 1024)")
    add("--runtime", choices=RUNTIMES, help="whose layer is there too (default: its lock file says)")
    add("--install-scripts", action="store_true", help="let packages run scripts while they are installed")
    add("--env", type=_variable, action="append", metavar="NAME[=VALUE]", help="set a variable, or pass on your own")
    add("--invoke-mode", choices=(BUFFERED, STREAM), help="stream: answers are sent while they come")
    given = vars(parser.parse_args(arguments))
    display = JsonLines() if given.pop("json", False) else Readable()
    given["env"] = dict(given.get("env", ()))
    given["binary_media_types"] = tuple(given.get("binary_media_types", ()))
    options = Options(**{FIELDS.get(name, name): value for name, value in given.items()})
    if options.stage and options.source not in STAGED:
        parser.error(f"--stage: {options.source} has no stages; {', '.join(STAGED)} have")
    if options.stage and not STAGE_NAME.fullmatch(options.stage):
        parser.error("--stage: a stage's name has letters, digits, - and _ only")
    if options.binary_media_types and options.source != "rest":
        parser.error(f"--binary-media-types: {options.source} has none; a REST API has (--source rest)")
    if options.invoke_mode == STREAM and options.source not in STREAMING:
        parser.error(f"--invoke-mode stream: {options.source} takes whole answers only; {', '.join(STREAMING)} stream")
    return options, display


def _number(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {lowest} to {highest}")
        return int(text)

    return parse


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.replace(",", " ").split())
    for name in names:
        host = parse_authority(name.removeprefix("."))
        if host is None or host.port is not None:
            raise argparse.ArgumentTypeError(f"{name!r} is no host's name: app.test, or .app.test for all below it")
    return names


def _variable(text: str) -> tuple[str, str]:
    name, assigned, value = text.partition("=")
    return name, value if assigned else os.environ.get(name, "")


def _end(number: int, frame: object) -> None:
    # Once: an impatient second Ctrl-C, or `timeout`, which tells the child and its group, would break the ending off.
    for each in ENDING:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    # SIGTERM ends it as Ctrl-C does. SIGINT is set too: a shell starts background jobs with it ignored.
    for number in ENDING:
        signal.signal(number, _end)
    try:
        return _serve(*parse_arguments(arguments))
    except (LocalFailure, LayerError) as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _serve(options: Options, display: Display) -> NoReturn:
    """Serve until a signal of ``ENDING`` comes."""

    def show_output(environment: int, line: str) -> None:
        if not BOOKKEEPING.match(line):
            display.output(environment, line)

    with running(options, display.served, show_output, display.note) as now:
        for notice in now.notices:
            display.note(notice)
        display.address(options.app.resolve().name, now.gateway.address)
        while True:
            signal.pause()


if __name__ == "__main__":
    sys.exit(main())
