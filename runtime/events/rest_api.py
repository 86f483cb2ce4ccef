"""REST API, and the HTTP API's payload format 1.0, which has the same shape.

https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html

Both hand the query over decoded. A REST API leaves the path as it came, payload format 1.0 decodes it.
"""

from __future__ import annotations

from .fields import end_to_end_lines, merged_lines
from .lenient import mapping
from .request import Parts, assemble
from .response import listed, payload, status_code
from .target import encode_path, encode_query, origin_form, raw_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..invocation import Invocation
    from ..messages import HttpRequest, HttpResponse
    from .options import EventOptions


def to_request(event: dict[str, Any], invocation: Invocation, options: EventOptions) -> HttpRequest:
    """The request of a REST API event. ``BadRequest`` when it cannot be sent."""
    return assemble(_parts(event, raw_path(event.get("path"))), event, invocation, options)


def http_api_to_request(event: dict[str, Any], invocation: Invocation, options: EventOptions) -> HttpRequest:
    """The request of an HTTP API event in payload format 1.0. ``BadRequest`` when it cannot be sent."""
    return assemble(_parts(event, encode_path(event.get("path"))), event, invocation, options)


def _parts(event: dict[str, Any], path: str) -> Parts:
    query = encode_query(event.get("multiValueQueryStringParameters"), event.get("queryStringParameters"))
    return Parts(
        method=event.get("httpMethod"),
        target=origin_form(path, query),
        lines=merged_lines(event.get("multiValueHeaders"), event.get("headers")),
        source_ip=mapping(mapping(event.get("requestContext")).get("identity")).get("sourceIp"),
    )


def to_payload(response: HttpResponse, _event: object) -> bytes:
    """The answer as a Lambda proxy response: these four keys and no other, or API Gateway calls it malformed."""
    lines = end_to_end_lines(response.headers)
    return payload({"statusCode": status_code(response), "multiValueHeaders": listed(lines)}, lines, response)
