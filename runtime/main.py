"""The composition root: configuration -> app -> Runtime API -> loop, and the exit code.

Exits 0 after SIGTERM or SIGINT, 64 or 65 when a snapshot fails, what a Python handler exits with, and 1 otherwise.
"""

from __future__ import annotations

import gc
import posix
import sys

from .config import Config
from .dispatch import WRAPPED, EarlyStart, app_environment, found_environment, platform_variables, wrapper_for
from .errors import EnvironmentLost, InitFault, ProtocolError, RuntimeApiFault, SnapshotFault
from .logs import Log, wants_json
from .runtime_api import RuntimeApi
from .standard import signal, standard_library

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def main() -> None:
    """Run until the end. ``sys.argv`` is: ``-c``, `bootstrap`'s own path, its arguments."""
    environ = platform_variables(found_environment())
    log = Log(wants_json(environ))
    status = 1
    try:
        if environ.get("AWS_LAMBDA_RUNTIME_API"):
            argv: list[str] | None = sys.argv[1:]
            while argv is not None:
                argv = run(platform_variables(found_environment()), argv, log)
        else:
            become_app(sys.argv[1:])
    except SnapshotFault as fault:
        status = fault.exit_code  # posted and logged already
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
        os.execvpe(config.command[0], config.command, app_environment(found_environment(), config.port))
    except OSError as error:
        raise InitFault("Runtime.AppExited", f"{config.command[0]} cannot be started: {error.strerror}") from error


def run(environ: Mapping[str, str], argv: list[str], log: Log) -> list[str] | None:
    """Serve invocations, in the mode that the configuration decides. Returns None when the start failed.

    Or our command line, where a wrapper has made another environment: to be run again in that.

    ``environ`` has ``platform_variables`` only, here and in all that is called: the frames of it are below user code.
    """
    if WRAPPED in found_environment():
        from .python.wrapper import deliver

        deliver(found_environment()[WRAPPED], argv)
    api = RuntimeApi(environ["AWS_LAMBDA_RUNTIME_API"], log)
    early = EarlyStart.from_env(found_environment())
    try:
        config = Config.from_env(found_environment(), argv[1:], argv[0] if argv else "")
    except InitFault as fault:
        if early.pid:
            from .web.app_process import signal_group

            signal_group(early.pid)
        api.fail_init(fault)
        return None
    wrapper = "" if config.command else wrapper_for(found_environment(), argv[0] if argv else "")
    if wrapper:  # around a command it is part of it
        from .python.wrapper import run_wrapped

        try:
            return run_wrapped(wrapper, argv)
        except InitFault as fault:
            api.fail_init(fault)
            return None
    for warning in config.warnings:
        log("WARN", warning)
    if config.runtime_api_proxy:
        api = RuntimeApi(config.runtime_api_proxy, log)
    if config.command:
        from .web.mode import run_app

        gc.freeze()  # what was imported stays; without this the first object that comes starts a search
        gc.enable()
        run_app(config, environ, early, api, log)
    else:
        from .python.mode import run_handler

        gc.freeze()  # what was imported stays; without this the first object that comes starts a search
        gc.enable()
        run_handler(config, environ, argv, api, log)
    return None
