"""VPC Lattice, event structure 1 (snake_case, strings) and 2 (camelCase, lists or strings).

https://docs.aws.amazon.com/vpc-lattice/latest/ug/lambda-functions.html

What it decodes is not documented. Structure 1 is that of Envoy's AWS Lambda filter, which decodes nothing and hands the
query over twice, once in ``raw_path``; structure 2 is taken to be as verbatim.
"""

from __future__ import annotations

from .alb import spelled_apart
from .fields import end_to_end_lines, lines_of
from .lenient import text
from .request import Parts, assemble
from .response import joined, payload, status_code, status_description, without_cookies
from .target import origin_form, raw_path, raw_query, raw_query_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..invocation import Invocation
    from ..messages import HttpRequest, HttpResponse
    from .options import EventOptions


def to_request(event: dict[str, Any], invocation: Invocation, options: EventOptions) -> HttpRequest:
    """The request of an event of structure 2. ``BadRequest`` when it cannot be sent."""
    target = _target(event.get("path"), event.get("queryStringParameters"))
    parts = Parts(method=event.get("method"), target=target, lines=lines_of(event.get("headers")))
    return assemble(parts, event, invocation, options)


def to_request_1(event: dict[str, Any], invocation: Invocation, options: EventOptions) -> HttpRequest:
    """The request of an event of structure 1. ``BadRequest`` when it cannot be sent."""
    target = _target(event.get("raw_path"), event.get("query_string_parameters"))
    parts = Parts(method=event.get("method"), target=target, lines=lines_of(event.get("headers")))
    body = {"body": event.get("body"), "isBase64Encoded": event.get("is_base64_encoded")}
    return assemble(parts, body, invocation, options)


def _target(path: object, query_map: object) -> str:
    """A query in the path is the client's own; the map has lost its order and, in structure 1, repeated names."""
    path, _, query = text(path).partition("?")
    return origin_form(raw_path(path), raw_query(query) or raw_query_map(None, query_map))


def to_payload(response: HttpResponse, _event: object) -> bytes:
    """The answer for either structure: one value per name.

    How several cookies get through is not documented. A load balancer's way is to spell their names apart; Envoy's, and
    that of AWS's own Powertools, is a list beside the headers. Both are given: where both are read, a cookie is set
    twice to the same value.
    """
    lines = end_to_end_lines(response.headers)
    others, cookies = without_cookies(lines)
    status = status_code(response)
    head: dict[str, object] = {"statusCode": status, **status_description(status)}
    head["headers"] = {**joined(others), **spelled_apart(cookies)}
    if len(cookies) > 1:
        head["cookies"] = cookies
    return payload(head, lines, response)
