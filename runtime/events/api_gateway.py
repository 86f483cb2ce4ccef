"""API Gateway and Function URLs: payload format 2.0 (HTTP API, Function URL) and 1.0 (REST API, HTTP API).

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html

========================  ==============  ===============
source, payload format    path            query
========================  ==============  ===============
Function URL, 2.0         as it came      as it came
HTTP API, 2.0             decoded         as it came
REST API, 1.0             as it came      decoded
HTTP API, 1.0             decoded         decoded
========================  ==============  ===============
"""

from __future__ import annotations

from ..json_codec import utf8
from .fields import answer_fields, end_to_end_lines, lines_of, mapping, merged_lines
from .request import (
    Parts,
    assemble,
    cookies_of,
    encode_path,
    encode_query,
    origin_form,
    raw_path,
    raw_query,
    request_warnings,
)
from .response import BODILESS, listed, payload, status_code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..invocation import Invocation
    from ..messages import HttpRequest, HttpResponse
    from .fields import EventOptions


# https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html: "total combined size of request line and
# header values" of a request. That answers are held to about the same is believed, not documented; the margin is for
# what API Gateway adds.
_API_GATEWAY_LIMIT = 10_240
_API_GATEWAY_ALARM = 9_728
# A payload spells a field in more bytes than HTTP does, except Set-Cookie in format 2.0, which takes a third at least.
_SMALL_HEAD = _API_GATEWAY_ALARM // 3
_LINE_FRAME = 4  # a colon, a blank and the line's end


def function_url_to_request(event: dict[str, Any], invocation: Invocation, options: EventOptions) -> HttpRequest:
    """The request of a Function URL event. ``BadRequest`` when it cannot be sent."""
    return assemble(_parts_2(event, raw_path(event.get("rawPath"))), event, invocation, options)


def http_api_2_to_request(event: dict[str, Any], invocation: Invocation, options: EventOptions) -> HttpRequest:
    """The request of an HTTP API event in payload format 2.0. ``BadRequest`` when it cannot be sent."""
    return assemble(_parts_2(event, encode_path(event.get("rawPath"))), event, invocation, options)


def rest_api_to_request(event: dict[str, Any], invocation: Invocation, options: EventOptions) -> HttpRequest:
    """The request of a REST API event. ``BadRequest`` when it cannot be sent."""
    return assemble(_parts_1(event, raw_path(event.get("path"))), event, invocation, options)


def http_api_1_to_request(event: dict[str, Any], invocation: Invocation, options: EventOptions) -> HttpRequest:
    """The request of an HTTP API event in payload format 1.0. ``BadRequest`` when it cannot be sent."""
    return assemble(_parts_1(event, encode_path(event.get("path"))), event, invocation, options)


def _parts_2(event: dict[str, Any], path: str) -> Parts:
    context = event.get("requestContext")
    http = context.get("http") if isinstance(context, dict) else None
    http = http if isinstance(http, dict) else {}
    target = origin_form(path, raw_query(event.get("rawQueryString")))
    cookies = cookies_of(event["cookies"]) if "cookies" in event else ()
    return Parts._make((http.get("method"), target, lines_of(event.get("headers")), cookies, http.get("sourceIp")))


def _parts_1(event: dict[str, Any], path: str) -> Parts:
    query = encode_query(event.get("multiValueQueryStringParameters"), event.get("queryStringParameters"))
    return Parts(
        method=event.get("httpMethod"),
        target=origin_form(path, query),
        lines=merged_lines(event.get("multiValueHeaders"), event.get("headers")),
        source_ip=mapping(mapping(event.get("requestContext")).get("identity")).get("sourceIp"),
    )


def to_payload_2(response: HttpResponse, _event: object) -> bytes:
    """The answer in payload format 2.0: one value per header name, Set-Cookie values apart."""
    lines = end_to_end_lines(response.headers)
    fields, cookies = answer_fields(lines)
    # Always with a status: without one the service takes the whole answer for the body of a 200.
    head: dict[str, object] = {"statusCode": status_code(response), "headers": fields}
    if cookies:
        head["cookies"] = cookies
    return payload(head, lines, response)


def to_payload_1(response: HttpResponse, _event: object) -> bytes:
    """The answer as a Lambda proxy response: these four keys and no other, or API Gateway calls it malformed."""
    lines = end_to_end_lines(response.headers)
    return payload({"statusCode": status_code(response), "multiValueHeaders": listed(lines)}, lines, response)


def size_warnings(event: object, request: HttpRequest, response: HttpResponse, payload: bytes) -> Sequence[str]:
    """Returns what ``request_warnings`` does, and whether API Gateway may refuse the answer for its size."""
    found = request_warnings(event, request, response, payload)
    if response.status not in BODILESS and len(payload) - len(response.body) <= _SMALL_HEAD:
        return found
    size = header_size(response)
    if size <= _API_GATEWAY_ALARM:
        return found
    return (
        *found,
        f"the answer has {size} bytes of header fields; API Gateway takes about {_API_GATEWAY_LIMIT} and may"
        " fail the request beyond that. Large or many cookies are the usual cause",
    )


def header_size(response: HttpResponse) -> int:
    """The bytes that the answer's fields take on the wire, repeated ones joined."""
    fields, cookies = answer_fields(end_to_end_lines(response.headers))
    lines = [*fields.items(), *(("set-cookie", cookie) for cookie in cookies)]
    return sum(len(name) + _LINE_FRAME + len(utf8(value)) for name, value in lines)
