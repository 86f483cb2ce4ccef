"""The function's own Python between the event and the app: ``fairlead_hooks.py`` beside the start script.

::

    from fairlead.messages import HttpResponse

    def on_request(request):                 # before the app: another request, an answer, or None for "as it is"
        if request.target.startswith("/old/"):
            return request._replace(target="/new/" + request.target[5:])

    def on_response(request, response):      # after it: another answer, or None
        return response._replace(headers=[*response.headers, ("x-served-by", "me")])

Both are optional, and without the file nothing of this is imported. Of a streamed answer ``on_response`` sees the head,
with an empty body.
"""

from __future__ import annotations

import sys

from .. import messages
from ..dispatch import HOOK_FILE as FILE
from ..errors import InitFault, InvocationFault, ProtocolError
from ..events.fields import HOP_BY_HOP
from ..http1 import render_head
from ..messages import HttpRequest, HttpResponse
from ..report import trace_of
from ..standard import standard_library

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..invocation import Invocation
    from ..logs import Log
    from .handler import Exchange

    Hooks = dict[str, Callable[..., Any]]

NAMES = ("on_request", "on_response")


def load(path: str) -> Hooks:
    """The hooks that the file defines. Raises ``InitFault`` ``Function.HookFailed`` when it cannot be loaded."""
    # The checkout's package has another name than the layer's, and a hook must not get a second copy of the values.
    sys.modules.setdefault("fairlead.messages", messages)
    sys.modules.setdefault("fairlead", sys.modules[messages.__package__])
    root = path.rpartition("/")[0]
    if root not in sys.path:
        standard_library.guard()
        sys.path.insert(0, root)
        standard_library.give_way()
    module = type(sys)(FILE.removesuffix(".py"))
    module.__file__ = path
    try:
        with open(path, "rb") as file:
            code = compile(file.read(), path, "exec")
        exec(code, module.__dict__)
    except BaseException as error:  # sys.exit at the top of the file included
        raise InitFault("Function.HookFailed", f"{FILE} cannot be loaded", trace_of(error)) from error
    hooks = {name: getattr(module, name) for name in NAMES if hasattr(module, name)}
    if not hooks or not all(map(callable, hooks.values())):
        raise InitFault("Function.HookFailed", f"{FILE} must define on_request, on_response or both, as functions")
    return hooks


class HookCalls:
    """Middleware: calls the function's hooks."""

    def __init__(self, hooks: Hooks, log: Log) -> None:
        self._hooks = hooks
        self._log = log

    def before(self, exchange: Exchange) -> None:
        """Call ``on_request``. Raises ``InvocationFault``."""
        wanted = self._before(exchange.request, exchange.invocation)
        if isinstance(wanted, HttpResponse):
            exchange.response = wanted
        else:
            exchange.request = wanted

    def after(self, exchange: Exchange) -> None:
        """Call ``on_response``. Raises ``InvocationFault``."""
        assert exchange.response is not None
        response = exchange.response = self._after(exchange.request, exchange.response, exchange.invocation)
        if exchange.body is not None and response.body:
            raise _fault("on_response gave a body, which a streamed answer already has")

    def _before(self, request: HttpRequest, invocation: Invocation) -> HttpRequest | HttpResponse:
        wanted = self._called("on_request", invocation, request)
        if wanted is None:
            return request
        if isinstance(wanted, HttpResponse):
            return _checked(wanted, "on_request")
        if not isinstance(wanted, HttpRequest):
            raise _fault(f"on_request gave a {type(wanted).__name__}, not an HttpRequest, an HttpResponse or None")
        return _sendable(wanted)

    def _after(self, request: HttpRequest, response: HttpResponse, invocation: Invocation) -> HttpResponse:
        wanted = self._called("on_response", invocation, request, response)
        if wanted is None:
            return response
        if not isinstance(wanted, HttpResponse):
            raise _fault(f"on_response gave a {type(wanted).__name__}, not an HttpResponse, or None")
        return _checked(wanted, "on_response")

    def _called(self, name: str, invocation: Invocation, *values: object) -> Any:
        hook = self._hooks.get(name)
        if hook is None:
            return None
        try:
            return hook(*values)
        except BaseException as error:  # sys.exit included: it costs one invocation
            self._log("ERROR", trace_of(error), invocation.request_id)
            raise _fault(f"{name} raised {type(error).__name__}") from error


def _sendable(request: HttpRequest) -> HttpRequest:
    """The request, with its body's own length. Raises ``InvocationFault`` when it cannot be put on the wire.

    Fields that say where a request ends are ours to write: a hook may have copied them from somewhere.
    """
    if not _are_as_declared(request):
        raise _fault("on_request gave an HttpRequest that does not consist of text, text, pairs of text, and bytes")
    method, target, headers, body = request
    if not target.startswith("/") or "#" in target:
        raise _fault("on_request gave a request whose target is not a path that begins with / (and a query)")
    kept = [(name, value) for name, value in headers if name.lower() not in HOP_BY_HOP]
    if sum(name.lower() == "host" for name, _ in kept) != 1:
        raise _fault("on_request gave a request that has not exactly one host header")
    if body or len(kept) != len(headers):
        kept.append(("content-length", str(len(body))))
    request = HttpRequest(method, target, kept, body)
    try:
        render_head(request)
    except ProtocolError as error:
        raise _fault(f"on_request gave a request that cannot be sent: {error}") from error
    return request


def _checked(response: HttpResponse, hook: str) -> HttpResponse:
    """The response. Raises ``InvocationFault`` when it is none that can be handed on."""
    if type(response.status) is not int or not 200 <= response.status <= 599:
        raise _fault(f"{hook} gave an HttpResponse whose status is not a number from 200 to 599")
    if not _are_as_declared(response[1:]):
        raise _fault(f"{hook} gave an HttpResponse that does not consist of a status, text, pairs of text, and bytes")
    return response


def _are_as_declared(values: Sequence[object]) -> bool:
    """Whether the values are text, then pairs of text, then bytes: Python checks no types, and a hook is not ours."""
    *texts, headers, body = values
    if not isinstance(headers, list | tuple) or not isinstance(body, bytes):
        return False
    are_pairs = all(isinstance(line, tuple) and len(line) == 2 for line in headers)
    return are_pairs and all(isinstance(text, str) for text in (*texts, *(part for line in headers for part in line)))


def _fault(message: str) -> InvocationFault:
    return InvocationFault("Function.HookFailed", f"{FILE}: {message}")
