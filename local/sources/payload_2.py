"""Function URL and HTTP API, payload format 2.0.

https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import orjson

from runtime.messages import HttpResponse

from . import reply
from .request import (
    body_of,
    clf_time,
    decoded_pairs,
    end_to_end,
    forwarded,
    is_text,
    joined,
    lower,
    path_and_query,
    short_request_id,
)
from .values import Answer, Arrival, ClientRequest, Front, Malformed

URL_ID = "fairlead0local0function0url00000"
API_ID = "fairlead00"
ACCOUNT = "123456789012"
DEFAULT_STAGE = "$default"
JSON = "application/json"
PRELUDE_KEYS = {"statusCode", "headers", "cookies"}
# What each calls a body whose function gave no type.
URL_TYPE, API_TYPE = JSON, "text/plain;charset=UTF-8"


def function_url_event(request: ClientRequest, front: Front, arrival: Arrival) -> dict[str, Any]:
    """The event of a Function URL: path and query as they were sent, the path once more decoded."""
    path, query = path_and_query(request)
    headers = joined(lower([*end_to_end(request), *forwarded(request, front, arrival, is_appending=False)]))
    if front.scheme == "https":
        headers |= {"x-amzn-tls-version": "TLSv1.3", "x-amzn-tls-cipher-suite": "TLS_AES_128_GCM_SHA256"}
    caller = {
        "accountId": "anonymous",
        "apiId": URL_ID,
        # The name that tells a Function URL from an HTTP API, whose events look the same and are encoded otherwise.
        "domainName": f"{URL_ID}.lambda-url.{front.region}.on.aws",
        "domainPrefix": URL_ID,
    }
    tail = {"requestId": arrival.request_id, "routeKey": DEFAULT_STAGE, "stage": DEFAULT_STAGE}
    return _event(request, arrival, (path, unquote(path), query), headers, caller, tail)


def http_api_event(request: ClientRequest, front: Front, arrival: Arrival) -> dict[str, Any]:
    """The event of an HTTP API: the path decoded, behind the stage's name if it has one; cookies in their list only."""
    path, query = path_and_query(request)
    stage = front.stage or DEFAULT_STAGE
    path = api_path(path, stage)
    lines = lower([*end_to_end(request), *forwarded(request, front, arrival, is_appending=True)])
    headers = {**joined(lines), "content-length": str(len(request.body))}
    caller = {
        "accountId": ACCOUNT,
        "apiId": API_ID,
        "domainName": f"{API_ID}.execute-api.{front.region}.amazonaws.com",
        "domainPrefix": API_ID,
    }
    tail = {"requestId": short_request_id(arrival), "routeKey": DEFAULT_STAGE, "stage": stage}
    event = _event(request, arrival, (path, path, query), headers, caller, tail)
    headers.pop("cookie", None)
    return event


def api_path(path: str, stage: str) -> str:
    """An HTTP API decodes the path once and then takes a decoded question mark for the beginning of the query."""
    decoded = unquote(path).partition("?")[0]
    return decoded if stage == DEFAULT_STAGE else f"/{stage}{decoded}"


def _event(
    request: ClientRequest,
    arrival: Arrival,
    target: tuple[str, str, str],
    headers: dict[str, str],
    caller: dict[str, str],
    tail: dict[str, str],
) -> dict[str, Any]:
    raw_path, path, query = target
    cookies = [cookie.strip() for cookie in headers.get("cookie", "").split(";") if cookie.strip()]
    return {
        "version": "2.0",
        "routeKey": DEFAULT_STAGE,
        "rawPath": raw_path,
        "rawQueryString": query,
        **({"cookies": cookies} if cookies else {}),
        "headers": headers,
        **({"queryStringParameters": _parameters(query)} if query else {}),
        "requestContext": {
            **caller,
            "http": {
                "method": request.method,
                "path": path,
                "protocol": request.protocol,
                "sourceIp": arrival.client_ip,
                "userAgent": headers.get("user-agent", ""),
            },
            **tail,
            "time": clf_time(arrival.now),
            "timeEpoch": int(arrival.now * 1000),
        },
        **(body_of(request, is_text) if request.body else {"isBase64Encoded": False}),
    }


def _parameters(query: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for name, value in decoded_pairs(query):
        parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
    return parameters


def function_url_answer(document: object, payload: bytes, request: ClientRequest, front: Front) -> Answer:
    return Answer(_response(document, payload, URL_TYPE))


def http_api_answer(document: object, payload: bytes, request: ClientRequest, front: Front) -> Answer:
    return Answer(_response(document, payload, API_TYPE))


def function_url_head(prelude: dict[str, Any]) -> HttpResponse:
    """The head of a streamed answer. What has no type stays without one."""
    reply.only(prelude, PRELUDE_KEYS, "a Function URL")
    lines = reply.fields(reply.pairs(prelude.get("headers"), "headers"))
    return reply.head(prelude, [*lines, *cookie_lines(prelude)])


def _response(document: object, payload: bytes, default_type: str) -> HttpResponse:
    if not isinstance(document, dict) or "statusCode" not in document:
        # Documented inference: valid JSON without statusCode is the body of a 200.
        return reply.response(200, [], payload, JSON)
    status = reply.status_code(document["statusCode"])
    lines = reply.fields(reply.pairs(document.get("headers"), "headers"))
    lines += cookie_lines(document)
    return reply.response(status, lines, reply.body_bytes(document), default_type)


def cookie_lines(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Its ``cookies`` as header lines."""
    cookies = document.get("cookies")
    if cookies is None:
        return []
    if not isinstance(cookies, list) or not all(isinstance(cookie, str) for cookie in cookies):
        raise Malformed("cookies is no list of strings")
    for cookie in cookies:
        if reply.UNSAFE_IN_VALUE.search(cookie):
            raise Malformed(f"the cookie {cookie!r} has a control character")
    return [("set-cookie", cookie) for cookie in cookies]


def function_url_page(status: int) -> HttpResponse:
    body = "Internal Server Error" if status == 502 else reply.reason_of(status)
    return reply.own_page(status, "text/plain; charset=utf-8", body)


API_MESSAGES = {502: "Internal Server Error", 504: "Endpoint request timed out", 413: "Request Entity Too Large"}


def http_api_page(status: int) -> HttpResponse:
    message = API_MESSAGES.get(status) or reply.reason_of(status)
    return reply.own_page(status, JSON, orjson.dumps({"message": message}).decode())
