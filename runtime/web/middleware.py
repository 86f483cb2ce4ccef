"""Web mode's handler with the middleware that the configuration asks for. What is off is not imported.

From the outside to the inside: reserved paths, work after the response, compression, the function's hooks, failing
statuses, unfinished work of ``index.fetch``, observation.
"""

from __future__ import annotations

import posix
import time

from ..dispatch import HOOK_FILE
from ..events import EnvironmentConfig, EventOptions, fault_of
from ..standard import standard_library
from ..values import NamedTuple
from .handler import WebHandler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..config import Config
    from ..logs import Log
    from .app_client import AppClient
    from .handler import Exchange, Middleware, Observation
    from .hooks import Hooks


class HandlerFactory(NamedTuple):
    """All that a handler is made of beside its app: for an app that is a process or is imported alike."""

    config: Config
    environ: Mapping[str, str]
    log: Log
    hooks: Hooks | None
    began: float  # epoch seconds: when the environment was started,
    ready: float  # and when the app was ready
    app_group: Callable[[], int]  # returns the app's process group; 0: it has none of its own
    is_first: Callable[[], bool] = lambda: True  # whether nobody else has reported the start; each handler asks once

    def handler_of(self, app: AppClient) -> WebHandler:
        """Returns the handler for an app that is a process."""
        kind: type[WebHandler] = WebHandler
        if self.config.javascript == "handler":
            with standard_library:
                from ..javascript.handler import EventHandler

            kind = EventHandler
        observation = self.observation()
        middleware = middleware_of(self.config, self.hooks, observation, self.log)
        return kind(app, self.config, event_options(self.config, self.environ), middleware, observation, self.log)

    def observation(self) -> Observation | None:
        """Returns what measures each invocation for the request log, metrics and traces; None when all are off."""
        config = self.config
        if not (config.observation.request_log or config.observation.metrics or config.observation.tracing):
            return None
        with standard_library:
            from .observation import Clocks, Start, observers_of

        observers = observers_of(config, self.environ, self.app_group)
        start = Start((time.time() - self.began) * 1000, (self.ready - self.began) * 1000)
        return Clocks(start, self.is_first, observers)


def middleware_of(
    config: Config, hooks: Hooks | None, observation: Observation | None, log: Log
) -> tuple[Middleware, ...]:
    """Returns the steps that are on, the outermost first."""
    steps: list[Middleware] = []
    paths = (
        config.lifecycle.after_response_path,
        config.lifecycle.before_checkpoint_path,
        config.lifecycle.after_restore_path,
    )
    reserved = tuple(path for path in paths if path)
    if reserved:
        with standard_library:
            from .reserved import AfterResponse, Reserved

        guard = Reserved(reserved, config.events.base_path)
        steps.append(guard)
        if config.lifecycle.after_response_path:
            steps.append(AfterResponse(config.lifecycle.after_response_path, config.app.host_header))
    if config.answers.compression:  # outside of the hooks, which see what the app has written
        with standard_library:
            from .compression import Compressor, available

        steps.append(Compressor(available()))
    if hooks:
        with standard_library:
            from .hooks import HookCalls

        steps.append(HookCalls(hooks, log))
        if reserved:  # on_request may have made the path from what a client has sent
            steps.append(guard)
    if config.answers.error_statuses and config.javascript != "handler":  # whose failures say so, whatever their status
        steps.append(FailingStatuses(config.answers.error_statuses))
    if config.javascript == "fetch":
        with standard_library:
            from .reserved import Unfinished

        steps.append(Unfinished(config.events.path, config.app.host_header))
    if observation:
        steps.append(observation)
    return tuple(steps)


class FailingStatuses:
    """Fails the invocation for answers with a status in ``ranges``, both ends included: FAIRLEAD_ERROR_STATUS_CODES.

    For an HTTP event too. Of a streamed answer the error has what came with the head.
    """

    def __init__(self, ranges: tuple[tuple[int, int], ...]) -> None:
        self._ranges = ranges

    def before(self, exchange: Exchange) -> None:
        """Let the request pass."""

    def after(self, exchange: Exchange) -> None:
        """Raise ``FunctionFailed`` for a status that is in the ranges."""
        response = exchange.response
        if response and any(low <= response.status <= high for low, high in self._ranges):
            raise fault_of(response._replace(body=exchange.body.ready()) if exchange.body else response)


def hooks_of(environ: Mapping[str, str]) -> Hooks | None:
    """Returns the function's hooks, if it has a file of them. Raises ``InitFault``."""
    path = f"{environ.get('LAMBDA_TASK_ROOT') or posix.getcwd()}/{HOOK_FILE}"
    if not posix.access(path, posix.F_OK):
        return None
    with standard_library:
        from .hooks import load

    return load(path)


def event_options(config: Config, environ: Mapping[str, str]) -> EventOptions:
    """How events are translated."""
    return EventOptions(
        config.events.path,
        config.events.context_headers,
        environment_config(environ),
        config.events.base_path,
        config.events.authorization_source,
        config.app.host_header,
        config.javascript == "fetch",  # its URL is built from Host and target
    )


def environment_config(environ: Mapping[str, str]) -> EnvironmentConfig:
    """The function as the app is told about it in ``x-amzn-lambda-context``."""

    def value(name: str) -> str:
        return environ.get(f"AWS_LAMBDA_{name}", "")

    return EnvironmentConfig(
        value("FUNCTION_NAME"),
        value("FUNCTION_MEMORY_SIZE"),
        value("FUNCTION_VERSION"),
        value("LOG_GROUP_NAME"),
        value("LOG_STREAM_NAME"),
    )
