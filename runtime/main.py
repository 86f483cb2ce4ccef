"""The composition root and the one start-up: configuration -> mode -> Runtime API -> loop, and the exit status.

A ``Mode`` is what is served: an app that is a process (web/mode.py), or a function in this one (python/mode.py)::

    start            the app is started, or this interpreter is made the user's
    handler          the app is ready, or the user's module is imported
    end              before this process ends, whatever has happened

Exits 0 after SIGTERM or SIGINT, 64 or 65 when a snapshot fails, what a Python handler exits with, and 1 otherwise.
"""

from __future__ import annotations

import gc
import posix
import sys

from .config import Config
from .connection import keep_freed_memory
from .dispatch import WRAPPED, EarlyStart, app_environment, found_environment, platform_variables, wrapper_for
from .errors import EnvironmentLost, InitFault, ProtocolError, RuntimeApiFault, SnapshotFault
from .logs import Log, wants_json
from .loop import serve
from .runtime_api import RuntimeApi, register_extension
from .standard import signal, standard_library
from .waiting import run_blocking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    from .loop import Handler

    class Mode(Protocol):
        """Serves the invocations of one function."""

        def start(self) -> None:
            """Begin the start. Raises ``InitFault``."""

        def handler(self, api: RuntimeApi) -> Handler:
            """Complete the start, and return what answers the invocations of ``api``. Raises ``InitFault``."""

        def snapshot_hooks(self) -> tuple[Callable[[], None], Callable[[], None]]:
            """Returns what to do before a snapshot, and after the restore. Both raise ``SnapshotFault``."""

        def serve_together(self, count: int, serve_here: Callable[[RuntimeApi], int]) -> int:
            """Complete the start, and serve with ``count`` pollers. Returns the exit status. Raises ``InitFault``.

            ``serve_here`` does that with one in its process.
            """

        def tell_failed_start(self, fault: InitFault) -> None:
            """Do what is to be done before the failed start is reported."""

        def end(self) -> None:
            """Do what is to be done before this process ends."""


MOST_POLLERS = 1600


def main() -> None:
    """Run until the end. ``sys.argv`` is: ``-c``, `bootstrap`'s own path, its arguments."""
    environ = platform_variables(found_environment())
    log = Log(wants_json(environ))
    status = 1
    try:
        if environ.get("AWS_LAMBDA_RUNTIME_API"):
            outcome: list[str] | int = sys.argv[1:]
            while isinstance(outcome, list):
                outcome = run(platform_variables(found_environment()), outcome, log)
            status = outcome
        else:
            become_app(sys.argv[1:])
    except (RuntimeApiFault, ProtocolError, EnvironmentLost, InitFault) as fault:
        log("ERROR", f"the process ends: {fault}")
    except BaseException as error:
        with standard_library:
            from .report import trace_of  # only when something is broken

        log("ERROR", trace_of(error))
    posix._exit(status)  # nothing is left to flush, and the stderr thread would be waited for


def become_app(argv: list[str]) -> None:
    """Not on Lambda, and without bash: be the app, as `bootstrap` is there. Raises ``InitFault``: nothing to run."""
    import os  # for execvpe; only where no start is counted

    config = Config.from_env(found_environment(), argv[1:], argv[0] if argv else "")
    if not config.command:
        raise InitFault("Runtime.HandlerNotFound", "outside of Lambda only a command can be run, not a handler")
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by CPython, and exec would hand that on
        signal.signal(ignored, signal.SIG_DFL)
    try:
        os.execvpe(
            config.command[0], config.command, app_environment(found_environment(), config.app.port, config.variables)
        )
    except OSError as error:
        raise InitFault("Runtime.AppExited", f"{config.command[0]} cannot be started: {error.strerror}") from error


