"""Web mode, composed: the app is brought up, and every invocation becomes a request to it."""

from __future__ import annotations

import time

from ..dispatch import app_environment, found_environment
from ..loop import ENDING, end_with_signals
from ..standard import signal, standard_library
from .app_client import OwnedApp
from .app_process import AppProcess
from .middleware import HandlerFactory, hooks_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..config import Config
    from ..dispatch import EarlyStart
    from ..errors import InitFault
    from ..logs import Log
    from ..runtime_api import RuntimeApi
    from .handler import WebHandler
    from .hooks import Hooks

# Lambda gives an init 10 s before it starts over; what is left is for the way to next.
ASYNC_INIT_LIMIT_S = 9.8


class WebMode:
    """Serves invocations with one app, which is a process: a ``main.Mode``."""

    def __init__(self, config: Config, environ: Mapping[str, str], early: EarlyStart, log: Log) -> None:
        self._config = config
        self._environ = environ
        self._log = log
        self._early = early
        record = environ.get("TMPDIR", "/tmp") + "/.fairlead-app"
        # Asked for with each start: hooks run above this frame, and what the app may know is more than they may show.
        self._process = AppProcess(
            config.command, lambda: app_environment(found_environment(), config.app.port, config.variables), record, log
        )
        self._app = OwnedApp(config, self._process, log)
        self._hooks: Hooks | None = None
        self._began = early.began or time.time()

    def start(self) -> None:
        """Start the app, or adopt the one that `bootstrap` started. Raises ``InitFault``."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # who ignores it, and has us inherit that, hides the app's status
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # in this thread, and in those that it starts
        if self._early.pid:
            self._process.adopt(self._early.pid, self._early.stderr, self._early.status)
        grace_s = self._config.lifecycle.shutdown_grace_ms / 1000
        self._endings: list[Callable[[], None]] = [self._app.hang_up, lambda: self._process.stop(grace_s)]
        end_with_signals(self._endings)
        self._hooks = hooks_of(self._environ)
        if not self._process.pid:
            self._app.start()

    def handler(self, _api: RuntimeApi) -> WebHandler:
        """Returns what answers invocations, once the app does. Raises ``InitFault``."""
        return self._await_ready().handler_of(self._app)

    def _await_ready(self) -> HandlerFactory:
        """Wait until the app answers; with async init for as long as Lambda waits. Raises ``InitFault``."""
        process = self._process
        self._app.await_init(*([self._began + ASYNC_INIT_LIMIT_S] if self._config.readiness.async_init else []))
        return HandlerFactory(
            self._config, self._environ, self._log, self._hooks, self._began, time.time(), lambda: process.pid
        )

    def snapshot_hooks(self) -> tuple[Callable[[], None], Callable[[], None]]:
        """Returns what to do before a snapshot, and after the restore."""
        config = self._config
        with standard_library:
            from ..snapstart import app_hooks

        return app_hooks(
            self._app,
            config.app.host_header,
            config.lifecycle.before_checkpoint_path,
            config.lifecycle.after_restore_path,
        )

    def serve_together(self, count: int, _serve_here: object) -> int:
        """Serve with ``count`` pollers, one process for each core. Returns the exit status. Raises ``InitFault``."""
        with standard_library:
            from .shared_app import Once, WorkerParts, serve_together

        handler_of = self._await_ready()._replace(is_first=Once()).handler_of
        may_block = self._hooks is not None
        parts = WorkerParts(self._config, self._environ, handler_of, self._endings.append, may_block)
        serve_together(count, self._app, self._process, parts, self._log)
        return 1

    def tell_failed_start(self, _fault: InitFault) -> None:
        """End what was started."""
        self._process.kill()

    def end(self) -> None:
        """End the app."""
        self._process.kill()
