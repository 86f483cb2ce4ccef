"""Which event is which, by a few keys each: what else an event holds never decides (``FORMATS`` has the order)."""

from __future__ import annotations

from .lenient import mapping, text
from .target import percent_decoded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Event = dict[str, Any]


def is_authorizer(event: Event) -> bool:
    """A REQUEST authorizer's event carries a complete HTTP request, but wants a policy for an answer."""
    return event.get("type") in ("REQUEST", "TOKEN") and ("methodArn" in event or "routeArn" in event)


def is_alb(event: Event) -> bool:
    """A load balancer's, whether its target group has multi-value headers or not."""
    return isinstance(_context(event).get("elb"), dict)


def is_alb_multi(event: Event) -> bool:
    """Only one pair of maps is there; some emulators write the other as null."""
    has_lists = event.get("multiValueHeaders") is not None or event.get("multiValueQueryStringParameters") is not None
    return has_lists and is_alb(event)


def is_websocket(event: Event) -> bool:
    """A WebSocket API's: CONNECT may look like a REST API's request, MESSAGE has neither method nor path."""
    context = _context(event)
    return "connectionId" in context and context.get("eventType") in ("CONNECT", "MESSAGE", "DISCONNECT")


def is_payload_2(event: Event) -> bool:
    """Payload format 2.0: an HTTP API's or a Function URL's."""
    return "rawPath" in event and isinstance(mapping(_context(event).get("http")).get("method"), str)


def is_function_url(event: Event) -> bool:
    """Told by the domain, or, where a proxy has rewritten that, by the path: only here are there two forms of it."""
    if not is_payload_2(event):
        return False
    context = _context(event)
    if ".lambda-url." in text(context.get("domainName")):
        return True
    raw, decoded = text(event.get("rawPath")), text(context["http"].get("path"))
    return raw != decoded and percent_decoded(raw) == decoded


def is_lattice_2(event: Event) -> bool:
    """VPC Lattice's second format, which says ``version`` 2.0 as the HTTP API does."""
    context = _context(event)
    arns = [text(context.get(key)) for key in ("serviceArn", "targetGroupArn", "serviceNetworkArn")]
    return any(arn.startswith("arn:") and ":vpc-lattice:" in arn for arn in arns)


def is_payload_1(event: Event) -> bool:
    """A REST API's shape; ``httpMethod`` and ``path`` are enough, as people write test events with nothing else.

    A Bedrock agent's event has ``apiPath`` instead of ``path``.
    """
    return isinstance(event.get("httpMethod"), str) and "path" in event


def is_http_api_1(event: Event) -> bool:
    """Payload format 1.0: an HTTP API that was told to look like a REST API."""
    return text(event.get("version")) == "1.0" and is_payload_1(event)


def is_lattice_1(event: Event) -> bool:
    """VPC Lattice's first format."""
    return isinstance(event.get("raw_path"), str) and isinstance(event.get("method"), str)


def _context(event: Event) -> Event:
    return mapping(event.get("requestContext"))
