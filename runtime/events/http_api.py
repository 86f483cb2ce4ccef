"""HTTP API and Function URL, payload format 2.0.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html

The two share their shape and differ in the path: an HTTP API hands it over percent-decoded, a Function URL as it came.
"""

from __future__ import annotations

from .fields import end_to_end_lines, lines_of
from .lenient import mapping
from .request import Parts, assemble, cookies_of
from .response import joined, payload, status_code, without_cookies
from .target import encode_path, origin_form, raw_path, raw_query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..invocation import Invocation
    from ..messages import HttpRequest, HttpResponse
    from .options import EventOptions


def to_request(event: dict[str, Any], invocation: Invocation, options: EventOptions) -> HttpRequest:
    """The request of an HTTP API event. ``BadRequest`` when it cannot be sent."""
    return assemble(_parts(event, encode_path(event.get("rawPath"))), event, invocation, options)


def function_url_to_request(event: dict[str, Any], invocation: Invocation, options: EventOptions) -> HttpRequest:
    """The request of a Function URL event. ``BadRequest`` when it cannot be sent."""
    return assemble(_parts(event, raw_path(event.get("rawPath"))), event, invocation, options)


def _parts(event: dict[str, Any], path: str) -> Parts:
    http = mapping(mapping(event.get("requestContext")).get("http"))
    return Parts(
        method=http.get("method"),
        target=origin_form(path, raw_query(event.get("rawQueryString"))),
        lines=lines_of(event.get("headers")),
        cookies=cookies_of(event.get("cookies")),
        source_ip=http.get("sourceIp"),
    )


def to_payload(response: HttpResponse, _event: object) -> bytes:
    """The answer in payload format 2.0: one value per header name, Set-Cookie values apart."""
    lines = end_to_end_lines(response.headers)
    others, cookies = without_cookies(lines)
    # Always with a status: without one the service takes the whole answer for the body of a 200.
    head: dict[str, object] = {"statusCode": status_code(response), "headers": joined(others)}
    if cookies:
        head["cookies"] = cookies
    return payload(head, lines, response)
