"""Application Load Balancer, with the target group's multi-value headers off (``single``) or on (``multi``).

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html

It decodes nothing: path and query arrive as the client sent them. It reads only the header map that its setting names.
"""

from __future__ import annotations

from .fields import end_to_end_lines, merged_lines
from .request import Parts, assemble
from .response import joined, listed, payload, status_code, status_description, without_cookies
from .target import origin_form, raw_path, raw_query_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..invocation import Invocation
    from ..messages import HttpRequest, HttpResponse
    from .options import EventOptions

_SET_COOKIE = "set-cookie"
_LETTERS = [index for index, character in enumerate(_SET_COOKIE) if character != "-"]


def to_request(event: dict[str, Any], invocation: Invocation, options: EventOptions) -> HttpRequest:
    """The request of a load balancer's event, whichever maps it has. ``BadRequest`` when it cannot be sent."""
    query = raw_query_map(event.get("multiValueQueryStringParameters"), event.get("queryStringParameters"))
    parts = Parts(
        method=event.get("httpMethod"),
        target=origin_form(raw_path(event.get("path")), query),
        lines=merged_lines(event.get("multiValueHeaders"), event.get("headers")),
    )
    return assemble(parts, event, invocation, options)


def to_payload_multi(response: HttpResponse, _event: object) -> bytes:
    """The answer for a target group with multi-value headers."""
    lines = end_to_end_lines(response.headers)
    return payload({**_head(response), "multiValueHeaders": listed(lines)}, lines, response)


def to_payload_single(response: HttpResponse, _event: object) -> bytes:
    """The answer for a target group without multi-value headers: one value per name, each Set-Cookie spelled apart."""
    lines = end_to_end_lines(response.headers)
    others, cookies = without_cookies(lines)
    headers = {**joined(others), **spelled_apart(cookies)}
    return payload({**_head(response), "headers": headers}, lines, response)


def _head(response: HttpResponse) -> dict[str, object]:
    status = status_code(response)
    return {"statusCode": status, **status_description(status)}


def spelled_apart(cookies: list[str]) -> dict[str, str]:
    """Each cookie under another capitalisation of the name: ``set-cookie``, ``Set-cookie``, ``sEt-cookie``...

    Names are case-insensitive to the client, keys are not to JSON, and cookies cannot be joined (RFC 9110 section 5.3).
    There are 512 spellings; no browser keeps that many cookies of one host.
    """
    return {_spelling(number): cookie for number, cookie in enumerate(cookies[: 2 ** len(_LETTERS)])}


def _spelling(number: int) -> str:
    characters = list(_SET_COOKIE)
    for bit, index in enumerate(_LETTERS):
        if number >> bit & 1:
            characters[index] = characters[index].upper()
    return "".join(characters)
