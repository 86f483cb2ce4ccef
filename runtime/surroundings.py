"""What is put around the app, as the configuration has it. What is off is neither imported nor in the way."""

from __future__ import annotations

import posix

from .dispatch import HOOK_FILE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .app_server import App
    from .config import Config
    from .logs import Log
    from .observation import Observer


def surrounded(app: App, config: Config, environ: Mapping[str, str], log: Log) -> App:
    """The app with everything around it that is on, from the inside to the outside. Raises ``InitFault``."""
    if config.error_statuses:
        from .failing_statuses import FailingStatuses

        app = FailingStatuses(app, config.error_statuses)
    hook_file = f"{environ.get('LAMBDA_TASK_ROOT') or posix.getcwd()}/{HOOK_FILE}"
    if posix.access(hook_file, posix.F_OK):
        from .hooks import Hooked, load

        app = Hooked(app, load(hook_file), log)
    if config.compression:  # outside of the hooks, which see what the app has written
        from .compressing import Compressing

        app = Compressing(app)
    own_paths = (config.after_response_path, config.before_checkpoint_path, config.after_restore_path)
    if any(own_paths):
        from .own_paths import AfterResponse, Reserved

        if config.after_response_path:
            app = AfterResponse(app, config.after_response_path, log)
        app = Reserved(app, tuple(filter(None, own_paths)))
    return app


def observers_of(config: Config, environ: Mapping[str, str]) -> list[Observer]:
    """Who wants to know about each invocation."""
    observers: list[Observer] = []
    if config.request_log:
        from . import request_log

        observers.append(request_log.write)
    if config.tracing:
        from . import xray

        observers.append(xray.sender(environ.get("AWS_XRAY_DAEMON_ADDRESS", "")))
    return observers
