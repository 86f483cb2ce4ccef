"""``python -m local.run``: an app on this machine as it would run on Lambda, behind an address for the browser."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from layer import build
from layer.failures import LayerError

from . import packages, start_script
from .bubblewrap import TASK_ROOT, Bind
from .failures import LocalFailure
from .gateway import Gateway, Served
from .machine import architecture
from .sandbox import Reply, Sandbox

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "fastapi"
PORTS_TRIED = 20
# The emulator's account of each invocation: its figures are constants or wrong, and the gateway's line says it better.
BOOKKEEPING = re.compile(
    r"(START|END|REPORT) RequestId: |"
    r".*\(rapid\) (Invoke DONE|(Init|Invoke) failed error=(errResetReceived|Runtime exited with error: exit status))"
)


class Options(NamedTuple):
    """What to run and how."""

    app: Path = EXAMPLE
    command: str = ""  # instead of the app's start script
    port: int = 3000  # the gateway's; 0 for any free one
    layer: Path | None = None  # a layer's tree instead of the one that this checkout builds
    timeout_s: int = 30
    memory_mb: int = 1024
    environment: Mapping[str, str] = {}


class Running(NamedTuple):
    """A function, the gateway before it, and what is different from usual, in sentences."""

    sandbox: Sandbox
    gateway: Gateway
    notices: list[str]


@contextmanager
def running(
    options: Options,
    on_served: Callable[[Served], object] = repr,
    on_output: Callable[[str], object] | None = None,
) -> Iterator[Running]:
    """The app in its sandbox with the gateway open, until the block ends; what is missing is built or fetched first.

    Raises ``LocalFailure`` or ``LayerError``, whose message says what to do.
    """
    notices = start_script.check(options.app, options.command)
    layer = layer_tree(options.layer)
    installed = packages.ensure(options.app, layer, architecture())
    sandbox = Sandbox(
        layer,
        options.app,
        {**({"FAIRLEAD_COMMAND": options.command} if options.command else {}), **options.environment},
        options.memory_mb,
        options.timeout_s,
        [Bind(installed, f"{TASK_ROOT}/{packages.FOLDER}")] if installed else [],
        on_output,
    )
    # The gateway takes its port first: an app that wants the same one then gets another.
    with open_gateway(sandbox.invoke, options.port, on_served) as gateway, sandbox:
        if options.port not in (0, gateway.port):
            notices.append(f"port {options.port} is taken, so the address has {gateway.port}")
        yield Running(sandbox, gateway, [*notices, *sandbox.notices])


def layer_tree(given: Path | None) -> Path:
    """The directory that becomes ``/opt``: the one given, else the one built from this checkout."""
    if given is None:
        return build.ensure(architecture())
    if not os.access(given / "bootstrap", os.X_OK):
        raise LocalFailure(f"{given} is no layer: it has no executable file called bootstrap")
    return given


def open_gateway(invoke: Callable[[bytes], Reply], port: int, on_served: Callable[[Served], object]) -> Gateway:
    """A gateway on ``port``, or on the next one that is free."""
    for candidate in range(port, min(port + PORTS_TRIED, 65536)):
        try:
            return Gateway(invoke, candidate, on_served)
        except OSError as error:
            reason = error
    raise LocalFailure(f"port {port} and the next ones are taken ({reason}): choose another with --port")


def show(line: str) -> None:
    # One write per line: lines of several threads must not mix.
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def show_output(line: str) -> None:
    """Shows what the app wrote, without the emulator's bookkeeping."""
    if not BOOKKEEPING.match(line):
        show(line)


def show_served(served: Served) -> None:
    """Shows a line for a request, and what went wrong with it below."""
    show(
        f"{time.strftime('%H:%M:%S')}  {served.method} {served.target}  {served.status}  "
        f"{served.body_bytes:,} B  {served.duration_ms:,.1f} ms{'  cold' if served.is_cold else ''}"
    )
    for line in served.problem:
        show(f"          {line}")


def parsed(arguments: Sequence[str] | None) -> Options:
    """The command line as ``Options``; leaves with argparse's message when it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m local.run", description="Run an app as Lambda would.")
    add = parser.add_argument
    add("--app", type=Path, default=EXAMPLE, metavar="DIR", help="the app's folder (default: the FastAPI example)")
    add("--cmd", default="", metavar="COMMAND", help="start the app with this instead of its run.sh")
    add("--port", type=_number(0, 65535), default=3000, help="the browser's port (default: 3000)")
    add("--layer", type=Path, metavar="DIR", help="a layer's unpacked tree (default: built from this checkout)")
    add("--timeout", type=_number(1, 900), default=30, metavar="S", help="the function's timeout (default: 30)")
    add("--memory", type=_number(128, 10240), default=1024, metavar="MB", help="the function's memory (default: 1024)")
    add("--env", action="append", default=[], metavar="NAME[=VALUE]", help="set a variable, or pass on your own")
    given = parser.parse_args(arguments)
    environment = dict(_variable(text) for text in given.env)
    return Options(given.app, given.cmd, given.port, given.layer, given.timeout, given.memory, environment)


def _number(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {lowest} to {highest}")
        return int(text)

    return parse


def _variable(text: str) -> tuple[str, str]:
    name, assigned, value = text.partition("=")
    return name, value if assigned else os.environ.get(name, "")


def main(arguments: Sequence[str] | None = None) -> int:
    options = parsed(arguments)
    # SIGTERM ends it as Ctrl-C does. SIGINT is set too: a shell starts background jobs with it ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with running(options, show_served, show_output) as now:
            for notice in now.notices:
                show(f"note: {notice}")
            show(f"{options.app.name} is at {now.gateway.address}  (Ctrl-C ends it)")
            now.sandbox.wait()
            raise LocalFailure("the emulator ended by itself:\n" + "\n".join(now.sandbox.output[-20:]))
    except (LocalFailure, LayerError) as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
