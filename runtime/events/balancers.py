"""Application Load Balancer and VPC Lattice, which decode nothing: path and query arrive as the client sent them.

**Load balancer**: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html
With the target group's multi-value headers off (``single``) or on (``multi``) it reads one header map only.

**VPC Lattice**: https://docs.aws.amazon.com/vpc-lattice/latest/ug/lambda-functions.html
Event structure 1 (snake_case, strings) and 2 (camelCase, lists or strings). Whether it decodes is not documented.
Structure 1 is that of Envoy's AWS Lambda filter, which decodes nothing and hands the query over twice, once in
``raw_path``; structure 2 is taken to be as verbatim.
"""

from __future__ import annotations

from .fields import answer_fields, end_to_end_lines, lines_of, merged_lines, text
from .request import Parts, assemble, origin_form, raw_path, raw_query, raw_query_map, request_warnings
from .response import listed, payload, status_code, status_description

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..invocation import Invocation
    from ..messages import HttpRequest, HttpResponse
    from .fields import EventOptions

_SET_COOKIE = "set-cookie"
_LETTERS = [index for index, character in enumerate(_SET_COOKIE) if character != "-"]
_COOKIE_SPELLINGS = 2 ** len(_LETTERS)


def alb_to_request(event: dict[str, Any], invocation: Invocation, options: EventOptions) -> HttpRequest:
    """The request of a load balancer's event, whichever maps it has. ``BadRequest`` when it cannot be sent."""
    query = raw_query_map(event.get("multiValueQueryStringParameters"), event.get("queryStringParameters"))
    parts = Parts(
        method=event.get("httpMethod"),
        target=origin_form(raw_path(event.get("path")), query),
        lines=merged_lines(event.get("multiValueHeaders"), event.get("headers")),
    )
    return assemble(parts, event, invocation, options)


def alb_to_payload_multi(response: HttpResponse, _event: object) -> bytes:
    """The answer for a target group with multi-value headers."""
    lines = end_to_end_lines(response.headers)
    return payload({**_head(response), "multiValueHeaders": listed(lines)}, lines, response)


def alb_to_payload_single(response: HttpResponse, _event: object) -> bytes:
    """The answer for a target group without multi-value headers: one value per name, each Set-Cookie spelled apart."""
    lines = end_to_end_lines(response.headers)
    fields, cookies = answer_fields(lines)
    return payload({**_head(response), "headers": {**fields, **spelled_apart(cookies)}}, lines, response)


def _head(response: HttpResponse) -> dict[str, object]:
    status = status_code(response)
    return {"statusCode": status, **status_description(status)}


def spelled_apart(cookies: list[str]) -> dict[str, str]:
    """Each cookie under another capitalisation of the name: ``set-cookie``, ``Set-cookie``, ``sEt-cookie``...

    Names are case-insensitive to the client, keys are not to JSON, and cookies cannot be joined (RFC 9110 section 5.3).
    There are 512 spellings; no browser keeps that many cookies of one host.
    """
    return {_spelling(number): cookie for number, cookie in enumerate(cookies[:_COOKIE_SPELLINGS])}


def _spelling(number: int) -> str:
    characters = list(_SET_COOKIE)
    for bit, index in enumerate(_LETTERS):
        if number >> bit & 1:
            characters[index] = characters[index].upper()
    return "".join(characters)


def cookie_warnings(event: object, request: HttpRequest, response: HttpResponse, payload: bytes) -> Sequence[str]:
    """Returns what ``request_warnings`` does, and whether cookies were cut: their name has no further spelling."""
    found = request_warnings(event, request, response, payload)
    if len(response.headers) <= _COOKIE_SPELLINGS:
        return found
    cookies = sum(name == "set-cookie" for name, _ in response.headers)
    if cookies <= _COOKIE_SPELLINGS:
        return found
    return (*found, f"the answer has {cookies} cookies, only the first {_COOKIE_SPELLINGS} were sent")


# ---- VPC Lattice -----------------------------------------------------------------------------------------------------


def lattice_2_to_request(event: dict[str, Any], invocation: Invocation, options: EventOptions) -> HttpRequest:
    """The request of an event of structure 2. ``BadRequest`` when it cannot be sent."""
    target = _lattice_target(event.get("path"), event.get("queryStringParameters"))
    parts = Parts(method=event.get("method"), target=target, lines=lines_of(event.get("headers")))
    return assemble(parts, event, invocation, options)


def lattice_1_to_request(event: dict[str, Any], invocation: Invocation, options: EventOptions) -> HttpRequest:
    """The request of an event of structure 1. ``BadRequest`` when it cannot be sent."""
    target = _lattice_target(event.get("raw_path"), event.get("query_string_parameters"))
    parts = Parts(method=event.get("method"), target=target, lines=lines_of(event.get("headers")))
    body = {"body": event.get("body"), "isBase64Encoded": event.get("is_base64_encoded")}
    return assemble(parts, body, invocation, options)


def _lattice_target(path: object, query_map: object) -> str:
    """A query in the path is the client's own; the map has lost its order and, in structure 1, repeated names."""
    path, _, query = text(path).partition("?")
    return origin_form(raw_path(path), raw_query(query) or raw_query_map(None, query_map))


def lattice_to_payload(response: HttpResponse, _event: object) -> bytes:
    """The answer of VPC Lattice for either structure: one value per name.

    How several cookies get through is not documented. A load balancer's way is to spell their names apart; Envoy's, and
    that of AWS's own Powertools, is a list beside the headers. Both are given: where both are read, a cookie is set
    twice to the same value.
    """
    lines = end_to_end_lines(response.headers)
    fields, cookies = answer_fields(lines)
    head = {**_head(response), "headers": {**fields, **spelled_apart(cookies)}}
    if len(cookies) > 1:
        head["cookies"] = cookies
    return payload(head, lines, response)
