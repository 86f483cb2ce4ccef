"""Names of Lambda's own Python runtime that error trackers put functions of theirs in the place of.

The integrations of Sentry and Honeybadger look for awslambdaric's module ``bootstrap`` in ``__main__``, and replace
``handle_event_request`` and methods of ``LambdaRuntimeClient`` in it. Where they find none they report no error to
anybody. So they find this module; and once something in it was replaced, each invocation goes through it, as a failed
start does. Whoever patches nothing pays nothing.
"""

from __future__ import annotations

import sys

from ..report import document_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..errors import Fault
    from .module import HandlerFunction

NAME = "bootstrap"
MANAGED_RUNTIME = "awslambdaric.bootstrap"


def handle_event_request(
    lambda_runtime_client: LambdaRuntimeClient, request_handler: HandlerFunction, *arguments: Any, **named: Any
) -> None:
    """Have the handler called. Of all that awslambdaric is given here and passes on, only these two are the same."""
    lambda_runtime_client.returned = request_handler(*lambda_runtime_client.arguments)


class LambdaRuntimeClient:
    """What is told of the end of an invocation, and of a failed start: nothing is posted by these methods."""

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


def patched(function: HandlerFunction) -> HandlerFunction:
    """``function``, called through what was put here."""

    def call(event: object, context: Any) -> object:
        client = LambdaRuntimeClient(event, context)
        try:
            handle_event_request(client, function, context.aws_request_id)
        except BaseException:
            client.post_invocation_error(context.aws_request_id)
            raise
        client.post_invocation_result(context.aws_request_id)
        return client.returned

    return call


def tell_init_error(fault: Fault) -> None:
    """Tell of a failed start. Not to be called while an exception is handled: what is found then is ours."""
    if is_patched():
        LambdaRuntimeClient().post_init_error(document_of(fault))


def warning(is_web_app: bool) -> str:
    """What is to be said when somebody waits to be called, and will not be; "" when nobody does."""
    if is_web_app and is_patched():
        return (
            f"{_who(handle_event_request)} has replaced functions that call a Lambda handler, and this function is a"
            " WSGI or ASGI app: nothing is reported through them. Use its integration for the web framework"
        )
    elsewhere = getattr(sys.modules.get(MANAGED_RUNTIME), "handle_event_request", None)
    if elsewhere and _who(elsewhere) != MANAGED_RUNTIME:
        return (
            f"{_who(elsewhere)} has replaced functions of awslambdaric, which does not run this function: nothing is"
            " reported through them. Wrap the handler instead: docs/handlers.md, error trackers"
        )
    return ""


def _who(function: Any) -> str:
    """The module in which a function was written, whatever it says of itself."""
    name: str = getattr(function, "__globals__", {}).get("__name__", "somebody")
    return name
