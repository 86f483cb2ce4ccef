"""Names of Lambda's own Python runtime that error trackers put functions of theirs in the place of.

The integrations of Sentry and Honeybadger look for awslambdaric's module ``bootstrap`` in ``__main__``, and replace
``handle_event_request`` and methods of ``LambdaRuntimeClient`` in it. Where they find none they report no error to
anybody. So they find this module; and once something in it was replaced, each invocation goes through it, as a failed
start does. Whoever patches nothing pays nothing.
"""

from __future__ import annotations

import sys

from ..report import document_of, trace_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..errors import Fault
    from ..logs import Log
    from .module import HandlerFunction

NAME = "bootstrap"
MANAGED_RUNTIME = "awslambdaric.bootstrap"


def handle_event_request(
    lambda_runtime_client: LambdaRuntimeClient, request_handler: HandlerFunction, *arguments: Any, **named: Any
) -> None:
    """Have the handler called. Of all that awslambdaric is given here and passes on, only these two are the same."""
    lambda_runtime_client.returned = request_handler(*lambda_runtime_client.arguments)


class LambdaRuntimeClient:
    """Is told of the end of an invocation, and of a failed start. These methods post nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.returned: Any = None

    def post_invocation_result(self, invoke_id: str, *_: Any, **_named: Any) -> None:
        """The handler has returned."""

    def post_invocation_error(self, invoke_id: str, *_: Any, **_named: Any) -> None:
        """The handler has raised something."""

    def post_init_error(self, error: dict[str, Any], *_: Any, **_named: Any) -> None:
        """The function cannot start. ``error`` is the error document."""


_METHODS = ("post_invocation_result", "post_invocation_error", "post_init_error")
_OWN = (handle_event_request, *(getattr(LambdaRuntimeClient, name) for name in _METHODS))


def install() -> None:
    """Let them find this module."""
    setattr(sys.modules["__main__"], NAME, sys.modules[__name__])


def is_patched() -> bool:
    """Whether somebody has put something in the place of what was here."""
    return (handle_event_request, *(getattr(LambdaRuntimeClient, name, None) for name in _METHODS)) != _OWN


class Outcome:
    """Of a call of the handler, which is the invocation's whatever somebody else's code makes of it."""

    def __init__(self, function: HandlerFunction) -> None:
        self._function = function
        self.has_ended = False
        self.returned: object = None
        self.raised: BaseException | None = None

    def call(self, *arguments: Any) -> object:
        try:
            self.returned = self._function(*arguments)
        except BaseException as error:
            self.raised = error
            raise
        finally:
            self.has_ended = True
        return self.returned


def patched(function: HandlerFunction, log: Log) -> HandlerFunction:
    """``function``, called through what was put here. What fails there is told to ``log``, and changes no answer."""

    def call(event: object, context: Any) -> object:
        client, outcome = LambdaRuntimeClient(event, context), Outcome(function)
        try:
            handle_event_request(client, outcome.call, context.aws_request_id)
        except Exception as error:
            if error is not outcome.raised:
                _warn(error, log)
        if not outcome.has_ended:
            return function(event, context)
        post = client.post_invocation_error if outcome.raised else client.post_invocation_result
        try:
            post(context.aws_request_id)
        except Exception as error:
            _warn(error, log)
        if outcome.raised:
            raise outcome.raised
        return outcome.returned

    return call


def _warn(error: Exception, log: Log) -> None:
    """The integration is named by the frame in which it has failed."""
    log(
        "WARN",
        f"{_who(handle_event_request)} has failed, and the handler's answer is sent all the same: {trace_of(error)}",
    )


def tell_init_error(fault: Fault) -> None:
    """Tell of a failed start. Not to be called while an exception is handled: what is found then is ours."""
    if is_patched():
        LambdaRuntimeClient().post_init_error(document_of(fault))


def warning(is_web_app: bool) -> str:
    """Returns a warning when somebody waits to be called and will not be; "": nobody does."""
    if is_web_app and is_patched():
        return (
            f"{_who(handle_event_request)} has replaced functions that call a Lambda handler, and this function is a"
            " WSGI or ASGI app: nothing is reported through them. Use its integration for the web framework"
        )
    elsewhere = _foreign(sys.modules.get(MANAGED_RUNTIME))
    if elsewhere:
        return (
            f"{_who(elsewhere)} has replaced functions of awslambdaric, which does not run this function: nothing is"
            " reported through them. Wrap the handler instead: docs/handlers.md, error trackers"
        )
    added = {**_added(vars(LambdaRuntimeClient), _CLIENTS), **_added(vars(sys.modules[__name__]), _NAMES)}
    for name, value in added.items():
        return (
            f"{_who(value)} has put a function in the place of Lambda's {name}, which is never called here: nothing is"
            " reported through it. Wrap the handler instead: docs/handlers.md, error trackers"
        )
    return ""


def _foreign(module: Any) -> Any:
    """The first function of awslambdaric that somebody has replaced, or None."""
    client = getattr(module, "LambdaRuntimeClient", None)
    places = ((module, ("handle_event_request", "run")), (client, (*_METHODS, "wait_next_invocation")))
    found = (getattr(place, name, None) for place, names in places for name in names)
    return next((one for one in found if one and not _who(one).startswith("awslambdaric.")), None)


def _added(names: Any, known: frozenset[str]) -> dict[str, Any]:
    """Functions under names that were not there."""
    return {name: value for name, value in names.items() if name not in known and callable(value)}


def _who(function: Any) -> str:
    """The module in which a function was written, whatever it says of itself; of another object, its class's."""
    if type(function) is not type(_who):  # a wrapper may pass for the function that it wraps
        return str(type(function).__module__)
    name: str = function.__globals__.get("__name__", "somebody")
    return name


_CLIENTS = frozenset(vars(LambdaRuntimeClient))
_NAMES = frozenset((*globals(), "_NAMES"))
