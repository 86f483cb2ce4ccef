"""Web mode, composed: the app is brought up, and every invocation becomes a request to it."""

from __future__ import annotations

import _thread
import posix
import time

from .app_process import AppProcess
from .app_server import AppServer
from .c_modules import signal
from .errors import InitFault
from .events import EnvironmentConfig, EventOptions
from .extension import register
from .loop import serve
from .surroundings import observers_of, surrounded
from .web_handler import WebHandler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .config import Config
    from .dispatch import EarlyStart
    from .logs import Log
    from .loop import Handler
    from .observation import ObservedApp, ObservedHandler, Observer
    from .runtime_api import RuntimeApi

# Lambda gives an init 10 s before it starts over; what is left is for the way to next.
ASYNC_INIT_LIMIT_S = 9.8
ENDING = (signal.SIGTERM, signal.SIGINT)


def run_app(config: Config, environ: Mapping[str, str], early: EarlyStart, api: RuntimeApi, log: Log) -> None:
    """Start the app, or adopt the one that `bootstrap` started, and serve. Returns when the start failed."""
    record = environ.get("TMPDIR", "/tmp") + "/.fairlead-app"
    process = AppProcess(config.command, config.app_environment, record, log)
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # in this thread, and in those that it starts
    try:
        if early.pid:
            process.adopt(early.pid, early.stderr)
        end_with_signals(process, config.shutdown_grace_ms / 1000)
        serve_app(config, process, environ, early.began, api, log)
    finally:
        process.kill()


def serve_app(
    config: Config, process: AppProcess, environ: Mapping[str, str], began: float, api: RuntimeApi, log: Log
) -> None:
    """Bring the app up and serve invocations with it. The async clock runs from ``began``, as Lambda's does."""
    app = AppServer(config, process, log)
    began = began or time.time()
    observers = observers_of(config, environ)
    try:
        timed = _timed(app) if observers else None
        served = surrounded(timed or app, config, environ, log)
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
    ready = time.time()
    keep_freed_memory()
    options = EventOptions(
        config.events_path,
        config.context_headers,
        environment_config(environ),
        config.base_path,
        config.authorization_source,
    )
    handler: Handler = WebHandler(config, served, options, log)
    if timed:
        handler = _observed(handler, timed, began, ready, observers)
    serve(api, handler)
    del extension


def _timed(app: AppServer) -> ObservedApp:
    from .observation import ObservedApp  # only when somebody wants to know

    return ObservedApp(app)


def _observed(
    handler: Handler, app: ObservedApp, began: float, ready: float, observers: Sequence[Observer]
) -> ObservedHandler:
    from .observation import ObservedHandler, Start

    start = Start((time.time() - began) * 1000, (ready - began) * 1000)
    return ObservedHandler(handler, app, start, observers)


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
