"""Event <-> HTTP, as pure functions: ``detect`` finds the event's format, the format has a function for each direction.

This package knows no socket and no configuration; what it needs of both comes in as ``EventOptions``.
docs/events.md describes the result for users, tests/data/events holds one case per rule.
"""

from __future__ import annotations

from ..invocation import PAYLOAD_LIMIT
from ..json_codec import loads_with_source
from ..standard import standard_library
from ..values import NamedTuple
from . import api_gateway, balancers, trigger
from .binary import LARGE
from .fields import EnvironmentConfig, EventOptions, RequestContext, text
from .request import percent_decoded, request_warnings
from .response import STREAM_TYPE, BinaryBody, padding_for, to_prelude
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
    to_request: Callable[[Any, Invocation, EventOptions], HttpRequest]
    to_payload: Callable[[HttpResponse, object], bytes]  # the second argument is the event
    warnings: Callable[[object, HttpRequest, HttpResponse, bytes], Sequence[str]] = request_warnings
    payload_limit: int = PAYLOAD_LIMIT  # bytes of what to_payload gives; the service refuses more
    # Whether the front end decodes base64 whatever the type is: a REST API does so for its binaryMediaTypes alone.
    takes_base64: bool = True
    can_stream: bool = False  # whether the front end takes a prelude and a body that comes bit by bit


ALB_LIMIT = 1024 * 1024  # of the response's JSON
LATTICE_LIMIT = 6 * 1024 * 1024

AUTHORIZER = EventFormat("authorizer", False, trigger.to_request, trigger.to_payload, trigger.answer_warnings)
ALB_MULTI = EventFormat(
    "alb-multi", True, balancers.alb_to_request, balancers.alb_to_payload_multi, payload_limit=ALB_LIMIT
)
ALB = EventFormat(
    "alb",
    True,
    balancers.alb_to_request,
    balancers.alb_to_payload_single,
    balancers.cookie_warnings,
    ALB_LIMIT,
)
WEBSOCKET = EventFormat("websocket", True, trigger.to_request, trigger.websocket_to_payload)
FUNCTION_URL = EventFormat(
    "function-url", True, api_gateway.function_url_to_request, api_gateway.to_payload_2, can_stream=True
)
HTTP_API_2 = EventFormat(
    "http-api-2", True, api_gateway.http_api_2_to_request, api_gateway.to_payload_2, api_gateway.size_warnings
)
LATTICE_2 = EventFormat(
    "lattice-2", True, balancers.lattice_2_to_request, balancers.lattice_to_payload, payload_limit=LATTICE_LIMIT
)
HTTP_API_1 = EventFormat(
    "http-api-1", True, api_gateway.http_api_1_to_request, api_gateway.to_payload_1, api_gateway.size_warnings
)
REST_API = EventFormat(
    "rest-api",
    True,
    api_gateway.rest_api_to_request,
    api_gateway.to_payload_1,
    api_gateway.size_warnings,
    takes_base64=False,
    can_stream=True,
)
LATTICE_1 = EventFormat(
    "lattice-1", True, balancers.lattice_1_to_request, balancers.lattice_to_payload, payload_limit=LATTICE_LIMIT
)
TRIGGER = EventFormat("trigger", False, trigger.to_request, trigger.to_payload, trigger.answer_warnings)
_LATTICE_KEYS = ("serviceArn", "targetGroupArn", "serviceNetworkArn")
FORMATS = (
    *(AUTHORIZER, ALB_MULTI, ALB, WEBSOCKET, FUNCTION_URL, HTTP_API_2, LATTICE_2, HTTP_API_1, REST_API, LATTICE_1),
    TRIGGER,
)


def event_of(payload: bytes) -> object:
    """The event that ``payload`` spells, for the functions of its format. Raises as ``json_codec.loads``.

    A large body is a ``binary.LargeBody``, so this is not the event to show to anybody.
    """
    if len(payload) < LARGE:
        event, source = loads_with_source(payload, "requestContext")
        if source:
            context = RequestContext(event["requestContext"])  # type: ignore[index]
            context.source = source
            event["requestContext"] = context  # type: ignore[index]
        return event
    with standard_library:
        from .large_body import event_of as with_body_apart  # many functions never get an upload

    return with_body_apart(payload)


def detect(event: object) -> EventFormat:
    """The format of ``event``. A trigger is what no other format claims, and whatever is not a JSON object.

    A few keys decide, the first that are there; what else an event holds never does. The order is part of the rule:
    many events also fit a line below their own.
    """
    if not isinstance(event, dict):
        return TRIGGER
    context = event.get("requestContext")
    if not isinstance(context, dict):
        context = {}
    # A REQUEST authorizer's event carries a complete HTTP request, but wants a policy for an answer.
    if event.get("type") in ("REQUEST", "TOKEN") and ("methodArn" in event or "routeArn" in event):
        return AUTHORIZER
    if isinstance(context.get("elb"), dict):
        # Only one pair of maps is there; some emulators write the other as null.
        lists = ("multiValueHeaders", "multiValueQueryStringParameters")
        return ALB_MULTI if any(event.get(name) is not None for name in lists) else ALB
    # CONNECT may look like a REST API's request, MESSAGE has neither method nor path.
    if "connectionId" in context and context.get("eventType") in ("CONNECT", "MESSAGE", "DISCONNECT"):
        return WEBSOCKET
    http = context.get("http")
    if "rawPath" in event and isinstance(http, dict) and isinstance(http.get("method"), str):
        return FUNCTION_URL if _is_function_url(event, context, http) else HTTP_API_2
    # VPC Lattice's second format says ``version`` 2.0 as the HTTP API does.
    if not context.keys().isdisjoint(_LATTICE_KEYS) and _has_lattice_arn(context):
        return LATTICE_2
    # ``httpMethod`` and ``path`` are enough, as people write test events with nothing else. A Bedrock agent's event has
    # ``apiPath`` instead of ``path``. Payload format 1.0 is an HTTP API that was told to look like a REST API.
    if "path" in event and isinstance(event.get("httpMethod"), str):
        return HTTP_API_1 if text(event.get("version")) == "1.0" else REST_API
    if isinstance(event.get("raw_path"), str) and isinstance(event.get("method"), str):
        return LATTICE_1
    return TRIGGER


def _is_function_url(event: dict[str, Any], context: dict[str, Any], http: dict[str, Any]) -> bool:
    """Told by the domain, or, where a proxy has rewritten that, by the path: only here are there two forms of it."""
    domain = context.get("domainName")
    if isinstance(domain, str) and ".lambda-url." in domain:
        return True
    raw, decoded = text(event.get("rawPath")), text(http.get("path"))
    return raw != decoded and percent_decoded(raw) == decoded


def _has_lattice_arn(context: dict[str, Any]) -> bool:
    arns = [text(context.get(key)) for key in _LATTICE_KEYS]
    return any(arn.startswith("arn:") and ":vpc-lattice:" in arn for arn in arns)
