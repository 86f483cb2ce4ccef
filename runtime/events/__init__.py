"""Event <-> HTTP, as pure functions: ``detect`` finds the event's format, the format has a function for each direction.

This package knows no socket and no configuration; what it needs of both comes in as ``EventOptions``.
docs/events.md describes the result for users, tests/data/events holds one case per rule.
"""

from __future__ import annotations

from ..values import NamedTuple
from . import alb, http_api, rest_api, shapes, trigger
from .options import EnvironmentConfig, EventOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..invocation import Invocation
    from ..messages import HttpRequest, HttpResponse

__all__ = ["FORMATS", "EnvironmentConfig", "EventFormat", "EventOptions", "detect"]


class EventFormat(NamedTuple):
    """One kind of event. Neither function raises anything but ``InvocationFault``, of which ``BadRequest`` is one."""

    name: str
    is_http: bool  # whether a client waits for an HTTP status
    matches: Callable[[dict[str, Any]], bool]
    to_request: Callable[[Any, Invocation, EventOptions], HttpRequest]
    to_payload: Callable[[HttpResponse, object], bytes]  # the second argument is the event


def _trigger(name: str, matches: Callable[[dict[str, Any]], bool]) -> EventFormat:
    return EventFormat(name, False, matches, trigger.to_request, trigger.to_payload)


# The first that matches. The order is part of the rule: many events also match a line below their own.
FORMATS = (
    _trigger("authorizer", shapes.is_authorizer),
    EventFormat("alb-multi", True, shapes.is_alb_multi, alb.to_request, alb.to_payload_multi),
    EventFormat("alb", True, shapes.is_alb, alb.to_request, alb.to_payload_single),
    _trigger("websocket", shapes.is_websocket),
    EventFormat("function-url", True, shapes.is_function_url, http_api.function_url_to_request, http_api.to_payload),
    EventFormat("http-api-2", True, shapes.is_payload_2, http_api.to_request, http_api.to_payload),
    _trigger("lattice-2", shapes.is_lattice_2),
    EventFormat("http-api-1", True, shapes.is_http_api_1, rest_api.http_api_to_request, rest_api.to_payload),
    EventFormat("rest-api", True, shapes.is_payload_1, rest_api.to_request, rest_api.to_payload),
    _trigger("lattice-1", shapes.is_lattice_1),
    _trigger("trigger", lambda _event: True),
)
_TRIGGER = FORMATS[-1]


def detect(event: object) -> EventFormat:
    """The format of ``event``. A trigger is what no other format claims, and whatever is not a JSON object."""
    if not isinstance(event, dict):
        return _TRIGGER
    return next(candidate for candidate in FORMATS if candidate.matches(event))