def run(environ: Mapping[str, str], argv: list[str], log: Log) -> list[str] | int:
    """Serve invocations, in the mode that the configuration decides. Returns the exit status.

    Or our command line, where a wrapper has made another environment: to be run again in that.

    ``environ`` has ``platform_variables`` only, here and in all that is called: the frames of it are below user code.
    """
    if WRAPPED in found_environment():
        from .python.wrapper import deliver

        deliver(found_environment()[WRAPPED], argv)
    api = RuntimeApi(environ["AWS_LAMBDA_RUNTIME_API"], log)
    early = EarlyStart.from_env(found_environment())
    mode = failed = extension = None
    try:
        try:
            config = Config.from_env(found_environment(), argv[1:], argv[0] if argv else "")
            wrapper = "" if config.command else wrapper_for(found_environment(), argv[0] if argv else "")
            if wrapper:  # around a command it is part of it
                from .python.wrapper import run_wrapped

                return run_wrapped(wrapper, argv)
            for warning in config.warnings:
                log("WARN", warning)
            if config.runtime_api_proxy:
                api = RuntimeApi(config.runtime_api_proxy, log)
            mode = mode_of(config, environ, argv, early, log)
            mode.start()
            if (
                config.lifecycle.shutdown_grace_ms
            ):  # kept in a local: the platform takes a closed socket for the extension's end
                extension = register_extension(environ["AWS_LAMBDA_RUNTIME_API"], log)
            count = poller_count(environ)
            if count == 1:
                return serve_here(mode, api, environ)
            here = mode  # which is not None
            return mode.serve_together(count, lambda pollers_api: serve_here(here, pollers_api, environ))
        except InitFault as fault:
            failed = fault  # reported below, where it is the exception of no code of the user's any more
        return fail_start(api, mode, failed, early)
    finally:
        del extension
        if mode:
            mode.end()


def mode_of(config: Config, environ: Mapping[str, str], argv: list[str], early: EarlyStart, log: Log) -> Mode:
    """Returns the mode for what is to be run. Its modules are imported now, and the other's are not."""
    mode: Mode
    if config.command:
        from .web.mode import WebMode

        mode = WebMode(config, environ, early, log)
    else:
        from .python.mode import HandlerMode

        mode = HandlerMode(config, environ, argv, log)
    gc.freeze()  # what was imported stays; without this the first object that comes starts a search
    gc.enable()
    return mode


def poller_count(environ: Mapping[str, str]) -> int:
    """How many invocations the platform sends at once: several to Lambda Managed Instances alone."""
    text = environ.get("AWS_LAMBDA_MAX_CONCURRENCY", "")
    return int(text) if text.isascii() and text.isdigit() and 1 < int(text) <= MOST_POLLERS else 1


def serve_here(mode: Mode, api: RuntimeApi, environ: Mapping[str, str]) -> int:
    """Serve invocations one at a time, until this process has to end. Returns its exit status.

    Raises ``RuntimeApiFault``, and ``EnvironmentLost`` when nobody has said what the status is to be.
    """
    failed = None
    try:
        handler = mode.handler(api)
        keep_freed_memory()
        if environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
            with standard_library:
                from .snapstart import pass_snapshot

            pass_snapshot(api, *mode.snapshot_hooks())
        run_blocking(serve(api, handler))
    except InitFault as fault:
        failed = fault
    except EnvironmentLost as lost:
        if lost.exit_code is None:
            raise
        return lost.exit_code
    except (SystemExit, KeyboardInterrupt) as error:  # from a signal handler of the user's, while nothing was invoked
        with standard_library:
            from .python.module import exit_status_of

        return exit_status_of(error)
    assert failed
    return fail_start(api, mode, failed)


def fail_start(api: RuntimeApi, mode: Mode | None, fault: InitFault, early: EarlyStart | None = None) -> int:
    """Report a start that has failed: to Lambda, and to all who want to know. Returns the exit status."""
    if isinstance(fault, SnapshotFault) and fault.was_restored:
        api.fail_restore(fault)
        return fault.exit_code
    if mode and not isinstance(fault, SnapshotFault):
        mode.tell_failed_start(fault)
    elif early and early.pid:
        with standard_library:
            from .web.app_process import signal_group

        signal_group(early.pid)
    api.fail_init(fault)
    return fault.exit_code
