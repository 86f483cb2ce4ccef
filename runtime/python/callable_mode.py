"""A WSGI or ASGI app as the handler (``module:callable``), composed: web mode in one process."""

from __future__ import annotations

import time

from ..errors import InitFault, InvocationFault
from ..standard import signal, standard_library
from ..web.handler import Exchange, HttpHandler
from ..web.middleware import HandlerFactory, event_options, hooks_of, middleware_of
from .lambda_context import Function, LambdaContext, TraceVariable
from .module import load
from .web_callable import Current, Rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from ..config import Config
    from ..invocation import Invocation, Result, StreamedResult
    from ..logs import Log
    from .asgi import AsgiApp
    from .event_loop import EventLoop
    from .logs import HandlerLogs
    from .wsgi import WsgiApp

CO_COROUTINE = 0x80  # inspect has the name, and takes 9 ms
ASGI_PARAMETERS, WSGI_PARAMETERS = 3, 2


class CallableHandler(HttpHandler):
    """Answers invocations with an app in this process: web mode's way (web/handler.py), and nothing of it waits."""

    def __init__(
        self,
        app: WsgiApp | AsgiApp,
        factory: HandlerFactory,
        current: Current,
        constants: Function,
        logs: HandlerLogs,
        loop: EventLoop | None,
    ) -> None:
        config, observation = factory.config, factory.observation()
        middleware = middleware_of(config, factory.hooks, observation, factory.log)
        options = event_options(config, factory.environ)
        super().__init__(config, options, middleware, observation, factory.log, current.decode)
        self._app = app
        self._current = current
        self._constants = constants
        self._logs = logs
        self._loop = loop
        self._trace = TraceVariable()

    def handle(self, invocation: Invocation) -> Result | StreamedResult:
        """Returns the answer to the invocation. Raises ``InvocationFault``, whatever goes wrong."""
        self._logs.begin(invocation)
        self._trace.set(invocation.trace_id)
        self._current.context = LambdaContext(invocation, self._constants)
        exchange = Exchange(invocation)
        try:
            self.prepare(exchange)
            if exchange.response is None:
                if exchange.is_streamed:
                    exchange.response, exchange.body = self._app.begin(exchange.request, invocation)
                else:
                    exchange.response = self._app.ask(exchange.request, invocation)
            return self.finish(exchange)
        except Exception as error:
            return self.failed(exchange, error)

    def after_response(self) -> None:
        """Do what is left to do once the invocation is answered. Raises ``EnvironmentLost``."""
        for request, invocation in self.take_follow_ups():
            try:
                self.check_follow_up(request, invocation, self._app.ask(request, invocation))
            except InvocationFault as fault:
                self.log_follow_up(invocation, f"{fault.error_type}: {fault.message}")
        self._app.after_response()

    def turn(self) -> None:
        """Let what waits in the event loop have its turn."""
        if self._loop:
            self._loop.turn()


def make_callable_handler(config: Config, environ: Mapping[str, str], logs: HandlerLogs, log: Log) -> CallableHandler:
    """The app that ``config.handler`` names, imported and started. Raises ``InitFault``."""
    began = time.time()
    application = load(config.handler)
    current, rules = Current(), Rules(config, logs)
    app: WsgiApp | AsgiApp
    loop = None
    if interface_of(application, config) == "asgi":
        with standard_library:
            from .asgi import AsgiApp
            from .event_loop import EventLoop

        loop = EventLoop()
        state = start_app(application, loop, config, log)
        app = AsgiApp(application, loop, state, rules, current, log)
    else:
        with standard_library:
            from .wsgi import WsgiApp

        app = WsgiApp(application, rules, current)
    factory = HandlerFactory(config, environ, log, hooks_of(environ), began, time.time(), lambda: 0)
    return CallableHandler(app, factory, current, Function.from_env(environ), logs, loop)


def start_app(application: Callable[..., Any], loop: EventLoop, config: Config, log: Log) -> dict[str, Any] | None:
    """Have the app start, and see to it that it is told of its end. Its state, or None. Raises ``InitFault``."""
    with standard_library:
        import atexit  # in C, and used here alone

    with standard_library:
        from .asgi import Lifespan

    lifespan = Lifespan(application, loop)
    lifespan.start()
    if not lifespan.is_supported:
        return None

    def end() -> None:
        problem = lifespan.end(config.lifecycle.shutdown_grace_ms / 1000)
        if problem:
            log("ERROR", f"the app's end failed: {problem}")

    atexit.register(end)  # however the process ends, by itself or by SIGTERM
    if config.lifecycle.shutdown_grace_ms and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _exit)
    return lifespan.state


def _exit(*_: object) -> None:
    raise SystemExit(0)


def interface_of(application: Any, config: Config) -> str:
    """``asgi`` or ``wsgi``: as the setting says, or found out. Raises ``InitFault`` when it cannot be."""
    if config.python.interface != "auto":
        return config.python.interface
    code, bound = _code_of(application)
    parameters = getattr(code, "co_argcount", 0) - bound
    if getattr(code, "co_flags", 0) & CO_COROUTINE or parameters == ASGI_PARAMETERS:
        return "asgi"
    if parameters == WSGI_PARAMETERS:
        return "wsgi"
    message = f"whether {config.handler} is an ASGI or a WSGI app cannot be told: set FAIRLEAD_INTERFACE to one of them"
    raise InitFault("Runtime.InvalidConfig", message)


def _code_of(application: Any) -> tuple[object, int]:
    """The code object that a call of ``application`` runs, and how many of its parameters are given by Python."""
    while hasattr(application, "__wrapped__") or (hasattr(application, "func") and hasattr(application, "keywords")):
        application = getattr(application, "__wrapped__", None) or application.func  # functools.wraps, .partial
    if hasattr(application, "__code__"):
        return application.__code__, int(hasattr(application, "__self__"))
    is_class = isinstance(application, type)
    method = getattr(application, "__init__") if is_class else getattr(type(application), "__call__")  # noqa: B004, B009
    return getattr(method, "__code__", None), 1
