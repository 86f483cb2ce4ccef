"""Web mode, composed: the app is brought up, and every invocation becomes a request to it."""

from __future__ import annotations

import _thread
import posix
import time

from ..connection import keep_freed_memory
from ..dispatch import app_environment, found_environment
from ..errors import InitFault
from ..loop import serve
from ..runtime_api import register_extension
from ..standard import signal, standard_library
from ..waiting import run_blocking
from .app_client import OwnedApp
from .app_process import AppProcess
from .middleware import HandlerFactory, hooks_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..config import Config
    from ..dispatch import EarlyStart
    from ..logs import Log
    from ..runtime_api import RuntimeApi

# Lambda gives an init 10 s before it starts over; what is left is for the way to next.
ASYNC_INIT_LIMIT_S = 9.8
MAX_CONCURRENCY = "AWS_LAMBDA_MAX_CONCURRENCY"  # Lambda Managed Instances: so many invocations at once
ENDING = (signal.SIGTERM, signal.SIGINT)


def run_app(config: Config, environ: Mapping[str, str], early: EarlyStart, api: RuntimeApi, log: Log) -> None:
    """Start the app, or adopt the one that `bootstrap` started, and serve. Returns when the start failed."""
    record = environ.get("TMPDIR", "/tmp") + "/.fairlead-app"
    # Asked for with each start: hooks run above this frame, and what the app may know is more than they may show.
    process = AppProcess(config.command, lambda: app_environment(found_environment(), config.port), record, log)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # whoever ignores it, and has us inherit that, hides the app's status
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # in this thread, and in those that it starts
    try:
        if early.pid:
            process.adopt(early.pid, early.stderr, early.status)
        endings: list[Callable[[], None]] = [lambda: process.stop(config.shutdown_grace_ms / 1000)]
        end_with_signals(endings)
        WebMode(config, environ, process, log).serve(api, early.began, endings)
    finally:
        process.kill()


class WebMode:
    """All that one app is served with."""

    def __init__(self, config: Config, environ: Mapping[str, str], process: AppProcess, log: Log) -> None:
        self._config = config
        self._environ = environ
        self._process = process
        self._log = log

    def serve(self, api: RuntimeApi, began: float, endings: list[Callable[[], None]]) -> None:
        """Bring the app up and serve invocations with it. The async clock runs from ``began``, as Lambda's does."""
        config, log = self._config, self._log
        app = OwnedApp(config, self._process, log)
        endings.insert(0, app.hang_up)
        began = began or time.time()
        try:
            hooks = hooks_of(self._environ)
            if not self._process.pid:
                app.start()
            # While the app boots. Kept in a local: the platform takes a closed socket for the extension's end.
            extension = (
                register_extension(self._environ["AWS_LAMBDA_RUNTIME_API"], log) if config.shutdown_grace_ms else None
            )
            app.await_init(*([began + ASYNC_INIT_LIMIT_S] if config.async_init else []))
            ready = time.time()
        except InitFault as fault:
            self._process.kill()
            api.fail_init(fault)
            return
        keep_freed_memory()
        factory = HandlerFactory(config, self._environ, log, hooks, began, ready, lambda: self._process.pid)
        if self._environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
            with standard_library:
                from ..snapstart import app_hooks, pass_snapshot

            pass_snapshot(
                api, *app_hooks(app, config.host_header, config.before_checkpoint_path, config.after_restore_path)
            )
        if self._environ.get(MAX_CONCURRENCY, "1") == "1":
            run_blocking(serve(api, factory.handler_of(app)))
        else:
            with standard_library:
                from .shared_app import Once, WorkerParts, serve_together

            handler_of = factory._replace(is_first=Once()).handler_of
            parts = WorkerParts(config, self._environ, handler_of, endings.append, may_block=hooks is not None)
            serve_together(app, self._process, parts, log)
        del extension


def end_with_signals(endings: list[Callable[[], None]]) -> None:
    """Let SIGTERM (the platform's, before an environment ends) and SIGINT (Ctrl-C) do ``endings``, then exit with 0.

    A thread waits for them, since a Python signal handler would run between two bytecodes of the main thread only: a
    signal that comes a moment before that blocks in next would wait there with it, for hours.
    """

    def wait() -> None:
        signal.sigwait(ENDING)
        for end in endings:
            end()
        posix._exit(0)

    _thread.start_new_thread(wait, ())
