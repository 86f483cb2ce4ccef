"""What turns an invocation into a question to an app, composed: for an app that is a process or is imported alike."""

from __future__ import annotations

import time

from ..events import EnvironmentConfig, EventOptions, event_of
from ..standard import standard_library
from ..values import NamedTuple
from .handler import WebHandler
from .surroundings import observers_of, surrounded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..config import Config
    from ..logs import Log
    from ..loop import Handler
    from .app_client import App
    from .hooks import Hooks


class WebParts(NamedTuple):
    """What a handler is made of beside its app."""

    config: Config
    environ: Mapping[str, str]
    log: Log
    hooks: Hooks | None
    began: float  # epoch seconds: when the environment was started,
    ready: float  # and when the app was ready
    app_group: Callable[[], int]  # tells the app's process group; 0: it has none of its own
    decode: Callable[[bytes], object] = event_of  # of the event
    is_first: Callable[[], bool] = lambda: True  # whether nobody else has told of the start; each handler asks once

    def handler_of(self, app: App) -> Handler:
        """What turns an invocation into a question to the app, with all that is configured around it."""
        observers = observers_of(self.config, self.environ, self.app_group)
        if not observers:
            return self._handler(app)
        with standard_library:
            from .observation import ObservedApp, ObservedHandler, Start  # only when somebody wants to know

        timed = ObservedApp(app)
        start = Start((time.time() - self.began) * 1000, (self.ready - self.began) * 1000)
        return ObservedHandler(self._handler(timed), timed, start, self.is_first, observers)

    def _handler(self, app: App) -> Handler:
        served = surrounded(app, self.config, self.hooks, self.log)
        kind: type[WebHandler] = WebHandler
        if self.config.javascript == "handler":
            with standard_library:
                from ..javascript.handler import EventHandler

            kind = EventHandler
        return kind(self.config, served, event_options(self.config, self.environ), self.log, self.decode)


def event_options(config: Config, environ: Mapping[str, str]) -> EventOptions:
    """How events are translated."""
    return EventOptions(
        config.events_path,
        config.context_headers,
        environment_config(environ),
        config.base_path,
        config.authorization_source,
        config.host_header,
        config.javascript == "fetch",  # its URL is built from Host and target
    )


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
