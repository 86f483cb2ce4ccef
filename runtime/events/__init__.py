"""Event <-> HTTP, as pure functions: ``detect`` finds the event's format, the format has a function for each direction.

This package knows no socket and no configuration; what it needs of both comes in as ``EventOptions``.
docs/events.md describes the result for users, tests/data/events holds one case per rule.
"""

from __future__ import annotations

from ..invocation import PAYLOAD_LIMIT
from ..json_codec import loads
from ..standard import standard_library
from ..values import NamedTuple
from . import alb, http_api, lattice, rest_api, shapes, trigger, warnings, websocket
from .binary import LARGE
from .options import EnvironmentConfig, EventOptions
from .prelude import CONTENT_TYPE as STREAM_TYPE
from .prelude import padding_for, to_prelude
from .response import BinaryBody
from .trigger import fault_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..invocation import Invocation
    from ..messages import HttpRequest, HttpResponse

__all__ = [
    "FORMATS",
    "STREAM_TYPE",
    "TRIGGER",
    "BinaryBody",
    "EnvironmentConfig",
    "EventFormat",
    "EventOptions",
    "detect",
    "event_of",
    "fault_of",
    "padding_for",
    "to_prelude",
]


class EventFormat(NamedTuple):
    """One kind of event. The first two functions raise nothing but ``InvocationFault``, of which ``BadRequest`` is one.

    ``warnings`` has a sentence for each thing that the app's author should know about an exchange; mostly it is empty.
    """

    name: str
    is_http: bool  # whether a client waits for an HTTP status
    matches: Callable[[dict[str, Any]], bool]
    to_request: Callable[[Any, Invocation, EventOptions], HttpRequest]
    to_payload: Callable[[HttpResponse, object], bytes]  # the second argument is the event
    warnings: Callable[[object, HttpRequest, HttpResponse, bytes], Sequence[str]] = warnings.of_request
    payload_limit: int = PAYLOAD_LIMIT  # bytes of what to_payload gives; the service refuses more
    # Whether the front end decodes base64 whatever the type is: a REST API does so for its binaryMediaTypes alone.
    takes_base64: bool = True
    can_stream: bool = False  # whether the front end takes a prelude and a body that comes bit by bit


def _trigger(name: str, matches: Callable[[dict[str, Any]], bool]) -> EventFormat:
    return EventFormat(name, False, matches, trigger.to_request, trigger.to_payload, warnings.of_trigger)


def _api_gateway(
    name: str,
    matches: Callable[[dict[str, Any]], bool],
    to_request: Callable[[Any, Invocation, EventOptions], HttpRequest],
    to_payload: Callable[[HttpResponse, object], bytes],
    can_stream: bool = False,
) -> EventFormat:
    of_answer = warnings.of_api_gateway
    # Of the three it is the REST API that streams, and that has types which count as binary.
    return EventFormat(
        name, True, matches, to_request, to_payload, of_answer, takes_base64=not can_stream, can_stream=can_stream
    )


ALB_LIMIT = 1024 * 1024  # of the response's JSON
LATTICE_LIMIT = 6 * 1024 * 1024

# The first that matches. The order is part of the rule: many events also match a line below their own.
FORMATS = (
    _trigger("authorizer", shapes.is_authorizer),
    EventFormat("alb-multi", True, shapes.is_alb_multi, alb.to_request, alb.to_payload_multi, payload_limit=ALB_LIMIT),
    EventFormat(
        "alb", True, shapes.is_alb, alb.to_request, alb.to_payload_single, warnings.of_single_values, ALB_LIMIT
    ),
    EventFormat("websocket", True, shapes.is_websocket, trigger.to_request, websocket.to_payload),
    EventFormat(
        "function-url",
        True,
        shapes.is_function_url,
        http_api.function_url_to_request,
        http_api.to_payload,
        can_stream=True,
    ),
    _api_gateway("http-api-2", shapes.is_payload_2, http_api.to_request, http_api.to_payload),
    EventFormat(
        "lattice-2", True, shapes.is_lattice_2, lattice.to_request, lattice.to_payload, payload_limit=LATTICE_LIMIT
    ),
    _api_gateway("http-api-1", shapes.is_http_api_1, rest_api.http_api_to_request, rest_api.to_payload),
    _api_gateway("rest-api", shapes.is_payload_1, rest_api.to_request, rest_api.to_payload, can_stream=True),
    EventFormat(
        "lattice-1", True, shapes.is_lattice_1, lattice.to_request_1, lattice.to_payload, payload_limit=LATTICE_LIMIT
    ),
    _trigger("trigger", lambda _event: True),
)
TRIGGER = FORMATS[-1]


def event_of(payload: bytes) -> object:
    """The event that ``payload`` spells, for the functions of its format. Raises as ``json_codec.loads``.

    A large body is a ``binary.LargeBody``, so this is not the event to show to anybody.
    """
    if len(payload) < LARGE:
        return loads(payload)
    with standard_library:
        from .large_body import event_of as with_body_apart  # many functions never get an upload

    return with_body_apart(payload)


def detect(event: object) -> EventFormat:
    """The format of ``event``. A trigger is what no other format claims, and whatever is not a JSON object."""
    if isinstance(event, dict):
        for candidate in FORMATS:
            if candidate.matches(event):
                return candidate
    return TRIGGER
