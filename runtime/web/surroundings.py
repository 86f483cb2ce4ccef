"""What is put around the app, as the configuration has it. What is off is neither imported nor in the way."""

from __future__ import annotations

import posix

from ..dispatch import HOOK_FILE
from ..standard import standard_library

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..config import Config
    from ..logs import Log
    from .app_client import App
    from .hooks import Hooks
    from .observation import Observer


def hooks_of(environ: Mapping[str, str]) -> Hooks | None:
    """The function's hooks, if it has a file of them. Raises ``InitFault``."""
    path = f"{environ.get('LAMBDA_TASK_ROOT') or posix.getcwd()}/{HOOK_FILE}"
    if not posix.access(path, posix.F_OK):
        return None
    with standard_library:
        from .hooks import load

    return load(path)


def surrounded(app: App, config: Config, hooks: Hooks | None, log: Log) -> App:
    """The app with everything around it that is on, from the inside to the outside."""
    itself = app
    reserved = tuple(
        filter(None, (config.after_response_path, config.before_checkpoint_path, config.after_restore_path))
    )
    if config.javascript == "fetch":
        with standard_library:
            from .internal_requests import Unfinished

        app = Unfinished(app, itself, config.events_path, config.host_header, log)
    if config.error_statuses and config.javascript != "handler":  # whose failures say so, whatever their status
        with standard_library:
            from .failing_statuses import FailingStatuses

        app = FailingStatuses(app, config.error_statuses)
    if hooks:
        with standard_library:
            from .hooks import Hooked

        if reserved:  # on_request may have made the path from what a client has sent
            app = _guarded(app, reserved, config)
        app = Hooked(app, hooks, log)
    if config.compression:  # outside of the hooks, which see what the app has written
        with standard_library:
            from .compressing import Compressing

        app = Compressing(app)
    if config.after_response_path:
        with standard_library:
            from .internal_requests import AfterResponse

        app = AfterResponse(app, itself, config.after_response_path, config.host_header, log)
    return _guarded(app, reserved, config) if reserved else app


def _guarded(app: App, reserved: tuple[str, ...], config: Config) -> App:
    with standard_library:
        from .internal_requests import Reserved
        from .reserved_paths import ReservedPaths

    return Reserved(app, ReservedPaths(reserved, config.base_path))


def observers_of(config: Config, environ: Mapping[str, str], app_group: Callable[[], int]) -> list[Observer]:
    """Who wants to know about each invocation. ``app_group`` tells the app's process group."""
    observers: list[Observer] = []
    if config.request_log:
        with standard_library:
            from . import request_log

        observers.append(request_log.write)
    if config.metrics:
        with standard_library:
            from . import metrics

        observers.append(metrics.writer(environ.get("AWS_LAMBDA_FUNCTION_NAME", ""), app_group))
    if config.tracing:
        with standard_library:
            from . import xray

        observers.append(xray.sender(environ.get("AWS_XRAY_DAEMON_ADDRESS", "")))
    return observers
