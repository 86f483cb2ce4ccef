"""The composition root: configuration -> app -> Runtime API -> loop, and the exit code.

Exits 0 after SIGTERM or SIGINT, and 1 otherwise: a runtime has no other end that is its own wish.
"""

from __future__ import annotations

import _thread
import posix
import sys
import time

from .app_process import AppProcess, signal_group
from .app_server import AppServer
from .c_modules import signal
from .config import PRIVATE_PREFIX, Config
from .errors import EnvironmentLost, InitFault, ProtocolError, RuntimeApiFault
from .events import EnvironmentConfig, EventOptions
from .extension import register
from .logs import Log
from .loop import serve
from .report import trace_of
from .runtime_api import RuntimeApi
from .web_handler import WebHandler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# Lambda gives an init 10 s before it starts over; what is left is for the way to next.
ASYNC_INIT_LIMIT_S = 9.8
ENDING = (signal.SIGTERM, signal.SIGINT)


def main() -> None:
    """Run until the end. ``sys.argv`` is: ``-c``, `bootstrap`'s own path, its arguments."""
    environ = {_text(name): _text(value) for name, value in posix.environ.items()}
    log = Log(as_json=environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON")
    try:
        if environ.get("AWS_LAMBDA_RUNTIME_API"):
            run(environ, sys.argv[1:], log)
        else:
            become_app(environ, sys.argv[1:])
    except (RuntimeApiFault, ProtocolError, EnvironmentLost, InitFault) as fault:
        log("ERROR", f"the process ends: {fault}")
    except BaseException as error:
        log("ERROR", trace_of(error))
    posix._exit(1)  # nothing is left to flush, and the stderr thread would be waited for


def become_app(environ: Mapping[str, str], argv: list[str]) -> None:
    """Not on Lambda, and without bash: be the app, as `bootstrap` is there. Raises ``InitFault``: nothing to run."""
    import os  # for execvpe; only where no start is counted

    config = Config.from_env(environ, argv[1:], argv[0] if argv else "")
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by CPython, and exec would hand that on
        signal.signal(ignored, signal.SIG_DFL)
    try:
        os.execvpe(config.command[0], config.command, config.app_environment)
    except OSError as error:
        raise InitFault("Runtime.AppExited", f"{config.command[0]} cannot be started: {error.strerror}") from error


def run(environ: Mapping[str, str], argv: list[str], log: Log) -> None:
    """Start the app and serve invocations. Returns when the start failed."""
    address = environ["AWS_LAMBDA_RUNTIME_API"]
    api = RuntimeApi(address, log)
    adopted = int(environ.get(PRIVATE_PREFIX + "APP_PID") or 0)
    try:
        config = Config.from_env(environ, argv[1:], argv[0] if argv else "")
    except InitFault as fault:
        if adopted:
            signal_group(adopted)
        api.fail_init(fault)
        return
    record = environ.get("TMPDIR", "/tmp") + "/.fairlead-app"
    process = AppProcess(config.command, config.app_environment, record, log)
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # in this thread, and in those that it starts
    try:
        if adopted:
            process.adopt(adopted, int(environ[PRIVATE_PREFIX + "APP_STDERR"]))
        end_with_signals(process, config.shutdown_grace_ms / 1000)
        serve_app(config, process, environ, api, log)
    finally:
        process.kill()


def serve_app(config: Config, process: AppProcess, environ: Mapping[str, str], api: RuntimeApi, log: Log) -> None:
    """Web mode: bring the app up and serve invocations with it."""
    app = AppServer(config, process, log)
    # The async clock runs from the start of `bootstrap`, as Lambda's does.
    began = float(environ.get(PRIVATE_PREFIX + "STARTED") or time.time())
    try:
        if process.pid:
            app.started(began)
        else:
            app.start()
        # While the app boots. Kept in a local: the platform takes a closed socket for the extension's end.
        extension = register(environ["AWS_LAMBDA_RUNTIME_API"], log) if config.shutdown_grace_ms else None
        app.await_init(*([began + ASYNC_INIT_LIMIT_S] if config.async_init else []))
    except InitFault as fault:
        process.kill()
        api.fail_init(fault)
        return
    keep_freed_memory()
    options = EventOptions(
        config.events_path,
        config.context_headers,
        environment_config(environ),
        config.base_path,
        config.authorization_source,
    )
    serve(api, WebHandler(config, app, options, log))
    del extension


def keep_freed_memory() -> None:
    """Have glibc keep the blocks that large bodies were in, instead of mapping new pages for each invocation.

    It maps blocks above a threshold afresh, and raises that for good once such a block is freed, up to 32 MiB: so this
    frees the largest one that counts, never touched (docs/decisions/0008). Other C libraries do not mind.
    """
    bytes((32 << 20) - 65_536)


def environment_config(environ: Mapping[str, str]) -> EnvironmentConfig:
    """What the app is told about the function in ``x-amzn-lambda-context``."""

    def value(name: str) -> str:
        return environ.get(f"AWS_LAMBDA_{name}", "")

    return EnvironmentConfig(
        value("FUNCTION_NAME"),
        value("FUNCTION_MEMORY_SIZE"),
        value("FUNCTION_VERSION"),
        value("LOG_GROUP_NAME"),
        value("LOG_STREAM_NAME"),
    )


def end_with_signals(process: AppProcess, grace_s: float) -> None:
    """Let SIGTERM (the platform's, before it ends the environment) and SIGINT (Ctrl-C) end the app, then this process.

    A thread waits for them, since a Python signal handler would run between two bytecodes of the main thread only: a
    signal that comes a moment before that blocks in next would wait there with it, for hours.
    """

    def wait() -> None:
        signal.sigwait(ENDING)
        process.stop(grace_s)
        posix._exit(0)

    _thread.start_new_thread(wait, ())


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")
